/* SPDX-License-Identifier: BSD-3-Clause
 *
 * routing: Routing Transformer, attention within clusters of queries and keys.
 *
 *     x^ = x / |x|; kc centroids on the sphere by k-means over [q^; k^]
 *     balanced: a centroid takes the w queries and the w keys with the largest x^ . c;
 *               a query of several clusters gets the mean of their results, of none zero
 *     argmax:   each query and each key goes to its nearest centroid
 *
 * and ordinary logits within a cluster. Time 4 T n kc d for T iterations,
 * 2 n w (d + d_v) for attention: n^1.5 at kc = sqrt n. Roy, Saffar, Vaswani,
 * Grangier 2020, TACL 2021, arXiv 2003.05997. Centroids are found anew in each
 * call, where training keeps a moving average; half of the paper's heads are
 * local windows, these are not. Clusters in which a causal query sees no key are
 * left out of its mean.
 *
 * Who is in the top w, and where k-means ends, depends on later tokens; argmax
 * under random centroids, drawn beforehand, does not.
 */
#include "../engine/bucket.h"
#include "../engine/kmeans.h"
#include "../engine/layout.h"
#include "../engine/nearest.h"
#include "../engine/rows.h"
#include "../engine/sample.h"
#include "../engine/work.h"
#include "../oracle/oracle.h"

#include <string.h>

enum { KC, W, ITERS, MEMBERSHIP, CENTROIDS };
enum { BALANCED, ARGMAX };
enum { KMEANS, RANDOM };
enum { PIECE = 512 }; /* keys gathered at a time */

static const char *const memberships[] = { "balanced", "argmax", NULL };
static const char *const centroids[] = { "kmeans", "random", NULL };

static const struct attn_param params[] = {
	{ "kc", "centroids; auto: round(sqrt n)", ATTN_INT, NAN, 1, 1 << 20, NULL },
	{ "w", "queries and keys a cluster, balanced; 0: ceil(n/kc)", ATTN_INT, 0, 0, 1 << 30, NULL },
	{ "iters", "iterations of k-means", ATTN_INT, 10, 0, 1000, NULL },
	{ "membership", "who belongs to a cluster", ATTN_NAME, 0, 0, 1, memberships },
	{ "centroids", "k-means, or directions drawn beforehand", ATTN_NAME, 0, 0, 1, centroids },
	{ 0 },
};

static size_t least(size_t a, size_t b)
{
	return a < b ? a : b;
}

static void resolve(const struct attn_shape *s, double *arg)
{
	if (isnan(arg[KC]))
		arg[KC] = fmax(1, floor(sqrt((double)s->n_k) + 0.5));
}

static size_t clusters(const struct attn_shape *s, const double *arg)
{
	return least((size_t)arg[KC], s->n_q + s->n_k);
}

/* Members of a balanced cluster among n. */
static size_t width(const struct attn_shape *s, const double *arg, size_t n)
{
	size_t kc = clusters(s, arg);

	return least(n, arg[W] > 0 ? (size_t)arg[W] : (n + kc - 1) / kc);
}

/* State: where k-means starts, or the centroids. */
static void prepare(const struct attn_shape *s, const double *arg, uint64_t seed, void *state)
{
	uint64_t stream = attn_random_stream("routing", s->head, 0);
	size_t kc = clusters(s, arg);

	if (arg[CENTROIDS] == KMEANS)
		sample_distinct(seed, stream, 0, s->n_q + s->n_k, kc, state);
	else
		attn_random_normals(seed, stream, 0, kc * s->d, state);
}

struct work {
	const struct attn_call *call;
	struct kmeans km;
	float *inverse[2];     /* balanced: n_q, n_k: 1/|x|, 0 for a zero row */
	uint32_t *order[2];    /* members of clusters: queries, keys; see start, slots */
	uint32_t *start[2];    /* argmax: kc + 1, where the members of a cluster begin */
	float *lse, *result;   /* rows that clusters write to */
	uint32_t *at;          /* numbers of those rows, balanced */
	struct nearest nearest;
	float *k, *v;          /* PIECE gathered rows */
	struct attn_call into; /* the call, writing to result */
	struct rows rows;
};

/* A balanced cluster writes to rows of its own, one a query; under argmax each
 * query has one cluster, which writes to the output. */
static void lay_out(struct work *w, const struct attn_call *c, const struct attn_shape *s,
                    const double *arg, size_t ranks, struct layout *shared, struct layout *scratch)
{
	size_t kc = clusters(s, arg), n[2] = { s->n_q, s->n_k }, most = n[0] > n[1] ? n[0] : n[1];
	size_t w_q = width(s, arg, n[0]), w_k = width(s, arg, n[1]), widest = w_q > w_k ? w_q : w_k;
	bool balanced = arg[MEMBERSHIP] == BALANCED;

	void *km_shared = layout_take(shared, kmeans_shared_bytes(kc, s->d, n[0] + n[1], ranks));
	void *km_scratch = layout_take(scratch, kmeans_scratch_bytes(kc, s->d));
	void *nearest = layout_take(scratch, balanced ? nearest_scratch_bytes(s->d, most, widest) : 0);
	void *rows = layout_take(scratch, rows_scratch_bytes(s->d, s->d_v));
	for (size_t i = 0; i < 2; i++) {
		LAYOUT(shared, w->km.set[i].member, n[i]);
		LAYOUT(shared, w->inverse[i], balanced ? n[i] : 0);
		LAYOUT(shared, w->start[i], balanced ? 0 : kc + 1);
	}
	LAYOUT(shared, w->order[0], balanced ? kc * w_q : n[0]);
	LAYOUT(balanced ? scratch : shared, w->order[1], balanced ? KERN_MAX_LANES * w_k : n[1]);
	LAYOUT(shared, w->lse, balanced ? kc * w_q : n[0]);
	LAYOUT(shared, w->result, balanced ? kc * w_q * s->d_v : 0);
	LAYOUT(scratch, w->at, balanced ? w_q : 0);
	LAYOUT(scratch, w->k, least(PIECE, n[1]) * s->d);
	LAYOUT(scratch, w->v, least(PIECE, n[1]) * s->d_v);
	if (!c)
		return;
	w->km.set[0] = (struct kmeans_points){ c->q, c->ldq, n[0], w->km.set[0].member, NULL };
	w->km.set[1] = (struct kmeans_points){ c->k, c->ldk, n[1], w->km.set[1].member, NULL };
	kmeans_init(&w->km, ranks, km_shared, km_scratch);
	if (balanced) {
		nearest_init(&w->nearest, &w->km, nearest, most, widest);
		w->into.out = w->result;
		w->into.ldo = s->d_v;
	}
	rows_init(&w->rows, &w->into, rows);
}

static const char *const cases[] = { "kc=4",
	                             "kc=5:w=30",
	                             "kc=6:membership=argmax:iters=3",
	                             "kc=7:membership=argmax:centroids=random",
	                             "kc=3:centroids=random",
	                             NULL };

static void refine(const double *arg, unsigned *flags, float *impl_bound)
{
	(void)impl_bound;
	/* k-means starts at rows of given places, random centroids do not. */
	if (arg[CENTROIDS] == RANDOM)
		*flags |= ATTN_QPERM | ATTN_KPERM;
	if (arg[CENTROIDS] == RANDOM && arg[MEMBERSHIP] == ARGMAX)
		*flags &= ~(unsigned)ATTN_LEAKS;
}

static const char *plan(const struct attn_shape *s, const double *arg, size_t ranks,
                        struct attn_plan *p)
{
	size_t kc = clusters(s, arg), lanes = KERN_MAX_LANES;
	size_t w_q = width(s, arg, s->n_q), w_k = width(s, arg, s->n_k);
	double passes = arg[MEMBERSHIP] == ARGMAX ? 1 : 0, points = (double)(s->n_q + s->n_k);
	struct layout shared = { .base = NULL }, scratch = { .base = NULL };
	struct work w;

	/* Every cluster as if it were a fair sample of the visible pairs. */
	double all = (double)s->n_q * (double)s->n_k, seen = all > 0 ? work_visible_pairs(s) / all : 0;
	double tiles = (double)(kc * ((w_q + lanes - 1) / lanes * lanes) * w_k);
	if (arg[MEMBERSHIP] == ARGMAX)
		tiles = all / (double)kc + (double)lanes / 2 * (double)s->n_k;
	work_softmax(s, seen * (arg[MEMBERSHIP] == ARGMAX ? all / (double)kc : (double)(kc * w_q * w_k)),
	             tiles, p);
	/* Iterations and the last assignment, or the choice of the w best. */
	if (arg[CENTROIDS] == KMEANS)
		passes = arg[ITERS] + 1;
	if (arg[MEMBERSHIP] == BALANCED)
		passes += 1;
	p->flops_useful += 2 * passes * points * (double)(kc * s->d);
	p->flops_executed += 2 * passes * points * (double)(kc * (s->d + 1));
	p->state = (arg[CENTROIDS] == KMEANS ? kc : kc * s->d) * sizeof(float);
	lay_out(&w, NULL, s, arg, ranks, &shared, &scratch);
	p->shared = shared.used;
	p->scratch = scratch.used;
	return NULL;
}

/* ---- attention within a cluster ---- */

/* Of ascending keys[0 .. n), those below `end`. */
static size_t below(const uint32_t *keys, size_t n, size_t end)
{
	size_t lo = 0;

	while (lo < n) {
		size_t middle = (lo + n) / 2;
		if (keys[middle] < end)
			lo = middle + 1;
		else
			n = middle;
	}
	return lo;
}

/* Queries against ascending keys, a piece of these at a time; results into rows
 * at[0 .. n_queries) of w->into. */
static void attend(struct work *w, const uint32_t *queries, const uint32_t *at, size_t n_queries,
                   const uint32_t *keys, size_t n_keys)
{
	const struct attn_call *c = w->call;
	const struct attn_shape *s = c->shape;
	size_t width = 2 * c->kern->lanes, lo[TILE_ROWS] = { 0 }, hi[TILE_ROWS];

	for (size_t first = 0, piece; first == 0 || first < n_keys; first += piece) {
		piece = least(PIECE, n_keys - first);
		rows_gather(w->k, c->k, c->ldk, s->d, keys + first, piece);
		rows_gather(w->v, c->v, c->ldv, s->d_v, keys + first, piece);
		for (size_t a = 0; a < n_queries; a += width) {
			size_t rows = least(width, n_queries - a);
			for (size_t r = 0; r < rows; r++)
				hi[r] = below(keys + first, piece, tile_visible(s, queries[a + r]));
			rows_load(&w->rows, queries + a, rows);
			if (first > 0)
				rows_resume(&w->rows, at + a, w->lse);
			tile_band_of(&w->rows.t, w->k, s->d, w->v, s->d_v, lo, hi, NULL);
			rows_store(&w->rows, at + a, w->lse);
		}
		if (n_keys == 0)
			break;
	}
}

/* ---- balanced: the w best of each centroid ---- */

static void inverse_lengths(struct work *w, struct attn_team *team)
{
	for (size_t side = 0; side < 2; side++) {
		const struct kmeans_points *set = &w->km.set[side];
		for (size_t i = team->rank; i < set->n; i += team->size) {
			const float *x = set->x + i * set->ldx;
			float square = w->call->kern->dot(x, x, w->km.d);
			w->inverse[side][i] = square > 0 ? 1 / sqrtf(square) : 0;
		}
	}
}

/* Centroids a tile at a time: their members, then their attention. */
static void balanced_clusters(struct work *w, struct attn_team *team)
{
	const struct attn_call *c = w->call;
	size_t lanes = c->kern->lanes, w_q = width(c->shape, c->arg, c->shape->n_q);
	size_t w_k = width(c->shape, c->arg, c->shape->n_k);

	inverse_lengths(w, team);
	attn_barrier(team);
	for (size_t u0 = team->rank * lanes; u0 < w->km.count; u0 += team->size * lanes) {
		size_t rows = least(lanes, w->km.count - u0);
		uint32_t *queries = w->order[0] + u0 * w_q;
		attn_phase(c->stats, ATTN_SELECTS);
		nearest_choose(&w->nearest, &w->km.set[0], w->inverse[0], u0, rows, w_q, queries);
		nearest_choose(&w->nearest, &w->km.set[1], w->inverse[1], u0, rows, w_k, w->order[1]);
		attn_phase(c->stats, ATTN_ATTENDS);
		for (size_t r = 0; r < rows; r++) {
			for (size_t i = 0; i < w_q; i++)
				w->at[i] = (uint32_t)((u0 + r) * w_q + i);
			attend(w, queries + r * w_q, w->at, w_q, w->order[1] + r * w_k, w_k);
		}
	}
}

/* Output rows [i0, i1): the mean over the clusters in which a query saw keys. */
static void average(const struct work *w, size_t i0, size_t i1)
{
	const struct attn_call *c = w->call;
	size_t d_v = c->shape->d_v, slots = w->km.count * width(c->shape, c->arg, c->shape->n_q);
	uint32_t *found = w->km.set[0].member; /* no longer needed */

	for (size_t i = i0; i < i1; i++) {
		found[i] = 0;
		memset((float *)c->out + i * c->ldo, 0, d_v * sizeof(float));
	}
	for (size_t slot = 0; slot < slots; slot++) {
		size_t i = w->order[0][slot];
		if (i < i0 || i >= i1 || !(w->lse[slot] > -INFINITY))
			continue;
		found[i]++;
		c->kern->axpy((float *)c->out + i * c->ldo, 1, w->result + slot * d_v, d_v);
	}
	for (size_t i = i0; i < i1; i++)
		if (found[i] > 1)
			c->kern->scale((float *)c->out + i * c->ldo, 1 / (float)found[i], d_v);
}

/* ---- argmax: the nearest centroid of each token ---- */

static void ragged_clusters(struct work *w, struct attn_team *team)
{
	for (size_t side = 0; side < 2; side++)
		if (team->rank == side % team->size)
			bucket_sort(w->km.set[side].member, w->km.set[side].n, 1, w->km.count,
			            w->start[side], w->order[side]);
	attn_barrier(team);
	attn_phase(w->call->stats, ATTN_ATTENDS);
	for (size_t u = team->rank; u < w->km.count; u += team->size) {
		const uint32_t *queries = w->order[0] + w->start[0][u], *keys = w->order[1] + w->start[1][u];
		attend(w, queries, queries, w->start[0][u + 1] - w->start[0][u], keys,
		       w->start[1][u + 1] - w->start[1][u]);
	}
}

/* Queries that saw no key: 1 - their share is the coverage. */
static void count_uncovered(const struct work *w, size_t i0, size_t i1)
{
	bool balanced = w->call->arg[MEMBERSHIP] == BALANCED;
	const uint32_t *found = w->km.set[0].member;

	for (size_t i = i0; w->call->stats && i < i1; i++)
		if (balanced ? found[i] == 0 : !(w->lse[i] > -INFINITY))
			w->call->stats->clamped_rows += 1;
}

static void forward(const struct attn_call *c, struct attn_team *team)
{
	const struct attn_shape *s = c->shape;
	struct layout shared = { .base = c->shared }, scratch = { .base = c->scratch };
	size_t i0 = s->n_q * team->rank / team->size, i1 = s->n_q * (team->rank + 1) / team->size;
	bool balanced = c->arg[MEMBERSHIP] == BALANCED;
	struct work w = { .call = c, .into = *c };

	w.km = (struct kmeans){ .call = c, .count = clusters(s, c->arg), .d = s->d,
		                .iterations = (size_t)c->arg[ITERS], .spherical = true };
	lay_out(&w, c, s, c->arg, team->size, &shared, &scratch);
	attn_phase(c->stats, ATTN_SELECTS);
	if (c->arg[CENTROIDS] == KMEANS) {
		kmeans_run(&w.km, team, c->state);
	} else {
		kmeans_place(&w.km, team, c->state);
		if (!balanced)
			kmeans_assign(&w.km, team);
	}
	if (balanced)
		balanced_clusters(&w, team);
	else
		ragged_clusters(&w, team);
	attn_barrier(team);
	if (balanced)
		average(&w, i0, i1);
	count_uncovered(&w, i0, i1);
}

const struct attn_variant attn_routing = {
	.abi = ATTN_ABI,
	.name = "routing",
	.family = "clustering",
	.title = "Routing Transformer",
	.paper = "Roy, Saffar, Vaswani, Grangier 2020, TACL 2021, arXiv 2003.05997",
	.formula = "softmax within clusters of queries and keys around kc centroids on the sphere",
	.complexity = "n (kc + n/kc) d",
	.target = "softmax attention at kc = 1 and w = n",
	.summary = "Balanced clusters may leave queries out: their rows are zero, counted as clamped rows, "
	           "and their causal form lets later tokens decide who is seen. k-means in each call costs "
	           "more than attention.",
	.flags = ATTN_CAUSAL | ATTN_BIDIRECTIONAL | ATTN_CROSS | ATTN_PARALLEL | ATTN_NONNEG |
	         ATTN_RANDOM | ATTN_LEAKS | ATTN_LOGITS | ATTN_CHOOSES,
	.impl_bound = 2e-6f,
	.limit = "kc=1:w=n",
	.cases = cases,
	.params = params,
	.refine = refine,
	.resolve = resolve,
	.plan = plan,
	.prepare = prepare,
	.forward = forward,
	.oracle = oracle_routing,
};
