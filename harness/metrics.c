/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Sums of errors. */
#include "metrics.h"

#include <math.h>

void errors_add(struct error_sums *s, const float *x, const double *y, const double *uniform,
                size_t n)
{
	double xx = 0, yy = 0, xy = 0;

	for (size_t c = 0; c < n; c++) {
		double value = (double)x[c], error = fabs(value - y[c]);
		s->error2 += error * error;
		/* A NAN stays: nothing is greater than it. */
		if (error > s->max_abs || isnan(error))
			s->max_abs = error;
		if (uniform)
			s->uniform2 += (uniform[c] - y[c]) * (uniform[c] - y[c]);
		xx += value * value;
		yy += y[c] * y[c];
		xy += value * y[c];
	}
	s->norm2 += yy;
	s->rows++;
	if (!uniform)
		s->uniform2 = NAN;
	if (xx > 0 && yy > 0) {
		s->cos += xy / (sqrt(xx) * sqrt(yy));
		s->cos_rows++;
	}
}

static double quotient(double error, double by)
{
	if (by == 0 && !isnan(error))
		return error == 0 ? 0 : INFINITY;
	return error / by;
}

struct errors errors_of(const struct error_sums *s)
{
	return (struct errors){
		.rel_fro = sqrt(quotient(s->error2, s->norm2)),
		.max_abs = s->max_abs,
		.cos = s->cos_rows > 0 ? s->cos / (double)s->cos_rows : (double)NAN,
		.nmse_u = quotient(s->error2, s->uniform2),
	};
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
