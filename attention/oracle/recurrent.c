/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Recurrent family: explicit decayed weights, or the recurrence token by token,
 * no normaliser. */
#include "oracle.h"

/* w_ts = scale gamma^|t-s| q_t . k_s; gamma, norm */
void oracle_retention(const struct attn_oracle_call *c)
{
	const struct attn_shape *s = c->shape;
	double gamma = c->arg[0];
	double *w = c->alloc(c->owner, s->n_k);
	bool norm = c->arg[1] == 1;

	for (size_t r = 0; r < c->n_rows; r++) {
		size_t t = c->rows[r];
		double decays = 0, sum = 0;
		for (size_t j = 0; j < s->n_k; j++) {
			double decay = pow(gamma, j < t ? (double)(t - j) : (double)(j - t));
			w[j] = 0;
			if (!oracle_visible(s, t, j))
				continue;
			w[j] = decay * (double)s->scale * oracle_dot(c->q + t * s->d, c->k + j * s->d, s->d);
			decays += decay;
		}
		for (size_t j = 0; norm && j < s->n_k; j++)
			sum += w[j] /= sqrt(decays);
		oracle_combine(c, w, norm ? fmax(fabs(sum), 1) : 1, c->out + r * s->d_v);
	}
}

/* w_ts = exp(-slope |t - s|) q_t . k_s; slope */
void oracle_lightning(const struct attn_oracle_call *c)
{
	const struct attn_shape *s = c->shape;
	double *w = c->alloc(c->owner, s->n_k);

	for (size_t r = 0; r < c->n_rows; r++) {
		size_t t = c->rows[r];
		for (size_t j = 0; j < s->n_k; j++) {
			double apart = fabs((double)t - (double)j);
			w[j] = oracle_visible(s, t, j) ? exp(-c->arg[0] * apart) *
			                                         oracle_dot(c->q + t * s->d, c->k + j * s->d, s->d)
			                               : 0;
		}
		oracle_combine(c, w, 1, c->out + r * s->d_v);
	}
}

/* Writes scale q_t S to each row that asks for token t. */
static void read_memory(const struct attn_oracle_call *c, size_t t, const double *memory)
{
	const struct attn_shape *s = c->shape;

	for (size_t r = 0; r < c->n_rows; r++) {
		if (c->rows[r] != t)
			continue;
		for (size_t e = 0; e < s->d_v; e++) {
			double sum = 0;
			for (size_t f = 0; f < s->d; f++)
				sum += c->q[t * s->d + f] * memory[f * s->d_v + e];
			c->out[r * s->d_v + e] = (double)s->scale * sum;
		}
	}
}

/* S = diag(alpha_t) S + k_t v_t^T; the gates are input or state */
void oracle_gla(const struct attn_oracle_call *c)
{
	const struct attn_shape *s = c->shape;
	const float *gate = attn_aux_find(c->aux, "log_gate", s->n_k, s->d);
	double *memory = c->alloc(c->owner, s->d * s->d_v);

	gate = gate ? gate : c->state;
	for (size_t i = 0; i < s->d * s->d_v; i++)
		memory[i] = 0;
	for (size_t t = 0; t < s->n_k; t++) {
		for (size_t f = 0; f < s->d; f++)
			for (size_t e = 0; e < s->d_v; e++)
				memory[f * s->d_v + e] = exp((double)gate[t * s->d + f]) * memory[f * s->d_v + e] +
				                         c->k[t * s->d + f] * c->v[t * s->d_v + e];
		read_memory(c, t, memory);
	}
}

/* u = beta_t (v_t - S^T k_t), S += k_t u^T; l2norm; beta is input or state */
void oracle_deltanet(const struct attn_oracle_call *c)
{
	const struct attn_shape *s = c->shape;
	const float *beta = attn_aux_find(c->aux, "beta", s->n_k, 1);
	double *memory = c->alloc(c->owner, s->d * s->d_v), *k = c->alloc(c->owner, s->d);

	beta = beta ? beta : c->state;
	for (size_t i = 0; i < s->d * s->d_v; i++)
		memory[i] = 0;
	for (size_t t = 0; t < s->n_k; t++) {
		const double *key = c->k + t * s->d;
		double norm = c->arg[0] != 0 ? fmax(sqrt(oracle_dot(key, key, s->d)), 1e-12) : 1;
		for (size_t f = 0; f < s->d; f++)
			k[f] = key[f] / norm;
		for (size_t e = 0; e < s->d_v; e++) {
			double held = 0;
			for (size_t f = 0; f < s->d; f++)
				held += memory[f * s->d_v + e] * k[f];
			for (size_t f = 0; f < s->d; f++)
				memory[f * s->d_v + e] += k[f] * (double)beta[t] * (c->v[t * s->d_v + e] - held);
		}
		read_memory(c, t, memory);
	}
}
