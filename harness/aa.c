/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A/A: one kernel, measured as "a" and as "b", compared as two variants of a run
 * would be. Whatever verdict but SAME or UNCLEAR comes out is false. Beside it
 * the control: all samples of "a" from one process, then all of "b" from
 * another, each sample taken for an independent one. The rule of comparison is
 * the same; only the order differs. */
#include "band.h"
#include "compare.h"
#include "load.h"
#include "order.h"
#include "selftest.h"
#include "stats.h"
#include "trial.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { COMPARISONS = 60, KEPT_FROM = 20, ROUNDS = 6, BLOCK = OUTCOME_SAMPLES, REPORT_EVERY = 10 };
static const double MARGIN = 0.01, ALLOWED = 0.10, CONTROL = 0.30;

struct tally {
	size_t n, wrong;
	double *miss;  /* by how much each interval misses 1; 0: it holds it */
	double *off;   /* |ln ratio| */
};

static void count(struct tally *t, const struct ratio *r)
{
	t->wrong += r->verdict == VERDICT_FASTER || r->verdict == VERDICT_SLOWER;
	t->miss[t->n] = isnan(r->lo) ? 0 : fmax(0, fmax(r->lo - 1, 1 / r->hi - 1));
	t->off[t->n++] = fabs(log(r->speedup));
}

static bool interleaved(struct trial *trial, size_t comparison, unsigned rounds, char *error)
{
	for (unsigned r = 0; r < rounds; r++) {
		size_t row[2];
		order_cells(1, comparison, r, 2, row);
		for (size_t k = 0; k < 2; k++)
			if (!trial_round(trial, row[k] ? "b" : "a", r, error))
				return false;
	}
	return true;
}

static bool blocked(struct trial *trial, char *error)
{
	return trial_round(trial, "a", 0, error) && trial_round(trial, "b", 0, error);
}

static bool compare_once(struct trial *trial, const struct config *config, bool block, size_t i,
                         struct tally *tally, char *error)
{
	struct ratio ratio;
	bool ok;

	trial_forget(trial);
	trial->split = block;
	trial->job.samples = block ? BLOCK : config->samples;
	ok = block ? blocked(trial, error)
	           : interleaved(trial, i, config->rounds ? config->rounds : ROUNDS, error);
	ok = ok && (compare_rounds(trial_result(trial, "a"), trial_result(trial, "b"), 1, MARGIN, &ratio) ||
	            fail(error, "out of memory"));
	if (ok)
		count(tally, &ratio);
	return ok;
}

static bool tally_begin(struct tally *t, size_t n)
{
	*t = (struct tally){ .miss = calloc(n, sizeof(double)), .off = calloc(n, sizeof(double)) };
	return t->miss && t->off;
}

static void tally_end(struct tally *t)
{
	free(t->miss);
	free(t->off);
}

static void put_row(struct grid *grid, const char *condition, const char *order, struct tally *t)
{
	size_t without = 0;

	for (size_t i = 0; i < t->n; i++)
		without += t->miss[i] > 0;
	stats_sort(t->miss, t->n);
	stats_sort(t->off, t->n);
	grid_cell(grid, "%s", condition);
	grid_cell(grid, "%s", order);
	grid_cell(grid, "%zu", t->n);
	grid_cell(grid, "%zu", t->wrong);
	grid_cell(grid, "%.1f", 100 * (double)t->wrong / (double)t->n);
	grid_cell(grid, "%zu", without);
	grid_cell(grid, "%.2f", 100 * stats_quantile(t->miss, t->n, 0.95));
	grid_cell(grid, "%.2f", 100 * (exp(stats_median(t->off, t->n)) - 1));
	grid_cell(grid, "%.2f", 100 * (exp(t->off[t->n - 1]) - 1));
}

/* Interleaved and blocked in turn, so that both see the same machine. */
static bool one_condition(struct trial *trial, const struct config *config, const char *condition,
                          struct tally tally[2], struct grid *grid, char *error)
{
	static const char *const orders[] = { "interleaved", "blocked" };
	size_t n = config->comparisons ? config->comparisons : COMPARISONS;

	for (size_t i = 0; i < n; i++) {
		for (size_t k = 0; k < 2; k++)
			if (!compare_once(trial, config, k, i, &tally[k], error))
				return false;
		if (!config->quiet && ((i + 1) % REPORT_EVERY == 0 || i + 1 == n))
			fprintf(stderr, "%s: %zu of %zu comparisons, false: %zu interleaved, %zu blocked\n",
			        condition, i + 1, n, tally[0].wrong, tally[1].wrong);
	}
	for (size_t k = 0; k < 2; k++)
		put_row(grid, condition, orders[k], &tally[k]);
	return true;
}

static void headings(struct grid *grid)
{
	static const char *const names[] = {
		"machine", "order", ">comparisons", ">false", ">false_pct", ">interval_without_1",
		">band_pct", ">off_median_pct", ">off_most_pct",
	};

	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		grid_column(grid, names[i]);
}

/* That of the machine as it is; the one under load would hide what a quiet
 * machine can tell. */
static void keep_band(const struct trial *trial, const struct tally *t, struct text *said)
{
	const struct cell *c = &trial->job.cell;
	struct band band = { .comparisons = (unsigned)t->n };
	struct machine machine;
	char error[ERROR_MAX], path[BAND_PATH_MAX];

	if (t->n < KEPT_FROM) {
		text_printf(said, "The band is not kept: that takes %d comparisons.\n", KEPT_FROM);
		return;
	}
	machine_read(&machine);
	band.share = stats_quantile(t->miss, t->n, 0.95);
	band.false_share = (double)t->wrong / (double)t->n;
	snprintf(band.cell, sizeof band.cell, "%.64s n=%zu d=%zu", c->variant->name, c->n_k, c->d);
	utc_now(false, band.date);
	if (band_store(&band, &machine, error) && band_path(&machine, path, error))
		text_printf(said, "The band, %.2f %%, is kept in %s: runs on this machine take it as the margin of\n"
		                 "their verdicts, where it is above 1 %%.\n", 100 * band.share, path);
	else
		text_printf(said, "The band, %.2f %%, is not kept: %s\n", 100 * band.share, error);
}

static bool run(const struct config *config, struct trial *trial, struct tally tally[4],
                struct claims *claims, struct grid *grid, char *error)
{
	struct load load = { .n = 0 };
	unsigned cpus[TOPO_CPUS_MAX];
	unsigned pus = trial->topology.pus < TOPO_CPUS_MAX ? trial->topology.pus : TOPO_CPUS_MAX;

	if (!one_condition(trial, config, "as it is", tally, grid, error) ||
	    !topo_choose(trial->topo, pus, NULL, cpus, error) ||
	    !load_start(&load, cpus, pus, 1, error))
		return false;
	bool ok = one_condition(trial, config, "under load", tally + 2, grid, error);
	load_stop(&load);
	for (size_t k = 0; k < 4 && ok; k += 2) {
		double share = (double)tally[k].wrong / (double)tally[k].n;
		claim(claims, share <= ALLOWED, k ? "A/A under load" : "A/A",
		      "%.1f %% of %zu verdicts are false, at most %.0f %% may be", 100 * share, tally[k].n,
		      100 * ALLOWED);
	}
	double control = ok ? (double)tally[3].wrong / (double)tally[3].n : 0;
	if (ok)
		claim(claims, control > CONTROL, "the control",
		      "under load, blocked order is wrong in %.1f %%: above %.0f %% the test can tell", 100 * control,
		      100 * CONTROL);
	return ok;
}

bool selftest_aa(const struct config *config, struct claims *claims, struct text *out, char *error)
{
	size_t n = config->comparisons ? config->comparisons : COMPARISONS;
	struct tally tally[4] = { { 0 } };
	struct grid grid = { 0 };
	struct trial trial;

	if (config->rounds && config->rounds < ROUNDS)
		return fail(error, "--rounds: fewer than %d give no interval of 95 %%", ROUNDS);
	bool ok = trial_begin(&trial, config, "full", "1024", error);
	for (size_t k = 0; k < 4 && ok; k++)
		ok = tally_begin(&tally[k], n) || fail(error, "out of memory");
	headings(&grid);
	ok = ok && run(config, &trial, tally, claims, &grid, error);
	if (ok) {
		struct text said = { 0 };
		keep_band(&trial, &tally[0], &said);
		grid_print(&grid, (enum format)config->format, out);
		if (config->format == FORMAT_TEXT)
			text_printf(out, "\n%s", said.s ? said.s : "");
		text_free(&said);
	}
	for (size_t k = 0; k < 4; k++)
		tally_end(&tally[k]);
	grid_free(&grid);
	trial_end(&trial);
	return ok;
}
