/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The kernel table: what variants and engines compute with, once for each
 * instruction set. One lane of a vector is one query in the tile kernels, so
 * that maxima, sums and masks need no operation across lanes.
 *
 * kern_scalar.c is the definition of every slot, in plain C and never tuned.
 * kern_simd.h is the body of all others. A table is chosen once and passed.
 *
 * All pointers may be unaligned unless said; sizes may be 0; arrays never
 * overlap unless said. f32 throughout.
 */
#ifndef KERNELS_KERN_H
#define KERNELS_KERN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Scores are kept in units of log2(e), so that a weight is exp2(score - max).
 * Both bounds are finite: no difference of two of them can be a NaN, and a
 * masked score is far below the initial maximum, so its weight is 0. */
#define KERN_MASKED (-1.7e38f)
#define KERN_NO_MAX (-0.8e38f)
#define KERN_LOG2E 1.44269504088896340736f
#define KERN_LN2 0.693147180559945309417f

/* No table has larger tiles: what plans may count on. */
#define KERN_MAX_LANES 16
#define KERN_MAX_BLOCK 96

/* Up to `lanes` queries against keys that arrive block by block: the online
 * softmax. Arrays are lane-minor: element c of query r is x[c * lanes + r],
 * 64-byte aligned. */
struct kern_tile {
	size_t d, d_v;
	float *q;   /* d x lanes: queries times scale * log2(e) */
	float *acc; /* d_v x lanes: sum of weight times value, relative to max */
	float *max; /* lanes: running maximum score */
	float *sum; /* lanes: running sum of weights, relative to max */
	float *p;   /* (block + 16) x lanes: work space of tile_step */

	/* The next block of keys and values, which tile_step fetches towards L2
	 * while it computes; NULL: none. Tiles that take the same block share the
	 * fetching evenly: this one is number `turn` of `turns`, 1, 2, 4 or 8. */
	const void *next_k, *next_v;
	size_t turn, turns;
};

/* Which of a block's keys a lane sees. NULL instead of a mask: all of them. */
struct kern_mask {
	const int32_t *lo, *hi; /* lanes: key j of the block iff lo <= j < hi, or NULL */
	const uint32_t *bits;   /* keys: bit r = lane r sees the key, or NULL */
};

/* Memory that mm_fetch brings towards L2 beside its arithmetic: two stretches
 * that the next products will read. Either may be empty. */
struct kern_fetch {
	const void *from[2];
	size_t bytes[2];
};

/* Tiles on bf16 queries, keys and values by dot products of pairs in f32. q and p
 * of the tile hold pairs: two channels of a query, the weights of two keys. */
struct kern_bf16 {
	/* As tile_load; queries are not scaled, which would round them again. */
	void (*load)(const struct kern_tile *t, const uint16_t *q, size_t ldq, size_t rows);

	/* pairs ((n + 1) / 2 x d_v) of rows 2 j and 2 j + 1 of v, 0 behind the last. */
	void (*pack)(uint32_t *pairs, const uint16_t *v, size_t ldv, size_t n, size_t d_v);

	/* As tile_step with packed values; factor = scale * log2(e). The tile's next_k
	 * and next_v are rows of uint16_t. */
	void (*step)(const struct kern_tile *t, const uint16_t *k, size_t ldk, const uint32_t *pairs,
	             size_t ldv, size_t n, float factor, const struct kern_mask *mask,
	             const float *bias);

	/* As fma_rounds, of products of bf16 added in f32. */
	size_t dot_flops;
	float (*dot_rounds)(size_t n);
};

struct kern {
	const char *isa;
	size_t lanes; /* queries of a tile, <= KERN_MAX_LANES, a power of two */
	size_t block; /* keys that one tile_step takes at most, <= KERN_MAX_BLOCK */

	/* t->q from rows x d queries (missing lanes 0), factor = scale * log2(e);
	 * resets acc, max and sum. */
	void (*tile_load)(const struct kern_tile *t, const float *q, size_t ldq,
	                  size_t rows, float factor);

	/* Absorbs n <= block keys and values. bias, in natural units, is added to
	 * the logits of a key, or NULL. */
	void (*tile_step)(const struct kern_tile *t, const float *k, size_t ldk,
	                  const float *v, size_t ldv, size_t n,
	                  const struct kern_mask *mask, const float *bias);

	/* The same for two tiles of one shape, one after the other in turn. */
	void (*tile_pair)(const struct kern_tile *const t[2], const float *k, size_t ldk,
	                  const float *v, size_t ldv, size_t n,
	                  const struct kern_mask *const mask[2], const float *bias);

	/* out = acc / sum for `rows` lanes, 0 where nothing was seen; lse, if not
	 * NULL, gets max + log2(sum) in natural units, -inf where nothing was seen. */
	void (*tile_store)(const struct kern_tile *t, float *out, size_t ldo,
	                   float *lse, size_t rows);

	/* The scores alone, for selection: p (n x lanes) = q . k, any n. */
	void (*tile_scores)(const struct kern_tile *t, const float *k, size_t ldk, size_t n,
	                    float *p);

	/* Lane by lane over p (n x lanes): y (groups x lanes), y[g] the maximum of
	 * p[j] over j = g mod groups, KERN_MASKED where there is none. */
	void (*lanes_fold_max)(float *y, size_t groups, const float *p, size_t n);

	/* Lane by lane over p (n x lanes), n >= 1: the largest score, the first j that has
	 * it, and the next largest, KERN_MASKED if there is none. n <= 2^24. */
	void (*lanes_best)(uint32_t *index, float *best, float *second, const float *p, size_t n);

	/* Appends each j with p[j][r] >= threshold[r] to index[r * stride ...] in
	 * order; count[r] is where the list of lane r ends. */
	void (*lanes_collect)(uint32_t *index, size_t stride, uint32_t *count, const float *p,
	                      size_t n, const float *threshold);

	/* The k-th largest of x, 1 <= k <= n, by counting for one after another how many
	 * are larger: for n of a few vectors. Some x where there are NaNs. */
	float (*ranked)(const float *x, size_t n, size_t k);

	/* out (d_v) = sum over i < n of weight[i] v[index[i]]. */
	void (*gather_sum)(float *out, size_t d_v, const float *v, size_t ldv,
	                   const uint32_t *index, const float *weight, size_t n);

	/* c (m x n, ldc) = a b, or += with accumulate. a (m x k) has strides:
	 * element (i, l) is a[i * rsa + l * csa]; b (k x n, ldb) is row-major. For
	 * operands that stay in cache: nothing is packed. What is there is added
	 * last, here and in rows_add: a small constant that is added to a large
	 * sum again and again would be rounded the same way each time. */
	void (*mm)(float *c, size_t ldc, const float *a, size_t rsa, size_t csa,
	           const float *b, size_t ldb, size_t m, size_t n, size_t k,
	           bool accumulate);

	/* The same with accumulate = true or false, and a fetch. */
	void (*mm_fetch)(float *c, size_t ldc, const float *a, size_t rsa, size_t csa,
	                 const float *b, size_t ldb, size_t m, size_t n, size_t k,
	                 bool accumulate, const struct kern_fetch *fetch);

	/* y[i] = row i of a (m x n, lda) . x; y (n) += the sum of the rows of a. */
	void (*rows_dot)(float *y, const float *a, size_t lda, size_t m, const float *x, size_t n);
	void (*rows_add)(float *y, const float *a, size_t lda, size_t m, size_t n);

	/* y (cols x rows, ldy) = x^T, x (rows x cols, ldx). */
	void (*transpose)(float *y, size_t ldy, const float *x, size_t ldx, size_t rows,
	                  size_t cols);

	/* To and from half precision, to the nearest, ties to even; y and x apart. */
	void (*from_bf16)(float *y, const uint16_t *x, size_t n);
	void (*from_f16)(float *y, const uint16_t *x, size_t n);
	void (*to_bf16)(uint16_t *y, const float *x, size_t n);
	void (*to_f16)(uint16_t *y, const float *x, size_t n);

	const struct kern_bf16 *bf16; /* NULL: convert to f32 instead */

	/* n rounds of fma_flops FLOP in registers alone: the ceiling of this table.
	 * The result keeps them from being removed. */
	size_t fma_flops;
	float (*fma_rounds)(size_t n);

	float (*max)(const float *x, size_t n);  /* KERN_NO_MAX when n == 0 */
	float (*sum)(const float *x, size_t n);
	float (*dot)(const float *x, const float *y, size_t n);
	void (*axpy)(float *y, float a, const float *x, size_t n); /* y += a x */
	void (*scale)(float *x, float a, size_t n);                /* x *= a */
	/* y = exp(x - shift), y may be x; returns the sum of y. */
	float (*exp_shift)(float *y, const float *x, float shift, size_t n);
	void (*elu1)(float *y, const float *x, size_t n); /* elu(x) + 1; y may be x */
	/* y = a x + b; y may be x. */
	void (*affine)(float *y, const float *x, float a, float b, size_t n);
	/* y = a max(x, 0) + b; y may be x. */
	void (*relu)(float *y, const float *x, float a, float b, size_t n);
	void (*raise)(float *y, const float *x, size_t n); /* y = max(x, y) */
	/* Element by element; y may be x or z. */
	void (*mul)(float *y, const float *x, const float *z, size_t n); /* x z */
	void (*div)(float *y, const float *x, const float *z, size_t n); /* x / z */
	/* y (d (d + 1) / 2): x[a] x[b] for a <= b by rows of a, squares times
	 * `square`. */
	void (*pairs)(float *y, const float *x, float square, size_t d);
	/* Absolute error 2e-7 for |x| < 1e4; s may be x. */
	void (*sincos)(float *s, float *c, const float *x, size_t n);
};

extern const struct kern kern_scalar;
extern const struct kern kern_avx2;
extern const struct kern kern_avx512;
extern const struct kern kern_avx512bf16;
extern const struct kern kern_neon;

#endif
