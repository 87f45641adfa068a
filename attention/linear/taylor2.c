/* SPDX-License-Identifier: BSD-3-Clause
 *
 * taylor2: the second-order Taylor form of the exponential.
 *
 *     w_ij = 1 + s + s^2 / 2,  s = scale q_i . k_j
 *     phi(x) = psi(x) = [1, x', x'_a^2 / sqrt 2, x'_a x'_b (a < b)],  x' = x sqrt(scale)
 *     D = 1 + d + d (d + 1) / 2: each product of two channels once
 *
 * Time n D d_v: cubic in d. Arora et al. 2024, arXiv 2402.18668 (Based), where d is
 * 16, D = 153; earlier Mercat 2020, arXiv 2010.14816. At d = 64, D = 2145 and the
 * state is larger than the keys and values of 2000 tokens. w >= 1/2, so that
 * no denominator is small, but w is not monotone: below s = -1 it grows again.
 * Published codes keep all d^2 products and add 1e-12 or 1e-6 to the denominator.
 */
#include "../engine/feature.h"
#include "../oracle/oracle.h"

#include <string.h>

enum { EPS, CHUNK };

static const struct attn_param params[] = {
	FEATURE_EPS_PARAM,
	FEATURE_CHUNK_PARAM,
	{ 0 },
};

static size_t dimension(size_t d)
{
	return 1 + d + d * (d + 1) / 2;
}

static void features(const struct attn_call *c, const float *x, size_t ldx, size_t rows, size_t pos,
                     float *y, size_t ldy)
{
	size_t d = c->shape->d;
	float root = sqrtf(c->shape->scale);

	(void)pos;
	for (size_t r = 0; r < rows; r++) {
		float *to = y + r * ldy, *scaled = to + 1;
		to[0] = 1;
		memcpy(scaled, x + r * ldx, d * sizeof *scaled);
		c->kern->scale(scaled, root, d);
		c->kern->pairs(scaled + d, scaled, sqrtf(0.5f), d);
	}
}

/* Within a chunk w itself is cheaper than D products: 1 + s (1 + s / 2). */
static void near(const struct attn_call *c, size_t i0, size_t j0, size_t rows, float *w, size_t ld,
                 float *work)
{
	const struct kern *kern = c->kern;
	size_t d = c->shape->d;

	kern->transpose(work, ld, (const float *)c->k + j0 * c->ldk, c->ldk, rows, d);
	kern->mm(w, ld, (const float *)c->q + i0 * c->ldq, c->ldq, 1, work, ld, rows, rows, d, false);
	for (size_t r = 0; r < rows; r++) {
		for (size_t s = 0; s <= r; s++) {
			float x = c->shape->scale * w[r * ld + s];
			w[r * ld + s] = 1 + x * (1 + x / 2);
		}
	}
}

static struct feature_map map_of(const struct attn_shape *s, const double *arg)
{
	return (struct feature_map){
		.dim = dimension(s->d), .kind = FEATURE_PLAIN, .query = features, .key = features,
		.near = near, .near_flops = 2 * (double)s->d,
		.normalise = true, .eps = (float)arg[EPS], .decay = 1, .chunk = (size_t)arg[CHUNK],
		.map_flops = (double)(s->d * (s->d + 1)) / 2,
	};
}

static const char *const cases[] = { "eps=0.5", "chunk=5", NULL };

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
	.slot = { .keeps = "state: (1 + d + d (d + 1) / 2) (d_v + 1)", .shares = true, FEATURE_DECODE },
	.map = map_of,
};

const struct attn_variant attn_taylor2 = {
	.abi = ATTN_ABI,
	.name = "taylor2",
	.family = "linear",
	.title = "second-order Taylor attention (Based)",
	.paper = "Arora et al. 2024, arXiv 2402.18668",
	.formula = "w_ij = 1 + s + s^2/2, s = scale q_i . k_j, rows divided by their sum",
	.complexity = "n d^3",
	.target = "softmax attention as logits go to 0, with an error of third order",
	.summary = "Converges to softmax for small logits, with an error of third order; the paper uses "
	           "d = 16 and a window beside it. At d = 64 slower than exact attention until n of "
	           "some thousands.",
	.flags = ATTN_CAUSAL | ATTN_BIDIRECTIONAL | ATTN_CROSS | ATTN_PARALLEL | ATTN_ROWSUM |
	         ATTN_NONNEG | ATTN_QPERM | ATTN_KPERM | ATTN_LOGITS,
	.impl_bound = 5e-6f,
	.cases = cases,
	.params = params,
	.refine = refine,
	.plan = plan,
	.forward = forward,
	.decode = &decode.slot,
	.oracle = oracle_taylor2,
};
