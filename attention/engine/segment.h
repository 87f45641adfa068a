/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Contiguous segments of a sequence and their means: the landmarks of low-rank
 * variants. Segment u of m over n tokens is [u n / m, (u + 1) n / m), rounded
 * down: sizes differ by at most one, none is empty while m <= n. */
#ifndef ENGINE_SEGMENT_H
#define ENGINE_SEGMENT_H

#include "../attn.h"

static inline size_t segment_begin(size_t n, size_t m, size_t u)
{
	return u * (n / m) + u * (n % m) / m;
}

static inline size_t segment_size(size_t n, size_t m, size_t u)
{
	return segment_begin(n, m, u + 1) - segment_begin(n, m, u);
}

/* out (m x d) rows [u0, u1) = means of those segments of x (n x d, ldx). */
void segment_means(const struct kern *kern, const float *x, size_t ldx, size_t n, size_t d, size_t m,
                   size_t u0, size_t u1, float *out);

#endif
