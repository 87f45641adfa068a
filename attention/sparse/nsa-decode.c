/* SPDX-License-Identifier: BSD-3-Clause
 *
 * nsa, decoding: a cache and the compressed keys. The last of the tokens that make a
 * compressed key adds it; what a query chooses follows from the scores of these, as
 * in the forward form. */
#include "nsa.h"

#include "../engine/cache.h"
#include "../engine/chosen.h"

#include <string.h>

struct past {
	float *longest; /* 1: of the compressed keys */
	double *exact;
	float *k, *v;
	struct cache cache;
};

static struct past past_at(const struct attn_shape *s, const double *arg, struct layout *l)
{
	size_t n = nsa_compressed(arg, s->n_k);
	struct past past;

	LAYOUT(l, past.longest, 1);
	LAYOUT(l, past.exact, n * s->d);
	LAYOUT(l, past.k, n * s->d);
	LAYOUT(l, past.v, n * s->d_v);
	past.cache = cache_at(l, s, s->n_k, 0);
	return past;
}

/* What a step works with; score and parts are shared. */
struct step {
	void *single, *parts[3]; /* of each branch */
	size_t ld;               /* of score */
	float *score, *weight, *importance; /* queries x ld, ld, blocks */
	float *branch;           /* queries x d_v */
	uint32_t *block;         /* choices */
	struct cache_run *run;   /* choices + 2 */
	struct pick pick;
};

static struct step step_at(const struct attn_shape *s, const double *arg, size_t queries, size_t ranks,
                           struct layout *shared, struct layout *scratch)
{
	size_t nb = nsa_blocks(s, arg), choose = nsa_choices(s, arg);
	struct step w = { .ld = nsa_compressed(arg, s->n_k) };

	for (size_t branch = 0; branch < 3; branch++)
		w.parts[branch] = layout_take(shared, single_shared_bytes(s->d_v, queries, ranks));
	LAYOUT(shared, w.score, queries * w.ld);
	w.single = layout_take(scratch, single_scratch_bytes(s->type, s->d, s->d_v, queries));
	LAYOUT(scratch, w.weight, w.ld);
	LAYOUT(scratch, w.importance, nb);
	LAYOUT(scratch, w.branch, queries * s->d_v);
	LAYOUT(scratch, w.block, choose);
	LAYOUT(scratch, w.run, choose + 2);
	void *pick = layout_take(scratch, pick_row_bytes(nb, choose));
	if (pick)
		pick_row_init(&w.pick, pick, nb, choose);
	return w;
}

static const char *decode_plan(const struct attn_decode *slot, const struct attn_shape *s, const double *arg,
                               size_t queries, size_t ranks, struct attn_decode_plan *p)
{
	static work_band *const bands[] = { nsa_compressed_band, nsa_window, nsa_latest_blocks, nsa_first_block };
	struct layout past = { .base = NULL }, shared = { .base = NULL }, scratch = { .base = NULL };
	size_t own = (s->n_k - 1) / (size_t)arg[BLOCK], pairs, lo, hi;

	(void)slot;
	pairs = nsa_least(nsa_choices(s, arg), own > 2 ? own - 2 : 0) * (size_t)arg[BLOCK];
	for (size_t i = 0; i < sizeof bands / sizeof *bands; i++) {
		bands[i](s, arg, s->n_k - 1, &lo, &hi);
		pairs += hi - lo;
	}
	cache_work(s, queries, (double)(queries * pairs), (double)(queries * pairs), p);
	past_at(s, arg, &past);
	step_at(s, arg, queries, ranks, &shared, &scratch);
	p->past = past.used;
	p->step.shared = shared.used;
	p->step.scratch = scratch.used;
	return NULL;
}

static void decode_start(const struct attn_decode_call *c)
{
	struct layout l = { .base = c->past };

	*past_at(c->shape, c->arg, &l).longest = 0;
}

static void decode_append(const struct attn_decode_call *c)
{
	struct layout l = { .base = c->past };
	struct past past = past_at(c->shape, c->arg, &l);
	const struct compressed shape = nsa_shape_of(c->arg);
	size_t d = c->shape->d, d_v = c->shape->d_v;

	cache_append(&past.cache, c);
	for (size_t u = nsa_compressed(c->arg, c->length); u < nsa_compressed(c->arg, c->length + c->tokens); u++) {
		size_t j = u * shape.st;
		compressed_mean(&shape, c->kern, cache_key(&past.cache, j), d, d, cache_value(&past.cache, j), d_v,
		                d_v, past.exact + u * d, past.k + u * d, past.v + u * d_v);
		*past.longest = fmaxf(*past.longest, chosen_longest(c->kern, past.k + u * d, 1, d));
	}
}

/* pick_exact: a query's importance of block b. */
struct exact_row {
	const struct attn_decode_call *c;
	const float *q;
	const double *exact;
};

static double exact_row(const void *ctx, size_t lane, size_t b)
{
	const struct exact_row *x = ctx;
	const struct attn_shape *s = x->c->shape;
	const struct compressed shape = nsa_shape_of(x->c->arg);

	(void)lane;
	return compressed_importance(&shape, x->q, x->exact, s->d, (double)s->scale,
	                             nsa_compressed(x->c->arg, x->c->length + 1), b);
}

/* The runs of query r from its scores. Returns how many. */
static size_t choose_runs(const struct attn_decode_call *c, const struct past *past, struct step *w, size_t r)
{
	const struct attn_shape *s = c->shape;
	const struct compressed shape = nsa_shape_of(c->arg);
	const float *q = (const float *)c->q + r * c->ldq, *score = w->score + r * w->ld;
	const struct exact_row exact = { c, q, past->exact };
	size_t n = nsa_compressed(c->arg, c->length + 1), own = c->length / shape.block, count = 0, lo, hi;
	size_t nb = own > 1 ? own - 1 : 0;

	c->kern->exp_shift(w->weight, score, c->kern->max(score, n), n);
	compressed_importances(&shape, c->kern, w->weight, n, 1, nb, w->importance);
	if (nb > 0)
		w->importance[0] = KERN_MASKED; /* the first block is seen anyway */
	pick_row_scan(&w->pick, c->kern, w->importance, nb, nsa_importance_error(c->kern, s, q, *past->longest));
	count = pick_lane(&w->pick, 0, exact_row, &exact, w->block);
	for (size_t a = 0; a < count; a++)
		w->run[a] = cache_band(w->block[a] * shape.block, (w->block[a] + 1) * shape.block);
	nsa_first_block(s, c->arg, c->length, &lo, &hi);
	w->run[count++] = cache_band(lo, hi);
	nsa_latest_blocks(s, c->arg, c->length, &lo, &hi);
	w->run[count++] = cache_band(lo, hi);
	return count;
}

/* A branch ends: it is added to the output. */
static void add_branch(struct single *one, struct attn_team *team, struct step *w, size_t branch)
{
	const struct attn_decode_call *c = one->call;
	size_t d_v = c->shape->d_v;
	float gate[3];

	nsa_gates(c->aux, c->arg, gate);
	single_finish_to(one, team, w->parts[branch], w->branch, d_v, NULL);
	for (size_t r = 0; team->rank == 0 && r < c->queries; r++) {
		float *out = (float *)c->out + r * c->ldo;
		if (branch == 0)
			memset(out, 0, d_v * sizeof *out);
		c->kern->axpy(out, gate[branch], w->branch + r * d_v, d_v);
	}
	single_init(one, c, w->single, c->shape->type, c->shape->d, d_v);
	single_load(one, c->shape->scale);
}

/* Each rank scores a part of the compressed keys, all choose, the runs are divided. */
static void decode_step(const struct attn_decode_call *c, struct attn_team *team)
{
	const struct attn_shape *s = c->shape;
	struct layout l = { .base = c->past }, shared = { .base = c->shared }, scratch = { .base = c->scratch };
	struct past past = past_at(s, c->arg, &l);
	struct step w = step_at(s, c->arg, c->queries, team->size, &shared, &scratch);
	size_t all = nsa_compressed(c->arg, c->length + 1), lo, hi;
	size_t u = work_part(all, team->rank, team->size), n = work_part(all, team->rank + 1, team->size) - u;
	struct single one;

	if (team->rank == 0)
		decode_append(c);
	single_init(&one, c, w.single, s->type, s->d, s->d_v);
	single_load(&one, s->scale);
	attn_barrier(team);
	for (size_t r = 0; r < c->queries; r++) {
		float *score = w.score + r * w.ld + u;
		c->kern->rows_dot(score, past.k + u * s->d, s->d, n, one.q + r * s->d, s->d);
		memcpy(w.weight, score, n * sizeof *score);
		single_scores(&one, r, w.weight, past.v + u * s->d_v, s->d_v, n);
	}
	if (c->stats)
		c->stats->flops_executed += 2 * (double)(c->queries * n * s->d);
	add_branch(&one, team, &w, 0);
	attn_barrier(team);
	for (size_t r = 0; r < c->queries; r++) {
		size_t runs = choose_runs(c, &past, &w, r);
		single_only(&one, r);
		cache_look(&one, &past.cache, w.run, runs, 0, team);
	}
	add_branch(&one, team, &w, 1);
	nsa_window(s, c->arg, c->length, &lo, &hi);
	const struct cache_run run = cache_band(lo, hi);
	cache_look(&one, &past.cache, &run, 1, 0, team);
	add_branch(&one, team, &w, 2);
}

const struct attn_decode nsa_decode = {
	.keeps = "cache and compressed keys: n (d + d_v) (1 + 1/st)",
	.shares = true,
	.splits = true,
	.plan = decode_plan,
	.start = decode_start,
	.append = decode_append,
	.step = decode_step,
};
