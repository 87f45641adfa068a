/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Chunks of queries, sorted by chosen block. */
#include "chosen.h"

static size_t least(size_t a, size_t b)
{
	return a < b ? a : b;
}

size_t chosen_chunk(const struct attn_shape *s, size_t ranks, size_t blocks, size_t per_query)
{
	size_t lanes = KERN_MAX_LANES, size = 512;

	if (per_query > 0 && 128 * blocks / per_query > size)
		size = 128 * blocks / per_query;
	if (ranks > 1)
		size = least(size, s->n_q / (2 * ranks));
	return least(size, s->n_q) / lanes * lanes + lanes;
}

void chosen_lay_out(struct chosen *ch, const struct attn_call *c, const struct attn_shape *s,
                    struct layout *scratch)
{
	void *rows = layout_take(scratch, rows_scratch_bytes(s->d, s->d_v));

	LAYOUT(scratch, ch->block, ch->chunk * ch->per_query);
	LAYOUT(scratch, ch->order, ch->chunk * ch->per_query);
	LAYOUT(scratch, ch->start, ch->blocks + 1);
	if (!c)
		return;
	ch->into = *c;
	rows_init(&ch->rows, &ch->into, rows);
}

void chosen_attend(struct chosen *ch, size_t i0, size_t count, float *lse)
{
	const struct attn_call *c = ch->rows.t.call;
	const float *q = c->q;
	size_t width = 2 * c->kern->lanes;

	ch->into.q = q + i0 * c->ldq;
	bucket_sort(ch->block, count, ch->per_query, ch->blocks, ch->start, ch->order);
	for (size_t u = 0; u < ch->blocks; u++) {
		const float *k = (const float *)c->k + u * ch->size * c->ldk;
		const float *v = (const float *)c->v + u * ch->size * c->ldv;
		for (size_t a = ch->start[u]; a < ch->start[u + 1]; a += width) {
			size_t next = least(a + width, ch->start[u + 1]);
			size_t left = least(width, ch->start[ch->blocks] - next);
			const uint32_t *index = ch->order + a;
			rows_load(&ch->rows, index, least(width, ch->start[u + 1] - a));
			rows_resume(&ch->rows, index, lse);
			rows_ask(ch->into.q, c->ldq, c->shape->d, ch->order + next, left);
			rows_ask(ch->into.out, ch->into.ldo, c->shape->d_v, ch->order + next, left);
			tile_keys(&ch->rows.t, k, c->ldk, v, c->ldv, least(ch->size, c->shape->n_k - u * ch->size),
			          NULL);
			rows_store(&ch->rows, index, lse);
		}
	}
	ch->into.q = q;
}

double chosen_waste(const struct attn_shape *s, size_t chunk, size_t blocks, size_t size)
{
	return (double)((s->n_q + chunk - 1) / chunk * blocks * size * KERN_MAX_LANES / 2);
}

void chosen_means(const float *x, size_t ldx, size_t n, size_t d, size_t size, size_t step,
                  size_t count, size_t first, size_t stride, double *exact, float *rounded)
{
	for (size_t u = first; u < count; u += stride) {
		size_t end = least(u * step + size, n);
		double *mean = exact + u * d;
		for (size_t e = 0; e < d; e++)
			mean[e] = 0;
		for (size_t j = u * step; j < end; j++)
			for (size_t e = 0; e < d; e++)
				mean[e] += (double)x[j * ldx + e];
		for (size_t e = 0; e < d; e++) {
			mean[e] /= (double)(end - u * step);
			rounded[u * d + e] = (float)mean[e];
		}
	}
}

float chosen_longest(const struct kern *kern, const float *x, size_t n, size_t d)
{
	float longest = 0;

	for (size_t i = 0; i < n; i++)
		longest = fmaxf(longest, kern->dot(x + i * d, x + i * d, d));
	return sqrtf(longest);
}
