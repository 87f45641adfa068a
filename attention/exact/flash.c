/* SPDX-License-Identifier: BSD-3-Clause
 *
 * flash: exact attention by tiles with an online softmax.
 *
 *     m' = max(m, s_ij),  l = l e^(m - m') + e^(s_ij - m'),  o likewise; O_i = o / l
 *
 * Time n_q n_k (d + d_v), memory O(1) in n. Dao, Fu, Ermon, Rudra, Re 2022,
 * arXiv 2205.14135; divided once at the end as in Dao 2023, arXiv 2307.08691.
 * The band of all visible keys; blocks wholly in the future are skipped.
 */
#include "../engine/band.h"
#include "../engine/cache.h"
#include "../oracle/oracle.h"

enum { BLOCK };

static const struct attn_param params[] = {
	{ "block", "keys a step; 0: as many as the kernel takes", ATTN_INT, 0, 0, KERN_MAX_BLOCK, NULL },
	{ 0 },
};

static void band(const struct attn_shape *s, const double *arg, size_t i, size_t *lo, size_t *hi)
{
	(void)arg;
	*lo = 0;
	*hi = tile_visible(s, i);
}

static const char *const cases[] = { "block=8", NULL };

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
	band_run(c, team, band, (size_t)c->arg[BLOCK]);
}

static struct cache_pattern kept(const struct attn_shape *s, const double *arg)
{
	(void)s;
	(void)arg;
	return (struct cache_pattern){ .band = { band } };
}

static const struct cache_decode decode = {
	.slot = { .keeps = "cache: n (d + d_v)", CACHE_DECODE },
	.pattern = kept,
};

const struct attn_variant attn_flash = {
	.abi = ATTN_ABI,
	.name = "flash",
	.family = "exact",
	.title = "tiled attention with online softmax",
	.paper = "Dao, Fu, Ermon, Rudra, Re 2022, NeurIPS, arXiv 2205.14135; Dao 2023, arXiv 2307.08691",
	.formula = "O = softmax(scale Q K^T) V, tile by tile",
	.complexity = "n^2 d",
	.target = "softmax attention: it is that",
	.summary = "Exact; work space independent of n. The baseline to beat.",
	.flags = ATTN_EXACT | ATTN_CAUSAL | ATTN_BIDIRECTIONAL | ATTN_CROSS | ATTN_PARALLEL |
	         ATTN_ROWSUM | ATTN_NONNEG | ATTN_QPERM | ATTN_KPERM | ATTN_KSHIFT | ATTN_LSE |
	         ATTN_LOGITS |
	         ATTN_BF16_OK | ATTN_F16_OK,
	.impl_bound = 2e-6f,
	.limit = "",
	.cases = cases,
	.params = params,
	.plan = plan,
	.forward = forward,
	.decode = &decode.slot,
	.oracle = oracle_exact,
};
