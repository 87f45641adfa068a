/* SPDX-License-Identifier: BSD-3-Clause
 *
 * One row a cell: estimates with intervals, flags, and summary.csv. Derived
 * from raw.csv alone; can be thrown away and made again.
 */
#ifndef HARNESS_SUMMARY_H
#define HARNESS_SUMMARY_H

#include "results.h"

/* The time of a cell: one number a round, no assumption on its distribution. */
struct estimate {
	size_t rounds;
	double median, lo, hi; /* lo, hi NAN: too few rounds for 95 % */
};

/* False: no memory. */
bool estimate_time(const struct result *result, struct estimate *estimate);

/* Half-width of the interval as a share of the median; NAN without one. */
double estimate_width(const struct estimate *estimate);

/* A row and the texts it owns. */
struct summary {
	struct summary_row row;
	char flags[384];
};

/* best_cal_ns: fastest calibration of the run, NAN if there is none. */
bool summarize(const struct result *result, double best_cal_ns, struct summary *out);

/* The three accounts of memory against each other, within an error bar: what
 * was declared and given, what was touched of it, what the kernel saw. */
struct memory_check {
	bool large;       /* far above the resolution of the kernel's account */
	bool leaks;       /* the process grew by more than was touched */
	bool falls_short; /* by less: the kernel's mark cannot be trusted */
	bool untouched;   /* more was taken than used */
};
struct memory_check check_memory(const struct result *result);

double results_best_cal(const struct results *results);

/* The text of summary.csv. */
bool summary_text(const struct results *results, struct text *out, char *error);

/* Writes DIR/summary.csv, whole or not at all. */
bool summary_write(const struct results *results, const char *dir, char *error);

#endif
