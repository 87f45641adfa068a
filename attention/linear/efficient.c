/* SPDX-License-Identifier: BSD-3-Clause
 *
 * efficient: Efficient Attention, two softmaxes before the product.
 *
 *     O = rho_q(Q) (rho_k(K)^T V)
 *     rho_q: softmax of a query over its d features
 *     rho_k: softmax of each key feature over the sequence (kmode=sequence), or
 *            of a key over its features, rows then normalised (kmode=feature)
 *
 * Time n d d_v. Shen, Zhang, Zhao, Yi, Li 2018, WACV 2021, arXiv 1812.01243. The
 * paper is bidirectional; the causal form keeps a running maximum and sum for
 * each channel, O_t = sum_c rho_q(t,c) (sum_{j<=t} e^k_jc v_j) / (sum_{j<=t} e^k_jc),
 * and agrees with the bidirectional one on the last row.
 */
#include "../engine/feature.h"
#include "../oracle/oracle.h"

#include <string.h>

enum { KMODE, EPS, CHUNK };
enum { SEQUENCE, FEATURE };

static const char *const kmodes[] = { "sequence", "feature", NULL };

static const struct attn_param params[] = {
	{ "kmode", "softmax of keys over the sequence or over features", ATTN_NAME, 0, 0, 1, kmodes },
	FEATURE_EPS_PARAM,
	FEATURE_CHUNK_PARAM,
	{ 0 },
};

static void softmax_rows(const struct attn_call *c, const float *x, size_t ldx, size_t rows,
                         size_t pos, float *y, size_t ldy)
{
	size_t d = c->shape->d;

	(void)pos;
	for (size_t r = 0; r < rows; r++) {
		const float *from = x + r * ldx;
		float sum = c->kern->exp_shift(y + r * ldy, from, c->kern->max(from, d), d);
		c->kern->scale(y + r * ldy, 1 / sum, d);
	}
}

static void exponents(const struct attn_call *c, const float *x, size_t ldx, size_t rows, size_t pos,
                      float *y, size_t ldy)
{
	(void)pos;
	for (size_t r = 0; r < rows; r++)
		memcpy(y + r * ldy, x + r * ldx, c->shape->d * sizeof *y);
}

static struct feature_map map_of(const struct attn_shape *s, const double *arg)
{
	bool sequence = arg[KMODE] == SEQUENCE;

	return (struct feature_map){
		.dim = s->d, .kind = sequence ? FEATURE_CHANNEL : FEATURE_PLAIN, .query = softmax_rows,
		.key = sequence ? exponents : softmax_rows, .normalise = !sequence, .eps = (float)arg[EPS],
		.decay = 1, .chunk = (size_t)arg[CHUNK], .map_exp = (double)s->d,
	};
}

static const char *const cases[] = { "kmode=feature", "kmode=feature:eps=0.01", "chunk=5", NULL };

static void refine(const double *arg, unsigned *flags, float *impl_bound)
{
	(void)impl_bound;
	if (arg[KMODE] == FEATURE)
		*flags &= ~(unsigned)ATTN_KSHIFT;
	if (arg[EPS] > 0)
		*flags &= ~(unsigned)ATTN_ROWSUM;
}

static const char *plan(const struct attn_shape *s, const double *arg, size_t ranks,
                        struct attn_plan *p)
{
	struct feature_map map = map_of(s, arg);

	if (arg[KMODE] == SEQUENCE && arg[EPS] > 0)
		return "eps belongs to kmode=feature: a softmax over the sequence has no row denominator";
	feature_plan(s, &map, ranks, p);
	return NULL;
}

static void forward(const struct attn_call *c, struct attn_team *team)
{
	struct feature_map map = map_of(c->shape, c->arg);

	feature_forward(c, team, &map);
}

static const struct feature_decode decode = {
	.slot = { .keeps = "state: d (d_v + 2)", .shares = true, FEATURE_DECODE },
	.map = map_of,
};

const struct attn_variant attn_efficient = {
	.abi = ATTN_ABI,
	.name = "efficient",
	.family = "linear",
	.title = "Efficient Attention",
	.paper = "Shen, Zhang, Zhao, Yi, Li 2018, WACV 2021, arXiv 1812.01243",
	.formula = "O = softmax_features(Q) (softmax_sequence(K)^T V)",
	.complexity = "n d^2",
	.target = "its own weights; no argument makes them softmax",
	.summary = "Row sums are 1 by construction. The causal form is an extension: one running "
	           "denominator a channel, not one a row.",
	.flags = ATTN_CAUSAL | ATTN_BIDIRECTIONAL | ATTN_CROSS | ATTN_PARALLEL | ATTN_ROWSUM |
	         ATTN_NONNEG | ATTN_QPERM | ATTN_KPERM | ATTN_KSHIFT |
	         ATTN_BF16_OK | ATTN_F16_OK,
	.impl_bound = 5e-6f,
	.cases = cases,
	.params = params,
	.refine = refine,
	.plan = plan,
	.forward = forward,
	.decode = &decode.slot,
	.oracle = oracle_efficient,
};
