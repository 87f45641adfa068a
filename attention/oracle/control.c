/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Controls: outputs that do not depend on queries and keys. */
#include "oracle.h"

void oracle_uniform(const struct attn_oracle_call *c)
{
	const struct attn_shape *s = c->shape;
	double *w = c->alloc(c->owner, s->n_k);

	for (size_t r = 0; r < c->n_rows; r++) {
		double sum = 0;
		for (size_t j = 0; j < s->n_k; j++)
			sum += w[j] = oracle_visible(s, c->rows[r], j);
		oracle_combine(c, w, sum, c->out + r * s->d_v);
	}
}

void oracle_null(const struct attn_oracle_call *c)
{
	const struct attn_shape *s = c->shape;
	double *w = c->alloc(c->owner, s->n_k);

	for (size_t r = 0; r < c->n_rows; r++) {
		for (size_t j = 0; j < s->n_k; j++)
			w[j] = j + s->n_q == c->rows[r] + s->n_k;
		oracle_combine(c, w, 1, c->out + r * s->d_v);
	}
}
