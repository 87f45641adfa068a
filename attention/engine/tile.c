/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Blocks of keys, edges and the division of work for the tile kernels. */
#include "tile.h"

#include <stdatomic.h>

static size_t aligned(size_t floats)
{
	return (floats + 15) / 16 * 16;
}

static size_t half_bytes(size_t d, size_t d_v)
{
	size_t lanes = KERN_MAX_LANES;

	return sizeof(float) * (aligned(d * lanes) + aligned(d_v * lanes) + 2 * aligned(lanes) +
	                        (KERN_MAX_BLOCK + 16) * lanes);
}

size_t tile_scratch_bytes(size_t d, size_t d_v)
{
	return 2 * half_bytes(d, d_v);
}

static struct kern_tile half_at(float *mem, size_t lanes, size_t d, size_t d_v)
{
	struct kern_tile k = { .d = d, .d_v = d_v, .q = mem };

	k.acc = k.q + aligned(d * lanes);
	k.max = k.acc + aligned(d_v * lanes);
	k.sum = k.max + aligned(lanes);
	k.p = k.sum + aligned(lanes);
	return k;
}

void tile_init(struct tile *t, const struct attn_call *call, void *mem, size_t d, size_t d_v)
{
	size_t lanes = call->kern->lanes;

	*t = (struct tile){ .call = call, .turns = 1, .step = call->kern->block };
	t->k = half_at(mem, lanes, d, d_v);
	t->more = half_at((float *)((char *)mem + half_bytes(d, d_v)), lanes, d, d_v);
}

size_t tile_width(const struct kern *kern, size_t n, const struct attn_team *team)
{
	size_t most = 2 * kern->lanes;

	return (n + most - 1) / most < team->size ? kern->lanes : most;
}

/* ---- halves: the kernel's tiles ---- */

static size_t halves(const struct tile *t)
{
	return t->rows > t->call->kern->lanes ? 2 : 1;
}

static struct kern_tile *half(struct tile *t, size_t h)
{
	return h ? &t->more : &t->k;
}

/* Queries of half h, and the number of the first. */
static size_t half_rows(const struct tile *t, size_t h)
{
	size_t lanes = t->call->kern->lanes;

	return h ? t->rows - lanes : t->rows < lanes ? t->rows : lanes;
}

static size_t half_first(const struct tile *t, size_t h)
{
	return h * t->call->kern->lanes;
}

void tile_load(struct tile *t, const float *q, size_t ldq, size_t rows)
{
	t->rows = rows;
	for (size_t h = 0; h < halves(t); h++)
		t->call->kern->tile_load(half(t, h), q + half_first(t, h) * ldq, ldq, half_rows(t, h),
		                         t->call->shape->scale * KERN_LOG2E);
}

void tile_load_bf16(struct tile *t, const struct kern_bf16 *bf16, const uint16_t *q, size_t ldq, size_t rows)
{
	t->rows = rows;
	for (size_t h = 0; h < halves(t); h++)
		bf16->load(half(t, h), q + half_first(t, h) * ldq, ldq, half_rows(t, h));
}

/* What the step over n keys from row `at` of the source fetches for later. */
static void aim(struct tile *t, const struct tile_source *keys, size_t next, bool last)
{
	bool leave = last && t->next_q; /* else the next block follows this one */
	size_t element = keys->bf16 ? sizeof(uint16_t) : sizeof(float), count = halves(t);

	for (size_t h = 0; h < count; h++) {
		struct kern_tile *k = half(t, h);
		k->next_k = leave ? t->next_q : (const char *)keys->k + next * keys->ldk * element;
		k->next_v = leave ? t->own_out : (const char *)keys->v + next * keys->ldv * element;
		if (keys->copied && !leave)
			k->next_k = NULL;
		k->turn = count * t->turn + h;
		k->turns = count * t->turns;
	}
}

static void count_flops(const struct tile *t, size_t tiles, size_t n)
{
	const struct attn_call *call = t->call;

	if (call->stats)
		call->stats->flops_executed += 2.0 * (double)(tiles * call->kern->lanes * n) *
		                               (double)(t->k.d + t->k.d_v);
}

/* n keys from row `at` of the source, for one half. */
static void step_half(struct tile *t, size_t h, const struct tile_source *keys, size_t at, size_t n,
                      const struct kern_mask *mask, const float *bias, bool last)
{
	const struct attn_call *call = t->call;

	aim(t, keys, at + n, last);
	if (keys->bf16)
		keys->bf16->step(half(t, h), (const uint16_t *)keys->k + at * keys->ldk, keys->ldk,
		                 keys->pairs + at / 2 * t->k.d_v, keys->ldv, n,
		                 call->shape->scale * KERN_LOG2E, mask, bias);
	else
		call->kern->tile_step(half(t, h), (const float *)keys->k + at * keys->ldk, keys->ldk,
		                      (const float *)keys->v + at * keys->ldv, keys->ldv, n, mask, bias);
	count_flops(t, 1, n);
}

/* The same for all queries; a mask a half. */
static void step(struct tile *t, const struct tile_source *keys, size_t at, size_t n,
                 const struct kern_mask *const mask[2], const float *bias, bool last)
{
	const struct kern_tile *const both[2] = { &t->k, &t->more };

	if (halves(t) == 1 || keys->bf16) {
		for (size_t h = 0; h < halves(t); h++)
			step_half(t, h, keys, at, n, mask[h], bias, last);
		return;
	}
	aim(t, keys, at + n, last);
	t->call->kern->tile_pair(both, (const float *)keys->k + at * keys->ldk, keys->ldk,
	                         (const float *)keys->v + at * keys->ldv, keys->ldv, n, mask, bias);
	count_flops(t, 2, n);
}

/* ---- which keys ---- */

static const struct kern_mask *const no_masks[2] = { NULL, NULL };

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
		step(t, &keys, j, here, no_masks, bias ? bias + j : NULL, j + here == n);
	}
	count_pairs(t, (double)(n * t->rows));
}

static struct tile_span span_of(const size_t *lo, const size_t *hi, size_t rows)
{
	struct tile_span s = { .first = SIZE_MAX, .inner_last = SIZE_MAX };

	for (size_t r = 0; r < rows; r++) {
		s.inner_first = lo[r] > s.inner_first ? lo[r] : s.inner_first;
		s.inner_last = hi[r] < s.inner_last ? hi[r] : s.inner_last;
		if (lo[r] >= hi[r])
			continue;
		s.first = lo[r] < s.first ? lo[r] : s.first;
		s.last = hi[r] > s.last ? hi[r] : s.last;
	}
	return s;
}

struct tile_edge tile_edge_of(const struct tile *t, const size_t *lo, const size_t *hi)
{
	struct tile_edge e = { .lo = lo, .hi = hi, .first = SIZE_MAX };

	for (size_t h = 0; h < halves(t); h++) {
		size_t r = half_first(t, h);
		e.half[h] = span_of(lo + r, hi + r, half_rows(t, h));
		e.first = e.half[h].first < e.first ? e.half[h].first : e.first;
		e.last = e.half[h].last > e.last ? e.half[h].last : e.last;
	}
	for (size_t r = 0; r < t->rows; r++)
		e.pairs += hi[r] > lo[r] ? (double)(hi[r] - lo[r]) : 0;
	return e;
}

/* A half's part of a block, and what it hides. */
struct part {
	size_t begin, end; /* begin >= end: nothing */
	const struct kern_mask *mask; /* of the next, or NULL */
	struct kern_mask banded;
	int32_t lo[KERN_MAX_LANES], hi[KERN_MAX_LANES];
};

/* lo and hi of each lane, relative to key j; lanes without a query copy the
 * last one's, so that they never make an edge. */
static void relative(const struct tile *t, const struct tile_edge *e, size_t h, size_t j, struct part *p)
{
	const int64_t far = 1 << 30;
	const size_t *lo = e->lo + half_first(t, h), *hi = e->hi + half_first(t, h), rows = half_rows(t, h);

	for (size_t r = 0; r < t->call->kern->lanes; r++) {
		size_t at = r < rows ? r : rows - 1;
		int64_t l = (int64_t)lo[at] - (int64_t)j, g = (int64_t)hi[at] - (int64_t)j;
		p->lo[r] = (int32_t)(l < -far ? -far : l > far ? far : l);
		p->hi[r] = (int32_t)(g < -far ? -far : g > far ? far : g);
	}
	p->banded = (struct kern_mask){ .lo = p->lo, .hi = p->hi };
	p->mask = &p->banded;
}

static void find_part(const struct tile *t, const struct tile_edge *e, size_t h, bool paired, size_t j,
                      size_t n, struct part *p)
{
	const struct tile_span *s = &e->half[h];

	p->begin = j > s->first ? j : s->first;
	p->end = j + n < s->last ? j + n : s->last;
	p->mask = NULL;
	if (p->begin >= p->end)
		return;
	if (paired) /* values are paired from the first row on */
		p->begin -= (p->begin - j) % 2;
	if (p->begin < s->inner_first || p->end > s->inner_last)
		relative(t, e, h, p->begin, p);
}

void tile_edge_step(struct tile *t, const struct tile_edge *e, const struct tile_source *keys,
                    size_t j, size_t n, const float *bias)
{
	struct part part[2];
	size_t count = halves(t);

	for (size_t h = 0; h < count; h++)
		find_part(t, e, h, keys->bf16 != NULL, j, n, &part[h]);
	bool alike = count == 2 && part[0].begin == part[1].begin && part[0].end == part[1].end;
	if (alike && part[0].begin < part[0].end) {
		const struct kern_mask *const masks[2] = { part[0].mask, part[1].mask };
		size_t begin = part[0].begin, end = part[0].end;
		step(t, keys, begin - j, end - begin, masks, bias ? bias + begin - j : NULL, end == e->last);
		return;
	}
	for (size_t h = 0; h < count; h++)
		if (part[h].begin < part[h].end)
			step_half(t, h, keys, part[h].begin - j, part[h].end - part[h].begin, part[h].mask,
			          bias ? bias + part[h].begin - j : NULL, part[h].end == e->last);
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
	uint32_t upper[KERN_MAX_BLOCK] = { 0 }; /* bits of the second half */
	double pairs = 0;

	for (size_t j = 0; j < n; j += t->step) {
		size_t here = n - j < t->step ? n - j : t->step;
		const struct kern_mask mask[2] = { { .bits = bits + j }, { .bits = upper } };
		const struct kern_mask *const masks[2] = { &mask[0], &mask[1] };
		for (size_t i = 0; halves(t) == 2 && i < here; i++)
			upper[i] = bits[j + i] >> half_first(t, 1);
		step(t, &keys, j, here, masks, bias ? bias + j : NULL, j + here == n);
	}
	for (size_t j = 0; t->call->stats && j < n; j++)
		pairs += (double)__builtin_popcount(bits[j] & tile_row_bits(t->rows));
	count_pairs(t, pairs);
}

/* ---- results ---- */

void tile_store(struct tile *t, float *out, size_t ldo, float *lse)
{
	for (size_t h = 0; h < halves(t); h++) {
		size_t r = half_first(t, h);
		t->call->kern->tile_store(half(t, h), out + r * ldo, ldo, lse ? lse + r : NULL, half_rows(t, h));
	}
}

static void resume_half(const struct kern *kern, struct kern_tile *k, const float *out, size_t ldo,
                        const float *lse, size_t rows)
{
	kern->transpose(k->acc, kern->lanes, out, ldo, rows, k->d_v);
	for (size_t r = 0; r < rows; r++) {
		bool empty = !(lse[r] > -INFINITY);
		k->max[r] = empty ? KERN_NO_MAX : lse[r] * KERN_LOG2E;
		k->sum[r] = empty ? 0 : 1;
		for (size_t c = 0; empty && c < k->d_v; c++)
			k->acc[c * kern->lanes + r] = 0;
	}
}

void tile_resume(struct tile *t, const float *out, size_t ldo, const float *lse)
{
	for (size_t h = 0; h < halves(t); h++) {
		size_t r = half_first(t, h);
		resume_half(t->call->kern, half(t, h), out + r * ldo, ldo, lse + r, half_rows(t, h));
	}
}

static void run_tile(struct tile *t, size_t q0, size_t width, tile_pattern *pattern, const void *ctx,
                     bool resume)
{
	const struct attn_call *c = t->call;
	size_t rows = c->shape->n_q - q0 < width ? c->shape->n_q - q0 : width;
	float *out = (float *)c->out + q0 * c->ldo, *lse = c->lse ? c->lse + q0 : NULL;

	t->q0 = q0;
	t->next_q = (const float *)c->q + (q0 + width < c->shape->n_q ? q0 + width : q0) * c->ldq;
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
	size_t width = tile_width(call->kern, call->shape->n_q, team), tiles = (call->shape->n_q + width - 1) / width;
	/* With a team, from the last tile down: causal tiles grow with the index. */
	bool down = team->size > 1 && call->shape->causal;
	struct tile t;

	tile_init(&t, call, call->scratch, call->shape->d, call->shape->d_v);
	if (team->rank == 0)
		atomic_store(next, 0);
	attn_barrier(team);
	for (size_t i; (i = atomic_fetch_add(next, 1)) < tiles;)
		run_tile(&t, (down ? tiles - 1 - i : i) * width, width, pattern, ctx, resume);
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
