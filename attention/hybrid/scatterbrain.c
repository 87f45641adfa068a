/* SPDX-License-Identifier: BSD-3-Clause
 *
 * scatterbrain: a window exactly, everything else by random features. With x' = x
 * sqrt(scale) and W of Gaussian rows,
 *
 *     w_ij = e^(s_ij) for j in S_i = [i' - left, i' + right], phi(q_i) . phi(k_j) else
 *     phi(x) = m^-1/2 exp(+-W x' - |x'|^2 / 2), m/2 draws    (map=positive: exp(W x' ...), m)
 *     O = w V / row sums of w,  i' = i + n_k - n_q
 *
 * Time of the features n m (2 d + 4 d_v), once for the keys on each side, and of the
 * window 2 n (left + right + 1) (d + d_v). Chen, Dao, Winsor, Song, Rudra, Re 2021,
 * NeurIPS, arXiv 2110.15343.
 *
 * The published code sums features over all keys and corrects the window by the
 * difference of both weights, which can cancel to nothing. Here the features are
 * summed over the keys before and after the window only, and the window resumes
 * from that result; all is relative to maxima, and no weight is negative.
 */
#include "../engine/layout.h"
#include "../engine/outside.h"
#include "../engine/projection.h"
#include "../engine/tile.h"
#include "../engine/work.h"
#include "../oracle/oracle.h"

#include <string.h>

enum { LEFT, RIGHT, M, MAP, ORTHO };
enum { POSITIVE, HYPERBOLIC };

static const char *const maps[] = { "positive", "hyperbolic", NULL };

static const struct attn_param params[] = {
	{ "left", "exact keys before the query", ATTN_INT, 64, 0, 1 << 30, NULL },
	{ "right", "exact keys after the query; causal 0", ATTN_INT, 64, 0, 1 << 30, NULL },
	{ "m", "features", ATTN_INT, 128, 2, 65536, NULL },
	{ "map", "feature map", ATTN_NAME, HYPERBOLIC, 0, 1, maps },
	{ "ortho", "orthogonal rows in blocks of d", ATTN_FLAG, 1, 0, 1, NULL },
	{ 0 },
};

static void resolve(const struct attn_shape *s, double *arg)
{
	if (s->causal)
		arg[RIGHT] = 0;
}

static size_t draws(const double *arg)
{
	return (size_t)arg[M] / (arg[MAP] == POSITIVE ? 1 : 2);
}

static void window(const struct attn_shape *s, const double *arg, size_t i, size_t *lo, size_t *hi)
{
	size_t left = (size_t)arg[LEFT], right = (size_t)arg[RIGHT];
	size_t at = i + s->n_k, n_q = s->n_q; /* i' = at - n_q, which may be negative */

	*lo = at > n_q + left ? at - n_q - left : 0;
	*hi = at + right + 1 > n_q ? at + right + 1 - n_q : 0;
	*hi = *hi < s->n_k ? *hi : s->n_k;
}

/* +-W x', less |x'|^2 / 2. The state holds W sqrt(scale). */
static void exponents(const struct attn_call *c, const float *x, size_t ldx, size_t rows, float *u,
                      size_t ldu, float *shift)
{
	const struct kern *kern = c->kern;
	size_t m = draws(c->arg), d = c->shape->d;

	kern->mm(u, ldu, x, ldx, 1, c->state, m, rows, m, d, false);
	for (size_t r = 0; r < rows; r++) {
		shift[r] = 0.5f * c->shape->scale * kern->dot(x + r * ldx, x + r * ldx, d);
		if (c->arg[MAP] == HYPERBOLIC) {
			memcpy(u + r * ldu + m, u + r * ldu, m * sizeof *u);
			kern->scale(u + r * ldu + m, -1, m);
		}
	}
}

static struct outside features(const struct attn_shape *s, const double *arg)
{
	size_t dim = draws(arg) * (arg[MAP] == POSITIVE ? 1 : 2);

	return (struct outside){
		.dim = dim, .exponents = exponents, .log_weight = -log((double)dim),
		.map_flops = 2 * (double)s->d * (double)draws(arg),
		.before = (size_t)arg[LEFT] + 1, .after = (size_t)arg[RIGHT] + 1,
	};
}

struct work {
	char *tile_shared, *tile_scratch; /* first, as the tile engine expects them */
	float *lse;                       /* n_q */
	char *shared, *scratch;           /* of the features */
};

static void lay_out(struct work *w, const struct attn_shape *s, const double *arg, size_t ranks,
                    struct layout *shared, struct layout *scratch)
{
	struct outside o = features(s, arg);

	LAYOUT(shared, w->tile_shared, TILE_SHARED_BYTES);
	LAYOUT(shared, w->lse, s->n_q);
	LAYOUT(shared, w->shared, outside_shared_bytes(s, &o, ranks));
	LAYOUT(scratch, w->tile_scratch, tile_scratch_bytes(s->d, s->d_v));
	LAYOUT(scratch, w->scratch, outside_scratch_bytes(s, &o));
}

static const char *const cases[] = { "left=3:right=5:m=16", "left=0:right=0:m=20:map=positive",
	                             "left=30:right=40:m=7:ortho=0", NULL };

static const char *plan(const struct attn_shape *s, const double *arg, size_t ranks,
                        struct attn_plan *p)
{
	struct layout shared = { .base = NULL }, scratch = { .base = NULL };
	struct outside o = features(s, arg);
	double pairs, executed, sums, sums_executed, n_exp;
	struct work w;

	work_band_pairs(s, arg, window, &pairs, &executed);
	work_softmax(s, pairs, executed, p);
	outside_work(s, &o, &sums, &sums_executed, &n_exp);
	p->flops_useful += sums;
	p->flops_executed += sums_executed;
	p->n_exp += n_exp;
	p->state = draws(arg) * s->d * sizeof(float); /* W sqrt(scale), transposed */
	lay_out(&w, s, arg, ranks, &shared, &scratch);
	p->shared = shared.used;
	p->scratch = scratch.used;
	return NULL;
}

static void prepare(const struct attn_shape *s, const double *arg, uint64_t seed, void *state)
{
	float *w_t = state, root = sqrtf(s->scale);

	projection_gaussian(w_t, draws(arg), s->d, arg[ORTHO] != 0, PROJECTION_CHI, seed,
	                    attn_random_stream("scatterbrain", s->head, 0));
	for (size_t i = 0; i < draws(arg) * s->d; i++)
		w_t[i] *= root;
}

static void pattern(struct tile *t, const void *ctx)
{
	size_t lo[KERN_MAX_LANES], hi[KERN_MAX_LANES];

	(void)ctx;
	for (size_t r = 0; r < t->rows; r++)
		window(t->call->shape, t->call->arg, t->q0 + r, &lo[r], &hi[r]);
	tile_band(t, lo, hi);
}

static void forward(const struct attn_call *c, struct attn_team *team)
{
	struct layout shared = { .base = c->shared }, scratch = { .base = c->scratch };
	struct outside o = features(c->shape, c->arg);
	struct attn_call with_lse = *c;
	struct work w;

	lay_out(&w, c->shape, c->arg, team->size, &shared, &scratch);
	if (!with_lse.lse)
		with_lse.lse = w.lse;
	outside_run(c, team, &o, w.shared, w.scratch, with_lse.lse);
	attn_barrier(team);
	tile_run(&with_lse, team, pattern, NULL, true);
}

const struct attn_variant attn_scatterbrain = {
	.abi = ATTN_ABI,
	.name = "scatterbrain",
	.family = "hybrid",
	.title = "Scatterbrain (window and random features)",
	.paper = "Chen, Dao, Winsor, Song, Rudra, Re 2021, NeurIPS, arXiv 2110.15343",
	.formula = "w_ij = e^(s_ij) in a window, phi(q_i) . phi(k_j) outside; rows divided by their sum",
	.complexity = "n (m + w) d",
	.summary = "Better than window or features alone at middle entropy; at d = 64 and unit logits the "
	           "features' variance spoils it as it does performer.",
	.flags = ATTN_CAUSAL | ATTN_BIDIRECTIONAL | ATTN_CROSS | ATTN_PARALLEL | ATTN_ROWSUM |
	         ATTN_NONNEG | ATTN_RANDOM | ATTN_LSE | ATTN_LOGITS,
	.impl_bound = 5e-6f,
	.limit = "left=n:right=n",
	.cases = cases,
	.params = params,
	.resolve = resolve,
	.plan = plan,
	.prepare = prepare,
	.forward = forward,
	.oracle = oracle_scatterbrain,
};
