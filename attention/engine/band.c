/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Groups of tiles over one block of keys at a time, and keys split over a team. */
#include "band.h"

#include <stdatomic.h>

/* Tiles of a group. Keys and values that leave L2 are then read once for every
 * GROUP tiles; measured at d = 128, n = 16384, where one tile alone waits for
 * L3. Spans below GROUP_BYTES stay in L2 and gain nothing. */
enum { GROUP = 4, GROUP_BYTES = 512 * 1024 };

size_t band_scratch_bytes(const struct attn_shape *s)
{
	return GROUP * tile_scratch_bytes(s->d, s->d_v);
}

static size_t tiles_of(const struct attn_shape *s, size_t lanes)
{
	return (s->n_q + lanes - 1) / lanes;
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
	size_t count;       /* tiles a group */
	bool down;          /* groups go from the last to the first */
	struct tile tile[GROUP];
	size_t lo[GROUP][KERN_MAX_LANES], hi[GROUP][KERN_MAX_LANES];
	struct tile_edge edge[GROUP];
};

static void band_init(struct band *b, const struct attn_call *call, work_band *of, size_t step)
{
	const struct attn_shape *s = call->shape;

	b->call = call;
	b->of = of;
	b->first = 0;
	b->last = s->n_k;
	for (size_t g = 0; g < GROUP; g++) {
		char *mem = (char *)call->scratch + g * tile_scratch_bytes(s->d, s->d_v);
		tile_init(&b->tile[g], call, mem, s->d, s->d_v);
	}
	b->step = step && step < call->kern->block ? step : call->kern->block;
}

/* Loads tile g of the group with queries from q0. */
static void load(struct band *b, size_t g, size_t q0)
{
	const struct attn_call *c = b->call;
	struct tile *t = &b->tile[g];
	size_t left = c->shape->n_q - q0, rows = left < c->kern->lanes ? left : c->kern->lanes;

	t->q0 = q0;
	size_t apart = b->count * c->kern->lanes, next = b->down ? q0 - apart : q0 + apart;
	t->next_q = (const float *)c->q + (next < c->shape->n_q ? next : q0) * c->ldq;
	t->own_out = (const float *)c->out + q0 * c->ldo;
	tile_load(t, (const float *)c->q + q0 * c->ldq, c->ldq, rows);
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

/* `count` tiles from tile number u; results go to out and lse, row q0 first. */
static void run_group(struct band *b, size_t u, size_t count)
{
	const struct attn_call *c = b->call;
	size_t first = SIZE_MAX, last = 0, lanes = c->kern->lanes;

	for (size_t g = 0; g < count; g++) {
		load(b, g, (u + g) * lanes);
		first = b->edge[g].first < first ? b->edge[g].first : first;
		last = b->edge[g].last > last ? b->edge[g].last : last;
	}
	for (size_t g = 0; g < count; g++) {
		b->tile[g].turn = g;
		b->tile[g].turns = count;
	}
	for (size_t j = first; j < last; j += b->step)
		for (size_t g = 0; g < count; g++)
			tile_edge_step(&b->tile[g], &b->edge[g], c->k, c->ldk, c->v, c->ldv, j, b->step, NULL);
	for (size_t g = 0; g < count; g++) {
		size_t q0 = b->tile[g].q0;
		tile_store(&b->tile[g], (float *)c->out + q0 * c->ldo, c->ldo, c->lse ? c->lse + q0 : NULL);
	}
}

/* Every rank takes a stretch of keys for all queries; results are merged. */
static void run_split(struct band *b, struct attn_team *team)
{
	const struct attn_call *c = b->call;
	const struct attn_shape *s = c->shape;
	struct attn_call mine = *c;
	size_t rows = s->n_q, tiles = tiles_of(s, c->kern->lanes);
	float *out = (float *)((char *)c->shared + TILE_SHARED_BYTES);
	float *lse = out + team->size * rows * s->d_v;

	mine.out = out + team->rank * rows * s->d_v;
	mine.ldo = s->d_v;
	mine.lse = lse + team->rank * rows;
	b->call = &mine;
	b->first = s->n_k * team->rank / team->size;
	b->last = s->n_k * (team->rank + 1) / team->size;
	for (size_t u = 0; u < tiles; u += b->count)
		run_group(b, u, tiles - u < b->count ? tiles - u : b->count);
	attn_barrier(team);
	if (team->rank > 0)
		return;
	for (size_t r = 1; r < team->size; r++)
		attn_merge(rows, s->d_v, out, s->d_v, lse, out + r * rows * s->d_v, s->d_v, lse + r * rows);
	for (size_t i = 0; i < rows; i++) {
		for (size_t e = 0; e < s->d_v; e++)
			((float *)c->out)[i * c->ldo + e] = out[i * s->d_v + e];
		if (c->lse)
			c->lse[i] = lse[i];
	}
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
	size_t tiles = tiles_of(s, call->kern->lanes), count = fits_l2 ? 1 : GROUP;
	size_t groups = (tiles + count - 1) / count;
	struct band b;

	band_init(&b, call, band, step);
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
