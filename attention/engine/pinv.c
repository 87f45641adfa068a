/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Pseudo-inverse: the iteration of Nystromformer, and an exact one. */
#include "pinv.h"

#include "../kernels/gemm.h"

#include <float.h>
#include <string.h>

size_t pinv_work_floats(size_t m)
{
	return 3 * m * m;
}

static void initial(const float *a, size_t m, float *z)
{
	float columns = 0, rows = 0; /* |A|_1 and |A|_inf */

	for (size_t i = 0; i < m; i++) {
		float row = 0, column = 0;
		for (size_t j = 0; j < m; j++) {
			row += fabsf(a[i * m + j]);
			column += fabsf(a[j * m + i]);
		}
		rows = fmaxf(rows, row);
		columns = fmaxf(columns, column);
	}
	for (size_t i = 0; i < m; i++)
		for (size_t j = 0; j < m; j++)
			z[i * m + j] = a[j * m + i] / (columns * rows);
}

/* Rows [r0, r1) of y = diagonal I - x. */
static void subtract(float *y, float diagonal, const float *x, size_t m, size_t r0, size_t r1)
{
	for (size_t i = r0; i < r1; i++) {
		for (size_t j = 0; j < m; j++)
			y[i * m + j] = -x[i * m + j];
		y[i * m + i] += diagonal;
	}
}

void pinv_iterate(const float *a, size_t m, size_t iterations, float *z, float *work,
                  struct attn_team *team)
{
	size_t r0 = m * team->rank / team->size, rows = m * (team->rank + 1) / team->size - r0;
	size_t at = r0 * m;
	float *az = work, *x = az + m * m, *y = x + m * m;

	if (team->rank == 0)
		initial(a, m, z);
	attn_barrier(team);
	for (size_t step = 0; step < iterations; step++) {
		gemm_nn(rows, m, m, 1, a + at, m, z, m, 0, az + at, m);
		subtract(x, 7, az, m, r0, r0 + rows);
		attn_barrier(team);
		gemm_nn(rows, m, m, 1, az + at, m, x, m, 0, y + at, m);
		subtract(y, 15, y, m, r0, r0 + rows);
		attn_barrier(team);
		gemm_nn(rows, m, m, 1, az + at, m, y, m, 0, x + at, m);
		subtract(x, 13, x, m, r0, r0 + rows);
		attn_barrier(team);
		gemm_nn(rows, m, m, 0.25f, z + at, m, x, m, 0, y + at, m);
		attn_barrier(team);
		memcpy(z + at, y + at, rows * m * sizeof *z);
		attn_barrier(team);
	}
}

size_t pinv_exact_doubles(size_t m)
{
	return 2 * m * m;
}

/* Rotates columns p, q of u (columns stored as rows) to be orthogonal, and v
 * alike; returns how far from orthogonal they were. */
static double rotate(double *u, double *v, size_t m, size_t p, size_t q)
{
	double *up = u + p * m, *uq = u + q * m, *vp = v + p * m, *vq = v + q * m;
	double pp = 0, qq = 0, pq = 0;

	for (size_t i = 0; i < m; i++) {
		pp += up[i] * up[i];
		qq += uq[i] * uq[i];
		pq += up[i] * uq[i];
	}
	if (pq == 0)
		return 0;
	double zeta = (qq - pp) / (2 * pq);
	double t = copysign(1, zeta) / (fabs(zeta) + sqrt(1 + zeta * zeta));
	double cosine = 1 / sqrt(1 + t * t), sine = cosine * t;
	for (size_t i = 0; i < m; i++) {
		double a = up[i], b = vp[i];
		up[i] = cosine * a - sine * uq[i];
		uq[i] = sine * a + cosine * uq[i];
		vp[i] = cosine * b - sine * vq[i];
		vq[i] = sine * b + cosine * vq[i];
	}
	return fabs(pq) / sqrt(pp * qq);
}

static double squared(const double *x, size_t m)
{
	double sum = 0;

	for (size_t i = 0; i < m; i++)
		sum += x[i] * x[i];
	return sum;
}

/* A V = U S with orthogonal columns: pinv = V S^-2 U^T with U S kept as one. */
void pinv_exact(const float *a, size_t m, float *z, double *work)
{
	double *u = work, *v = u + m * m, largest = 0;

	for (size_t i = 0; i < m; i++) {
		for (size_t j = 0; j < m; j++) {
			u[j * m + i] = (double)a[i * m + j];
			v[j * m + i] = i == j;
		}
	}
	for (int sweep = 0; sweep < 60; sweep++) {
		double worst = 0;
		for (size_t p = 0; p + 1 < m; p++)
			for (size_t q = p + 1; q < m; q++)
				worst = fmax(worst, rotate(u, v, m, p, q));
		if (worst < 1e-14)
			break;
	}
	/* Columns of U S shorter than the cut carry no information; the others
	 * are divided by their squared length. */
	for (size_t p = 0; p < m; p++)
		largest = fmax(largest, squared(u + p * m, m));
	double cut = (double)m * DBL_EPSILON;
	for (size_t p = 0; p < m; p++) {
		double square = squared(u + p * m, m);
		for (size_t i = 0; i < m; i++)
			v[p * m + i] *= square > cut * cut * largest ? 1 / square : 0;
	}
	for (size_t i = 0; i < m; i++) {
		for (size_t j = 0; j < m; j++) {
			double sum = 0;
			for (size_t p = 0; p < m; p++)
				sum += v[p * m + i] * u[p * m + j];
			z[i * m + j] = (float)sum;
		}
	}
}
