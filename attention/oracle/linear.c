/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Linear family: w_ij = phi(q_i) . psi(k_j) over visible keys, rows divided by
 * their sum; explicit weights, no re-association. */
#include "oracle.h"

/* rows x dim features of x (rows x d) under a map. */
typedef void map_fn(const struct attn_oracle_call *c, const double *x, double *y);

static double *features(const struct attn_oracle_call *c, const double *x, size_t n, size_t dim,
                        map_fn *map)
{
	double *y = c->alloc(c->owner, n * dim);

	for (size_t i = 0; i < n; i++)
		map(c, x + i * c->shape->d, y + i * dim);
	return y;
}

/* O_i = sum_j (phi_i . psi_j) v_j / sum_j phi_i . psi_j */
static void kernel_rows(const struct attn_oracle_call *c, const double *phi, const double *psi,
                        size_t dim)
{
	const struct attn_shape *s = c->shape;
	double *w = c->alloc(c->owner, s->n_k);

	for (size_t r = 0; r < c->n_rows; r++) {
		size_t i = c->rows[r];
		double sum = 0;
		for (size_t j = 0; j < s->n_k; j++) {
			w[j] = oracle_visible(s, i, j) ? oracle_dot(phi + i * dim, psi + j * dim, dim) : 0;
			sum += w[j];
		}
		oracle_combine(c, w, sum, c->out + r * s->d_v);
	}
}

static void elu1(const struct attn_oracle_call *c, const double *x, double *y)
{
	for (size_t e = 0; e < c->shape->d; e++)
		y[e] = x[e] > 0 ? x[e] + 1 : exp(x[e]);
}

void oracle_linear_elu(const struct attn_oracle_call *c)
{
	const struct attn_shape *s = c->shape;

	kernel_rows(c, features(c, c->q, s->n_q, s->d, elu1), features(c, c->k, s->n_k, s->d, elu1),
	            s->d);
}

static void unit(const struct attn_oracle_call *c, const double *x, double *y)
{
	size_t d = c->shape->d;
	double norm = fmax(sqrt(oracle_dot(x, x, d)), 1e-12);

	for (size_t e = 0; e < d; e++)
		y[e] = x[e] / norm;
}

/* w_ij = 1 + temp q^ . k^ */
void oracle_taylor1(const struct attn_oracle_call *c)
{
	const struct attn_shape *s = c->shape;
	double temp = c->arg[0];
	double *q = features(c, c->q, s->n_q, s->d, unit), *k = features(c, c->k, s->n_k, s->d, unit);
	double *w = c->alloc(c->owner, s->n_k);

	for (size_t r = 0; r < c->n_rows; r++) {
		size_t i = c->rows[r];
		double sum = 0;
		for (size_t j = 0; j < s->n_k; j++) {
			w[j] = oracle_visible(s, i, j) ? 1 + temp * oracle_dot(q + i * s->d, k + j * s->d, s->d) : 0;
			sum += w[j];
		}
		oracle_combine(c, w, sum, c->out + r * s->d_v);
	}
}

static void softmax_features(const struct attn_oracle_call *c, const double *x, double *y)
{
	size_t d = c->shape->d;
	double top = -INFINITY, sum = 0;

	for (size_t e = 0; e < d; e++)
		top = fmax(top, x[e]);
	for (size_t e = 0; e < d; e++)
		sum += y[e] = exp(x[e] - top);
	for (size_t e = 0; e < d; e++)
		y[e] /= sum;
}

/* w_ij = sum_e rho_q(i,e) e^(k_je) / sum_{visible l} e^(k_le) */
static void efficient_row(const struct attn_oracle_call *c, size_t i, const double *rho, double *w)
{
	const struct attn_shape *s = c->shape;

	for (size_t j = 0; j < s->n_k; j++)
		w[j] = 0;
	for (size_t e = 0; e < s->d; e++) {
		double top = -INFINITY, sum = 0;
		for (size_t j = 0; j < s->n_k; j++)
			if (oracle_visible(s, i, j))
				top = fmax(top, c->k[j * s->d + e]);
		for (size_t j = 0; j < s->n_k; j++)
			if (oracle_visible(s, i, j))
				sum += exp(c->k[j * s->d + e] - top);
		for (size_t j = 0; j < s->n_k; j++)
			if (oracle_visible(s, i, j))
				w[j] += rho[e] * exp(c->k[j * s->d + e] - top) / sum;
	}
}

void oracle_efficient(const struct attn_oracle_call *c)
{
	const struct attn_shape *s = c->shape;
	double *rho = features(c, c->q, s->n_q, s->d, softmax_features);
	double *w = c->alloc(c->owner, s->n_k);
	bool by_feature = c->arg[0] == 1;

	if (by_feature) {
		kernel_rows(c, rho, features(c, c->k, s->n_k, s->d, softmax_features), s->d);
		return;
	}
	for (size_t r = 0; r < c->n_rows; r++) {
		efficient_row(c, c->rows[r], rho + c->rows[r] * s->d, w);
		oracle_combine(c, w, 1, c->out + r * s->d_v);
	}
}

/* ---- performer: state is W transposed, d x draws ---- */

enum { PERFORMER_M, PERFORMER_ORTHO, PERFORMER_LENGTHS, PERFORMER_MAP };
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

void oracle_performer(const struct attn_oracle_call *c)
{
	const struct attn_shape *s = c->shape;
	size_t map = (size_t)c->arg[PERFORMER_MAP];
	size_t draws = (size_t)c->arg[PERFORMER_M] / (map == POSITIVE ? 1 : 2);
	size_t dim = map == POSITIVE ? draws : 2 * draws;

	kernel_rows(c, features(c, c->q, s->n_q, dim, favor),
	            features(c, c->k, s->n_k, dim, favor), dim);
}
