/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Two cells of one shape, compared round by round.
 */
#ifndef HARNESS_COMPARE_H
#define HARNESS_COMPARE_H

#include "results.h"

enum verdict { VERDICT_NONE, VERDICT_FASTER, VERDICT_SLOWER, VERDICT_SAME, VERDICT_UNCLEAR };
extern const char *const verdict_names[]; /* "" for VERDICT_NONE */

/* Speed-up of a cell over its baseline: exp of the median over rounds, in which
 * both were measured, of ln(baseline time / time). */
struct ratio {
	size_t pairs;
	double speedup, lo, hi; /* lo, hi NAN: too few pairs for any interval */
	double confidence;      /* of the interval */
	bool corrected;         /* for the number of comparisons in the table */
	enum verdict verdict;
	const char *reason;     /* of VERDICT_UNCLEAR */
};

/* comparisons: rows of the table; the interval is widened to 1 - 0.05 / that
 * where the rounds can carry it. margin: share around 1 that counts as the
 * same. False: no memory. */
bool compare_rounds(const struct result *base, const struct result *cell, size_t comparisons,
                    double margin, struct ratio *ratio);

/* The result that this one is compared with: the wanted variant (NULL: full,
 * else flash), of the same shape and instruction set; NULL: none. */
const struct result *find_baseline(const struct results *results, const struct result *cell,
                                   const char *wanted);

#endif
