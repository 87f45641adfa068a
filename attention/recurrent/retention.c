/* SPDX-License-Identifier: BSD-3-Clause
 *
 * retention: RetNet's decayed linear attention.
 *
 *     o_t = scale sum_{s<=t} gamma^(t-s) (q_t . k_s) v_s
 *
 * gamma_h = 1 - 2^(-5-h) for head h. Time n d d_v, state d d_v. Sun et al. 2023,
 * arXiv 2307.08621. Without rotary positions, group norm and gate, which are
 * outside the kernel. The bidirectional form, gamma^|t-s|, is an extension. Powers
 * of gamma are never divided by: they would underflow.
 *
 * norm=paper: decays of a row are divided by sqrt(sum_s gamma^(t-s)), then the
 * scores of the row by max(|their sum|, 1). The row's norm after it hides both.
 */
#include "../engine/feature.h"
#include "../oracle/oracle.h"

#include <string.h>

enum { GAMMA, NORM, CHUNK };
enum { NONE, PAPER };

static const char *const norms[] = { "none", "paper", NULL };

static const struct attn_param params[] = {
	{ "gamma", "decay a token; auto: 1 - 2^(-5-h) for head h", ATTN_REAL, NAN, 0, 1, NULL },
	{ "norm", "of scores: none, or the paper's", ATTN_NAME, 0, 0, 1, norms },
	FEATURE_CHUNK_PARAM,
	{ 0 },
};

static void resolve(const struct attn_shape *s, double *arg)
{
	if (isnan(arg[GAMMA]))
		arg[GAMMA] = 1 - exp2(-5.0 - (double)(s->head < 40 ? s->head : 40));
}

static void query(const struct attn_call *c, const float *x, size_t ldx, size_t rows, size_t pos,
                  float *y, size_t ldy)
{
	(void)pos;
	for (size_t r = 0; r < rows; r++)
		c->kern->affine(y + r * ldy, x + r * ldx, c->shape->scale, 0, c->shape->d);
}

static void key(const struct attn_call *c, const float *x, size_t ldx, size_t rows, size_t pos,
                float *y, size_t ldy)
{
	(void)pos;
	for (size_t r = 0; r < rows; r++)
		memcpy(y + r * ldy, x + r * ldx, c->shape->d * sizeof *y);
}

/* norm=paper. With a = 1 / sqrt(sum of decays), the scores sum to a den, and
 * a num / max(|a den|, 1) = num / max(|den|, 1 / a). */
static float paper_divisor(const struct attn_call *c, size_t t, float den)
{
	double gamma = c->arg[GAMMA], keys = (double)(t + 1);
	double decays = gamma == 1 ? keys : (1 - pow(gamma, keys)) / (1 - gamma);

	return fmaxf(fabsf(den), (float)sqrt(decays));
}

static struct feature_map map_of(const struct attn_shape *s, const double *arg)
{
	return (struct feature_map){
		.dim = s->d, .kind = FEATURE_PLAIN, .query = query, .key = key,
		.normalise = arg[NORM] == PAPER, .divisor = paper_divisor, .decay = arg[GAMMA],
		.chunk = (size_t)arg[CHUNK],
	};
}

static const char *const cases[] = { "gamma=0", "gamma=1", "gamma=0.5:chunk=8", "norm=paper", "gamma=1:norm=paper", NULL };

static const char *plan(const struct attn_shape *s, const double *arg, size_t ranks,
                        struct attn_plan *p)
{
	struct feature_map map = map_of(s, arg);

	if (arg[NORM] == PAPER && !s->causal)
		return "norm=paper is defined for the causal form; use norm=none";
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

const struct attn_variant attn_retention = {
	.abi = ATTN_ABI,
	.name = "retention",
	.family = "recurrent",
	.title = "retention (RetNet)",
	.paper = "Sun et al. 2023, arXiv 2307.08621",
	.formula = "o_t = scale sum_{s<=t} gamma^(t-s) (q_t . k_s) v_s",
	.complexity = "n d^2",
	.target = "its own decayed sum; causal q . k sums without softmax at gamma = 1",
	.summary = "No normaliser: compare directions (cosine), not magnitudes, with softmax.",
	.flags = ATTN_CAUSAL | ATTN_BIDIRECTIONAL | ATTN_PARALLEL | ATTN_LOGITS,
	.impl_bound = 5e-6f,
	.cases = cases,
	.params = params,
	.resolve = resolve,
	.plan = plan,
	.forward = forward,
	.decode = &decode.slot,
	.oracle = oracle_retention,
};
