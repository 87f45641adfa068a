/* SPDX-License-Identifier: BSD-3-Clause
 *
 * linear-elu: the Linear Transformer.
 *
 *     phi(x) = psi(x) = elu(x) + 1 = x + 1 for x > 0, e^x otherwise;  D = d
 *
 * Time n d d_v, state d (d_v + 1). Katharopoulos, Vyas, Pappas, Fleuret 2020,
 * ICML, arXiv 2006.16236. The reference adds 1e-6 to the denominator (eps);
 * here the default is 0. No scale: this is not an estimate of softmax.
 */
#include "../engine/feature.h"
#include "../oracle/oracle.h"

enum { EPS, CHUNK };

static const struct attn_param params[] = {
	FEATURE_EPS_PARAM,
	FEATURE_CHUNK_PARAM,
	{ 0 },
};

static void features(const struct attn_call *c, const float *x, size_t ldx, size_t rows, size_t pos,
                     float *y, size_t ldy)
{
	(void)pos;
	for (size_t r = 0; r < rows; r++)
		c->kern->elu1(y + r * ldy, x + r * ldx, c->shape->d);
}

static struct feature_map map_of(const struct attn_shape *s, const double *arg)
{
	return (struct feature_map){
		.dim = s->d, .kind = FEATURE_PLAIN, .query = features, .key = features,
		.normalise = true, .eps = (float)arg[EPS], .decay = 1, .chunk = (size_t)arg[CHUNK], .map_exp = (double)s->d,
	};
}

static const char *const cases[] = { "chunk=8", "chunk=1:eps=0.5", NULL };

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
	.slot = { .keeps = "state: d (d_v + 1)", .shares = true, FEATURE_DECODE },
	.map = map_of,
};

const struct attn_variant attn_linear_elu = {
	.abi = ATTN_ABI,
	.name = "linear-elu",
	.family = "linear",
	.title = "Linear Transformer (elu + 1)",
	.paper = "Katharopoulos, Vyas, Pappas, Fleuret 2020, ICML, arXiv 2006.16236",
	.formula = "O_i = phi(q_i)^T sum phi(k_j) v_j^T / phi(q_i)^T sum phi(k_j), phi = elu + 1",
	.complexity = "n d^2",
	.target = "its own kernel; no argument makes it softmax",
	.summary = "Its own kernel, not an estimate of softmax: on unstructured input it is near "
	           "the uniform average.",
	.flags = ATTN_CAUSAL | ATTN_BIDIRECTIONAL | ATTN_CROSS | ATTN_PARALLEL | ATTN_ROWSUM |
	         ATTN_NONNEG | ATTN_QPERM | ATTN_KPERM |
	         ATTN_BF16_OK | ATTN_F16_OK,
	.impl_bound = 5e-6f,
	.cases = cases,
	.params = params,
	.refine = refine,
	.plan = plan,
	.forward = forward,
	.decode = &decode.slot,
	.oracle = oracle_linear_elu,
};
