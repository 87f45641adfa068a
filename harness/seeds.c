/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Medians over seeds. */
#include "seeds.h"
#include "stats.h"
#include "varying.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const double CONFIDENCE = 0.95;

/* The numbers that are looked at, as they are called in summary.csv. */
static const struct {
	const char *name, *heading;
	size_t at; /* in struct raw_row */
} numbers[] = {
	{ "err_exact_rel_fro", ">err exact [95 %]", offsetof(struct raw_row, err_exact_rel_fro) },
	{ "err_exact_nmse_u", ">nmse_u [95 %]", offsetof(struct raw_row, err_exact_nmse_u) },
	{ "err_uniform_rel_fro", ">uniform [95 %]", offsetof(struct raw_row, err_uniform_rel_fro) },
	{ "entropy_ratio", ">H/ln n [95 %]", offsetof(struct raw_row, entropy_ratio) },
	{ "task_accuracy", ">task [95 %]", offsetof(struct raw_row, task_accuracy) },
};
enum { NUMBERS = sizeof numbers / sizeof *numbers };

/* All but the seed agree. */
static bool same_but_seed(const struct row_key *a, const struct row_key *b)
{
	struct row_key key = *a;

	key.seed = b->seed;
	return !strcmp(a->variant, b->variant) && !strcmp(a->params, b->params) && !strcmp(a->impl, b->impl) &&
	       a->scale == b->scale && varying_same(&key, b);
}

struct estimate3 {
	double median, lo, hi; /* NAN: too few */
};

/* Of one number over the cells from i on that belong together; x has room for
 * all of them. */
static struct estimate3 over_seeds(const struct results *results, size_t i, size_t number, double *x)
{
	struct estimate3 e = { NAN, NAN, NAN };
	size_t n = 0, lo, hi;

	for (size_t k = i; k < results->n; k++) {
		const struct result *r = &results->v[k];
		double value = *(const double *)((const char *)&r->accuracy + numbers[number].at);
		if (!isnan(value) && same_but_seed(&results->v[i].key, &r->key))
			x[n++] = value;
	}
	if (n == 0)
		return e;
	stats_sort(x, n);
	e.median = stats_median(x, n);
	if (stats_median_ranks(n, CONFIDENCE, &lo, &hi, NULL)) {
		e.lo = x[lo - 1];
		e.hi = x[hi - 1];
	}
	return e;
}

static void put_estimate(const struct estimate3 *e, bool people, struct grid *grid)
{
	if (!people) {
		grid_number(grid, e->median);
		grid_number(grid, e->lo);
		grid_number(grid, e->hi);
	} else if (isnan(e->median)) {
		grid_cell(grid, "%s", "");
	} else if (isnan(e->lo)) {
		grid_cell(grid, "%.3g", e->median);
	} else {
		grid_cell(grid, "%.3g [%.3g, %.3g]", e->median, e->lo, e->hi);
	}
}

/* Columns that hold a number anywhere. */
static void find_wanted(const struct results *results, bool wanted[NUMBERS])
{
	for (size_t k = 0; k < NUMBERS; k++) {
		wanted[k] = false;
		for (size_t i = 0; i < results->n; i++)
			wanted[k] |= !isnan(*(const double *)((const char *)&results->v[i].accuracy + numbers[k].at));
	}
}

static void headings(const struct varying *varying, const bool *wanted, bool people, struct grid *grid,
                     char names[NUMBERS][3][40])
{
	static const char *const parts[] = { "median", "ci95_lo", "ci95_hi" };

	grid_column(grid, "variant");
	if (!people)
		grid_column(grid, "params");
	varying_headings(varying, grid);
	grid_column(grid, ">seeds");
	for (size_t k = 0; k < NUMBERS; k++) {
		if (!wanted[k])
			continue;
		if (people)
			grid_column(grid, numbers[k].heading);
		for (size_t p = 0; !people && p < 3; p++) {
			snprintf(names[k][p], sizeof names[k][p], ">%s_%s", numbers[k].name, parts[p]);
			grid_column(grid, names[k][p]);
		}
	}
}

bool seeds_table(const struct results *results, const struct config *config, struct text *out, char *error)
{
	enum format format = (enum format)config->format;
	bool people = format == FORMAT_TEXT || format == FORMAT_MD, wanted[NUMBERS];
	double *x = malloc((results->n + 1) * sizeof *x);
	bool *done = calloc(results->n + 1, sizeof *done);
	char names[NUMBERS][3][40], label[256];
	struct varying varying = { 0 };
	struct grid grid = { 0 };
	size_t least = SIZE_MAX;

	varying_find(results, &varying);
	varying_over_seeds(&varying);
	find_wanted(results, wanted);
	headings(&varying, wanted, people, &grid, names);
	for (size_t i = 0; x && done && i < results->n; i++) {
		const struct row_key *key = &results->v[i].key;
		size_t seeds = 0;
		if (done[i])
			continue;
		for (size_t k = i; k < results->n; k++)
			if (same_but_seed(key, &results->v[k].key)) {
				done[k] = true;
				seeds += isnan(results->v[k].accuracy.err_exact_rel_fro) ? 0 : 1;
			}
		if (seeds == 0)
			continue;
		least = seeds < least ? seeds : least;
		varying_label(key, label, sizeof label);
		grid_cell(&grid, "%s", people ? label : key->variant);
		if (!people)
			grid_cell(&grid, "%s", key->params);
		varying_cells(&varying, key, &grid);
		grid_cell(&grid, "%zu", seeds);
		for (size_t k = 0; k < NUMBERS; k++) {
			if (!wanted[k])
				continue;
			struct estimate3 e = over_seeds(results, i, k, x);
			put_estimate(&e, people, &grid);
		}
	}
	bool ok = x && done;
	grid_print(&grid, format, out);
	if (people && least != SIZE_MAX) {
		text_adds(out, "\nMedians over seeds; a seed makes the input and what a variant draws. Zeros have error 1, the uniform\n"
		               "average that of its column. In all of them");
		varying_common(&varying, &results->v[0].key, out);
		text_adds(out, least < 6 ? ".\nThere is no interval below 6 seeds: --seed 1..10:+1.\n"
		                         : ".\nIntervals are order statistics, at 95 % at least.\n");
	}
	free(x);
	free(done);
	ok = (ok && !grid.failed && !out->failed) || fail(error, "out of memory");
	grid_free(&grid);
	return ok;
}
