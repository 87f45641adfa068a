/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Exact selection of the largest scores. */
#ifndef ENGINE_SELECT_H
#define ENGINE_SELECT_H

#include "../kernels/kern.h"

#include <stddef.h>
#include <stdint.h>

/* The k-th largest of x[0 .. n), 1 <= k <= n; reorders x. Expected time n. */
float select_kth_largest(const struct kern *kern, float *x, size_t n, size_t k);

struct scored {
	double score;
	uint32_t index;
};

/* Moves the k best of x[0 .. n) to the front, in no order: larger score first,
 * equal scores by lower index. */
void select_best(struct scored *x, size_t n, size_t k);

#endif
