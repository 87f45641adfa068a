/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What the linear, recurrent and low-rank variants must do beside the common
 * properties: laws of random features, limits that join one variant to another,
 * memories that recall, gates and sums that must not break. Seeds are fixed, so
 * that a statistical bound either holds or does not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../attention/attn.h"
#include "../attention/engine/projection.h"
#include "../harness/team.h"

/* ---- one head, its inputs, its results ---- */

struct head {
	const struct attn_variant *variant;
	struct attn_shape shape;
	struct attn_plan plan;
	double arg[ATTN_MAX_PARAMS];
	struct attn_aux aux[3];
	float *q, *k, *v, *out;
	void *state;
	struct attn_stats stats;
};

static void *take(size_t bytes)
{
	void *p = aligned_alloc(ATTN_ALIGN, (bytes + ATTN_ALIGN) / ATTN_ALIGN * ATTN_ALIGN);

	assert_non_null(p);
	return p;
}

/* "m=64:map=trig" into arguments. */
static void arguments(const struct attn_variant *v, const char *text, double *arg)
{
	char copy[128], *save = NULL;

	for (size_t i = 0; v->params && v->params[i].name; i++)
		arg[i] = v->params[i].def;
	snprintf(copy, sizeof copy, "%s", text);
	for (char *item = strtok_r(copy, ":", &save); item; item = strtok_r(NULL, ":", &save)) {
		char *value = strchr(item, '=');
		size_t i = 0;
		assert_non_null(value);
		*value++ = '\0';
		while (v->params[i].name && strcmp(v->params[i].name, item))
			i++;
		assert_non_null(v->params[i].name);
		arg[i] = strtod(value, NULL);
		for (size_t k = 0; v->params[i].kind == ATTN_NAME && v->params[i].names[k]; k++)
			if (!strcmp(v->params[i].names[k], value))
				arg[i] = (double)k;
	}
}

/* Gaussian inputs with logits of deviation sigma; V ~ N(0, 1). */
static struct head head_of(const char *name, const char *args, size_t n_q, size_t n_k, size_t d, size_t d_v,
                           bool causal, double sigma)
{
	struct head h = { .variant = attn_find(name) };

	assert_non_null(h.variant);
	h.shape = (struct attn_shape){ .n_q = n_q, .n_k = n_k, .d = d, .d_v = d_v, .causal = causal,
		                       .scale = attn_default_scale(d), .heads = 1, .type = ATTN_F32 };
	arguments(h.variant, args, h.arg);
	if (h.variant->resolve)
		h.variant->resolve(&h.shape, h.arg);
	assert_null(h.variant->plan(&h.shape, h.arg, 1, &h.plan));
	h.q = take(n_q * d * sizeof(float));
	h.k = take(n_k * d * sizeof(float));
	h.v = take(n_k * d_v * sizeof(float));
	h.out = take(n_q * d_v * sizeof(float));
	h.state = take(h.plan.state);
	attn_random_normals(7, 1, 0, n_q * d, h.q);
	attn_random_normals(7, 2, 0, n_k * d, h.k);
	attn_random_normals(7, 3, 0, n_k * d_v, h.v);
	for (size_t i = 0; i < n_q * d; i++)
		h.q[i] *= (float)sqrt(sigma);
	for (size_t i = 0; i < n_k * d; i++)
		h.k[i] *= (float)sqrt(sigma);
	if (h.variant->prepare)
		h.variant->prepare(&h.shape, h.arg, 1, h.state);
	return h;
}

static void head_free(struct head *h)
{
	free(h->q);
	free(h->k);
	free(h->v);
	free(h->out);
	free(h->state);
}

struct run {
	struct head *head;
	struct attn_call call;
	void *scratch[4];
};

static void rank_main(void *arg, struct attn_team *me)
{
	const struct run *run = arg;
	struct attn_call call = run->call;

	call.scratch = run->scratch[me->rank];
	call.stats = me->rank == 0 ? &run->head->stats : NULL;
	run->head->variant->forward(&call, me);
}

static void run_on(struct head *h, struct team *team)
{
	const struct attn_shape *s = &h->shape;
	size_t ranks = team ? team_size(team) : 1;
	struct attn_team alone = { .size = 1 };
	struct run run = { .head = h };

	assert_null(h->variant->plan(s, h->arg, ranks, &h->plan));
	run.call = (struct attn_call){ .shape = s, .arg = h->arg, .kern = attn_kern_best(), .state = h->state,
		                       .q = h->q, .k = h->k, .v = h->v, .out = h->out, .ldq = s->d, .ldk = s->d,
		                       .ldv = s->d_v, .ldo = s->d_v, .aux = h->aux[0].name ? h->aux : NULL };
	run.call.shared = take(h->plan.shared);
	memset(run.call.shared, 0xff, h->plan.shared); /* NaN: nothing may be read unwritten */
	for (size_t r = 0; r < ranks; r++) {
		run.scratch[r] = take(h->plan.scratch);
		memset(run.scratch[r], 0xff, h->plan.scratch);
	}
	h->stats = (struct attn_stats){ 0 };
	if (team)
		team_run(team, TEAM_FAST, rank_main, &run);
	else
		rank_main(&run, &alone);
	free(run.call.shared);
	for (size_t r = 0; r < ranks; r++)
		free(run.scratch[r]);
}

static void run(struct head *h)
{
	run_on(h, NULL);
}

/* ---- definitions ---- */

struct owner {
	double *block[64];
	size_t count;
};

static double *owner_alloc(void *arg, size_t doubles)
{
	struct owner *owner = arg;

	assert_true(owner->count < 64);
	return owner->block[owner->count++] = take((doubles + 1) * sizeof(double));
}

static double *widen(struct owner *owner, const float *x, size_t n)
{
	double *y = owner_alloc(owner, n);

	for (size_t i = 0; i < n; i++)
		y[i] = (double)x[i];
	return y;
}

/* All rows of a definition on the inputs of h: its own, or of another variant at
 * its default arguments. Freed by the caller. */
static double *definition(const struct head *h, const struct attn_variant *of)
{
	const struct attn_shape *s = &h->shape;
	struct owner owner = { 0 };
	double *out = take(s->n_q * s->d_v * sizeof *out), arg[ATTN_MAX_PARAMS] = { 0 };
	size_t *rows = take(s->n_q * sizeof *rows);

	for (size_t i = 0; i < s->n_q; i++)
		rows[i] = i;
	struct attn_oracle_call c = { .shape = s, .arg = of == h->variant ? h->arg : arg, .state = h->state,
		                      .q = widen(&owner, h->q, s->n_q * s->d), .k = widen(&owner, h->k, s->n_k * s->d),
		                      .v = widen(&owner, h->v, s->n_k * s->d_v), .aux = h->aux[0].name ? h->aux : NULL,
		                      .rows = rows, .n_rows = s->n_q, .out = out, .alloc = owner_alloc, .owner = &owner };
	of->oracle(&c);
	free(rows);
	while (owner.count)
		free(owner.block[--owner.count]);
	return out;
}

static double error_to(const float *x, const double *y, size_t n)
{
	double off = 0, size = 0;

	for (size_t i = 0; i < n; i++) {
		off += ((double)x[i] - y[i]) * ((double)x[i] - y[i]);
		size += y[i] * y[i];
	}
	return sqrt(off / size);
}

static double distance(const float *x, const float *y, size_t n)
{
	double off = 0, size = 0;

	for (size_t i = 0; i < n; i++) {
		off += ((double)x[i] - (double)y[i]) * ((double)x[i] - (double)y[i]);
		size += (double)y[i] * (double)y[i];
	}
	return sqrt(off / size);
}

static size_t elements(const struct head *h)
{
	return h->shape.n_q * h->shape.d_v;
}

static double own_error(const struct head *h)
{
	double *want = definition(h, h->variant), error = error_to(h->out, want, elements(h));

	free(want);
	return error;
}

/* rel_fro against softmax attention. */
static double exact_error(const struct head *h)
{
	double *want = definition(h, attn_find("full")), error = error_to(h->out, want, elements(h));

	free(want);
	return error;
}

static void assert_below(double x, double bound, const char *what)
{
	if (!(x <= bound))
		fail_msg("%s: %.3g, allowed %.3g", what, x, bound);
}

static void assert_between(double x, double low, double high, const char *what)
{
	if (!(x >= low && x <= high))
		fail_msg("%s: %.3g, not in %.3g .. %.3g", what, x, low, high);
}

/* ---- random projections ---- */

/* Householder QR without a sign rule gives E[w_jj] of about -0.8: rows of a Haar
 * matrix have mean 0, and E[exp(w.z)] = e^(|z|^2/2). */
static void test_haar(void **state)
{
	enum { D = 16, DRAWS = 2000 };
	double diagonal[D] = { 0 }, mean = 0, square = 0;
	float w_t[D * D];

	(void)state;
	for (uint64_t draw = 0; draw < DRAWS; draw++) {
		double here = 0;
		projection_gaussian(w_t, D, D, true, PROJECTION_CHI, draw, 5);
		for (size_t r = 0; r < D; r++) {
			double u = 0;
			diagonal[r] += (double)w_t[r * D + r];
			for (size_t c = 0; c < D; c++)
				u += (double)w_t[c * D + r] / sqrt((double)D);
			here += exp(u) / D;
		}
		mean += here / DRAWS;
		square += here * here / DRAWS;
	}
	for (size_t r = 0; r < D; r++)
		assert_below(fabs(diagonal[r] / DRAWS), 5 / sqrt((double)DRAWS), "mean of w_jj");
	assert_below(fabs(mean - exp(0.5)), 5 * sqrt((square - mean * mean) / DRAWS), "E[exp(w.z)]");
}

/* Rows of a block are orthogonal; the last block may be short. */
static void test_orthogonal_blocks(void **state)
{
	enum { D = 12, M = 31 };
	float w_t[D * M];

	(void)state;
	projection_gaussian(w_t, M, D, true, PROJECTION_ROOT, 3, 4);
	for (size_t a = 0; a < M; a++) {
		for (size_t b = 0; b <= a; b++) {
			double dot = 0;
			for (size_t c = 0; c < D; c++)
				dot += (double)w_t[c * M + a] * (double)w_t[c * M + b];
			if (a == b)
				assert_below(fabs(dot - D), 1e-5, "length");
			else if (a / D == b / D)
				assert_below(fabs(dot), 1e-5, "orthogonal");
		}
	}
}

/* The kernel's estimate by the variant itself: of two keys y and 0 with values 1
 * and 0 the query 0 weighs the second exactly 1, so that O = w / (w + 1). */
static double kernel_estimate(struct head *h, uint64_t seed)
{
	h->variant->prepare(&h->shape, h->arg, seed, h->state);
	run(h);
	return (double)h->out[0] / (1 - (double)h->out[0]);
}

/* Relative variance of the estimate of exp(0 . y) = 1 for |y|^2 = 1, independent
 * rows; with x = 0, |x + y|^2 = |x - y|^2 = 1. */
static void variance_law(const char *map, double factor)
{
	enum { D = 8, DRAWS = 1500 };
	double last = 0;

	for (size_t m = 64; m <= 1024; m *= 4) {
		char args[64];
		double mean = 0, square = 0;
		snprintf(args, sizeof args, "m=%zu:ortho=0:map=%s", m, map);
		struct head h = head_of("performer", args, 1, 2, D, 1, false, 1);
		memset(h.q, 0, D * sizeof(float));
		memset(h.k, 0, 2 * D * sizeof(float));
		h.k[3] = powf((float)D, 0.25f); /* x' = x / d^(1/4) */
		h.v[0] = 1;
		h.v[1] = 0;
		for (uint64_t draw = 0; draw < DRAWS; draw++) {
			double w = kernel_estimate(&h, draw);
			mean += w / DRAWS;
			square += (w - 1) * (w - 1) / DRAWS;
		}
		assert_below(fabs(mean - 1), 5 * sqrt(factor / (double)m / DRAWS), "bias of the estimate");
		/* The variance of 1500 draws has a standard error of some 4 %. */
		assert_between(square * (double)m / factor, 0.8, 1.2, "variance over the formula");
		if (last > 0)
			assert_between(sqrt(last / square), 1.8, 2.2, "error at m over error at 4 m");
		last = square;
		head_free(&h);
	}
}

static void test_positive_variance(void **state)
{
	(void)state;
	variance_law("positive", exp(1) - 1);
}

/* m / 2 draws: 2 / m (1/2) (1 - e^-1) (e - 1) */
static void test_hyperbolic_variance(void **state)
{
	(void)state;
	variance_law("hyperbolic", (1 - exp(-1)) * (exp(1) - 1));
}

/* (1 / m) e^(|z|^2) SM^-2 (1 - e^-|x-y|^2)^2 */
static void test_trig_variance(void **state)
{
	(void)state;
	variance_law("trig", exp(1) * pow(1 - exp(-1), 2));
}

/* Softmax of cosines / tau^2, the target of rfa. */
static double *cosine_softmax(const struct head *h, double tau)
{
	struct head unit = *h;
	const struct attn_shape *s = &h->shape;
	float *q = take(s->n_q * s->d * sizeof *q), *k = take(s->n_k * s->d * sizeof *k);

	unit.q = memcpy(q, h->q, s->n_q * s->d * sizeof *q);
	unit.k = memcpy(k, h->k, s->n_k * s->d * sizeof *k);
	unit.shape.scale = (float)(1 / (tau * tau));
	for (size_t i = 0; i < s->n_q + s->n_k; i++) {
		float *x = i < s->n_q ? q + i * s->d : k + (i - s->n_q) * s->d;
		double norm = 0;
		for (size_t e = 0; e < s->d; e++)
			norm += (double)x[e] * (double)x[e];
		for (size_t e = 0; e < s->d; e++)
			x[e] = (float)((double)x[e] / sqrt(norm));
	}
	double *out = definition(&unit, attn_find("full"));
	free(q);
	free(k);
	return out;
}

/* At the level of outputs, on d = 32: about .21, .11 and .05 at m = 64, 256, 1024. */
static void test_rfa_law(void **state)
{
	enum { SEEDS = 6 };
	double last = 0;

	(void)state;
	for (size_t m = 64; m <= 1024; m *= 4) {
		char args[32];
		double mean = 0;
		snprintf(args, sizeof args, "m=%zu", m);
		struct head h = head_of("rfa", args, 256, 256, 32, 32, false, 1);
		double *want = cosine_softmax(&h, 1);
		for (uint64_t seed = 0; seed < SEEDS; seed++) {
			h.variant->prepare(&h.shape, h.arg, seed, h.state);
			run(&h);
			mean += error_to(h.out, want, elements(&h)) / SEEDS;
		}
		assert_between(mean * sqrt((double)m), 1.0, 2.4, "error times sqrt(m)");
		if (last > 0)
			assert_between(last / mean, 1.6, 2.5, "error at m over error at 4 m");
		last = mean;
		free(want);
		head_free(&h);
	}
}

/* Denominators that noise makes tiny or negative are held away from 0 and counted. */
static void test_rfa_clamps(void **state)
{
	(void)state;
	struct head warm = head_of("rfa", "m=64:tau=1", 200, 200, 32, 8, true, 1);
	struct head cold = head_of("rfa", "m=16:tau=0.1:den_min=0.05", 200, 200, 32, 8, true, 1);
	run(&warm);
	run(&cold);
	assert_true(warm.stats.clamped_rows == 0);
	assert_true(cold.stats.clamped_rows > 0);
	assert_below(own_error(&cold), 1e-4, "clamped rows follow the definition");
	for (size_t i = 0; i < elements(&cold); i++)
		assert_true(isfinite(cold.out[i]));
	head_free(&warm);
	head_free(&cold);
}

/* The references' stabiliser with eps = 1e-4 draws every row to the uniform average
 * at d = 64, sigma = 1, where the estimate itself is far off. */
static void test_performer_eps_is_uniform(void **state)
{
	struct head h = head_of("performer", "eps=0.0001", 256, 256, 64, 64, false, 1);
	struct head bare = head_of("performer", "", 256, 256, 64, 64, false, 1);
	struct head uniform = head_of("uniform", "", 256, 256, 64, 64, false, 1);

	(void)state;
	run(&h);
	run(&bare);
	run(&uniform);
	assert_below(distance(h.out, uniform.out, elements(&h)), 0.2, "with eps: distance to uniform");
	assert_true(distance(bare.out, uniform.out, elements(&h)) > 1);
	head_free(&h);
	head_free(&bare);
	head_free(&uniform);
}

/* ---- limits of the linear family ---- */

/* The first term left out is s^3 / 6. */
static void test_taylor2_third_order(void **state)
{
	double last = 0;

	(void)state;
	for (double sigma = 0.05; sigma < 0.3; sigma *= 2) {
		struct head h = head_of("taylor2", "", 256, 256, 16, 16, false, sigma);
		run(&h);
		double error = exact_error(&h);
		if (last > 0)
			assert_between(error / last, 6.5, 9.5, "error at 2 sigma over error at sigma");
		last = error;
		head_free(&h);
	}
	assert_below(last, 0.02, "error at sigma = 0.2");
}

/* Weights depend on i - j and M alone: a longer sequence leaves its prefix as it
 * was. Where M is much longer than the sequence it is relu attention. */
static void test_cosformer_fixed_length(void **state)
{
	(void)state;
	struct head longer = head_of("cosformer", "M=200", 128, 128, 16, 16, true, 1);
	struct head shorter = head_of("cosformer", "M=200", 64, 64, 16, 16, true, 1);
	struct head far = head_of("cosformer", "M=1000000", 64, 64, 16, 16, true, 1);
	struct head relu = head_of("performer-relu", "proj=identity:eps=0", 64, 64, 16, 16, true, 1);
	double arg[ATTN_MAX_PARAMS] = { 127, 0, 0 };
	struct attn_plan plan;

	run(&longer);
	run(&shorter);
	run(&far);
	run(&relu);
	assert_below(distance(longer.out, shorter.out, elements(&shorter)), 1e-6, "prefix");
	assert_below(distance(far.out, relu.out, elements(&far)), 1e-6, "M -> infinity");
	assert_true(distance(shorter.out, relu.out, elements(&far)) > 1e-3);
	assert_non_null(longer.variant->plan(&longer.shape, arg, 1, &plan)); /* n > M */
	head_free(&longer);
	head_free(&shorter);
	head_free(&far);
	head_free(&relu);
}

/* A trained projection comes from outside. */
static void test_hedgehog_inputs(void **state)
{
	enum { D = 12 };
	float w[D * D], b[D];

	(void)state;
	attn_random_normals(9, 1, 0, D * D, w);
	attn_random_normals(9, 2, 0, D, b);
	for (size_t i = 0; i < D * D; i++)
		w[i] *= 0.2f;
	struct head plain = head_of("hedgehog", "", 70, 70, D, D, true, 1);
	struct head h = head_of("hedgehog", "", 70, 70, D, D, true, 1);
	h.aux[0] = (struct attn_aux){ "W", w, D, D };
	h.aux[1] = (struct attn_aux){ "b", b, 1, D };
	run(&plain);
	run(&h);
	assert_below(own_error(&h), 5e-6, "hedgehog with W and b");
	assert_true(distance(h.out, plain.out, elements(&h)) > 1e-2);
	head_free(&plain);
	head_free(&h);
}

/* Constant V gives a constant after 16384 keys: sums of equal terms, such as the
 * eps of half of all relu features, must not be rounded the same way each time. */
static void test_sums_do_not_stall(void **state)
{
	static const char *const cases[][2] = {
		{ "performer-relu", "proj=identity" }, { "performer-relu", "m=32" }, { "linear-elu", "" },
		{ "taylor1", "" }, { "hedgehog", "" }, { "uniform", "" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		for (int causal = 0; causal < 2; causal++) {
			struct head h = head_of(cases[i][0], cases[i][1], 16384, 16384, 16, 8, causal, 1);
			double worst = 0;
			for (size_t j = 0; j < elements(&h); j++)
				h.v[j] = 3;
			run(&h);
			for (size_t j = 0; j < elements(&h); j++)
				worst = fmax(worst, fabs((double)h.out[j] / 3 - 1));
			assert_below(worst, 5e-6, cases[i][0]);
			head_free(&h);
		}
	}
}

/* ---- recurrent forms ---- */

static void fill(float *x, size_t n, float value)
{
	for (size_t i = 0; i < n; i++)
		x[i] = value;
}

/* A gate that never moves is retention's decay. */
static void test_gla_constant_gate(void **state)
{
	enum { N = 300, D = 24 };
	float *gate = take(N * D * sizeof *gate);

	(void)state;
	struct head gla = head_of("gla", "", N, N, D, 20, true, 1);
	struct head retention = head_of("retention", "gamma=0.9375", N, N, D, 20, true, 1);
	struct head open = head_of("gla", "", N, N, D, 20, true, 1);
	struct head no_decay = head_of("retention", "gamma=1", N, N, D, 20, true, 1);
	fill(gate, N * D, logf(0.9375f));
	gla.aux[0] = (struct attn_aux){ "log_gate", gate, N, D };
	run(&gla);
	run(&retention);
	assert_below(distance(gla.out, retention.out, elements(&gla)), 2e-6, "gla and retention");
	fill(gate, N * D, 0);
	open.aux[0] = gla.aux[0];
	run(&open);
	run(&no_decay);
	assert_below(distance(open.out, no_decay.out, elements(&gla)), 2e-6, "gla without gates");
	free(gate);
	head_free(&gla);
	head_free(&retention);
	head_free(&open);
	head_free(&no_decay);
}

/* ln alpha down to -1000 in one token, in some channels, and open in others. */
static void test_gla_strong_gates(void **state)
{
	enum { N = 200, D = 16 };
	float *gate = take(N * D * sizeof *gate);

	(void)state;
	for (size_t i = 0; i < N * D; i++) {
		double u = attn_random_uniform(11, 1, i);
		gate[i] = u < 0.2 ? -1000 : u < 0.4 ? -20 : u < 0.7 ? -1 : 0;
	}
	struct head h = head_of("gla", "", N, N, D, 16, true, 1);
	h.aux[0] = (struct attn_aux){ "log_gate", gate, N, D };
	run(&h);
	for (size_t i = 0; i < elements(&h); i++)
		assert_true(isfinite(h.out[i]));
	assert_below(own_error(&h), 5e-6, "gla with strong gates");
	free(gate);
	head_free(&h);
}

static void test_lightning_is_retention(void **state)
{
	(void)state;
	for (int causal = 0; causal < 2; causal++) {
		struct head lightning = head_of("lightning", "slope=0.1", 150, 150, 16, 16, causal, 1);
		struct head retention = head_of("retention", "", 150, 150, 16, 16, causal, 1);
		retention.shape.scale = 1;
		retention.arg[0] = exp(-0.1);
		run(&lightning);
		run(&retention);
		assert_below(distance(lightning.out, retention.out, elements(&lightning)), 1e-6, "lightning");
		head_free(&lightning);
		head_free(&retention);
	}
}

/* Slopes of ALiBi: halves of a power for 8 heads; every second of 16 beyond. */
static void test_lightning_slopes(void **state)
{
	struct attn_shape s = { .n_q = 1, .n_k = 1, .d = 1, .d_v = 1, .heads = 8, .head = 3 };
	double arg[2] = { NAN, 0 };

	(void)state;
	attn_find("lightning")->resolve(&s, arg);
	assert_true(fabs(arg[0] - 1.0 / 16) < 1e-15);
	s.heads = 12;
	s.head = 9; /* second beyond 8: exponent 8 * 3 / 16 */
	arg[0] = NAN;
	attn_find("lightning")->resolve(&s, arg);
	assert_true(fabs(arg[0] - pow(2, -1.5)) < 1e-15);
}

enum { KEYS = 16 };

/* Token t < KEYS writes value t under the row of an orthonormal matrix that
 * `order` names; tokens after ask for key t - KEYS without writing. */
static struct head memory_of(const char *name, const char *args, const size_t *order, float *beta)
{
	struct head h = head_of(name, args, 2 * KEYS, 2 * KEYS, KEYS, 8, true, 1);
	float w_t[KEYS * KEYS];

	h.shape.scale = 1;
	projection_gaussian(w_t, KEYS, KEYS, true, PROJECTION_ROOT, 2, 2);
	for (size_t t = 0; t < 2 * KEYS; t++) {
		size_t r = t < KEYS ? order[t] : t - KEYS;
		for (size_t c = 0; c < KEYS; c++) {
			h.q[t * KEYS + c] = w_t[c * KEYS + r] / sqrtf(KEYS);
			h.k[t * KEYS + c] = t < KEYS ? h.q[t * KEYS + c] : 0;
		}
		if (beta)
			beta[t] = t < KEYS;
	}
	if (beta)
		h.aux[0] = (struct attn_aux){ "beta", beta, 2 * KEYS, 1 };
	return h;
}

/* Orthonormal keys and beta = 1: what was written is read back. A key written again
 * holds the latest value, where an additive memory holds the sum. */
static void test_deltanet_memory(void **state)
{
	static const size_t once[KEYS] = { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15 };
	static const size_t twice[KEYS] = { 0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 2, 3, 4, 5, 6, 7 };
	float beta[2 * KEYS];

	(void)state;
	struct head h = memory_of("deltanet", "", once, beta);
	run(&h);
	assert_below(distance(h.out + KEYS * 8, h.v, KEYS * 8), 1e-6, "recall");
	head_free(&h);

	struct head delta = memory_of("deltanet", "", twice, beta);
	struct head sum = memory_of("lightning", "slope=0", twice, NULL);
	run(&delta);
	run(&sum);
	assert_below(distance(delta.out + KEYS * 8, delta.v + KEYS / 2 * 8, KEYS / 2 * 8), 1e-6, "the latest");
	for (size_t i = 0; i < KEYS / 2 * 8; i++) {
		float both = sum.v[i] + sum.v[KEYS / 2 * 8 + i];
		assert_true(fabsf(sum.out[KEYS * 8 + i] - both) < 1e-5f);
	}
	head_free(&delta);
	head_free(&sum);
}

/* ---- compressed, position and Fourier forms ---- */

/* All rows as landmarks, no ridge, an exact inverse: C V. */
static void test_skyformer_limit(void **state)
{
	enum { N = 40, D = 16 };
	struct head h = head_of("skyformer", "m=80:ridge=0:pinv=exact", N, N, D, D, false, 1);
	double want[N * D] = { 0 };

	(void)state;
	run(&h);
	for (size_t i = 0; i < N; i++) {
		for (size_t j = 0; j < N; j++) {
			double square = 0;
			for (size_t e = 0; e < D; e++)
				square += pow((double)h.q[i * D + e] - (double)h.k[j * D + e], 2);
			for (size_t e = 0; e < D; e++)
				want[i * D + e] += exp(-square / (2 * sqrt((double)D))) * (double)h.v[j * D + e];
		}
	}
	assert_below(error_to(h.out, want, N * D), 1e-5, "skyformer at m = 2 n");
	head_free(&h);
}

/* Piecewise constant keys and values over blocks: pooling loses nothing, also when
 * the last block is short. */
static void test_pooled_piecewise_constant(void **state)
{
	enum { N = 100, D = 16, C = 7 };
	struct head h = head_of("pooled", "c=7", N, N, D, D, false, 1);

	(void)state;
	for (size_t j = 0; j < N; j++) {
		memcpy(h.k + j * D, h.k + j / C * C * D, D * sizeof(float));
		memcpy(h.v + j * D, h.v + j / C * C * D, D * sizeof(float));
	}
	run(&h);
	assert_below(exact_error(&h), 2e-6, "pooled on constant blocks");
	head_free(&h);
}

static void test_aft_without_bias(void **state)
{
	(void)state;
	for (int causal = 0; causal < 2; causal++) {
		struct head full = head_of("aft-full", "bias=0", 300, 300, 24, 24, causal, 1);
		struct head simple = head_of("aft-simple", "", 300, 300, 24, 24, causal, 1);
		run(&full);
		run(&simple);
		assert_below(distance(full.out, simple.out, elements(&full)), 2e-6, "aft-full without a bias");
		head_free(&full);
		head_free(&simple);
	}
}

/* Keys that rise by 50 every token: a maximum shared by a block of tokens would
 * flush all but the last to zero. */
static void test_rising_keys(void **state)
{
	static const char *const names[] = { "aft-simple", "aft-full", "performer", "efficient", "hedgehog" };
	enum { N = 150, D = 8 };

	(void)state;
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		struct head h = head_of(names[i], i == 2 ? "m=32:map=hyperbolic" : "", N, N, D, D, true, 1);
		bool features = i == 2 || i == 4; /* exponents grow with |k|: stay within double */
		for (size_t j = 0; j < N * D; j++)
			h.k[j] += features ? 0.6f * (float)(j / D) / 2 : 50.0f * (float)(j / D);
		run(&h);
		assert_below(own_error(&h), features ? 2e-5 : 5e-6, names[i]);
		head_free(&h);
	}
}

/* The double sum at a length that is no power of two, by hand. */
static void test_fnet_direct(void **state)
{
	enum { N = 12, E = 5 };
	struct head h = head_of("fnet", "", N, N, E, E, false, 1);
	double want[N * E] = { 0 };

	(void)state;
	run(&h);
	for (size_t a = 0; a < N; a++)
		for (size_t b = 0; b < E; b++)
			for (size_t t = 0; t < N; t++)
				for (size_t f = 0; f < E; f++)
					want[a * E + b] += (double)h.v[t * E + f] *
					                   cos(2 * acos(-1) * ((double)(a * t) / N + (double)(b * f) / E));
	assert_below(error_to(h.out, want, N * E), 1e-6, "fnet at n = 12");
	head_free(&h);
}

/* Lengths of one pass, of several, with large primes inside, and prime: the
 * definition, on one thread and on three. */
static void test_fnet_lengths(void **state)
{
	static const size_t lengths[] = { 1, 2, 16, 17, 61, 64, 67, 121, 240, 256, 268, 509, 600 };
	const char *why;
	struct team *team = team_create(3, NULL, &why);

	(void)state;
	assert_non_null(team);
	for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
		struct head h = head_of("fnet", "", lengths[i], lengths[i], 4, 33 + i % 3, false, 1);
		run(&h);
		assert_below(own_error(&h), 2e-6, "fnet");
		run_on(&h, team);
		assert_below(own_error(&h), 2e-6, "fnet on three threads");
		head_free(&h);
	}
	team_destroy(team);
}

/* Enough tokens for several tiles and chunks on every thread. */
static void test_teams(void **state)
{
	static const char *const names[] = { "aft-full", "aft-simple", "gla", "deltanet", "skyformer", "taylor2",
		                             "lightning", "uniform", "performer", "rfa" };
	const char *why;

	(void)state;
	for (size_t ranks = 2; ranks <= 4; ranks++) {
		struct team *team = team_create(ranks, NULL, &why);
		assert_non_null(team);
		for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
			for (int causal = 0; causal < 2; causal++) {
				unsigned form = causal ? ATTN_CAUSAL : ATTN_BIDIRECTIONAL;
				if (!(attn_find(names[i])->flags & form))
					continue;
				struct head h = head_of(names[i], "", 700, 700, 40, 40, causal, 0.3);
				float *alone = take(elements(&h) * sizeof *alone);
				run(&h);
				memcpy(alone, h.out, elements(&h) * sizeof *alone);
				run_on(&h, team);
				assert_below(distance(h.out, alone, elements(&h)), 3e-6, names[i]);
				free(alone);
				head_free(&h);
			}
		}
		team_destroy(team);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_haar),
		cmocka_unit_test(test_orthogonal_blocks),
		cmocka_unit_test(test_positive_variance),
		cmocka_unit_test(test_hyperbolic_variance),
		cmocka_unit_test(test_trig_variance),
		cmocka_unit_test(test_rfa_law),
		cmocka_unit_test(test_rfa_clamps),
		cmocka_unit_test(test_performer_eps_is_uniform),
		cmocka_unit_test(test_taylor2_third_order),
		cmocka_unit_test(test_cosformer_fixed_length),
		cmocka_unit_test(test_hedgehog_inputs),
		cmocka_unit_test(test_sums_do_not_stall),
		cmocka_unit_test(test_gla_constant_gate),
		cmocka_unit_test(test_gla_strong_gates),
		cmocka_unit_test(test_lightning_is_retention),
		cmocka_unit_test(test_lightning_slopes),
		cmocka_unit_test(test_deltanet_memory),
		cmocka_unit_test(test_skyformer_limit),
		cmocka_unit_test(test_pooled_piecewise_constant),
		cmocka_unit_test(test_aft_without_bias),
		cmocka_unit_test(test_rising_keys),
		cmocka_unit_test(test_fnet_direct),
		cmocka_unit_test(test_fnet_lengths),
		cmocka_unit_test(test_teams),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
