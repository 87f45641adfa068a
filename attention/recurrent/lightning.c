/* SPDX-License-Identifier: BSD-3-Clause
 *
 * lightning: Lightning Attention of TransNormer, linear attention with one decay
 * a head, without a scale.
 *
 *     o_t = sum_{s<=t} exp(-slope (t - s)) (q_t . k_s) v_s
 *
 * Time n d d_v, state d d_v. Qin et al. 2023, arXiv 2307.14995; 2024, arXiv
 * 2401.04658. The algebra is retention's; the papers' contribution is the division
 * into blocks, which is the engine's chunk here. Slopes are an input: by default
 * those of ALiBi, as in the published code, 2^(-8 (h + 1) / H) for head h of H; the
 * paper's formula, 8 h / H (1 - layer / layers), differs from them by orders of
 * magnitude. The norm and gate after it are outside. The bidirectional form,
 * exp(-slope |t - s|), is an extension.
 */
#include "../engine/feature.h"
#include "../oracle/oracle.h"

#include <string.h>

enum { SLOPE, CHUNK };

static const struct attn_param params[] = {
	{ "slope", "minus the logarithm of the decay; auto: ALiBi's slope of the head", ATTN_REAL, NAN, 0,
	  100, NULL },
	FEATURE_CHUNK_PARAM,
	{ 0 },
};

/* 2^(-8 (h + 1) / H) for H a power of two. Others take the slopes of the power p
 * below, then every second one of 2 p. */
static void resolve(const struct attn_shape *s, double *arg)
{
	size_t p = 1;

	if (!isnan(arg[SLOPE]))
		return;
	while (2 * p <= s->heads)
		p *= 2;
	double exponent = s->head < p ? 8 * (double)(s->head + 1) / (double)p
	                              : 8 * (double)(2 * (s->head - p) + 1) / (double)(2 * p);
	arg[SLOPE] = exp2(-exponent);
}

static void copy(const struct attn_call *c, const float *x, size_t ldx, size_t rows, size_t pos,
                 float *y, size_t ldy)
{
	(void)pos;
	for (size_t r = 0; r < rows; r++)
		memcpy(y + r * ldy, x + r * ldx, c->shape->d * sizeof *y);
}

static struct feature_map map_of(const struct attn_shape *s, const double *arg)
{
	return (struct feature_map){
		.dim = s->d, .kind = FEATURE_PLAIN, .query = copy, .key = copy, .normalise = false,
		.decay = exp(-arg[SLOPE]), .chunk = (size_t)arg[CHUNK],
	};
}

static const char *const cases[] = { "slope=0", "slope=0.01", "slope=60:chunk=8", NULL };

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
	.slot = { .keeps = "state: d d_v", FEATURE_DECODE },
	.map = map_of,
};

const struct attn_variant attn_lightning = {
	.abi = ATTN_ABI,
	.name = "lightning",
	.family = "recurrent",
	.title = "Lightning Attention (TransNormer)",
	.paper = "Qin et al. 2023, arXiv 2307.14995; 2024, arXiv 2401.04658",
	.formula = "o_t = sum_{s<=t} exp(-slope (t - s)) (q_t . k_s) v_s",
	.complexity = "n d^2",
	.target = "retention with gamma = exp(-slope) and scale 1: it is that",
	.summary = "No normaliser and no scale: compare directions (cosine), not magnitudes, with "
	           "softmax.",
	.flags = ATTN_CAUSAL | ATTN_BIDIRECTIONAL | ATTN_PARALLEL,
	.impl_bound = 5e-6f,
	.cases = cases,
	.params = params,
	.resolve = resolve,
	.plan = plan,
	.forward = forward,
	.decode = &decode.slot,
	.oracle = oracle_lightning,
};
