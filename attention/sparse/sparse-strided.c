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
 * A2 of one residue mod l is dense attention on the subsequence r, r + l, ...
 * A1 then resumes from that result without offsets 0 and l, which A2 holds
 * already.
 */
#include "../engine/cache.h"
#include "../engine/residue.h"
#include "../engine/tile.h"
#include "../engine/work.h"
#include "../oracle/oracle.h"

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

/* A2: all of the token's residue class, causal: up to itself. */
static void whole_class(const struct attn_shape *s, const double *arg, size_t t, size_t size,
                        size_t *lo, size_t *hi)
{
	(void)arg;
	*lo = 0;
	*hi = s->causal ? t + 1 : size;
}

static const char *const cases[] = { "l=7", "l=1", "l=5:mode=a1", "l=5:mode=a2", "l=0:mode=split", NULL };

static const char *plan(const struct attn_shape *s, const double *arg, size_t ranks,
                        struct attn_plan *p)
{
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
		residue_pairs(s, arg, stride(s, arg), whole_class, &more, &more_executed);
		pairs += more;
		executed += more_executed;
	}
	work_softmax(s, pairs, executed, p);
	p->shared = TILE_SHARED_BYTES + s->n_q * sizeof(float);
	p->scratch = residue_scratch_bytes(s, arg, stride(s, arg), whole_class);
	return NULL;
}

static void pattern(struct tile *t, const void *ctx)
{
	const struct attn_call *c = t->call;
	size_t lo[TILE_ROWS], hi[TILE_ROWS];

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
		residue_run(c, team, stride(c->shape, c->arg), whole_class, with_lse.lse);
	attn_barrier(team);
	if (which != A2)
		tile_run(&with_lse, team, pattern, NULL, which == UNION);
}

/* The window before the newest token, and its residue class. */
static size_t newest(const struct attn_shape *s, const double *arg, size_t i, struct cache_run *run)
{
	size_t which = mode(s, arg), l = stride(s, arg), n = 0, lo, hi;

	band_before(s, arg, i, &lo, &hi);
	if (which != A2)
		run[n++] = cache_band(lo, hi);
	if (which != A1)
		run[n++] = (struct cache_run){ .first = i % l, .count = 1, .times = i / l + 1, .period = l };
	return n;
}

static struct cache_pattern kept(const struct attn_shape *s, const double *arg)
{
	return (struct cache_pattern){ .runs = newest, .by_head = arg[MODE] == SPLIT, .fixed = s->n_k };
}

static const struct cache_decode decode = {
	.slot = { .keeps = "cache: n (d + d_v)", CACHE_DECODE },
	.pattern = kept,
};

const struct attn_variant attn_sparse_strided = {
	.abi = ATTN_ABI,
	.name = "sparse-strided",
	.family = "sparse",
	.title = "Sparse Transformer, strided pattern",
	.paper = "Child, Gray, Radford, Sutskever 2019, arXiv 1904.10509",
	.formula = "softmax over i - l <= j <= i and (i - j) mod l = 0",
	.complexity = "n (l + n/l) d",
	.target = "softmax attention as l reaches n, and at l = 1",
	.summary = "n^1.5 at l = sqrt n; with the fixed default l = 128 the strided half stays n^2/l.",
	.flags = ATTN_CAUSAL | ATTN_BIDIRECTIONAL | ATTN_PARALLEL | ATTN_ROWSUM | ATTN_NONNEG |
	         ATTN_KSHIFT | ATTN_LSE | ATTN_LOGITS,
	.impl_bound = 2e-6f,
	.limit = "l=n:mode=union",
	.cases = cases,
	.params = params,
	.plan = plan,
	.forward = forward,
	.decode = &decode.slot,
	.oracle = oracle_sparse_strided,
};
