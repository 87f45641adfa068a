/* SPDX-License-Identifier: BSD-3-Clause
 *
 * From rows to estimates: rounds, samples set aside, statuses, flags, paired
 * ratios and their verdicts. */
#include "../harness/compare.h"
#include "../harness/csv.h"
#include "../harness/rows.h"
#include "../harness/summary.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

/* A row of the cell `variant` at length n. */
static void make_row(struct raw_row *row, const char *variant, int64_t n, const char *pass)
{
	row_clear(&raw_table, row);
	row->key.schema_version = SCHEMA_VERSION;
	row->key.run_id = "r";
	row->key.impl = "i";
	row->key.mode = "forward";
	row->key.variant = variant;
	row->key.family = "exact";
	row->key.params = "";
	row->key.batch = row->key.heads = row->key.kv_heads = 1;
	row->key.n_q = row->key.n_k = n;
	row->key.d_head = row->key.d_value = 64;
	row->key.causal = 0;
	row->key.scale = 0.125;
	row->key.dtype = "f32";
	row->key.threads = 1;
	row->key.cache = "warm";
	row->key.isa = "scalar";
	row->key.input_kind = "gauss:sigma=1";
	row->key.seed = 1;
	row->key.cell_id = variant;
	row->pass = pass;
	row->status = "ok";
}

static void add(struct results *results, const struct raw_row *row)
{
	char error[ERROR_MAX];

	if (!results_add(results, row, error))
		fail_msg("%s", error);
}

/* One round: samples of these nanoseconds a call, 10 calls each. */
static void add_round(struct results *results, const char *variant, int64_t round,
                      const double *ns, const bool *disturbed, size_t m)
{
	struct raw_row row;

	for (size_t i = 0; i < m; i++) {
		make_row(&row, variant, 256, "time");
		row.round = round;
		row.sample = (int64_t)i;
		row.samples_in_round = (int64_t)m;
		row.calls = row.calls_base = 10;
		row.wall_ns = (int64_t)(10 * ns[i]);
		row.cpu_ns = row.wall_ns;
		row.first_call_ns = 9999;
		row.disturbed = disturbed && disturbed[i];
		row.cal_before_ns = row.cal_after_ns = 2000000;
		add(results, &row);
	}
}

static void add_rounds(struct results *results, const char *variant, const double *values, size_t n)
{
	for (size_t r = 0; r < n; r++)
		add_round(results, variant, (int64_t)r, (double[]){ values[r], values[r], values[r] }, NULL, 3);
}

static struct result *find(const struct results *results, const char *variant)
{
	struct raw_row row;

	make_row(&row, variant, 256, "time");
	struct result *r = results_find(results, &row.key);
	assert_non_null(r);
	return r;
}

static struct summary_row summary_of(const struct results *results, const char *variant)
{
	static struct summary summary;

	assert_true(summarize(find(results, variant), results_best_cal(results), &summary));
	return summary.row;
}

static void test_rounds(void **state)
{
	struct results results = { 0 };
	const double values[] = { 105, 100, 103, 101, 104, 102 };

	(void)state;
	add_rounds(&results, "full", values, 6);
	struct summary_row row = summary_of(&results, "full");
	assert_string_equal(row.status, "ok");
	assert_int_equal(row.rounds, 6);
	assert_int_equal(row.samples, 18);
	assert_int_equal(row.calls, 10);
	assert_true(row.time_median_ns == 102.5);
	assert_true(row.time_ci95_lo_ns == 100 && row.time_ci95_hi_ns == 105); /* ranks 1 and 6 */
	assert_true(row.time_mad_ns == 1.5);
	assert_true(row.time_min_ns == 100 && row.time_all_median_ns == 102.5);
	assert_true(row.clean_share == 1 && row.first_call_median_ns == 9999);
	assert_true(row.cpu_median_ns == 102.5);
	assert_string_equal(row.flags, "");
	results_free(&results);
}

static void test_few_rounds(void **state)
{
	struct results results = { 0 };
	const double values[] = { 100, 101, 102, 103, 104 };

	(void)state;
	add_rounds(&results, "full", values, 5);
	struct summary_row row = summary_of(&results, "full");
	assert_true(row.time_median_ns == 102);
	assert_true(isnan(row.time_ci95_lo_ns) && isnan(row.time_ci95_hi_ns));
	assert_string_equal(row.flags, "few_rounds");
	results_free(&results);
}

/* Set aside by cause: three clean samples are enough, two are not. */
static void test_disturbed(void **state)
{
	struct results results = { 0 };

	(void)state;
	add_round(&results, "a", 0, (double[]){ 900, 100, 101, 102, 800 },
	          (bool[]){ true, false, false, false, true }, 5);
	assert_true(find(&results, "a")->round[0].value == 101);
	assert_false(find(&results, "a")->round[0].disturbed);
	add_round(&results, "b", 0, (double[]){ 900, 100, 101, 700, 800 },
	          (bool[]){ true, false, false, true, true }, 5);
	assert_true(find(&results, "b")->round[0].value == 700);
	assert_true(find(&results, "b")->round[0].disturbed);
	/* A slow sample without a cause counts. */
	add_round(&results, "c", 0, (double[]){ 100, 101, 5000 }, NULL, 3);
	struct summary_row row = summary_of(&results, "c");
	assert_true(row.time_mean_ns > 1000 && row.time_median_ns == 101);
	/* One long call: it is the round. */
	add_round(&results, "d", 0, (double[]){ 5e10 }, NULL, 1);
	assert_false(find(&results, "d")->round[0].disturbed);
	row = summary_of(&results, "d");
	assert_non_null(strstr(row.flags, "single_sample"));
	row = summary_of(&results, "b");
	assert_non_null(strstr(row.flags, "disturbed"));
	assert_true(fabs(row.clean_share - 0.4) < 1e-9);
	results_free(&results);
}

static void test_flags(void **state)
{
	struct results results = { 0 };
	const double wide[] = { 100, 130, 90, 140, 80, 120 };
	const double two_groups[] = { 100, 100.1, 100.2, 100.1, 120, 120.1, 120, 120.2 };
	const double drifting[] = { 100, 101, 102, 103, 104, 105, 106, 107 };

	(void)state;
	add_rounds(&results, "wide", wide, 6);
	assert_string_equal(summary_of(&results, "wide").flags, "ci_wide;unstable");
	add_rounds(&results, "two", two_groups, 8);
	assert_non_null(strstr(summary_of(&results, "two").flags, "bimodal"));
	add_rounds(&results, "drift", drifting, 8);
	assert_string_equal(summary_of(&results, "drift").flags, "autocorrelated");
	results_free(&results);
}

static void test_statuses(void **state)
{
	struct results results = { 0 };
	struct raw_row row;
	const char *message;
	const double values[] = { 1, 2, 3 };

	(void)state;
	/* The variant failed: no pass can make that good. */
	make_row(&row, "crash", 256, "memory");
	row.status = "crash";
	row.stop_reason = "failed";
	row.message = "killed by signal 11";
	add(&results, &row);
	assert_int_equal(result_status(find(&results, "crash"), &message), STATUS_CRASH);
	assert_string_equal(message, "killed by signal 11");
	assert_int_equal(find(&results, "crash")->stop, STOP_FAILED);

	/* The error could not be had: the cell is ok, and says so. */
	add_rounds(&results, "slow-oracle", values, 3);
	make_row(&row, "slow-oracle", 256, "accuracy");
	row.status = "timeout";
	row.message = "no result after 30 s";
	add(&results, &row);
	assert_int_equal(result_status(find(&results, "slow-oracle"), &message), STATUS_OK);
	assert_true(result_accuracy_missing(find(&results, "slow-oracle")));
	assert_non_null(strstr(summary_of(&results, "slow-oracle").flags, "accuracy_missing"));
	assert_string_equal(summary_of(&results, "slow-oracle").message, "no result after 30 s");

	/* Too far from its own definition: timed all the same. */
	add_rounds(&results, "wrong", values, 3);
	make_row(&row, "wrong", 256, "accuracy");
	row.status = "inaccurate";
	row.err_impl_rel_fro = 0.5;
	add(&results, &row);
	struct summary_row wrong = summary_of(&results, "wrong");
	assert_string_equal(wrong.status, "inaccurate");
	assert_true(wrong.time_median_ns == 2 && wrong.err_impl_rel_fro == 0.5);

	/* The run's budget ended: open again when the run goes on. */
	make_row(&row, "late", 256, "time");
	row.status = "failed";
	row.stop_reason = "run_budget";
	add(&results, &row);
	assert_string_equal(summary_of(&results, "late").stop_reason, "run_budget");
	add_rounds(&results, "late", values, 3);
	assert_int_equal(result_status(find(&results, "late"), &message), STATUS_OK);
	assert_int_equal(find(&results, "late")->stop, STOP_NONE);
	/* A note at a cell with rounds leaves what was measured alone. */
	add(&results, &row);
	assert_int_equal(result_status(find(&results, "late"), &message), STATUS_OK);
	assert_int_equal(find(&results, "late")->stop, STOP_RUN_BUDGET);
	results_free(&results);
}

static void test_reset(void **state)
{
	struct results results = { 0 };
	struct raw_row row;
	const double values[] = { 1, 2, 3 };
	char error[ERROR_MAX];

	(void)state;
	add_rounds(&results, "full", values, 3);
	rows_reset(&find(&results, "full")->key, &row);
	add(&results, &row);
	assert_int_equal(find(&results, "full")->n_rounds, 0);
	assert_false(find(&results, "full")->done[PASS_TIME]);
	add_rounds(&results, "full", values, 2);
	assert_true(find(&results, "full")->round[1].value == 2);
	/* The same round twice is a contradiction. */
	make_row(&row, "full", 256, "time");
	row.round = 0;
	row.sample = 0;
	row.samples_in_round = 1;
	row.calls = 1;
	row.wall_ns = 5;
	assert_false(results_add(&results, &row, error));
	assert_non_null(strstr(error, "twice"));
	results_free(&results);
}

static void test_memory(void **state)
{
	struct results results = { 0 };
	struct raw_row row;

	(void)state;
	make_row(&row, "full", 256, "memory");
	row.ws_model_bytes = row.ws_tracked_bytes = 1000000;
	row.rss_base_bytes = 5000000;
	row.rss_peak_bytes = 5900000;
	row.rss_resolution_bytes = 262144;
	row.io_bytes = 500000;
	row.llc_bytes = 3000000;
	row.flops_useful = 6e6;
	row.flops_executed = 8e6;
	row.bytes_model = 2e6;
	row.roof_gflops = 100;
	row.roof_gbs = 20;
	add(&results, &row);
	struct summary_row s = summary_of(&results, "full");
	assert_int_equal(s.rss_delta_bytes, 900000);
	assert_int_equal(s.untracked_bytes, -100000);
	assert_true(s.working_set_over_llc == 0.5);
	assert_true(s.intensity_flop_per_byte == 3);
	assert_true(isnan(s.gflops_per_s) && isnan(s.time_median_ns));
	assert_string_equal(s.flags, "");
	/* Much more than was given to the variant: it has memory of its own. */
	make_row(&row, "leak", 256, "memory");
	row.ws_tracked_bytes = 1000000;
	row.rss_base_bytes = 5000000;
	row.rss_peak_bytes = 9000000;
	add(&results, &row);
	assert_string_equal(summary_of(&results, "leak").flags, "mem_leakpath");
	results_free(&results);
}

/* 1 s a call: 50 GFLOP against a peak of 100 and, where 60 GB come from memory at
 * an intensity below the ridge, 60 GB/s against 80. */
static void test_roof(void **state)
{
	const double second = 1e9;
	struct raw_row row;

	(void)state;
	for (int large = 0; large < 2; large++) {
		struct results results = { 0 };
		make_row(&row, "full", 256, "memory");
		row.ws_tracked_bytes = 0;
		row.io_bytes = large ? 4000000 : 2000000;
		row.llc_bytes = 3000000;
		row.flops_useful = row.flops_executed = 50e9;
		row.bytes_model = 60e9;
		row.roof_gflops = 100;
		row.roof_gbs = 80;
		add(&results, &row);
		add_round(&results, "full", 0, &second, NULL, 1);
		assert_true(fabs(summary_of(&results, "full").roof_share - (large ? 0.75 : 0.5)) < 1e-12);
		results_free(&results);
	}
}

static struct ratio ratio_of(const struct results *results, const char *base, const char *cell,
                             size_t comparisons)
{
	struct ratio ratio;

	assert_true(compare_rounds(find(results, base), find(results, cell), comparisons, 0.01, &ratio));
	return ratio;
}

/* A drift that both share does not reach the ratio. */
static void test_ratio(void **state)
{
	struct results results = { 0 };
	double base[12], fast[12], same[12], close[12];

	(void)state;
	for (size_t i = 0; i < 12; i++) {
		base[i] = 1000 * pow(1.1, (double)i);
		fast[i] = base[i] / 2;
		same[i] = base[i] * (i % 2 ? 1.002 : 0.998);
		close[i] = base[i] * (i % 2 ? 1.05 : 0.97);
	}
	add_rounds(&results, "base", base, 12);
	add_rounds(&results, "fast", fast, 12);
	add_rounds(&results, "same", same, 12);
	add_rounds(&results, "close", close, 12);
	struct ratio r = ratio_of(&results, "base", "fast", 1);
	assert_int_equal(r.pairs, 12);
	assert_true(fabs(r.speedup - 2) < 0.01 && r.lo > 1.98 && r.hi < 2.02);
	assert_int_equal(r.verdict, VERDICT_FASTER);
	assert_true(r.corrected && r.confidence >= 0.95);
	assert_int_equal(ratio_of(&results, "fast", "base", 1).verdict, VERDICT_SLOWER);
	assert_int_equal(ratio_of(&results, "base", "same", 1).verdict, VERDICT_SAME);
	r = ratio_of(&results, "base", "close", 1);
	assert_int_equal(r.verdict, VERDICT_UNCLEAR);
	assert_string_equal(r.reason, "wide interval");
	/* 12 rounds carry 0.95 for each of 100 comparisons at most by widening. */
	r = ratio_of(&results, "base", "fast", 100);
	assert_true(r.corrected && r.confidence >= 1 - 0.05 / 100);
	r = ratio_of(&results, "base", "fast", 1000);
	assert_true(!r.corrected && r.confidence >= 0.95);
	results_free(&results);
}

static void test_unpaired_rounds(void **state)
{
	struct results results = { 0 };
	const double values[] = { 10, 20, 30, 40 };

	(void)state;
	add_rounds(&results, "base", values, 4);
	add_round(&results, "other", 2, (double[]){ 15, 15, 15 }, NULL, 3);
	add_round(&results, "other", 7, (double[]){ 99, 99, 99 }, NULL, 3);
	struct ratio r = ratio_of(&results, "base", "other", 1);
	assert_int_equal(r.pairs, 1);
	assert_true(fabs(r.speedup - 2) < 1e-12 && isnan(r.lo));
	assert_int_equal(r.verdict, VERDICT_UNCLEAR);
	assert_string_equal(r.reason, "few rounds");
	results_free(&results);
}

static void test_baseline(void **state)
{
	struct results results = { 0 };
	const double values[] = { 1, 2, 3 };

	(void)state;
	add_rounds(&results, "topk", values, 3);
	assert_null(find_baseline(&results, find(&results, "topk"), NULL));
	add_rounds(&results, "flash", values, 3);
	assert_ptr_equal(find_baseline(&results, find(&results, "topk"), NULL), find(&results, "flash"));
	add_rounds(&results, "full", values, 3);
	assert_ptr_equal(find_baseline(&results, find(&results, "topk"), NULL), find(&results, "full"));
	assert_ptr_equal(find_baseline(&results, find(&results, "full"), "topk"), find(&results, "topk"));
	results_free(&results);
}

static void test_file(void **state)
{
	char dir[] = "/tmp/attnbench-sum-XXXXXX", path[64], error[ERROR_MAX], text[8192];
	struct results results = { 0 };
	const double values[] = { 105, 100, 103, 101, 104, 102 };
	static struct csv_reader reader;
	struct summary_row row;

	(void)state;
	assert_non_null(mkdtemp(dir));
	add_rounds(&results, "full", values, 6);
	add_rounds(&results, "flash", values, 6);
	assert_true(summary_write(&results, dir, error));
	assert_true(summary_write(&results, dir, error)); /* over the old one */
	snprintf(path, sizeof path, "%s/summary.csv", dir);
	FILE *file = fopen(path, "r");
	size_t len = fread(text, 1, sizeof text, file);
	fclose(file);
	assert_int_equal(csv_open(&reader, &summary_table, "s", text, len), CSV_ROW);
	assert_int_equal(csv_next(&reader, &row), CSV_ROW);
	assert_string_equal(row.key.variant, "full");
	assert_true(row.time_median_ns == 102.5 && isnan(row.err_exact_rel_fro));
	assert_int_equal(csv_next(&reader, &row), CSV_ROW);
	assert_int_equal(csv_next(&reader, &row), CSV_END);
	unlink(path);
	rmdir(dir);
	assert_false(summary_write(&results, dir, error));
	assert_non_null(strstr(error, "summary.csv"));
	results_free(&results);
}

/* Many cells: each is found, ids that clash are told apart by the fields. */
static void test_many_cells(void **state)
{
	struct results results = { 0 };
	struct raw_row row;

	(void)state;
	for (int64_t n = 1; n <= 3000; n++) {
		make_row(&row, "full", n, "memory");
		row.key.cell_id = "the same id";
		row.ws_tracked_bytes = n;
		if (n % 100 == 0 || n < 100)
			add(&results, &row);
	}
	for (size_t i = 0; i < results.n; i++)
		assert_ptr_equal(results_find(&results, &results.v[i].key), &results.v[i]);
	assert_int_equal(results.n, 99 + 30);
	results_free(&results);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rounds),    cmocka_unit_test(test_few_rounds),
		cmocka_unit_test(test_disturbed), cmocka_unit_test(test_flags),
		cmocka_unit_test(test_statuses),  cmocka_unit_test(test_reset),
		cmocka_unit_test(test_memory),
		cmocka_unit_test(test_roof),    cmocka_unit_test(test_ratio),
		cmocka_unit_test(test_unpaired_rounds), cmocka_unit_test(test_baseline),
		cmocka_unit_test(test_file),      cmocka_unit_test(test_many_cells),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
