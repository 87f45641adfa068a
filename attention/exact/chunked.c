/* SPDX-License-Identifier: BSD-3-Clause
 *
 * chunked: memory-efficient attention in two levels.
 *
 * For a chunk of queries every chunk of keys is summarised on its own,
 *
 *     (m_c = max_j s_ij,  l_c = sum_j e^(s_ij - m_c),  o_c = sum_j e^(s_ij - m_c) v_j),
 *
 * and the summaries are merged at the end with the largest m: O(sqrt n) memory
 * with key chunks of sqrt n, where flash keeps one running summary. Time
 * n_q n_k (d + d_v). Rabe, Staats 2021, arXiv 2112.05682. Summaries are kept
 * normalised, (o_c / l_c, m_c + ln l_c). The last chunk is short where the
 * length is not a multiple (the published code shifts it back and counts its
 * keys twice); chunks wholly in the future are skipped.
 */
#include "../engine/cache.h"
#include "../engine/tile.h"
#include "../engine/work.h"
#include "../oracle/oracle.h"

#include <string.h>

enum { QUERY_CHUNK, KEY_CHUNK };

static const struct attn_param params[] = {
	{ "query_chunk", "queries a chunk", ATTN_INT, 1024, 1, 1 << 24, NULL },
	{ "key_chunk", "keys a chunk", ATTN_INT, 4096, 1, 1 << 24, NULL },
	{ 0 },
};

static size_t key_chunks(const struct attn_shape *s, const double *arg)
{
	size_t chunk = (size_t)arg[KEY_CHUNK];

	return s->n_k ? (s->n_k + chunk - 1) / chunk : 1;
}

static size_t query_chunk(const struct attn_shape *s, const double *arg)
{
	size_t chunk = (size_t)arg[QUERY_CHUNK];

	return chunk < s->n_q ? chunk : s->n_q;
}

static const char *const cases[] = { "query_chunk=24:key_chunk=10", "query_chunk=1:key_chunk=1", NULL };

static const char *plan(const struct attn_shape *s, const double *arg, size_t ranks,
                        struct attn_plan *p)
{
	(void)ranks;
	work_softmax(s, work_visible_pairs(s), work_tiled_pairs(s, query_chunk(s, arg)), p);
	/* One summary a query and key chunk: d_v values and the log-sum-exp. */
	p->shared = key_chunks(s, arg) * query_chunk(s, arg) * (s->d_v + 1) * sizeof(float);
	p->scratch = tile_scratch_bytes(s->d, s->d_v);
	return NULL;
}

/* Summary of queries [q0, q0 + rows) over keys [k0, k1): rows of `summary`. */
static void summarise(struct tile *t, size_t q0, size_t rows, size_t k0, size_t k1, float *summary,
                      float *lse)
{
	const struct attn_call *c = t->call;
	size_t lo[TILE_ROWS], hi[TILE_ROWS];

	for (size_t r = 0; r < rows; r++) {
		size_t end = tile_visible(c->shape, q0 + r);
		lo[r] = k0;
		hi[r] = end < k1 ? end : k1;
	}
	tile_load(t, (const float *)c->q + q0 * c->ldq, c->ldq, rows);
	tile_band(t, lo, hi);
	tile_store(t, summary, c->shape->d_v, lse);
}

/* out = sum_c e^(lse_c - top) o_c / sum_c e^(lse_c - top) for one query. */
static void merge(const struct attn_call *c, size_t i, const float *summary, const float *lse,
                  size_t chunks, size_t stride)
{
	size_t d_v = c->shape->d_v;
	float *out = (float *)c->out + i * c->ldo, top = -INFINITY, sum = 0;

	for (size_t u = 0; u < chunks; u++)
		top = fmaxf(top, lse[u * stride]);
	memset(out, 0, d_v * sizeof *out);
	for (size_t u = 0; top > -INFINITY && u < chunks; u++) {
		float weight = expf(lse[u * stride] - top);
		c->kern->axpy(out, weight, summary + u * stride * d_v, d_v);
		sum += weight;
	}
	if (sum > 0)
		c->kern->scale(out, 1 / sum, d_v);
	if (c->lse)
		c->lse[i] = top + logf(sum);
}

/* Ranks take tiles of a query chunk in turn; a tile's summaries are its own. */
static void forward(const struct attn_call *c, struct attn_team *team)
{
	const struct attn_shape *s = c->shape;
	size_t stride = query_chunk(s, c->arg), chunks = key_chunks(s, c->arg);
	size_t key_chunk = (size_t)c->arg[KEY_CHUNK], width = tile_width(c->kern, stride, team);
	float *summary = c->shared, *lse = summary + chunks * stride * s->d_v;
	struct tile t;

	tile_init(&t, c, c->scratch, s->d, s->d_v);
	for (size_t first = 0; first < s->n_q; first += stride) {
		size_t end = s->n_q - first < stride ? s->n_q : first + stride;
		for (size_t q0 = first + team->rank * width; q0 < end; q0 += team->size * width) {
			size_t rows = end - q0 < width ? end - q0 : width;
			for (size_t u = 0; u < chunks; u++) {
				size_t at = u * stride + q0 - first, k1 = (u + 1) * key_chunk;
				summarise(&t, q0, rows, u * key_chunk, k1 < s->n_k ? k1 : s->n_k,
				          summary + at * s->d_v, lse + at);
			}
			for (size_t r = 0; r < rows; r++) {
				size_t at = q0 - first + r;
				merge(c, q0 + r, summary + at * s->d_v, lse + at, chunks, stride);
			}
		}
	}
}

/* ---- decoding: one query chunk, summaries of the cache ---- */

static const char *decode_plan(const struct attn_decode *slot, const struct attn_shape *s, const double *arg,
                               size_t queries, size_t ranks, struct attn_decode_plan *p)
{
	struct layout past = { .base = NULL };

	(void)slot;
	(void)ranks;
	cache_work(s, queries, (double)(queries * s->n_k), (double)s->n_k, p);
	cache_at(&past, s, s->n_k, 0);
	p->past = past.used;
	p->step.shared = key_chunks(s, arg) * queries * (s->d_v + 1) * sizeof(float);
	p->step.scratch = single_scratch_bytes(s->type, s->d, s->d_v, queries);
	return NULL;
}

static void decode_append(const struct attn_decode_call *c)
{
	struct layout past = { .base = c->past };
	struct cache cache = cache_at(&past, c->shape, c->shape->n_k, 0);

	cache_append(&cache, c);
}

/* Ranks take key chunks in turn. */
static void decode_step(const struct attn_decode_call *c, struct attn_team *team)
{
	const struct attn_shape *s = c->shape;
	struct layout past = { .base = c->past };
	struct cache cache = cache_at(&past, s, s->n_k, 0);
	size_t chunk = (size_t)c->arg[KEY_CHUNK], n = c->length + 1, chunks = (n + chunk - 1) / chunk;
	float *summary = c->shared, *lse = summary + chunks * c->queries * s->d_v;
	const struct attn_call rows = { .shape = s, .kern = c->kern, .out = c->out, .ldo = c->ldo };
	struct attn_team alone = { .size = 1 };
	struct single one;

	if (team->rank == 0)
		cache_append(&cache, c);
	single_init(&one, c, c->scratch, s->type, s->d, s->d_v);
	attn_barrier(team);
	for (size_t u = team->rank; u < chunks; u += team->size) {
		size_t at = u * c->queries, j = u * chunk;
		single_load(&one, s->scale);
		single_keys(&one, cache_key(&cache, j), s->d, cache_value(&cache, j), s->d_v,
		            n - j < chunk ? n - j : chunk, 0);
		single_finish_to(&one, &alone, NULL, summary + at * s->d_v, s->d_v, lse + at);
	}
	attn_barrier(team);
	for (size_t r = 0; team->rank == 0 && r < c->queries; r++)
		merge(&rows, r, summary + r * s->d_v, lse + r, chunks, c->queries);
}

static const struct attn_decode decode = {
	.keeps = "cache: n (d + d_v)",
	.shares = true,
	.splits = true,
	.plan = decode_plan,
	.append = decode_append,
	.step = decode_step,
};

const struct attn_variant attn_chunked = {
	.abi = ATTN_ABI,
	.name = "chunked",
	.family = "exact",
	.title = "memory-efficient attention (Rabe-Staats)",
	.paper = "Rabe, Staats 2021, arXiv 2112.05682",
	.formula = "O = softmax(scale Q K^T) V, summaries of key chunks merged at the end",
	.complexity = "n^2 d",
	.target = "softmax attention: it is that",
	.summary = "Exact; work space n / key_chunk summaries of a query chunk.",
	.flags = ATTN_EXACT | ATTN_CAUSAL | ATTN_BIDIRECTIONAL | ATTN_CROSS | ATTN_PARALLEL |
	         ATTN_ROWSUM | ATTN_NONNEG | ATTN_QPERM | ATTN_KPERM | ATTN_KSHIFT | ATTN_LSE |
	         ATTN_LOGITS,
	.impl_bound = 2e-6f,
	.limit = "",
	.cases = cases,
	.params = params,
	.plan = plan,
	.forward = forward,
	.decode = &decode,
	.oracle = oracle_exact,
};
