/* SPDX-License-Identifier: BSD-3-Clause
 *
 * dilated-window: a window that takes every dil-th key.
 *
 *     allowed(i, j): |i - j| = a dil,  0 <= a <= w/2
 *
 * Time n w (d + d_v) over a reach of w dil tokens. Beltagy, Peters, Cohan 2020,
 * arXiv 2004.05150, section 3.1. w is the total window, w/2 keys on each side, as
 * in the paper, which dilates heads differently and lower layers not at all.
 *
 * Within one residue class mod dil it is a sliding window on a subsequence.
 */
#include "../engine/cache.h"
#include "../engine/residue.h"
#include "../engine/tile.h"
#include "../engine/work.h"
#include "../oracle/oracle.h"

enum { W, DIL };

static const struct attn_param params[] = {
	{ "w", "window, w/2 keys on each side", ATTN_INT, 512, 0, 1 << 30, NULL },
	{ "dil", "distance from one key to the next", ATTN_INT, 2, 1, 1 << 30, NULL },
	{ 0 },
};

static void band(const struct attn_shape *s, const double *arg, size_t t, size_t size, size_t *lo,
                 size_t *hi)
{
	size_t half = (size_t)arg[W] / 2, end = s->causal ? t + 1 : t + half + 1;

	*lo = t > half ? t - half : 0;
	*hi = end < size ? end : size;
}

static const char *const cases[] = { "w=6:dil=3", "w=9:dil=1", "w=40:dil=50", "w=0:dil=2", NULL };

static const char *plan(const struct attn_shape *s, const double *arg, size_t ranks,
                        struct attn_plan *p)
{
	double pairs, executed;

	(void)ranks;
	residue_pairs(s, arg, (size_t)arg[DIL], band, &pairs, &executed);
	work_softmax(s, pairs, executed, p);
	p->scratch = residue_scratch_bytes(s, arg, (size_t)arg[DIL], band);
	return NULL;
}

static void forward(const struct attn_call *c, struct attn_team *team)
{
	residue_run(c, team, (size_t)c->arg[DIL], band, c->lse);
}

static size_t newest(const struct attn_shape *s, const double *arg, size_t i, struct cache_run *run)
{
	size_t dil = (size_t)arg[DIL], back = i / dil, half = (size_t)arg[W] / 2;

	(void)s;
	back = back < half ? back : half;
	*run = (struct cache_run){ .first = i - back * dil, .count = 1, .times = back + 1, .period = dil };
	return 1;
}

static struct cache_pattern kept(const struct attn_shape *s, const double *arg)
{
	(void)s;
	return (struct cache_pattern){ .runs = newest, .ring = (size_t)arg[W] / 2 * (size_t)arg[DIL] + 1 };
}

static const struct cache_decode decode = {
	.slot = { .keeps = "ring: (w/2 dil + 1) (d + d_v)", CACHE_DECODE },
	.pattern = kept,
};

const struct attn_variant attn_dilated_window = {
	.abi = ATTN_ABI,
	.name = "dilated-window",
	.family = "sparse",
	.title = "dilated sliding window",
	.paper = "Beltagy, Peters, Cohan 2020, arXiv 2004.05150",
	.formula = "softmax over |i - j| = a dil, a = 0 .. w/2",
	.complexity = "n w d",
	.target = "softmax attention as w reaches 2 n at dil = 1",
	.summary = "Reaches w dil tokens with w keys; tokens of different residues mod dil never meet.",
	.flags = ATTN_CAUSAL | ATTN_BIDIRECTIONAL | ATTN_PARALLEL | ATTN_ROWSUM | ATTN_NONNEG |
	         ATTN_KSHIFT | ATTN_LSE | ATTN_LOGITS,
	.impl_bound = 2e-6f,
	.limit = "w=1e9:dil=1",
	.cases = cases,
	.params = params,
	.plan = plan,
	.forward = forward,
	.decode = &decode.slot,
	.oracle = oracle_dilated_window,
};
