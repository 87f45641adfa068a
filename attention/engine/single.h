/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Softmax for the queries of one token: one, or those of a few heads that share
 * their keys. Keys come run by run, in any order and from anywhere, each once, and
 * are read once, in the order of memory, for all queries: that is what the time of
 * a decode step is. In the tile engine a lane is a query; here, where 15 of 16
 * lanes would be empty, a lane is a channel.
 *
 * Time per (query, key) pair: 2 (d + d_v) FLOP and one exponential. Every rank of a
 * team looks at keys of its own, and single_finish() merges the results.
 */
#ifndef ENGINE_SINGLE_H
#define ENGINE_SINGLE_H

#include "../attn.h"
#include "../kernels/kern.h"

/* Keys between two rescalings. Measured: long stretches of keys, then of values, are
 * read faster than short ones in turn. Widened blocks must stay in L2. */
enum { SINGLE_BLOCK = 512, SINGLE_HALF_BLOCK = 128 };

struct single {
	const struct attn_decode_call *call;
	size_t queries;
	size_t from, to; /* of these, the ones that see the next keys */
	size_t d, d_v, ld_v, block;
	enum attn_type type; /* of keys and values */
	float *q;            /* queries x d: times the scale */
	float *acc;          /* queries x ld_v: sum of weight times value, relative to max */
	float *max, *sum;    /* queries */
	float *score;        /* block */
	float *k, *v;        /* half precision: block x d, x d_v as f32 */
};

/* Bytes of scratch and of shared memory for keys of d and values of d_v channels in
 * the type of the shape; multiples of ATTN_ALIGN. */
size_t single_scratch_bytes(enum attn_type type, size_t d, size_t d_v, size_t queries);
size_t single_shared_bytes(size_t d_v, size_t queries, size_t ranks);

/* Lays the arrays into mem (single_scratch_bytes of it). */
void single_init(struct single *s, const struct attn_decode_call *c, void *mem, enum attn_type type,
                 size_t d, size_t d_v);

/* Takes up the queries of the call, or others (f32, queries x d, ldq) in their place,
 * and forgets what was seen. */
void single_load(struct single *s, float scale);
void single_load_from(struct single *s, const float *q, size_t ldq, float scale);

/* The next keys are seen by this query alone, not by all of them. */
static inline void single_only(struct single *s, size_t query)
{
	s->from = query;
	s->to = query + 1;
}

/* n keys and values; bias is added to their logits. */
void single_keys(struct single *s, const void *k, size_t ldk, const void *v, size_t ldv, size_t n,
                 float bias);

/* The same with the logits of one query at hand, which are overwritten; any n. */
void single_scores(struct single *s, size_t query, float *score, const void *v, size_t ldv, size_t n);

/* Takes up an earlier result of a query as if its keys had just been seen. */
void single_resume(struct single *s, size_t query, const float *out, float lse);

/* Writes the rows of the call's output, zero where nothing was seen: with a team, what
 * all ranks have seen. shared: single_shared_bytes, which rank 0 reads after the other
 * ranks have gone on. Ends without a barrier: rank 0 has written. */
void single_finish(struct single *s, struct attn_team *team, void *shared);
/* The same as f32 into other rows, and with their log-sum-exp (-inf where nothing was
 * seen) unless NULL. */
void single_finish_to(struct single *s, struct attn_team *team, void *shared, float *out, size_t ldo,
                      float *lse);

#endif
