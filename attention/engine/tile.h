/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The tile engine: exact online softmax (Milakov, Gimelshein 2018, arXiv
 * 1805.02867) of a few queries over keys that come in any order and from
 * anywhere, as FlashAttention tiles it (Dao 2023, arXiv 2307.08691).
 *
 * A sparse variant is a pattern: it tells a tile which keys its queries see.
 *
 *     static void pattern(struct tile *t, const void *ctx)
 *     {
 *             ... tile_band(t, lo, hi) ... tile_keys(t, ...) ...
 *     }
 *
 * A key must be given to a query once: a union is made by giving disjoint
 * parts. Time per (query, key) pair: 2 (d + d_v) FLOP and one exponential.
 */
#ifndef ENGINE_TILE_H
#define ENGINE_TILE_H

#include "../attn.h"
#include "../kernels/kern.h"

/* Queries of a tile: two of the kernel's tiles, which take up keys together where they
 * see the same; or the first alone. */
enum { TILE_ROWS = 2 * KERN_MAX_LANES };
_Static_assert(TILE_ROWS <= 32, "a bit a query");

struct tile {
	const struct attn_call *call;
	struct kern_tile k, more; /* the first `lanes` queries, and those behind */
	size_t q0, rows; /* queries q0 .. q0 + rows of the call */
	size_t step;     /* keys a step, <= kern->block */
	size_t turn, turns; /* of tiles that take the same blocks: see kern_tile */
	const void *next_q, *own_out; /* fetched in the last step of a band */
};

typedef void tile_pattern(struct tile *t, const void *ctx);

/* Bytes of scratch (each rank) and of shared memory that tile_run needs; both
 * are multiples of ATTN_ALIGN. */
size_t tile_scratch_bytes(size_t d, size_t d_v);
enum { TILE_SHARED_BYTES = ATTN_ALIGN };

/* Lays the tile's arrays into mem (tile_scratch_bytes of it). */
void tile_init(struct tile *t, const struct attn_call *call, void *mem, size_t d, size_t d_v);

/* Queries a tile that keep every rank of a team busy with n of them: 2 lanes, or lanes. */
size_t tile_width(const struct kern *kern, size_t n, const struct attn_team *team);

/* Takes up `rows` <= 2 lanes queries and forgets what was seen. */
void tile_load(struct tile *t, const float *q, size_t ldq, size_t rows);
void tile_load_bf16(struct tile *t, const struct kern_bf16 *bf16, const uint16_t *q, size_t ldq, size_t rows);

/* n keys that every query sees; bias (n logits) may be NULL. */
void tile_keys(struct tile *t, const float *k, size_t ldk, const float *v, size_t ldv, size_t n,
               const float *bias);

/* Query r sees key j iff lo[r] <= j < hi[r], r < rows. */
void tile_band_of(struct tile *t, const float *k, size_t ldk, const float *v, size_t ldv,
                  const size_t *lo, const size_t *hi, const float *bias);
/* The same on the keys of the call. */
void tile_band(struct tile *t, const size_t *lo, const size_t *hi);

/* Some of the queries see keys [first, last), all of them [inner_first, inner_last). */
struct tile_span {
	size_t first, last, inner_first, inner_last;
};

/* A band made ready. lo and hi are borrowed. */
struct tile_edge {
	const size_t *lo, *hi;
	size_t first, last; /* seen by some query */
	struct tile_span half[2];
	double pairs;
};
struct tile_edge tile_edge_of(const struct tile *t, const size_t *lo, const size_t *hi);

/* A block of keys and values. */
struct tile_source {
	const void *k, *v; /* its first rows; f32, or bf16 with `bf16` */
	size_t ldk, ldv;
	bool copied;       /* what follows in memory is not the next block */
	const struct kern_bf16 *bf16;
	const uint32_t *pairs; /* v packed, with bf16 */
};

/* The part of a band that lies in keys [j, j + n), n <= step, which are the
 * source's. */
void tile_edge_step(struct tile *t, const struct tile_edge *e, const struct tile_source *keys,
                    size_t j, size_t n, const float *bias);

/* The bits of queries 0 .. rows - 1. */
static inline uint32_t tile_row_bits(size_t rows)
{
	return rows < 32 ? (UINT32_C(1) << rows) - 1 : UINT32_MAX;
}

/* Query r sees key j iff bit r of bits[j]. */
void tile_bits(struct tile *t, const float *k, size_t ldk, const float *v, size_t ldv, size_t n,
               const uint32_t *bits, const float *bias);

/* Writes rows of the output, and lse unless NULL. */
void tile_store(struct tile *t, float *out, size_t ldo, float *lse);

/* Takes up an earlier result (out, lse) of the loaded queries as if its keys
 * had just been seen: the merge of disjoint key sets. */
void tile_resume(struct tile *t, const float *out, size_t ldo, const float *lse);

/* Runs the pattern for every tile of the call's queries, split over the team,
 * and stores results. Longest first when tiles grow with the index. All ranks
 * call it; call->shared and call->scratch begin with the engine's bytes. With
 * resume, each tile starts from what out and lse (not NULL) already hold. */
void tile_run(const struct attn_call *call, struct attn_team *team, tile_pattern *pattern,
              const void *ctx, bool resume);

/* The causal limit: query i sees keys j < tile_visible(shape, i). */
static inline size_t tile_visible(const struct attn_shape *s, size_t i)
{
	if (!s->causal)
		return s->n_k;
	return i + 1 + s->n_k > s->n_q ? i + 1 + s->n_k - s->n_q : 0;
}

/* The public merge primitive: result (out, lse) of n_rows over one key set
 * absorbs (out2, lse2) over a disjoint one. Associative, commutative to
 * rounding. Empty sets have lse = -inf. */
void attn_merge(size_t rows, size_t d_v, float *out, size_t ldo, float *lse, const float *out2,
                size_t ldo2, const float *lse2);

#endif
