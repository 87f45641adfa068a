/* SPDX-License-Identifier: BSD-3-Clause
 *
 * sink-window: the first keys and a window, as StreamingLLM keeps them.
 *
 *     allowed(i, j): j <= i' and (j < s or j > i' - w),  i' = i + n_k - n_q
 *
 * Time n (s + w) (d + d_v), memory O(1) in n. Xiao, Tian, Chen, Han, Lewis 2023,
 * ICLR 2024, arXiv 2309.17453. w counts the query's own token; one path of the
 * published cache keeps w + 1. The paper numbers positions inside its cache:
 * with Q and K given there are none to number. Causal only: without the causal
 * rule it is longformer without global rows.
 */
#include "../engine/cache.h"
#include "../engine/tile.h"
#include "../engine/work.h"
#include "../oracle/oracle.h"

enum { S, W };

static const struct attn_param params[] = {
	{ "s", "sinks: the first keys of the sequence", ATTN_INT, 4, 0, 1 << 30, NULL },
	{ "w", "window, the query's own token included", ATTN_INT, 1020, 1, 1 << 30, NULL },
	{ 0 },
};

static void window(const struct attn_shape *s, const double *arg, size_t i, size_t *lo, size_t *hi)
{
	size_t w = (size_t)arg[W];

	*hi = tile_visible(s, i);
	*lo = *hi > w ? *hi - w : 0;
}

/* Sinks that the window does not hold. */
static void sinks(const struct attn_shape *s, const double *arg, size_t i, size_t *lo, size_t *hi)
{
	size_t count = (size_t)arg[S], first, last;

	window(s, arg, i, &first, &last);
	*lo = 0;
	*hi = count < first ? count : first;
}

static const char *const cases[] = { "s=2:w=9", "s=0:w=1", "s=20:w=30", NULL };

static const char *plan(const struct attn_shape *s, const double *arg, size_t ranks,
                        struct attn_plan *p)
{
	double pairs, executed, sink_pairs, sink_executed;

	(void)ranks;
	if (!s->causal)
		return "a bidirectional sink-window does not exist: use longformer with g global tokens";
	work_band_pairs(s, arg, window, &pairs, &executed);
	work_band_pairs(s, arg, sinks, &sink_pairs, &sink_executed);
	work_softmax(s, pairs + sink_pairs, executed + sink_executed, p);
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
		sinks(c->shape, c->arg, t->q0 + r, &lo[r], &hi[r]);
	tile_band(t, lo, hi);
	for (size_t r = 0; r < t->rows; r++)
		window(c->shape, c->arg, t->q0 + r, &lo[r], &hi[r]);
	tile_band(t, lo, hi);
}

static void forward(const struct attn_call *c, struct attn_team *team)
{
	tile_run(c, team, pattern, NULL, false);
}

static struct cache_pattern kept(const struct attn_shape *s, const double *arg)
{
	(void)s;
	return (struct cache_pattern){ .band = { sinks, window }, .fixed = (size_t)arg[S], .ring = (size_t)arg[W] };
}

static const struct cache_decode decode = {
	.slot = { .keeps = "sinks and ring: (s + w) (d + d_v)", CACHE_DECODE },
	.pattern = kept,
};

const struct attn_variant attn_sink_window = {
	.abi = ATTN_ABI,
	.name = "sink-window",
	.family = "sparse",
	.title = "attention sinks and a window (StreamingLLM)",
	.paper = "Xiao, Tian, Chen, Han, Lewis 2023, ICLR 2024, arXiv 2309.17453",
	.formula = "softmax over j < s and i - w < j <= i",
	.complexity = "n (s + w) d",
	.target = "causal softmax attention as s + w reaches n",
	.summary = "Heads that park their weight on the first token need s >= 1; w includes the query's "
	           "own token.",
	.flags = ATTN_CAUSAL | ATTN_CROSS | ATTN_PARALLEL | ATTN_ROWSUM | ATTN_NONNEG | ATTN_KSHIFT |
	         ATTN_LSE | ATTN_LOGITS,
	.impl_bound = 2e-6f,
	.limit = "w=n",
	.cases = cases,
	.params = params,
	.plan = plan,
	.forward = forward,
	.decode = &decode.slot,
	.oracle = oracle_sink_window,
};
