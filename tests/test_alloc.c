/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Memory refused: each operation is done again and again, its first, second,
 * third ... allocation refused, until none is. Every time it either says that
 * there was no memory, or does all that it should; never anything between. The
 * linker sends the calls of our objects here (--wrap), those of jansson come by
 * its own hook.
 */
#include "../datasets/data.h"
#include "../harness/axes.h"
#include "../harness/csv.h"
#include "../harness/plan.h"
#include "../harness/raw.h"
#include "../harness/reference.h"
#include "../harness/runjson.h"
#include "../harness/show.h"
#include "../harness/summary.h"
#include "../harness/sweep.h"
#include "../harness/verbs.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h> /* its macro fail() takes the name of ours: (fail)() is ours */

static _Atomic long countdown; /* the allocation to refuse; 0: none */
static atomic_bool refused;

static bool refuse(void)
{
	if (atomic_load(&countdown) == 0 || atomic_fetch_sub(&countdown, 1) != 1)
		return false;
	atomic_store(&refused, true);
	return true;
}

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void *__real_aligned_alloc(size_t align, size_t n);
int __real_posix_memalign(void **p, size_t align, size_t n);
char *__real_strdup(const char *s);
int __real_vasprintf(char **s, const char *format, va_list args);

#pragma GCC diagnostic ignored "-Wmissing-prototypes" /* the linker calls these */

void *__wrap_malloc(size_t n)
{
	return refuse() ? NULL : __real_malloc(n);
}

void *__wrap_calloc(size_t n, size_t size)
{
	return refuse() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t n)
{
	return refuse() ? NULL : __real_realloc(p, n);
}

void *__wrap_aligned_alloc(size_t align, size_t n)
{
	return refuse() ? NULL : __real_aligned_alloc(align, n);
}

int __wrap_posix_memalign(void **p, size_t align, size_t n)
{
	return refuse() ? 12 : __real_posix_memalign(p, align, n);
}

char *__wrap_strdup(const char *s)
{
	return refuse() ? NULL : __real_strdup(s);
}

int __wrap_vasprintf(char **s, const char *format, va_list args)
{
	return refuse() ? -1 : __real_vasprintf(s, format, args);
}

/* ---- the loop ------------------------------------------------------------- */

/* Writes what it found into *out, as text that is the same every time. */
typedef bool operation(struct text *out, char *error);

static void torture(operation *op)
{
	struct text wanted = { 0 };
	char error[ERROR_MAX] = "";
	enum { MOST = 20000 };

	if (!op(&wanted, error))
		fail_msg("without refusing anything: %s", error);
	for (long n = 1;; n++) {
		struct text out = { 0 };
		error[0] = '\0';
		atomic_store(&refused, false);
		atomic_store(&countdown, n);
		bool ok = op(&out, error);
		atomic_store(&countdown, 0);
		bool last = !atomic_load(&refused);
		if (!ok && (last || !strstr(error, "memory")))
			fail_msg("allocation %ld: the message is '%s'", n, error);
		if (ok && !out.failed && (out.len != wanted.len || memcmp(out.s, wanted.s, out.len) != 0))
			fail_msg("allocation %ld was refused, it went on, and found '%s', not '%s'", n, out.s ? out.s : "",
			         wanted.s);
		text_free(&out);
		if (last)
			break;
		assert_true(n < MOST);
	}
	text_free(&wanted);
}

/* ---- operations ------------------------------------------------------------ */

static char dir[64];

static bool parse_lists(struct text *out, char *error)
{
	const struct where where = { .name = "variant" };
	struct variant_choices choices = { 0 };
	struct names inputs = { 0 }, isas = { 0 };
	bool ok = variants_parse("full,performer:m=64|128,family/sparse", &where, &choices, error) &&
	          inputs_parse("gauss:sigma=1|2,ar1", &where, &inputs, error) &&
	          isas_parse("all", &where, &isas, error);

	for (size_t i = 0; ok && i < choices.n; i++)
		text_printf(out, "%s ", choices.v[i].variant->name);
	for (size_t i = 0; ok && i < inputs.n; i++)
		text_printf(out, "%s ", inputs.v[i]);
	text_printf(out, "%zu", isas.n);
	free(choices.v);
	names_free(&inputs);
	names_free(&isas);
	return ok;
}

static bool parse_options(struct text *out, char *error)
{
	char *argv[] = { (char[]){ "run" }, (char[]){ "--variant" }, (char[]){ "full" }, (char[]){ "--cpus" },
		         (char[]){ "0" }, (char[]){ "--memory" }, (char[]){ "8GiB" }, (char[]){ "--name" },
		         (char[]){ "x" }, (char[]){ "sweep.ini" }, NULL };
	struct config config = { 0 };
	bool ok = options_parse(&config, VERB_RUN, 10, argv, error);

	for (const struct option_def *o = option_table; ok && o->name; o++)
		option_show(&config, NULL, o, out);
	config_free(&config);
	return ok;
}

static bool make_plan(struct text *out, char *error)
{
	static const char sweep[] = "profile = quick\nd = 16\n[a]\nvariant = full, flash\nn = 16..64:x2\n"
	                            "[b]\nvariant = linformer:k=8|16\nn = 32\ncausal = 0, 1\n";
	static struct topo *topo;
	struct config config = { 0 };
	struct machine machine;
	struct plan plan = { 0 };

	if (!topo && !(topo = topo_load(error)))
		return false;
	machine_read(&machine);
	config.sweep_path = strdup("s.ini");
	text_adds(&config.sweep_text, sweep);
	bool ok = config.sweep_path && !config.sweep_text.failed;
	if (!ok)
		(fail)(error, "out of memory");
	ok = ok && sweep_parse(&config, error) && plan_make(&plan, &config, topo, &machine, error);
	if (ok)
		text_printf(out, "%s %zu %zu %zu", plan.hash, plan.n, plan.n_shapes, plan.runnable);
	for (size_t i = 0; ok && i < plan.n; i++)
		text_printf(out, " %d%s", plan.cell[i].skip, plan.cell[i].reason ? plan.cell[i].reason : "");
	plan_free(&plan);
	config_free(&config);
	return ok;
}

static bool take(void *user, const struct raw_row *row, char *error)
{
	return results_add(user, row, error);
}

static bool read_run(struct results *results, char *error)
{
	return raw_read(dir, take, results, error);
}

static bool summarize_run(struct text *out, char *error)
{
	struct results results = { 0 };
	bool ok = read_run(&results, error) && summary_text(&results, out, error);

	results_free(&results);
	return ok;
}

static bool show_run(struct text *out, char *error, enum format format)
{
	const struct config config = { .format = format, .color = COLOR_NEVER };
	const struct band band = { .share = (double)NAN };
	struct results results = { 0 };
	bool ok = read_run(&results, error) && show_results(&results, &config, &band, out, error);

	results_free(&results);
	return ok;
}

static bool show_text(struct text *out, char *error)
{
	return show_run(out, error, FORMAT_TEXT);
}

static bool show_json(struct text *out, char *error)
{
	return show_run(out, error, FORMAT_JSON);
}

static bool rewrite_raw(struct text *out, char *error)
{
	struct results results = { 0 };
	struct raw raw;
	struct raw_row row;
	char copy[96];
	bool ok;

	snprintf(copy, sizeof copy, "%s/copy", dir);
	ok = raw_open(&raw, copy, true, take, &results, error) == RAW_OK;
	row_clear(&raw_table, &row);
	row.key.cell_id = row.key.variant = "x";
	row.pass = "memory";
	row.status = "ok";
	ok = ok && raw_append(&raw, &row, 1, error) && results_add(&results, &row, error);
	text_printf(out, "%zu %zu", raw.size, results.n);
	raw_close(&raw);
	results_free(&results);
	return ok;
}

static bool write_record(struct text *out, char *error)
{
	static struct machine machine;
	static struct build build;
	static struct topo *topo;
	static char *argv[] = { (char *)(uintptr_t)"attnbench", NULL };
	struct run_record record = { .run_id = "r", .plan_hash = "p", .band.share = 0.01 };
	struct results results = { 0 };
	struct config config = { 0 };
	struct plan plan = { 0 };

	if (!topo) {
		machine_read(&machine);
		build_read(&build);
		topo = topo_load(error);
	}
	struct run_facts facts = { .config = &config, .plan = &plan, .topo = topo, .machine = &machine,
		                   .build = &build, .results = &results, .argv = argv };
	bool ok = record_begin(&record) || (fail)(error, "out of memory");
	ok = ok && runjson_write(dir, &record, &facts, error);
	record_free(&record);
	long left = atomic_exchange(&countdown, 0); /* jansson's reader asserts that there is memory */
	ok = ok && runjson_read(dir, &record, error) == RUNJSON_FOUND;
	atomic_store(&countdown, left);
	if (ok)
		text_printf(out, "%s %s %zu %g", record.run_id, record.plan_hash, record.n_sessions, record.band.share);
	record_free(&record);
	return ok;
}

static bool list_all(struct text *out, char *error)
{
	struct config config = { .format = FORMAT_JSON };
	bool ok = list_verb(&config, out, error);

	config.inputs = true;
	ok = ok && list_verb(&config, out, error);
	columns_markdown(out);
	columns_schema(&raw_table, out);
	return ok;
}

static bool exact_attention(struct text *out, char *error)
{
	static float x[3 * 20 * 8];
	static struct team *team;
	const char *why;
	struct reference ref;
	const struct reference_input in = { .heads = 1, .n_q = 20, .n_k = 20, .d = 8, .d_v = 8,
		                            .scale = 0.3f, .q = x, .k = x + 160, .v = x + 320 };

	if (!team)
		team = team_create(2, NULL, &why);
	attn_random_normals(1, 1, 0, 480, x);
	if ((why = reference_get(&ref, &in, 7, "", team)))
		return (fail)(error, "%s", why);
	for (size_t i = 0; i < ref.n_rows * ref.d_v; i++)
		text_printf(out, "%.9g ", ref.out[i]);
	reference_free(&ref);
	return true;
}

/* ---- tests ------------------------------------------------------------------- */

static void put(const char *name, const char *text, size_t len)
{
	char path[128];

	snprintf(path, sizeof path, "%s/%s", dir, name);
	FILE *f = fopen(path, "w");
	assert_non_null(f);
	assert_int_equal(fwrite(text, 1, len, f), len);
	fclose(f);
}

/* A run of three cells, one of which failed. */
static int setup(void **state)
{
	struct text text = { 0 };
	struct raw_row row;
	char command[96];

	(void)state;
	json_set_alloc_funcs(__wrap_malloc, free);
	strcpy(dir, "/tmp/attnbench-alloc-XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	snprintf(command, sizeof command, "mkdir '%s/copy'", dir);
	if (system(command))
		return -1;
	csv_write_header(&raw_table, &text);
	static const char *const variants[] = { "full", "flash", "topk" };
	for (size_t v = 0; v < 3; v++)
		for (int round = -1; round < 7; round++) {
			row_clear(&raw_table, &row);
			row.key = (struct row_key){
				.schema_version = SCHEMA_VERSION, .run_id = "r", .impl = "i", .mode = "forward",
				.variant = variants[v], .family = "exact", .params = "", .batch = 1, .heads = 1,
				.kv_heads = 1, .n_q = 64, .n_k = 64, .d_head = 8, .d_value = 8, .causal = 0,
				.scale = 0.5, .dtype = "f32", .threads = 1, .cache = "warm", .isa = "scalar",
				.input_kind = "gauss:sigma=1", .seed = 1, .cell_id = variants[v],
			};
			row.pass = round < 0 ? "memory" : "time";
			row.status = v == 2 ? "crash" : "ok";
			row.stop_reason = v == 2 ? "failed" : "";
			row.message = v == 2 ? "killed by signal 11" : "";
			if (round >= 0 && v != 2) {
				row.round = round;
				row.sample = 0;
				row.samples_in_round = 1;
				row.calls = 1;
				row.wall_ns = 1000 + 10 * round + (int)v;
			}
			if (v < 2 || round < 0)
				csv_write_row(&raw_table, &row, &text);
		}
	put("raw.csv", text.s, text.len);
	text_free(&text);
	return 0;
}

static int teardown(void **state)
{
	char command[96];

	(void)state;
	snprintf(command, sizeof command, "rm -rf '%s'", dir);
	return system(command);
}

#define TORTURE(op) \
	static void test_##op(void **state) \
	{ \
		(void)state; \
		torture(op); \
	}

TORTURE(parse_lists)
TORTURE(parse_options)
TORTURE(make_plan)
TORTURE(summarize_run)
TORTURE(show_text)
TORTURE(show_json)
TORTURE(rewrite_raw)
TORTURE(write_record)
TORTURE(list_all)
TORTURE(exact_attention)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse_lists),   cmocka_unit_test(test_parse_options),
		cmocka_unit_test(test_make_plan),     cmocka_unit_test(test_summarize_run),
		cmocka_unit_test(test_show_text),     cmocka_unit_test(test_show_json),
		cmocka_unit_test(test_rewrite_raw),   cmocka_unit_test(test_write_record),
		cmocka_unit_test(test_list_all),      cmocka_unit_test(test_exact_attention),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
