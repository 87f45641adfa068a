/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Random projections (Choromanski et al. 2020, arXiv 2009.14794, section 3). */
#include "projection.h"

/* x . y, columns of a row-major matrix with row length ld. */
static double column_dot(const float *x, const float *y, size_t d, size_t ld)
{
	double sum = 0;

	for (size_t c = 0; c < d; c++)
		sum += (double)x[c * ld] * (double)y[c * ld];
	return sum;
}

/* Modified Gram-Schmidt on columns, each taken twice, which keeps them
 * orthogonal to rounding. The diagonal of R is positive by construction. */
static void orthonormalise(float *x, size_t count, size_t d, size_t ld)
{
	for (size_t i = 0; i < count; i++) {
		for (size_t j = 0; j < 2 * i; j++) {
			const float *xj = x + j % i;
			double dot = column_dot(x + i, xj, d, ld);
			for (size_t c = 0; c < d; c++)
				x[c * ld + i] = (float)((double)x[c * ld + i] - dot * (double)xj[c * ld]);
		}
		double length = sqrt(column_dot(x + i, x + i, d, ld));
		for (size_t c = 0; c < d; c++)
			x[c * ld + i] = (float)((double)x[c * ld + i] / length);
	}
}

/* The length of a row of N(0, I), drawn apart from its direction. */
static double row_length(enum projection_length length, size_t d, uint64_t seed, uint64_t stream,
                         size_t row)
{
	const uint64_t apart = UINT64_C(0x9e3779b97f4a7c15);
	double sum = 0;

	if (length == PROJECTION_ROOT)
		return sqrt((double)d);
	for (size_t c = 0; c < d; c++) {
		double z = attn_random_normal(seed, stream ^ apart, row * d + c);
		sum += z * z;
	}
	return sqrt(sum);
}

void projection_gaussian(float *w_t, size_t m, size_t d, bool ortho, enum projection_length length,
                         uint64_t seed, uint64_t stream)
{
	for (size_t r = 0; r < m; r++)
		for (size_t c = 0; c < d; c++)
			w_t[c * m + r] = (float)attn_random_normal(seed, stream, r * d + c);
	for (size_t first = 0; ortho && first < m; first += d) {
		size_t rows = m - first < d ? m - first : d;
		orthonormalise(w_t + first, rows, d, m);
		for (size_t r = first; r < first + rows; r++) {
			double scale = row_length(length, d, seed, stream, r);
			for (size_t c = 0; c < d; c++)
				w_t[c * m + r] = (float)((double)w_t[c * m + r] * scale);
		}
	}
}
