/* SPDX-License-Identifier: BSD-3-Clause
 *
 * topk: softmax over the k largest logits of each query.
 *
 *     S_i = the k largest visible s_ij, ties to the lowest j;  O_i = softmax over S_i
 *
 * Time n^2 d + n k d_v: nothing is saved in Q K^T. It is the bound that every
 * k-sparse pattern is measured against. Zhao et al. 2019, arXiv 1912.11637; Gupta
 * et al. 2021, arXiv 2106.06899.
 *
 * The choice is the definition's: see the engine's pick.h.
 */
#include "../engine/cache.h"
#include "../engine/pick.h"
#include "../engine/tile.h"
#include "../engine/work.h"
#include "../oracle/oracle.h"

#include <string.h>

enum { K };

static const struct attn_param params[] = {
	{ "k", "keys kept a query", ATTN_INT, 32, 1, 1 << 30, NULL },
	{ 0 },
};

static size_t kept(const struct attn_shape *s, const double *arg)
{
	return (size_t)arg[K] < s->n_k ? (size_t)arg[K] : s->n_k;
}

/* What a rank works with. */
struct work {
	struct pick pick;
	float *scores;    /* n_k x lanes */
	uint32_t *chosen; /* k */
	float *weight;    /* k */
};

static size_t work_bytes(const struct attn_shape *s, const double *arg)
{
	size_t k = kept(s, arg);

	return pick_bytes(s->n_k, k) + sizeof(float) * (s->n_k * KERN_MAX_LANES + 2 * k);
}

static struct work work_at(const struct attn_call *c)
{
	const struct attn_shape *s = c->shape;
	size_t k = kept(s, c->arg);
	char *mem = (char *)c->scratch + tile_scratch_bytes(s->d, s->d_v);
	struct work w;

	pick_init(&w.pick, mem, s->n_k, k);
	w.scores = (float *)(mem + pick_bytes(s->n_k, k));
	w.chosen = (uint32_t *)(w.scores + s->n_k * KERN_MAX_LANES);
	w.weight = (float *)(w.chosen + k);
	return w;
}

static const char *const cases[] = { "k=1", "k=5", NULL };

static const char *plan(const struct attn_shape *s, const double *arg, size_t ranks,
                        struct attn_plan *p)
{
	double k = (double)kept(s, arg), n = (double)s->n_k, pairs = work_visible_pairs(s), kept_pairs;

	(void)ranks;
	/* Rows that see at least k keys keep k, the others all they see. */
	if (s->causal) {
		double rows = (double)(s->n_q < s->n_k ? s->n_q : s->n_k), least = n - rows + 1;
		double few = k > least ? fmin(k - least, rows) : 0;
		kept_pairs = (rows - few) * k + few * least + few * (few - 1) / 2;
	} else {
		kept_pairs = (double)s->n_q * fmin(k, n);
	}
	work_softmax(s, kept_pairs, 0, p);
	p->flops_useful = 2 * (pairs * (double)s->d + kept_pairs * (double)s->d_v);
	p->flops_executed = 2 * (work_tiled_pairs(s, s->n_q) * (double)s->d + kept_pairs * (double)s->d_v);
	p->shared = TILE_SHARED_BYTES;
	p->scratch = tile_scratch_bytes(s->d, s->d_v) + work_bytes(s, arg);
	return NULL;
}

/* pick_exact: the query of a lane against key j. */
static double exact_score(const void *ctx, size_t lane, size_t j)
{
	const struct tile *t = ctx;
	const struct attn_call *c = t->call;
	const float *q = (const float *)c->q + (t->q0 + lane) * c->ldq, *k = (const float *)c->k + j * c->ldk;
	double sum = 0;

	for (size_t e = 0; e < c->shape->d; e++)
		sum += (double)q[e] * (double)k[e];
	return sum;
}

/* Largest error of a score of query i in log2 units. */
static float score_error(const struct attn_call *c, size_t i, float longest_key)
{
	const float *q = (const float *)c->q + i * c->ldq;
	float length = sqrtf(c->kern->dot(q, q, c->shape->d));

	return KERN_LOG2E * c->shape->scale * pick_dot_error(c->shape->d, length, longest_key);
}

/* Softmax over the chosen keys and the sum of their values. */
static void attend(const struct attn_call *c, const struct work *w, size_t r, size_t i, size_t count)
{
	size_t lanes = c->kern->lanes;
	float *out = (float *)c->out + i * c->ldo, sum = 0;

	for (size_t a = 0; a < count; a++)
		w->weight[a] = w->scores[w->chosen[a] * lanes + r] * KERN_LN2;
	float top = c->kern->max(w->weight, count);
	sum = c->kern->exp_shift(w->weight, w->weight, top, count);
	c->kern->gather_sum(out, c->shape->d_v, c->v, c->ldv, w->chosen, w->weight, count);
	if (sum > 0)
		c->kern->scale(out, 1 / sum, c->shape->d_v);
	if (c->lse)
		c->lse[i] = sum > 0 ? top + logf(sum) : -INFINITY;
	if (c->stats) {
		c->stats->pairs += (double)count;
		c->stats->flops_executed += 2.0 * (double)(count * c->shape->d_v);
	}
}

/* One tile: scores, hidden keys masked, choices, rows. */
static void run_tile(struct tile *t, struct work *w, float longest_key)
{
	const struct attn_call *c = t->call;
	size_t lanes = c->kern->lanes, n = tile_visible(c->shape, t->q0 + t->rows - 1);
	float error[KERN_MAX_LANES];

	c->kern->tile_scores(&t->k, c->k, c->ldk, n, w->scores);
	attn_phase(c->stats, ATTN_SELECTS);
	for (size_t r = 0; r < t->rows; r++) {
		error[r] = score_error(c, t->q0 + r, longest_key);
		for (size_t j = tile_visible(c->shape, t->q0 + r); j < n; j++)
			w->scores[j * lanes + r] = KERN_MASKED;
	}
	pick_scan(&w->pick, c->kern, w->scores, n, t->rows, error);
	for (size_t r = 0; r < t->rows; r++) {
		attn_phase(c->stats, ATTN_SELECTS);
		size_t count = pick_lane(&w->pick, r, exact_score, t, w->chosen);
		attn_phase(c->stats, ATTN_ATTENDS);
		attend(c, w, r, t->q0 + r, count);
	}
	if (c->stats)
		c->stats->flops_executed += 2.0 * (double)(lanes * n * c->shape->d);
}

static void forward(const struct attn_call *c, struct attn_team *team)
{
	const struct attn_shape *s = c->shape;
	struct work w = work_at(c);
	size_t lanes = c->kern->lanes, tiles = (s->n_q + lanes - 1) / lanes;
	float longest = 0;
	struct tile t;

	for (size_t j = 0; j < s->n_k; j++) {
		const float *k = (const float *)c->k + j * c->ldk;
		longest = fmaxf(longest, c->kern->dot(k, k, s->d));
	}
	tile_init(&t, c, c->scratch, s->d, s->d_v);
	for (size_t u = team->rank; u < tiles; u += team->size) {
		t.q0 = u * lanes;
		tile_load(&t, (const float *)c->q + t.q0 * c->ldq, c->ldq,
		          s->n_q - t.q0 < lanes ? s->n_q - t.q0 : lanes);
		run_tile(&t, &w, sqrtf(longest));
	}
}

/* ---- decoding: all keys of the cache are scored ---- */

struct past {
	float *longest; /* 1: of the keys */
	struct cache cache;
};

static struct past past_at(const struct attn_shape *s, struct layout *l)
{
	struct past past;

	LAYOUT(l, past.longest, 1);
	past.cache = cache_at(l, s, s->n_k, 0);
	return past;
}

/* Queries by the scale, and scores: shared. */
struct scored_rows {
	float *q, *score; /* queries x d, x n_k */
};

static struct scored_rows scored_rows_at(const struct attn_shape *s, size_t queries, struct layout *l)
{
	struct scored_rows rows;

	LAYOUT(l, rows.q, queries * s->d);
	LAYOUT(l, rows.score, queries * s->n_k);
	return rows;
}

static const char *decode_plan(const struct attn_decode *slot, const struct attn_shape *s, const double *arg,
                               size_t queries, size_t ranks, struct attn_decode_plan *p)
{
	struct layout past = { .base = NULL }, shared = { .base = NULL };
	size_t k = kept(s, arg), n = s->n_k;

	(void)slot;
	(void)ranks;
	cache_work(s, queries, (double)(queries * k), 0, p);
	p->step.flops_useful = 2 * (double)queries * ((double)n * (double)s->d + (double)k * (double)s->d_v);
	p->step.flops_executed = p->step.flops_useful;
	p->step.bytes += (double)(n * s->d + queries * k * s->d_v) * sizeof(float);
	past_at(s, &past);
	scored_rows_at(s, queries, &shared);
	p->past = past.used;
	p->step.shared = shared.used;
	p->step.scratch = pick_row_bytes(n, k) + 2 * k * sizeof(float);
	return NULL;
}

static void decode_start(const struct attn_decode_call *c)
{
	struct layout l = { .base = c->past };

	*past_at(c->shape, &l).longest = 0;
}

static void decode_append(const struct attn_decode_call *c)
{
	struct layout l = { .base = c->past };
	struct past past = past_at(c->shape, &l);

	cache_append(&past.cache, c);
	for (size_t i = 0; i < c->tokens; i++) {
		const float *k = (const float *)c->k + i * c->ldk;
		*past.longest = fmaxf(*past.longest, sqrtf(c->kern->dot(k, k, c->shape->d)));
	}
}

/* Row r of the output from its scores. */
static void decode_row(const struct attn_decode_call *c, const struct past *past, const float *score, size_t r)
{
	const struct attn_shape *s = c->shape;
	const struct kern *kern = c->kern;
	size_t k = kept(s, c->arg);
	uint32_t *chosen = c->scratch;
	float *weight = (float *)(chosen + k), *out = (float *)c->out + r * c->ldo;
	const float *q = (const float *)c->q + r * c->ldq;
	const struct pick_rows keys = { .q = q, .x = cache_key(&past->cache, 0), .d = s->d };
	struct pick pick;

	pick_row_init(&pick, weight + k, s->n_k, k);
	pick_row_scan(&pick, kern, score, c->length + 1,
	              s->scale * pick_dot_error(s->d, sqrtf(kern->dot(q, q, s->d)), *past->longest));
	size_t count = pick_lane(&pick, 0, pick_rows_exact, &keys, chosen);
	for (size_t a = 0; a < count; a++)
		weight[a] = score[chosen[a]];
	float sum = kern->exp_shift(weight, weight, kern->max(weight, count), count);
	kern->gather_sum(out, s->d_v, cache_value(&past->cache, 0), s->d_v, chosen, weight, count);
	kern->scale(out, 1 / sum, s->d_v);
	if (c->stats) {
		c->stats->pairs += (double)count;
		c->stats->flops_executed += 2 * (double)(count * s->d_v);
	}
}

/* Each rank scores a stretch of keys; the choice is rank 0's. */
static void decode_step(const struct attn_decode_call *c, struct attn_team *team)
{
	const struct attn_shape *s = c->shape;
	struct layout l = { .base = c->past }, shared = { .base = c->shared };
	struct past past = past_at(s, &l);
	struct scored_rows rows = scored_rows_at(s, c->queries, &shared);
	size_t j = work_part(c->length + 1, team->rank, team->size), end;

	if (team->rank == 0) {
		decode_append(c);
		for (size_t r = 0; r < c->queries; r++)
			memcpy(rows.q + r * s->d, (const float *)c->q + r * c->ldq, s->d * sizeof(float));
		c->kern->scale(rows.q, s->scale, c->queries * s->d);
	}
	attn_barrier(team);
	for (end = work_part(c->length + 1, team->rank + 1, team->size); j < end; j += SINGLE_BLOCK) {
		size_t n = end - j < SINGLE_BLOCK ? end - j : SINGLE_BLOCK;
		for (size_t r = 0; r < c->queries; r++)
			c->kern->rows_dot(rows.score + r * s->n_k + j, cache_key(&past.cache, j), s->d, n,
			                  rows.q + r * s->d, s->d);
		if (c->stats)
			c->stats->flops_executed += 2 * (double)(c->queries * n * s->d);
	}
	attn_barrier(team);
	for (size_t r = 0; team->rank == 0 && r < c->queries; r++)
		decode_row(c, &past, rows.score + r * s->n_k, r);
}

static const struct attn_decode decode = {
	.keeps = "cache: n (d + d_v)",
	.shares = true,
	.splits = true,
	.plan = decode_plan,
	.start = decode_start,
	.append = decode_append,
	.step = decode_step,
};

const struct attn_variant attn_topk = {
	.abi = ATTN_ABI,
	.name = "topk",
	.family = "sparse",
	.title = "exact top-k",
	.paper = "Zhao et al. 2019, arXiv 1912.11637; Gupta et al. 2021, arXiv 2106.06899",
	.formula = "softmax over the k largest logits of a row",
	.complexity = "n^2 d",
	.target = "softmax attention as k reaches n",
	.summary = "Saves nothing in Q K^T: the least error that any k-sparse pattern can have.",
	.flags = ATTN_CAUSAL | ATTN_BIDIRECTIONAL | ATTN_CROSS | ATTN_PARALLEL | ATTN_ROWSUM |
	         ATTN_NONNEG | ATTN_QPERM | ATTN_KPERM | ATTN_KSHIFT | ATTN_LSE | ATTN_LOGITS |
	         ATTN_CHOOSES,
	.impl_bound = 2e-6f,
	.limit = "k=n",
	.cases = cases,
	.params = params,
	.plan = plan,
	.forward = forward,
	.decode = &decode,
	.oracle = oracle_topk,
};
