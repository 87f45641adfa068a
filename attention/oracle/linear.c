/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Linear family: w_ij = phi(q_i) . psi(k_j) over visible keys, rows divided by
 * their sum; explicit weights, no re-association. */
#include "oracle.h"

static void elu1(const struct attn_oracle_call *c, const double *x, double *y)
{
	for (size_t e = 0; e < c->shape->d; e++)
		y[e] = x[e] > 0 ? x[e] + 1 : exp(x[e]);
}

void oracle_linear_elu(const struct attn_oracle_call *c)
{
	const struct attn_shape *s = c->shape;

	oracle_kernel(c, oracle_features(c, c->q, s->n_q, s->d, elu1),
	              oracle_features(c, c->k, s->n_k, s->d, elu1), s->d, c->arg[0]);
}

static void unit(const struct attn_oracle_call *c, const double *x, double *y)
{
	size_t d = c->shape->d;
	double norm = fmax(sqrt(oracle_dot(x, x, d)), 1e-12);

	for (size_t e = 0; e < d; e++)
		y[e] = x[e] / norm;
}

/* w_ij = 1 + temp q^ . k^; temp, eps */
void oracle_taylor1(const struct attn_oracle_call *c)
{
	const struct attn_shape *s = c->shape;
	double temp = c->arg[0];
	double *q = oracle_features(c, c->q, s->n_q, s->d, unit);
	double *k = oracle_features(c, c->k, s->n_k, s->d, unit);
	double *w = c->alloc(c->owner, s->n_k);

	for (size_t r = 0; r < c->n_rows; r++) {
		size_t i = c->rows[r];
		double sum = c->arg[1];
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
	double *rho = oracle_features(c, c->q, s->n_q, s->d, softmax_features);
	double *w = c->alloc(c->owner, s->n_k);
	bool by_feature = c->arg[0] == 1;

	if (by_feature) {
		oracle_kernel(c, rho, oracle_features(c, c->k, s->n_k, s->d, softmax_features), s->d,
		              c->arg[1]);
		return;
	}
	for (size_t r = 0; r < c->n_rows; r++) {
		efficient_row(c, c->rows[r], rho + c->rows[r] * s->d, w);
		oracle_combine(c, w, 1, c->out + r * s->d_v);
	}
}

/* w_ij = 1 + s + s^2/2, s = scale q_i . k_j; eps */
void oracle_taylor2(const struct attn_oracle_call *c)
{
	const struct attn_shape *s = c->shape;
	double *w = c->alloc(c->owner, s->n_k);

	for (size_t r = 0; r < c->n_rows; r++) {
		size_t i = c->rows[r];
		double sum = c->arg[0];
		for (size_t j = 0; j < s->n_k; j++) {
			double x = (double)s->scale * oracle_dot(c->q + i * s->d, c->k + j * s->d, s->d);
			sum += w[j] = oracle_visible(s, i, j) ? 1 + x + x * x / 2 : 0;
		}
		oracle_combine(c, w, sum, c->out + r * s->d_v);
	}
}

/* w_ij = relu(q_i) . relu(k_j) cos(pi (i - j) / 2 M), the last query at the last
 * key; M, eps */
void oracle_cosformer(const struct attn_oracle_call *c)
{
	const struct attn_shape *s = c->shape;
	double *w = c->alloc(c->owner, s->n_k);

	for (size_t r = 0; r < c->n_rows; r++) {
		size_t i = c->rows[r];
		double sum = c->arg[1], at = (double)(i + s->n_k) - (double)s->n_q;
		for (size_t j = 0; j < s->n_k; j++) {
			w[j] = 0;
			for (size_t e = 0; oracle_visible(s, i, j) && e < s->d; e++)
				w[j] += fmax(c->q[i * s->d + e], 0) * fmax(c->k[j * s->d + e], 0);
			w[j] *= cos(3.14159265358979323846 * (at - (double)j) / (2 * c->arg[0]));
			sum += w[j];
		}
		oracle_combine(c, w, sum, c->out + r * s->d_v);
	}
}

/* hedgehog: form, eps; inputs W and b */
static void hedgehog(const struct attn_oracle_call *c, const double *x, double *y)
{
	size_t d = c->shape->d;
	const float *w = attn_aux_find(c->aux, "W", d, d), *b = attn_aux_find(c->aux, "b", 1, d);
	double sum = 0;

	for (size_t f = 0; f < d; f++) {
		double u = b ? (double)b[f] : 0;
		for (size_t e = 0; w && e < d; e++)
			u += (double)w[f * d + e] * x[e];
		if (!w)
			u += x[f] / pow((double)d, 0.25);
		sum += y[f] = exp(u);
		sum += y[d + f] = exp(-u);
	}
	for (size_t f = 0; c->arg[0] == 1 && f < 2 * d; f++)
		y[f] /= sum;
}

void oracle_hedgehog(const struct attn_oracle_call *c)
{
	const struct attn_shape *s = c->shape;

	oracle_kernel(c, oracle_features(c, c->q, s->n_q, 2 * s->d, hedgehog),
	              oracle_features(c, c->k, s->n_k, 2 * s->d, hedgehog), 2 * s->d, c->arg[1]);
}

/* aft-simple, and aft-full with a bias of pairs: channel by channel
 * O_t = sigmoid(q_t) sum_j e^(k_j + w_tj) v_j / sum_j e^(k_j + w_tj). */
static void aft_row(const struct attn_oracle_call *c, size_t t, const double *bias, double *out)
{
	const struct attn_shape *s = c->shape;

	for (size_t e = 0; e < s->d; e++) {
		double top = -INFINITY, num = 0, den = 0;
		for (size_t j = 0; j < s->n_k; j++)
			if (oracle_visible(s, t, j))
				top = fmax(top, c->k[j * s->d + e] + (bias ? bias[j] : 0));
		for (size_t j = 0; j < s->n_k; j++) {
			if (!oracle_visible(s, t, j))
				continue;
			double weight = exp(c->k[j * s->d + e] + (bias ? bias[j] : 0) - top);
			num += weight * c->v[j * s->d + e];
			den += weight;
		}
		out[e] = den > 0 ? num / den / (1 + exp(-c->q[t * s->d + e])) : 0;
	}
}

void oracle_aft_simple(const struct attn_oracle_call *c)
{
	for (size_t r = 0; r < c->n_rows; r++)
		aft_row(c, c->rows[r], NULL, c->out + r * c->shape->d);
}

/* w_tj is input, or u_t . u'_j of the state; rank */
void oracle_aft_full(const struct attn_oracle_call *c)
{
	const struct attn_shape *s = c->shape;
	const float *given = attn_aux_find(c->aux, "w", s->n_q, s->n_k), *u = c->state;
	size_t rank = (size_t)c->arg[0];
	double *bias = c->alloc(c->owner, s->n_k);

	for (size_t r = 0; r < c->n_rows; r++) {
		size_t t = c->rows[r];
		for (size_t j = 0; j < s->n_k; j++) {
			bias[j] = given ? (double)given[t * s->n_k + j] : 0;
			for (size_t f = 0; !given && f < rank; f++)
				bias[j] += (double)u[t * rank + f] *
				           (double)u[s->n_q * rank + f * s->n_k + j];
		}
		aft_row(c, t, bias, c->out + r * s->d);
	}
}
