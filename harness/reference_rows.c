/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The queries that errors are taken on. */
#include "reference.h"

#include "hash.h"

enum { ALL_ROWS = 16384, SOME_ROWS = 512 };

size_t reference_rows(size_t n_q, size_t all, size_t some, size_t *rows)
{
	size_t n = n_q <= all ? n_q : some;

	for (size_t i = 0; i < n; i++) {
		/* Stretch i is [i n_q / n, (i + 1) n_q / n). */
		size_t from = i * (n_q / n) + i * (n_q % n) / n;
		size_t to = (i + 1) * (n_q / n) + (i + 1) * (n_q % n) / n;
		rows[i] = from + (size_t)(hash_mix(1, i) % (to - from));
	}
	if (n > 0) {
		rows[0] = 0;
		rows[n - 1] = n_q - 1;
	}
	return n;
}

size_t reference_n_rows(size_t n_q)
{
	return n_q <= ALL_ROWS ? n_q : SOME_ROWS;
}

size_t reference_share(size_t n, size_t n_longest, size_t some)
{
	return some == n_longest ? n : (n * some + n_longest - 1) / n_longest;
}
