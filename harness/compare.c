/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Paired ratios and their verdicts. */
#include "compare.h"
#include "stats.h"

#include <stdlib.h>
#include <string.h>

const char *const verdict_names[] = { "", "FASTER", "SLOWER", "SAME", "UNCLEAR" };

static const double CONFIDENCE = 0.95;

/* All of the key but variant, parameters and instruction set agree. */
static bool same_shape(const struct row_key *a, const struct row_key *b)
{
	return !strcmp(a->mode, b->mode) && !strcmp(a->lengths, b->lengths) && a->batch == b->batch && a->heads == b->heads && a->kv_heads == b->kv_heads &&
	       a->n_q == b->n_q && a->n_k == b->n_k &&
	       a->d_head == b->d_head && a->d_value == b->d_value && a->causal == b->causal &&
	       a->scale == b->scale && !strcmp(a->dtype, b->dtype) && a->threads == b->threads &&
	       !strcmp(a->cache, b->cache) && !strcmp(a->input_kind, b->input_kind) &&
	       a->seed == b->seed;
}

const struct result *find_baseline(const struct results *results, const struct result *cell,
                                   const char *wanted)
{
	const char *const names[] = { wanted ? wanted : "full", wanted ? wanted : "flash" };

	for (size_t k = 0; k < 2; k++)
		for (size_t i = 0; i < results->n; i++) {
			const struct result *r = &results->v[i];
			if (r->n_rounds && !strcmp(r->key.variant, names[k]) && !strcmp(r->key.isa, cell->key.isa) &&
			    same_shape(&r->key, &cell->key))
				return r;
		}
	return NULL;
}

/* ln(base / cell) of each round that both have; returns how many. */
static size_t log_ratios(const struct result *base, const struct result *cell, double *x)
{
	size_t n = 0;

	for (size_t i = 0; i < cell->n_rounds; i++)
		for (size_t k = 0; k < base->n_rounds; k++)
			if (base->round[k].round == cell->round[i].round && base->round[k].value > 0 &&
			    cell->round[i].value > 0)
				x[n++] = log(base->round[k].value / cell->round[i].value);
	return n;
}

static void judge(struct ratio *ratio, double margin)
{
	if (isnan(ratio->lo)) {
		ratio->verdict = VERDICT_UNCLEAR;
		ratio->reason = "few rounds";
	} else if (ratio->lo > 1 + margin) {
		ratio->verdict = VERDICT_FASTER;
	} else if (ratio->hi < 1 / (1 + margin)) {
		ratio->verdict = VERDICT_SLOWER;
	} else if (ratio->lo >= 1 / (1 + margin) && ratio->hi <= 1 + margin) {
		ratio->verdict = VERDICT_SAME;
	} else {
		ratio->verdict = VERDICT_UNCLEAR;
		ratio->reason = "wide interval";
	}
}

bool compare_rounds(const struct result *base, const struct result *cell, size_t comparisons,
                    double margin, struct ratio *ratio)
{
	double *x = malloc((cell->n_rounds + 1) * sizeof *x);
	double wanted = 1 - (1 - CONFIDENCE) / (double)(comparisons ? comparisons : 1);
	size_t lo, hi;

	*ratio = (struct ratio){ .speedup = NAN, .lo = NAN, .hi = NAN, .confidence = NAN, .reason = "" };
	if (!x)
		return false;
	size_t n = ratio->pairs = log_ratios(base, cell, x);
	if (n) {
		stats_sort(x, n);
		ratio->speedup = exp(stats_median(x, n));
		ratio->corrected = stats_median_ranks(n, wanted, &lo, &hi, &ratio->confidence);
		if (ratio->corrected || stats_median_ranks(n, CONFIDENCE, &lo, &hi, &ratio->confidence)) {
			ratio->lo = exp(x[lo - 1]);
			ratio->hi = exp(x[hi - 1]);
		}
		judge(ratio, margin);
	}
	free(x);
	return true;
}
