/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The table of a run. */
#include "show.h"
#include "advice.h"
#include "compare.h"
#include "csv.h"
#include "plugin.h"
#include "progress.h"
#include "raw.h"
#include "runjson.h"
#include "seeds.h"
#include "summary.h"
#include "varying.h"
#include "verbs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>


static const char *interval(double x, double lo, double hi, const char *(*human)(double, char *),
                            char *out, size_t size)
{
	char a[HUMAN_MAX], b[HUMAN_MAX], c[HUMAN_MAX];

	if (isnan(x))
		out[0] = '\0';
	else if (isnan(lo))
		snprintf(out, size, "%s", human(x, a));
	else
		snprintf(out, size, "%s [%s, %s]", human(x, a), human(lo, b), human(hi, c));
	return out;
}

static const char *factor(double x, char out[HUMAN_MAX])
{
	snprintf(out, HUMAN_MAX, x < 9.995 ? "%.2fx" : x < 99.95 ? "%.1fx" : "%.0fx", x);
	return out;
}

struct table_state {
	const struct results *results;
	const struct config *config;
	struct varying varying;
	bool timed, states, errors, tasks; /* any cell has them */
	size_t comparisons;
	double margin, best_cal;
	bool by_band; /* the margin rests on a measurement */
	size_t uncorrected;
};

static const struct result *baseline_of(const struct table_state *t, const struct result *r)
{
	return find_baseline(t->results, r, t->config->baseline);
}

static void put_ratio(const struct ratio *ratio, bool is_base, struct grid *grid)
{
	char text[128] = "";

	if (is_base)
		snprintf(text, sizeof text, "1");
	else if (ratio->pairs)
		interval(ratio->speedup, ratio->lo, ratio->hi, factor, text, sizeof text);
	grid_cell(grid, "%s%s%s", text, is_base || !ratio->pairs ? "" : " ",
	          is_base ? "" : verdict_names[ratio->verdict]);
}

static void put_error(struct grid *grid, double x)
{
	if (isnan(x))
		grid_cell(grid, "%s", "");
	else
		grid_cell(grid, x == 0 ? "%.0f" : "%.1e", x);
}

static void put_share(struct grid *grid, double x)
{
	if (isnan(x))
		grid_cell(grid, "%s", "");
	else
		grid_cell(grid, "%.2f", x);
}

static void put_costs(const struct table_state *t, const struct summary_row *row, const struct ratio *ratio,
                      bool is_base, bool ok, struct grid *grid)
{
	char text[256], bytes[HUMAN_MAX];

	if (ok || row->rounds > 0)
		grid_cell(grid, "%s", interval(row->time_median_ns, row->time_ci95_lo_ns, row->time_ci95_hi_ns,
		                               human_ns, text, sizeof text));
	else
		grid_cell(grid, "%s", row->status);
	put_ratio(ratio, is_base, grid);
	/* What an engine works in is not ours to count; what it grew by is. */
	if (row->ws_tracked_bytes == NA_INT && row->rss_delta_bytes != NA_INT)
		grid_cell(grid, "~%s", human_bytes((double)row->rss_delta_bytes, bytes));
	else
		grid_cell(grid, "%s", row->ws_tracked_bytes == NA_INT
		                              ? ""
		                              : human_bytes((double)row->ws_tracked_bytes, bytes));
	if (t->states)
		grid_cell(grid, "%s", row->state_bytes == NA_INT ? "" : human_bytes((double)row->state_bytes, bytes));
}

/* Another input than that of its neighbours: its keys are its queries. */
static bool is_tied(const struct row_key *key)
{
	const struct attn_variant *v = variant_find(key->variant);

	return v && (v->flags & ATTN_TIED);
}

/* What not attending would have scored at the place of the rows above. */
static void control_rows(const struct table_state *t, const struct row_key *key,
                         const struct summary_row *row, struct grid *grid)
{
	const struct {
		const char *name;
		double error;
	} controls[] = { { "(uniform average)", row->err_uniform_rel_fro }, { "(zeros)", 1 } };

	for (size_t i = 0; i < 2; i++) {
		grid_cell(grid, "%s", controls[i].name);
		varying_cells(&t->varying, key, grid);
		for (size_t c = 0; t->timed && c < 3 + (size_t)t->states; c++)
			grid_cell(grid, "%s", "");
		put_error(grid, controls[i].error);
		put_share(grid, row->entropy_ratio);
		for (size_t c = 0; c < 2 + (size_t)t->tasks; c++)
			grid_cell(grid, "%s", "");
	}
}

static void people_row(struct table_state *t, const struct result *r, const struct summary_row *row,
                       const struct ratio *ratio, bool is_base, struct grid *grid)
{
	char text[256];
	bool ok = !strcmp(row->status, "ok") || !strcmp(row->status, "inaccurate");

	varying_label(&r->key, text, sizeof text);
	grid_cell(grid, "%s", text);
	varying_cells(&t->varying, &r->key, grid);
	if (t->timed || !t->errors)
		put_costs(t, row, ratio, is_base, ok, grid);
	put_error(grid, row->err_exact_rel_fro);
	put_share(grid, row->entropy_ratio);
	if (t->tasks)
		put_share(grid, row->task_accuracy);
	put_error(grid, row->err_impl_rel_fro);
	snprintf(text, sizeof text, "%s%s%s%s%.120s", ok ? "" : row->status, ok ? "" : ": ", row->flags,
	         *row->message && *row->flags ? "; " : "", row->message);
	grid_cell(grid, "%s", !strcmp(row->status, "inaccurate") && !*row->message ? "inaccurate" : text);
}

static const char *const program_columns[] = {
	"cell_id", "variant", "params", ">batch", ">heads", ">kv_heads", ">n_q", ">n_k", ">d_head", ">d_value",
	">causal", "dtype", ">threads", "cache", "isa", "input_kind", ">seed", "status",
	">time_median_ns", ">time_ci95_lo_ns", ">time_ci95_hi_ns", ">ws_tracked_bytes",
	">err_impl_rel_fro", ">err_exact_rel_fro", "baseline", ">pairs", ">speedup", ">speedup_ci_lo",
	">speedup_ci_hi", ">confidence", "verdict", "reason", "flags", ">entropy_ratio",
	">err_uniform_rel_fro", ">task_accuracy", "mode", ">state_bytes", "lengths", ">tokens",
};

static void program_row(const struct result *r, const struct summary_row *row,
                        const struct ratio *ratio, const struct result *base, struct grid *grid)
{
	const struct row_key *k = &r->key;
	const int64_t sizes[] = { k->batch, k->heads, k->kv_heads, k->n_q, k->n_k, k->d_head, k->d_value, k->causal };

	grid_cell(grid, "%s", k->cell_id);
	grid_cell(grid, "%s", k->variant);
	grid_cell(grid, "%s", k->params);
	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
		grid_cell(grid, "%lld", (long long)sizes[i]);
	grid_cell(grid, "%s", k->dtype);
	grid_cell(grid, "%lld", (long long)k->threads);
	grid_cell(grid, "%s", k->cache);
	grid_cell(grid, "%s", k->isa);
	grid_cell(grid, "%s", k->input_kind);
	grid_cell(grid, "%lld", (long long)k->seed);
	grid_cell(grid, "%s", row->status);
	grid_number(grid, row->time_median_ns);
	grid_number(grid, row->time_ci95_lo_ns);
	grid_number(grid, row->time_ci95_hi_ns);
	grid_number(grid, row->ws_tracked_bytes == NA_INT ? NAN : (double)row->ws_tracked_bytes);
	grid_number(grid, row->err_impl_rel_fro);
	grid_number(grid, row->err_exact_rel_fro);
	grid_cell(grid, "%s", base ? base->key.variant : "");
	grid_cell(grid, "%zu", ratio->pairs);
	grid_number(grid, ratio->speedup);
	grid_number(grid, ratio->lo);
	grid_number(grid, ratio->hi);
	grid_number(grid, ratio->confidence);
	grid_cell(grid, "%s", verdict_names[ratio->verdict]);
	grid_cell(grid, "%s", ratio->reason);
	grid_cell(grid, "%s", row->flags);
	grid_number(grid, row->entropy_ratio);
	grid_number(grid, row->err_uniform_rel_fro);
	grid_number(grid, row->task_accuracy);
	grid_cell(grid, "%s", k->mode);
	grid_number(grid, row->state_bytes == NA_INT ? NAN : (double)row->state_bytes);
	grid_cell(grid, "%s", k->lengths);
	grid_number(grid, row->tokens == NA_INT ? NAN : (double)row->tokens);
}

static void headings(const struct table_state *t, bool people, struct grid *grid)
{
	if (!people) {
		for (size_t i = 0; i < sizeof program_columns / sizeof *program_columns; i++)
			grid_column(grid, program_columns[i]);
		return;
	}
	grid_column(grid, "variant");
	varying_headings(&t->varying, grid);
	if (t->timed || !t->errors) {
		grid_column(grid, t->varying.tokens ? ">time a token [95 %]" : ">time a call [95 %]");
		grid_column(grid, ">speed-up [95 %]");
		grid_column(grid, ">work space");
		if (t->states)
			grid_column(grid, ">state");
	}
	grid_column(grid, ">err exact");
	grid_column(grid, ">H/ln n");
	if (t->tasks)
		grid_column(grid, ">task");
	grid_column(grid, ">err impl");
	grid_column(grid, "notes");
}

/* What all cells have in common, how many there are, what the words mean. */
static void footer(const struct table_state *t, struct text *out)
{
	size_t counts[STATUS_FAILED + 1] = { 0 }, rounds = 0;
	const char *message;

	for (size_t i = 0; i < t->results->n; i++) {
		const struct result *r = &t->results->v[i];
		counts[result_status(r, &message)]++;
		rounds = r->n_rounds > rounds ? r->n_rounds : rounds;
	}
	text_printf(out, "\n%zu cells:", t->results->n);
	for (size_t s = 0, n = 0; s <= STATUS_FAILED; s++)
		if (counts[s])
			text_printf(out, "%s %zu %s", n++ ? "," : "", counts[s], status_names[s]);
	text_adds(out, ". In all of them");
	if (t->results->n)
		varying_common(&t->varying, &t->results->v[0].key, out);
	text_adds(out, ".\n");
	if (rounds)
		text_printf(out, "Up to %zu rounds a cell, variants interleaved. Speed-up: over %s, round by "
		                 "round; within %.3g %% of 1 counts as the same%s.\n", rounds,
		            t->config->baseline ? t->config->baseline : "full, or flash where there is no full",
		            t->margin * 100, t->by_band ? ", by the A/A band of this machine" : "");
	if (t->uncorrected && t->comparisons > 1)
		text_printf(out, "%zu intervals of speed-ups hold at 95 %% each, not for all %zu together: that "
		                 "takes more rounds (--rounds, --profile).\n", t->uncorrected, t->comparisons);
	advise(t->results, out);
}

static void colour_word(const char *word, const char *code, struct text *text)
{
	struct text done = { 0 };
	const char *from = text->s ? text->s : "", *at;

	while ((at = strstr(from, word))) {
		text_add(&done, from, (size_t)(at - from));
		text_printf(&done, "\033[%sm%s\033[0m", code, word);
		from = at + strlen(word);
	}
	text_adds(&done, from);
	text_free(text);
	*text = done;
}

/* The ratio column needs to know how many ratios there are. */
static size_t count_comparisons(const struct table_state *t)
{
	size_t n = 0;

	for (size_t i = 0; i < t->results->n; i++) {
		const struct result *r = &t->results->v[i], *base = baseline_of(t, r);
		n += r->n_rounds && base && base != r;
	}
	return n;
}

bool show_results(const struct results *results, const struct config *config,
                  const struct band *band, struct text *out, char *error)
{
	enum format format = (enum format)config->format;
	bool people = format == FORMAT_TEXT || format == FORMAT_MD, ok = true;
	struct table_state t = {
		.results = results, .config = config, .best_cal = results_best_cal(results),
		.margin = band_margin(band, config->margin), .by_band = config->margin <= 0 && band->share > 0,
	};
	struct summary_row control = { .err_uniform_rel_fro = NAN };
	struct grid grid = { 0 };
	struct text table = { 0 };

	varying_find(results, &t.varying);
	for (size_t i = 0; i < results->n; i++) {
		t.timed |= results->v[i].n_rounds || results->v[i].memory.ws_tracked_bytes != NA_INT;
		t.states |= results->v[i].state_bytes != NA_INT && !strcmp(results->v[i].key.mode, cell_mode_names[MODE_DECODE]);
		t.errors |= !isnan(results->v[i].accuracy.err_exact_rel_fro);
		t.tasks |= !isnan(results->v[i].accuracy.task_accuracy);
	}
	t.comparisons = count_comparisons(&t);
	headings(&t, people, &grid);
	for (size_t i = 0; i < results->n && ok; i++) {
		const struct result *r = &results->v[i], *base = baseline_of(&t, r);
		struct summary summary;
		struct ratio ratio = { .speedup = NAN, .lo = NAN, .hi = NAN, .confidence = NAN, .reason = "" };
		ok = summarize(r, t.best_cal, &summary) &&
		     (!base || base == r || !r->n_rounds ||
		      compare_rounds(base, r, t.comparisons, t.margin, &ratio));
		t.uncorrected += ratio.pairs && !ratio.corrected && !isnan(ratio.lo);
		if (ok && !isnan(summary.row.err_uniform_rel_fro) && !is_tied(&r->key))
			control = summary.row;
		if (ok && people)
			people_row(&t, r, &summary.row, &ratio, base == r, &grid);
		else if (ok)
			program_row(r, &summary.row, &ratio, base, &grid);
		if (i + 1 < results->n && varying_same(&r->key, &results->v[i + 1].key))
			continue;
		if (ok && people && !isnan(control.err_uniform_rel_fro))
			control_rows(&t, &r->key, &control, &grid);
		control.err_uniform_rel_fro = NAN;
	}
	grid_print(&grid, format, &table);
	if (people)
		footer(&t, &table);
	if (format == FORMAT_TEXT && use_color((enum color_mode)config->color, STDOUT_FILENO)) {
		colour_word("FASTER", "32", &table);
		colour_word("SLOWER", "31", &table);
		colour_word("UNCLEAR", "33", &table);
	}
	text_adds(out, table.s ? table.s : "");
	ok = (ok && !table.failed && !out->failed) || fail(error, "out of memory");
	text_free(&table);
	grid_free(&grid);
	return ok;
}

static bool take_row(void *user, const struct raw_row *row, char *error)
{
	return results_add(user, row, error);
}

bool show_verb(const struct config *config, struct text *out, char *error)
{
	struct run_record record;
	struct results results = { 0 };
	bool ok;

	if (config->n_positional != 1)
		return fail(error, "show wants one directory: attnbench show results/NAME");
	ok = raw_read(config->positional[0], take_row, &results, error);
	if (ok && results.n == 0)
		ok = fail(error, "%s/raw.csv has no rows yet", config->positional[0]);
	if (ok) {
		char ignored[ERROR_MAX]; /* the table needs raw.csv alone */
		runjson_read(config->positional[0], &record, ignored);
		ok = config->by_seed ? seeds_table(&results, config, out, error)
		                     : show_results(&results, config, &record.band, out, error);
		record_free(&record);
	}
	results_free(&results);
	return ok;
}
