/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Token mixers without products of queries and keys. */
#include "oracle.h"

/* O_i = sum_j softmax(logits)_j v_j over visible j */
static void softmax_row(const struct attn_oracle_call *c, size_t i, double *logit, double *out)
{
	const struct attn_shape *s = c->shape;
	double top = -INFINITY, sum = 0;

	for (size_t j = 0; j < s->n_k; j++)
		top = oracle_visible(s, i, j) ? fmax(top, logit[j]) : top;
	for (size_t j = 0; j < s->n_k; j++) {
		logit[j] = oracle_visible(s, i, j) ? exp(logit[j] - top) : 0;
		sum += logit[j];
	}
	oracle_combine(c, logit, sum, out);
}

/* rank; the state is R, or a (n_q x rank) and b (n_k x rank) */
void oracle_synthesizer_random(const struct attn_oracle_call *c)
{
	const struct attn_shape *s = c->shape;
	size_t rank = (size_t)c->arg[0];
	const float *a = c->state, *b = a + s->n_q * rank;
	double *w = c->alloc(c->owner, s->n_k);

	for (size_t r = 0; r < c->n_rows; r++) {
		size_t i = c->rows[r];
		for (size_t j = 0; j < s->n_k; j++) {
			w[j] = rank ? 0 : (double)a[i * s->n_k + j];
			for (size_t f = 0; f < rank; f++)
				w[j] += (double)a[i * rank + f] * (double)b[j * rank + f] / sqrt((double)rank);
		}
		softmax_row(c, i, w, c->out + r * s->d_v);
	}
}

/* hidden; the state is W1 (d x h), W2 transposed (n_k x h) */
void oracle_synthesizer_dense(const struct attn_oracle_call *c)
{
	const struct attn_shape *s = c->shape;
	size_t h = (size_t)c->arg[0];
	const float *w1 = c->state, *w2_t = w1 + s->d * h, *x = attn_aux_find(c->aux, "X", s->n_q, s->d);
	double *hidden = c->alloc(c->owner, h), *w = c->alloc(c->owner, s->n_k);

	for (size_t r = 0; r < c->n_rows; r++) {
		size_t i = c->rows[r];
		for (size_t f = 0; f < h; f++) {
			double u = 0;
			for (size_t e = 0; e < s->d; e++)
				u += (x ? (double)x[i * s->d + e] : c->q[i * s->d + e]) * (double)w1[e * h + f];
			hidden[f] = fmax(u, 0);
		}
		for (size_t j = 0; j < s->n_k; j++) {
			w[j] = 0;
			for (size_t f = 0; f < h; f++)
				w[j] += hidden[f] * (double)w2_t[j * h + f];
		}
		softmax_row(c, i, w, c->out + r * s->d_v);
	}
}

/* The double sum over tokens and channels, for the rows asked for. */
void oracle_fnet(const struct attn_oracle_call *c)
{
	const struct attn_shape *s = c->shape;
	const double tau = 6.283185307179586476925;
	const float *x = attn_aux_find(c->aux, "X", s->n_k, s->d_v);
	size_t n = s->n_k, e = s->d_v;
	double *re = c->alloc(c->owner, e), *im = c->alloc(c->owner, e);

	for (size_t r = 0; r < c->n_rows; r++) {
		size_t k = c->rows[r];
		for (size_t f = 0; f < e; f++)
			re[f] = im[f] = 0;
		for (size_t t = 0; t < n; t++) {
			double angle = tau * (double)((uint64_t)k * t % n) / (double)n;
			for (size_t f = 0; f < e; f++) {
				double at = x ? (double)x[t * e + f] : c->v[t * e + f];
				re[f] += at * cos(angle);
				im[f] -= at * sin(angle);
			}
		}
		for (size_t g = 0; g < e; g++) {
			double sum = 0;
			for (size_t f = 0; f < e; f++) {
				double angle = tau * (double)(f * g % e) / (double)e;
				sum += re[f] * cos(angle) + im[f] * sin(angle);
			}
			c->out[r * e + g] = sum;
		}
	}
}
