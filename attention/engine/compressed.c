/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Means, overlaps, importances. */
#include "compressed.h"

#include <string.h>

static size_t least(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* Tokens that compressed key u and block b share, over st. */
static float shared_units(const struct compressed *c, size_t u, size_t b)
{
	size_t first = u * c->st > b * c->block ? u * c->st : b * c->block;
	size_t end = least(u * c->st + c->l, (b + 1) * c->block);

	return (float)(end - first) / (float)c->st; /* they do overlap */
}

/* Compressed keys [*u0, *u1) that overlap block b, of n. */
static void overlapping(const struct compressed *c, size_t b, size_t n, size_t *u0, size_t *u1)
{
	size_t first = b * c->block;

	*u0 = first + 1 > c->l ? (first - c->l) / c->st + 1 : 0;
	*u1 = least((first + c->block - 1) / c->st + 1, n);
	*u0 = least(*u0, *u1);
}

void compressed_mean(const struct compressed *c, const struct kern *kern, const float *k, size_t ldk,
                     size_t d, const float *v, size_t ldv, size_t d_v, double *exact, float *mean,
                     float *value)
{
	memset(exact, 0, d * sizeof *exact);
	memset(value, 0, d_v * sizeof *value);
	for (size_t j = 0; j < c->l; j++) {
		for (size_t e = 0; e < d; e++)
			exact[e] += (double)k[j * ldk + e];
		kern->axpy(value, 1, v + j * ldv, d_v);
	}
	for (size_t e = 0; e < d; e++) {
		exact[e] /= (double)c->l;
		mean[e] = (float)exact[e];
	}
	kern->scale(value, 1 / (float)c->l, d_v);
}

/* The bits of a positive number, as a number. */
static float log_bits(float x)
{
	int32_t bits;

	memcpy(&bits, &x, sizeof bits);
	return (float)bits * 0x1p-23f;
}

void compressed_importances(const struct compressed *c, const struct kern *kern, const float *weight,
                            size_t n, size_t lanes, size_t nb, float *score)
{
	memset(score, 0, nb * lanes * sizeof *score);
	for (size_t b = 0; b < nb; b++) {
		size_t u0, u1;
		overlapping(c, b, n, &u0, &u1);
		for (size_t u = u0; u < u1; u++) {
			if (lanes == 1)
				score[b] += shared_units(c, u, b) * weight[u];
			else
				kern->axpy(score + b * lanes, shared_units(c, u, b), weight + u * lanes, lanes);
		}
	}
	for (size_t i = 0; i < nb * lanes; i++)
		score[i] = log_bits(score[i]);
}

double compressed_importance(const struct compressed *c, const float *q, const double *exact, size_t d,
                             double scale, size_t n, size_t b)
{
	double most = -INFINITY, sum = 0;
	size_t u0, u1;

	overlapping(c, b, n, &u0, &u1);
	for (int pass = 0; pass < 2; pass++) {
		for (size_t u = u0; u < u1; u++) {
			double dot = 0;
			for (size_t e = 0; e < d; e++)
				dot += (double)q[e] * exact[u * d + e];
			double s = scale * dot;
			if (pass == 0)
				most = fmax(most, s);
			else
				sum += (double)shared_units(c, u, b) * exp(s - most);
		}
	}
	return most + log(sum);
}
