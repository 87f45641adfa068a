/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Sparse family, patterns that depend on the data: blocks of keys chosen by a
 * score, then softmax over the keys of the chosen blocks. */
#include "oracle.h"

/* True if fewer than k of n scores come before number u: larger ones, and equal
 * ones of lower index. */
static bool among_best(const double *score, size_t n, size_t u, size_t k)
{
	size_t before = 0;

	for (size_t v = 0; v < n; v++)
		before += score[v] > score[u] || (score[v] == score[u] && v < u);
	return before < k;
}

/* out row r = softmax over keys whose block (of b) is in `chosen`, under the
 * causal rule. */
static void softmax_of_blocks(const struct attn_oracle_call *c, size_t r, const bool *chosen, size_t b,
                              double *w, double *out)
{
	const struct attn_shape *s = c->shape;
	size_t i = c->rows[r];
	double top = -INFINITY, sum = 0;

	for (size_t j = 0; j < s->n_k; j++) {
		w[j] = oracle_visible(s, i, j) && chosen[j / b]
		               ? (double)s->scale * oracle_dot(c->q + i * s->d, c->k + j * s->d, s->d)
		               : -INFINITY;
		top = fmax(top, w[j]);
	}
	for (size_t j = 0; j < s->n_k; j++)
		sum += w[j] = w[j] > -INFINITY ? exp(w[j] - top) : 0;
	oracle_combine(c, w, sum, out);
}

/* moba: b, k */
void oracle_moba(const struct attn_oracle_call *c)
{
	const struct attn_shape *s = c->shape;
	size_t b = (size_t)c->arg[0], k = (size_t)c->arg[1], nb = (s->n_k + b - 1) / b;
	double *mean = c->alloc(c->owner, nb * s->d), *gate = c->alloc(c->owner, nb);
	double *w = c->alloc(c->owner, s->n_k);
	bool *chosen = (bool *)c->alloc(c->owner, nb);

	for (size_t u = 0; u < nb; u++) {
		size_t end = (u + 1) * b < s->n_k ? (u + 1) * b : s->n_k;
		for (size_t e = 0; e < s->d; e++) {
			mean[u * s->d + e] = 0;
			for (size_t j = u * b; j < end; j++)
				mean[u * s->d + e] += c->k[j * s->d + e];
			mean[u * s->d + e] /= (double)(end - u * b);
		}
	}
	for (size_t r = 0; r < c->n_rows; r++) {
		size_t i = c->rows[r];
		double own = floor(((double)i + (double)s->n_k - (double)s->n_q) / (double)b);
		for (size_t u = 0; u < nb; u++) {
			gate[u] = oracle_dot(c->q + i * s->d, mean + u * s->d, s->d);
			if (s->causal && (double)u > own)
				gate[u] = -INFINITY;
			if ((double)u == own)
				gate[u] = INFINITY;
		}
		for (size_t u = 0; u < nb; u++)
			chosen[u] = gate[u] > -INFINITY && among_best(gate, nb, u, k);
		softmax_of_blocks(c, r, chosen, b, w, c->out + r * s->d_v);
	}
}
