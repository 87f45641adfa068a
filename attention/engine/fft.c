/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Mixed radix, decimation in time: a transform of r m rows is r transforms of m
 * rows each and m butterflies of r rows. Lengths with a prime factor above
 * MAX_RADIX go by Bluestein's convolution, in a power of two.
 *
 * Table: the twiddles of the core, e^(-2 pi i k / core) as 2 x 2 real matrices; the
 * butterflies, two r x 2r matrices for each radix in order; with Bluestein the
 * chirp e^(-pi i t^2 / n), and the transform of its conjugate.
 */
#include "fft.h"

#include "../kernels/kern.h"
#include "work.h"

#include <string.h>

/* Radices up to GOOD_RADIX are preferred: measured, 16 needs fewer passes over
 * memory than 8 and 4, which need fewer FLOP. */
enum { GOOD_RADIX = 16, MAX_RADIX = 64 };

static const double tau = 6.283185307179586476925;

/* The radix of the first pass over n rows; 0: there is none. */
static size_t radix_of(size_t n)
{
	for (size_t r = n < GOOD_RADIX ? n : GOOD_RADIX; r > 1; r--)
		if (n % r == 0)
			return r;
	for (size_t r = GOOD_RADIX + 1; r <= MAX_RADIX && r <= n; r++)
		if (n % r == 0)
			return r;
	return n == 1;
}

static size_t core_of(size_t n)
{
	size_t left = n, core = 1;

	while (left > 1 && radix_of(left))
		left /= radix_of(left);
	if (left == 1)
		return n;
	while (core < 2 * n - 1)
		core *= 2;
	return core;
}

static size_t butterfly_floats(size_t n)
{
	size_t floats = 0;

	for (size_t r; n > 1; n /= r) {
		r = radix_of(n);
		floats += 4 * r * r;
	}
	return floats;
}

size_t fft_table_floats(size_t n)
{
	size_t core = core_of(n);

	return work_padded(4 * core + butterfly_floats(core)) + (core == n ? 0 : 4 * core + 4 * n);
}

/* m = the matrix of a product with re + i im. */
static void complex_matrix(float m[4], double re, double im)
{
	m[0] = (float)re;
	m[1] = (float)-im;
	m[2] = (float)im;
	m[3] = (float)re;
}

/* z (n complex) becomes its transform, n a power of two. */
static void transform_in_double(double *z, size_t n)
{
	for (size_t i = 0, j = 0; i < n; i++) {
		for (size_t c = 0; i < j && c < 2; c++) {
			double t = z[2 * i + c];
			z[2 * i + c] = z[2 * j + c];
			z[2 * j + c] = t;
		}
		size_t bit = n / 2;
		for (; bit && (j & bit); bit /= 2)
			j ^= bit;
		j |= bit;
	}
	for (size_t m = 1; m < n; m *= 2) {
		for (size_t j = 0; j < m; j++) {
			double c = cos(tau * (double)j / (double)(2 * m)), s = -sin(tau * (double)j / (double)(2 * m));
			for (size_t k = j; k < n; k += 2 * m) {
				double *a = z + 2 * k, *b = z + 2 * (k + m);
				double re = b[0] * c - b[1] * s, im = b[0] * s + b[1] * c;
				b[0] = a[0] - re;
				b[1] = a[1] - im;
				a[0] += re;
				a[1] += im;
			}
		}
	}
}

/* e^(-pi i t^2 / n); t^2 modulo 2 n keeps the angle exact. */
static void chirp(size_t n, size_t t, double *re, double *im)
{
	double angle = tau / 2 * (double)((uint64_t)t * t % (2 * n)) / (double)n;

	*re = cos(angle);
	*im = -sin(angle);
}

/* The chirp as matrices, and conj(A B) / core for each row A of a spectrum, with B
 * the transform of the conjugate chirp: computed in place, 16 bytes a row. */
static void prepare_bluestein(size_t n, size_t core, float *spectrum, float *chirps)
{
	double *z = (double *)(void *)spectrum, re, im;

	memset(z, 0, 2 * core * sizeof *z);
	for (size_t t = 0; t < n; t++) {
		chirp(n, t, &re, &im);
		complex_matrix(chirps + 4 * t, re, im);
		z[2 * t] = z[2 * ((core - t) % core)] = re;
		z[2 * t + 1] = z[2 * ((core - t) % core) + 1] = -im;
	}
	transform_in_double(z, core);
	for (size_t k = 0; k < core; k++) {
		double b[2] = { z[2 * k] / (double)core, z[2 * k + 1] / (double)core };
		float *m = spectrum + 4 * k;
		complex_matrix(m, b[0], b[1]);
		m[2] = -m[2];
		m[3] = -m[3];
	}
}

void fft_prepare(size_t n, float *table)
{
	size_t core = core_of(n);
	float *at = table + 4 * core;

	for (size_t k = 0; k < core; k++) {
		double angle = tau * (double)k / (double)core;
		complex_matrix(table + 4 * k, cos(angle), -sin(angle));
	}
	for (size_t left = core, r; left > 1; left /= r) {
		r = radix_of(left);
		for (size_t q = 0; q < r; q++) {
			for (size_t p = 0; p < r; p++) {
				double angle = tau * (double)(p * q % r) / (double)r;
				at[q * 2 * r + 2 * p] = at[(r + q) * 2 * r + 2 * p + 1] = (float)cos(angle);
				at[q * 2 * r + 2 * p + 1] = (float)sin(angle);
				at[(r + q) * 2 * r + 2 * p] = (float)-sin(angle);
			}
		}
		at += 4 * r * r;
	}
	if (core != n) {
		float *spectrum = table + work_padded(4 * core + butterfly_floats(core));
		prepare_bluestein(n, core, spectrum, spectrum + 4 * core);
	}
}

struct fft fft_of(size_t n, size_t cols, const float *table)
{
	return (struct fft){ .n = n, .cols = cols, .half = work_padded(cols), .core = core_of(n), .table = table };
}

size_t fft_shared_floats(size_t n, size_t cols)
{
	size_t core = core_of(n);

	return core == n ? 0 : 2 * core * 2 * work_padded(cols);
}

size_t fft_scratch_floats(size_t cols)
{
	return MAX_RADIX * 2 * work_padded(cols);
}

/* Twiddles or chirps and products of a row: 8 FLOP a number. */
double fft_flops(size_t n, size_t cols)
{
	size_t core = core_of(n);
	double a_row = 0;

	for (size_t left = core, r; left > 1; left /= r) {
		r = radix_of(left);
		a_row += 8 * (double)r + (left > r ? 8 : 0);
	}
	a_row *= (double)core;
	return (double)cols * (core == n ? a_row : 2 * a_row + 8 * (double)(2 * n + core));
}

/* What a rank computes with. */
struct pass {
	const struct fft *f;
	const struct kern *kern;
	float *local; /* r rows */
};

/* to = m from, complex rows: one 2 x 2 product for all columns. */
static void turn(const struct pass *w, float *to, const float *m, const float *from)
{
	w->kern->mm(to, w->f->half, m, 2, 1, from, w->f->half, 2, w->f->cols, 2, false);
}

/* The outputs j, j + m, ... of y from the r rows in w->local. */
static void butterfly(const struct pass *w, float *y, size_t j, size_t m, size_t r, const float *matrix)
{
	size_t half = w->f->half, ld = 2 * half;

	w->kern->mm(y + j * ld, m * ld, matrix, 2 * r, 1, w->local, half, r, w->f->cols, 2 * r, false);
	w->kern->mm(y + j * ld + half, m * ld, matrix + 2 * r * r, 2 * r, 1, w->local, half, r, w->f->cols,
	            2 * r, false);
}

/* Butterflies [j0, j1) over m rows each of r transforms in y. */
static void combine(const struct pass *w, float *y, size_t m, size_t r, const float *matrix, size_t j0,
                    size_t j1)
{
	size_t ld = 2 * w->f->half, step = w->f->core / (m * r);

	for (size_t j = j0; j < j1; j++) {
		for (size_t p = 0; p < r; p++)
			turn(w, w->local + p * ld, w->f->table + 4 * (p * j * step), y + (p * m + j) * ld);
		butterfly(w, y, j, m, r, matrix);
	}
}

/* y (n rows) = transform of rows 0, stride, 2 stride ... of x. */
static void transform(const struct pass *w, float *y, const float *x, size_t n, size_t stride,
                      const float *matrix)
{
	size_t ld = 2 * w->f->half, r = radix_of(n), m = n / r;

	if (m == 1) {
		for (size_t p = 0; p < r; p++)
			memcpy(w->local + p * ld, x + p * stride * ld, ld * sizeof *x);
		butterfly(w, y, 0, 1, r, matrix);
		return;
	}
	for (size_t p = 0; p < r; p++)
		transform(w, y + p * m * ld, x + p * stride * ld, m, stride * r, matrix + 4 * r * r);
	combine(w, y, m, r, matrix, 0, m);
}

/* The core transform by the team: first its inner transforms, then butterflies. */
static void core_transform(const struct pass *w, float *y, const float *x, struct attn_team *team)
{
	size_t n = w->f->core, ld = 2 * w->f->half, r = radix_of(n), m = n / r;
	const float *matrix = w->f->table + 4 * n;

	if (n == 1 && team->rank == 0)
		memcpy(y, x, ld * sizeof *x);
	else if (m == 1 && team->rank == 0)
		transform(w, y, x, n, 1, matrix);
	for (size_t p = team->rank; m > 1 && p < r; p += team->size)
		transform(w, y + p * m * ld, x + p * ld, m, r, matrix + 4 * r * r);
	attn_barrier(team);
	if (m > 1) {
		combine(w, y, m, r, matrix, work_part(m, team->rank, team->size), work_part(m, team->rank + 1, team->size));
		attn_barrier(team);
	}
}

/* X_k = w_k sum_t (x_t w_t) conj(w_(k-t)), w the chirp: a convolution, by the core. */
static void bluestein(const struct pass *w, const float *x, float *y, float *shared,
                      struct attn_team *team)
{
	const struct fft *f = w->f;
	size_t core = f->core, ld = 2 * f->half, n = f->n;
	const float *spectrum = f->table + work_padded(4 * core + butterfly_floats(core));
	const float *chirps = spectrum + 4 * core;
	float *a = shared, *b = shared + core * ld;
	size_t t0 = work_part(core, team->rank, team->size), t1 = work_part(core, team->rank + 1, team->size);

	for (size_t t = t0; t < t1; t++) {
		memset(a + t * ld, 0, ld * sizeof *a);
		if (t < n)
			turn(w, a + t * ld, chirps + 4 * t, x + t * ld);
	}
	attn_barrier(team);
	core_transform(w, b, a, team);
	for (size_t k = t0; k < t1; k++)
		turn(w, a + k * ld, spectrum + 4 * k, b + k * ld);
	attn_barrier(team);
	core_transform(w, b, a, team);
	for (size_t k = work_part(n, team->rank, team->size); k < work_part(n, team->rank + 1, team->size); k++) {
		/* b holds conjugates: w_k conj(b_k). */
		const float *c = chirps + 4 * k, m[4] = { c[0], c[2], c[2], -c[0] };
		turn(w, y + k * ld, m, b + k * ld);
	}
	attn_barrier(team);
}

void fft_run(const struct fft *f, const struct kern *kern, float *x, float *y, float *shared,
             float *scratch, struct attn_team *team)
{
	struct pass w = { f, kern, scratch };

	if (f->core == f->n)
		core_transform(&w, y, x, team);
	else
		bluestein(&w, x, y, shared, team);
}
