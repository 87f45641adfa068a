/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Distances between an output X and a reference Y, both taken as double, over
 * all rows of all heads; U is the uniform average, whose row i is the mean of
 * the values that query i sees:
 *
 *     rel_fro  |X - Y| / |Y|              Frobenius norms
 *     rel_u    |U - Y| / |Y|              the rel_fro of not attending
 *     max_abs  max |X - Y|
 *     rel_row  |x - y| / |y| of a row: the largest and the median
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
	double *rel_row; /* the caller's, room for every row; or NULL */
};

struct errors {
	double rel_fro, rel_u, max_abs, max_rel_row, med_rel_row, cos, nmse_u;
};

/* Adds a row of n channels. uniform NULL: nmse_u is not wanted. */
void errors_add(struct error_sums *sums, const float *x, const double *y, const double *uniform,
                size_t n);

/* A quotient by zero is 0 where the error is 0, else INFINITY; cos without any
 * row to average, rel_u and nmse_u without a uniform row, and *_rel_row without
 * the array are NAN. Sorts the array. */
struct errors errors_of(const struct error_sums *sums);

/* Standard error of rel_fro = sqrt(sum error2 / sum norm2) when the n rows are a
 * random sample of all: that of a ratio, to first order. One row of each of n
 * equal stretches, as reference_rows() takes them, does no worse. */
double errors_sampling(const double *error2, const double *norm2, size_t n, size_t all);

/* The running mean of value rows: mean = that of v[0 .. visible). *seen and
 * sum (n doubles, 0 at the start) carry over while visible does not fall. */
void uniform_row(const float *v, size_t n, size_t visible, size_t *seen, double *sum, double *mean);

/* Index of the first NAN or INFINITY, or n. */
size_t first_nonfinite(const float *x, size_t n);

#endif
