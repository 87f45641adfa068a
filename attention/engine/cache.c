/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Rows of tokens, and runs of them as runs of rows. */
#include "cache.h"

#include "half.h"

#include <string.h>

struct cache cache_at(struct layout *l, const struct attn_shape *s, size_t fixed, size_t ring)
{
	struct cache cache = { .type = s->type, .d = s->d, .d_v = s->d_v, .fixed = fixed, .ring = ring };

	if (fixed + ring >= s->n_k) {
		cache.fixed = s->n_k;
		cache.ring = 0;
	}
	size_t rows = cache.fixed + cache.ring, element = half_element_bytes(s->type);
	cache.k = layout_take(l, rows * s->d * element);
	cache.v = layout_take(l, rows * s->d_v * element);
	return cache;
}

size_t cache_row(const struct cache *cache, size_t token)
{
	return token < cache->fixed ? token : cache->fixed + (token - cache->fixed) % cache->ring;
}

void cache_put(const struct cache *cache, size_t row, const void *k, const void *v)
{
	size_t element = half_element_bytes(cache->type);
	size_t k_bytes = cache->d * element, v_bytes = cache->d_v * element;

	memcpy(cache->k + row * k_bytes, k, k_bytes);
	memcpy(cache->v + row * v_bytes, v, v_bytes);
}

void cache_append(const struct cache *cache, const struct attn_decode_call *c)
{
	size_t end = c->length + c->tokens;

	for (size_t i = 0; i < c->tokens; i++) {
		size_t token = c->length + i;
		if (token >= cache->fixed && token + cache->ring < end)
			continue; /* replaced before anyone sees it */
		cache_put(cache, cache_row(cache, token), half_row(cache->type, c->k, c->ldk, i),
		          half_row(cache->type, c->v, c->ldv, i));
	}
}

/* n tokens, `step` apart. */
static void look(struct single *s, const struct cache *cache, size_t token, size_t n, size_t step, float bias)
{
	while (n > 0) {
		size_t row = cache_row(cache, token);
		size_t end = token < cache->fixed ? cache->fixed : cache->fixed + cache->ring;
		size_t here = (end - row + step - 1) / step; /* rows in order from this one on */
		here = here < n ? here : n;
		single_keys(s, half_row(cache->type, cache->k, cache->d, row), cache->d * step,
		            half_row(cache->type, cache->v, cache->d_v, row), cache->d_v * step, here, bias);
		token += here * step;
		n -= here;
	}
}

/* Tokens [a, b) of a run, counted from its first. */
static void look_run(struct single *s, const struct cache *cache, const struct cache_run *run, size_t a,
                     size_t b, float bias)
{
	if (run->count == 1) {
		look(s, cache, run->first + a * run->period, b - a, run->times > 1 ? run->period : 1, bias);
		return;
	}
	while (a < b) {
		size_t u = a / run->count, i = a % run->count;
		size_t n = run->count - i < b - a ? run->count - i : b - a;
		look(s, cache, run->first + u * run->period + i, n, 1, bias);
		a += n;
	}
}

void cache_look(struct single *s, const struct cache *cache, const struct cache_run *run, size_t n,
                float bias, const struct attn_team *team)
{
	size_t all = cache_tokens(run, n), before = 0;
	size_t a = work_part(all, team->rank, team->size), b = work_part(all, team->rank + 1, team->size);

	for (size_t i = 0; i < n; i++) {
		size_t tokens = run[i].count * run[i].times;
		size_t lo = a > before ? a - before : 0, hi = b > before ? b - before : 0;
		hi = hi < tokens ? hi : tokens;
		if (lo < hi)
			look_run(s, cache, &run[i], lo, hi, bias);
		before += tokens;
	}
}

/* ---- patterns ---- */

static struct cache_pattern pattern_of(const struct attn_decode *slot, const struct attn_shape *s,
                                       const double *arg)
{
	return ((const struct cache_decode *)slot)->pattern(s, arg);
}

static struct cache pattern_cache(struct layout *l, const struct attn_shape *s, const struct cache_pattern *p)
{
	bool all = p->fixed == 0 && p->ring == 0;

	return cache_at(l, s, all ? s->n_k : p->fixed, p->ring);
}

static size_t runs_of(const struct attn_shape *s, const double *arg, const struct cache_pattern *p, size_t i,
                      struct cache_run run[CACHE_BANDS])
{
	size_t n = 0, lo, hi;

	if (p->runs)
		return p->runs(s, arg, i, run);
	for (; n < CACHE_BANDS && p->band[n]; n++) {
		p->band[n](s, arg, i, &lo, &hi);
		run[n] = cache_band(lo, hi);
	}
	return n;
}

double cache_io_bytes(const struct attn_shape *s, size_t queries)
{
	return (double)((2 + queries) * (s->d + s->d_v) * half_element_bytes(s->type));
}

void cache_work(const struct attn_shape *s, size_t queries, double pairs, double read,
                struct attn_decode_plan *plan)
{
	work_softmax(s, pairs, pairs, &plan->step);
	plan->step.bytes = read * (double)((s->d + s->d_v) * half_element_bytes(s->type)) + cache_io_bytes(s, queries);
}

const char *cache_decode_plan(const struct attn_decode *slot, const struct attn_shape *s, const double *arg,
                              size_t queries, size_t ranks, struct attn_decode_plan *plan)
{
	const struct cache_pattern p = pattern_of(slot, s, arg);
	struct layout past = { .base = NULL };
	struct cache_run run[CACHE_BANDS];
	struct attn_shape shape = *s;
	double read = 0;

	for (size_t r = 0; r < (p.by_head ? queries : 1); r++, shape.head++)
		read += (double)cache_tokens(run, runs_of(&shape, arg, &p, s->n_k - 1, run));
	cache_work(s, queries, p.by_head ? read : read * (double)queries, read, plan);
	pattern_cache(&past, s, &p);
	plan->past = past.used;
	plan->step.shared = single_shared_bytes(s->d_v, queries, ranks);
	plan->step.scratch = single_scratch_bytes(s->type, s->d, s->d_v, queries);
	return NULL;
}

void cache_decode_append(const struct attn_decode_call *c)
{
	const struct cache_pattern p = pattern_of(c->slot, c->shape, c->arg);
	struct layout past = { .base = c->past };
	struct cache cache = pattern_cache(&past, c->shape, &p);

	cache_append(&cache, c);
}

void cache_decode_step(const struct attn_decode_call *c, struct attn_team *team)
{
	const struct cache_pattern p = pattern_of(c->slot, c->shape, c->arg);
	struct layout past = { .base = c->past };
	struct attn_shape shape = *c->shape;
	struct cache cache = pattern_cache(&past, c->shape, &p);
	struct cache_run run[CACHE_BANDS];
	struct single s;

	if (team->rank == 0)
		cache_append(&cache, c);
	single_init(&s, c, c->scratch, shape.type, shape.d, shape.d_v);
	single_load(&s, shape.scale);
	attn_barrier(team);
	for (size_t r = 0; r < (p.by_head ? c->queries : 1); r++, shape.head++) {
		if (p.by_head)
			single_only(&s, r);
		size_t n = runs_of(&shape, c->arg, &p, c->length, run);
		cache_look(&s, &cache, run, n, 0, team);
	}
	single_finish(&s, team, c->shared);
}
