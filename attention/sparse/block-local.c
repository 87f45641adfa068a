/* SPDX-License-Identifier: BSD-3-Clause
 *
 * block-local: each block of queries sees its own block of keys.
 *
 *     allowed(i, j): I - back <= J <= I + fwd,  I = floor(i / b), J = floor(j / b)
 *
 * Time n b (1 + back + fwd) (d + d_v), memory O(1) in n. Qiu et al. 2019, arXiv
 * 1911.02972; Parmar et al. 2018, arXiv 1802.05751. The last block may be short.
 * Blocks are contiguous; the "local attention" of Long Range Arena attends along
 * the other axis of its reshape, to tokens n/b apart.
 */
#include "../engine/band.h"
#include "../engine/cache.h"
#include "../oracle/oracle.h"

enum { B, BACK, FWD };

static const struct attn_param params[] = {
	{ "b", "tokens a block", ATTN_INT, 64, 1, 1 << 30, NULL },
	{ "back", "blocks before its own that a query sees", ATTN_INT, 0, 0, 1 << 20, NULL },
	{ "fwd", "blocks after its own", ATTN_INT, 0, 0, 1 << 20, NULL },
	{ 0 },
};

static void band(const struct attn_shape *s, const double *arg, size_t i, size_t *lo, size_t *hi)
{
	size_t b = (size_t)arg[B], block = i / b, back = (size_t)arg[BACK];
	size_t end = (block + (size_t)arg[FWD] + 1) * b, visible = tile_visible(s, i);

	*lo = block > back ? (block - back) * b : 0;
	*hi = end < visible ? end : visible;
}

static const char *const cases[] = { "b=7", "b=1", "b=16:back=1:fwd=1", "b=20:back=2", NULL };

static const char *plan(const struct attn_shape *s, const double *arg, size_t ranks,
                        struct attn_plan *p)
{
	double pairs, executed;

	work_band_pairs(s, arg, band, &pairs, &executed);
	work_softmax(s, pairs, executed, p);
	p->shared = band_shared_bytes(s, ranks);
	p->scratch = band_scratch_bytes(s);
	return NULL;
}

static void forward(const struct attn_call *c, struct attn_team *team)
{
	band_run(c, team, band, 0);
}

static struct cache_pattern kept(const struct attn_shape *s, const double *arg)
{
	(void)s;
	return (struct cache_pattern){ .band = { band }, .ring = ((size_t)arg[BACK] + 1) * (size_t)arg[B] };
}

static const struct cache_decode decode = {
	.slot = { .keeps = "ring: (back + 1) b (d + d_v)", CACHE_DECODE },
	.pattern = kept,
};

const struct attn_variant attn_block_local = {
	.abi = ATTN_ABI,
	.name = "block-local",
	.family = "sparse",
	.title = "blockwise local attention",
	.paper = "Qiu et al. 2019, arXiv 1911.02972; Parmar et al. 2018, arXiv 1802.05751",
	.formula = "softmax over keys of the query's own block of b (and its neighbours)",
	.complexity = "n b d",
	.target = "softmax attention as b reaches n",
	.summary = "The cheapest pattern; tokens at both sides of a block's edge do not see each other "
	           "unless back or fwd is set.",
	.flags = ATTN_CAUSAL | ATTN_BIDIRECTIONAL | ATTN_PARALLEL | ATTN_ROWSUM | ATTN_NONNEG |
	         ATTN_KSHIFT | ATTN_LSE | ATTN_LOGITS,
	.impl_bound = 2e-6f,
	.limit = "b=n",
	.cases = cases,
	.params = params,
	.plan = plan,
	.forward = forward,
	.decode = &decode.slot,
	.oracle = oracle_block_local,
};
