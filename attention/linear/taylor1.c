/* SPDX-License-Identifier: BSD-3-Clause
 *
 * taylor1: the first-order Taylor form with unit vectors.
 *
 *     w_ij = 1 + temp q^_i . k^_j,  x^ = x / max(|x|, 1e-12)
 *     phi(q) = [1, temp q^], psi(k) = [1, k^];  D = d + 1
 *
 * Time n (d + 1) d_v. Su Jianlin 2020, kexue.fm archive 7546. 0 <= w <= 2, so
 * the average over keys dominates: cosines of random vectors are ~ d^-1/2.
 */
#include "../engine/feature.h"
#include "../oracle/oracle.h"

enum { TEMP, EPS, CHUNK };

static const struct attn_param params[] = {
	{ "temp", "factor of the cosine; at most 1 keeps weights non-negative", ATTN_REAL, 1, 0, 1, NULL },
	FEATURE_EPS_PARAM,
	FEATURE_CHUNK_PARAM,
	{ 0 },
};

/* y = [1, factor x / |x|] */
static void unit_rows(const struct attn_call *c, const float *x, size_t ldx, size_t rows, float *y,
                      size_t ldy, float factor)
{
	size_t d = c->shape->d;

	for (size_t r = 0; r < rows; r++) {
		const float *from = x + r * ldx;
		float norm = sqrtf(c->kern->dot(from, from, d));
		y[r * ldy] = 1;
		for (size_t e = 0; e < d; e++)
			y[r * ldy + 1 + e] = from[e];
		c->kern->scale(y + r * ldy + 1, factor / fmaxf(norm, 1e-12f), d);
	}
}

static void query(const struct attn_call *c, const float *x, size_t ldx, size_t rows, size_t pos,
                  float *y, size_t ldy)
{
	(void)pos;
	unit_rows(c, x, ldx, rows, y, ldy, (float)c->arg[TEMP]);
}

static void key(const struct attn_call *c, const float *x, size_t ldx, size_t rows, size_t pos,
                float *y, size_t ldy)
{
	(void)pos;
	unit_rows(c, x, ldx, rows, y, ldy, 1);
}

static struct feature_map map_of(const struct attn_shape *s, const double *arg)
{
	return (struct feature_map){
		.dim = s->d + 1, .kind = FEATURE_PLAIN, .query = query, .key = key,
		.normalise = true, .eps = (float)arg[EPS], .decay = 1, .chunk = (size_t)arg[CHUNK],
		.map_flops = 3 * (double)s->d,
	};
}

static const char *const cases[] = { "temp=0.5:eps=0.5", "chunk=5", NULL };

static void refine(const double *arg, unsigned *flags, float *impl_bound)
{
	(void)impl_bound;
	if (arg[EPS] > 0)
		*flags &= ~(unsigned)ATTN_ROWSUM;
}

static const char *plan(const struct attn_shape *s, const double *arg, size_t ranks,
                        struct attn_plan *p)
{
	struct feature_map map = map_of(s, arg);

	feature_plan(s, &map, ranks, p);
	return NULL;
}

static void forward(const struct attn_call *c, struct attn_team *team)
{
	struct feature_map map = map_of(c->shape, c->arg);

	feature_forward(c, team, &map);
}

static const struct feature_decode decode = {
	.slot = { .keeps = "state: (d + 1) (d_v + 1)", .shares = true, FEATURE_DECODE },
	.map = map_of,
};

const struct attn_variant attn_taylor1 = {
	.abi = ATTN_ABI,
	.name = "taylor1",
	.family = "linear",
	.title = "first-order Taylor attention with unit vectors",
	.paper = "Su Jianlin 2020, kexue.fm archive 7546",
	.formula = "w_ij = 1 + q^_i . k^_j, rows divided by their sum",
	.complexity = "n d^2",
	.target = "softmax of cosines, to first order",
	.summary = "Estimates softmax of cosines, not of q.k/sqrt(d); nearly uniform at large d.",
	.flags = ATTN_CAUSAL | ATTN_BIDIRECTIONAL | ATTN_CROSS | ATTN_PARALLEL | ATTN_ROWSUM |
	         ATTN_NONNEG | ATTN_QPERM | ATTN_KPERM | ATTN_QSCALE | ATTN_KSCALE |
	         ATTN_BF16_OK | ATTN_F16_OK,
	.impl_bound = 5e-6f,
	.cases = cases,
	.params = params,
	.refine = refine,
	.plan = plan,
	.forward = forward,
	.decode = &decode.slot,
	.oracle = oracle_taylor1,
};
