/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Coverage: a cell is measured again and again under load, as the profile
 * `standard` would, and each time its interval is kept. Afterwards the median
 * of all rounds is the long-run median; an interval of 95 % should hold it 19
 * times in 20, less where rounds resemble their neighbours. */
#include "load.h"
#include "measure.h"
#include "selftest.h"
#include "stats.h"
#include "summary.h"
#include "trial.h"

#include <stdio.h>
#include <stdlib.h>

enum { REPEATS = 60, REPORT_EVERY = 10 };
static const double LEAST_COVERAGE = 0.85;

struct repeat {
	size_t rounds; /* at the look that ended it */
	enum stop_reason stop;
	struct estimate estimate;
};

/* Rounds go on to the last look: the long-run median is not made of those
 * repeats alone that were hard to end. */
static bool measure(struct trial *trial, const struct policy *policy, struct repeat *repeat,
                    double *rounds, char *error)
{
	unsigned last = policy->look[policy->n_looks - 1];

	*repeat = (struct repeat){ .stop = STOP_NONE };
	trial_forget(trial);
	for (unsigned r = 0; r < last; r++) {
		if (!trial_round(trial, "cell", r, error))
			return false;
		const struct result *result = trial_result(trial, "cell");
		rounds[r] = result->round[r].value;
		if (repeat->stop == STOP_NONE && (repeat->stop = at_look(policy, result)) != STOP_NONE) {
			repeat->rounds = result->n_rounds;
			if (!estimate_time(result, &repeat->estimate))
				return fail(error, "out of memory");
		}
	}
	return true;
}

static bool covers(const struct repeat *r, double median)
{
	return r->estimate.lo <= median && median <= r->estimate.hi;
}

static void put_repeats(const struct repeat *repeat, size_t n, double median, struct grid *grid)
{
	static const char *const names[] = {
		">repeat", ">rounds", "stop_reason", ">time_median_ns", ">time_ci95_lo_ns", ">time_ci95_hi_ns",
		">long_run_median_ns", ">covers",
	};

	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		grid_column(grid, names[i]);
	for (size_t i = 0; i < n; i++) {
		const struct repeat *r = &repeat[i];
		grid_cell(grid, "%zu", i);
		grid_cell(grid, "%zu", r->rounds);
		grid_cell(grid, "%s", stop_names[r->stop]);
		grid_cell(grid, "%.1f", r->estimate.median);
		grid_cell(grid, "%.1f", r->estimate.lo);
		grid_cell(grid, "%.1f", r->estimate.hi);
		grid_cell(grid, "%.1f", median);
		grid_cell(grid, "%d", covers(r, median));
	}
}

static bool measure_all(const struct config *config, struct trial *trial, const struct policy *policy,
                        struct repeat *repeat, double *rounds, size_t n, char *error)
{
	unsigned last = policy->look[policy->n_looks - 1], cpus[TOPO_CPUS_MAX];
	unsigned pus = trial->topology.pus < TOPO_CPUS_MAX ? trial->topology.pus : TOPO_CPUS_MAX;
	struct load load = { .n = 0 };
	bool ok = topo_choose(trial->topo, pus, NULL, cpus, error) && load_start(&load, cpus, pus, 2, error);

	for (size_t i = 0; i < n && ok; i++) {
		ok = measure(trial, policy, &repeat[i], rounds + i * last, error);
		if (ok && !config->quiet && (i + 1) % REPORT_EVERY == 0)
			fprintf(stderr, "coverage: %zu of %zu repeats\n", i + 1, n);
	}
	load_stop(&load);
	return ok;
}

bool selftest_coverage(const struct config *config, struct claims *claims, struct text *out, char *error)
{
	size_t n = config->comparisons ? config->comparisons : REPEATS, covered = 0;
	struct config standard = { .profile = PROFILE_STANDARD, .samples = config->samples };
	struct policy policy;
	struct trial trial;
	struct grid grid = { 0 };

	policy_make(&policy, &standard);
	size_t all = n * policy.look[policy.n_looks - 1];
	struct repeat *repeat = calloc(n, sizeof *repeat);
	double *rounds = calloc(all, sizeof *rounds);
	bool ok = trial_begin(&trial, config, "full", "512", error);
	if (ok && !(repeat && rounds))
		ok = fail(error, "out of memory");
	ok = ok && measure_all(config, &trial, &policy, repeat, rounds, n, error);
	if (ok) {
		stats_sort(rounds, all);
		double median = stats_median(rounds, all);
		for (size_t i = 0; i < n; i++)
			covered += covers(&repeat[i], median);
		double share = (double)covered / (double)n;
		claim(claims, share >= LEAST_COVERAGE, "coverage",
		      "%zu of %zu intervals of 95 %% hold the long-run median, %.0f %%; at least %.0f %% should, under load",
		      covered, n, 100 * share, 100 * LEAST_COVERAGE);
		put_repeats(repeat, n, median, &grid);
		if (config->format == FORMAT_CSV || config->format == FORMAT_JSON)
			grid_print(&grid, (enum format)config->format, out);
	}
	free(repeat);
	free(rounds);
	grid_free(&grid);
	trial_end(&trial);
	return ok;
}
