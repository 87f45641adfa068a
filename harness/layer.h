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
 * their shared memory each; state is kept for every head of the layer.
 */
#ifndef HARNESS_LAYER_H
#define HARNESS_LAYER_H

#include "arena.h"
#include "cell.h"
#include "team.h"

/* What the call needs, in bytes; io and work count each block rounded up to
 * ARENA_ALIGN, as the arena does. */
struct layer_plan {
	double arg[ATTN_MAX_PARAMS]; /* none ATTN_AUTO */
	unsigned flags;       /* of the variant with these arguments */
	size_t total, solo;   /* heads; of these, heads that one thread works on */
	size_t state;         /* of one head, the largest, a multiple of ARENA_ALIGN */
	size_t shared_solo, shared_team; /* of one head, of one thread and of all */
	size_t scratch_solo, scratch_team; /* of one thread */
	size_t q, k, v, out;  /* of all heads */
	size_t io, work;      /* q + k + v + out; state, shared and scratch */
	double flops_useful, flops_executed, n_exp, pairs, bytes; /* of all heads */
};

/* The arguments of the cell, none ATTN_AUTO. */
void layer_resolve(const struct cell *cell, double arg[ATTN_MAX_PARAMS]);

/* NULL and *plan, or the variant's reason to refuse. The cell's variant must
 * accept its flags (support.h). */
const char *layer_plan(const struct cell *cell, struct layer_plan *plan);

struct layer {
	struct cell cell;
	struct layer_plan plan;
	struct team *team;       /* the caller's, of cell.threads */
	struct arena *arena;     /* the caller's */
	const struct kern *kern;
	/* In the cell's type, heads of a sequence together: q and out total x n_q x d,
	 * k and v batch x kv_heads x n_k x d. */
	void *q, *k, *v, *out;
	unsigned char *state;    /* heads x plan.state, or NULL */
	void *shared[TEAM_MAX], *scratch[TEAM_MAX];
	struct attn_stats *stats; /* one a rank, the caller's; or NULL */
};

/* Capacity of the arena that layer_create() needs. */
size_t layer_room(const struct layer_plan *plan, const struct cell *cell);

/* Takes all memory from the arena and touches q, k, v and out where they will
 * be used. False: arena->message. */
bool layer_create(struct layer *layer, const struct cell *cell, const struct layer_plan *plan,
                  const struct kern *kern, struct team *team, struct arena *arena);

/* Fills the state of every head. */
void layer_prepare(struct layer *layer);

/* One call. The argument is a struct layer. */
void layer_run(void *layer);

/* For every block that a variant works in: state, shared and scratch memory. */
void layer_each_work(struct layer *layer, void (*fn)(struct arena *, void *block));

/* Row i of head g (counted over the batch) of q, k, v or out, in the cell's type. */
void *layer_q(const struct layer *layer, size_t g, size_t i);
void *layer_k(const struct layer *layer, size_t g, size_t i);
void *layer_v(const struct layer *layer, size_t g, size_t i);
void *layer_out(const struct layer *layer, size_t g, size_t i);

/* A copy with f32 numbers and key and value heads of its own for every head, for
 * looking at results; memory from malloc(). The same layer if it is so already.
 * False: no memory. */
bool layer_widen(const struct layer *layer, struct layer *wide);
void layer_free_wide(const struct layer *layer, struct layer *wide);

/* A hash of q, k and v: a variant must not change them. */
uint64_t layer_hash_inputs(const struct layer *layer);
uint64_t layer_hash_output(const struct layer *layer);

#endif
