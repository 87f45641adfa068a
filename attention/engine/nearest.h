/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Balanced clusters: for each centre on the sphere the w points with the largest
 * x/|x| . c, decided as in double, ties by lower index. */
#ifndef ENGINE_NEAREST_H
#define ENGINE_NEAREST_H

#include "kmeans.h"

struct nearest {
	const struct kmeans *km; /* its centres */
	struct kern_tile tile;
	struct pick pick;
	float *score;   /* n x lanes */
	uint64_t *mark; /* n bits */
	/* Of the choice at work. */
	const struct kmeans_points *set;
	size_t u0;
};

/* Scratch for sets of up to n points and choices of up to w. */
size_t nearest_scratch_bytes(size_t d, size_t n, size_t w);
void nearest_init(struct nearest *s, const struct kmeans *km, void *mem, size_t n, size_t w);

/* chosen (rows x w): for centres u0 .. u0 + rows, rows <= lanes, points of the
 * set in ascending order, w <= n. inverse: 1/|x| of each point, 0 for zero. */
void nearest_choose(struct nearest *s, const struct kmeans_points *set, const float *inverse,
                    size_t u0, size_t rows, size_t w, uint32_t *chosen);

#endif
