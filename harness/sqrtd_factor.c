/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The gradient through softmax against the factor of its logits. */
#include "sqrtd.h"
#include "stats.h"

#include <stdlib.h>

#include "../attention/attn.h"

/* Rows of n logits s ~ N(0, 1). */
static double *normal_rows(size_t rows, size_t n, char *error)
{
	double *s = malloc(rows * n * sizeof *s);

	if (!s)
		fail(error, "out of memory");
	for (size_t i = 0; s && i < rows * n; i++)
		s[i] = attn_random_normal(1, attn_random_stream("sqrt-d", n, 0), i);
	return s;
}

/* Gradients of all rows at one factor, sorted. */
static void gradients(const double *s, size_t rows, size_t n, double a, double *g)
{
	for (size_t r = 0; r < rows; r++) {
		struct softmax p = softmax_of(s + r * n, n, a);
		g[r] = gradient(&p, a);
	}
	stats_sort(g, rows);
}

/* E[sum p^2] by replacing sums by expectations over s ~ N(0, 1). */
static double formula(double a, double n)
{
	return a * (1 - exp(a * a) / n);
}

bool sqrtd_gradient(struct one_table *table, char *error)
{
	static const double factors[] = { 0.01, 0.1, 0.5, 1, 1.5, 2, 2.5, 3, 4, 5, 6, 7, 10, 20, 50, 100, 1000 };
	enum { N = 1024, ROWS = 2048 };
	double *s = normal_rows(ROWS, N, error), *g = malloc(ROWS * sizeof *g);
	bool ok = s && (g || fail(error, "out of memory"));

	for (size_t i = 0; ok && i < sizeof factors / sizeof *factors; i++) {
		struct table_row *row = table_add(table, N, 0, "", factors[i]);
		if (!row) {
			ok = fail(error, "out of memory");
			break;
		}
		gradients(s, ROWS, N, factors[i], g);
		row->value[0] = stats_mean(g, ROWS);
		row->value[1] = stats_median(g, ROWS);
		row->value[2] = stats_quantile(g, ROWS, 0.25);
		if (formula(factors[i], N) > 0)
			row->value[3] = formula(factors[i], N);
	}
	free(s);
	free(g);
	return ok;
}

/* The a > 0 where a (1 - e^(a^2) / n) is largest: e^(a^2) (1 + 2 a^2) = n. */
static double best_by_formula(double n)
{
	double low = 0, high = 40;

	for (int i = 0; i < 200; i++) {
		double a = (low + high) / 2;
		if (a * a + log1p(2 * a * a) < log(n))
			low = a;
		else
			high = a;
	}
	return low;
}

bool sqrtd_best(struct one_table *table, char *error)
{
	static const size_t lengths[] = { 128, 512, 1024, 4096, 16384 };
	enum { ROWS = 256 };
	bool ok = true;

	for (size_t i = 0; ok && i < sizeof lengths / sizeof *lengths; i++) {
		size_t n = lengths[i];
		double *s = normal_rows(ROWS, n, error), g[ROWS], most = 0;
		struct table_row *row = s ? table_add(table, n, 0, "", NAN) : NULL;
		ok = row || (s && fail(error, "out of memory"));
		if (!ok) {
			free(s);
			break;
		}
		row->value[0] = best_by_formula((double)n);
		row->value[1] = 0.84 * sqrt(log((double)n));
		for (double a = 1; a < 12; a *= 1.1) {
			gradients(s, ROWS, n, a, g);
			double median = stats_median(g, ROWS);
			if (median > most) {
				most = median;
				row->value[2] = a;
			}
		}
		free(s);
	}
	return ok;
}
