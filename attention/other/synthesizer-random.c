/* SPDX-License-Identifier: BSD-3-Clause
 *
 * synthesizer-random: attention weights that are parameters, not functions of tokens.
 *
 *     O = softmax(R) V,  R: n_q x n_k
 *
 * Time n^2 d_v, queries and keys are not read. Tay et al. 2020, arXiv 2005.00743. R is
 * random here: of rank `rank`, R_ij = a_i . b_j / sqrt(rank) with normals a and b, which is
 * flash attention of a and b; or with rank=0 a full matrix of normals, read from
 * memory. For comparisons of time: an untrained R attends to nothing in particular.
 */
#include "../engine/cache.h"
#include "../engine/tile.h"
#include "../engine/work.h"
#include "../oracle/oracle.h"

#include <string.h>

enum { RANK };
enum { ROWS = 16 }; /* of R at a time, when R is full */

static const struct attn_param params[] = {
	{ "rank", "of R; 0: a full matrix", ATTN_INT, 8, 0, 1024, NULL },
	{ 0 },
};

static const char *const cases[] = { "rank=0", "rank=3", NULL };

static void band(const struct attn_shape *s, const double *arg, size_t i, size_t *lo, size_t *hi)
{
	(void)arg;
	*lo = 0;
	*hi = tile_visible(s, i);
}

static const char *plan(const struct attn_shape *s, const double *arg, size_t ranks,
                        struct attn_plan *p)
{
	size_t rank = (size_t)arg[RANK];
	struct attn_shape inner = *s;
	double pairs, executed;

	(void)ranks;
	inner.d = rank;
	work_band_pairs(s, arg, band, &pairs, &executed);
	for (size_t i = 0, rows; rank == 0 && i < s->n_q; i += rows) {
		rows = s->n_q - i < ROWS ? s->n_q - i : ROWS;
		executed = (i ? executed : 0) + (double)(rows * tile_visible(s, i + rows - 1));
	}
	work_softmax(&inner, pairs, executed, p);
	p->state = (rank ? (s->n_q + s->n_k) * rank : s->n_q * s->n_k) * sizeof(float);
	p->shared = TILE_SHARED_BYTES;
	p->scratch = rank ? tile_scratch_bytes(rank, s->d_v) : ROWS * s->n_k * sizeof(float);
	p->bytes = (double)((s->n_q + s->n_k) * s->d_v * sizeof(float) + p->state);
	return NULL;
}

/* Element (i, j) of R, or a (n_q x rank) and b (n_k x rank): the same for every
 * length. */
static void prepare(const struct attn_shape *s, const double *arg, uint64_t seed, void *state)
{
	size_t rank = (size_t)arg[RANK];
	uint64_t stream = attn_random_stream("synthesizer-random", s->head, 0);
	uint64_t second = attn_random_stream("synthesizer-random", s->head, 1);
	float *r = state;

	for (size_t i = 0; rank == 0 && i < s->n_q; i++)
		attn_random_normals(seed, stream + i, 0, s->n_k, r + i * s->n_k);
	attn_random_normals(seed, stream, 0, s->n_q * rank, r);
	attn_random_normals(seed, second, 0, s->n_k * rank, r + s->n_q * rank);
}

static void pattern(struct tile *t, const void *ctx)
{
	size_t lo[TILE_ROWS] = { 0 }, hi[TILE_ROWS];

	for (size_t r = 0; r < t->rows; r++)
		hi[r] = tile_visible(ctx, t->q0 + r);
	tile_band(t, lo, hi);
}

static void factorised(const struct attn_call *c, struct attn_team *team)
{
	struct attn_shape inner = *c->shape;
	struct attn_call call = *c;

	inner.d = (size_t)c->arg[RANK];
	inner.scale = 1 / sqrtf((float)inner.d);
	call.shape = &inner;
	call.q = c->state;
	call.k = (const float *)c->state + inner.n_q * inner.d;
	call.ldq = call.ldk = inner.d;
	call.lse = NULL;
	tile_run(&call, team, pattern, &inner, false);
}

/* Rows [i, i + rows) of the output: weights of all visible keys, then one product. */
static void full_rows(const struct attn_call *c, size_t i, size_t rows)
{
	const struct attn_shape *s = c->shape;
	const struct kern *kern = c->kern;
	size_t end = tile_visible(s, i + rows - 1);
	float *w = c->scratch, *out = (float *)c->out + i * c->ldo, sum[ROWS];

	for (size_t r = 0; r < rows; r++) {
		const float *from = (const float *)c->state + (i + r) * s->n_k;
		size_t seen = tile_visible(s, i + r);
		sum[r] = kern->exp_shift(w + r * s->n_k, from, kern->max(from, seen), seen);
		memset(w + r * s->n_k + seen, 0, (end - seen) * sizeof *w);
	}
	kern->mm(out, c->ldo, w, s->n_k, 1, c->v, c->ldv, rows, s->d_v, end, false);
	for (size_t r = 0; r < rows; r++)
		kern->scale(out + r * c->ldo, sum[r] > 0 ? 1 / sum[r] : 0, s->d_v);
	if (c->stats)
		c->stats->flops_executed += 2 * (double)(rows * end * s->d_v);
}

static void forward(const struct attn_call *c, struct attn_team *team)
{
	size_t n = c->shape->n_q;

	if (c->arg[RANK] > 0) {
		factorised(c, team);
		return;
	}
	for (size_t i = team->rank * ROWS; i < n; i += team->size * ROWS)
		full_rows(c, i, n - i < ROWS ? n - i : ROWS);
}

/* ---- decoding: a cache of values ---- */

static struct cache values_at(const struct attn_shape *s, struct layout *past)
{
	struct attn_shape values = *s;

	values.d = 0;
	return cache_at(past, &values, s->n_k, 0);
}

static size_t single_bytes(const struct attn_shape *s, const double *arg, size_t queries)
{
	return single_scratch_bytes(s->type, (size_t)arg[RANK], s->d_v, queries);
}

static const char *decode_plan(const struct attn_decode *slot, const struct attn_shape *s, const double *arg,
                               size_t queries, size_t ranks, struct attn_decode_plan *p)
{
	struct layout past = { .base = NULL };
	struct attn_shape inner = *s;

	(void)slot;
	inner.d = (size_t)arg[RANK];
	cache_work(&inner, queries, (double)(queries * s->n_k), (double)s->n_k, p);
	if (inner.d == 0)
		p->step.bytes += (double)(queries * s->n_k) * sizeof(float);
	values_at(s, &past);
	p->past = past.used;
	p->step.shared = single_shared_bytes(s->d_v, queries, ranks);
	p->step.scratch = single_bytes(s, arg, queries) + (inner.d == 0 ? s->n_k * sizeof(float) : 0);
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
	struct layout past = { .base = c->past };
	struct cache values = values_at(s, &past);
	size_t rank = (size_t)c->arg[RANK], j = work_part(c->length + 1, team->rank, team->size);
	size_t n = work_part(c->length + 1, team->rank + 1, team->size) - j;
	const float *a = c->state, *b = a + s->n_q * rank;
	float *row = (float *)((char *)c->scratch + single_bytes(s, c->arg, c->queries));
	struct single one;

	if (team->rank == 0)
		cache_append(&values, c);
	single_init(&one, c, c->scratch, s->type, rank, s->d_v);
	single_load_from(&one, a + c->length * rank, 0, rank ? 1 / sqrtf((float)rank) : 1);
	attn_barrier(team);
	if (rank > 0)
		single_keys(&one, b + j * rank, rank, cache_value(&values, j), s->d_v, n, 0);
	for (size_t r = 0; rank == 0 && r < c->queries; r++) {
		memcpy(row, a + c->length * s->n_k + j, n * sizeof *row);
		single_scores(&one, r, row, cache_value(&values, j), s->d_v, n);
	}
	single_finish(&one, team, c->shared);
}

static const struct attn_decode decode = {
	.keeps = "cache of values: n d_v",
	.splits = true,
	.plan = decode_plan,
	.append = decode_append,
	.step = decode_step,
};

const struct attn_variant attn_synthesizer_random = {
	.abi = ATTN_ABI,
	.name = "synthesizer-random",
	.family = "other",
	.title = "random Synthesizer",
	.paper = "Tay et al. 2020, arXiv 2005.00743",
	.formula = "O = softmax(R) V, R a parameter",
	.complexity = "n^2 d",
	.target = "nothing: its weights are a parameter",
	.summary = "Weights do not depend on the tokens. For comparisons of time; R is not trained.",
	.flags = ATTN_CAUSAL | ATTN_BIDIRECTIONAL | ATTN_CROSS | ATTN_PARALLEL | ATTN_ROWSUM |
	         ATTN_NONNEG | ATTN_KSHIFT | ATTN_QSCALE | ATTN_KSCALE | ATTN_RANDOM,
	.impl_bound = 2e-6f,
	.cases = cases,
	.params = params,
	.plan = plan,
	.prepare = prepare,
	.forward = forward,
	.decode = &decode,
	.oracle = oracle_synthesizer_random,
};
