/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Copies of scattered rows around the tile engine. */
#include "rows.h"

#include <string.h>

enum { AHEAD = 4 };

static size_t width(size_t d, size_t d_v)
{
	return ((d > d_v ? d : d_v) + 15) / 16 * 16;
}

size_t rows_scratch_bytes(size_t d, size_t d_v)
{
	return tile_scratch_bytes(d, d_v) + KERN_MAX_LANES * width(d, d_v) * sizeof(float);
}

void rows_init(struct rows *s, const struct attn_call *c, void *mem)
{
	size_t d = c->shape->d, d_v = c->shape->d_v;

	tile_init(&s->t, c, mem, d, d_v);
	s->buffer = (float *)((char *)mem + tile_scratch_bytes(d, d_v));
}

void rows_load(struct rows *s, const uint32_t *index, size_t n, const float *lse)
{
	const struct attn_call *c = s->t.call;
	size_t d = c->shape->d, d_v = c->shape->d_v;
	float row_lse[KERN_MAX_LANES];

	for (size_t r = 0; r < n; r++) {
		if (r + AHEAD < n)
			rows_ahead((const float *)c->q + index[r + AHEAD] * c->ldq, d);
		memcpy(s->buffer + r * d, (const float *)c->q + index[r] * c->ldq, d * sizeof(float));
	}
	for (size_t r = 0; lse && r < AHEAD && r < n; r++)
		rows_ahead((const float *)c->out + index[r] * c->ldo, d_v);
	tile_load(&s->t, s->buffer, d, n);
	if (!lse)
		return;
	for (size_t r = 0; r < n; r++) {
		if (r + AHEAD < n)
			rows_ahead((const float *)c->out + index[r + AHEAD] * c->ldo, d_v);
		memcpy(s->buffer + r * d_v, (const float *)c->out + index[r] * c->ldo, d_v * sizeof(float));
		row_lse[r] = lse[index[r]];
	}
	tile_resume(&s->t, s->buffer, d_v, row_lse);
}

void rows_store(struct rows *s, const uint32_t *index, float *lse)
{
	const struct attn_call *c = s->t.call;
	size_t d_v = c->shape->d_v;
	float row_lse[KERN_MAX_LANES];

	tile_store(&s->t, s->buffer, d_v, row_lse);
	for (size_t r = 0; r < s->t.rows; r++) {
		memcpy((float *)c->out + index[r] * c->ldo, s->buffer + r * d_v, d_v * sizeof(float));
		if (lse)
			lse[index[r]] = row_lse[r];
	}
}
