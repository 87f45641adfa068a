/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Distances between an output X and a reference Y, both taken as double, over
 * all rows of all heads; U is the uniform average, whose row i is the mean of
 * the values that query i sees:
 *
 *     rel_fro  |X - Y| / |Y|              Frobenius norms
 *     max_abs  max |X - Y|
 *     cos      mean over rows of <x, y> / (|x| |y|), rows with a zero left out
 *     nmse_u   |X - Y|^2 / |U - Y|^2      below 1: better than not attending
 */
#ifndef HARNESS_METRICS_H
#define HARNESS_METRICS_H

#include <stdbool.h>
#include <stddef.h>

struct error_sums {
	double error2, norm2, uniform2, max_abs, cos;
	size_t rows, cos_rows;
};

struct errors {
	double rel_fro, max_abs, cos, nmse_u;
};

/* Adds a row of n channels. uniform NULL: nmse_u is not wanted. */
void errors_add(struct error_sums *sums, const float *x, const double *y, const double *uniform,
                size_t n);

/* A quotient by zero is 0 where the error is 0, else INFINITY; cos without any
 * row to average, and nmse_u without a uniform row, are NAN. */
struct errors errors_of(const struct error_sums *sums);

/* The running mean of value rows: mean = that of v[0 .. visible). *seen and
 * sum (n doubles, 0 at the start) carry over while visible does not fall. */
void uniform_row(const float *v, size_t n, size_t visible, size_t *seen, double *sum, double *mean);

/* Index of the first NAN or INFINITY, or n. */
size_t first_nonfinite(const float *x, size_t n);

#endif
