/* SPDX-License-Identifier: BSD-3-Clause
 *
 * clustered: fast clustered attention. k-means puts the queries into c groups with
 * means c_g; a query of group g attends as its mean does,
 *
 *     O_i = softmax(scale c_g K^T) V                                    (topk_keys = 0)
 *
 * or, improved, as itself where that matters: with T the keys of the largest
 * weights of the mean, topk_keys of them, and a their sum,
 *
 *     O_i = a softmax_T(scale q_i K^T) V + sum_(j not in T) w_gj v_j.
 *
 * Time 2 T n c d for T iterations, 2 c n (2 d + d_v) and 2 n t (d + d_v). Vyas,
 * Katharopoulos, Fleuret 2020, NeurIPS, arXiv 2007.04825. The published code
 * clusters 63-bit hashes of the queries in Hamming space; here the queries are
 * clustered themselves. There is no causal form of it.
 */
#include "../engine/bucket.h"
#include "../engine/kmeans.h"
#include "../engine/layout.h"
#include "../engine/rows.h"
#include "../engine/sample.h"
#include "../engine/work.h"
#include "../oracle/oracle.h"

enum { C, TOPK_KEYS, ITERS };

static const struct attn_param params[] = {
	{ "c", "groups of queries; at most n", ATTN_INT, 100, 1, 1 << 20, NULL },
	{ "topk_keys", "keys a group that its queries weigh themselves; 0: none", ATTN_INT, 32, 0, 1 << 30,
	  NULL },
	{ "iters", "iterations of k-means", ATTN_INT, 10, 0, 1000, NULL },
	{ 0 },
};

static size_t least(size_t a, size_t b)
{
	return a < b ? a : b;
}

static size_t groups(const struct attn_shape *s, const double *arg)
{
	return least((size_t)arg[C], s->n_q);
}

static size_t top_keys(const struct attn_shape *s, const double *arg)
{
	return least((size_t)arg[TOPK_KEYS], s->n_k);
}

/* State: the queries at which k-means starts. */
static void prepare(const struct attn_shape *s, const double *arg, uint64_t seed, void *state)
{
	sample_distinct(seed, attn_random_stream("clustered", s->head, 0), 0, s->n_q, groups(s, arg), state);
}

struct work {
	const struct attn_call *call;
	struct kmeans km;
	uint32_t *order, *start; /* queries by group */
	float *rest;             /* c x d_v: the mean's result over keys not in T */
	float *share;            /* c: a */
	uint32_t *chosen;        /* c x t: T */
	struct pick pick;
	float *score;            /* n_k x lanes */
	uint32_t *bits;          /* n_k: lanes whose T does not hold the key */
	float *k, *v;            /* t gathered rows */
	struct rows rows;
	size_t u0;               /* for exact_score */
};

static void lay_out(struct work *w, const struct attn_call *c, const struct attn_shape *s,
                    const double *arg, size_t ranks, struct layout *shared, struct layout *scratch)
{
	size_t count = groups(s, arg), t = top_keys(s, arg);

	void *km_shared = layout_take(shared, kmeans_shared_bytes(count, s->d, s->n_q, ranks));
	void *km_scratch = layout_take(scratch, kmeans_scratch_bytes(count, s->d));
	void *pick = layout_take(scratch, t > 0 ? pick_bytes(s->n_k, t) : 0);
	void *rows = layout_take(scratch, rows_scratch_bytes(s->d, s->d_v));
	LAYOUT(shared, w->km.set[0].member, s->n_q);
	LAYOUT(shared, w->order, s->n_q);
	LAYOUT(shared, w->start, count + 1);
	LAYOUT(shared, w->rest, count * s->d_v);
	LAYOUT(shared, w->share, count);
	LAYOUT(shared, w->chosen, count * t);
	LAYOUT(scratch, w->score, t > 0 ? s->n_k * KERN_MAX_LANES : 0);
	LAYOUT(scratch, w->bits, t > 0 ? s->n_k : 0);
	LAYOUT(scratch, w->k, t * s->d);
	LAYOUT(scratch, w->v, t * s->d_v);
	if (!c)
		return;
	w->km.set[0] = (struct kmeans_points){ c->q, c->ldq, s->n_q, w->km.set[0].member, NULL };
	kmeans_init(&w->km, ranks, km_shared, km_scratch);
	rows_init(&w->rows, c, rows);
	if (t > 0)
		pick_init(&w->pick, pick, s->n_k, t);
}

static const char *const cases[] = { "c=5:topk_keys=0", "c=5:topk_keys=6", "c=7:topk_keys=60:iters=2",
	                             "c=300:topk_keys=3", NULL };

static const char *plan(const struct attn_shape *s, const double *arg, size_t ranks,
                        struct attn_plan *p)
{
	struct layout shared = { .base = NULL }, scratch = { .base = NULL };
	size_t count = groups(s, arg), t = top_keys(s, arg), lanes = KERN_MAX_LANES;
	double n_q = (double)s->n_q, n_k = (double)s->n_k, all = (double)count * n_k;
	double tiles = (double)((count + lanes - 1) / lanes * lanes) * n_k;
	double passes = arg[ITERS] + 1;
	struct work w;

	if (s->causal)
		return "causal clustered attention does not exist: the mean of a group mixes queries of "
		       "all times";
	work_softmax(s, all + n_q * (double)t, tiles + n_q * (double)t, p);
	p->flops_executed += (double)(count * lanes / 2 * t * (s->d + s->d_v)); /* half a tile a group */
	p->flops_useful += 2 * passes * n_q * (double)(count * s->d) + (t > 0 ? 2 * all * (double)s->d : 0);
	p->flops_executed += 2 * passes * n_q * (double)(count * (s->d + 1)) +
	                     (t > 0 ? 2 * tiles * (double)s->d : 0);
	p->state = count * sizeof(uint32_t);
	lay_out(&w, NULL, s, arg, ranks, &shared, &scratch);
	p->shared = shared.used;
	p->scratch = scratch.used;
	return NULL;
}

/* ---- the means ---- */

/* pick_exact: mean u0 + lane against key j. */
static double exact_score(const void *ctx, size_t lane, size_t j)
{
	const struct work *w = ctx;
	const float *k = (const float *)w->call->k + j * w->call->ldk;
	const double *c = w->km.centre + (w->u0 + lane) * w->km.d;
	double sum = 0;

	for (size_t e = 0; e < w->km.d; e++)
		sum += c[e] * (double)k[e];
	return sum;
}

/* T of the loaded means; bits and the log-sum-exp of their weights within T. */
static void choose_keys(struct work *w, size_t rows, float longest_key, float *lse)
{
	const struct attn_call *c = w->call;
	size_t n = c->shape->n_k, d = c->shape->d, lanes = c->kern->lanes, t = top_keys(c->shape, c->arg);
	float error[KERN_MAX_LANES], unit = KERN_LOG2E * c->shape->scale;

	c->kern->tile_scores(&w->rows.t.k, c->k, c->ldk, n, w->score);
	for (size_t r = 0; r < rows; r++)
		error[r] = unit * pick_dot_error(d, w->km.longest, longest_key);
	pick_scan(&w->pick, c->kern, w->score, n, rows, error);
	for (size_t j = 0; j < n; j++)
		w->bits[j] = tile_row_bits(rows);
	for (size_t r = 0; r < rows; r++) {
		uint32_t *chosen = w->chosen + (w->u0 + r) * t;
		float top = -INFINITY, sum = 0;
		pick_lane(&w->pick, r, exact_score, w, chosen);
		for (size_t a = 0; a < t; a++)
			top = fmaxf(top, w->score[chosen[a] * lanes + r] * KERN_LN2);
		for (size_t a = 0; a < t; a++) {
			sum += expf(w->score[chosen[a] * lanes + r] * KERN_LN2 - top);
			w->bits[chosen[a]] &= ~(1u << r);
		}
		lse[r] = top + logf(sum);
	}
	if (c->stats)
		c->stats->flops_executed += 2.0 * (double)(lanes * n * d);
}

static float longest_key(const struct attn_call *c)
{
	float longest = 0;

	for (size_t j = 0; j < c->shape->n_k; j++) {
		const float *k = (const float *)c->k + j * c->ldk;
		longest = fmaxf(longest, c->kern->dot(k, k, c->shape->d));
	}
	return sqrtf(longest);
}

/* What the means see of keys outside T; ranks take tiles in turn. */
static void attend_means(struct work *w, struct attn_team *team)
{
	const struct attn_call *c = w->call;
	const struct attn_shape *s = c->shape;
	struct tile *t = &w->rows.t;
	size_t lanes = c->kern->lanes, d = s->d;
	bool improved = top_keys(s, c->arg) > 0;
	float longest = improved ? longest_key(c) : 0, lse[KERN_MAX_LANES], rest_lse[KERN_MAX_LANES];

	for (w->u0 = team->rank * lanes; w->u0 < w->km.count; w->u0 += team->size * lanes) {
		size_t rows = least(lanes, w->km.count - w->u0);
		tile_load(t, w->km.rounded + w->u0 * (d + 1), d + 1, rows);
		if (improved) {
			attn_phase(c->stats, ATTN_SELECTS);
			choose_keys(w, rows, longest, lse);
			attn_phase(c->stats, ATTN_ATTENDS);
			tile_bits(t, c->k, c->ldk, c->v, c->ldv, s->n_k, w->bits, NULL);
		} else {
			tile_keys(t, c->k, c->ldk, c->v, c->ldv, s->n_k, NULL);
		}
		tile_store(t, w->rest + w->u0 * s->d_v, s->d_v, rest_lse);
		for (size_t r = 0; r < rows; r++)
			w->share[w->u0 + r] = improved ? 1 / (1 + expf(rest_lse[r] - lse[r])) : 0;
	}
}

/* ---- the queries ---- */

/* out = a out + (1 - a) rest for the queries of a group. */
static void blend(const struct work *w, size_t group, const uint32_t *query, size_t count)
{
	const struct attn_call *c = w->call;
	size_t d_v = c->shape->d_v;
	float a = w->share[group];

	for (size_t i = 0; i < count; i++) {
		float *out = (float *)c->out + query[i] * c->ldo;
		c->kern->scale(out, a, d_v);
		c->kern->axpy(out, 1 - a, w->rest + group * d_v, d_v);
	}
}

/* Queries of one group over its T, then the rest. */
static void attend_group(struct work *w, size_t group)
{
	const struct attn_call *c = w->call;
	const struct attn_shape *s = c->shape;
	size_t width = 2 * c->kern->lanes, t = top_keys(s, c->arg);
	const uint32_t *query = w->order + w->start[group], *chosen = w->chosen + group * t;
	size_t count = w->start[group + 1] - w->start[group];

	rows_gather(w->k, c->k, c->ldk, s->d, chosen, count > 0 ? t : 0);
	rows_gather(w->v, c->v, c->ldv, s->d_v, chosen, count > 0 ? t : 0);
	for (size_t i = 0; i < count; i += width) {
		size_t rows = least(width, count - i);
		rows_load(&w->rows, query + i, rows);
		tile_keys(&w->rows.t, w->k, s->d, w->v, s->d_v, t, NULL);
		rows_store(&w->rows, query + i, NULL);
		blend(w, group, query + i, rows);
	}
}

static void forward(const struct attn_call *c, struct attn_team *team)
{
	const struct attn_shape *s = c->shape;
	struct layout shared = { .base = c->shared }, scratch = { .base = c->scratch };
	struct work w = { .call = c };

	w.km = (struct kmeans){ .call = c, .count = groups(s, c->arg), .d = s->d,
		                .iterations = (size_t)c->arg[ITERS] };
	lay_out(&w, c, s, c->arg, team->size, &shared, &scratch);
	attn_phase(c->stats, ATTN_SELECTS);
	kmeans_run(&w.km, team, c->state);
	if (team->rank == 0)
		bucket_sort(w.km.set[0].member, s->n_q, 1, w.km.count, w.start, w.order);
	attn_phase(c->stats, ATTN_ATTENDS);
	attend_means(&w, team);
	attn_barrier(team);
	for (size_t group = team->rank; group < w.km.count; group += team->size)
		attend_group(&w, group);
}

const struct attn_variant attn_clustered = {
	.abi = ATTN_ABI,
	.name = "clustered",
	.family = "clustering",
	.title = "fast clustered attention",
	.paper = "Vyas, Katharopoulos, Fleuret 2020, NeurIPS, arXiv 2007.04825",
	.formula = "O_i = a softmax_T(scale q_i K^T) V + the group mean's weights outside T",
	.complexity = "n c d",
	.target = "softmax attention as topk_keys reaches n, or c the number of distinct queries",
	.summary = "Clusters queries only. topk_keys = 0 is the plain form; the improved one is never "
	           "farther from softmax, in the sum of absolute weights of a row. k-means in each call "
	           "costs more than attention.",
	.flags = ATTN_BIDIRECTIONAL | ATTN_CROSS | ATTN_PARALLEL | ATTN_ROWSUM | ATTN_NONNEG |
	         ATTN_KPERM | ATTN_KSHIFT | ATTN_RANDOM | ATTN_LOGITS | ATTN_CHOOSES,
	.impl_bound = 2e-6f,
	.limit = "topk_keys=n",
	.cases = cases,
	.params = params,
	.plan = plan,
	.prepare = prepare,
	.forward = forward,
	.oracle = oracle_clustered,
};
