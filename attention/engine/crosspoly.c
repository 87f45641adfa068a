/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Cross-polytope hashes, a tile at a time. */
#include "crosspoly.h"

#include <string.h>

enum { ONE_HASH = 128 };

static size_t even(size_t n)
{
	return n < 2 ? 2 : n + n % 2;
}

struct crosspoly crosspoly_of(size_t buckets, size_t d)
{
	size_t root = even((size_t)ceil(sqrt((double)buckets)));

	if (buckets <= ONE_HASH)
		return (struct crosspoly){ even(buckets), 1, d };
	return (struct crosspoly){ root, even((buckets + root - 1) / root), d };
}

size_t crosspoly_bytes(struct crosspoly h)
{
	return pick_bytes(h.first, 1) + h.first * KERN_MAX_LANES * sizeof(float);
}

void crosspoly_init(struct crosspoly_tile *t, struct crosspoly h, const struct attn_call *call,
                    const struct kern_tile *tile, void *mem)
{
	t->hash = h;
	t->call = call;
	t->tile = tile;
	pick_init(&t->pick, mem, h.first, 1);
	t->score = (float *)((char *)mem + pick_bytes(h.first, 1));
}

void crosspoly_load(struct crosspoly_tile *t, const float *x, size_t ldx, size_t rows)
{
	t->x = x;
	t->ldx = ldx;
	t->rows = rows;
	t->call->kern->tile_load(t->tile, x, ldx, rows, 1);
}

/* pick_exact: coordinate e of [x R; -x R]. */
static double exact(const void *ctx, size_t lane, size_t e)
{
	const struct crosspoly_tile *t = ctx;
	const float *x = t->x + lane * t->ldx, *column = t->column + e % t->half * t->hash.d;
	double sum = 0;

	for (size_t i = 0; i < t->hash.d; i++)
		sum += (double)x[i] * (double)column[i];
	return e < t->half ? sum : -sum;
}

/* Adds stride * hash to each bucket. */
static void add_hash(struct crosspoly_tile *t, const float *error, size_t stride, uint32_t *bucket)
{
	const struct kern *kern = t->call->kern;
	size_t cells = t->half * kern->lanes;

	kern->tile_scores(t->tile, t->column, t->hash.d, t->half, t->score);
	memcpy(t->score + cells, t->score, cells * sizeof *t->score);
	kern->scale(t->score + cells, -1, cells);
	pick_scan(&t->pick, kern, t->score, 2 * t->half, t->rows, error);
	for (size_t r = 0; r < t->rows; r++) {
		uint32_t at;
		pick_lane(&t->pick, r, exact, t, &at);
		bucket[r] += at * (uint32_t)stride;
	}
	if (t->call->stats)
		t->call->stats->flops_executed += 2.0 * (double)(cells * t->hash.d);
}

void crosspoly_hash(struct crosspoly_tile *t, const float *r, float longest, uint32_t *bucket)
{
	float error[KERN_MAX_LANES];

	for (size_t i = 0; i < t->rows; i++) {
		const float *x = t->x + i * t->ldx;
		float length = sqrtf(t->call->kern->dot(x, x, t->hash.d));
		error[i] = pick_dot_error(t->hash.d, length, longest);
		bucket[i] = 0;
	}
	t->column = r;
	t->half = t->hash.first / 2;
	add_hash(t, error, 1, bucket);
	if (t->hash.second == 1)
		return;
	t->column = r + t->half * t->hash.d;
	t->half = t->hash.second / 2;
	add_hash(t, error, t->hash.first, bucket);
}
