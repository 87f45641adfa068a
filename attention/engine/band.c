/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Groups of tiles over one block of keys at a time, and keys split over a team. */
#include "band.h"

#include "half.h"
#include "layout.h"

#include <stdatomic.h>

/* Tiles of a group. Keys and values that leave L2 are then read once for every
 * GROUP tiles; measured at d = 128, n = 16384, where one tile alone waits for
 * L3. Spans below GROUP_BYTES stay in L2 and gain nothing. */
enum { GROUP = 2, GROUP_BYTES = 512 * 1024 };

/* What half precision needs beside the tiles: a block of keys and of values as
 * f32, or of values as pairs; a tile's queries and its output. */
struct buffers {
	float *k, *v;    /* block x d, block x d_v */
	uint32_t *pairs; /* (block + 1) / 2 x d_v, in place of v */
	float *rows;     /* 2 lanes x max(d, d_v) */
	size_t bytes;
};

static struct buffers buffers_at(const struct attn_shape *s, void *mem)
{
	struct layout l = { .base = mem };
	struct buffers b = { 0 };

	if (s->type != ATTN_F32) {
		LAYOUT(&l, b.k, KERN_MAX_BLOCK * s->d);
		LAYOUT(&l, b.v, KERN_MAX_BLOCK * s->d_v);
		LAYOUT(&l, b.rows, TILE_ROWS * (s->d > s->d_v ? s->d : s->d_v));
		b.pairs = (uint32_t *)b.v;
	}
	b.bytes = l.used;
	return b;
}

size_t band_scratch_bytes(const struct attn_shape *s)
{
	return GROUP * tile_scratch_bytes(s->d, s->d_v) + buffers_at(s, NULL).bytes;
}

static size_t tiles_of(const struct attn_shape *s, size_t width)
{
	return (s->n_q + width - 1) / width;
}

/* A table with fewer lanes makes more tiles: plan for the most. */
static bool splits_keys(const struct attn_shape *s, size_t ranks)
{
	return tiles_of(s, KERN_MAX_LANES) < ranks;
}

size_t band_shared_bytes(const struct attn_shape *s, size_t ranks)
{
	size_t partial = splits_keys(s, ranks) ? ranks * s->n_q * (s->d_v + 1) * sizeof(float) : 0;

	return TILE_SHARED_BYTES + partial;
}

struct band {
	const struct attn_call *call;
	work_band *of;
	size_t step;
	size_t first, last; /* keys outside are left out */
	enum attn_type out_type; /* of call->out: f32 for parts to be merged */
	size_t width, count; /* queries a tile, tiles a group */
	bool down;          /* groups go from the last to the first */
	struct tile tile[GROUP];
	struct buffers buffers;
	const struct kern_bf16 *bf16; /* dot products of bf16, or NULL */
	size_t lo[GROUP][TILE_ROWS], hi[GROUP][TILE_ROWS];
	struct tile_edge edge[GROUP];
};

static void band_init(struct band *b, const struct attn_call *call, const struct attn_team *team,
                      work_band *of, size_t step)
{
	const struct attn_shape *s = call->shape;

	b->call = call;
	b->of = of;
	b->width = tile_width(call->kern, s->n_q, team);
	b->first = 0;
	b->last = s->n_k;
	b->out_type = s->type;
	for (size_t g = 0; g < GROUP; g++) {
		char *mem = (char *)call->scratch + g * tile_scratch_bytes(s->d, s->d_v);
		tile_init(&b->tile[g], call, mem, s->d, s->d_v);
	}
	b->step = step && step < call->kern->block ? step : call->kern->block;
	b->buffers = buffers_at(s, (char *)call->scratch + GROUP * tile_scratch_bytes(s->d, s->d_v));
	b->bf16 = s->type == ATTN_BF16 ? call->kern->bf16 : NULL;
}

/* Loads tile g of the group with queries from q0. */
static void load(struct band *b, size_t g, size_t q0)
{
	const struct attn_call *c = b->call;
	struct tile *t = &b->tile[g];
	size_t left = c->shape->n_q - q0, rows = left < b->width ? left : b->width;

	t->q0 = q0;
	size_t apart = b->count * b->width, next = b->down ? q0 - apart : q0 + apart;
	const void *q = half_row(c->shape->type, c->q, c->ldq, q0);
	t->next_q = half_row(c->shape->type, c->q, c->ldq, next < c->shape->n_q ? next : q0);
	t->own_out = half_row(c->shape->type, c->out, c->ldo, q0);
	if (b->bf16) {
		tile_load_bf16(t, b->bf16, q, c->ldq, rows);
	} else if (c->shape->type != ATTN_F32) {
		half_widen(c->kern, c->shape->type, b->buffers.rows, c->shape->d, q, c->ldq, rows, c->shape->d);
		tile_load(t, b->buffers.rows, c->shape->d, rows);
	} else {
		tile_load(t, q, c->ldq, rows);
	}
	for (size_t r = 0; r < rows; r++) {
		size_t lo, hi;
		b->of(c->shape, c->arg, q0 + r, &lo, &hi);
		b->lo[g][r] = lo > b->first ? lo : b->first;
		b->hi[g][r] = hi < b->last ? hi : b->last;
	}
	b->edge[g] = tile_edge_of(t, b->lo[g], b->hi[g]);
	if (c->stats)
		c->stats->pairs += b->edge[g].pairs;
}

/* Keys and values [j, j + n) in the form that the tiles take: as they are, with
 * values in pairs, or widened. */
static struct tile_source block(const struct band *b, size_t j, size_t n)
{
	const struct attn_call *c = b->call;
	const struct attn_shape *s = c->shape;
	const void *k = half_row(s->type, c->k, c->ldk, j), *v = half_row(s->type, c->v, c->ldv, j);

	if (s->type == ATTN_F32)
		return (struct tile_source){ .k = k, .v = v, .ldk = c->ldk, .ldv = c->ldv };
	if (b->bf16) {
		b->bf16->pack(b->buffers.pairs, v, c->ldv, n, s->d_v);
		return (struct tile_source){ .k = k, .v = v, .ldk = c->ldk, .ldv = c->ldv, .bf16 = b->bf16,
			                     .pairs = b->buffers.pairs };
	}
	half_widen(c->kern, s->type, b->buffers.k, s->d, k, c->ldk, n, s->d);
	half_widen(c->kern, s->type, b->buffers.v, s->d_v, v, c->ldv, n, s->d_v);
	return (struct tile_source){ .k = b->buffers.k, .v = b->buffers.v, .ldk = s->d, .ldv = s->d_v,
		                     .copied = true };
}

static void store(const struct band *b, struct tile *t)
{
	const struct attn_call *c = b->call;
	const struct attn_shape *s = c->shape;
	float *lse = c->lse ? c->lse + t->q0 : NULL;
	void *out = (char *)c->out + t->q0 * c->ldo * half_element_bytes(b->out_type);

	if (b->out_type == ATTN_F32) {
		tile_store(t, out, c->ldo, lse);
	} else {
		tile_store(t, b->buffers.rows, s->d_v, lse);
		half_narrow(c->kern, s->type, out, c->ldo, b->buffers.rows, s->d_v, t->rows, s->d_v);
	}
}

/* `count` tiles from tile number u; results go to out and lse, row q0 first. */
static void run_group(struct band *b, size_t u, size_t count)
{
	size_t first = SIZE_MAX, last = 0;

	for (size_t g = 0; g < count; g++) {
		load(b, g, (u + g) * b->width);
		first = b->edge[g].first < first ? b->edge[g].first : first;
		last = b->edge[g].last > last ? b->edge[g].last : last;
	}
	for (size_t g = 0; g < count; g++) {
		b->tile[g].turn = g;
		b->tile[g].turns = count;
	}
	for (size_t j = first; j < last; j += b->step) {
		size_t n = last - j < b->step ? last - j : b->step;
		struct tile_source keys = block(b, j, n);
		for (size_t g = 0; g < count; g++)
			tile_edge_step(&b->tile[g], &b->edge[g], &keys, j, n, NULL);
	}
	for (size_t g = 0; g < count; g++)
		store(b, &b->tile[g]);
}

/* Every rank takes a stretch of keys for all queries; results are merged. */
static void run_split(struct band *b, struct attn_team *team)
{
	const struct attn_call *c = b->call;
	const struct attn_shape *s = c->shape;
	struct attn_call mine = *c;
	size_t rows = s->n_q, tiles = tiles_of(s, b->width);
	float *out = (float *)((char *)c->shared + TILE_SHARED_BYTES);
	float *lse = out + team->size * rows * s->d_v;

	mine.out = out + team->rank * rows * s->d_v;
	mine.ldo = s->d_v;
	mine.lse = lse + team->rank * rows;
	b->call = &mine;
	b->out_type = ATTN_F32;
	b->first = s->n_k * team->rank / team->size;
	b->last = s->n_k * (team->rank + 1) / team->size;
	for (size_t u = 0; u < tiles; u += b->count)
		run_group(b, u, tiles - u < b->count ? tiles - u : b->count);
	attn_barrier(team);
	if (team->rank > 0)
		return;
	for (size_t r = 1; r < team->size; r++)
		attn_merge(rows, s->d_v, out, s->d_v, lse, out + r * rows * s->d_v, s->d_v, lse + r * rows);
	half_narrow(c->kern, s->type, c->out, c->ldo, out, s->d_v, rows, s->d_v);
	for (size_t i = 0; c->lse && i < rows; i++)
		c->lse[i] = lse[i];
}

/* Keys that query i sees. */
static size_t span(const struct attn_call *c, work_band *of, size_t i)
{
	size_t lo, hi;

	of(c->shape, c->arg, i, &lo, &hi);
	return hi > lo ? hi - lo : 0;
}

void band_run(const struct attn_call *call, struct attn_team *team, work_band *band, size_t step)
{
	const struct attn_shape *s = call->shape;
	atomic_size_t *next = call->shared;
	size_t longest = span(call, band, s->n_q - 1);
	bool fits_l2 = longest * (s->d + s->d_v) * sizeof(float) <= GROUP_BYTES;
	/* A block in half precision is converted once for all tiles of a group. */
	struct band b;

	band_init(&b, call, team, band, step);
	size_t tiles = tiles_of(s, b.width), count = fits_l2 && s->type == ATTN_F32 ? 1 : GROUP;
	size_t groups = (tiles + count - 1) / count;
	b.count = count;
	/* Where spans grow, as causal ones do, a team ends evenly with the short. */
	b.down = team->size > 1 && longest > 2 * span(call, band, s->n_q / 4);
	if (splits_keys(s, team->size)) {
		run_split(&b, team);
		return;
	}
	if (team->rank == 0)
		atomic_store(next, 0);
	attn_barrier(team);
	for (size_t i; (i = atomic_fetch_add(next, 1)) < groups;) {
		size_t u = (b.down ? groups - 1 - i : i) * count;
		run_group(&b, u, tiles - u < count ? tiles - u : count);
	}
	attn_barrier(team);
}
