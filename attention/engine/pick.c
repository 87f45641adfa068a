/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Bounds, candidates, choices. */
#include "pick.h"

#include "select.h"

#include <float.h>
#include <math.h>

size_t pick_bytes(size_t n, size_t k)
{
	k = k < n ? k : n;
	return n * sizeof(struct scored) + sizeof(float) * ((n + 2 * k) * KERN_MAX_LANES + n);
}

void pick_init(struct pick *p, void *mem, size_t n, size_t k)
{
	p->n = n;
	p->k = k < n ? k : n;
	p->edge = mem;
	p->maxima = (float *)(p->edge + n);
	p->index = (uint32_t *)(p->maxima + 2 * p->k * KERN_MAX_LANES);
	p->column = (float *)(p->index + n * KERN_MAX_LANES);
}

/* The lanes whose best score is beyond doubt are done with; returns whether all are,
 * and what candidates of the others must reach. */
static bool scan_best(struct pick *p, size_t n, size_t rows, float *threshold)
{
	uint32_t index[KERN_MAX_LANES];
	float best[KERN_MAX_LANES], second[KERN_MAX_LANES];
	bool all = true;

	p->kern->lanes_best(index, best, second, p->scores, n);
	for (size_t r = 0; r < rows; r++) {
		bool clear = best[r] > KERN_NO_MAX && best[r] - second[r] > 2 * p->error[r];
		float bound = best[r] - 2 * p->error[r];
		all = all && clear;
		p->count[r] = clear;
		p->index[r * p->n] = index[r];
		threshold[r] = clear ? NAN : bound > KERN_NO_MAX ? bound : KERN_NO_MAX;
	}
	return all;
}

/* What candidates must reach: the k-th largest of 2 k maxima of groups is no larger
 * than the k-th largest score. */
static void bound_lanes(struct pick *p, size_t n, size_t rows, float *threshold)
{
	size_t groups = 2 * p->k;

	if (groups >= n || p->k == 0)
		return;
	p->kern->lanes_fold_max(p->maxima, groups, p->scores, n);
	for (size_t r = 0; r < rows; r++) {
		for (size_t g = 0; g < groups; g++)
			p->column[g] = p->maxima[g * p->lanes + r];
		float bound = select_kth_largest(p->kern, p->column, groups, p->k) - 2 * p->error[r];
		threshold[r] = bound > KERN_NO_MAX ? bound : KERN_NO_MAX;
	}
}

void pick_scan(struct pick *p, const struct kern *kern, const float *scores, size_t n, size_t rows,
               const float *error)
{
	float threshold[KERN_MAX_LANES];

	p->kern = kern;
	p->scores = scores;
	p->lanes = kern->lanes;
	for (size_t r = 0; r < p->lanes; r++) {
		p->count[r] = 0;
		p->error[r] = r < rows ? error[r] : 0;
		threshold[r] = r < rows ? KERN_NO_MAX : NAN; /* no score reaches NaN */
	}
	if (p->k == 1 && n > 0) {
		if (scan_best(p, n, rows, threshold))
			return;
	} else {
		bound_lanes(p, n, rows, threshold);
	}
	kern->lanes_collect(p->index, p->n, p->count, scores, n, threshold);
}

size_t pick_row_bytes(size_t n, size_t k)
{
	k = k < n ? k : n;
	return n * sizeof(struct scored) + sizeof(float) * (2 * n + 2 * k);
}

void pick_row_init(struct pick *p, void *mem, size_t n, size_t k)
{
	p->n = n;
	p->k = k < n ? k : n;
	p->lanes = 1;
	p->edge = mem;
	p->maxima = (float *)(p->edge + n);
	p->index = (uint32_t *)(p->maxima + 2 * p->k);
	p->column = (float *)(p->index + n);
}

void pick_row_scan(struct pick *p, const struct kern *kern, const float *scores, size_t n, float error)
{
	size_t groups = 2 * p->k, count = 0;
	float threshold = KERN_NO_MAX;

	p->kern = kern;
	p->scores = scores;
	p->error[0] = error;
	if (p->k > 0 && groups < n) {
		for (size_t g = 0; g < groups; g++)
			p->maxima[g] = KERN_MASKED;
		for (size_t j = 0; j < n; j += groups)
			kern->raise(p->maxima, scores + j, n - j < groups ? n - j : groups);
		float bound = select_kth_largest(kern, p->maxima, groups, p->k) - 2 * error;
		threshold = bound > KERN_NO_MAX ? bound : KERN_NO_MAX;
	}
	for (size_t j = 0; j < n; j++)
		if (scores[j] >= threshold)
			p->index[count++] = (uint32_t)j;
	p->count[0] = (uint32_t)count;
}

size_t pick_lane(const struct pick *p, size_t lane, pick_exact *exact, const void *ctx, uint32_t *chosen)
{
	const uint32_t *index = p->index + lane * p->n;
	size_t count = p->count[lane], sure = 0, near = 0;

	if (count <= p->k) {
		for (size_t a = 0; a < count; a++)
			chosen[a] = index[a];
		return count;
	}
	if (p->k == 0)
		return 0;
	for (size_t a = 0; a < count; a++)
		p->column[a] = p->scores[index[a] * p->lanes + lane];
	float edge = select_kth_largest(p->kern, p->column, count, p->k), near_edge = 2 * p->error[lane];
	for (size_t a = 0; a < count; a++) {
		float s = p->scores[index[a] * p->lanes + lane];
		if (s > edge + near_edge)
			chosen[sure++] = index[a];
		else if (s >= edge - near_edge)
			p->edge[near++].index = index[a];
	}
	if (sure + near > p->k) { /* else all near ones are chosen, whatever their order */
		for (size_t a = 0; a < near; a++)
			p->edge[a].score = exact(ctx, lane, p->edge[a].index);
		select_best(p->edge, near, p->k - sure);
	}
	for (size_t a = 0; sure < p->k; a++)
		chosen[sure++] = p->edge[a].index;
	return p->k;
}

double pick_rows_exact(const void *rows, size_t lane, size_t j)
{
	const struct pick_rows *r = rows;
	double sum = 0;

	(void)lane;
	for (size_t e = 0; e < r->d; e++)
		sum += (double)r->q[e] * (r->exact ? r->exact[j * r->d + e] : (double)r->x[j * r->d + e]);
	return sum;
}

float pick_dot_error(size_t d, float length_x, float length_y)
{
	return (float)(d + 2) * FLT_EPSILON * length_x * length_y;
}
