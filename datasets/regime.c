/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The entropy of softmax over n Gaussian logits, as a function of their size.
 *
 * Given its query, a row of logits is n draws from N(0, s^2), s = sigma |q| /
 * (sqrt(sigma) sqrt(d)). Its largest m = 32 logits are drawn as they would be
 * among n: with G_i = e_1 + ... + e_i, e exponential, G_i / G_(n+1) are the
 * smallest of n uniforms, and x_i with upper tail G_i / G_(n+1) the largest of
 * n normals. The other n - m add what they add on average:
 *
 *     sum e^(s x)         ~ (n - m) e^(s^2/2) F(a - s) / F(a)       a = x_m
 *     sum e^(s x) s x     ~ s (n - m) e^(s^2/2) (s F(a - s) - f(a - s)) / F(a)
 *
 * where F and f are the normal distribution and density. Then H = ln Z - T / Z
 * with these sums Z and T. The mean over 256 rows replaces n x n logits; rows
 * are the same ones each time, with the first two e and |q| spread evenly over
 * their distributions, so the result is a smooth function of sigma, which is
 * found by bisection. Nothing depends on a seed, on the head or on threads.
 */
#include "regime.h"

#include <math.h>

#include "../attention/attn.h"

enum { ROWS = 256, TOP = 32, STEPS = 48 };
static const double LARGEST = 1e4; /* sigma: one key takes all */
static const double root_tau = 2.5066282746310005024; /* sqrt(2 pi) */

/* A row by its largest normals, largest first, and |q| / sqrt(sigma d). */
struct row {
	double top[TOP], length;
};

static double below(double x) /* F */
{
	return 0.5 * erfc(-x / sqrt(2));
}

/* x with 1 - F(x) = tail, by Newton's method on ln(1 - F), which is concave. */
static double upper_quantile(double tail)
{
	double x = tail < 0.1 ? sqrt(-2 * log(tail)) : 0;

	for (int i = 0; i < 60; i++) {
		double over = below(-x), step = (log(over) - log(tail)) * over * root_tau * exp(x * x / 2);

		x += step;
		if (fabs(step) < 1e-13 * (1 + fabs(x)))
			break;
	}
	return x;
}

/* Van der Corput's sequence: i with its bits behind the point, reversed. */
static double reversed(unsigned i)
{
	double x = 0, bit = 0.5;

	for (; i; i >>= 1, bit /= 2)
		x += (i & 1) * bit;
	return x;
}

static void draw_row(unsigned i, size_t n, size_t d, struct row *row)
{
	const double golden = 0.61803398874989484820;
	size_t top = n < TOP ? n : TOP;
	uint64_t stream = attn_random_stream("regime", i, 0);
	double even[2] = { (i + 0.5) / ROWS, reversed(i) + 0.5 / ROWS }, part[TOP], sum = 0, total;
	double u = fmod((i + 0.5) * golden, 1), t;

	for (size_t j = 0; j < top; j++) {
		sum -= log(j < 2 ? even[j] : attn_random_uniform(1, stream, j));
		part[j] = sum;
	}
	/* G_(n+1): n + 1 - top more terms, by the number that matters. */
	total = sum;
	if (n <= 2 * TOP)
		for (size_t j = top; j <= n; j++)
			total -= log(attn_random_uniform(1, stream, j));
	else
		total += (double)(n + 1 - top);
	for (size_t j = 0; j < top; j++)
		row->top[j] = upper_quantile(part[j] / total);
	/* chi with d degrees over sqrt(d), by Wilson and Hilferty's cube. */
	t = 1 - 2 / (9 * (double)d) + upper_quantile(u) * sqrt(2 / (9 * (double)d));
	row->length = sqrt(fmax(t * t * t, 0));
}

static double row_ratio(const struct row *row, double sigma, size_t n)
{
	size_t top = n < TOP ? n : TOP;
	double s = sigma * row->length, shift = s * row->top[0], z = 0, t = 0;

	for (size_t j = 0; j < top; j++) {
		double x = s * row->top[j] - shift, weight = exp(x);

		z += weight;
		t += weight * x;
	}
	if (n > top) {
		double a = row->top[top - 1], many = (double)(n - top) / below(a);
		/* Exponents are added first: e^(s^2/2) alone may overflow. */
		double rest = many * exp(s * s / 2 - shift + log(below(a - s)));
		double edge = many * exp(s * a - a * a / 2 - shift) / root_tau;

		z += rest;
		t += s * (s * rest - edge) - shift * rest;
	}
	return (log(z) - t / z) / log((double)n);
}

static double mean_ratio(const struct row *rows, double sigma, size_t n)
{
	double sum = 0;

	for (size_t i = 0; i < ROWS; i++)
		sum += row_ratio(&rows[i], sigma, n);
	return sum / ROWS;
}

double regime_ratio(double sigma, size_t n, size_t d)
{
	struct row rows[ROWS];

	if (n < 2)
		return 1;
	for (unsigned i = 0; i < ROWS; i++)
		draw_row(i, n, d, &rows[i]);
	return mean_ratio(rows, sigma, n);
}

double regime_sigma(double ratio, size_t n, size_t d)
{
	struct row rows[ROWS];
	double low = 0, high = LARGEST;

	if (n < 2 || ratio >= 1)
		return 0;
	for (unsigned i = 0; i < ROWS; i++)
		draw_row(i, n, d, &rows[i]);
	for (int step = 0; step < STEPS; step++) {
		double middle = step < 24 ? sqrt(fmax(low, 1e-4) * high) : (low + high) / 2;

		if (mean_ratio(rows, middle, n) > ratio)
			low = middle;
		else
			high = middle;
	}
	return (low + high) / 2;
}
