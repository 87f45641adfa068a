/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Floyd's sampling (Bentley, Floyd 1987): draw j takes a number up to j, or j
 * itself if that is taken. */
#include "sample.h"

/* Inserts x into ascending t[0 .. count); false if it is there. */
static bool insert(uint32_t *t, size_t count, uint32_t x)
{
	size_t at = count;

	for (size_t i = 0; i < count; i++)
		if (t[i] == x)
			return false;
	for (; at > 0 && t[at - 1] > x; at--)
		t[at] = t[at - 1];
	t[at] = x;
	return true;
}

void sample_distinct(uint64_t seed, uint64_t stream, uint64_t first, size_t n, size_t k, uint32_t *out)
{
	for (size_t i = 0; i < k; i++) {
		size_t j = n - k + i;
		double u = attn_random_uniform(seed, stream, first + i);
		if (!insert(out, i, (uint32_t)(u * (double)(j + 1))))
			insert(out, i, (uint32_t)j);
	}
}
