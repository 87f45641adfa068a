/* SPDX-License-Identifier: BSD-3-Clause
 *
 * longformer: a window and global tokens.
 *
 *     allowed(i, j): |i - j| <= w/2, or j global, or i global
 *
 * Time n (w + 2 g) (d + d_v). Beltagy, Peters, Cohan 2020, arXiv 2004.05150. w is
 * the total window as in the paper, w/2 on each side. The g global tokens are the
 * first ones. The paper projects global rows apart; with one Q, K, V given there
 * is one set. The causal form intersects with j <= i, so global keys act as sinks.
 */
#include "../engine/cache.h"
#include "../engine/tile.h"
#include "../engine/work.h"
#include "../oracle/oracle.h"

enum { W, G };

static const struct attn_param params[] = {
	{ "w", "window, w/2 keys on each side", ATTN_INT, 512, 0, 1 << 30, NULL },
	{ "g", "global tokens, the first of the sequence", ATTN_INT, 1, 0, 1 << 30, NULL },
	{ 0 },
};

/* The band of query i without the global keys before it. */
static void band(const struct attn_shape *s, const double *arg, size_t i, size_t *lo, size_t *hi)
{
	size_t half = (size_t)arg[W] / 2, g = (size_t)arg[G];

	if (i < g) {
		*lo = 0;
		*hi = tile_visible(s, i);
		return;
	}
	*lo = i > half ? i - half : 0;
	*hi = s->causal ? i + 1 : i + half + 1;
	*hi = *hi < s->n_k ? *hi : s->n_k;
}

/* Global keys of query i that its band does not hold: [0, hi). */
static void global_band(const struct attn_shape *s, const double *arg, size_t i, size_t *lo,
                        size_t *hi)
{
	size_t g = (size_t)arg[G], first, last;

	band(s, arg, i, &first, &last);
	*lo = 0;
	*hi = g < first ? g : first;
}

static const char *const cases[] = { "w=6:g=2", "w=0:g=0", "w=10:g=20", NULL };

static const char *plan(const struct attn_shape *s, const double *arg, size_t ranks,
                        struct attn_plan *p)
{
	double pairs, executed, global_pairs, global_executed;

	(void)ranks;
	work_band_pairs(s, arg, band, &pairs, &executed);
	work_band_pairs(s, arg, global_band, &global_pairs, &global_executed);
	work_softmax(s, pairs + global_pairs, executed + global_executed, p);
	p->shared = TILE_SHARED_BYTES;
	p->scratch = tile_scratch_bytes(s->d, s->d_v);
	return NULL;
}

static void pattern(struct tile *t, const void *ctx)
{
	const struct attn_call *c = t->call;
	size_t lo[TILE_ROWS], hi[TILE_ROWS];

	(void)ctx;
	for (size_t r = 0; r < t->rows; r++)
		global_band(c->shape, c->arg, t->q0 + r, &lo[r], &hi[r]);
	tile_band(t, lo, hi);
	for (size_t r = 0; r < t->rows; r++)
		band(c->shape, c->arg, t->q0 + r, &lo[r], &hi[r]);
	tile_band(t, lo, hi);
}

static void forward(const struct attn_call *c, struct attn_team *team)
{
	tile_run(c, team, pattern, NULL, false);
}

/* Global queries see the past, which is global tokens all of it. */
static struct cache_pattern kept(const struct attn_shape *s, const double *arg)
{
	(void)s;
	return (struct cache_pattern){ .band = { global_band, band }, .fixed = (size_t)arg[G],
		                       .ring = (size_t)arg[W] / 2 + 1 };
}

static const struct cache_decode decode = {
	.slot = { .keeps = "global tokens and ring: (w/2 + 1 + g) (d + d_v)", CACHE_DECODE },
	.pattern = kept,
};

const struct attn_variant attn_longformer = {
	.abi = ATTN_ABI,
	.name = "longformer",
	.family = "sparse",
	.title = "Longformer (window and global tokens)",
	.paper = "Beltagy, Peters, Cohan 2020, arXiv 2004.05150",
	.formula = "softmax over |i - j| <= w/2, global keys, and all keys for global queries",
	.complexity = "n (w + 2 g) d",
	.target = "softmax attention as w reaches 2 n, or g reaches n",
	.summary = "w is the total window; some codes use it for one side. A global key inside the "
	           "window counts once.",
	.flags = ATTN_CAUSAL | ATTN_BIDIRECTIONAL | ATTN_PARALLEL | ATTN_ROWSUM | ATTN_NONNEG |
	         ATTN_KSHIFT | ATTN_LSE | ATTN_LOGITS,
	.impl_bound = 2e-6f,
	.limit = "g=n",
	.cases = cases,
	.params = params,
	.plan = plan,
	.forward = forward,
	.decode = &decode.slot,
	.oracle = oracle_longformer,
};
