/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Scores, maxima and exponentials of whole columns of lanes. */
#include "weights.h"

#include <string.h>

static void count(const struct tile *t, size_t n, size_t channels)
{
	if (t->call->stats)
		t->call->stats->flops_executed += 2.0 * (double)(t->call->kern->lanes * n * channels);
}

void weights_of_tile(const struct tile *t, const float *k, size_t n, const size_t *seen, float *weight,
                     float *best, float *sum)
{
	const struct attn_call *c = t->call;
	const struct kern *kern = c->kern;
	size_t lanes = kern->lanes;

	kern->tile_load(&t->k, (const float *)c->q + t->q0 * c->ldq, c->ldq, t->rows, c->shape->scale);
	kern->tile_scores(&t->k, k, t->k.d, n, weight);
	for (size_t r = 0; r < t->rows; r++)
		for (size_t u = seen[r]; u < n; u++)
			weight[u * lanes + r] = KERN_MASKED;
	kern->lanes_fold_max(best, 1, weight, n);
	for (size_t r = 0; r < lanes; r++) {
		best[r] = best[r] > KERN_NO_MAX ? best[r] : 0; /* nothing seen: weights 0 */
		sum[r] = 0;
	}
	for (size_t u = 1; u < WEIGHTS_STRETCH && u < n; u++)
		memcpy(best + u * lanes, best, lanes * sizeof *best);
	for (size_t u = 0; u < n; u += WEIGHTS_STRETCH) {
		size_t cells = (n - u < WEIGHTS_STRETCH ? n - u : WEIGHTS_STRETCH) * lanes;
		kern->axpy(weight + u * lanes, -1, best, cells);
		kern->exp_shift(weight + u * lanes, weight + u * lanes, 0, cells);
	}
	kern->rows_add(sum, weight, lanes, n, lanes);
	count(t, n, t->k.d);
}

void weights_apply(const struct tile *t, const float *weight, const float *sum, float factor,
                   const float *v, size_t n, float *out, size_t ldo)
{
	const struct kern *kern = t->call->kern;
	size_t d_v = t->k.d_v;

	kern->mm(out, ldo, weight, 1, kern->lanes, v, d_v, t->rows, d_v, n, false);
	for (size_t r = 0; r < t->rows; r++) {
		if (n > 0 && sum[r] > 0)
			kern->scale(out + r * ldo, factor / sum[r], d_v);
		else
			memset(out + r * ldo, 0, d_v * sizeof *out);
	}
	count(t, n, d_v);
}
