/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Sums of errors. */
#include "metrics.h"

#include <math.h>

#include "stats.h"

static double quotient(double error, double by)
{
	if (by == 0 && !isnan(error))
		return error == 0 ? 0 : INFINITY;
	return error / by;
}

void errors_add(struct error_sums *s, const float *x, const double *y, const double *uniform,
                size_t n)
{
	double xx = 0, yy = 0, xy = 0, row = 0;

	for (size_t c = 0; c < n; c++) {
		double value = (double)x[c], error = fabs(value - y[c]);
		row += error * error;
		/* A NAN stays: nothing is greater than it. */
		if (error > s->max_abs || isnan(error))
			s->max_abs = error;
		if (uniform)
			s->uniform2 += (uniform[c] - y[c]) * (uniform[c] - y[c]);
		xx += value * value;
		yy += y[c] * y[c];
		xy += value * y[c];
	}
	s->error2 += row;
	s->norm2 += yy;
	if (s->rel_row)
		s->rel_row[s->rows] = sqrt(quotient(row, yy));
	s->rows++;
	if (!uniform)
		s->uniform2 = NAN;
	if (xx > 0 && yy > 0) {
		s->cos += xy / (sqrt(xx) * sqrt(yy));
		s->cos_rows++;
	}
}

struct errors errors_of(const struct error_sums *s)
{
	double max = NAN, median = NAN;

	if (s->rel_row && s->rows > 0) {
		stats_sort(s->rel_row, s->rows);
		max = s->rel_row[s->rows - 1];
		median = stats_median(s->rel_row, s->rows);
	}
	return (struct errors){
		.rel_fro = sqrt(quotient(s->error2, s->norm2)),
		.rel_u = sqrt(quotient(s->uniform2, s->norm2)),
		.max_abs = s->max_abs,
		.max_rel_row = max,
		.med_rel_row = median,
		.cos = s->cos_rows > 0 ? s->cos / (double)s->cos_rows : (double)NAN,
		.nmse_u = quotient(s->error2, s->uniform2),
	};
}

double errors_sampling(const double *error2, const double *norm2, size_t n, size_t all)
{
	double error = 0, norm = 0, spread = 0, rows = (double)n;

	for (size_t i = 0; i < n; i++) {
		error += error2[i];
		norm += norm2[i];
	}
	if (n >= all || !(error > 0) || n < 2)
		return n >= all || error == 0 ? 0 : NAN;
	double ratio = error / norm;
	for (size_t i = 0; i < n; i++)
		spread += (error2[i] - ratio * norm2[i]) * (error2[i] - ratio * norm2[i]);
	/* Var(ratio) = (1 - n / all) s^2 / (n mean^2); d sqrt(r) = dr / (2 sqrt(r)). */
	double variance = (1 - rows / (double)all) * spread / (rows - 1) / rows;
	return sqrt(variance) / (norm / rows) / (2 * sqrt(ratio));
}

void uniform_row(const float *v, size_t n, size_t visible, size_t *seen, double *sum, double *mean)
{
	for (; *seen < visible; ++*seen)
		for (size_t c = 0; c < n; c++)
			sum[c] += (double)v[*seen * n + c];
	for (size_t c = 0; c < n; c++)
		mean[c] = visible > 0 ? sum[c] / (double)visible : 0;
}

size_t first_nonfinite(const float *x, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!isfinite(x[i]))
			return i;
	return n;
}
