/* SPDX-License-Identifier: BSD-3-Clause
 *
 * full, flash, chunked: O_i = sum_j e^(s_ij) v_j / sum_j e^(s_ij). */
#include "oracle.h"

void oracle_exact(const struct attn_oracle_call *c)
{
	oracle_softmax(c, NULL);
}

/* full: softcap c > 0 makes a logit c tanh(s / c) */
void oracle_full(const struct attn_oracle_call *c)
{
	const struct attn_shape *s = c->shape;
	double cap = c->arg[0], *w;

	if (cap == 0) {
		oracle_exact(c);
		return;
	}
	w = c->alloc(c->owner, s->n_k);
	for (size_t r = 0; r < c->n_rows; r++) {
		const double *q = c->q + c->rows[r] * s->d;
		double sum = 0;
		for (size_t j = 0; j < s->n_k; j++) {
			double logit = (double)s->scale * oracle_dot(q, c->k + j * s->d, s->d);
			/* At most e^cap: no maximum need be subtracted. */
			w[j] = oracle_visible(s, c->rows[r], j) ? exp(cap * tanh(logit / cap)) : 0;
			sum += w[j];
		}
		oracle_combine(c, w, sum, c->out + r * s->d_v);
	}
}
