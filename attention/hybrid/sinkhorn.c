/* SPDX-License-Identifier: BSD-3-Clause
 *
 * sinkhorn: the own block, and a block mixed from all blocks by a matrix of which
 * rows and columns sum to 1.
 *
 *     L = scale qbar kbar^T / temp, block means;  R = e^L with rows, then `iters` times
 *     columns and rows normalised (Sinkhorn, Knopp 1967)
 *     K~_I = sum_J R_IJ K_J,  V~_I likewise, position by position
 *     O = softmax over the keys of the own block I and K~_I
 *
 * Time n^2/b (d + d_v) for mixing, 2 n 2 b (d + d_v) for attention. Tay, Bahri, Yang,
 * Metzler, Juan 2020, ICML, arXiv 2002.11296. The paper learns the scores of the
 * mixing matrix and adds Gumbel noise in training; here they are products of mean
 * queries and keys, and there is none. Rows come last, so that weights sum to 1;
 * the published codes end with columns, and one of them mixes keys in place of
 * values. A position that the short last block lacks is mixed from the others.
 */
#include "../engine/layout.h"
#include "../engine/tile.h"
#include "../engine/work.h"
#include "../kernels/gemm.h"
#include "../oracle/oracle.h"

#include <string.h>

enum { B, ITERS, TEMP };

static const struct attn_param params[] = {
	{ "b", "tokens a block", ATTN_INT, 64, 1, 1 << 30, NULL },
	{ "iters", "iterations of the normalisation", ATTN_INT, 8, 0, 1000, NULL },
	{ "temp", "temperature of the mixing matrix", ATTN_REAL, 0.75, 1e-3, 1e3, NULL },
	{ 0 },
};

static size_t least(size_t a, size_t b)
{
	return a < b ? a : b;
}

static size_t blocks(const struct attn_shape *s, const double *arg)
{
	return (s->n_k + (size_t)arg[B] - 1) / (size_t)arg[B];
}

/* Positions of a mixed block, and of the last block. */
static size_t positions(const struct attn_shape *s, const double *arg)
{
	return least((size_t)arg[B], s->n_k);
}

static size_t last_positions(const struct attn_shape *s, const double *arg)
{
	return s->n_k - (blocks(s, arg) - 1) * (size_t)arg[B];
}

static void own_block(const struct attn_shape *s, const double *arg, size_t i, size_t *lo, size_t *hi)
{
	size_t b = (size_t)arg[B];

	*lo = i / b * b;
	*hi = least(*lo + b, s->n_k);
}

struct work {
	float *q, *k;           /* block means, nb x d */
	float *log, *log_t;     /* L, nb x nb, and its transpose */
	float *mix, *mix_short; /* R; the same without the last block */
	float *mixed_k, *mixed_v; /* nb x positions x d, d_v */
	float *ones, *row;      /* of a rank: nb */
};

static void lay_out(struct work *w, const struct attn_shape *s, const double *arg, struct layout *shared,
                    struct layout *scratch)
{
	size_t nb = blocks(s, arg), rows = nb * positions(s, arg);

	layout_take(shared, TILE_SHARED_BYTES);
	layout_take(scratch, tile_scratch_bytes(s->d, s->d_v));
	LAYOUT(shared, w->q, nb * s->d);
	LAYOUT(shared, w->k, nb * s->d);
	LAYOUT(shared, w->log, nb * nb);
	LAYOUT(shared, w->log_t, nb * nb);
	LAYOUT(shared, w->mixed_k, rows * s->d);
	LAYOUT(shared, w->mixed_v, rows * s->d_v);
	LAYOUT(scratch, w->ones, nb);
	LAYOUT(scratch, w->row, nb);
	w->mix = w->log;         /* once they are done ... */
	w->mix_short = w->log_t; /* ... the logarithms make room */
}

static const char *const cases[] = { "b=8", "b=7:iters=0", "b=20:iters=2:temp=0.3", "b=1", NULL };

static const char *plan(const struct attn_shape *s, const double *arg, size_t ranks,
                        struct attn_plan *p)
{
	struct layout shared = { .base = NULL }, scratch = { .base = NULL };
	size_t b = (size_t)arg[B], nb = blocks(s, arg), lanes = KERN_MAX_LANES;
	double pairs, executed, n = (double)s->n_k, both = (double)(s->d + s->d_v), tiles = 0;
	struct work w;

	(void)ranks;
	if (s->causal)
		return "causal sinkhorn is not offered: columns of the mixing matrix are normalised over "
		       "later blocks, and a block's mean holds later tokens";
	work_band_pairs(s, arg, own_block, &pairs, &executed);
	/* A tile takes the mixed block of each block row that it touches. */
	for (size_t q0 = 0; q0 < s->n_q; q0 += lanes)
		tiles += (double)((least(q0 + lanes, s->n_q) - 1) / b - q0 / b + 1);
	work_softmax(s, pairs + n * (double)positions(s, arg),
	             executed + tiles * (double)(lanes * positions(s, arg)), p);
	/* Means, scores, mixing. */
	double more = 2 * n * (double)s->d + 2 * (double)(nb * nb * s->d) + 2 * (double)nb * n * both;
	p->flops_useful += more;
	p->flops_executed += more;
	p->n_exp += (double)(nb * nb) * (2 * arg[ITERS] + 2);
	lay_out(&w, s, arg, &shared, &scratch);
	p->shared = shared.used;
	p->scratch = scratch.used;
	return NULL;
}

/* Means of blocks [u0, u1) of x into y. */
static void block_means(const struct attn_call *c, const float *x, size_t ldx, size_t u0, size_t u1, float *y)
{
	size_t d = c->shape->d, b = (size_t)c->arg[B];

	for (size_t u = u0; u < u1; u++) {
		size_t end = least((u + 1) * b, c->shape->n_k);
		memset(y + u * d, 0, d * sizeof *y);
		for (size_t i = u * b; i < end; i++)
			c->kern->axpy(y + u * d, 1, x + i * ldx, d);
		c->kern->scale(y + u * d, 1 / (float)(end - u * b), d);
	}
}

/* Rows [u0, u1) of a matrix of logarithms, n columns: their exponentials then sum
 * to 1. */
static void normalise(const struct attn_call *c, const struct work *w, float *log, size_t ld, size_t n,
                      size_t u0, size_t u1)
{
	for (size_t u = u0; u < u1; u++) {
		float *row = log + u * ld, top = c->kern->max(row, n);
		float sum = c->kern->exp_shift(w->row, row, top, n);
		c->kern->axpy(row, -top - logf(sum), w->ones, n);
	}
}

/* R from L: ranks take rows in stretches. */
static void balance(const struct attn_call *c, const struct work *w, struct attn_team *team, size_t u0,
                    size_t u1)
{
	size_t nb = blocks(c->shape, c->arg);

	normalise(c, w, w->log, nb, nb, u0, u1);
	for (size_t i = 0; i < (size_t)c->arg[ITERS]; i++) {
		c->kern->transpose(w->log_t + u0, nb, w->log + u0 * nb, nb, u1 - u0, nb);
		attn_barrier(team);
		normalise(c, w, w->log_t, nb, nb, u0, u1);
		attn_barrier(team);
		c->kern->transpose(w->log + u0 * nb, nb, w->log_t + u0, nb, nb, u1 - u0);
		normalise(c, w, w->log, nb, nb, u0, u1);
		attn_barrier(team);
	}
	for (size_t u = u0; u < u1; u++) {
		float *log = w->log + u * nb, *less = w->mix_short + u * nb;
		if (nb > 1) {
			memcpy(less, log, (nb - 1) * sizeof *less);
			normalise(c, w, less, nb, nb - 1, 0, 1);
			c->kern->exp_shift(less, less, 0, nb - 1);
		}
		c->kern->exp_shift(log, log, 0, nb);
	}
}

/* Positions [t0, t1) of every mixed block of x, `count` blocks mixed by m. Dense
 * rows of a block are one long row. */
static void mix(const struct attn_call *c, const float *m, size_t count, const float *x, size_t ldx,
                size_t d, size_t t0, size_t t1, float *y)
{
	size_t b = (size_t)c->arg[B], nb = blocks(c->shape, c->arg), ldy = positions(c->shape, c->arg) * d;
	size_t step = ldx == d ? t1 - t0 : 1;

	for (size_t t = t0; t < t1; t += step)
		gemm_nn(nb, step * d, count, 1, m, nb, x + t * ldx, b * ldx, 0, y + t * d, ldy);
}

/* All blocks have the first positions, all but the last have the others. */
static void mix_all(const struct attn_call *c, const struct work *w, size_t t0, size_t t1)
{
	const struct attn_shape *s = c->shape;
	size_t nb = blocks(s, c->arg), cut = last_positions(s, c->arg), middle = least(cut, t1);

	middle = middle > t0 ? middle : t0;
	mix(c, w->mix, nb, c->k, c->ldk, s->d, t0, middle, w->mixed_k);
	mix(c, w->mix, nb, c->v, c->ldv, s->d_v, t0, middle, w->mixed_v);
	mix(c, w->mix_short, nb - 1, c->k, c->ldk, s->d, middle, t1, w->mixed_k);
	mix(c, w->mix_short, nb - 1, c->v, c->ldv, s->d_v, middle, t1, w->mixed_v);
}

static void pattern(struct tile *t, const void *ctx)
{
	const struct work *w = ctx;
	const struct attn_call *c = t->call;
	const struct attn_shape *s = c->shape;
	size_t lo[TILE_ROWS], hi[TILE_ROWS], b = (size_t)c->arg[B], rows = positions(s, c->arg);

	for (size_t r = 0; r < t->rows; r++)
		own_block(s, c->arg, t->q0 + r, &lo[r], &hi[r]);
	tile_band(t, lo, hi);
	for (size_t u = t->q0 / b; u <= (t->q0 + t->rows - 1) / b; u++) {
		for (size_t r = 0; r < t->rows; r++) {
			lo[r] = 0;
			hi[r] = (t->q0 + r) / b == u ? rows : 0;
		}
		tile_band_of(t, w->mixed_k + u * rows * s->d, s->d, w->mixed_v + u * rows * s->d_v, s->d_v,
		             lo, hi, NULL);
	}
}

static void forward(const struct attn_call *c, struct attn_team *team)
{
	const struct attn_shape *s = c->shape;
	struct layout shared = { .base = c->shared }, scratch = { .base = c->scratch };
	size_t nb = blocks(s, c->arg), rows = positions(s, c->arg), d = s->d;
	size_t u0 = nb * team->rank / team->size, u1 = nb * (team->rank + 1) / team->size;
	struct work w;

	lay_out(&w, s, c->arg, &shared, &scratch);
	for (size_t u = 0; u < nb; u++)
		w.ones[u] = 1;
	block_means(c, c->q, c->ldq, u0, u1, w.q);
	block_means(c, c->k, c->ldk, u0, u1, w.k);
	attn_barrier(team);
	gemm_nt(u1 - u0, nb, d, s->scale / (float)c->arg[TEMP], w.q + u0 * d, d, w.k, d, 0, w.log + u0 * nb, nb);
	balance(c, &w, team, u0, u1);
	attn_barrier(team);
	mix_all(c, &w, rows * team->rank / team->size, rows * (team->rank + 1) / team->size);
	attn_barrier(team);
	tile_run(c, team, pattern, &w, false);
	if (c->stats && team->rank == 0)
		c->stats->flops_executed += 2 * (double)(s->n_k * d) + 2 * (double)(nb * nb * d) +
		                            2 * (double)(nb * s->n_k) * (double)(d + s->d_v);
}

const struct attn_variant attn_sinkhorn = {
	.abi = ATTN_ABI,
	.name = "sinkhorn",
	.family = "hybrid",
	.title = "sparse Sinkhorn attention",
	.paper = "Tay, Bahri, Yang, Metzler, Juan 2020, ICML, arXiv 2002.11296",
	.formula = "softmax over the own block and sum_J R_IJ (K_J, V_J), R balanced by Sinkhorn's iteration",
	.complexity = "n (b + n/b) d",
	.target = "softmax attention as b reaches n",
	.summary = "Block means in place of the learned sorting net. Mixing stays quadratic with a "
	           "factor 1/b; a mixed key is a blur of keys at one position of all blocks.",
	.flags = ATTN_BIDIRECTIONAL | ATTN_PARALLEL | ATTN_ROWSUM | ATTN_NONNEG | ATTN_KSHIFT |
	         ATTN_LOGITS,
	.impl_bound = 2e-6f,
	.limit = "b=n",
	.cases = cases,
	.params = params,
	.plan = plan,
	.forward = forward,
	.oracle = oracle_sinkhorn,
};
