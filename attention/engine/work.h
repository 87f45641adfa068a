/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Counting work for plans: pairs, FLOPs, exponentials, least traffic. A
 * multiply-add is 2 FLOP; only matrix-like work counts. Dividing it: sizes of
 * arrays, shares of a team. */
#ifndef ENGINE_WORK_H
#define ENGINE_WORK_H

#include "../attn.h"

/* Floats, rounded up to whole cache lines. */
static inline size_t work_padded(size_t floats)
{
	return (floats + 15) / 16 * 16;
}

/* Where the share of a rank begins, of n items: the first ones get one more. */
static inline size_t work_part(size_t n, size_t rank, size_t size)
{
	return n / size * rank + (rank < n % size ? rank : n % size);
}

/* Keys [lo, hi) that query i sees. */
typedef void work_band(const struct attn_shape *s, const double *arg, size_t i, size_t *lo,
                       size_t *hi);

/* Pairs that causal or full visibility leaves: the triangle counted exactly. */
double work_visible_pairs(const struct attn_shape *s);

/* Pairs that whole tiles of KERN_MAX_LANES queries touch, where a tile ends with each
 * `chunk` queries. */
double work_tiled_pairs(const struct attn_shape *s, size_t chunk);

/* Pairs of a band, and those that whole tiles of KERN_MAX_LANES queries touch. */
void work_band_pairs(const struct attn_shape *s, const double *arg, work_band *band,
                     double *pairs, double *executed);

/* Fills the work of a softmax over `pairs`, of which the kernel touches
 * `executed`; memory fields are left alone. */
void work_softmax(const struct attn_shape *s, double pairs, double executed,
                  struct attn_plan *plan);

/* Bytes of q, k, v and out of one head. */
double work_io_bytes(const struct attn_shape *s);

#endif
