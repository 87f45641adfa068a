/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Counting sort: items by bucket, in order within one. */
#ifndef ENGINE_BUCKET_H
#define ENGINE_BUCKET_H

#include <stddef.h>
#include <stdint.h>

#define BUCKET_NONE UINT32_MAX

/* Item i has buckets bucket[i * m .. (i + 1) * m), each below `buckets` or
 * BUCKET_NONE. order[start[b] .. start[b + 1]) = the items of bucket b,
 * ascending. start: buckets + 1; order: as many as there are buckets given. */
void bucket_sort(const uint32_t *bucket, size_t n, size_t m, size_t buckets, uint32_t *start,
                 uint32_t *order);

#endif
