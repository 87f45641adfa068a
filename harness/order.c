/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Shuffles and Latin squares from counter-based random numbers. */
#include "order.h"

#include "../attention/attn.h"

/* What a stream of random numbers is for. */
enum { SHAPES, COLUMNS, ROWS };

/* Element `index` of the stream as a whole number below n: the high half of a
 * product, whose bias is below n / 2^64. */
static size_t below(uint64_t seed, uint64_t stream, uint64_t index, size_t n)
{
	uint32_t bits[4];

	attn_random_bits(seed, stream, index, bits);
	uint64_t high = bits[0], low = bits[1], m = n;
	/* (high 2^32 + low) m / 2^64, in 64-bit steps; m < 2^32 here. */
	return (size_t)((high * m + (low * m >> 32)) >> 32);
}

/* Fisher and Yates. */
static void shuffle(uint64_t seed, uint64_t stream, size_t n, size_t *order)
{
	for (size_t i = 0; i < n; i++)
		order[i] = i;
	for (size_t i = n; i > 1; i--) {
		size_t j = below(seed, stream, i, i), keep = order[i - 1];
		order[i - 1] = order[j];
		order[j] = keep;
	}
}

void order_shapes(uint64_t seed, size_t round, size_t n, size_t *order)
{
	shuffle(seed, attn_random_stream("order", round, SHAPES), n, order);
}

/* L[r][p] = column[(r + p) mod n], the rows r in random order. */
void order_cells(uint64_t seed, size_t shape, size_t round, size_t n, size_t *row)
{
	size_t r = round % n, start;

	shuffle(seed, attn_random_stream("order", shape, ROWS), n, row);
	start = row[r];
	shuffle(seed, attn_random_stream("order", shape, COLUMNS), n, row);
	/* Turn the columns by `start`, in place, by three reversals. */
	for (int step = 0; step < 3; step++) {
		size_t lo = step == 1 ? start : 0;
		size_t hi = step == 0 ? start : n;
		while (hi > lo + 1) {
			size_t keep = row[lo];
			row[lo++] = row[--hi];
			row[hi] = keep;
		}
	}
}
