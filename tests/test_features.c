/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Laws of random features, and limits that join the linear variants to others.
 * Seeds are fixed, so that a statistical bound either holds or does not. */
#include "head.h"

#include "../attention/engine/projection.h"

/* ---- random projections ---- */

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

int main(void)
{
	const struct CMUnitTest tests[] = {
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
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
