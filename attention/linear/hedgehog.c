/* SPDX-License-Identifier: BSD-3-Clause
 *
 * hedgehog: exponential features of a learned projection and of its mirror.
 *
 *     phi(x) = psi(x) = [exp(W x + b), exp(-W x - b)];  D = 2 d
 *     form=softmax: the same, divided by its sum over the 2 d features
 *
 * Time 2 n d d_v (and 2 n d^2 with a W). Zhang, Bhatia, Kumbong, Re 2024, ICLR, arXiv
 * 2402.04347. W is trained to match softmax weights: inputs "W" (d x d, a row a
 * feature) and "b" (1 x d). Without W, W x is x / d^(1/4), without b it is 0: an
 * untrained control. Exponents are kept relative to a maximum that cancels. One
 * code has softmax over [2 W x, -2 W x]; the 2 is not in the paper's formula.
 */
#include "../engine/feature.h"
#include "../oracle/oracle.h"

enum { FORM, EPS, CHUNK };
enum { EXP, SOFTMAX };

static const char *const forms[] = { "exp", "softmax", NULL };

static const struct attn_param params[] = {
	{ "form", "exponentials, or their softmax over features", ATTN_NAME, 0, 0, 1, forms },
	FEATURE_EPS_PARAM,
	FEATURE_CHUNK_PARAM,
	{ 0 },
};

/* W^T lies before the engine's scratch. */
static size_t weight_floats(size_t d)
{
	return (d * d + 15) / 16 * 16;
}

/* u = [W x + b, -W x - b] */
static void exponents(const struct attn_call *c, const float *x, size_t ldx, size_t rows, size_t pos,
                      float *u, size_t ldu)
{
	size_t d = c->shape->d;
	bool learned = attn_aux_find(c->aux, "W", d, d) != NULL;
	const float *b = attn_aux_find(c->aux, "b", 1, d);
	float root = powf((float)d, -0.25f);

	(void)pos;
	if (learned)
		c->kern->mm(u, ldu, x, ldx, 1, (const float *)c->scratch - weight_floats(d), d, rows, d, d,
		            false);
	for (size_t r = 0; r < rows; r++) {
		float *ur = u + r * ldu;
		if (!learned)
			c->kern->affine(ur, x + r * ldx, root, 0, d);
		if (b)
			c->kern->axpy(ur, 1, b, d);
		c->kern->affine(ur + d, ur, -1, 0, d);
	}
}

/* Relative to the maximum of the row, which cancels in a query, and in a softmax. */
static void relative(const struct attn_call *c, const float *x, size_t ldx, size_t rows, size_t pos,
                     float *y, size_t ldy)
{
	size_t dim = 2 * c->shape->d;

	exponents(c, x, ldx, rows, pos, y, ldy);
	for (size_t r = 0; r < rows; r++) {
		float *u = y + r * ldy;
		float sum = c->kern->exp_shift(u, u, c->kern->max(u, dim), dim);
		if (c->arg[FORM] == SOFTMAX)
			c->kern->scale(u, 1 / sum, dim);
	}
}

static struct feature_map map_of(const struct attn_shape *s, const double *arg)
{
	bool softmax = arg[FORM] == SOFTMAX;

	return (struct feature_map){
		.dim = 2 * s->d, .kind = softmax ? FEATURE_PLAIN : FEATURE_EXP,
		.query = relative, .key = softmax ? relative : exponents, .normalise = true,
		.eps = (float)arg[EPS], .decay = 1, .chunk = (size_t)arg[CHUNK],
		.map_exp = 2 * (double)s->d,
	};
}

static const char *const cases[] = { "form=softmax", "form=softmax:eps=0.01", "chunk=5", NULL };

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

	if (arg[FORM] == EXP && arg[EPS] > 0)
		return "eps needs form=softmax: exponentials are known up to a factor that cancels";
	feature_plan(s, &map, ranks, p);
	p->scratch += weight_floats(s->d) * sizeof(float);
	return NULL;
}

static void forward(const struct attn_call *c, struct attn_team *team)
{
	size_t d = c->shape->d;
	const float *w = attn_aux_find(c->aux, "W", d, d);
	struct feature_map map = map_of(c->shape, c->arg);
	struct attn_call inner = *c;

	inner.scratch = (float *)c->scratch + weight_floats(d);
	if (w) {
		map.map_flops = 2 * (double)(d * d);
		c->kern->transpose(c->scratch, d, w, d, d, d);
	}
	feature_forward(&inner, team, &map);
}

/* The engine's call, W transposed before its scratch. */
static struct attn_decode_call engine_call(const struct attn_decode_call *c)
{
	size_t d = c->shape->d;
	const float *w = attn_aux_find(c->aux, "W", d, d);
	struct attn_decode_call inner = *c;

	inner.scratch = (float *)c->scratch + weight_floats(d);
	if (w)
		c->kern->transpose(c->scratch, d, w, d, d, d);
	return inner;
}

static const char *decode_plan(const struct attn_decode *slot, const struct attn_shape *s, const double *arg,
                               size_t queries, size_t ranks, struct attn_decode_plan *p)
{
	feature_decode_plan(slot, s, arg, queries, ranks, p);
	p->step.scratch += weight_floats(s->d) * sizeof(float);
	return NULL;
}

static void decode_start(const struct attn_decode_call *c)
{
	const struct attn_decode_call inner = engine_call(c);

	feature_decode_start(&inner);
}

static void decode_append(const struct attn_decode_call *c)
{
	const struct attn_decode_call inner = engine_call(c);

	feature_decode_append(&inner);
}

static void decode_step(const struct attn_decode_call *c, struct attn_team *team)
{
	const struct attn_decode_call inner = engine_call(c);

	feature_decode_step(&inner, team);
}

static const struct feature_decode decode = {
	.slot = {
		.keeps = "state: 2 d (d_v + 1)",
		.shares = true,
		.plan = decode_plan,
		.start = decode_start,
		.append = decode_append,
		.step = decode_step,
	},
	.map = map_of,
};

const struct attn_variant attn_hedgehog = {
	.abi = ATTN_ABI,
	.name = "hedgehog",
	.family = "linear",
	.title = "Hedgehog",
	.paper = "Zhang, Bhatia, Kumbong, Re 2024, ICLR, arXiv 2402.04347",
	.formula = "w_ij = phi(q_i) . phi(k_j), phi(x) = [exp(W x + b), exp(-W x - b)]",
	.complexity = "n d^2",
	.target = "softmax attention where W was trained for that, else its own kernel",
	.summary = "Needs a trained W to be an estimate of softmax; without one it is a control near "
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
	.oracle = oracle_hedgehog,
};
