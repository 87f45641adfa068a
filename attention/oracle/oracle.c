/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Softmax attention over a set of allowed keys, and what definitions share. */
#include "oracle.h"

bool oracle_visible(const struct attn_shape *s, size_t i, size_t j)
{
	return !s->causal || j + s->n_q <= i + s->n_k;
}

double oracle_dot(const double *x, const double *y, size_t n)
{
	double sum = 0;

	for (size_t c = 0; c < n; c++)
		sum += x[c] * y[c];
	return sum;
}

void oracle_combine(const struct attn_oracle_call *c, const double *weight, double denominator,
                    double *out)
{
	const struct attn_shape *s = c->shape;

	for (size_t e = 0; e < s->d_v; e++)
		out[e] = 0;
	if (denominator == 0)
		return;
	for (size_t j = 0; j < s->n_k; j++)
		for (size_t e = 0; weight[j] != 0 && e < s->d_v; e++)
			out[e] += weight[j] * c->v[j * s->d_v + e];
	for (size_t e = 0; e < s->d_v; e++)
		out[e] /= denominator;
}

void oracle_softmax(const struct attn_oracle_call *c, oracle_allowed *allowed)
{
	const struct attn_shape *s = c->shape;
	double *w = c->alloc(c->owner, s->n_k);

	for (size_t r = 0; r < c->n_rows; r++) {
		size_t i = c->rows[r];
		double top = -INFINITY, sum = 0;
		for (size_t j = 0; j < s->n_k; j++) {
			bool seen = oracle_visible(s, i, j) && (!allowed || allowed(c, i, j));
			w[j] = seen ? (double)s->scale * oracle_dot(c->q + i * s->d, c->k + j * s->d, s->d)
			            : -INFINITY;
			top = fmax(top, w[j]);
		}
		for (size_t j = 0; j < s->n_k; j++) {
			w[j] = w[j] > -INFINITY ? exp(w[j] - top) : 0;
			sum += w[j];
		}
		oracle_combine(c, w, sum, c->out + r * s->d_v);
	}
}

double *oracle_features(const struct attn_oracle_call *c, const double *x, size_t n, size_t dim,
                        oracle_map *map)
{
	double *y = c->alloc(c->owner, n * dim);

	for (size_t i = 0; i < n; i++)
		map(c, x + i * c->shape->d, y + i * dim);
	return y;
}

void oracle_kernel(const struct attn_oracle_call *c, const double *phi, const double *psi, size_t dim,
                   double eps)
{
	const struct attn_shape *s = c->shape;
	double *w = c->alloc(c->owner, s->n_k);

	for (size_t r = 0; r < c->n_rows; r++) {
		size_t i = c->rows[r];
		double sum = eps;
		for (size_t j = 0; j < s->n_k; j++) {
			w[j] = oracle_visible(s, i, j) ? oracle_dot(phi + i * dim, psi + j * dim, dim) : 0;
			sum += w[j];
		}
		oracle_combine(c, w, sum, c->out + r * s->d_v);
	}
}
