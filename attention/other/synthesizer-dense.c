/* SPDX-License-Identifier: BSD-3-Clause
 *
 * synthesizer-dense: each token predicts its weights, position by position.
 *
 *     O = softmax(relu(X W1) W2) V,  W1: d x h, W2: h x n_k
 *
 * Time n^2 (h + d_v), keys are not read. Tay et al. 2020, arXiv 2005.00743. The tokens X
 * are the input "X" (n_q x d) or else the queries. W1 and W2 are random, logits of order
 * 1: for comparisons of time. With relu(X W1) as queries and the columns of W2 as
 * keys it is flash attention of head size h. The width of W2 is the largest length
 * of a model; here its first n_k columns are made.
 */
#include "../engine/cache.h"
#include "../engine/tile.h"
#include "../engine/work.h"
#include "../oracle/oracle.h"

enum { HIDDEN };
enum { ROWS = 64 }; /* of X at a time */

static const struct attn_param params[] = {
	{ "hidden", "h; auto: d", ATTN_INT, NAN, 1, 4096, NULL },
	{ 0 },
};

static void resolve(const struct attn_shape *s, double *arg)
{
	if (isnan(arg[HIDDEN]))
		arg[HIDDEN] = (double)(s->d < 4096 ? s->d : 4096);
}

static const char *const cases[] = { "hidden=5", NULL };

static void band(const struct attn_shape *s, const double *arg, size_t i, size_t *lo, size_t *hi)
{
	(void)arg;
	*lo = 0;
	*hi = tile_visible(s, i);
}

static const char *plan(const struct attn_shape *s, const double *arg, size_t ranks,
                        struct attn_plan *p)
{
	size_t h = (size_t)arg[HIDDEN];
	double pairs, executed, projection = 2 * (double)s->n_q * (double)(s->d * h);
	struct attn_shape inner = *s;

	(void)ranks;
	inner.d = h;
	work_band_pairs(s, arg, band, &pairs, &executed);
	work_softmax(&inner, pairs, executed, p);
	p->flops_useful += projection;
	p->flops_executed += projection;
	p->state = (s->d + s->n_k) * h * sizeof(float);
	p->shared = TILE_SHARED_BYTES + s->n_q * h * sizeof(float);
	p->scratch = tile_scratch_bytes(h, s->d_v);
	p->bytes = work_io_bytes(s) + (double)p->state;
	return NULL;
}

/* W1 (d x h), N(0, 1/d); W2 transposed (n_k x h), N(0, 2/h): hidden units of size 1
 * of which half are cut off. Rows of W2^T are the same for every length. */
static void prepare(const struct attn_shape *s, const double *arg, uint64_t seed, void *state)
{
	size_t h = (size_t)arg[HIDDEN];
	float *w1 = state, *w2_t = w1 + s->d * h;
	uint64_t first = attn_random_stream("synthesizer-dense", s->head, 0);
	uint64_t second = attn_random_stream("synthesizer-dense", s->head, 1);

	for (size_t i = 0; i < s->d * h; i++)
		w1[i] = (float)(attn_random_normal(seed, first, i) / sqrt((double)s->d));
	for (size_t i = 0; i < s->n_k * h; i++)
		w2_t[i] = (float)(attn_random_normal(seed, second, i) * sqrt(2 / (double)h));
}

static void pattern(struct tile *t, const void *ctx)
{
	size_t lo[TILE_ROWS] = { 0 }, hi[TILE_ROWS];

	for (size_t r = 0; r < t->rows; r++)
		hi[r] = tile_visible(ctx, t->q0 + r);
	tile_band(t, lo, hi);
}

static void forward(const struct attn_call *c, struct attn_team *team)
{
	const struct attn_shape *s = c->shape;
	size_t h = (size_t)c->arg[HIDDEN], end = s->n_q * (team->rank + 1) / team->size;
	const float *given = attn_aux_find(c->aux, "X", s->n_q, s->d), *x = given ? given : c->q;
	size_t ldx = given ? s->d : c->ldq;
	float *hidden = (float *)((char *)c->shared + TILE_SHARED_BYTES);
	struct attn_shape inner = *s;
	struct attn_call call = *c;

	for (size_t i = s->n_q * team->rank / team->size, rows; i < end; i += rows) {
		rows = end - i < ROWS ? end - i : ROWS;
		c->kern->mm(hidden + i * h, h, x + i * ldx, ldx, 1, c->state, h, rows, h, s->d, false);
		c->kern->relu(hidden + i * h, hidden + i * h, 1, 0, rows * h);
		if (c->stats)
			c->stats->flops_executed += 2 * (double)(rows * s->d * h);
	}
	inner.d = h;
	inner.scale = 1;
	call.shape = &inner;
	call.q = hidden;
	call.k = (const float *)c->state + s->d * h;
	call.ldq = call.ldk = h;
	call.lse = NULL;
	attn_barrier(team);
	tile_run(&call, team, pattern, &inner, false);
}

/* ---- decoding: a cache of values; keys are columns of W2 ---- */

static struct cache values_at(const struct attn_shape *s, struct layout *past)
{
	struct attn_shape values = *s;

	values.d = 0;
	return cache_at(past, &values, s->n_k, 0);
}

static const char *decode_plan(const struct attn_decode *slot, const struct attn_shape *s, const double *arg,
                               size_t queries, size_t ranks, struct attn_decode_plan *p)
{
	size_t h = (size_t)arg[HIDDEN];
	double projection = 2 * (double)queries * (double)(s->d * h);
	struct layout past = { .base = NULL };
	struct attn_shape inner = *s;

	(void)slot;
	inner.d = h;
	cache_work(&inner, queries, (double)(queries * s->n_k), (double)s->n_k, p);
	p->step.flops_useful += projection;
	p->step.flops_executed += projection * (double)ranks;
	values_at(s, &past);
	p->past = past.used;
	p->step.shared = single_shared_bytes(s->d_v, queries, ranks);
	p->step.scratch = single_scratch_bytes(s->type, h, s->d_v, queries) + queries * h * sizeof(float);
	return NULL;
}

static void decode_append(const struct attn_decode_call *c)
{
	struct layout past = { .base = c->past };
	struct cache values = values_at(c->shape, &past);

	cache_append(&values, c);
}

/* Each rank owns a stretch of keys. */
static void decode_step(const struct attn_decode_call *c, struct attn_team *team)
{
	const struct attn_shape *s = c->shape;
	const float *given = attn_aux_find(c->aux, "X", s->n_q, s->d);
	struct layout past = { .base = c->past };
	struct cache values = values_at(s, &past);
	size_t h = (size_t)c->arg[HIDDEN], j = work_part(c->length + 1, team->rank, team->size);
	const float *w1 = c->state, *w2_t = w1 + s->d * h;
	float *hidden = (float *)((char *)c->scratch + single_scratch_bytes(s->type, h, s->d_v, c->queries));
	struct single one;

	if (team->rank == 0)
		cache_append(&values, c);
	for (size_t r = 0; r < c->queries; r++) {
		const float *x = given ? given + c->length * s->d : (const float *)c->q + r * c->ldq;
		c->kern->mm(hidden + r * h, h, x, s->d, 1, w1, h, 1, h, s->d, false);
	}
	c->kern->relu(hidden, hidden, 1, 0, c->queries * h);
	if (c->stats)
		c->stats->flops_executed += 2 * (double)(c->queries * s->d * h);
	single_init(&one, c, c->scratch, s->type, h, s->d_v);
	single_load_from(&one, hidden, h, 1);
	attn_barrier(team);
	single_keys(&one, w2_t + j * h, h, cache_value(&values, j), s->d_v,
	            work_part(c->length + 1, team->rank + 1, team->size) - j, 0);
	single_finish(&one, team, c->shared);
}

static const struct attn_decode decode = {
	.keeps = "cache of values: n d_v",
	.splits = true,
	.plan = decode_plan,
	.append = decode_append,
	.step = decode_step,
};

const struct attn_variant attn_synthesizer_dense = {
	.abi = ATTN_ABI,
	.name = "synthesizer-dense",
	.family = "other",
	.title = "dense Synthesizer",
	.paper = "Tay et al. 2020, arXiv 2005.00743",
	.formula = "O = softmax(relu(X W1) W2) V",
	.complexity = "n^2 d",
	.target = "nothing: its weights are an untrained function of the queries",
	.summary = "Keys are not read; X stands for the tokens, by default the queries. For "
	           "comparisons of time; W1 and W2 are not trained.",
	.flags = ATTN_CAUSAL | ATTN_BIDIRECTIONAL | ATTN_CROSS | ATTN_PARALLEL | ATTN_ROWSUM |
	         ATTN_NONNEG | ATTN_QPERM | ATTN_KSHIFT | ATTN_KSCALE | ATTN_RANDOM,
	.impl_bound = 2e-6f,
	.cases = cases,
	.params = params,
	.resolve = resolve,
	.plan = plan,
	.prepare = prepare,
	.forward = forward,
	.decode = &decode,
	.oracle = oracle_synthesizer_dense,
};
