/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Recurrent family: explicit decayed weights, no normaliser. */
#include "oracle.h"

/* w_ts = scale gamma^|t-s| q_t . k_s */
void oracle_retention(const struct attn_oracle_call *c)
{
	const struct attn_shape *s = c->shape;
	double gamma = (double)(float)c->arg[0];
	double *w = c->alloc(c->owner, s->n_k);

	for (size_t r = 0; r < c->n_rows; r++) {
		size_t t = c->rows[r];
		for (size_t j = 0; j < s->n_k; j++) {
			double apart = j < t ? (double)(t - j) : (double)(j - t);
			w[j] = oracle_visible(s, t, j)
			               ? pow(gamma, apart) * (double)s->scale *
			                         oracle_dot(c->q + t * s->d, c->k + j * s->d, s->d)
			               : 0;
		}
		oracle_combine(c, w, 1, c->out + r * s->d_v);
	}
}
