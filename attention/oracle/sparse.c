/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Sparse family: softmax over the keys that a predicate allows. A key allowed
 * for two reasons is one key. */
#include "oracle.h"

/* sliding-window: left, right */
static bool window(const struct attn_oracle_call *c, size_t i, size_t j)
{
	double at = (double)i + (double)c->shape->n_k - (double)c->shape->n_q;

	return (double)j >= at - c->arg[0] && (double)j <= at + c->arg[1];
}

void oracle_sliding_window(const struct attn_oracle_call *c)
{
	oracle_softmax(c, window);
}

/* sparse-strided: l, mode */
static bool strided(const struct attn_oracle_call *c, size_t i, size_t j)
{
	size_t l = c->arg[0] > 0 ? (size_t)c->arg[0] : (size_t)lround(sqrt((double)c->shape->n_k));
	size_t apart = j < i ? i - j : j - i, mode = (size_t)c->arg[1];
	bool a1 = apart <= l, a2 = apart % l == 0;

	if (mode == 1)
		mode = c->shape->head % 2 == 0 ? 2 : 3;
	return mode == 0 ? a1 || a2 : mode == 2 ? a1 : a2;
}

void oracle_sparse_strided(const struct attn_oracle_call *c)
{
	oracle_softmax(c, strided);
}

/* longformer: w, g */
static bool window_or_global(const struct attn_oracle_call *c, size_t i, size_t j)
{
	size_t half = (size_t)c->arg[0] / 2, g = (size_t)c->arg[1];

	return (j < i ? i - j : j - i) <= half || j < g || i < g;
}

void oracle_longformer(const struct attn_oracle_call *c)
{
	oracle_softmax(c, window_or_global);
}

/* sink-window: s, w; the causal rule is the shape's */
static bool sink_or_window(const struct attn_oracle_call *c, size_t i, size_t j)
{
	double at = (double)i + (double)c->shape->n_k - (double)c->shape->n_q;

	return (double)j < c->arg[0] || (double)j > at - c->arg[1];
}

void oracle_sink_window(const struct attn_oracle_call *c)
{
	oracle_softmax(c, sink_or_window);
}

/* block-local: b, back, fwd */
static bool near_block(const struct attn_oracle_call *c, size_t i, size_t j)
{
	double query = floor((double)i / c->arg[0]), key = floor((double)j / c->arg[0]);

	return key >= query - c->arg[1] && key <= query + c->arg[2];
}

void oracle_block_local(const struct attn_oracle_call *c)
{
	oracle_softmax(c, near_block);
}

/* dilated-window: w, dil */
static bool dilated(const struct attn_oracle_call *c, size_t i, size_t j)
{
	size_t half = (size_t)c->arg[0] / 2, dil = (size_t)c->arg[1], apart = j < i ? i - j : j - i;

	return apart % dil == 0 && apart / dil <= half;
}

void oracle_dilated_window(const struct attn_oracle_call *c)
{
	oracle_softmax(c, dilated);
}

/* sparse-fixed: l, c, mode */
static bool fixed(const struct attn_oracle_call *c, size_t i, size_t j)
{
	size_t l = c->arg[0] > 0 ? (size_t)c->arg[0] : (size_t)lround(sqrt((double)c->shape->n_k));
	size_t columns = (size_t)c->arg[1], mode = (size_t)c->arg[2];
	bool a1 = i / l == j / l, a2 = j % l + columns >= l;

	if (mode == 1)
		mode = c->shape->head % 2 == 0 ? 2 : 3;
	return mode == 0 ? a1 || a2 : mode == 2 ? a1 : a2;
}

void oracle_sparse_fixed(const struct attn_oracle_call *c)
{
	oracle_softmax(c, fixed);
}

/* bigbird: b, r; state: random blocks, block rows x min(r, block rows),
 * UINT32_MAX where there are fewer */
static bool blocks(const struct attn_oracle_call *c, size_t i, size_t j)
{
	size_t b = (size_t)c->arg[0], query = i / b, key = j / b, last = (c->shape->n_k - 1) / b;
	size_t width = (size_t)fmin(c->arg[1], (double)(last + 1));
	const uint32_t *drawn = (const uint32_t *)c->state + query * width;

	if (query == 0 || query == last || key == 0 || key == last)
		return true;
	for (size_t u = 0; u < width; u++)
		if (drawn[u] == key)
			return true;
	return (key < query ? query - key : key - query) <= 1;
}

void oracle_bigbird(const struct attn_oracle_call *c)
{
	oracle_softmax(c, blocks);
}

/* topk: the k largest visible logits, ties to the lowest j. Key j is among them
 * iff fewer than k keys come before it in (logit, -j) order. Where two logits
 * at the edge differ by less than the rounding of f32, the kernel may choose the
 * other key; their weights then differ by as little, their values do not. */
void oracle_topk(const struct attn_oracle_call *c)
{
	const struct attn_shape *s = c->shape;
	size_t k = (size_t)c->arg[0];
	double *logit = c->alloc(c->owner, s->n_k), *w = c->alloc(c->owner, s->n_k);

	for (size_t r = 0; r < c->n_rows; r++) {
		size_t i = c->rows[r];
		double top = -INFINITY, sum = 0;
		for (size_t j = 0; j < s->n_k; j++) {
			logit[j] = oracle_visible(s, i, j)
			                   ? (double)s->scale * oracle_dot(c->q + i * s->d, c->k + j * s->d, s->d)
			                   : -INFINITY;
			top = fmax(top, logit[j]);
		}
		for (size_t j = 0; j < s->n_k; j++) {
			size_t before = 0;
			for (size_t l = 0; l < s->n_k && before < k; l++)
				before += logit[l] > logit[j] || (logit[l] == logit[j] && l < j);
			w[j] = logit[j] > -INFINITY && before < k ? exp(logit[j] - top) : 0;
			sum += w[j];
		}
		oracle_combine(c, w, sum, c->out + r * s->d_v);
	}
}
