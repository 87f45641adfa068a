/* SPDX-License-Identifier: BSD-3-Clause
 *
 * k-means by Lloyd's iterations, over a team, with the decisions of a
 * computation in double: scores are f32 products, near ties are compared again.
 *
 *     spherical   x belongs to the centre with the largest x . c, |c| = 1; a
 *                 centre is the direction of the sum of its members x/|x|
 *     euclidean   the least |x - c|; a centre is the mean of its members
 *
 * Ties go to the lowest centre. A centre without members stays where it is, and
 * on the sphere one whose members cancel. */
#ifndef ENGINE_KMEANS_H
#define ENGINE_KMEANS_H

#include "pick.h"
#include "tile.h"

/* Vectors to cluster. */
struct kmeans_points {
	const float *x; /* n x d, ldx */
	size_t ldx, n;
	uint32_t *member; /* n: the centre that each belongs to, or NULL */
	double *length;   /* n: |x|; the engine's own */
};

enum { KMEANS_SETS = 2 };

/* Length of a mean of unit vectors that is only rounding. */
#define KMEANS_NO_DIRECTION 1e-9

struct kmeans {
	const struct attn_call *call; /* for its kernels and statistics */
	size_t count, d, iterations;
	bool spherical;
	struct kmeans_points set[KMEANS_SETS]; /* n = 0: none */
	double *centre;  /* count x d */
	float *rounded;  /* count x (d + 1): the centre and -|c|^2 / 2, or 0 */
	/* The engine's own. */
	double *sum;     /* ranks x count x (d + 1): sums and numbers of members */
	double *changed; /* ranks: members that moved */
	struct kern_tile tile;
	struct pick pick;
	float *score; /* count x lanes */
	float longest;
};

/* Bytes shared by a team, for so many points in all sets, and of each rank's scratch. */
size_t kmeans_shared_bytes(size_t count, size_t d, size_t points, size_t ranks);
size_t kmeans_scratch_bytes(size_t count, size_t d);

/* Lays the arrays out; call, count, d, iterations, spherical, set are given. */
void kmeans_init(struct kmeans *km, size_t ranks, void *shared, void *scratch);

/* Centres start at points first[0 .. count) of the sets, counted through. Ends
 * with a barrier, when all centres are final and each member belongs to its
 * nearest one. */
void kmeans_run(struct kmeans *km, struct attn_team *team, const uint32_t *first);

/* Centres are given instead, count x d: places them, ends with a barrier. */
void kmeans_place(struct kmeans *km, struct attn_team *team, const float *centre);

/* Each member to its nearest centre; ends with a barrier. */
void kmeans_assign(struct kmeans *km, struct attn_team *team);

#endif
