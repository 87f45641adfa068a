/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Compressed keys, means of l tokens every st, and the blocks of tokens that they
 * overlap: a block is as important as the weights of those keys, each times the
 * tokens that it shares with the block, over st. */
#ifndef ENGINE_COMPRESSED_H
#define ENGINE_COMPRESSED_H

#include "../attn.h"
#include "../kernels/kern.h"

struct compressed {
	size_t l, st, block;
};

/* Compressed keys complete within the first n tokens. */
static inline size_t compressed_count(const struct compressed *c, size_t n)
{
	return n >= c->l ? (n - c->l) / c->st + 1 : 0;
}

/* exact (d) = the mean of l keys from k on, in double, since choices must be
 * comparable; mean: rounded; value (d_v): of their values. */
void compressed_mean(const struct compressed *c, const struct kern *kern, const float *k, size_t ldk,
                     size_t d, const float *v, size_t ldv, size_t d_v, double *exact, float *mean,
                     float *value);

/* score (nb x lanes) = the importance of blocks 0 .. nb from the weights (n x lanes) of
 * n compressed keys, as a number that grows as its log2: comparing logarithms keeps
 * small importances apart. Good to twice the relative error of a weight and 1e-5. */
void compressed_importances(const struct compressed *c, const struct kern *kern, const float *weight,
                            size_t n, size_t lanes, size_t nb, float *score);

/* ln of the importance of block b for one query, up to its own constant. */
double compressed_importance(const struct compressed *c, const float *q, const double *exact, size_t d,
                             double scale, size_t n, size_t b);

#endif
