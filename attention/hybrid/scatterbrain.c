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
#include "../engine/cache.h"
#include "../engine/feature.h"
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
	size_t lo[TILE_ROWS], hi[TILE_ROWS];

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

/* ---- decoding: a ring holds the window, the features what has left it ---- */

static void key_features(const struct attn_call *c, const float *x, size_t ldx, size_t rows, size_t pos,
                         float *y, size_t ldy)
{
	float shift[FEATURE_MAX_CHUNK];
	size_t dim = features(c->shape, c->arg).dim;

	(void)pos;
	exponents(c, x, ldx, rows, y, ldy, shift);
	for (size_t r = 0; r < rows; r++)
		for (size_t f = 0; f < dim; f++)
			y[r * ldy + f] -= shift[r];
}

static struct feature_map map_of(const struct attn_shape *s, const double *arg)
{
	struct outside o = features(s, arg);

	return (struct feature_map){ .dim = o.dim, .kind = FEATURE_EXP, .key = key_features, .normalise = true,
		                     .decay = 1, .map_flops = o.map_flops, .map_exp = (double)o.dim };
}

static const struct feature_decode sums_decode = { .map = map_of };

/* One token more than the window: the next step finds there what it drops. */
struct past {
	void *sums;
	struct cache ring;
};

static struct past past_at(const struct attn_shape *s, const double *arg, struct layout *l)
{
	struct attn_decode_plan sums = { 0 };
	struct past past;

	feature_decode_plan(&sums_decode.slot, s, arg, 1, 1, &sums);
	past.sums = layout_take(l, sums.past);
	past.ring = cache_at(l, s, 0, (size_t)arg[LEFT] + 2);
	return past;
}

static const char *decode_plan(const struct attn_decode *slot, const struct attn_shape *s, const double *arg,
                               size_t queries, size_t ranks, struct attn_decode_plan *p)
{
	struct attn_decode_plan sums = { .step.state = p->step.state };
	struct layout past = { .base = NULL };
	double seen = (double)queries * (double)(s->n_k < (size_t)arg[LEFT] + 1 ? s->n_k : (size_t)arg[LEFT] + 1);

	(void)slot;
	feature_decode_plan(&sums_decode.slot, s, arg, queries, ranks, &sums);
	cache_work(s, queries, seen, seen, p);
	p->step.flops_useful += sums.step.flops_useful;
	p->step.flops_executed += sums.step.flops_executed;
	p->step.n_exp += sums.step.n_exp;
	p->step.bytes += sums.step.bytes;
	past_at(s, arg, &past);
	p->past = past.used;
	p->changed = sums.past;
	p->step.scratch = sums.step.scratch + single_scratch_bytes(s->type, s->d, s->d_v, queries) +
	                  2 * work_padded(features(s, arg).dim + s->d_v) * sizeof(float);
	return NULL;
}

/* The features' call on n tokens at k, v; nothing in it depends on positions. */
static struct attn_decode_call sums_call(const struct attn_decode_call *c, const struct past *past,
                                         const float *k, size_t ldk, const float *v, size_t ldv, size_t n)
{
	struct attn_decode_call call = *c;

	call.slot = &sums_decode.slot;
	call.past = past->sums;
	call.k = k;
	call.v = v;
	call.ldk = ldk;
	call.ldv = ldv;
	call.tokens = n;
	return call;
}

static void decode_start(const struct attn_decode_call *c)
{
	struct layout l = { .base = c->past };
	struct past past = past_at(c->shape, c->arg, &l);
	struct attn_decode_call call = sums_call(c, &past, NULL, 0, NULL, 0, 0);

	feature_decode_start(&call);
}

/* Tokens that the new ones push out of the window are first in the ring, then among
 * the new ones themselves. */
static void decode_append(const struct attn_decode_call *c)
{
	const struct attn_shape *s = c->shape;
	struct layout l = { .base = c->past };
	struct past past = past_at(s, c->arg, &l);
	size_t window = (size_t)c->arg[LEFT] + 1, end = c->length + c->tokens;
	size_t j = c->length > window ? c->length - window : 0, gone = end > window ? end - window : 0;
	struct attn_decode_call call;

	for (; j < gone && j < c->length; j++) {
		size_t row = cache_row(&past.ring, j);
		call = sums_call(c, &past, cache_key(&past.ring, row), s->d, cache_value(&past.ring, row), s->d_v, 1);
		feature_decode_append(&call);
	}
	if (j < gone) {
		size_t i = j - c->length;
		call = sums_call(c, &past, (const float *)c->k + i * c->ldk, c->ldk,
		                 (const float *)c->v + i * c->ldv, c->ldv, gone - j);
		feature_decode_append(&call);
	}
	cache_append(&past.ring, c);
}

/* Query r resumes the window from what the features give. */
static void resume(const struct attn_decode_call *c, const struct past *past, struct single *one, size_t r,
                   float *phi)
{
	const struct attn_shape *s = c->shape;
	const struct outside o = features(s, c->arg);
	const struct attn_call call = { .shape = s, .arg = c->arg, .kern = c->kern, .state = c->state };
	const struct attn_decode_call sums = sums_call(c, past, NULL, 0, NULL, 0, 0);
	float shift, *out = phi + work_padded(o.dim);

	exponents(&call, (const float *)c->q + r * c->ldq, c->ldq, 1, phi, o.dim, &shift);
	float most = c->kern->max(phi, o.dim);
	c->kern->exp_shift(phi, phi, most, o.dim);
	float lse = feature_decode_read(&sums, phi, out) + most - shift + (float)o.log_weight;
	single_resume(one, r, out, lse);
	if (c->stats)
		c->stats->flops_executed += o.map_flops;
}

static void decode_step(const struct attn_decode_call *c, struct attn_team *team)
{
	const struct attn_shape *s = c->shape;
	struct attn_decode_plan sums = { 0 };
	struct layout l = { .base = c->past };
	struct past past = past_at(s, c->arg, &l);
	struct cache_run run;
	struct single one;
	size_t lo, hi;

	feature_decode_plan(&sums_decode.slot, s, c->arg, 1, 1, &sums);
	char *mem = (char *)c->scratch + sums.step.scratch;
	decode_append(c);
	single_init(&one, c, mem, s->type, s->d, s->d_v);
	single_load(&one, s->scale);
	float *phi = (float *)(mem + single_scratch_bytes(s->type, s->d, s->d_v, c->queries));
	for (size_t r = 0; r < c->queries; r++)
		resume(c, &past, &one, r, phi);
	window(s, c->arg, c->length, &lo, &hi);
	run = cache_band(lo, hi);
	cache_look(&one, &past.ring, &run, 1, 0, team);
	single_finish(&one, team, NULL);
}

static const struct attn_decode decode = {
	.keeps = "state and ring: m (d_v + 1) + (left + 2) (d + d_v)",
	.plan = decode_plan,
	.start = decode_start,
	.append = decode_append,
	.step = decode_step,
};

const struct attn_variant attn_scatterbrain = {
	.abi = ATTN_ABI,
	.name = "scatterbrain",
	.family = "hybrid",
	.title = "Scatterbrain (window and random features)",
	.paper = "Chen, Dao, Winsor, Song, Rudra, Re 2021, NeurIPS, arXiv 2110.15343",
	.formula = "w_ij = e^(s_ij) in a window, phi(q_i) . phi(k_j) outside; rows divided by their sum",
	.complexity = "n (m + w) d",
	.target = "softmax attention as the window reaches n, or m grows",
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
	.decode = &decode,
	.oracle = oracle_scatterbrain,
};
