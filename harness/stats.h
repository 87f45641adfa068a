/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Statistics of a few numbers, without an assumption on their distribution.
 * "sorted" means ascending, no NAN; every function needs n >= 1 unless said.
 */
#ifndef HARNESS_STATS_H
#define HARNESS_STATS_H

#include <stdbool.h>
#include <stddef.h>

void stats_sort(double *x, size_t n);

double stats_mean(const double *x, size_t n);

/* Quantile p in [0, 1] by linear interpolation between order statistics, at
 * position p (n - 1): the default of numpy. */
double stats_quantile(const double *sorted, size_t n, double p);
double stats_median(const double *sorted, size_t n);

/* Median of |x - median|, unscaled. work: n doubles. */
double stats_mad(const double *sorted, size_t n, double *work);

/* Ranks (from 1) of the order statistics that bracket the median with at
 * least this confidence: lo and hi = n + 1 - lo, lo as large as possible. No
 * distribution is assumed: the number of values below the median is binomial.
 * False if n is too small (at 0.95: n < 6). coverage may be NULL. */
bool stats_median_ranks(size_t n, double confidence, size_t *lo, size_t *hi,
                        double *coverage);

/* Values outside the quartiles by more than 1.5 (mild) and 3 (severe)
 * interquartile ranges; mild does not include severe. */
void stats_tukey(const double *sorted, size_t n, size_t *mild, size_t *severe);

/* Lag-1 autocorrelation in the order given: sum (x_t - m)(x_t+1 - m) over
 * sum (x_t - m)^2. NAN when all values are equal or n < 2. */
double stats_autocorrelation(const double *x, size_t n);

#endif
