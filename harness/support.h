/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What can be said of a cell before it runs: whether its variant takes it, and
 * what it will cost.
 */
#ifndef HARNESS_SUPPORT_H
#define HARNESS_SUPPORT_H

#include <stdint.h>

#include "cell.h"

/* NULL: the cell can run. Else a reason in words, from the flags of the
 * variant or from its plan(); valid until the next call. The input is not
 * looked at: that is data_check(). */
const char *cell_refusal(const struct cell *cell);

struct cell_cost {
	size_t io_bytes; /* q, k, v, out */
	size_t ws_bytes; /* state, shared and scratch memory in flight */
	/* Largest resident memory of a worker in any pass, less the program
	 * itself: io, ws and what the accuracy pass holds besides. What the
	 * definition of a variant allocates is not known before it runs. */
	size_t peak_bytes;
	double flops_useful, flops_executed, n_exp, pairs, bytes; /* one call */
};

/* False: the cell is refused, *why as above. */
bool cell_predict(const struct cell *cell, struct cell_cost *cost, const char **why);

/* Bytes that decoding keeps of n_k tokens, all heads: of the cell itself, or of
 * the decoding form of a causal one. -1: it has none. */
int64_t cell_state_bytes(const struct cell *cell);

#endif
