/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Coverage: a cell is measured again and again under load, as the profile
 * `standard` would, and each time its interval is kept. The median of all rounds
 * is the long-run median; an interval of 95 % should hold it 19 times in 20.
 *
 *     interleaved   the first rounds of all repeats, then their second ones, as
 *                   the cells of a sweep take turns
 *     in one go     a repeat after the other: a cell that is alone in its run.
 *                   Its rounds see the same seconds of the machine
 *
 * The first is what the protocol promises, the second shows what it is for. */
#include "load.h"
#include "measure.h"
#include "selftest.h"
#include "stats.h"
#include "summary.h"
#include "trial.h"

#include <stdio.h>
#include <stdlib.h>

enum { REPEATS = 60, REPORTS = 6 };
static const double LEAST_COVERAGE = 0.85;
static const char *const orders[] = { "interleaved", "in one go" };

struct repeat {
	char name[32];
	size_t rounds; /* at the look that ended it */
	enum stop_reason stop;
	struct estimate estimate;
};

struct experiment {
	const struct config *config;
	struct trial trial;
	struct policy policy;
	size_t n, last; /* repeats, rounds of each */
	struct repeat *repeat;
	double *rounds; /* n x last, once sorted in any order */
};

/* Rounds go on to the last look: the long-run median is not made of those
 * repeats alone that were hard to end. */
static bool one_round(struct experiment *x, size_t i, size_t round, char *error)
{
	struct repeat *repeat = &x->repeat[i];

	if (!trial_round(&x->trial, repeat->name, (unsigned)round, error))
		return false;
	const struct result *result = trial_result(&x->trial, repeat->name);
	x->rounds[i * x->last + round] = result->round[round].value;
	if (repeat->stop != STOP_NONE || (repeat->stop = at_look(&x->policy, result)) == STOP_NONE)
		return true;
	repeat->rounds = result->n_rounds;
	return estimate_time(result, &repeat->estimate) || fail(error, "out of memory");
}

static bool measure(struct experiment *x, bool interleaved, char *error)
{
	unsigned cpus[TOPO_CPUS_MAX];
	unsigned pus = x->trial.topology.pus < TOPO_CPUS_MAX ? x->trial.topology.pus : TOPO_CPUS_MAX;
	struct load load = { .n = 0 };
	size_t all = x->n * x->last;

	trial_forget(&x->trial);
	for (size_t i = 0; i < x->n; i++) {
		x->repeat[i] = (struct repeat){ .stop = STOP_NONE };
		snprintf(x->repeat[i].name, sizeof x->repeat[i].name, "repeat %zu", i);
	}
	bool ok = topo_choose(x->trial.topo, pus, NULL, cpus, error) && load_start(&load, cpus, pus, 2, error);
	for (size_t k = 0; k < all && ok; k++) {
		ok = one_round(x, interleaved ? k % x->n : k / x->last, interleaved ? k / x->n : k % x->last, error);
		if (ok && !x->config->quiet && (k + 1) * REPORTS / all > k * REPORTS / all)
			fprintf(stderr, "coverage, %s: %zu of %zu rounds\n", orders[!interleaved], k + 1, all);
	}
	load_stop(&load);
	return ok;
}

static bool covers(const struct repeat *r, double median)
{
	return r->estimate.lo <= median && median <= r->estimate.hi;
}

static void headings(struct grid *grid)
{
	static const char *const names[] = {
		"order", ">repeat", ">rounds", "stop_reason", ">time_median_ns", ">time_ci95_lo_ns",
		">time_ci95_hi_ns", ">long_run_median_ns", ">covers",
	};

	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		grid_column(grid, names[i]);
}

/* The share of intervals that hold the long-run median. */
static double judge(const struct experiment *x, const char *order, struct grid *grid)
{
	size_t covered = 0;

	stats_sort(x->rounds, x->n * x->last);
	double median = stats_median(x->rounds, x->n * x->last);
	for (size_t i = 0; i < x->n; i++) {
		const struct repeat *r = &x->repeat[i];
		covered += covers(r, median);
		grid_cell(grid, "%s", order);
		grid_cell(grid, "%zu", i);
		grid_cell(grid, "%zu", r->rounds);
		grid_cell(grid, "%s", stop_names[r->stop]);
		grid_cell(grid, "%.1f", r->estimate.median);
		grid_cell(grid, "%.1f", r->estimate.lo);
		grid_cell(grid, "%.1f", r->estimate.hi);
		grid_cell(grid, "%.1f", median);
		grid_cell(grid, "%d", covers(r, median));
	}
	return (double)covered / (double)x->n;
}

bool selftest_coverage(const struct config *config, struct claims *claims, struct text *out, char *error)
{
	struct config standard = { .profile = PROFILE_STANDARD, .samples = config->samples };
	struct experiment x = { .config = config, .n = config->comparisons ? config->comparisons : REPEATS };
	struct grid grid = { 0 };
	double share[2];

	policy_make(&x.policy, &standard);
	x.last = x.policy.look[x.policy.n_looks - 1];
	x.repeat = calloc(x.n, sizeof *x.repeat);
	x.rounds = calloc(x.n * x.last, sizeof *x.rounds);
	headings(&grid);
	bool ok = trial_begin(&x.trial, config, "full", "512", error);
	if (ok && !(x.repeat && x.rounds))
		ok = fail(error, "out of memory");
	for (size_t k = 0; k < 2 && ok; k++) {
		ok = measure(&x, k == 0, error);
		share[k] = ok ? judge(&x, orders[k], &grid) : 0;
	}
	if (ok)
		claim(claims, share[0] >= LEAST_COVERAGE, "coverage",
		      "%.0f %% of %zu intervals of 95 %% hold the long-run median, at least %.0f %% should, under "
		      "load; where a cell is alone in its run %.0f %%", 100 * share[0], x.n, 100 * LEAST_COVERAGE,
		      100 * share[1]);
	if (ok && (config->format == FORMAT_CSV || config->format == FORMAT_JSON))
		grid_print(&grid, (enum format)config->format, out);
	free(x.repeat);
	free(x.rounds);
	grid_free(&grid);
	trial_end(&x.trial);
	return ok;
}
