/* SPDX-License-Identifier: BSD-3-Clause
 *
 * performer-relu: the Performer's generalised kernel with relu.
 *
 *     proj=random    phi(x) = psi(x) = m^-1/2 relu(W x') + eps,  x' = x sqrt(scale);  D = m
 *     proj=identity  phi(x) = psi(x) = relu(x) + eps;  D = d
 *
 * Time n d m + n m d_v. Choromanski et al. 2020, ICLR 2021, arXiv 2009.14794. As m grows
 * the kernel is the arc-cosine kernel of order 1, not softmax. eps belongs to the
 * published definition: with it no denominator is 0. Codes differ in whether x
 * is scaled, which changes the weight of eps and nothing else.
 */
#include "../engine/feature.h"
#include "../engine/projection.h"
#include "../oracle/oracle.h"

enum { M, PROJ, ORTHO, LENGTHS, EPS, CHUNK };
enum { RANDOM, IDENTITY };

static const char *const projections[] = { "random", "identity", NULL };
static const char *const lengths[] = { "chi", "root", NULL };

static const struct attn_param params[] = {
	{ "m", "features of proj=random", ATTN_INT, 256, 1, 65536, NULL },
	{ "proj", "projection", ATTN_NAME, 0, 0, 1, projections },
	{ "ortho", "orthogonal rows in blocks of d", ATTN_FLAG, 1, 0, 1, NULL },
	{ "lengths", "length of a row: chi(d), or sqrt(d)", ATTN_NAME, 0, 0, 1, lengths },
	{ "eps", "is added to each feature", ATTN_REAL, 1e-3, 0, 1, NULL },
	FEATURE_CHUNK_PARAM,
	{ 0 },
};

static void features(const struct attn_call *c, const float *x, size_t ldx, size_t rows, size_t pos,
                     float *y, size_t ldy)
{
	size_t m = (size_t)c->arg[M], d = c->shape->d;
	float root = sqrtf(c->shape->scale / (float)m), eps = (float)c->arg[EPS];

	(void)pos;
	if (c->arg[PROJ] == IDENTITY) {
		for (size_t r = 0; r < rows; r++)
			c->kern->relu(y + r * ldy, x + r * ldx, 1, eps, d);
		return;
	}
	c->kern->mm(y, ldy, x, ldx, 1, c->state, m, rows, m, d, false);
	for (size_t r = 0; r < rows; r++)
		c->kern->relu(y + r * ldy, y + r * ldy, root, eps, m);
}

static struct feature_map map_of(const struct attn_shape *s, const double *arg)
{
	bool random = arg[PROJ] == RANDOM;

	return (struct feature_map){
		.dim = random ? (size_t)arg[M] : s->d, .kind = FEATURE_PLAIN,
		.query = features, .key = features, .normalise = true, .decay = 1,
		.chunk = (size_t)arg[CHUNK], .map_flops = random ? 2 * (double)s->d * arg[M] : 0,
	};
}

static const char *const cases[] = { "m=24", "m=37:ortho=0:lengths=root:eps=0", "proj=identity:chunk=5", NULL };

static void refine(const double *arg, unsigned *flags, float *impl_bound)
{
	(void)impl_bound;
	if (arg[EPS] == 0)
		*flags |= ATTN_QSCALE | ATTN_KSCALE;
	if (arg[PROJ] == IDENTITY)
		*flags &= ~(unsigned)(ATTN_RANDOM | ATTN_LOGITS);
}

static const char *plan(const struct attn_shape *s, const double *arg, size_t ranks,
                        struct attn_plan *p)
{
	struct feature_map map = map_of(s, arg);

	feature_plan(s, &map, ranks, p);
	p->state = arg[PROJ] == RANDOM ? (size_t)arg[M] * s->d * sizeof(float) : 0; /* W^T */
	return NULL;
}

static void prepare(const struct attn_shape *s, const double *arg, uint64_t seed, void *state)
{
	if (arg[PROJ] == RANDOM)
		projection_gaussian(state, (size_t)arg[M], s->d, arg[ORTHO] != 0,
		                    arg[LENGTHS] == 0 ? PROJECTION_CHI : PROJECTION_ROOT, seed,
		                    attn_random_stream("performer-relu", s->head, 0));
}

static void forward(const struct attn_call *c, struct attn_team *team)
{
	struct feature_map map = map_of(c->shape, c->arg);

	feature_forward(c, team, &map);
}

static const struct feature_decode decode = {
	.slot = { .keeps = "state: m (d_v + 1)", FEATURE_DECODE },
	.map = map_of,
};

const struct attn_variant attn_performer_relu = {
	.abi = ATTN_ABI,
	.name = "performer-relu",
	.family = "linear",
	.title = "Performer with relu features",
	.paper = "Choromanski et al. 2020, ICLR 2021, arXiv 2009.14794",
	.formula = "w_ij = phi(q_i) . phi(k_j), phi(x) = m^-1/2 relu(W x') + eps",
	.complexity = "n m d",
	.target = "its own kernel, arc-cosine of order 1, as m grows",
	.summary = "Its own kernel, not an estimate of softmax: near the uniform average on "
	           "unstructured input.",
	.flags = ATTN_CAUSAL | ATTN_BIDIRECTIONAL | ATTN_CROSS | ATTN_PARALLEL | ATTN_ROWSUM |
	         ATTN_NONNEG | ATTN_QPERM | ATTN_KPERM | ATTN_RANDOM | ATTN_LOGITS |
	         ATTN_BF16_OK | ATTN_F16_OK,
	.impl_bound = 5e-6f,
	.cases = cases,
	.params = params,
	.refine = refine,
	.plan = plan,
	.prepare = prepare,
	.forward = forward,
	.decode = &decode.slot,
	.oracle = oracle_performer_relu,
};
