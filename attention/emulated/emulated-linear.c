/* SPDX-License-Identifier: BSD-3-Clause
 *
 * emulated-linear: linear attention (the map of linear-elu) whose state is kept in
 * a narrower format.
 *
 *     S += phi(k_j) v_j^T,  z += phi(k_j),  O_i = phi(q_i) S / (eps + phi(q_i) . z)
 *
 * token by token, each element of S and z rounded to `format` after its addition
 * where the parameter state is 1. A sum of terms near 1 stops growing at 256 in
 * bf16 and at 2048 in f16. Its definition is the formula: err_impl is what the
 * roundings cost. Time n d d_v in scalar code: for errors, not for times.
 */
#include "../engine/half.h"
#include "../engine/layout.h"
#include "../engine/tile.h"
#include "../engine/work.h"
#include "../oracle/oracle.h"

#include <string.h>

enum { EPS, FORMAT, FEATURES, STATE };

static const struct attn_param params[] = {
	{ "eps", "added to the denominator", ATTN_REAL, 0, 0, 1, NULL },
	{ "format", "numbers are rounded to", ATTN_NAME, 1, 0, 2, half_names },
	{ "features", "features of queries and keys, and values", ATTN_FLAG, 1, 0, 1, NULL },
	{ "state", "sums over keys, after each addition", ATTN_FLAG, 0, 0, 1, NULL },
	{ 0 },
};

static const char *const cases[] = { "format=f16", "format=f32:state=1", "features=0:state=1", NULL };

static void refine(const double *arg, unsigned *flags, float *impl_bound)
{
	static const float unit[] = { [ATTN_F32] = 0x1p-24f, [ATTN_BF16] = 0x1p-8f, [ATTN_F16] = 0x1p-11f };

	/* A state that stalls may be low by any factor; roundings apart from that are
	 * a few unit roundoffs. */
	*impl_bound = arg[STATE] != 0 ? 10 : 8 * unit[(size_t)arg[FORMAT]];
	if (arg[STATE] != 0)
		*flags &= ~(unsigned)(ATTN_KPERM);
	if (arg[STATE] != 0 || arg[EPS] > 0)
		*flags &= ~(unsigned)(ATTN_ROWSUM);
}

struct memory {
	double *sum; /* d x (d_v + 1): S, and z as its last column */
	double *feature, *value, *row;
};

static struct memory lay(const struct attn_shape *s, struct layout *scratch)
{
	struct memory m;

	LAYOUT(scratch, m.sum, s->d * (s->d_v + 1));
	LAYOUT(scratch, m.feature, s->d);
	LAYOUT(scratch, m.value, s->d_v + 1);
	LAYOUT(scratch, m.row, s->d_v + 1);
	return m;
}

static const char *plan(const struct attn_shape *s, const double *arg, size_t ranks, struct attn_plan *p)
{
	struct layout scratch = { 0 };

	(void)arg;
	(void)ranks;
	lay(s, &scratch);
	p->scratch = scratch.used;
	p->flops_useful = 2 * (double)(s->n_q + s->n_k) * (double)s->d * (double)(s->d_v + 1);
	p->flops_executed = p->flops_useful;
	p->n_exp = (double)(s->n_q + s->n_k) * (double)s->d;
	p->pairs = work_visible_pairs(s);
	p->bytes = work_io_bytes(s);
	return NULL;
}

static void round_at(const struct attn_call *c, size_t place, double *x, size_t n)
{
	if (c->arg[place] != 0)
		half_round(c->kern, (enum attn_type)c->arg[FORMAT], x, n);
}

/* elu(x) + 1 */
static void features(const struct attn_call *c, const float *x, double *y)
{
	for (size_t e = 0; e < c->shape->d; e++)
		y[e] = x[e] > 0 ? 1 + (double)x[e] : exp((double)x[e]);
	round_at(c, FEATURES, y, c->shape->d);
}

static void take_up(const struct attn_call *c, struct memory *m, size_t j)
{
	size_t d = c->shape->d, d_v = c->shape->d_v;
	const float *v = (const float *)c->v + j * c->ldv;

	features(c, (const float *)c->k + j * c->ldk, m->feature);
	for (size_t e = 0; e < d_v; e++)
		m->value[e] = (double)v[e];
	round_at(c, FEATURES, m->value, d_v);
	m->value[d_v] = 1;
	for (size_t f = 0; f < d; f++) {
		double *sum = m->sum + f * (d_v + 1);
		for (size_t e = 0; e <= d_v; e++)
			sum[e] += m->feature[f] * m->value[e];
		round_at(c, STATE, sum, d_v + 1);
	}
}

static void attend(const struct attn_call *c, struct memory *m, size_t i)
{
	size_t d = c->shape->d, d_v = c->shape->d_v;
	float *out = (float *)c->out + i * c->ldo;

	features(c, (const float *)c->q + i * c->ldq, m->feature);
	memset(m->row, 0, (d_v + 1) * sizeof *m->row);
	for (size_t f = 0; f < d; f++)
		for (size_t e = 0; e <= d_v; e++)
			m->row[e] += m->feature[f] * m->sum[f * (d_v + 1) + e];
	double under = m->row[d_v] + c->arg[EPS];
	for (size_t e = 0; e < d_v; e++)
		out[e] = under > 0 ? (float)(m->row[e] / under) : 0;
}

static void forward(const struct attn_call *c, struct attn_team *team)
{
	const struct attn_shape *s = c->shape;
	struct layout scratch = { c->scratch, 0 };
	struct memory m = lay(s, &scratch);
	size_t seen = 0;

	(void)team;
	memset(m.sum, 0, s->d * (s->d_v + 1) * sizeof *m.sum);
	for (size_t i = 0; i < s->n_q; i++) {
		for (; seen < tile_visible(s, i); seen++)
			take_up(c, &m, seen);
		attend(c, &m, i);
	}
	if (c->stats) {
		c->stats->pairs += work_visible_pairs(s);
		c->stats->flops_executed += 2 * (double)(s->n_q + s->n_k) * (double)s->d * (double)(s->d_v + 1);
	}
}

const struct attn_variant attn_emulated_linear = {
	.abi = ATTN_ABI,
	.name = "emulated-linear",
	.family = "emulated",
	.title = "linear attention with its state rounded",
	.paper = "none: a study of roundings",
	.formula = "linear-elu in double, token by token, rounded to a format at chosen places",
	.complexity = "n d^2",
	.target = "linear-elu as the format gets finer",
	.summary = "Shows why the state of a recurrence is kept in f32: err_impl is the cost of the roundings, and "
	           "grows with n where the state is rounded. Slow, as it computes in double.",
	.flags = ATTN_CAUSAL | ATTN_BIDIRECTIONAL | ATTN_CROSS | ATTN_ROWSUM | ATTN_NONNEG | ATTN_QPERM |
	         ATTN_KPERM | ATTN_EMULATED,
	.impl_bound = 0x1p-5f,
	.cases = cases,
	.params = params,
	.refine = refine,
	.plan = plan,
	.forward = forward,
	.oracle = oracle_linear_elu,
};
