/* SPDX-License-Identifier: BSD-3-Clause
 *
 * rfa: random feature attention, trigonometric features of unit vectors.
 *
 *     phi(x) = psi(x) = m^-1/2 [sin(W x^ / tau), cos(W x^ / tau)],  x^ = x / max(|x|, 1e-12)
 *     E[phi(q) . phi(k)] = exp(-|q^ - k^|^2 / 2 tau^2), proportional to exp(q^ . k^ / tau^2)
 *
 * with W (m x d) Gaussian; D = 2 m. Time n d m + 2 n m d_v. Peng et al. 2021, ICLR, arXiv
 * 2103.02143. It estimates softmax of cosines with logits q^.k^/tau^2; the error
 * falls as m^-1/2. Weights can be negative, and so can a sum of them: a
 * denominator keeps its sign and at least the size den_min. The published code has
 * 0.1 for m^-1/2 and then clamps at 1, which leaves the first causal rows short.
 */
#include "../engine/feature.h"
#include "../engine/projection.h"
#include "../oracle/oracle.h"

enum { M, TAU, ORTHO, DEN_MIN, CHUNK };

static const struct attn_param params[] = {
	{ "m", "rows of W; twice as many features", ATTN_INT, 64, 1, 65536, NULL },
	{ "tau", "temperature: logits are cosines / tau^2", ATTN_REAL, 1, 1e-2, 1e3, NULL },
	{ "ortho", "orthogonal rows in blocks of d", ATTN_FLAG, 0, 0, 1, NULL },
	{ "den_min", "least size of a denominator", ATTN_REAL, 1e-3, 0, 1, NULL },
	FEATURE_CHUNK_PARAM,
	{ 0 },
};

static void features(const struct attn_call *c, const float *x, size_t ldx, size_t rows, size_t pos,
                     float *y, size_t ldy)
{
	const struct kern *kern = c->kern;
	size_t m = (size_t)c->arg[M], d = c->shape->d;
	float tau = (float)c->arg[TAU], factor = 1 / sqrtf((float)m);

	(void)pos;
	kern->mm(y, ldy, x, ldx, 1, c->state, m, rows, m, d, false);
	for (size_t r = 0; r < rows; r++) {
		const float *from = x + r * ldx;
		float *to = y + r * ldy;
		float norm = fmaxf(sqrtf(kern->dot(from, from, d)), 1e-12f);
		kern->scale(to, 1 / (tau * norm), m);
		kern->sincos(to, to + m, to, m);
		kern->scale(to, factor, 2 * m);
	}
}

static struct feature_map map_of(const struct attn_shape *s, const double *arg)
{
	return (struct feature_map){
		.dim = 2 * (size_t)arg[M], .kind = FEATURE_PLAIN, .query = features, .key = features,
		.normalise = true, .den_min = (float)arg[DEN_MIN], .decay = 1,
		.chunk = (size_t)arg[CHUNK], .map_flops = 2 * (double)s->d * arg[M] + 2 * (double)s->d,
		.map_exp = 2 * arg[M],
	};
}

static const char *const cases[] = { "m=37:ortho=1", "m=100:tau=2:chunk=5", NULL };

static const char *plan(const struct attn_shape *s, const double *arg, size_t ranks,
                        struct attn_plan *p)
{
	struct feature_map map = map_of(s, arg);

	feature_plan(s, &map, ranks, p);
	p->state = (size_t)arg[M] * s->d * sizeof(float); /* W^T */
	return NULL;
}

static void prepare(const struct attn_shape *s, const double *arg, uint64_t seed, void *state)
{
	projection_gaussian(state, (size_t)arg[M], s->d, arg[ORTHO] != 0, PROJECTION_CHI, seed,
	                    attn_random_stream("rfa", s->head, 0));
}

static void forward(const struct attn_call *c, struct attn_team *team)
{
	struct feature_map map = map_of(c->shape, c->arg);

	feature_forward(c, team, &map);
}

static const struct feature_decode decode = {
	.slot = { .keeps = "state: 2 m (d_v + 1)", FEATURE_DECODE },
	.map = map_of,
};

const struct attn_variant attn_rfa = {
	.abi = ATTN_ABI,
	.name = "rfa",
	.family = "linear",
	.title = "random feature attention",
	.paper = "Peng et al. 2021, ICLR, arXiv 2103.02143",
	.formula = "w_ij = phi(q^_i) . phi(k^_j), phi(x) = m^-1/2 [sin(W x / tau), cos(W x / tau)]",
	.complexity = "n m d",
	.target = "softmax of cosines / tau^2 as m grows, the error as m^-1/2",
	.summary = "Estimates softmax of cosines / tau^2, not of q.k/sqrt(d). Weights can be negative; "
	           "rows whose denominator was not positive or below den_min are counted.",
	.flags = ATTN_CAUSAL | ATTN_BIDIRECTIONAL | ATTN_CROSS | ATTN_PARALLEL | ATTN_ROWSUM |
	         ATTN_QPERM | ATTN_KPERM | ATTN_QSCALE | ATTN_KSCALE | ATTN_RANDOM |
	         ATTN_BF16_OK | ATTN_F16_OK,
	.impl_bound = 5e-6f,
	.cases = cases,
	.params = params,
	.plan = plan,
	.prepare = prepare,
	.forward = forward,
	.decode = &decode.slot,
	.oracle = oracle_rfa,
};
