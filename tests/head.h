/* SPDX-License-Identifier: BSD-3-Clause
 *
 * One head for tests of single variants: inputs that can be changed, named inputs
 * beside them, runs on one thread or a team, and the definitions. */
#ifndef TESTS_HEAD_H
#define TESTS_HEAD_H

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
#include "../harness/team.h"

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

static inline void *take(size_t bytes)
{
	void *p = aligned_alloc(ATTN_ALIGN, (bytes + ATTN_ALIGN) / ATTN_ALIGN * ATTN_ALIGN);

	assert_non_null(p);
	return p;
}

/* "m=64:map=trig" into arguments. */
static inline void arguments(const struct attn_variant *v, const char *text, double *arg)
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
static inline struct head head_of(const char *name, const char *args, size_t n_q, size_t n_k, size_t d, size_t d_v,
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

static inline void head_free(struct head *h)
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

static inline void rank_main(void *arg, struct attn_team *me)
{
	const struct run *run = arg;
	struct attn_call call = run->call;

	call.scratch = run->scratch[me->rank];
	call.stats = me->rank == 0 ? &run->head->stats : NULL;
	run->head->variant->forward(&call, me);
}

static inline void run_on(struct head *h, struct team *team)
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

static inline void run(struct head *h)
{
	run_on(h, NULL);
}

/* ---- definitions ---- */

struct owner {
	double *block[64];
	size_t count;
};

static inline double *owner_alloc(void *arg, size_t doubles)
{
	struct owner *owner = arg;

	assert_true(owner->count < 64);
	return owner->block[owner->count++] = take((doubles + 1) * sizeof(double));
}

static inline double *widen(struct owner *owner, const float *x, size_t n)
{
	double *y = owner_alloc(owner, n);

	for (size_t i = 0; i < n; i++)
		y[i] = (double)x[i];
	return y;
}

/* All rows of a definition on the inputs of h: its own, or of another variant at
 * its default arguments. Freed by the caller. */
static inline double *definition(const struct head *h, const struct attn_variant *of)
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

static inline double error_to(const float *x, const double *y, size_t n)
{
	double off = 0, size = 0;

	for (size_t i = 0; i < n; i++) {
		off += ((double)x[i] - y[i]) * ((double)x[i] - y[i]);
		size += y[i] * y[i];
	}
	return sqrt(off / size);
}

static inline double distance(const float *x, const float *y, size_t n)
{
	double off = 0, size = 0;

	for (size_t i = 0; i < n; i++) {
		off += ((double)x[i] - (double)y[i]) * ((double)x[i] - (double)y[i]);
		size += (double)y[i] * (double)y[i];
	}
	return sqrt(off / size);
}

static inline size_t elements(const struct head *h)
{
	return h->shape.n_q * h->shape.d_v;
}

static inline double own_error(const struct head *h)
{
	double *want = definition(h, h->variant), error = error_to(h->out, want, elements(h));

	free(want);
	return error;
}

/* rel_fro against softmax attention. */
static inline double exact_error(const struct head *h)
{
	double *want = definition(h, attn_find("full")), error = error_to(h->out, want, elements(h));

	free(want);
	return error;
}

static inline void assert_below(double x, double bound, const char *what)
{
	if (!(x <= bound))
		fail_msg("%s: %.3g, allowed %.3g", what, x, bound);
}

static inline void assert_between(double x, double low, double high, const char *what)
{
	if (!(x >= low && x <= high))
		fail_msg("%s: %.3g, not in %.3g .. %.3g", what, x, low, high);
}

#endif
