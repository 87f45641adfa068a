/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The keys and values of past tokens, for decoding: of all of them, or of the
 * first `fixed` and the latest `ring` tokens, in rows that later ones replace.
 *
 * A variant whose newest token sees some runs of tokens is a struct cache_pattern,
 * and its decode slot a struct cache_decode.
 */
#ifndef ENGINE_CACHE_H
#define ENGINE_CACHE_H

#include "layout.h"
#include "single.h"
#include "work.h"

struct cache {
	enum attn_type type;
	size_t d, d_v;
	size_t fixed, ring;
	char *k, *v; /* (fixed + ring) x d, x d_v */
};

/* Lays out rows for tokens of that shape, its n_k at most. With a layout that only
 * counts, the cache can not be used. */
struct cache cache_at(struct layout *l, const struct attn_shape *s, size_t fixed, size_t ring);

/* Takes up the tokens of the call. */
void cache_append(const struct cache *cache, const struct attn_decode_call *c);

/* A row that is not taken up with its token. */
void cache_put(const struct cache *cache, size_t row, const void *k, const void *v);

/* Row of a token that is kept. */
size_t cache_row(const struct cache *cache, size_t token);

/* Keys and values of a row, f32 only. */
static inline float *cache_key(const struct cache *cache, size_t row)
{
	return (float *)(void *)cache->k + row * cache->d;
}

static inline float *cache_value(const struct cache *cache, size_t row)
{
	return (float *)(void *)cache->v + row * cache->d_v;
}

/* Tokens first + u period + i for u < times, i < count. */
struct cache_run {
	size_t first, count, times, period;
};

static inline struct cache_run cache_band(size_t lo, size_t hi)
{
	return (struct cache_run){ .first = lo, .count = lo < hi ? hi - lo : 0, .times = 1 };
}

static inline size_t cache_tokens(const struct cache_run *run, size_t n)
{
	size_t sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += run[i].count * run[i].times;
	return sum;
}

/* The loaded queries see a rank's share of the runs: an equal part of their tokens. */
void cache_look(struct single *s, const struct cache *cache, const struct cache_run *run, size_t n,
                float bias, const struct attn_team *team);

/* ---- patterns ---- */

enum { CACHE_BANDS = 3 };

struct cache_pattern {
	work_band *band[CACHE_BANDS]; /* keys of token i, disjoint; NULL: no more */
	/* Or, in their place, any runs: how many it has written into run. */
	size_t (*runs)(const struct attn_shape *s, const double *arg, size_t i,
	               struct cache_run run[CACHE_BANDS]);
	bool by_head; /* they depend on the head */
	size_t fixed, ring; /* what to keep; both 0: everything */
};

struct cache_decode {
	struct attn_decode slot;
	struct cache_pattern (*pattern)(const struct attn_shape *s, const double *arg);
};

/* What all such slots have alike. */
#define CACHE_DECODE                                                               \
	.shares = true, .splits = true, .plan = cache_decode_plan,                 \
	.append = cache_decode_append, .step = cache_decode_step

const char *cache_decode_plan(const struct attn_decode *slot, const struct attn_shape *s, const double *arg,
                              size_t queries, size_t ranks, struct attn_decode_plan *plan);
void cache_decode_append(const struct attn_decode_call *c);
void cache_decode_step(const struct attn_decode_call *c, struct attn_team *team);

/* The work of a step whose queries see `pairs` keys in all, of which `read` rows come
 * from memory: fills the plan but for its sizes. */
void cache_work(const struct attn_shape *s, size_t queries, double pairs, double read,
                struct attn_decode_plan *plan);

/* Bytes of a step's own rows: k, v, q and out, and of the row kept. */
double cache_io_bytes(const struct attn_shape *s, size_t queries);

#endif
