/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Counting sort. */
#include "bucket.h"

#include <string.h>

void bucket_sort(const uint32_t *bucket, size_t n, size_t m, size_t buckets, uint32_t *start,
                 uint32_t *order)
{
	uint32_t sum = 0;

	memset(start, 0, (buckets + 1) * sizeof *start);
	for (size_t a = 0; a < n * m; a++)
		if (bucket[a] != BUCKET_NONE)
			start[bucket[a]]++;
	for (size_t b = 0; b <= buckets; b++) {
		uint32_t count = start[b];
		start[b] = sum;
		sum += count;
	}
	/* start[b] runs ahead to its end, which is the start of b + 1 ... */
	for (size_t i = 0; i < n; i++)
		for (size_t a = i * m; a < (i + 1) * m; a++)
			if (bucket[a] != BUCKET_NONE)
				order[start[bucket[a]]++] = (uint32_t)i;
	/* ... so all move up by one. */
	memmove(start + 1, start, buckets * sizeof *start);
	start[0] = 0;
}
