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

/* ---- nsa: l, st, block, ns, w, gcmp, gslc, gswa; aux gates3 ---- */

enum { L, ST, BLOCK, NS, W, GCMP };

/* Means of tokens [u st, u st + l) of x (n x d), for each u that is complete. */
static double *compressed(const struct attn_oracle_call *c, const double *x, size_t d, size_t count)
{
	double *mean = c->alloc(c->owner, count * d);

	for (size_t u = 0; u < count; u++)
		for (size_t e = 0; e < d; e++) {
			mean[u * d + e] = 0;
			for (double j = 0; j < c->arg[L]; j++)
				mean[u * d + e] += x[(size_t)((double)u * c->arg[ST] + j) * d + e] / c->arg[L];
		}
	return mean;
}

/* p[u] = softmax over compressed keys whose last token is at most i. */
static void compressed_weights(const struct attn_oracle_call *c, size_t i, const double *k, size_t count,
                               double *p)
{
	size_t d = c->shape->d;
	double top = -INFINITY, sum = 0;

	for (size_t u = 0; u < count; u++) {
		bool complete = (double)u * c->arg[ST] + c->arg[L] - 1 <= (double)i;
		p[u] = complete ? (double)c->shape->scale * oracle_dot(c->q + i * d, k + u * d, d) : -INFINITY;
		top = fmax(top, p[u]);
	}
	for (size_t u = 0; u < count; u++)
		sum += p[u] = p[u] > -INFINITY ? exp(p[u] - top) : 0;
	for (size_t u = 0; u < count; u++)
		p[u] /= sum > 0 ? sum : 1;
}

/* The ns blocks of query i: 0, the own, the one before; the most important. */
static void select_blocks(const struct attn_oracle_call *c, size_t i, const double *p, size_t count,
                          size_t nb, double *importance, bool *chosen)
{
	double b = c->arg[BLOCK], own = floor((double)i / b);

	for (size_t v = 0; v < nb; v++) {
		double block = (double)v;
		importance[v] = 0;
		for (size_t u = 0; u < count; u++) {
			double first = fmax((double)u * c->arg[ST], block * b);
			double end = fmin((double)u * c->arg[ST] + c->arg[L], (block + 1) * b);
			importance[v] += end > first ? p[u] * (end - first) / c->arg[ST] : 0;
		}
		if (v == 0 || block == own || block == own - 1)
			importance[v] = INFINITY;
		else if (block > own)
			importance[v] = -INFINITY;
	}
	for (size_t v = 0; v < nb; v++)
		chosen[v] = importance[v] > -INFINITY && among_best(importance, nb, v, (size_t)c->arg[NS]);
}

static bool in_window(const struct attn_oracle_call *c, size_t i, size_t j)
{
	return (double)j > (double)i - c->arg[W];
}

void oracle_nsa(const struct attn_oracle_call *c)
{
	const struct attn_shape *s = c->shape;
	double n = (double)s->n_k, tokens = c->arg[L];
	size_t count = n >= tokens ? (size_t)floor((n - tokens) / c->arg[ST]) + 1 : 0;
	size_t b = (size_t)c->arg[BLOCK], nb = (s->n_k + b - 1) / b, d_v = s->d_v;
	const float *given = attn_aux_find(c->aux, "gates3", 1, 3);
	double *k = compressed(c, c->k, s->d, count), *v = compressed(c, c->v, d_v, count);
	double *p = c->alloc(c->owner, count), *importance = c->alloc(c->owner, nb);
	double *w = c->alloc(c->owner, s->n_k), *selected = c->alloc(c->owner, d_v), gate[3];
	bool *chosen = (bool *)c->alloc(c->owner, nb);

	for (size_t g = 0; g < 3; g++)
		gate[g] = given ? (double)given[g] : c->arg[GCMP + g];
	oracle_softmax(c, in_window);
	for (size_t r = 0; r < c->n_rows; r++) {
		double *out = c->out + r * d_v;
		compressed_weights(c, c->rows[r], k, count, p);
		select_blocks(c, c->rows[r], p, count, nb, importance, chosen);
		softmax_of_blocks(c, r, chosen, b, w, selected);
		for (size_t e = 0; e < d_v; e++) {
			out[e] = gate[2] * out[e] + gate[1] * selected[e];
			for (size_t u = 0; u < count; u++)
				out[e] += gate[0] * p[u] * v[u * d_v + e];
		}
	}
}
