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
 *
 * eps > 0 is for comparison with the published codes, which add it to each
 * feature after a stabiliser without the |x'|^2 / 2:
 *
 *     phi(q) = exp(W q' - |q'|^2 / 2 - max W q') + eps, the maximum over the row
 *     psi(k) = exp(W k' - |k'|^2 / 2 - max W k') + eps, over all keys seen
 *
 * where it draws every row to the uniform average. Two more features do it: the
 * exponent max W k', which no query reads, lifts the running maximum to theirs;
 * a constant 1 carries eps sum_f phi_f. A causal chunk then is one token, so
 * that the maximum is that of the keys seen and not of the chunk.
 */
#include "../engine/feature.h"
#include "../engine/projection.h"
#include "../oracle/oracle.h"

enum { M, ORTHO, LENGTHS, MAP, EPS, CHUNK };
enum { POSITIVE, HYPERBOLIC, TRIG };

static const char *const lengths[] = { "chi", "root", NULL };
static const char *const maps[] = { "positive", "hyperbolic", "trig", NULL };

static const struct attn_param params[] = {
	{ "m", "features", ATTN_INT, 256, 2, 65536, NULL },
	{ "ortho", "orthogonal rows in blocks of d", ATTN_FLAG, 1, 0, 1, NULL },
	{ "lengths", "length of a row: chi(d), or sqrt(d)", ATTN_NAME, 0, 0, 1, lengths },
	{ "map", "feature map", ATTN_NAME, 0, 0, 2, maps },
	{ "eps", "is added to each feature, with the references' stabiliser", ATTN_REAL, 0, 0, 1, NULL },
	FEATURE_CHUNK_PARAM,
	{ 0 },
};

static size_t draws(const double *arg)
{
	size_t m = (size_t)arg[M];

	return arg[MAP] == POSITIVE ? m : m / 2;
}

/* Features without the two that eps needs. */
static size_t features(const double *arg)
{
	return arg[MAP] == POSITIVE ? draws(arg) : 2 * draws(arg);
}

/* u = W x, without the root of the scale, into the first `draws` columns. */
static void project(const struct attn_call *c, const float *x, size_t ldx, size_t rows, float *u,
                    size_t ldu)
{
	size_t m = draws(c->arg), d = c->shape->d;

	c->kern->mm(u, ldu, x, ldx, 1, c->state, m, rows, m, d, false);
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
	const struct kern *kern = c->kern;
	size_t m = draws(c->arg), dim = features(c->arg);
	float root = sqrtf(c->shape->scale);
	bool eps = c->arg[EPS] > 0;

	(void)pos;
	project(c, x, ldx, rows, u, ldu);
	for (size_t r = 0; r < rows; r++) {
		float *ur = u + r * ldu, h = half_square(c, x + r * ldx), shift = eps ? 0 : -h;
		if (c->arg[MAP] == HYPERBOLIC)
			kern->affine(ur + m, ur, -root, shift, m);
		kern->affine(ur, ur, root, shift, m);
		if (eps) {
			ur[dim] = kern->max(ur, dim);
			ur[dim + 1] = 1;
			kern->affine(ur, ur, 1, -h, dim);
		}
	}
}

static void query(const struct attn_call *c, const float *x, size_t ldx, size_t rows, size_t pos,
                  float *y, size_t ldy)
{
	const struct kern *kern = c->kern;
	size_t dim = features(c->arg);
	float eps = (float)c->arg[EPS];

	exponents(c, x, ldx, rows, pos, y, ldy);
	for (size_t r = 0; r < rows; r++) {
		float *u = y + r * ldy;
		kern->exp_shift(u, u, eps > 0 ? u[dim] : kern->max(u, dim), dim);
		if (eps > 0) {
			kern->relu(u, u, 1, eps, dim);
			u[dim] = 0;
			u[dim + 1] = eps * kern->sum(u, dim);
		}
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
		c->kern->scale(u, sqrtf(c->shape->scale), m);
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
	bool exponential = arg[MAP] != TRIG, eps = arg[EPS] > 0;

	return (struct feature_map){
		.dim = features(arg) + (eps ? 2 : 0),
		.kind = exponential ? FEATURE_EXP : FEATURE_PLAIN,
		.plain = eps ? 1 : 0,
		.query = exponential ? query : trig_query,
		.key = exponential ? exponents : trig_key,
		.normalise = true, .decay = 1, .chunk = eps && s->causal ? 1 : (size_t)arg[CHUNK],
		.map_flops = 2 * (double)s->d * (double)draws(arg),
		.map_exp = exponential ? (double)features(arg) : 0,
	};
}

static const char *const cases[] = { "m=8:chunk=5", "m=37:ortho=0", "m=20:map=hyperbolic:lengths=root",
	                            "m=24:map=hyperbolic:eps=0.001", "m=32:eps=0.0001", NULL };

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

	if (arg[MAP] == TRIG && arg[EPS] > 0)
		return "eps belongs to the exponential maps: map=positive or map=hyperbolic";
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

static const struct feature_decode decode = {
	.slot = { .keeps = "state: m (d_v + 1)", FEATURE_DECODE },
	.map = map_of,
};

const struct attn_variant attn_performer = {
	.abi = ATTN_ABI,
	.name = "performer",
	.family = "linear",
	.title = "Performer (FAVOR+, random features)",
	.paper = "Choromanski et al. 2020, ICLR 2021, arXiv 2009.14794",
	.formula = "w_ij = phi(q_i) . phi(k_j), phi(x) = m^-1/2 exp(W x' - |x'|^2/2), x' = x d^-1/4",
	.complexity = "n m d",
	.target = "softmax attention as m grows, the kernel's error as m^-1/2",
	.summary = "Converges to softmax as m grows, but the variance grows like exp(|q' + k'|^2): at "
	           "d = 64 and unit logits no practical m is enough.",
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
	.oracle = oracle_performer,
};
