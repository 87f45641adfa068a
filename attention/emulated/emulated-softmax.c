/* SPDX-License-Identifier: BSD-3-Clause
 *
 * emulated-softmax: exact attention by a program that keeps some of its numbers in
 * a narrower format.
 *
 *     s_ij = scale q_i . k_j,  p_ij = e^(s_ij - max_j s_ij),  O_i = sum_j p_ij v_j / sum_j p_ij
 *
 * in double, and rounded to `format` at the places that are switched on. The row
 * sum, where it is one of them, is added up key by key, as a loop would. Its
 * definition is exact attention: err_impl is what the roundings cost. Time n^2 d
 * in scalar code: for errors, not for times.
 */
#include "../engine/half.h"
#include "../engine/layout.h"
#include "../engine/tile.h"
#include "../engine/work.h"
#include "../oracle/oracle.h"

#include <string.h>

enum { FORMAT, INPUTS, SCORES, WEIGHTS, SUMS };
enum { ROWS = 16 }; /* queries at a time */

static const struct attn_param params[] = {
	{ "format", "numbers are rounded to", ATTN_NAME, 1, 0, 2, half_names },
	{ "inputs", "q, k and v", ATTN_FLAG, 1, 0, 1, NULL },
	{ "scores", "logits, as stored", ATTN_FLAG, 0, 0, 1, NULL },
	{ "weights", "exponentials, as they multiply values", ATTN_FLAG, 0, 0, 1, NULL },
	{ "sums", "exponentials, and their sum after each addition", ATTN_FLAG, 0, 0, 1, NULL },
	{ 0 },
};

static const char *const cases[] = { "format=f16", "format=f32:scores=1:weights=1", "inputs=0:sums=1", NULL };

/* A sum that stalls may be low by any factor; roundings apart from that are a few
 * unit roundoffs. */
static void refine(const double *arg, unsigned *flags, float *impl_bound)
{
	static const float unit[] = { [ATTN_F32] = 0x1p-24f, [ATTN_BF16] = 0x1p-8f, [ATTN_F16] = 0x1p-11f };

	*impl_bound = arg[SUMS] != 0 ? 10 : 8 * unit[(size_t)arg[FORMAT]];
	if (arg[SUMS] != 0)
		*flags &= ~(unsigned)(ATTN_ROWSUM | ATTN_KPERM);
}

/* Doubles: rounded copies of the inputs for the team; p for ROWS queries. */
struct memory {
	double *q, *k, *v;
	double *p, *row;
};

static struct memory lay(const struct attn_shape *s, struct layout *shared, struct layout *scratch)
{
	struct memory m;

	LAYOUT(shared, m.q, s->n_q * s->d);
	LAYOUT(shared, m.k, s->n_k * s->d);
	LAYOUT(shared, m.v, s->n_k * s->d_v);
	LAYOUT(scratch, m.p, s->n_k * ROWS);
	LAYOUT(scratch, m.row, s->d_v);
	return m;
}

static const char *plan(const struct attn_shape *s, const double *arg, size_t ranks, struct attn_plan *p)
{
	struct layout shared = { 0 }, scratch = { 0 };

	(void)arg;
	(void)ranks;
	lay(s, &shared, &scratch);
	p->shared = shared.used;
	p->scratch = scratch.used;
	work_softmax(s, work_visible_pairs(s), work_visible_pairs(s), p);
	return NULL;
}

struct work {
	const struct attn_call *c;
	enum attn_type format;
	struct memory m;
};

static void round_at(const struct work *w, size_t place, double *x, size_t n)
{
	if (w->c->arg[place] != 0)
		half_round(w->c->kern, w->format, x, n);
}

static void copy(const struct work *w, double *y, const float *x, size_t ldx, size_t rows, size_t cols,
                 struct attn_team *team)
{
	for (size_t i = work_part(rows, team->rank, team->size); i < work_part(rows, team->rank + 1, team->size); i++) {
		for (size_t e = 0; e < cols; e++)
			y[i * cols + e] = (double)x[i * ldx + e];
		round_at(w, INPUTS, y + i * cols, cols);
	}
}

/* p[j * ROWS + r] = e^(s - max) of query i0 + r; 0 where the key is not seen. */
static void exponentials(const struct work *w, size_t i0, size_t rows, size_t keys)
{
	const struct attn_shape *s = w->c->shape;
	double top[ROWS], *p = w->m.p;

	for (size_t r = 0; r < ROWS; r++)
		top[r] = -INFINITY;
	for (size_t j = 0; j < keys; j++) {
		for (size_t r = 0; r < rows; r++) {
			const double *q = w->m.q + (i0 + r) * s->d, *k = w->m.k + j * s->d;
			double dot = 0;
			for (size_t e = 0; e < s->d; e++)
				dot += q[e] * k[e];
			p[j * ROWS + r] = (double)s->scale * dot;
		}
		round_at(w, SCORES, p + j * ROWS, rows);
		for (size_t r = 0; r < rows; r++)
			if (j < tile_visible(s, i0 + r))
				top[r] = fmax(top[r], p[j * ROWS + r]);
	}
	for (size_t j = 0; j < keys; j++) {
		for (size_t r = 0; r < rows; r++)
			p[j * ROWS + r] = j < tile_visible(s, i0 + r) ? exp(p[j * ROWS + r] - top[r]) : 0;
		round_at(w, SUMS, p + j * ROWS, rows);
	}
}

static void some_rows(const struct work *w, size_t i0, size_t rows)
{
	const struct attn_shape *s = w->c->shape;
	double sum[ROWS] = { 0 }, *p = w->m.p, *row = w->m.row;
	size_t keys = tile_visible(s, i0 + rows - 1);

	exponentials(w, i0, rows, keys);
	for (size_t j = 0; j < keys; j++) {
		for (size_t r = 0; r < rows; r++)
			sum[r] += p[j * ROWS + r];
		round_at(w, SUMS, sum, rows);
		round_at(w, WEIGHTS, p + j * ROWS, rows);
	}
	for (size_t r = 0; r < rows; r++) {
		float *out = (float *)w->c->out + (i0 + r) * w->c->ldo;
		memset(row, 0, s->d_v * sizeof *row);
		for (size_t j = 0; j < tile_visible(s, i0 + r); j++)
			for (size_t e = 0; e < s->d_v; e++)
				row[e] += p[j * ROWS + r] * w->m.v[j * s->d_v + e];
		for (size_t e = 0; e < s->d_v; e++)
			out[e] = sum[r] > 0 ? (float)(row[e] / sum[r]) : 0;
	}
}

static void forward(const struct attn_call *c, struct attn_team *team)
{
	const struct attn_shape *s = c->shape;
	struct layout shared = { c->shared, 0 }, scratch = { c->scratch, 0 };
	struct work w = { c, (enum attn_type)c->arg[FORMAT], lay(s, &shared, &scratch) };

	copy(&w, w.m.q, c->q, c->ldq, s->n_q, s->d, team);
	copy(&w, w.m.k, c->k, c->ldk, s->n_k, s->d, team);
	copy(&w, w.m.v, c->v, c->ldv, s->n_k, s->d_v, team);
	attn_barrier(team);
	for (size_t i = team->rank * ROWS; i < s->n_q; i += team->size * ROWS)
		some_rows(&w, i, s->n_q - i < ROWS ? s->n_q - i : ROWS);
	if (c->stats && team->rank == 0) {
		c->stats->pairs += work_visible_pairs(s);
		c->stats->flops_executed += 2 * work_visible_pairs(s) * (double)(s->d + s->d_v);
	}
}

const struct attn_variant attn_emulated_softmax = {
	.abi = ATTN_ABI,
	.name = "emulated-softmax",
	.family = "emulated",
	.title = "softmax attention with numbers rounded on the way",
	.paper = "none: a study of roundings",
	.formula = "softmax(scale Q K^T) V in double, rounded to a format at chosen places",
	.complexity = "n^2 d",
	.target = "softmax attention as the format gets finer",
	.summary = "Shows which numbers of exact attention may be kept in bf16 or f16: err_impl is the cost of the "
	           "roundings. Slow, as it computes in double.",
	.flags = ATTN_CAUSAL | ATTN_BIDIRECTIONAL | ATTN_CROSS | ATTN_PARALLEL | ATTN_ROWSUM | ATTN_NONNEG |
	         ATTN_QPERM | ATTN_KPERM | ATTN_LOGITS | ATTN_EMULATED,
	.impl_bound = 0x1p-5f,
	.limit = "format=f32",
	.cases = cases,
	.params = params,
	.refine = refine,
	.plan = plan,
	.forward = forward,
	.oracle = oracle_exact,
};
