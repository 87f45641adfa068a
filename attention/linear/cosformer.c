/* SPDX-License-Identifier: BSD-3-Clause
 *
 * cosformer: relu features, reweighted by the distance of the positions.
 *
 *     w_ij = relu(q_i) . relu(k_j) cos(pi (i - j) / 2 M)
 *     phi(q_i) = [relu(q_i) cos a_i, relu(q_i) sin a_i],  a_i = pi i / 2 M;  D = 2 d
 *
 * Time 2 n d d_v. Qin et al. 2022, ICLR, arXiv 2202.08791. The published code takes
 * M from the sequence at hand, so that earlier causal outputs change when the
 * sequence grows; here M is a parameter, at least the length. Rows in which relu
 * leaves nothing in common are zero; the code divides by at least 1e-6 instead.
 */
#include "../engine/feature.h"
#include "../oracle/oracle.h"

enum { M, EPS, CHUNK };

static const struct attn_param params[] = {
	{ "M", "length at which a weight reaches 0; at least n_q and n_k, and the same for all "
	       "lengths that are compared", ATTN_INT, 65536, 1, 1 << 30, NULL },
	FEATURE_EPS_PARAM,
	FEATURE_CHUNK_PARAM,
	{ 0 },
};

/* Rows at positions pos, pos + 1, ...: the angle is turned from row to row. */
static void features(const struct attn_call *c, const float *x, size_t ldx, size_t rows, double pos,
                     float *y, size_t ldy)
{
	const double step = 1.5707963267948966 / c->arg[M];
	double turn_c = cos(step), turn_s = sin(step), at_c = cos(pos * step), at_s = sin(pos * step);
	size_t d = c->shape->d;

	for (size_t r = 0; r < rows; r++) {
		c->kern->relu(y + r * ldy, x + r * ldx, (float)at_c, 0, d);
		c->kern->relu(y + r * ldy + d, x + r * ldx, (float)at_s, 0, d);
		double next = at_c * turn_c - at_s * turn_s;
		at_s = at_s * turn_c + at_c * turn_s;
		at_c = next;
	}
}

/* The last query stands at the last key. */
static void query(const struct attn_call *c, const float *x, size_t ldx, size_t rows, size_t pos,
                  float *y, size_t ldy)
{
	features(c, x, ldx, rows, (double)(pos + c->shape->n_k) - (double)c->shape->n_q, y, ldy);
}

static void key(const struct attn_call *c, const float *x, size_t ldx, size_t rows, size_t pos,
                float *y, size_t ldy)
{
	features(c, x, ldx, rows, (double)pos, y, ldy);
}

static struct feature_map map_of(const struct attn_shape *s, const double *arg)
{
	return (struct feature_map){
		.dim = 2 * s->d, .kind = FEATURE_PLAIN, .query = query, .key = key,
		.normalise = true, .eps = (float)arg[EPS], .decay = 1, .chunk = (size_t)arg[CHUNK],
		.map_flops = 2 * (double)s->d,
	};
}

static const char *const cases[] = { "M=300", "M=301:eps=0.5", "M=400:chunk=5", NULL };

static void refine(const double *arg, unsigned *flags, float *impl_bound)
{
	(void)impl_bound;
	if (arg[EPS] > 0)
		*flags &= ~(unsigned)(ATTN_ROWSUM | ATTN_QSCALE | ATTN_KSCALE);
}

static const char *plan(const struct attn_shape *s, const double *arg, size_t ranks,
                        struct attn_plan *p)
{
	struct feature_map map = map_of(s, arg);

	if ((double)s->n_q > arg[M] || (double)s->n_k > arg[M])
		return "the sequence is longer than M: give M at least the longest length compared";
	feature_plan(s, &map, ranks, p);
	return NULL;
}

static void forward(const struct attn_call *c, struct attn_team *team)
{
	struct feature_map map = map_of(c->shape, c->arg);

	feature_forward(c, team, &map);
}

static const struct feature_decode decode = {
	.slot = { .keeps = "state: 2 d (d_v + 1)", .shares = true, FEATURE_DECODE },
	.map = map_of,
};

const struct attn_variant attn_cosformer = {
	.abi = ATTN_ABI,
	.name = "cosformer",
	.family = "linear",
	.title = "cosFormer",
	.paper = "Qin et al. 2022, ICLR, arXiv 2202.08791",
	.formula = "w_ij = relu(q_i) . relu(k_j) cos(pi (i - j) / 2M), rows divided by their sum",
	.complexity = "n d^2",
	.target = "its own kernel; plain relu attention as M grows",
	.summary = "Its own kernel, not an estimate of softmax. At n far below M it is plain relu "
	           "attention: set M near the longest length of interest.",
	.flags = ATTN_CAUSAL | ATTN_BIDIRECTIONAL | ATTN_CROSS | ATTN_PARALLEL | ATTN_ROWSUM |
	         ATTN_NONNEG | ATTN_QSCALE | ATTN_KSCALE |
	         ATTN_BF16_OK | ATTN_F16_OK,
	.impl_bound = 5e-6f,
	.cases = cases,
	.params = params,
	.refine = refine,
	.plan = plan,
	.forward = forward,
	.decode = &decode.slot,
	.oracle = oracle_cosformer,
};
