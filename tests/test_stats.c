/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Statistics against numpy and scipy. The tables were printed by
 *
 *   import numpy as np, scipy.stats as st
 *   a = np.array(x); q = np.quantile(a, [0, .05, .25, .5, .75, .95, 1])
 *   a.mean(), st.median_abs_deviation(a), ((a-m)[:-1] * (a-m)[1:]).sum() / ((a-m)**2).sum()
 *   max(k for k in range(1, n//2 + 1) if 1 - 2 * st.binom.cdf(k - 1, n, .5) >= confidence)
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "../harness/stats.h"

enum { N = 12 };
static const double x[N] = { 12.5, 11.9, 12.1, 30.0, 12.2, 12.0, 12.4, 11.8, 12.3, 17.0, 12.6, 12.05 };

static void near(double a, double b)
{
	assert_true(fabs(a - b) <= 1e-13 * fmax(1, fabs(b)));
}

static void test_moments(void **state)
{
	(void)state;
	static const double p[] = { 0, 0.05, 0.25, 0.5, 0.75, 0.95, 1 };
	static const double q[] = { 11.8, 11.855, 12.0375, 12.25, 12.525, 22.85, 30.0 };
	double sorted[N], work[N];
	size_t mild, severe;

	near(stats_mean(x, N), 14.070833333333333);
	near(stats_autocorrelation(x, N), -0.1503492668142089);
	memcpy(sorted, x, sizeof x);
	stats_sort(sorted, N);
	for (size_t i = 0; i + 1 < N; i++)
		assert_true(sorted[i] <= sorted[i + 1]);
	for (size_t i = 0; i < sizeof p / sizeof *p; i++)
		near(stats_quantile(sorted, N, p[i]), q[i]);
	near(stats_median(sorted, N), 12.25);
	near(stats_median(sorted, N - 1), 12.2);
	near(stats_mad(sorted, N, work), 0.25);
	stats_tukey(sorted, N, &mild, &severe);
	assert_int_equal(mild, 0);
	assert_int_equal(severe, 2);
	sorted[N - 1] = 13.5; /* 12.525 + 2 x the range of 0.4875 */
	sorted[N - 2] = 12.7;
	stats_tukey(sorted, N, &mild, &severe);
	assert_int_equal(mild, 1);
	assert_int_equal(severe, 0);
}

static void test_degenerate(void **state)
{
	(void)state;
	static const double same[] = { 3, 3, 3 };
	double work[3];
	size_t mild, severe;

	near(stats_median(same, 1), 3);
	near(stats_quantile(same, 1, 0.9), 3);
	near(stats_mad(same, 3, work), 0);
	stats_tukey(same, 3, &mild, &severe);
	assert_int_equal(mild + severe, 0);
	assert_true(isnan(stats_autocorrelation(same, 3)));
	assert_true(isnan(stats_autocorrelation(same, 1)));
}

static void test_ranks(void **state)
{
	(void)state;
	static const struct {
		double confidence;
		size_t n, lo; /* lo 0: too few */
		double coverage;
	} table[] = {
		{ 0.95, 1, 0, 0 },
		{ 0.95, 5, 0, 0 },
		{ 0.95, 6, 1, 0.96875 },
		{ 0.95, 8, 1, 0.9921875 },
		{ 0.95, 9, 2, 0.9609375 },
		{ 0.95, 10, 2, 0.978515625 },
		{ 0.95, 12, 3, 0.96142578125 },
		{ 0.95, 15, 4, 0.96484375 },
		{ 0.95, 20, 6, 0.9586105346679688 },
		{ 0.95, 25, 8, 0.9567147493362427 },
		{ 0.95, 30, 10, 0.9572260547429323 },
		{ 0.95, 40, 14, 0.9615226917157997 },
		{ 0.95, 100, 40, 0.9647997997822951 },
		{ 0.95, 1000, 469, 0.9537088026395019 },
		{ 0.99, 6, 0, 0 },
		{ 0.99, 8, 1, 0.9921875 },
		{ 0.99, 30, 8, 0.9947771206498146 },
		{ 0.9975, 9, 0, 0 },
		{ 0.9975, 10, 1, 0.998046875 },
		{ 0.9975, 1000, 452, 0.9978562999021526 },
	};

	for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
		size_t lo, hi;
		double coverage;
		bool ok = stats_median_ranks(table[i].n, table[i].confidence, &lo, &hi, &coverage);
		assert_int_equal(ok, table[i].lo > 0);
		if (!ok)
			continue;
		assert_int_equal(lo, table[i].lo);
		assert_int_equal(hi, table[i].n + 1 - table[i].lo);
		assert_true(fabs(coverage - table[i].coverage) < 1e-10);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_moments),
		cmocka_unit_test(test_degenerate),
		cmocka_unit_test(test_ranks),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
