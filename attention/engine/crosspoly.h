/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Cross-polytope hashes (Andoni et al. 2015, arXiv 1509.02897):
 *
 *     h(x) = argmax [x R; -x R],  R Gaussian, d x b/2
 *
 * into an even number b of buckets, ties to the first. The length of x does not
 * matter. Above 128 buckets two hashes of about sqrt b buckets are combined,
 * since a single one would cost n d b. */
#ifndef ENGINE_CROSSPOLY_H
#define ENGINE_CROSSPOLY_H

#include "../attn.h"
#include "pick.h"

struct crosspoly {
	size_t first, second; /* buckets of each hash; second: 1 if there is one */
	size_t d;
};

/* At least `buckets` buckets in all: factors are even. */
struct crosspoly crosspoly_of(size_t buckets, size_t d);

static inline size_t crosspoly_buckets(struct crosspoly h)
{
	return h.first * h.second;
}

/* Columns of R, both hashes; an R is stored as columns x d. */
static inline size_t crosspoly_columns(struct crosspoly h)
{
	return h.first / 2 + (h.second > 1 ? h.second / 2 : 0);
}

/* Hashes of one tile of vectors under several R. */
struct crosspoly_tile {
	struct crosspoly hash;
	const struct attn_call *call;
	const struct kern_tile *tile;
	struct pick pick;
	float *score;
	const float *x; /* the loaded vectors */
	size_t ldx, rows;
	const float *column; /* of the hash at work: half x d */
	size_t half;
};

size_t crosspoly_bytes(struct crosspoly h);
void crosspoly_init(struct crosspoly_tile *t, struct crosspoly h, const struct attn_call *call,
                    const struct kern_tile *tile, void *mem);

/* Takes up `rows` <= lanes vectors. */
void crosspoly_load(struct crosspoly_tile *t, const float *x, size_t ldx, size_t rows);

/* bucket[0 .. rows) under R, whose longest column has this length. */
void crosspoly_hash(struct crosspoly_tile *t, const float *r, float longest, uint32_t *bucket);

#endif
