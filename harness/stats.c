/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Medians, ranks and outliers. */
#include "stats.h"

#include <math.h>
#include <stdlib.h>

static int ascending(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

void stats_sort(double *x, size_t n)
{
	qsort(x, n, sizeof *x, ascending);
}

double stats_mean(const double *x, size_t n)
{
	double sum = 0;
	for (size_t i = 0; i < n; i++)
		sum += x[i];
	return sum / (double)n;
}

double stats_quantile(const double *sorted, size_t n, double p)
{
	double at = p * (double)(n - 1);
	size_t i = (size_t)at;
	if (i + 1 >= n)
		return sorted[n - 1];
	return sorted[i] + (at - (double)i) * (sorted[i + 1] - sorted[i]);
}

double stats_median(const double *sorted, size_t n)
{
	return n % 2 ? sorted[n / 2] : (sorted[n / 2 - 1] + sorted[n / 2]) / 2;
}

double stats_mad(const double *sorted, size_t n, double *work)
{
	double median = stats_median(sorted, n);
	for (size_t i = 0; i < n; i++)
		work[i] = fabs(sorted[i] - median);
	stats_sort(work, n);
	return stats_median(work, n);
}

/* The interval [x_(k), x_(n+1-k)] misses the median only if fewer than k
 * values lie on one side of it: 1 - 2 P(Bin(n, 1/2) <= k - 1). */
bool stats_median_ranks(size_t n, double confidence, size_t *lo, size_t *hi,
                        double *coverage)
{
	double below = 0, covered = 0;
	size_t k = 0;

	for (size_t i = 0; 2 * i + 1 < n; i++) {
		double x = (double)i, m = (double)n;
		below += exp(lgamma(m + 1) - lgamma(x + 1) - lgamma(m - x + 1) - m * log(2));
		if (1 - 2 * below < confidence)
			break;
		covered = 1 - 2 * below;
		k = i + 1;
	}
	if (k == 0)
		return false;
	*lo = k;
	*hi = n + 1 - k;
	if (coverage)
		*coverage = covered;
	return true;
}

void stats_tukey(const double *sorted, size_t n, size_t *mild, size_t *severe)
{
	double q1 = stats_quantile(sorted, n, 0.25), q3 = stats_quantile(sorted, n, 0.75);
	double range = q3 - q1;

	*mild = *severe = 0;
	for (size_t i = 0; i < n; i++) {
		double out = fmax(q1 - sorted[i], sorted[i] - q3);
		if (out > 3 * range)
			++*severe;
		else if (out > 1.5 * range)
			++*mild;
	}
}

double stats_autocorrelation(const double *x, size_t n)
{
	if (n < 2)
		return NAN;
	double mean = stats_mean(x, n), product = 0, square = 0;
	for (size_t i = 0; i < n; i++) {
		double here = x[i] - mean;
		square += here * here;
		if (i + 1 < n)
			product += here * (x[i + 1] - mean);
	}
	return square > 0 ? product / square : NAN;
}
