/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Implied weights, head by head. */
#include "weights.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../datasets/npy.h"
#include "reference.h"

/* The matrix of a head has at most KEYS x KEYS elements; of each of the first
 * HEADS heads, ROWS rows are looked at. */
enum { KEYS = 1024, HEADS = 8, ROWS = 128 };

/* Weights below this are lost to the range of float32, not dropped. */
static const double LEAST = 1e-30;
/* How far weights may be from 1 in sum, and A V from the output: the errors of
 * float32 are below, what has no such matrix is far above. */
static const double SUM = 1e-3, IMPLIED = 1e-3;

struct weights_row weights_compare(const double *log_p, const float *a, size_t n)
{
	struct weights_row row = { 0 };
	double sum = 0, exact = 0;
	bool negative = false;

	for (size_t j = 0; j < n; j++) {
		double p = exp(log_p[j]), x = (double)a[j];

		row.tv += fabs(p - x) / 2;
		sum += x;
		exact += p;
		negative |= x < 0;
		if (x == 0 && p > 0)
			row.dropped += p;
		if (x == 0 && p > LEAST)
			row.kl = INFINITY;
		if (x > 0 && p > 0)
			row.kl += p * (log_p[j] - log(x));
		if (x > 0)
			row.kl_rev += x * (log(x) - log_p[j]);
	}
	/* Of sums that rounding leaves beside 1: so that neither is below 0. */
	row.kl += sum - exact;
	row.kl_rev += exact - sum;
	if (negative || !(fabs(sum - 1) <= SUM))
		row.kl = row.kl_rev = NAN;
	return row;
}

/* ---- the kernel with V = I ------------------------------------------------- */

struct probe {
	struct worker *w;
	struct attn_shape shape;
	struct attn_plan plan;
	size_t ranks;
	float *v, *out;        /* n_k x n_k, n_q x n_k */
	char *state, *shared, *scratch; /* scratch: one a rank */
	size_t head;           /* of all sequences */
	size_t rows[ROWS], n_rows;
	double *log_p;         /* n_k */
};

static size_t padded(size_t bytes)
{
	return (bytes + ATTN_ALIGN) / ATTN_ALIGN * ATTN_ALIGN;
}

/* False: this cell is not looked at. */
static bool plan_probe(const struct cell *c, const double *arg, unsigned flags, struct probe *p)
{
	p->shape = cell_shape(c, 0);
	p->shape.d_v = c->n_k;
	p->ranks = flags & ATTN_PARALLEL ? c->threads : 1;
	return c->mode == MODE_FORWARD && c->type == ATTN_F32 && c->n_k <= KEYS && c->n_q <= KEYS &&
	       !c->variant->plan(&p->shape, arg, p->ranks, &p->plan);
}

size_t weights_bytes(const struct cell *c)
{
	double arg[ATTN_MAX_PARAMS];
	struct probe p = { 0 };

	layer_resolve(c, 0, arg);
	if (!plan_probe(c, arg, attn_flags(c->variant, arg), &p))
		return 0;
	return (c->n_k + c->n_q) * c->n_k * sizeof(float) + c->n_k * sizeof(double) +
	       p.plan.state + p.plan.shared + p.ranks * padded(p.plan.scratch);
}

static void *block(size_t bytes)
{
	return aligned_alloc(ATTN_ALIGN, padded(bytes));
}

static void run_rank(void *arg, struct attn_team *me)
{
	const struct probe *p = arg;
	const struct layer *l = &p->w->layer;
	const struct cell *c = &l->cell;
	struct attn_call call = {
		.shape = &p->shape,
		.arg = l->plan.arg,
		.kern = l->kern,
		.state = p->plan.state ? p->state : NULL,
		.q = layer_q(l, p->head, 0),
		.k = layer_k(l, p->head, 0),
		.v = p->v,
		.out = p->out,
		.ldq = c->d,
		.ldk = c->d,
		.ldv = c->n_k,
		.ldo = c->n_k,
		.shared = p->shared,
		.scratch = p->scratch + me->rank * padded(p->plan.scratch),
	};
	struct attn_team alone = { 0, 1, me->barrier, me->impl };

	if (p->ranks > 1)
		c->variant->forward(&call, me);
	else if (me->rank == 0)
		c->variant->forward(&call, &alone);
}

/* Is the output of the layer A V? */
static bool is_implied(const struct probe *p)
{
	const struct layer *l = &p->w->layer;
	size_t n = l->cell.n_k, d_v = l->cell.d_v;
	const float *v = layer_v(l, p->head, 0), *out = layer_out(l, p->head, 0);
	double error = 0, norm = 0;

	for (size_t r = 0; r < p->n_rows; r++) {
		const float *a = p->out + p->rows[r] * n, *x = out + p->rows[r] * d_v;
		for (size_t c = 0; c < d_v; c++) {
			double y = 0;
			for (size_t j = 0; j < n; j++)
				y += (double)a[j] * (double)v[j * d_v + c];
			error += (y - (double)x[c]) * (y - (double)x[c]);
			norm += (double)x[c] * (double)x[c];
		}
	}
	return error <= IMPLIED * IMPLIED * norm;
}

/* log_p[0..n_k) of a row that sees `visible` keys. */
static void exact_row(const struct probe *p, size_t i, size_t visible)
{
	const struct layer *l = &p->w->layer;
	size_t n = l->cell.n_k, d = l->cell.d;
	const float *q = layer_q(l, p->head, i), *k = layer_k(l, p->head, 0);
	double top = -INFINITY, sum = 0;

	for (size_t j = 0; j < n; j++) {
		double s = 0;
		for (size_t c = 0; c < d && j < visible; c++)
			s += (double)q[c] * (double)k[j * d + c];
		p->log_p[j] = j < visible ? s * (double)p->shape.scale : -INFINITY;
		top = fmax(top, p->log_p[j]);
	}
	for (size_t j = 0; j < visible; j++)
		sum += exp(p->log_p[j] - top);
	for (size_t j = 0; j < visible; j++)
		p->log_p[j] -= top + log(sum);
}

/* One head; false: there is no such matrix. */
static bool probe_head(struct probe *p, struct weights_row *sum, size_t *rows)
{
	const struct cell *c = &p->w->layer.cell;
	const struct reference_input in = { .n_q = c->n_q, .n_k = c->n_k, .causal = c->causal };

	p->shape.head = p->head % c->heads;
	if (c->variant->prepare)
		c->variant->prepare(&p->shape, p->w->layer.plan.arg, c->seed, p->state);
	team_run(p->w->team, TEAM_FAST, run_rank, p);
	if (!is_implied(p))
		return false;
	for (size_t r = 0; r < p->n_rows; r++) {
		size_t visible = reference_visible(&in, p->rows[r]);
		if (visible == 0)
			continue;
		exact_row(p, p->rows[r], visible);
		struct weights_row row = weights_compare(p->log_p, p->out + p->rows[r] * c->n_k, c->n_k);
		sum->tv += row.tv;
		sum->kl += row.kl;
		sum->kl_rev += row.kl_rev;
		sum->dropped += row.dropped;
		++*rows;
	}
	return true;
}

void weights_path(const struct job *job, char path[WEIGHTS_PATH])
{
	snprintf(path, WEIGHTS_PATH, "%s/%s.npy", job->cache_dir, job->cell.id);
}

/* Of the head that was probed last, all rows. */
static bool keep(const struct probe *p)
{
	const struct cell *c = &p->w->layer.cell;
	const struct reference_input in = { .n_q = c->n_q, .n_k = c->n_k, .causal = c->causal };
	size_t n = c->n_q * c->n_k;
	float *both = malloc(2 * n * sizeof *both);
	char path[WEIGHTS_PATH], error[TENSOR_ERROR_MAX];

	if (!both)
		return worker_end(p->w, STATUS_OOM, "no memory for the weights to keep");
	for (size_t i = 0; i < c->n_q; i++) {
		exact_row(p, i, reference_visible(&in, i));
		for (size_t j = 0; j < c->n_k; j++)
			both[i * c->n_k + j] = (float)exp(p->log_p[j]);
	}
	memcpy(both + n, p->out, n * sizeof *both);
	weights_path(p->w->job, path);
	bool ok = npy_write(path, 3, (const size_t[]){ 2, c->n_q, c->n_k }, both, error);
	free(both);
	return ok || worker_end(p->w, STATUS_FAILED, "%s", error);
}

static bool take_memory(struct probe *p)
{
	const struct cell *c = &p->w->layer.cell;
	size_t n = c->n_k;

	p->v = block(n * n * sizeof *p->v);
	p->out = block(c->n_q * n * sizeof *p->out);
	p->state = block(p->plan.state);
	p->shared = block(p->plan.shared);
	p->scratch = block(p->ranks * padded(p->plan.scratch));
	p->log_p = block(n * sizeof *p->log_p);
	if (!p->v || !p->out || !p->state || !p->shared || !p->scratch || !p->log_p)
		return false;
	for (size_t j = 0; j < n; j++)
		for (size_t e = 0; e < n; e++)
			p->v[j * n + e] = j == e;
	return true;
}

bool weights_measure(struct worker *w)
{
	const struct layer *l = &w->layer;
	struct probe p = { .w = w };
	struct weights_row sum = { 0 };
	/* All sequences, or the first, whose length is that of the cell. */
	size_t rows = 0, heads = l->cell.lengths == LENGTHS_FULL ? l->plan.total : l->cell.heads;
	bool ok = plan_probe(&l->cell, l->plan.arg, l->plan.flags, &p) && take_memory(&p), kept = true;

	p.n_rows = reference_rows(l->cell.n_q, ROWS, ROWS, p.rows);
	for (p.head = 0; ok && p.head < heads && p.head < HEADS; p.head++) {
		ok = probe_head(&p, &sum, &rows);
		if (ok && p.head == 0 && w->job->keep_weights)
			kept = keep(&p);
	}
	if (ok && rows > 0) {
		w->out->weights_rows = (int64_t)rows;
		w->out->weights_tv = sum.tv / (double)rows;
		w->out->weights_kl = isfinite(sum.kl) ? sum.kl / (double)rows : (double)NAN;
		w->out->weights_kl_rev = sum.kl_rev / (double)rows;
		w->out->weights_dropped = sum.dropped / (double)rows;
	}
	free(p.v);
	free(p.out);
	free(p.state);
	free(p.shared);
	free(p.scratch);
	free(p.log_p);
	return kept;
}
