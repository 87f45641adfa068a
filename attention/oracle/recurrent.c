/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Recurrent family: explicit decayed weights, no normaliser. */
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
