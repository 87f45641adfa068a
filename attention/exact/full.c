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

const struct attn_variant attn_full = {
	.abi = ATTN_ABI,
	.name = "full",
	.family = "exact",
	.title = "materialised softmax attention",
	.paper = "Vaswani et al. 2017, NeurIPS, arXiv 1706.03762",
	.formula = "O = softmax(scale Q K^T) V",
	.complexity = "n^2 d",
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
	.oracle = oracle_full,
};
