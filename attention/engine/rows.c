/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Copies of scattered rows around the tile engine. */
#include "rows.h"

#include <string.h>

/* Rows: as far as a few dozen outstanding misses reach. */
enum { AHEAD = 8 };

static size_t width(size_t d, size_t d_v)
{
	return ((d > d_v ? d : d_v) + 15) / 16 * 16;
}

size_t rows_scratch_bytes(size_t d, size_t d_v)
{
	return tile_scratch_bytes(d, d_v) + TILE_ROWS * width(d, d_v) * sizeof(float);
}

void rows_init(struct rows *s, const struct attn_call *c, void *mem)
{
	size_t d = c->shape->d, d_v = c->shape->d_v;

	tile_init(&s->t, c, mem, d, d_v);
	s->buffer = (float *)((char *)mem + tile_scratch_bytes(d, d_v));
}

static void ask(const float *row, size_t cols)
{
	for (size_t i = 0; i < cols; i += 16)
		__builtin_prefetch(row + i);
}

void rows_gather(float *to, const float *x, size_t ldx, size_t cols, const uint32_t *index, size_t n)
{
	for (size_t r = 0; r < AHEAD && r < n; r++)
		ask(x + index[r] * ldx, cols);
	for (size_t r = 0; r < n; r++) {
		if (r + AHEAD < n)
			ask(x + index[r + AHEAD] * ldx, cols);
		memcpy(to + r * cols, x + index[r] * ldx, cols * sizeof *x);
	}
}

void rows_ask(const float *x, size_t ldx, size_t cols, const uint32_t *index, size_t n)
{
	for (size_t r = 0; r < n; r++)
		for (size_t i = 0; i < cols; i += 16)
			__builtin_prefetch(x + index[r] * ldx + i, 0, 2);
}

void rows_load(struct rows *s, const uint32_t *index, size_t n)
{
	const struct attn_call *c = s->t.call;
	size_t d = c->shape->d;

	rows_gather(s->buffer, c->q, c->ldq, d, index, n);
	tile_load(&s->t, s->buffer, d, n);
}

void rows_resume(struct rows *s, const uint32_t *at, const float *lse)
{
	const struct attn_call *c = s->t.call;
	size_t d_v = c->shape->d_v;
	float row_lse[TILE_ROWS];

	rows_gather(s->buffer, c->out, c->ldo, d_v, at, s->t.rows);
	for (size_t r = 0; r < s->t.rows; r++)
		row_lse[r] = lse[at[r]];
	tile_resume(&s->t, s->buffer, d_v, row_lse);
}

void rows_store(struct rows *s, const uint32_t *at, float *lse)
{
	const struct attn_call *c = s->t.call;
	size_t d_v = c->shape->d_v;
	float row_lse[TILE_ROWS];

	tile_store(&s->t, s->buffer, d_v, row_lse);
	for (size_t r = 0; r < s->t.rows; r++) {
		memcpy((float *)c->out + at[r] * c->ldo, s->buffer + r * d_v, d_v * sizeof(float));
		if (lse)
			lse[at[r]] = row_lse[r];
	}
}
