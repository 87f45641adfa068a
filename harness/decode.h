/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Decoding in a layer. A call is one step: token number n_k is taken up and attends, in
 * every head. Calls repeat the same step, so that all are made at the same context: a
 * row of a cache is written again where it was; what else a step changes, such as a
 * running sum, is put back by decode_restore() before each batch of calls. Within a
 * batch such sums take up the token again and again: each call does the same work, on
 * other numbers.
 */
#ifndef HARNESS_DECODE_H
#define HARNESS_DECODE_H

#include "layer.h"

/* One call of unit u, by rank `rank` of the layer's team, with the shared memory of
 * rank `shared`. */
typedef void layer_unit_fn(const struct layer *layer, size_t u, size_t shared, struct attn_team *me,
                           size_t rank);
void decode_step(const struct layer *layer, size_t u, size_t shared, struct attn_team *me, size_t rank);

/* A copy of what a step changes in all pasts, from malloc(); NULL: no memory, or
 * nothing (then *ok). */
unsigned char *decode_save(const struct layer *layer, bool *ok);
void decode_restore(struct layer *layer, const unsigned char *saved);

#endif
