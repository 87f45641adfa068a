/* SPDX-License-Identifier: BSD-3-Clause
 *
 * From rounds to a row of summary.csv. */
#include "summary.h"
#include "csv.h"
#include "file.h"
#include "stats.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Limits of the flags; README.md of results/ gives them to the reader. */
static const double UNSTABLE_SHARE = 0.05;   /* 1.4826 MAD over the median */
static const double WIDE_SHARE = 0.05;       /* half-width over the median */
static const double CLEAN_SHARE = 0.5;
static const double LAG_LIMIT = 0.4;
static const double CAL_DRIFT_SHARE = 0.03, CAL_SLOW_SHARE = 0.10;
enum { CAL_ROUNDS = 4 };                     /* in more than one of so many rounds */
static const double MAD_TO_SIGMA = 1.4826;   /* of a normal distribution */
static const double TIMER_LIMITED_NS = 1e5;  /* a cold call below this */
static const double MEMORY_SHARE = 0.05, MEMORY_BYTES = 2 << 20; /* error bar */
static const int64_t MEMORY_LARGE = 20; /* resolutions */
static const double OVERHEAD_SHARE = 0.001;  /* of a call */
enum { ROUNDS_MIN = 6, BIMODAL_ROUNDS_MIN = 8 };

/* To a picosecond: more digits would be noise. */
static double tidy(double ns)
{
	return nearbyint(ns * 1000) / 1000;
}

static double *sorted_rounds(const struct result *r, size_t *n)
{
	double *x = malloc((r->n_rounds + 1) * sizeof *x);

	*n = 0;
	for (size_t i = 0; x && i < r->n_rounds; i++)
		if (r->round[i].n)
			x[(*n)++] = r->round[i].value;
	if (x)
		stats_sort(x, *n);
	return x;
}

bool estimate_time(const struct result *r, struct estimate *e)
{
	size_t lo, hi;
	double *x = sorted_rounds(r, &e->rounds);

	e->median = e->lo = e->hi = NAN;
	if (!x)
		return false;
	if (e->rounds) {
		e->median = stats_median(x, e->rounds);
		if (stats_median_ranks(e->rounds, 0.95, &lo, &hi, NULL)) {
			e->lo = x[lo - 1];
			e->hi = x[hi - 1];
		}
	}
	free(x);
	return true;
}

double estimate_width(const struct estimate *e)
{
	return (e->hi - e->lo) / 2 / e->median;
}

/* Two groups of rounds with nothing between: the largest gap is above 3 times
 * the median distance to the median of the own group, and a quarter of the
 * rounds lies on each side. (The MAD of all rounds would not do: two equal
 * groups make it half the gap.) work: n numbers. */
static bool is_bimodal(const double *sorted, size_t n, double *work)
{
	size_t at = 0;
	double gap = 0;

	for (size_t i = 1; i < n; i++)
		if (sorted[i] - sorted[i - 1] > gap) {
			gap = sorted[i] - sorted[i - 1];
			at = i;
		}
	if (n < BIMODAL_ROUNDS_MIN || 4 * at < n || 4 * (n - at) < n)
		return false;
	double low = stats_median(sorted, at), high = stats_median(sorted + at, n - at);
	for (size_t i = 0; i < n; i++)
		work[i] = fabs(sorted[i] - (i < at ? low : high));
	stats_sort(work, n);
	return gap > 3 * stats_median(work, n) && gap > UNSTABLE_SHARE * low;
}

static void add_flag(struct summary *out, bool set, const char *name)
{
	size_t at = strlen(out->flags);

	if (set)
		snprintf(out->flags + at, sizeof out->flags - at, "%s%s", at ? ";" : "", name);
}

/* Statistics over rounds; `sorted` and `work` hold n numbers. */
static void round_statistics(const struct result *r, const double *sorted, double *work, size_t n,
                             struct summary_row *row, bool *autocorrelated, bool *bimodal)
{
	double mad = stats_mad(sorted, n, work);
	size_t lo, hi;

	row->time_median_ns = tidy(stats_median(sorted, n));
	if (stats_median_ranks(n, 0.95, &lo, &hi, NULL)) {
		row->time_ci95_lo_ns = tidy(sorted[lo - 1]);
		row->time_ci95_hi_ns = tidy(sorted[hi - 1]);
	}
	row->time_mad_ns = tidy(mad);
	*bimodal = is_bimodal(sorted, n, work);

	size_t m = 0;
	for (size_t i = 0; i < r->n_rounds; i++)
		if (r->round[i].n)
			work[m++] = r->round[i].value;
	*autocorrelated = n >= ROUNDS_MIN && stats_autocorrelation(work, n) > LAG_LIMIT;
}

/* Median over rounds of one of their numbers, those that have it. */
static double median_of_rounds(const struct result *r, size_t offset, double *work)
{
	size_t n = 0;

	for (size_t i = 0; i < r->n_rounds; i++) {
		double x = *(const double *)((const char *)&r->round[i] + offset);
		if (!isnan(x))
			work[n++] = x;
	}
	stats_sort(work, n);
	return n ? tidy(stats_median(work, n)) : NAN;
}

/* The same over samples. */
static double median_of_samples(const struct result *r, size_t offset, double *work)
{
	size_t n = 0;

	for (size_t i = 0; i < r->n_samples; i++) {
		double x = *(const double *)((const char *)&r->sample[i] + offset);
		if (!isnan(x))
			work[n++] = x;
	}
	stats_sort(work, n);
	return n ? tidy(stats_median(work, n)) : NAN;
}

static void sample_statistics(const struct result *r, double *work, struct summary_row *row)
{
	size_t n = r->n_samples, clean = 0;

	for (size_t i = 0; i < n; i++) {
		work[i] = r->sample[i].wall;
		clean += !r->sample[i].disturbed;
	}
	stats_sort(work, n);
	row->clean_share = nearbyint(1e6 * (double)clean / (double)n) / 1e6;
	row->time_min_ns = tidy(work[0]);
	row->time_q1_ns = tidy(stats_quantile(work, n, 0.25));
	row->time_q3_ns = tidy(stats_quantile(work, n, 0.75));
	row->time_p95_ns = tidy(stats_quantile(work, n, 0.95));
	row->time_all_median_ns = tidy(stats_median(work, n));
	row->time_mean_ns = tidy(stats_mean(work, n));
	row->cpu_median_ns = median_of_samples(r, offsetof(struct call_time, cpu), work);
	row->cycles = median_of_samples(r, offsetof(struct call_time, cycles), work);
	row->instructions = median_of_samples(r, offsetof(struct call_time, instructions), work);
	row->llc_misses = median_of_samples(r, offsetof(struct call_time, llc_misses), work);
	row->energy_uj = median_of_samples(r, offsetof(struct call_time, energy_uj), work);
}

static int64_t difference(int64_t a, int64_t b)
{
	return a == NA_INT || b == NA_INT ? NA_INT : a - b;
}

/* Memory is the roof only where the data comes from it, at a low intensity. */
static double roof_share(const struct result *r, const struct summary_row *row)
{
	bool from_memory = row->working_set_over_llc > 1 &&
	                   row->intensity_flop_per_byte * r->roof_gbs < r->roof_gflops;

	return from_memory ? row->gbytes_per_s / r->roof_gbs : row->gflops_per_s / r->roof_gflops;
}

static void put_work(const struct result *r, struct summary_row *row)
{
	const struct raw_row *m = &r->memory, *a = &r->accuracy;

	row->flops_useful = r->flops_useful;
	row->flops_executed = r->flops_executed;
	row->pairs_executed = r->pairs_executed;
	row->bytes_model = r->bytes_model;
	row->io_bytes = r->io_bytes;
	row->state_bytes = r->state_bytes;
	row->tokens = r->tokens;
	row->ws_model_bytes = r->ws_model_bytes;
	if (row->time_median_ns > 0) {
		row->gflops_per_s = r->flops_useful / row->time_median_ns;
		row->gbytes_per_s = r->bytes_model / row->time_median_ns;
	}
	if (r->bytes_model > 0)
		row->intensity_flop_per_byte = r->flops_useful / r->bytes_model;

	row->ws_tracked_bytes = m->ws_tracked_bytes;
	row->rss_delta_bytes = difference(m->rss_peak_bytes, m->rss_base_bytes);
	row->rss_resolution_bytes = m->rss_resolution_bytes;
	row->untracked_bytes = difference(row->rss_delta_bytes, m->ws_tracked_bytes);
	if (r->io_bytes != NA_INT && m->ws_tracked_bytes != NA_INT && r->llc_bytes > 0)
		row->working_set_over_llc =
			(double)(r->io_bytes + m->ws_tracked_bytes) / (double)r->llc_bytes;
	row->roof_share = roof_share(r, row);
	row->blas_bytes = m->blas_bytes;
	if (m->ws_tracked_bytes > 0 && m->ws_touched_bytes != NA_INT)
		row->touched_share = (double)m->ws_touched_bytes / (double)m->ws_tracked_bytes;

	row->err_impl_rel_fro = a->err_impl_rel_fro;
	row->err_impl_bound = a->err_impl_bound;
	row->err_exact_rel_fro = a->err_exact_rel_fro;
	row->err_exact_max_abs = a->err_exact_max_abs;
	row->err_exact_cos = a->err_exact_cos;
	row->err_exact_nmse_u = a->err_exact_nmse_u;
	row->err_rows = a->err_rows;
	row->entropy_ratio = a->entropy_ratio;
	row->clamped_rows = a->clamped_rows;
	row->err_exact_max_rel_row = a->err_exact_max_rel_row;
	row->err_exact_med_rel_row = a->err_exact_med_rel_row;
	row->err_cos_left_out = a->err_cos_left_out;
	row->err_sampling = a->err_sampling;
	row->err_uniform_rel_fro = a->err_uniform_rel_fro;
	row->n_eff = a->n_eff;
	row->weights_rows = a->weights_rows;
	row->weights_tv = a->weights_tv;
	row->weights_kl = a->weights_kl;
	row->weights_kl_rev = a->weights_kl_rev;
	row->weights_dropped = a->weights_dropped;
	row->task_accuracy = a->task_accuracy;
	row->task_chance = a->task_chance;
	row->task_answers = a->task_answers;
}

struct memory_check check_memory(const struct result *r)
{
	const struct raw_row *m = &r->memory;
	int64_t delta = difference(m->rss_peak_bytes, m->rss_base_bytes);
	struct memory_check check = { .large = false };

	if (delta == NA_INT || m->ws_tracked_bytes == NA_INT)
		return check;
	double bar = fmax(MEMORY_BYTES, MEMORY_SHARE * (double)m->ws_tracked_bytes);
	if (m->rss_resolution_bytes != NA_INT)
		bar = fmax(bar, (double)m->rss_resolution_bytes);
	check.large = m->rss_resolution_bytes != NA_INT &&
	              m->ws_tracked_bytes > MEMORY_LARGE * m->rss_resolution_bytes;
	int64_t touched = m->ws_touched_bytes == NA_INT ? m->ws_tracked_bytes : m->ws_touched_bytes;
	check.leaks = (double)(delta - touched) > bar;
	check.falls_short = m->ws_touched_bytes != NA_INT && (double)(touched - delta) > bar;
	check.untouched = (double)(m->ws_tracked_bytes - touched) > bar;
	return check;
}

/* The clock rate changed during rounds, or was low from their start. */
static void calibration_flags(const struct result *r, double best, bool *drift, bool *slow)
{
	size_t drifts = 0, slows = 0;

	for (size_t i = 0; i < r->n_rounds; i++) {
		drifts += fabs(r->round[i].cal_after / r->round[i].cal_before - 1) > CAL_DRIFT_SHARE;
		slows += r->round[i].cal_before > best * (1 + CAL_SLOW_SHARE);
	}
	*drift = CAL_ROUNDS * drifts > r->n_rounds;
	*slow = CAL_ROUNDS * slows > r->n_rounds;
}

/* In alphabetical order. */
static void put_flags(const struct result *r, double best_cal, bool autocorrelated, bool bimodal,
                      struct summary *out)
{
	const struct summary_row *row = &out->row;
	bool timed = row->rounds > 0;
	double half = (row->time_ci95_hi_ns - row->time_ci95_lo_ns) / 2;
	bool single = false, drift, slow;

	struct memory_check memory = check_memory(r);
	calibration_flags(r, best_cal, &drift, &slow);
	for (size_t i = 0; i < r->n_rounds; i++)
		single |= r->round[i].n == 1;
	out->flags[0] = '\0';
	add_flag(out, result_accuracy_missing(r), "accuracy_missing");
	add_flag(out, autocorrelated, "autocorrelated");
	add_flag(out, bimodal, "bimodal");
	add_flag(out, drift, "cal_drift");
	add_flag(out, slow, "cal_slow");
	add_flag(out, timed && half > WIDE_SHARE * row->time_median_ns, "ci_wide");
	add_flag(out, row->clamped_rows > 0, "clamped");
	add_flag(out, timed && row->clean_share < CLEAN_SHARE, "disturbed");
	add_flag(out, !isnan(row->energy_uj), "energy_shared");
	add_flag(out, timed && row->rounds < ROUNDS_MIN, "few_rounds");
	add_flag(out, memory.leaks, "mem_leakpath");
	add_flag(out, memory.untouched, "mem_untouched");
	add_flag(out, row->overhead_ns > OVERHEAD_SHARE * row->time_median_ns, "overhead");
	add_flag(out, r->memory.rss_is_bound == 1, "rss_bound");
	add_flag(out, memory.falls_short, "rss_short");
	add_flag(out, single, "single_sample");
	add_flag(out, r->throttled, "throttled");
	add_flag(out, timed && !strcmp(r->key.cache, "cold") && row->time_median_ns < TIMER_LIMITED_NS,
	         "timer_limited");
	add_flag(out, r->unpinned, "unpinned");
	add_flag(out, timed && MAD_TO_SIGMA * row->time_mad_ns > UNSTABLE_SHARE * row->time_median_ns,
	         "unstable");
	out->row.flags = out->flags;
}

bool summarize(const struct result *r, double best_cal, struct summary *out)
{
	struct summary_row *row = &out->row;
	bool autocorrelated = false, bimodal = false;
	size_t n;
	double *sorted = sorted_rounds(r, &n);
	double *work = malloc((r->n_samples + r->n_rounds + 1) * sizeof *work);
	bool ok = sorted && work;

	row_clear(&summary_table, row);
	row->key = r->key;
	row->status = status_names[result_status(r, &row->message)];
	row->stop_reason = stop_names[r->stop];
	row->rounds = (int64_t)n;
	row->samples = (int64_t)r->n_samples;
	row->calls = r->calls;
	if (ok && n) {
		round_statistics(r, sorted, work, n, row, &autocorrelated, &bimodal);
		sample_statistics(r, work, row);
		row->first_call_median_ns = median_of_rounds(r, offsetof(struct round, first_call), work);
		row->prepare_ns = median_of_rounds(r, offsetof(struct round, prepare), work);
		row->overhead_ns = median_of_rounds(r, offsetof(struct round, overhead), work);
		row->selection_share = median_of_rounds(r, offsetof(struct round, selection), work);
		row->prefill_ns = median_of_rounds(r, offsetof(struct round, prefill), work);
	}
	put_work(r, row);
	put_flags(r, best_cal, autocorrelated, bimodal, out);
	free(sorted);
	free(work);
	return ok;
}

double results_best_cal(const struct results *results)
{
	double best = NAN;

	for (size_t i = 0; i < results->n; i++)
		for (size_t k = 0; k < results->v[i].n_rounds; k++)
			best = fmin(best, results->v[i].round[k].cal_before);
	return best;
}

bool summary_text(const struct results *results, struct text *out, char *error)
{
	double best = results_best_cal(results);
	struct summary summary;
	bool ok = true;

	csv_write_header(&summary_table, out);
	for (size_t i = 0; i < results->n && ok; i++) {
		ok = summarize(&results->v[i], best, &summary);
		csv_write_row(&summary_table, &summary.row, out);
	}
	return (ok && !out->failed) || fail(error, "out of memory");
}

bool summary_write(const struct results *results, const char *dir, char *error)
{
	struct text text = { 0 };
	bool ok = summary_text(results, &text, error) &&
	          replace_file(dir, "summary.csv", text.s, text.len, error);

	text_free(&text);
	return ok;
}
