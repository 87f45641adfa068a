/* SPDX-License-Identifier: BSD-3-Clause
 *
 * sparse-fixed: the query's own block and summary columns of all blocks.
 *
 *     A1 = { j <= i: floor(j/l) = floor(i/l) },  A2 = { j <= i: j mod l >= l - c }
 *
 * (bidirectional: without j <= i). Time n (l + c n/l) (d + d_v). Child, Gray,
 * Radford, Sutskever 2019, arXiv 1904.10509. mode=union is the merged head; split
 * gives A1 to even and A2 to odd heads. A2 alone leaves the rows before the
 * first summary column empty. Other codes add column 0 of a block or take c + 1
 * columns; the published kernels choose summary blocks by head.
 *
 * Summary columns are gathered once, in order, so that A2 is a band of them: the
 * union is that band without the own block, then the block.
 */
#include "../engine/cache.h"
#include "../engine/tile.h"
#include "../engine/work.h"
#include "../oracle/oracle.h"

#include <string.h>

enum { L, C, MODE };
enum { UNION, SPLIT, A1, A2 };

static const char *const modes[] = { "union", "split", "a1", "a2", NULL };

static const struct attn_param params[] = {
	{ "l", "tokens a block; 0: round(sqrt n)", ATTN_INT, 128, 0, 1 << 30, NULL },
	{ "c", "summary columns, the last of a block; at most l", ATTN_INT, 32, 0, 1 << 30, NULL },
	{ "mode", "which keys", ATTN_NAME, 0, 0, 3, modes },
	{ 0 },
};

static size_t block(const struct attn_shape *s, const double *arg)
{
	return arg[L] > 0 ? (size_t)arg[L] : (size_t)(sqrt((double)s->n_k) + 0.5);
}

static size_t mode(const struct attn_shape *s, const double *arg)
{
	if (arg[MODE] == SPLIT)
		return s->head % 2 == 0 ? A1 : A2;
	return (size_t)arg[MODE];
}

static void own_block(const struct attn_shape *s, const double *arg, size_t i, size_t *lo, size_t *hi)
{
	size_t l = block(s, arg), end = (i / l + 1) * l, visible = tile_visible(s, i);

	*lo = i / l * l;
	*hi = end < visible ? end : visible;
}

/* Summary columns among the first n tokens. */
static size_t summaries(const struct attn_shape *s, const double *arg, size_t n)
{
	size_t l = block(s, arg), c = (size_t)arg[C] < l ? (size_t)arg[C] : l, rest = n % l;

	return n / l * c + (rest > l - c ? rest - (l - c) : 0);
}

/* Bands of summary columns, counted in the order of their gathering. */
static void summary_before(const struct attn_shape *s, const double *arg, size_t i, size_t *lo,
                           size_t *hi)
{
	size_t l = block(s, arg), visible = tile_visible(s, i);

	*lo = 0;
	*hi = summaries(s, arg, mode(s, arg) == A2 ? visible : i / l * l);
}

/* Of the union, bidirectional only. */
static void summary_after(const struct attn_shape *s, const double *arg, size_t i, size_t *lo,
                          size_t *hi)
{
	size_t end = (i / block(s, arg) + 1) * block(s, arg);

	*hi = summaries(s, arg, s->n_k);
	*lo = end < s->n_k && !s->causal && mode(s, arg) == UNION ? summaries(s, arg, end) : *hi;
}

static const char *const cases[] = { "l=7:c=2",         "l=9:c=9",         "l=10:c=3:mode=a1",
	                             "l=10:c=3:mode=a2", "l=0:c=4:mode=split", NULL };

static void refine(const double *arg, unsigned *flags, float *impl_bound)
{
	(void)impl_bound;
	if (arg[MODE] == A2 || arg[MODE] == SPLIT)
		*flags &= ~(unsigned)ATTN_ROWSUM; /* rows may be empty */
}

static const char *plan(const struct attn_shape *s, const double *arg, size_t ranks,
                        struct attn_plan *p)
{
	static work_band *const bands[] = { own_block, summary_before, summary_after };
	double pairs = 0, executed = 0;
	bool used[] = { mode(s, arg) != A2, mode(s, arg) != A1, mode(s, arg) == UNION };

	(void)ranks;
	for (size_t b = 0; b < 3; b++) {
		double more, more_executed;
		if (!used[b])
			continue;
		work_band_pairs(s, arg, bands[b], &more, &more_executed);
		pairs += more;
		executed += more_executed;
	}
	work_softmax(s, pairs, executed, p);
	p->shared = TILE_SHARED_BYTES;
	if (mode(s, arg) != A1)
		p->shared += summaries(s, arg, s->n_k) * (s->d + s->d_v) * sizeof(float);
	p->scratch = tile_scratch_bytes(s->d, s->d_v);
	return NULL;
}

/* Summary keys and values, in order. */
struct gathered {
	float *k, *v;
};

static void gather(const struct attn_call *c, const struct gathered *g, struct attn_team *team)
{
	const struct attn_shape *s = c->shape;
	size_t l = block(s, c->arg);

	for (size_t b = team->rank; b * l < s->n_k; b += team->size) {
		size_t end = (b + 1) * l < s->n_k ? (b + 1) * l : s->n_k;
		size_t at = summaries(s, c->arg, b * l), count = summaries(s, c->arg, end) - at;
		for (size_t i = 0; i < count; i++, at++) {
			size_t j = (b + 1) * l - ((size_t)c->arg[C] < l ? (size_t)c->arg[C] : l) + i;
			memcpy(g->k + at * s->d, (const float *)c->k + j * c->ldk, s->d * sizeof *g->k);
			memcpy(g->v + at * s->d_v, (const float *)c->v + j * c->ldv, s->d_v * sizeof *g->v);
		}
	}
}

static void pattern(struct tile *t, const void *ctx)
{
	const struct attn_call *c = t->call;
	const struct attn_shape *s = c->shape;
	const struct gathered *g = ctx;
	size_t lo[TILE_ROWS], hi[TILE_ROWS], which = mode(s, c->arg);

	for (size_t r = 0; which != A1 && r < t->rows; r++)
		summary_before(s, c->arg, t->q0 + r, &lo[r], &hi[r]);
	if (which != A1)
		tile_band_of(t, g->k, s->d, g->v, s->d_v, lo, hi, NULL);
	for (size_t r = 0; which == UNION && r < t->rows; r++)
		summary_after(s, c->arg, t->q0 + r, &lo[r], &hi[r]);
	if (which == UNION)
		tile_band_of(t, g->k, s->d, g->v, s->d_v, lo, hi, NULL);
	for (size_t r = 0; which != A2 && r < t->rows; r++)
		own_block(s, c->arg, t->q0 + r, &lo[r], &hi[r]);
	if (which != A2)
		tile_band(t, lo, hi);
}

static void forward(const struct attn_call *c, struct attn_team *team)
{
	const struct attn_shape *s = c->shape;
	struct gathered g = { .k = (float *)((char *)c->shared + TILE_SHARED_BYTES) };

	g.v = g.k + summaries(s, c->arg, s->n_k) * s->d;
	if (mode(s, c->arg) != A1)
		gather(c, &g, team);
	attn_barrier(team);
	tile_run(c, team, pattern, &g, false);
}

/* ---- decoding: the own block in a ring, summary columns in order ---- */

struct kept {
	struct cache own, summary;
};

static struct kept kept_at(const struct attn_shape *s, const double *arg, struct layout *past)
{
	return (struct kept){ .own = cache_at(past, s, 0, block(s, arg)),
		              .summary = cache_at(past, s, summaries(s, arg, s->n_k), 0) };
}

/* What the newest token i sees, of its own block or of the summaries. */
static struct cache_run seen_of(const struct attn_shape *s, const double *arg, size_t i, bool own)
{
	size_t which = mode(s, arg), lo, hi;

	if (which == (own ? A2 : A1))
		return cache_band(0, 0);
	if (own)
		own_block(s, arg, i, &lo, &hi);
	else
		summary_before(s, arg, i, &lo, &hi);
	return cache_band(lo, hi);
}

static const char *decode_plan(const struct attn_decode *slot, const struct attn_shape *s, const double *arg,
                               size_t queries, size_t ranks, struct attn_decode_plan *p)
{
	struct layout past = { .base = NULL };
	struct attn_shape shape = *s;
	double pairs = 0;

	(void)slot;
	for (size_t r = 0; r < queries; r++, shape.head++)
		for (int own = 0; own < 2; own++)
			pairs += (double)seen_of(&shape, arg, s->n_k - 1, own).count;
	cache_work(s, queries, pairs, arg[MODE] == SPLIT ? pairs : pairs / (double)queries, p);
	kept_at(s, arg, &past);
	p->past = past.used;
	p->step.shared = single_shared_bytes(s->d_v, queries, ranks);
	p->step.scratch = single_scratch_bytes(s->type, s->d, s->d_v, queries);
	return NULL;
}

static void decode_append(const struct attn_decode_call *c)
{
	struct layout past = { .base = c->past };
	struct kept kept = kept_at(c->shape, c->arg, &past);

	cache_append(&kept.own, c);
	for (size_t i = 0; i < c->tokens; i++) {
		size_t row = summaries(c->shape, c->arg, c->length + i);
		if (summaries(c->shape, c->arg, c->length + i + 1) > row)
			cache_put(&kept.summary, row, (const float *)c->k + i * c->ldk, (const float *)c->v + i * c->ldv);
	}
}

static void decode_step(const struct attn_decode_call *c, struct attn_team *team)
{
	struct layout past = { .base = c->past };
	struct attn_shape shape = *c->shape;
	struct kept kept = kept_at(&shape, c->arg, &past);
	bool by_head = c->arg[MODE] == SPLIT;
	struct single one;

	if (team->rank == 0)
		decode_append(c);
	single_init(&one, c, c->scratch, shape.type, shape.d, shape.d_v);
	single_load(&one, shape.scale);
	attn_barrier(team);
	for (size_t r = 0; r < (by_head ? c->queries : 1); r++, shape.head++) {
		const struct cache_run own = seen_of(&shape, c->arg, c->length, true);
		const struct cache_run summary = seen_of(&shape, c->arg, c->length, false);
		if (by_head)
			single_only(&one, r);
		cache_look(&one, &kept.summary, &summary, 1, 0, team);
		cache_look(&one, &kept.own, &own, 1, 0, team);
	}
	single_finish(&one, team, c->shared);
}

static const struct attn_decode decode = {
	.keeps = "ring and summary columns: (l + c n/l) (d + d_v)",
	.shares = true,
	.splits = true,
	.plan = decode_plan,
	.append = decode_append,
	.step = decode_step,
};

const struct attn_variant attn_sparse_fixed = {
	.abi = ATTN_ABI,
	.name = "sparse-fixed",
	.family = "sparse",
	.title = "Sparse Transformer, fixed pattern",
	.paper = "Child, Gray, Radford, Sutskever 2019, arXiv 1904.10509",
	.formula = "softmax over floor(j/l) = floor(i/l) and j mod l >= l - c",
	.complexity = "n (l + c n/l) d",
	.target = "softmax attention as l reaches n",
	.summary = "n^1.5 at l ~ sqrt n and small c; with the fixed default l = 128 the summaries stay "
	           "c n^2/l. mode=a2 leaves early causal rows empty.",
	.flags = ATTN_CAUSAL | ATTN_BIDIRECTIONAL | ATTN_PARALLEL | ATTN_ROWSUM | ATTN_NONNEG |
	         ATTN_KSHIFT | ATTN_LSE | ATTN_LOGITS,
	.impl_bound = 2e-6f,
	.limit = "l=n:mode=union",
	.cases = cases,
	.params = params,
	.refine = refine,
	.plan = plan,
	.forward = forward,
	.decode = &decode,
	.oracle = oracle_sparse_fixed,
};
