/* SPDX-License-Identifier: BSD-3-Clause
 *
 * sparse-strided: a local window and every l-th key.
 *
 *     A1 = { i - l <= j <= i },  A2 = { j <= i : (i - j) mod l = 0 }
 *
 * (bidirectional: |i - j| in place of i - j). Time n (l + n/l) (d + d_v): n^1.5 at
 * l = sqrt n. Child, Gray, Radford, Sutskever 2019, arXiv 1904.10509. mode=union is
 * the merged head; split gives A1 to even and A2 to odd heads.
 *
 * A2 of one residue mod l is dense attention on the subsequence r, r + l, ...:
 * its keys are gathered, since rows a multiple of 4 KiB apart would share one set
 * of the cache, and run through the tile engine. A1 then resumes from that result
 * without offsets 0 and l, which A2 holds already.
 */
#include "../engine/tile.h"
#include "../engine/work.h"
#include "../oracle/oracle.h"

#include <string.h>

enum { L, MODE };
enum { UNION, SPLIT, A1, A2 };

static const char *const modes[] = { "union", "split", "a1", "a2", NULL };

static const struct attn_param params[] = {
	{ "l", "stride; 0: round(sqrt n)", ATTN_INT, 128, 0, 1 << 30, NULL },
	{ "mode", "which keys", ATTN_NAME, 0, 0, 3, modes },
	{ 0 },
};

static size_t stride(const struct attn_shape *s, const double *arg)
{
	return arg[L] > 0 ? (size_t)arg[L] : (size_t)(sqrt((double)s->n_k) + 0.5);
}

static size_t mode(const struct attn_shape *s, const double *arg)
{
	if (arg[MODE] == SPLIT)
		return s->head % 2 == 0 ? A1 : A2;
	return (size_t)arg[MODE];
}

/* The window before the query: [i - l, i] alone, ]i - l, i[ beside A2. */
static void band_before(const struct attn_shape *s, const double *arg, size_t i, size_t *lo,
                        size_t *hi)
{
	bool alone = mode(s, arg) == A1;
	size_t reach = stride(s, arg) - (alone ? 0 : 1);

	*lo = i > reach ? i - reach : 0;
	*hi = alone ? i + 1 : i;
}

/* Its mirror after the query, bidirectional only. */
static void band_after(const struct attn_shape *s, const double *arg, size_t i, size_t *lo,
                       size_t *hi)
{
	size_t reach = stride(s, arg) - (mode(s, arg) == A1 ? 0 : 1);

	*lo = i + 1;
	*hi = i + reach + 1 < s->n_k ? i + reach + 1 : s->n_k;
}

/* Tokens of residue class r. */
static size_t class_size(size_t n, size_t l, size_t r)
{
	return r < n ? (n - r - 1) / l + 1 : 0;
}

/* Pairs of a dense class of `size` tokens, and those that whole tiles touch. */
static void class_pairs(size_t size, bool causal, double *pairs, double *executed)
{
	const struct attn_shape dense = { .n_q = size, .n_k = size, .causal = causal };

	*pairs = work_visible_pairs(&dense);
	*executed = 0;
	for (size_t q0 = 0; q0 < size; q0 += KERN_MAX_LANES) {
		size_t end = q0 + KERN_MAX_LANES < size ? q0 + KERN_MAX_LANES : size;
		*executed += (double)(KERN_MAX_LANES * (causal ? end : size));
	}
}

static const char *const cases[] = { "l=7", "l=1", "l=5:mode=a1", "l=5:mode=a2", "l=0:mode=split", NULL };

static const char *plan(const struct attn_shape *s, const double *arg, size_t ranks,
                        struct attn_plan *p)
{
	size_t n = s->n_q, l = stride(s, arg), longest = class_size(n, l, 0);
	double pairs = 0, executed = 0, more, more_executed;

	(void)ranks;
	if (mode(s, arg) != A2) {
		work_band_pairs(s, arg, band_before, &pairs, &executed);
		if (!s->causal) {
			work_band_pairs(s, arg, band_after, &more, &more_executed);
			pairs += more;
			executed += more_executed;
		}
	}
	if (mode(s, arg) != A1) {
		/* Classes are of two sizes: `longest` for the first residues. */
		double full = (double)(n % l ? n % l : l < n ? l : n), rest = (double)(l < n ? l : n) - full;
		class_pairs(longest, s->causal, &more, &more_executed);
		pairs += full * more;
		executed += full * more_executed;
		class_pairs(longest - 1, s->causal, &more, &more_executed);
		pairs += rest * more;
		executed += rest * more_executed;
	}
	work_softmax(s, pairs, executed, p);
	p->shared = TILE_SHARED_BYTES + n * sizeof(float);
	p->scratch = tile_scratch_bytes(s->d, s->d_v) + longest * (s->d + s->d_v) * sizeof(float);
	return NULL;
}

/* Queries t0 .. t0 + rows of class r against the gathered keys of the class. */
static void class_tile(struct tile *t, size_t r, size_t l, size_t size, size_t t0, const float *k,
                       const float *v, float *lse)
{
	const struct attn_call *c = t->call;
	size_t lanes = c->kern->lanes, rows = size - t0 < lanes ? size - t0 : lanes;
	size_t lo[KERN_MAX_LANES] = { 0 }, hi[KERN_MAX_LANES], first = r + t0 * l;
	float row_lse[KERN_MAX_LANES];

	for (size_t i = 0; i < rows; i++)
		hi[i] = c->shape->causal ? t0 + i + 1 : size;
	tile_load(t, (const float *)c->q + first * c->ldq, c->ldq * l, rows);
	tile_band_of(t, k, c->shape->d, v, c->shape->d_v, lo, hi, NULL);
	tile_store(t, (float *)c->out + first * c->ldo, c->ldo * l, row_lse);
	for (size_t i = 0; i < rows; i++)
		lse[first + i * l] = row_lse[i];
}

/* A2: ranks take residue classes in turn, or tiles if classes are too few. */
static void strided(const struct attn_call *c, struct attn_team *team, size_t l, float *lse)
{
	const struct attn_shape *s = c->shape;
	size_t n = s->n_k, lanes = c->kern->lanes, longest = class_size(n, l, 0);
	bool by_tile = l < team->size;
	float *k = (float *)((char *)c->scratch + tile_scratch_bytes(s->d, s->d_v));
	float *v = k + longest * s->d;
	struct tile t;

	tile_init(&t, c, c->scratch, s->d, s->d_v);
	for (size_t r = by_tile ? 0 : team->rank; r < l && r < n; r += by_tile ? 1 : team->size) {
		size_t size = class_size(n, l, r);
		for (size_t i = 0; i < size; i++) {
			size_t j = r + i * l;
			memcpy(k + i * s->d, (const float *)c->k + j * c->ldk, s->d * sizeof *k);
			memcpy(v + i * s->d_v, (const float *)c->v + j * c->ldv, s->d_v * sizeof *v);
		}
		size_t step = by_tile ? team->size : 1;
		for (size_t u = by_tile ? team->rank : 0; u * lanes < size; u += step)
			class_tile(&t, r, l, size, u * lanes, k, v, lse);
	}
}

static void pattern(struct tile *t, const void *ctx)
{
	const struct attn_call *c = t->call;
	size_t lo[KERN_MAX_LANES], hi[KERN_MAX_LANES];

	(void)ctx;
	for (size_t r = 0; r < t->rows; r++)
		band_before(c->shape, c->arg, t->q0 + r, &lo[r], &hi[r]);
	tile_band(t, lo, hi);
	if (c->shape->causal)
		return;
	for (size_t r = 0; r < t->rows; r++)
		band_after(c->shape, c->arg, t->q0 + r, &lo[r], &hi[r]);
	tile_band(t, lo, hi);
}

static void forward(const struct attn_call *c, struct attn_team *team)
{
	struct attn_call with_lse = *c;
	size_t which = mode(c->shape, c->arg);

	if (!with_lse.lse)
		with_lse.lse = (float *)((char *)c->shared + TILE_SHARED_BYTES);
	if (which != A1)
		strided(c, team, stride(c->shape, c->arg), with_lse.lse);
	attn_barrier(team);
	if (which != A2)
		tile_run(&with_lse, team, pattern, NULL, which == UNION);
}

const struct attn_variant attn_sparse_strided = {
	.abi = ATTN_ABI,
	.name = "sparse-strided",
	.family = "sparse",
	.title = "Sparse Transformer, strided pattern",
	.paper = "Child, Gray, Radford, Sutskever 2019, arXiv 1904.10509",
	.formula = "softmax over i - l <= j <= i and (i - j) mod l = 0",
	.complexity = "n (l + n/l) d",
	.summary = "n^1.5 at l = sqrt n; with the fixed default l = 128 the strided half stays n^2/l.",
	.flags = ATTN_CAUSAL | ATTN_BIDIRECTIONAL | ATTN_PARALLEL | ATTN_ROWSUM | ATTN_NONNEG |
	         ATTN_KSHIFT | ATTN_LSE | ATTN_LOGITS,
	.impl_bound = 2e-6f,
	.limit = "l=n:mode=union",
	.cases = cases,
	.params = params,
	.plan = plan,
	.forward = forward,
	.oracle = oracle_sparse_strided,
};
