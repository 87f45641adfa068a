/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The k best of n scores for every lane of a tile: what selects keys, blocks and
 * clusters.
 *
 * Scores come in f32, lane-minor as tile_scores gives them. The maxima of 2k
 * interleaved groups are k-th-largest bounds from below, so that only about 1.5 k
 * candidates pass; among those the k best are taken. Scores too close to the
 * edge for f32 to order are compared again in double, equal ones by lower
 * index, so that the choice is that of the definition. */
#ifndef ENGINE_PICK_H
#define ENGINE_PICK_H

#include "../attn.h"
#include "../kernels/kern.h"

struct scored;

struct pick {
	size_t n, k;         /* capacity, how many to choose */
	const struct kern *kern;
	const float *scores; /* of the last scan, n x lanes */
	size_t lanes;
	uint32_t *index;     /* lanes x n: candidates */
	uint32_t count[KERN_MAX_LANES];
	float error[KERN_MAX_LANES];
	float *maxima;       /* 2 k x lanes */
	float *column;       /* n: one lane's values to select from */
	struct scored *edge; /* n: candidates to be compared in double */
};

/* The true score of j for a lane, in any unit that grows with the f32 score. */
typedef double pick_exact(const void *ctx, size_t lane, size_t j);

size_t pick_bytes(size_t n, size_t k);
void pick_init(struct pick *p, void *mem, size_t n, size_t k);

/* Finds the candidates among n scores of `rows` lanes, n <= capacity. A score is
 * within error[lane] of the true one; KERN_MASKED is never chosen. */
void pick_scan(struct pick *p, const struct kern *kern, const float *scores, size_t n, size_t rows,
               const float *error);

/* The k best of a lane that was scanned, or all if fewer, in no order; returns
 * how many. chosen: k. */
size_t pick_lane(const struct pick *p, size_t lane, pick_exact *exact, const void *ctx,
                 uint32_t *chosen);

/* For scores of one query that lie side by side: a pick of one lane, lane 0. */
size_t pick_row_bytes(size_t n, size_t k);
void pick_row_init(struct pick *p, void *mem, size_t n, size_t k);
void pick_row_scan(struct pick *p, const struct kern *kern, const float *scores, size_t n, float error);

/* pick_exact: one query against rows of d channels, in f32 or, unless NULL, in double. */
struct pick_rows {
	const float *q, *x;
	const double *exact;
	size_t d;
};
double pick_rows_exact(const void *rows, size_t lane, size_t j);

/* Largest error of a dot product of d terms whose factors have lengths |x|, |y|
 * and relative errors of a rounding: (d + 2) roundings of at most |x| |y|. */
float pick_dot_error(size_t d, float length_x, float length_y);

#endif
