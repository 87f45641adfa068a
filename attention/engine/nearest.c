/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Scores of all points for a tile of centres, and the best of them. */
#include "nearest.h"

#include "layout.h"

#include <string.h>

static void lay_out(struct nearest *s, struct layout *l, size_t d, size_t n, size_t w)
{
	void *pick = layout_take(l, pick_bytes(n, w));

	if (pick)
		pick_init(&s->pick, pick, n, w);
	LAYOUT(l, s->score, n * KERN_MAX_LANES);
	LAYOUT(l, s->mark, (n + 63) / 64);
	s->tile = (struct kern_tile){ .d = d };
	LAYOUT(l, s->tile.q, d * KERN_MAX_LANES);
	LAYOUT(l, s->tile.max, KERN_MAX_LANES);
	LAYOUT(l, s->tile.sum, KERN_MAX_LANES);
}

size_t nearest_scratch_bytes(size_t d, size_t n, size_t w)
{
	struct layout l = { .base = NULL };
	struct nearest s;

	lay_out(&s, &l, d, n, w);
	return l.used;
}

void nearest_init(struct nearest *s, const struct kmeans *km, void *mem, size_t n, size_t w)
{
	struct layout l = { .base = mem };

	lay_out(s, &l, km->d, n, w);
	s->km = km;
}

/* pick_exact: x^_j . c of centre u0 + lane. */
static double exact_score(const void *ctx, size_t lane, size_t j)
{
	const struct nearest *s = ctx;
	const float *x = s->set->x + j * s->set->ldx;
	const double *c = s->km->centre + (s->u0 + lane) * s->km->d;
	double dot = 0, square = 0;

	for (size_t e = 0; e < s->km->d; e++) {
		dot += (double)x[e] * c[e];
		square += (double)x[e] * (double)x[e];
	}
	return square > 0 ? dot / sqrt(square) : 0;
}

/* x[0 .. n) in ascending order, all below `end`. */
static void ascend(struct nearest *s, uint32_t *x, size_t n, size_t end)
{
	memset(s->mark, 0, (end + 63) / 64 * sizeof *s->mark);
	for (size_t i = 0; i < n; i++)
		s->mark[x[i] / 64] |= UINT64_C(1) << x[i] % 64;
	n = 0;
	for (size_t word = 0; word * 64 < end; word++)
		for (uint64_t bits = s->mark[word]; bits; bits &= bits - 1)
			x[n++] = (uint32_t)(word * 64 + (size_t)__builtin_ctzll(bits));
}

void nearest_choose(struct nearest *s, const struct kmeans_points *set, const float *inverse,
                    size_t u0, size_t rows, size_t w, uint32_t *chosen)
{
	const struct attn_call *c = s->km->call;
	size_t lanes = c->kern->lanes, d = s->km->d;
	float error[KERN_MAX_LANES];

	s->set = set;
	s->u0 = u0;
	s->pick.k = w;
	c->kern->tile_load(&s->tile, s->km->rounded + u0 * (d + 1), d + 1, rows, 1);
	c->kern->tile_scores(&s->tile, set->x, set->ldx, set->n, s->score);
	for (size_t j = 0; j < set->n; j++)
		c->kern->scale(s->score + j * lanes, inverse[j], lanes);
	for (size_t r = 0; r < rows; r++)
		error[r] = pick_dot_error(d + 4, 1, 1); /* and the roundings of 1/|x| */
	pick_scan(&s->pick, c->kern, s->score, set->n, rows, error);
	for (size_t r = 0; r < rows; r++) {
		pick_lane(&s->pick, r, exact_score, s, chosen + r * w);
		ascend(s, chosen + r * w, w, set->n);
	}
	if (c->stats)
		c->stats->flops_executed += 2.0 * (double)(lanes * set->n * d);
}
