/* SPDX-License-Identifier: BSD-3-Clause
 *
 * One head for the tests of single variants: inputs, a run on one thread, the
 * definition. Asserts instead of returning errors. */
#ifndef TESTS_ATTEND_H
#define TESTS_ATTEND_H

#include "../attention/attn.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct head {
	const struct attn_variant *variant;
	struct attn_shape shape;
	double arg[ATTN_MAX_PARAMS];
	float *q, *k, *v, *out, *lse;
	void *state;
	struct attn_stats stats; /* of the last run */
};

/* Gaussian inputs with unit logits; tied: k = q. */
static inline void head_fill(struct head *h, uint64_t seed)
{
	const struct attn_shape *s = &h->shape;
	bool tied = (h->variant->flags & ATTN_TIED) != 0;

	attn_random_normals(seed, 1, 0, s->n_q * s->d, h->q);
	attn_random_normals(seed, tied ? 1 : 2, 0, s->n_k * s->d, h->k);
	attn_random_normals(seed, 3, 0, s->n_k * s->d_v, h->v);
}

static inline void *head_alloc(size_t bytes)
{
	size_t rounded = (bytes + 2 * ATTN_ALIGN - 1) / ATTN_ALIGN * ATTN_ALIGN;
	void *p = aligned_alloc(ATTN_ALIGN, rounded);

	assert_non_null(p);
	return memset(p, 0xff, rounded); /* NaN as float and as double */
}

/* "name=value:..." over the defaults. */
static inline void head_arguments(const struct attn_variant *v, const char *text, double *arg)
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

static inline struct head head_new(const char *name, const char *arguments, size_t n_q, size_t n_k,
                                   size_t d, size_t d_v, bool causal, uint64_t seed)
{
	struct head h = { .variant = attn_find(name) };
	struct attn_plan plan = { 0 };

	assert_non_null(h.variant);
	h.shape = (struct attn_shape){ .n_q = n_q, .n_k = n_k, .d = d, .d_v = d_v, .causal = causal,
		                       .scale = attn_default_scale(d), .heads = 1, .type = ATTN_F32 };
	head_arguments(h.variant, arguments, h.arg);
	if (h.variant->resolve)
		h.variant->resolve(&h.shape, h.arg);
	assert_null(h.variant->plan(&h.shape, h.arg, 1, &plan));
	h.q = head_alloc(n_q * d * sizeof *h.q);
	h.k = head_alloc(n_k * d * sizeof *h.k);
	h.v = head_alloc(n_k * d_v * sizeof *h.v);
	h.out = head_alloc(n_q * d_v * sizeof *h.out);
	h.lse = head_alloc(n_q * sizeof *h.lse);
	h.state = head_alloc(plan.state);
	if (h.variant->prepare)
		h.variant->prepare(&h.shape, h.arg, seed, h.state);
	head_fill(&h, seed);
	return h;
}

static inline void head_free(struct head *h)
{
	free(h->q);
	free(h->k);
	free(h->v);
	free(h->out);
	free(h->lse);
	free(h->state);
}

static inline void head_run_with(struct head *h, const struct attn_aux *aux)
{
	const struct attn_shape *s = &h->shape;
	struct attn_team alone = { .size = 1 };
	struct attn_plan plan = { 0 };

	h->variant->plan(s, h->arg, 1, &plan);
	void *shared = head_alloc(plan.shared), *scratch = head_alloc(plan.scratch);
	h->stats = (struct attn_stats){ 0 };
	struct attn_call call = {
		.shape = s, .arg = h->arg, .kern = attn_kern_best(), .state = h->state, .q = h->q, .k = h->k,
		.v = h->v, .out = h->out, .lse = (h->variant->flags & ATTN_LSE) ? h->lse : NULL,
		.ldq = s->d, .ldk = s->d, .ldv = s->d_v, .ldo = s->d_v, .aux = aux, .shared = shared,
		.scratch = scratch, .stats = &h->stats,
	};
	h->variant->forward(&call, &alone);
	free(shared);
	free(scratch);
}

static inline void head_run(struct head *h)
{
	head_run_with(h, NULL);
}

/* v = the identity: out is then the attention matrix. Needs d_v == n_k. */
static inline void head_identity(struct head *h)
{
	assert_true(h->shape.d_v == h->shape.n_k);
	for (size_t i = 0; i < h->shape.n_k * h->shape.n_k; i++)
		h->v[i] = i % (h->shape.n_k + 1) == 0;
}

static inline double head_weight(const struct head *h, size_t i, size_t j)
{
	return (double)h->out[i * h->shape.d_v + j];
}

/* |out - want|_F / |want|_F */
static inline double head_error(const struct head *h, const double *want)
{
	double difference = 0, size = 0;

	for (size_t i = 0; i < h->shape.n_q * h->shape.d_v; i++) {
		double x = (double)h->out[i] - want[i];
		difference += x * x;
		size += want[i] * want[i];
	}
	return sqrt(difference / size);
}

struct head_owner {
	void *block[64];
	size_t count;
};

static inline double *head_oracle_alloc(void *arg, size_t doubles)
{
	struct head_owner *owner = arg;

	assert_true(owner->count < 64);
	return owner->block[owner->count++] = head_alloc(doubles * sizeof(double));
}

static inline double *head_widen(struct head_owner *owner, const float *x, size_t n)
{
	double *y = head_oracle_alloc(owner, n);

	for (size_t i = 0; i < n; i++)
		y[i] = (double)x[i];
	return y;
}

/* The definition of `variant` (NULL: the head's own) on the head's inputs; n_q x
 * d_v, freed by the caller. */
static inline double *head_oracle_with(const struct head *h, const char *variant, const struct attn_aux *aux)
{
	const struct attn_shape *s = &h->shape;
	const struct attn_variant *v = variant ? attn_find(variant) : h->variant;
	struct head_owner owner = { .count = 0 };
	double *out = head_alloc(s->n_q * s->d_v * sizeof *out), none[ATTN_MAX_PARAMS] = { 0 };
	size_t *rows = head_alloc(s->n_q * sizeof *rows);

	for (size_t i = 0; i < s->n_q; i++)
		rows[i] = i;
	struct attn_oracle_call call = {
		.shape = s, .arg = variant ? none : h->arg, .state = h->state, .aux = aux, .rows = rows,
		.n_rows = s->n_q, .out = out, .q = head_widen(&owner, h->q, s->n_q * s->d),
		.k = head_widen(&owner, h->k, s->n_k * s->d), .v = head_widen(&owner, h->v, s->n_k * s->d_v),
		.alloc = head_oracle_alloc, .owner = &owner,
	};
	v->oracle(&call);
	for (size_t i = 0; i < owner.count; i++)
		free(owner.block[i]);
	free(rows);
	return out;
}

/* The largest error against the head's own definition, as rel_fro. */
static inline double head_own_error(const struct head *h)
{
	double *want = head_oracle_with(h, NULL, NULL), error = head_error(h, want);

	free(want);
	return error;
}

#endif
