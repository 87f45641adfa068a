/* SPDX-License-Identifier: BSD-3-Clause
 *
 * sliding-window: each query sees a band of keys around its own position.
 *
 *     allowed(i, j): i' - left <= j <= i' + right,  i' = i + n_k - n_q
 *
 * Time n (left + right + 1) (d + d_v), memory O(1) in n. Child et al. 2019, arXiv
 * 1904.10509; Beltagy et al. 2020, arXiv 2004.05150; Jiang et al. 2023, arXiv
 * 2310.06825. left and right count additional keys on each side, inclusive, so a
 * window holds left + right + 1 keys; other codes mean other things by "window".
 */
#include "../engine/band.h"
#include "../engine/cache.h"
#include "../oracle/oracle.h"

enum { LEFT, RIGHT };

static const struct attn_param params[] = {
	{ "left", "keys before the query; auto: 256, causal 255", ATTN_INT, NAN, 0, 1 << 30, NULL },
	{ "right", "keys after the query; auto: 256, causal 0", ATTN_INT, NAN, 0, 1 << 30, NULL },
	{ 0 },
};

static void resolve(const struct attn_shape *s, double *arg)
{
	if (isnan(arg[LEFT]))
		arg[LEFT] = s->causal ? 255 : 256;
	if (isnan(arg[RIGHT]) || s->causal)
		arg[RIGHT] = s->causal ? 0 : 256;
}

static void band(const struct attn_shape *s, const double *arg, size_t i, size_t *lo, size_t *hi)
{
	size_t left = (size_t)arg[LEFT], right = (size_t)arg[RIGHT];
	size_t at = i + s->n_k, n_q = s->n_q; /* i' = at - n_q, which may be negative */

	*lo = at > n_q + left ? at - n_q - left : 0;
	*hi = at + right + 1 > n_q ? at + right + 1 - n_q : 0;
	*hi = *hi < s->n_k ? *hi : s->n_k;
}

static const char *const cases[] = { "left=3:right=5", "left=0:right=0", "left=40:right=0", NULL };

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
	return (struct cache_pattern){ .band = { band }, .ring = (size_t)arg[LEFT] + 1 };
}

static const struct cache_decode decode = {
	.slot = { .keeps = "ring: (left + 1) (d + d_v)", CACHE_DECODE },
	.pattern = kept,
};

const struct attn_variant attn_sliding_window = {
	.abi = ATTN_ABI,
	.name = "sliding-window",
	.family = "sparse",
	.title = "sliding window",
	.paper = "Child et al. 2019, arXiv 1904.10509; Beltagy et al. 2020, arXiv 2004.05150; "
	         "Jiang et al. 2023, arXiv 2310.06825",
	.formula = "softmax over keys i - left <= j <= i + right",
	.complexity = "n w d",
	.target = "softmax attention as left and right reach n",
	.summary = "Counts keys on each side: left = right = 256 is a window of 513.",
	.flags = ATTN_CAUSAL | ATTN_BIDIRECTIONAL | ATTN_CROSS | ATTN_PARALLEL | ATTN_ROWSUM |
	         ATTN_NONNEG | ATTN_KSHIFT | ATTN_LSE | ATTN_LOGITS |
	         ATTN_BF16_OK | ATTN_F16_OK,
	.impl_bound = 2e-6f,
	.limit = "left=n:right=n",
	.cases = cases,
	.params = params,
	.resolve = resolve,
	.plan = plan,
	.forward = forward,
	.decode = &decode.slot,
	.oracle = oracle_sliding_window,
};
