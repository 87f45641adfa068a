/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Hybrid family. */
#include "oracle.h"

/* ---- scatterbrain: left, right, m, map, ortho. State: W sqrt(scale),
 * transposed, d x draws ---- */

enum { LEFT, RIGHT, M, MAP };
enum { POSITIVE, HYPERBOLIC };

/* sum_f phi_f(x) phi_f(y), phi(x) = m^-1/2 exp(+-W x' - |x'|^2 / 2) */
static double random_kernel(const struct attn_oracle_call *c, const double *x, const double *y)
{
	const float *w_t = c->state;
	size_t d = c->shape->d, draws = (size_t)c->arg[M] / (c->arg[MAP] == POSITIVE ? 1 : 2);
	double sum = 0, halves = (double)c->shape->scale * (oracle_dot(x, x, d) + oracle_dot(y, y, d)) / 2;

	for (size_t f = 0; f < draws; f++) {
		double u = 0;
		for (size_t e = 0; e < d; e++)
			u += (double)w_t[e * draws + f] * (x[e] + y[e]);
		sum += c->arg[MAP] == POSITIVE ? exp(u - halves) : (exp(u - halves) + exp(-u - halves)) / 2;
	}
	return sum / (double)draws;
}

void oracle_scatterbrain(const struct attn_oracle_call *c)
{
	const struct attn_shape *s = c->shape;
	double *w = c->alloc(c->owner, s->n_k);

	for (size_t r = 0; r < c->n_rows; r++) {
		const double *q = c->q + c->rows[r] * s->d;
		double at = (double)c->rows[r] + (double)s->n_k - (double)s->n_q, sum = 0;
		for (size_t j = 0; j < s->n_k; j++) {
			const double *k = c->k + j * s->d;
			bool near = (double)j >= at - c->arg[LEFT] && (double)j <= at + c->arg[RIGHT];
			w[j] = !oracle_visible(s, c->rows[r], j) ? 0
			       : near ? exp((double)s->scale * oracle_dot(q, k, s->d)) : random_kernel(c, q, k);
			sum += w[j];
		}
		oracle_combine(c, w, sum, c->out + r * s->d_v);
	}
}

/* ---- sinkhorn: b, iters, temp ---- */

/* Row means of the blocks of x, nb x d. */
static double *block_means(const struct attn_oracle_call *c, const double *x, size_t b, size_t nb)
{
	size_t d = c->shape->d, n = c->shape->n_k;
	double *mean = c->alloc(c->owner, nb * d);

	for (size_t u = 0; u < nb; u++) {
		size_t end = (u + 1) * b < n ? (u + 1) * b : n;
		for (size_t e = 0; e < d; e++) {
			mean[u * d + e] = 0;
			for (size_t i = u * b; i < end; i++)
				mean[u * d + e] += x[i * d + e] / (double)(end - u * b);
		}
	}
	return mean;
}

/* Divides each row (or column) of e^l by its sum. */
static void divide(double *l, size_t nb, size_t row_step, size_t column_step)
{
	for (size_t u = 0; u < nb; u++) {
		double top = -INFINITY, sum = 0;
		for (size_t v = 0; v < nb; v++)
			top = fmax(top, l[u * row_step + v * column_step]);
		for (size_t v = 0; v < nb; v++)
			sum += exp(l[u * row_step + v * column_step] - top);
		for (size_t v = 0; v < nb; v++)
			l[u * row_step + v * column_step] -= top + log(sum);
	}
}

static double *mixing_matrix(const struct attn_oracle_call *c, size_t b, size_t nb)
{
	size_t d = c->shape->d;
	double *q = block_means(c, c->q, b, nb), *k = block_means(c, c->k, b, nb);
	double *log = c->alloc(c->owner, nb * nb);

	for (size_t u = 0; u < nb; u++)
		for (size_t v = 0; v < nb; v++)
			log[u * nb + v] = (double)c->shape->scale * oracle_dot(q + u * d, k + v * d, d) / c->arg[2];
	divide(log, nb, nb, 1);
	for (double i = 0; i < c->arg[1]; i++) {
		divide(log, nb, 1, nb);
		divide(log, nb, nb, 1);
	}
	return log;
}

/* weight[v] of block v at position t of the block mixed for row u: R_uv over the
 * blocks that have the position. */
static void mixing_weights(const struct attn_oracle_call *c, const double *log, size_t b, size_t nb, size_t u,
                           size_t t, double *weight)
{
	double top = -INFINITY, sum = 0;

	for (size_t v = 0; v < nb; v++)
		if (v * b + t < c->shape->n_k)
			top = fmax(top, log[u * nb + v]);
	for (size_t v = 0; v < nb; v++)
		sum += weight[v] = v * b + t < c->shape->n_k ? exp(log[u * nb + v] - top) : 0;
	for (size_t v = 0; v < nb; v++)
		weight[v] /= sum;
}

/* Logits of query q: of the own keys into w[0 .. n), of the mixed ones into
 * mixed[0 .. b); -inf where there is no key. */
static double logits(const struct attn_oracle_call *c, size_t i, const double *log, size_t b, size_t nb,
                     double *weight, double *w, double *mixed)
{
	const struct attn_shape *s = c->shape;
	const double *q = c->q + i * s->d;
	double top = -INFINITY;

	for (size_t j = 0; j < s->n_k; j++) {
		w[j] = i / b == j / b ? (double)s->scale * oracle_dot(q, c->k + j * s->d, s->d) : -INFINITY;
		top = fmax(top, w[j]);
	}
	for (size_t t = 0; t < b && t < s->n_k; t++) {
		mixed[t] = 0; /* the logit of a mixed key is the mixture of logits */
		mixing_weights(c, log, b, nb, i / b, t, weight);
		for (size_t v = 0; v < nb; v++)
			if (v * b + t < s->n_k)
				mixed[t] += weight[v] * (double)s->scale * oracle_dot(q, c->k + (v * b + t) * s->d, s->d);
		top = fmax(top, mixed[t]);
	}
	return top;
}

void oracle_sinkhorn(const struct attn_oracle_call *c)
{
	const struct attn_shape *s = c->shape;
	size_t b = (size_t)fmin(c->arg[0], (double)s->n_k), nb = (s->n_k + b - 1) / b;
	double *log = mixing_matrix(c, b, nb), *w = c->alloc(c->owner, s->n_k);
	double *mixed = c->alloc(c->owner, b), *weight = c->alloc(c->owner, nb);

	for (size_t r = 0; r < c->n_rows; r++) {
		size_t i = c->rows[r];
		double top = logits(c, i, log, b, nb, weight, w, mixed), sum = 0;
		for (size_t j = 0; j < s->n_k; j++)
			sum += w[j] = w[j] > -INFINITY ? exp(w[j] - top) : 0;
		for (size_t t = 0; t < b; t++) {
			double p = exp(mixed[t] - top);
			sum += p;
			mixing_weights(c, log, b, nb, i / b, t, weight);
			for (size_t v = 0; v < nb; v++)
				if (v * b + t < s->n_k)
					w[v * b + t] += p * weight[v];
		}
		oracle_combine(c, w, sum, c->out + r * s->d_v);
	}
}
