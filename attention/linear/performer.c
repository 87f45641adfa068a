/* SPDX-License-Identifier: BSD-3-Clause
 *
 * performer: FAVOR+, random features of the softmax kernel. With x' = x sqrt(scale)
 * and W (m x d) of Gaussian rows, orthogonal in blocks of d,
 *
 *     positive    phi(x) = m^-1/2 exp(W x' - |x'|^2 / 2)                  m draws
 *     hyperbolic  phi(x) = m^-1/2 exp(+-W x' - |x'|^2 / 2)                m/2 draws
 *     trig        phi(x) = (m/2)^-1/2 exp(|x'|^2 / 2) [cos W x', sin W x'] m/2 draws
 *
 * so that E[phi(q) . phi(k)] = exp(scale q.k). Time n d m + n m d_v, state
 * m (d_v + 1). Choromanski et al. 2020, ICLR 2021, arXiv 2009.14794.
 *
 * Exponents of a query are relative to its own maximum, those of keys to one
 * running maximum a head: both cancel in the quotient, nothing overflows, and
 * the causal form never looks ahead.
 */
#include "../engine/feature.h"
#include "../engine/projection.h"
#include "../oracle/oracle.h"

enum { M, ORTHO, LENGTHS, MAP, CHUNK };
enum { POSITIVE, HYPERBOLIC, TRIG };

static const char *const lengths[] = { "chi", "root", NULL };
static const char *const maps[] = { "positive", "hyperbolic", "trig", NULL };

static const struct attn_param params[] = {
	{ "m", "features", ATTN_INT, 256, 2, 65536, NULL },
	{ "ortho", "orthogonal rows in blocks of d", ATTN_FLAG, 1, 0, 1, NULL },
	{ "lengths", "length of a row: chi(d), or sqrt(d)", ATTN_NAME, 0, 0, 1, lengths },
	{ "map", "feature map", ATTN_NAME, 0, 0, 2, maps },
	FEATURE_CHUNK_PARAM,
	{ 0 },
};

static size_t draws(const double *arg)
{
	size_t m = (size_t)arg[M];

	return arg[MAP] == POSITIVE ? m : m / 2;
}

/* u = W x' into the first `draws` columns; returns nothing else. */
static void project(const struct attn_call *c, const float *x, size_t ldx, size_t rows, float *u,
                    size_t ldu)
{
	size_t m = draws(c->arg), d = c->shape->d;
	float root = sqrtf(c->shape->scale);

	c->kern->mm(u, ldu, x, ldx, 1, c->state, m, rows, m, d, false);
	for (size_t r = 0; r < rows; r++)
		c->kern->scale(u + r * ldu, root, m);
}

/* |x'|^2 / 2 */
static float half_square(const struct attn_call *c, const float *x)
{
	return 0.5f * c->shape->scale * c->kern->dot(x, x, c->shape->d);
}

/* Exponents of the exponential maps, W x' - |x'|^2/2 and its mirror. */
static void exponents(const struct attn_call *c, const float *x, size_t ldx, size_t rows, size_t pos,
                      float *u, size_t ldu)
{
	size_t m = draws(c->arg);

	(void)pos;
	project(c, x, ldx, rows, u, ldu);
	for (size_t r = 0; r < rows; r++) {
		float *ur = u + r * ldu, h = half_square(c, x + r * ldx);
		for (size_t f = 0; c->arg[MAP] == HYPERBOLIC && f < m; f++)
			ur[m + f] = -ur[f] - h;
		for (size_t f = 0; f < m; f++)
			ur[f] -= h;
	}
}

static void query(const struct attn_call *c, const float *x, size_t ldx, size_t rows, size_t pos,
                  float *y, size_t ldy)
{
	size_t dim = c->arg[MAP] == POSITIVE ? draws(c->arg) : 2 * draws(c->arg);

	exponents(c, x, ldx, rows, pos, y, ldy);
	for (size_t r = 0; r < rows; r++) {
		float *u = y + r * ldy;
		c->kern->exp_shift(u, u, c->kern->max(u, dim), dim);
	}
}

/* The norm factor of a query cancels; that of a key, exp(|k'|^2/2), does not. */
static void trig(const struct attn_call *c, const float *x, size_t ldx, size_t rows, float *y,
                 size_t ldy, bool is_key)
{
	size_t m = draws(c->arg);

	project(c, x, ldx, rows, y, ldy);
	for (size_t r = 0; r < rows; r++) {
		float *u = y + r * ldy, h = is_key ? expf(half_square(c, x + r * ldx)) : 1;
		for (size_t f = 0; f < m; f++) {
			u[m + f] = h * sinf(u[f]);
			u[f] = h * cosf(u[f]);
		}
	}
}

static void trig_query(const struct attn_call *c, const float *x, size_t ldx, size_t rows,
                       size_t pos, float *y, size_t ldy)
{
	(void)pos;
	trig(c, x, ldx, rows, y, ldy, false);
}

static void trig_key(const struct attn_call *c, const float *x, size_t ldx, size_t rows, size_t pos,
                     float *y, size_t ldy)
{
	(void)pos;
	trig(c, x, ldx, rows, y, ldy, true);
}

static struct feature_map map_of(const struct attn_shape *s, const double *arg)
{
	bool exponential = arg[MAP] != TRIG;

	return (struct feature_map){
		.dim = arg[MAP] == POSITIVE ? draws(arg) : 2 * draws(arg),
		.kind = exponential ? FEATURE_EXP : FEATURE_PLAIN,
		.query = exponential ? query : trig_query,
		.key = exponential ? exponents : trig_key,
		.normalise = true, .decay = 1, .chunk = (size_t)arg[CHUNK],
		.map_flops = 2 * (double)s->d * (double)draws(arg),
		.map_exp = exponential ? (double)draws(arg) : 0,
	};
}

static const char *const cases[] = { "m=8:chunk=5", "m=37:ortho=0", "m=20:map=hyperbolic:lengths=root", NULL };

static void refine(const double *arg, unsigned *flags, float *impl_bound)
{
	(void)impl_bound;
	if (arg[MAP] == TRIG)
		*flags &= ~(unsigned)ATTN_NONNEG;
}

static const char *plan(const struct attn_shape *s, const double *arg, size_t ranks,
                        struct attn_plan *p)
{
	struct feature_map map = map_of(s, arg);

	feature_plan(s, &map, ranks, p);
	p->state = draws(arg) * s->d * sizeof(float); /* W, transposed */
	return NULL;
}

static void prepare(const struct attn_shape *s, const double *arg, uint64_t seed, void *state)
{
	projection_gaussian(state, draws(arg), s->d, arg[ORTHO] != 0,
	                    arg[LENGTHS] == 0 ? PROJECTION_CHI : PROJECTION_ROOT, seed,
	                    attn_random_stream("performer", s->head, 0));
}

static void forward(const struct attn_call *c, struct attn_team *team)
{
	struct feature_map map = map_of(c->shape, c->arg);

	feature_forward(c, team, &map);
}

const struct attn_variant attn_performer = {
	.abi = ATTN_ABI,
	.name = "performer",
	.family = "linear",
	.title = "Performer (FAVOR+, random features)",
	.paper = "Choromanski et al. 2020, ICLR 2021, arXiv 2009.14794",
	.formula = "w_ij = phi(q_i) . phi(k_j), phi(x) = m^-1/2 exp(W x' - |x'|^2/2), x' = x d^-1/4",
	.complexity = "n m d",
	.summary = "Converges to softmax as m grows, but the variance grows like exp(|q' + k'|^2): at "
	           "d = 64 and unit logits no practical m is enough.",
	.flags = ATTN_CAUSAL | ATTN_BIDIRECTIONAL | ATTN_CROSS | ATTN_PARALLEL | ATTN_ROWSUM |
	         ATTN_NONNEG | ATTN_QPERM | ATTN_KPERM | ATTN_RANDOM | ATTN_LOGITS,
	.impl_bound = 5e-6f,
	.cases = cases,
	.params = params,
	.refine = refine,
	.plan = plan,
	.prepare = prepare,
	.forward = forward,
	.oracle = oracle_performer,
};
