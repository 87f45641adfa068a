/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Random features: explicit features with the variant's own projection. */
#include "oracle.h"

/* ---- performer: state is W transposed, d x draws ---- */

enum { PERFORMER_M, PERFORMER_ORTHO, PERFORMER_LENGTHS, PERFORMER_MAP, PERFORMER_EPS };
enum { POSITIVE, HYPERBOLIC, TRIG };

/* In double, the exponents of any useful input need no stabiliser. */
static void favor(const struct attn_oracle_call *c, const double *x, double *y)
{
	const float *w_t = c->state;
	size_t d = c->shape->d, map = (size_t)c->arg[PERFORMER_MAP];
	size_t draws = (size_t)c->arg[PERFORMER_M] / (map == POSITIVE ? 1 : 2);
	double root = sqrt((double)c->shape->scale), half = 0;

	for (size_t e = 0; e < d; e++)
		half += x[e] * x[e] * root * root / 2;
	for (size_t f = 0; f < draws; f++) {
		double u = 0;
		for (size_t e = 0; e < d; e++)
			u += (double)w_t[e * draws + f] * x[e] * root;
		if (map == TRIG) {
			y[f] = exp(half) * cos(u);
			y[draws + f] = exp(half) * sin(u);
		} else {
			y[f] = exp(u - half);
		}
		if (map == HYPERBOLIC)
			y[draws + f] = exp(-u - half);
	}
}

/* The largest |W x'| of any map, signed for the positive one. */
static double stabiliser(const struct attn_oracle_call *c, const double *x)
{
	const float *w_t = c->state;
	size_t d = c->shape->d, map = (size_t)c->arg[PERFORMER_MAP];
	size_t draws = (size_t)c->arg[PERFORMER_M] / (map == POSITIVE ? 1 : 2);
	double top = -INFINITY;

	for (size_t f = 0; f < draws; f++) {
		double u = 0;
		for (size_t e = 0; e < d; e++)
			u += (double)w_t[e * draws + f] * x[e] * sqrt((double)c->shape->scale);
		top = fmax(top, map == HYPERBOLIC ? fabs(u) : u);
	}
	return top;
}

/* w_ij = sum_f (phi_if / e^(max W q') + eps) (psi_jf / e^(max W k') + eps), the
 * second maximum over the keys that i sees. */
static void performer_eps(const struct attn_oracle_call *c, const double *phi, const double *psi,
                          size_t dim)
{
	const struct attn_shape *s = c->shape;
	double *w = c->alloc(c->owner, s->n_k), *top_k = c->alloc(c->owner, s->n_k);
	double *row = c->alloc(c->owner, dim), eps = c->arg[PERFORMER_EPS];

	for (size_t j = 0; j < s->n_k; j++)
		top_k[j] = stabiliser(c, c->k + j * s->d);
	for (size_t r = 0; r < c->n_rows; r++) {
		size_t i = c->rows[r];
		double top_q = stabiliser(c, c->q + i * s->d), top = -INFINITY, sum = 0, part = 0;
		for (size_t f = 0; f < dim; f++)
			part += row[f] = phi[i * dim + f] * exp(-top_q) + eps;
		for (size_t j = 0; j < s->n_k; j++)
			top = oracle_visible(s, i, j) ? fmax(top, top_k[j]) : top;
		for (size_t j = 0; j < s->n_k; j++) {
			w[j] = oracle_visible(s, i, j)
			               ? oracle_dot(row, psi + j * dim, dim) * exp(-top) + eps * part
			               : 0;
			sum += w[j];
		}
		oracle_combine(c, w, sum, c->out + r * s->d_v);
	}
}

void oracle_performer(const struct attn_oracle_call *c)
{
	const struct attn_shape *s = c->shape;
	size_t map = (size_t)c->arg[PERFORMER_MAP];
	size_t draws = (size_t)c->arg[PERFORMER_M] / (map == POSITIVE ? 1 : 2);
	size_t dim = map == POSITIVE ? draws : 2 * draws;
	double *phi = oracle_features(c, c->q, s->n_q, dim, favor);
	double *psi = oracle_features(c, c->k, s->n_k, dim, favor);

	if (c->arg[PERFORMER_EPS] > 0)
		performer_eps(c, phi, psi, dim);
	else
		oracle_kernel(c, phi, psi, dim, 0);
}

/* ---- performer-relu: m, proj, ortho, lengths, eps; state is W^T, d x m ---- */

static void relu(const struct attn_oracle_call *c, const double *x, double *y)
{
	const float *w_t = c->state;
	size_t d = c->shape->d, m = (size_t)c->arg[0];
	double root = sqrt((double)c->shape->scale / (double)m), eps = c->arg[4];

	if (c->arg[1] == 1) {
		for (size_t e = 0; e < d; e++)
			y[e] = fmax(x[e], 0) + eps;
		return;
	}
	for (size_t f = 0; f < m; f++) {
		double u = 0;
		for (size_t e = 0; e < d; e++)
			u += (double)w_t[e * m + f] * x[e];
		y[f] = root * fmax(u, 0) + eps;
	}
}

void oracle_performer_relu(const struct attn_oracle_call *c)
{
	const struct attn_shape *s = c->shape;
	size_t dim = c->arg[1] == 1 ? s->d : (size_t)c->arg[0];

	oracle_kernel(c, oracle_features(c, c->q, s->n_q, dim, relu),
	              oracle_features(c, c->k, s->n_k, dim, relu), dim, 0);
}

/* ---- rfa: m, tau, ortho, den_min; state is W^T, d x m ---- */

static void sine_cosine(const struct attn_oracle_call *c, const double *x, double *y)
{
	const float *w_t = c->state;
	size_t d = c->shape->d, m = (size_t)c->arg[0];
	double norm = fmax(sqrt(oracle_dot(x, x, d)), 1e-12);

	for (size_t f = 0; f < m; f++) {
		double u = 0;
		for (size_t e = 0; e < d; e++)
			u += (double)w_t[e * m + f] * x[e] / (norm * c->arg[1]);
		y[f] = sin(u) / sqrt((double)m);
		y[m + f] = cos(u) / sqrt((double)m);
	}
}

void oracle_rfa(const struct attn_oracle_call *c)
{
	const struct attn_shape *s = c->shape;
	size_t dim = 2 * (size_t)c->arg[0];
	double *phi = oracle_features(c, c->q, s->n_q, dim, sine_cosine);
	double *psi = oracle_features(c, c->k, s->n_k, dim, sine_cosine);
	double *w = c->alloc(c->owner, s->n_k);

	for (size_t r = 0; r < c->n_rows; r++) {
		size_t i = c->rows[r];
		double sum = 0;
		for (size_t j = 0; j < s->n_k; j++) {
			w[j] = oracle_visible(s, i, j) ? oracle_dot(phi + i * dim, psi + j * dim, dim) : 0;
			sum += w[j];
		}
		oracle_combine(c, w, copysign(fmax(fabs(sum), c->arg[3]), sum), c->out + r * s->d_v);
	}
}
