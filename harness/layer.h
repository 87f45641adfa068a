/* SPDX-License-Identifier: BSD-3-Clause
 *
 * One call of a whole layer: all heads of all sequences of a cell, over the
 * threads of a team. With T threads and H heads in total (batch x heads):
 *
 *     a variant that splits a head   the first H - H mod T heads run one a
 *                                    thread, the others on the whole team
 *     any other                      one head a thread, to the end
 *
 * Each thread has scratch of its own; heads that run at the same time have
 * their shared memory each; state is kept for every head of the layer, and, where
 * sequences differ in length, of every sequence.
 */
#ifndef HARNESS_LAYER_H
#define HARNESS_LAYER_H

#include "arena.h"
#include "cell.h"
#include "team.h"

/* A sequence of the batch. */
struct layer_sequence {
	struct attn_shape shape; /* of its first head */
	double arg[ATTN_MAX_PARAMS]; /* none ATTN_AUTO */
	size_t n_q;              /* queries: shape.n_q, or, decoding, 1 */
	size_t first_q, first_k; /* queries and keys of the sequences before it */
};

/* What the call needs, in bytes; io and work count each block rounded up to
 * ARENA_ALIGN, as the arena does. A unit is what a thread or the team works on at a
 * time: a head, or, decoding, the query heads that share a past. */
struct layer_plan {
	double arg[ATTN_MAX_PARAMS]; /* of the first sequence, none ATTN_AUTO */
	size_t sequence;      /* of a refusal: the sequence that is refused */
	unsigned flags;       /* of the variant with these arguments */
	size_t total;         /* heads */
	size_t tokens_q, tokens_k; /* queries and keys of a head in all sequences, padding left out */
	size_t units, group, solo; /* units, heads a unit, units that one thread works on */
	size_t states;        /* heads that have one of their own */
	size_t state;         /* of one of them, the largest, a multiple of ARENA_ALIGN */
	size_t past, changed; /* decoding, of one unit: past likewise; attn_decode_plan */
	size_t kept;          /* decoding: bytes of all pasts, not rounded up */
	size_t shared_solo, shared_team; /* of one unit, of one thread and of all */
	size_t scratch_solo, scratch_team; /* of one thread */
	size_t q, k, v, out;  /* of all heads */
	size_t io, work;      /* q, k, v, out and the table of sequences; state, past, shared and scratch */
	size_t call_io;       /* bytes of q, k, v and out that a call reads and writes */
	double flops_useful, flops_executed, n_exp, pairs, bytes; /* of all heads */
};

/* Bytes of an element of q, k, v and out. */
size_t layer_element(const struct cell *cell);

/* The arguments of the cell for head g, none ATTN_AUTO. */
void layer_resolve(const struct cell *cell, size_t g, double arg[ATTN_MAX_PARAMS]);

/* NULL and *plan, or the variant's reason to refuse. The cell's variant must
 * accept its flags (support.h). */
const char *layer_plan(const struct cell *cell, struct layer_plan *plan);

/* Shared and scratch memory of rank r: room for units alone and on the team. */
size_t layer_shared_of(const struct layer_plan *plan, size_t r);
size_t layer_scratch_of(const struct layer_plan *plan, size_t r);

struct layer {
	struct cell cell;
	struct layer_plan plan;
	struct team *team;       /* the caller's, of cell.threads */
	struct arena *arena;     /* the caller's */
	const struct kern *kern;
	struct layer_sequence *sequence; /* batch */
	/* In the cell's type, heads of a sequence together: q and out total x n_q x d,
	 * k and v batch x kv_heads x n_k x d; packed, n_q and n_k are each sequence's own. */
	void *q, *k, *v, *out;
	unsigned char *state;    /* plan.states x plan.state, or NULL */
	unsigned char *past;     /* units x plan.past, or NULL */
	void *shared[TEAM_MAX], *scratch[TEAM_MAX];
	struct attn_stats *stats[TEAM_MAX]; /* of each rank, the caller's; or NULL */
};

/* Capacity of the arena that layer_create() needs. */
size_t layer_room(const struct layer_plan *plan, const struct cell *cell);

/* Takes all memory from the arena and touches q, k, v and out where they will
 * be used. False: arena->message. */
bool layer_create(struct layer *layer, const struct cell *cell, const struct layer_plan *plan,
                  const struct kern *kern, struct team *team, struct arena *arena);

/* Fills the state of every head. */
void layer_prepare(struct layer *layer);

/* Decoding: takes up all tokens but the last, whose step is the call. Else nothing. */
void layer_fill(struct layer *layer);

/* One call. The argument is a struct layer. */
void layer_run(void *layer);

/* For every block that a variant works in: state, past, shared and scratch memory. */
void layer_each_work(struct layer *layer, void (*fn)(struct arena *, void *block));

/* Bytes of them that lie in memory; -1: the system does not tell. */
int64_t layer_resident(const struct layer *layer);

/* The sequence, shape and state (or NULL) of head g, counted over the batch. */
const struct layer_sequence *layer_sequence(const struct layer *layer, size_t g);
struct attn_shape layer_shape(const struct layer *layer, size_t g);
void *layer_state(const struct layer *layer, size_t g);

/* Row i of head g (counted over the batch) of q, k, v or out, in the cell's type. */
void *layer_q(const struct layer *layer, size_t g, size_t i);
void *layer_k(const struct layer *layer, size_t g, size_t i);
void *layer_v(const struct layer *layer, size_t g, size_t i);
void *layer_out(const struct layer *layer, size_t g, size_t i);

/* A copy with f32 numbers, key and value heads of its own for every head, and no
 * padding, for looking at results; memory from malloc(). The same layer if it is wide
 * already. False: no memory. */
bool layer_is_wide(const struct cell *cell);
bool layer_widen(const struct layer *layer, struct layer *wide);
void layer_free_wide(const struct layer *layer, struct layer *wide);

/* A hash of q, k and v: a variant must not change them. */
uint64_t layer_hash_inputs(const struct layer *layer);
uint64_t layer_hash_output(const struct layer *layer);

#endif
