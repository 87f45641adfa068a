/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Blocks of keys that each query chooses for itself, by scores against mean keys.
 * Queries are taken a chunk at a time: sorted by the blocks they chose, so that a
 * block meets its queries in whole tiles, which resume from what they have seen. */
#ifndef ENGINE_CHOSEN_H
#define ENGINE_CHOSEN_H

#include "bucket.h"
#include "layout.h"
#include "rows.h"

struct chosen {
	size_t size, blocks; /* keys a block, the last one may be short; how many */
	size_t per_query;    /* choices of a query, at most */
	size_t chunk;        /* queries a chunk, a multiple of KERN_MAX_LANES */
	uint32_t *block;     /* chunk x per_query: block numbers, or BUCKET_NONE */
	uint32_t *order, *start;
	struct attn_call into; /* the call from the chunk's first query on */
	struct rows rows;
};

/* Some 128 queries for each block, but two chunks for each of several ranks. */
size_t chosen_chunk(const struct attn_shape *s, size_t ranks, size_t blocks, size_t per_query);

/* First query of the chunk that a rank takes in its turn: to and fro, since causal
 * chunks grow. */
static inline size_t chosen_first(const struct chosen *ch, const struct attn_team *team, size_t turn)
{
	size_t place = turn % 2 ? team->size - 1 - team->rank : team->rank;

	return (turn * team->size + place) * ch->chunk;
}

/* Sizes are given; lays out the arrays, and with a call (NULL: counting) the rows. */
void chosen_lay_out(struct chosen *ch, const struct attn_call *call, const struct attn_shape *s,
                    struct layout *scratch);

/* `count` queries from i0 on, that hold results (out of ch->into, lse) of other
 * keys, absorb their chosen blocks. lse[0] is that of query i0. */
void chosen_attend(struct chosen *ch, size_t i0, size_t count, float *lse);

/* Executed (query, key) pairs beyond the chosen ones: half a tile a block and chunk. */
double chosen_waste(const struct attn_shape *s, size_t chunk, size_t blocks, size_t size);

/* Means of x (n x d, ldx) over tokens [u step, u step + size), cut at n, for u =
 * first, first + stride, ... below count: in double, since choices must be
 * comparable, and rounded. */
void chosen_means(const float *x, size_t ldx, size_t n, size_t d, size_t size, size_t step,
                  size_t count, size_t first, size_t stride, double *exact, float *rounded);

/* Length of the longest of n rows of x (n x d). */
float chosen_longest(const struct kern *kern, const float *x, size_t n, size_t d);

#endif
