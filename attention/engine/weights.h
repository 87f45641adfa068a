/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The weights of a tile of queries against few keys, kept: for what needs to see
 * them beside the result. */
#ifndef ENGINE_WEIGHTS_H
#define ENGINE_WEIGHTS_H

#include "tile.h"

/* Keys whose maximum is subtracted at a time. */
enum { WEIGHTS_STRETCH = 64 };

/* weight (n x lanes) = e^(s - max) of the tile's queries t->q0 .. + rows against
 * keys k (n x d): query r sees the first seen[r], others have weight 0. sum (lanes):
 * of a query's weights. best: WEIGHTS_STRETCH x lanes of work space. */
void weights_of_tile(const struct tile *t, const float *k, size_t n, const size_t *seen, float *weight,
                     float *best, float *sum);

/* out (rows x d_v) = factor / sum times weight v, v (n x d_v); 0 where sum is 0. */
void weights_apply(const struct tile *t, const float *weight, const float *sum, float factor,
                   const float *v, size_t n, float *out, size_t ldo);

#endif
