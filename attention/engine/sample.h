/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Drawing without replacement. */
#ifndef ENGINE_SAMPLE_H
#define ENGINE_SAMPLE_H

#include "../attn.h"

/* out = k of 0 .. n - 1, ascending, k <= n; uses numbers first .. first + k - 1 of
 * the stream. Time k^2. */
void sample_distinct(uint64_t seed, uint64_t stream, uint64_t first, size_t n, size_t k,
                     uint32_t *out);

#endif
