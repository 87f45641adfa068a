/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Counting work for plans. */
#include "work.h"

#include "../kernels/kern.h"

double work_visible_pairs(const struct attn_shape *s)
{
	double q = (double)s->n_q, k = (double)s->n_k;

	if (!s->causal)
		return q * k;
	/* Row i of the last min(n_q, n_k) rows sees i + 1 + n_k - n_q keys. */
	double rows = q < k ? q : k, least = k - rows;
	return rows * least + rows * (rows + 1) / 2;
}

double work_tiled_pairs(const struct attn_shape *s, size_t chunk)
{
	double pairs = 0;

	for (size_t c0 = 0; c0 < s->n_q; c0 += chunk) {
		size_t end = s->n_q - c0 < chunk ? s->n_q : c0 + chunk;
		for (size_t q0 = c0; q0 < end; q0 += KERN_MAX_LANES) {
			size_t last = (end - q0 < KERN_MAX_LANES ? end : q0 + KERN_MAX_LANES) - 1;
			size_t sees = !s->causal ? s->n_k : last + 1 + s->n_k > s->n_q ? last + 1 + s->n_k - s->n_q : 0;
			pairs += (double)(KERN_MAX_LANES * sees);
		}
	}
	return pairs;
}

void work_band_pairs(const struct attn_shape *s, const double *arg, work_band *band,
                     double *pairs, double *executed)
{
	*pairs = *executed = 0;
	for (size_t q0 = 0; q0 < s->n_q; q0 += KERN_MAX_LANES) {
		size_t first = SIZE_MAX, last = 0;
		for (size_t i = q0; i < s->n_q && i < q0 + KERN_MAX_LANES; i++) {
			size_t lo, hi;
			band(s, arg, i, &lo, &hi);
			if (lo >= hi)
				continue;
			first = lo < first ? lo : first;
			last = hi > last ? hi : last;
			*pairs += (double)(hi - lo);
		}
		if (first < last)
			*executed += (double)(KERN_MAX_LANES * (last - first));
	}
}

double work_io_bytes(const struct attn_shape *s)
{
	size_t element = s->type == ATTN_F32 ? 4 : 2;

	return (double)(element * (s->n_q * (s->d + s->d_v) + s->n_k * (s->d + s->d_v)));
}

void work_softmax(const struct attn_shape *s, double pairs, double executed,
                  struct attn_plan *plan)
{
	double flops_a_pair = 2.0 * (double)(s->d + s->d_v);

	plan->pairs = pairs;
	plan->n_exp = pairs;
	plan->flops_useful = flops_a_pair * pairs;
	plan->flops_executed = flops_a_pair * executed;
	plan->bytes = work_io_bytes(s);
}
