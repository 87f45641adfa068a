/* SPDX-License-Identifier: BSD-3-Clause
 *
 * full: softmax attention with the n_q x n_k scores materialised.
 *
 *     S = scale Q K^T,  E_ij = exp(S_ij - max_j S_ij),  O_i = sum_j E_ij v_j / sum_j E_ij
 *
 * Time n_q n_k (d + d_v), memory n_q n_k. Vaswani et al. 2017, arXiv 1706.03762.
 * The best naive form: two OpenBLAS products around a vectorised softmax, the
 * score buffer reused from call to call, rows divided after the product with V
 * (n d_v divisions instead of n^2). The causal form multiplies the whole square,
 * as BLAS has no triangular product of this kind: executed = 2 x useful work.
 */
#include "../engine/cache.h"
#include "../engine/tile.h"
#include "../engine/work.h"
#include "../kernels/gemm.h"
#include "../oracle/oracle.h"

#include <string.h>

enum { SOFTCAP };

static const struct attn_param params[] = {
	{ "softcap", "c > 0: logits become c tanh(logit / c); 0: off", ATTN_REAL, 0, 0, 1e6, NULL },
	{ 0 },
};

static const char *const cases[] = { "softcap=5", NULL };

static void refine(const double *arg, unsigned *flags, float *impl_bound)
{
	(void)impl_bound;
	if (arg[SOFTCAP] > 0)
		*flags &= ~(unsigned)(ATTN_EXACT | ATTN_KSHIFT);
}

static const char *plan(const struct attn_shape *s, const double *arg, size_t ranks,
                        struct attn_plan *p)
{
	(void)arg;
	(void)ranks;
	work_softmax(s, work_visible_pairs(s), (double)s->n_q * (double)s->n_k, p);
	p->shared = (s->n_q * s->n_k + s->n_q) * sizeof(float);
	/* Scores are written, read and written by the softmax, and read again. */
	p->bytes += 16.0 * (double)s->n_q * (double)s->n_k;
	return NULL;
}

/* Row i of scores becomes weights; returns their sum. */
static float softmax_row(const struct attn_call *c, float *row, size_t i)
{
	const struct attn_shape *s = c->shape;
	size_t visible = tile_visible(s, i);
	float cap = (float)c->arg[SOFTCAP];

	for (size_t j = 0; cap > 0 && j < visible; j++)
		row[j] = cap * tanhf(row[j] / cap);
	memset(row + visible, 0, (s->n_k - visible) * sizeof *row);
	if (visible == 0) {
		if (c->lse)
			c->lse[i] = -INFINITY;
		return 0;
	}
	float top = c->kern->max(row, visible);
	float sum = c->kern->exp_shift(row, row, top, visible);
	if (c->lse)
		c->lse[i] = top + logf(sum);
	return sum;
}

/* Each rank owns a block of rows from end to end. */
static void forward(const struct attn_call *c, struct attn_team *team)
{
	const struct attn_shape *s = c->shape;
	size_t first = s->n_q * team->rank / team->size;
	size_t rows = s->n_q * (team->rank + 1) / team->size - first;
	float *scores = (float *)c->shared + first * s->n_k;
	float *sums = (float *)c->shared + s->n_q * s->n_k + first;
	float *out = (float *)c->out + first * c->ldo;
	const float *q = (const float *)c->q + first * c->ldq;

	if (rows == 0)
		return;
	gemm_nt(rows, s->n_k, s->d, s->scale, q, c->ldq, c->k, c->ldk, 0, scores, s->n_k);
	for (size_t i = 0; i < rows; i++)
		sums[i] = softmax_row(c, scores + i * s->n_k, first + i);
	gemm_nn(rows, s->d_v, s->n_k, 1, scores, s->n_k, c->v, c->ldv, 0, out, c->ldo);
	for (size_t i = 0; i < rows; i++)
		if (sums[i] > 0) /* an empty row is zero already */
			c->kern->scale(out + i * c->ldo, 1 / sums[i], s->d_v);
	if (c->stats) {
		c->stats->pairs += team->rank == 0 ? work_visible_pairs(s) : 0;
		c->stats->flops_executed += 2.0 * (double)rows * (double)s->n_k * (double)(s->d + s->d_v);
	}
}

/* ---- decoding: the row of scores is materialised ---- */

struct row {
	struct cache cache;
	float *scores; /* queries x n_k */
	float *parts;
};

static struct row row_at(const struct attn_shape *s, size_t queries, size_t ranks, struct layout *past,
                         struct layout *shared)
{
	struct row row = { .cache = cache_at(past, s, s->n_k, 0) };

	LAYOUT(shared, row.scores, queries * s->n_k);
	row.parts = layout_take(shared, single_shared_bytes(s->d_v, queries, ranks));
	return row;
}

static const char *decode_plan(const struct attn_decode *slot, const struct attn_shape *s, const double *arg,
                               size_t queries, size_t ranks, struct attn_decode_plan *p)
{
	struct layout past = { .base = NULL }, shared = { .base = NULL };
	double pairs = (double)queries * (double)s->n_k;

	(void)slot;
	(void)arg;
	cache_work(s, queries, pairs, pairs, p);
	p->step.bytes += 16 * pairs;
	row_at(s, queries, ranks, &past, &shared);
	p->past = past.used;
	p->step.shared = shared.used;
	p->step.scratch = single_scratch_bytes(s->type, s->d, s->d_v, queries);
	return NULL;
}

static void decode_append(const struct attn_decode_call *c)
{
	struct layout past = { .base = c->past };
	struct cache cache = cache_at(&past, c->shape, c->shape->n_k, 0);

	cache_append(&cache, c);
}

/* Each rank owns a stretch of keys. */
static void decode_step(const struct attn_decode_call *c, struct attn_team *team)
{
	const struct attn_shape *s = c->shape;
	struct layout past = { .base = c->past }, shared = { .base = c->shared };
	struct row row = row_at(s, c->queries, team->size, &past, &shared);
	size_t j0 = work_part(c->length + 1, team->rank, team->size);
	size_t n = work_part(c->length + 1, team->rank + 1, team->size) - j0;
	float cap = (float)c->arg[SOFTCAP];
	struct single one;

	if (team->rank == 0)
		cache_append(&row.cache, c);
	single_init(&one, c, c->scratch, s->type, s->d, s->d_v);
	single_load(&one, s->scale);
	attn_barrier(team);
	for (size_t r = 0; r < c->queries; r++) {
		float *scores = row.scores + r * s->n_k + j0;
		c->kern->rows_dot(scores, cache_key(&row.cache, j0), s->d, n, one.q + r * s->d, s->d);
		for (size_t j = 0; cap > 0 && j < n; j++)
			scores[j] = cap * tanhf(scores[j] / cap);
		single_scores(&one, r, scores, cache_value(&row.cache, j0), s->d_v, n);
	}
	if (c->stats)
		c->stats->flops_executed += 2 * (double)(c->queries * n * s->d);
	single_finish(&one, team, row.parts);
}

static const struct attn_decode decode = {
	.keeps = "cache: n (d + d_v)",
	.shares = true,
	.splits = true,
	.plan = decode_plan,
	.append = decode_append,
	.step = decode_step,
};

const struct attn_variant attn_full = {
	.abi = ATTN_ABI,
	.name = "full",
	.family = "exact",
	.title = "materialised softmax attention",
	.paper = "Vaswani et al. 2017, NeurIPS, arXiv 1706.03762",
	.formula = "O = softmax(scale Q K^T) V",
	.complexity = "n^2 d",
	.target = "softmax attention: it is that",
	.summary = "Exact; holds the n x n scores. The naive baseline, as good as OpenBLAS makes it.",
	.flags = ATTN_EXACT | ATTN_CAUSAL | ATTN_BIDIRECTIONAL | ATTN_CROSS | ATTN_PARALLEL |
	         ATTN_ROWSUM | ATTN_NONNEG | ATTN_QPERM | ATTN_KPERM | ATTN_KSHIFT | ATTN_LSE |
	         ATTN_LOGITS,
	.impl_bound = 2e-6f,
	.limit = "softcap=0",
	.cases = cases,
	.params = params,
	.refine = refine,
	.plan = plan,
	.forward = forward,
	.decode = &decode,
	.oracle = oracle_full,
};
