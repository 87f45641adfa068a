/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Blocks of keys, edges and the division of work for the tile kernels. */
#include "tile.h"

#include <stdatomic.h>

static size_t aligned(size_t floats)
{
	return (floats + 15) / 16 * 16;
}

size_t tile_scratch_bytes(size_t d, size_t d_v)
{
	size_t lanes = KERN_MAX_LANES;

	return sizeof(float) * (aligned(d * lanes) + aligned(d_v * lanes) + 2 * aligned(lanes) +
	                        (KERN_MAX_BLOCK + 16) * lanes);
}

void tile_init(struct tile *t, const struct attn_call *call, void *mem, size_t d, size_t d_v)
{
	size_t lanes = call->kern->lanes;
	float *at = mem;

	t->call = call;
	t->k.d = d;
	t->k.d_v = d_v;
	t->k.q = at;
	t->k.acc = at += aligned(d * lanes);
	t->k.max = at += aligned(d_v * lanes);
	t->k.sum = at += aligned(lanes);
	t->k.p = at + aligned(lanes);
	t->q0 = t->rows = t->turn = 0;
	t->turns = 1;
	t->next_q = t->own_out = NULL;
	t->step = call->kern->block;
}

void tile_load(struct tile *t, const float *q, size_t ldq, size_t rows)
{
	t->rows = rows;
	t->call->kern->tile_load(&t->k, q, ldq, rows, t->call->shape->scale * KERN_LOG2E);
}

/* What the step over n keys from row `at` of the source fetches for later. */
static void aim(struct tile *t, const struct tile_source *keys, size_t next, bool last)
{
	bool leave = last && t->next_q; /* else the next block follows this one */
	size_t element = keys->bf16 ? sizeof(uint16_t) : sizeof(float);

	t->k.next_k = leave ? t->next_q : (const char *)keys->k + next * keys->ldk * element;
	t->k.next_v = leave ? t->own_out : (const char *)keys->v + next * keys->ldv * element;
	if (keys->copied && !leave)
		t->k.next_k = NULL;
	t->k.turn = t->turn;
	t->k.turns = t->turns;
}

static void count_flops(const struct tile *t, size_t n)
{
	const struct attn_call *call = t->call;

	if (call->stats)
		call->stats->flops_executed += 2.0 * (double)(call->kern->lanes * n) * (double)(t->k.d + t->k.d_v);
}

/* n keys from row `at` of the source. */
static void step(struct tile *t, const struct tile_source *keys, size_t at, size_t n,
                 const struct kern_mask *mask, const float *bias, bool last)
{
	const struct attn_call *call = t->call;

	aim(t, keys, at + n, last);
	if (keys->bf16)
		keys->bf16->step(&t->k, (const uint16_t *)keys->k + at * keys->ldk, keys->ldk,
		                 keys->pairs + at / 2 * t->k.d_v, keys->ldv, n,
		                 call->shape->scale * KERN_LOG2E, mask, bias);
	else
		call->kern->tile_step(&t->k, (const float *)keys->k + at * keys->ldk, keys->ldk,
		                      (const float *)keys->v + at * keys->ldv, keys->ldv, n, mask, bias);
	count_flops(t, n);
}

/* The same for two tiles. */
static void step_pair(struct tile *const t[2], const struct tile_source *keys, size_t at, size_t n,
                      const struct kern_mask *const mask[2], const float *bias, bool last)
{
	const struct kern_tile *const both[2] = { &t[0]->k, &t[1]->k };

	aim(t[0], keys, at + n, last);
	aim(t[1], keys, at + n, last);
	t[0]->call->kern->tile_pair(both, (const float *)keys->k + at * keys->ldk, keys->ldk,
	                            (const float *)keys->v + at * keys->ldv, keys->ldv, n, mask, bias);
	count_flops(t[0], n);
	count_flops(t[1], n);
}

static void count_pairs(const struct tile *t, double pairs)
{
	if (t->call->stats)
		t->call->stats->pairs += pairs;
}

void tile_keys(struct tile *t, const float *k, size_t ldk, const float *v, size_t ldv, size_t n,
               const float *bias)
{
	const struct tile_source keys = { .k = k, .v = v, .ldk = ldk, .ldv = ldv };

	for (size_t j = 0; j < n; j += t->step) {
		size_t here = n - j < t->step ? n - j : t->step;
		step(t, &keys, j, here, NULL, bias ? bias + j : NULL, j + here == n);
	}
	count_pairs(t, (double)(n * t->rows));
}

void tile_keys_pair(struct tile *const t[2], const float *k, size_t ldk, const float *v, size_t ldv, size_t n,
                    const float *bias)
{
	const struct tile_source keys = { .k = k, .v = v, .ldk = ldk, .ldv = ldv };
	const struct kern_mask *const none[2] = { NULL, NULL };

	for (size_t j = 0; j < n; j += t[0]->step) {
		size_t here = n - j < t[0]->step ? n - j : t[0]->step;
		step_pair(t, &keys, j, here, none, bias ? bias + j : NULL, j + here == n);
	}
	count_pairs(t[0], (double)(n * (t[0]->rows + t[1]->rows)));
}

/* lo and hi of each lane, relative to key j; lanes without a query copy the
 * last one's, so that they never make an edge. */
static void relative(const struct tile *t, const size_t *lo, const size_t *hi, size_t j,
                     int32_t *rel_lo, int32_t *rel_hi)
{
	const int64_t far = 1 << 30;

	for (size_t r = 0; r < t->call->kern->lanes; r++) {
		size_t at = r < t->rows ? r : t->rows - 1;
		int64_t l = (int64_t)lo[at] - (int64_t)j, h = (int64_t)hi[at] - (int64_t)j;
		rel_lo[r] = (int32_t)(l < -far ? -far : l > far ? far : l);
		rel_hi[r] = (int32_t)(h < -far ? -far : h > far ? far : h);
	}
}

struct tile_edge tile_edge_of(const struct tile *t, const size_t *lo, const size_t *hi)
{
	struct tile_edge e = { .lo = lo, .hi = hi, .first = SIZE_MAX, .inner_last = SIZE_MAX };

	for (size_t r = 0; r < t->rows; r++) {
		e.inner_first = lo[r] > e.inner_first ? lo[r] : e.inner_first;
		e.inner_last = hi[r] < e.inner_last ? hi[r] : e.inner_last;
		if (lo[r] >= hi[r])
			continue;
		e.first = lo[r] < e.first ? lo[r] : e.first;
		e.last = hi[r] > e.last ? hi[r] : e.last;
		e.pairs += (double)(hi[r] - lo[r]);
	}
	return e;
}

/* The keys of [j, j + n) that some query sees; false: none. */
static bool clip(const struct tile_edge *e, size_t j, size_t n, size_t *begin, size_t *end)
{
	*begin = j > e->first ? j : e->first;
	*end = j + n < e->last ? j + n : e->last;
	return *begin < *end;
}

static bool whole(const struct tile_edge *e, size_t begin, size_t end)
{
	return begin >= e->inner_first && end <= e->inner_last;
}

void tile_edge_step(struct tile *t, const struct tile_edge *e, const struct tile_source *keys,
                    size_t j, size_t n, const float *bias)
{
	int32_t lo[KERN_MAX_LANES], hi[KERN_MAX_LANES];
	const struct kern_mask mask = { .lo = lo, .hi = hi };
	size_t begin, end;

	if (!clip(e, j, n, &begin, &end))
		return;
	if (keys->bf16) /* values are paired from the first row on */
		begin -= (begin - j) % 2;
	bool edge = !whole(e, begin, end);
	if (edge)
		relative(t, e->lo, e->hi, begin, lo, hi);
	step(t, keys, begin - j, end - begin, edge ? &mask : NULL, bias ? bias + begin - j : NULL,
	     end == e->last);
}

void tile_edge_pair(struct tile *const t[2], const struct tile_edge e[2], const struct tile_source *keys,
                    size_t j, size_t n)
{
	int32_t lo[2][KERN_MAX_LANES], hi[2][KERN_MAX_LANES];
	struct kern_mask mask[2];
	const struct kern_mask *masks[2] = { NULL, NULL };
	size_t begin[2], end[2];
	bool some[2] = { clip(&e[0], j, n, &begin[0], &end[0]), clip(&e[1], j, n, &begin[1], &end[1]) };

	if (keys->bf16 || !some[0] || !some[1] || begin[0] != begin[1] || end[0] != end[1]) {
		tile_edge_step(t[0], &e[0], keys, j, n, NULL);
		tile_edge_step(t[1], &e[1], keys, j, n, NULL);
		return;
	}
	for (size_t i = 0; i < 2; i++) {
		if (whole(&e[i], begin[i], end[i]))
			continue;
		relative(t[i], e[i].lo, e[i].hi, begin[i], lo[i], hi[i]);
		mask[i] = (struct kern_mask){ .lo = lo[i], .hi = hi[i] };
		masks[i] = &mask[i];
	}
	step_pair(t, keys, begin[0] - j, end[0] - begin[0], masks, NULL, end[0] == e[0].last && end[1] == e[1].last);
}

void tile_band_of(struct tile *t, const float *k, size_t ldk, const float *v, size_t ldv,
                  const size_t *lo, const size_t *hi, const float *bias)
{
	struct tile_edge e = tile_edge_of(t, lo, hi);

	for (size_t j = e.first; j < e.last; j += t->step) {
		const struct tile_source keys = { .k = k + j * ldk, .v = v + j * ldv, .ldk = ldk, .ldv = ldv };
		tile_edge_step(t, &e, &keys, j, t->step, bias ? bias + j : NULL);
	}
	count_pairs(t, e.pairs);
}

void tile_band(struct tile *t, const size_t *lo, const size_t *hi)
{
	const struct attn_call *c = t->call;

	tile_band_of(t, c->k, c->ldk, c->v, c->ldv, lo, hi, NULL);
}

void tile_bits(struct tile *t, const float *k, size_t ldk, const float *v, size_t ldv, size_t n,
               const uint32_t *bits, const float *bias)
{
	const struct tile_source keys = { .k = k, .v = v, .ldk = ldk, .ldv = ldv };
	double pairs = 0;

	for (size_t j = 0; j < n; j += t->step) {
		size_t here = n - j < t->step ? n - j : t->step;
		struct kern_mask mask = { .bits = bits + j };
		step(t, &keys, j, here, &mask, bias ? bias + j : NULL, j + here == n);
	}
	for (size_t j = 0; t->call->stats && j < n; j++)
		pairs += (double)__builtin_popcount(bits[j] & ((1u << t->rows) - 1));
	count_pairs(t, pairs);
}

void tile_store(const struct tile *t, float *out, size_t ldo, float *lse)
{
	t->call->kern->tile_store(&t->k, out, ldo, lse, t->rows);
}

void tile_resume(struct tile *t, const float *out, size_t ldo, const float *lse)
{
	size_t lanes = t->call->kern->lanes;

	t->call->kern->transpose(t->k.acc, lanes, out, ldo, t->rows, t->k.d_v);
	for (size_t r = 0; r < t->rows; r++) {
		bool empty = !(lse[r] > -INFINITY);
		t->k.max[r] = empty ? KERN_NO_MAX : lse[r] * KERN_LOG2E;
		t->k.sum[r] = empty ? 0 : 1;
		for (size_t c = 0; empty && c < t->k.d_v; c++)
			t->k.acc[c * lanes + r] = 0;
	}
}

static void run_tile(struct tile *t, size_t index, tile_pattern *pattern, const void *ctx,
                     bool resume)
{
	const struct attn_call *c = t->call;
	size_t lanes = c->kern->lanes, q0 = index * lanes;
	size_t rows = c->shape->n_q - q0 < lanes ? c->shape->n_q - q0 : lanes;
	float *out = (float *)c->out + q0 * c->ldo, *lse = c->lse ? c->lse + q0 : NULL;

	t->q0 = q0;
	t->next_q = (const float *)c->q + (q0 + lanes < c->shape->n_q ? q0 + lanes : q0) * c->ldq;
	t->own_out = out;
	tile_load(t, (const float *)c->q + q0 * c->ldq, c->ldq, rows);
	if (resume)
		tile_resume(t, out, c->ldo, lse);
	pattern(t, ctx);
	tile_store(t, out, c->ldo, lse);
}

void tile_run(const struct attn_call *call, struct attn_team *team, tile_pattern *pattern,
              const void *ctx, bool resume)
{
	atomic_size_t *next = call->shared;
	size_t lanes = call->kern->lanes, tiles = (call->shape->n_q + lanes - 1) / lanes;
	/* With a team, from the last tile down: causal tiles grow with the index. */
	bool down = team->size > 1 && call->shape->causal;
	struct tile t;

	tile_init(&t, call, call->scratch, call->shape->d, call->shape->d_v);
	if (team->rank == 0)
		atomic_store(next, 0);
	attn_barrier(team);
	for (size_t i; (i = atomic_fetch_add(next, 1)) < tiles;)
		run_tile(&t, down ? tiles - 1 - i : i, pattern, ctx, resume);
	attn_barrier(team);
}

void tile_run_keys(const struct attn_call *call, struct attn_team *team, const float *k, size_t ldk,
                   const float *v, size_t ldv, size_t n, const float *bias)
{
	const struct attn_shape *s = call->shape;
	size_t lanes = call->kern->lanes, pairs = (s->n_q + 2 * lanes - 1) / (2 * lanes);
	struct tile tile[2], *const both[2] = { &tile[0], &tile[1] };

	for (size_t i = 0; i < 2; i++) {
		tile_init(&tile[i], call, (char *)call->scratch + i * tile_scratch_bytes(s->d, s->d_v), s->d, s->d_v);
		tile[i].turn = i;
		tile[i].turns = 2;
	}
	for (size_t u = team->rank; u < pairs; u += team->size) {
		size_t count = 0;
		for (size_t q0 = u * 2 * lanes; count < 2 && q0 < s->n_q; q0 += lanes, count++) {
			struct tile *t = &tile[count];
			t->q0 = q0;
			tile_load(t, (const float *)call->q + q0 * call->ldq, call->ldq, s->n_q - q0 < lanes ? s->n_q - q0 : lanes);
		}
		if (count == 2)
			tile_keys_pair(both, k, ldk, v, ldv, n, bias);
		else
			tile_keys(tile, k, ldk, v, ldv, n, bias);
		for (size_t i = 0; i < count; i++)
			tile_store(&tile[i], (float *)call->out + tile[i].q0 * call->ldo, call->ldo,
			           call->lse ? call->lse + tile[i].q0 : NULL);
	}
	attn_barrier(team);
}

void attn_merge(size_t rows, size_t d_v, float *out, size_t ldo, float *lse, const float *out2,
                size_t ldo2, const float *lse2)
{
	for (size_t i = 0; i < rows; i++) {
		float top = lse[i] > lse2[i] ? lse[i] : lse2[i];
		if (!(top > -INFINITY))
			continue;
		float a = expf(lse[i] - top), b = expf(lse2[i] - top), sum = a + b;
		for (size_t c = 0; c < d_v; c++)
			out[i * ldo + c] = (a * out[i * ldo + c] + b * out2[i * ldo2 + c]) / sum;
		lse[i] = top + logf(sum);
	}
}
