/* SPDX-License-Identifier: BSD-3-Clause
 *
 * `attnbench run`: the directory, what it held before, signals, and the end. */
#include "run.h"
#include "ask.h"
#include "clock.h"
#include "file.h"
#include "plugin.h"
#include "rows.h"
#include "runjson.h"
#include "sensors.h"
#include "show.h"
#include "summary.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static volatile sig_atomic_t kill_now;

/* Once: finish the current worker. Twice: do not wait for it. */
static void on_interrupt(int signal)
{
	(void)signal;
	run_interrupts = run_interrupts + 1;
	kill_now = run_interrupts > 1;
}

static void catch_signals(void)
{
	struct sigaction action = { .sa_handler = on_interrupt };
	struct sigaction ignore = { .sa_handler = SIG_IGN };

	sigemptyset(&action.sa_mask);
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGHUP, &action, NULL);
	sigaction(SIGPIPE, &ignore, NULL);
	spawn_interrupt = &kill_now;
}

void run_event(const struct run *run, const char *kind, const char *format, ...)
{
	struct text line = { 0 };
	char now[UTC_MAX], body[8192];
	va_list args;

	va_start(args, format);
	vsnprintf(body, sizeof body, format, args);
	va_end(args);
	text_printf(&line, "%s %s ", utc_now(false, now), kind);
	for (const char *c = body; *c; c++) {
		text_add(&line, c, 1);
		if (*c == '\n') /* what goes on is indented: an event starts at the left */
			text_adds(&line, "\t");
	}
	text_adds(&line, "\n");
	/* A log that cannot be written must not end a measurement. */
	if (run->events >= 0 && !line.failed && write(run->events, line.s, line.len) < 0)
		errno = 0;
	text_free(&line);
}

/* --out, or results/TIME-NAME. */
static bool choose_directory(struct run *run, char *error)
{
	const struct config *config = run->config;
	char stamp[UTC_MAX], base[128];
	int n;

	if (config->out) {
		n = snprintf(run->dir, sizeof run->dir, "%s", config->out);
	} else {
		const char *slash = config->sweep_path ? strrchr(config->sweep_path, '/') : NULL;
		const char *file = slash ? slash + 1 : config->sweep_path ? config->sweep_path : "run";
		snprintf(base, sizeof base, "%.*s", (int)strcspn(file, "."), file);
		n = snprintf(run->dir, sizeof run->dir, "results/%s-%s", utc_now(true, stamp),
		             config->name ? config->name : base);
	}
	if (n < 0 || n >= (int)sizeof run->dir)
		return fail(error, "the name of the directory is too long");
	return make_directory(run->dir, error);
}

static bool take_row(void *user, const struct raw_row *row, char *error)
{
	return results_add(user, row, error);
}

static bool in_list(const char *list, const char *name)
{
	size_t len = strlen(name);

	for (const char *at = list; at && *at; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL)
		if (!strncmp(at, name, len) && (at[len] == ',' || at[len] == '\0'))
			return true;
	return false;
}

/* --rerun and --retry-failed: rows after which the old ones do not count. */
static bool reset_cells(struct run *run, char *error)
{
	const struct config *config = run->config;
	struct raw_row row;
	const char *message;

	for (size_t i = 0; i < run->results.n; i++) {
		struct result *r = &run->results.v[i];
		enum status status = result_status(r, &message);
		bool failed = status != STATUS_OK && status != STATUS_UNSUPPORTED;
		if (!(config->retry_failed && (failed || result_accuracy_missing(r))) &&
		    !(config->rerun && in_list(config->rerun, r->key.variant)))
			continue;
		rows_reset(&r->key, &row);
		if (!raw_append(&run->raw, &row, 1, error) || !results_add(&run->results, &row, error))
			return false;
	}
	return true;
}

/* Opens raw.csv and takes in what it holds; 0, or an exit code. */
static int open_data(struct run *run, struct run_record *record, const struct build *build,
                     const struct machine *machine, char *error)
{
	enum raw_result opened = raw_open(&run->raw, run->dir, run->config->fresh, take_row,
	                                  &run->results, error);
	if (opened != RAW_OK)
		return CODE_ENVIRONMENT;
	enum runjson_result found = runjson_read(run->dir, record, error);
	if (run->results.n == 0) {
		record_free(record);
		char stamp[UTC_MAX];
		snprintf(record->run_id, sizeof record->run_id, "%s-%04x", utc_now(true, stamp),
		         (unsigned)(fnv64(FNV64_START, &run->start_ns, sizeof run->start_ns) >> 48));
	} else if (found != RUNJSON_FOUND) {
		char why[ERROR_MAX];
		snprintf(why, sizeof why, "%.900s", error);
		fail(error, "%s; without it nobody knows what measured raw.csv: give another --out, or "
		     "--fresh to start anew", why);
		return CODE_ENVIRONMENT;
	} else if (!runjson_agrees(record, &run->plan, build, machine, error)) {
		return CODE_ENVIRONMENT;
	}
	snprintf(record->plan_hash, sizeof record->plan_hash, "%s", run->plan.hash);
	struct band band;
	band_load(&band, machine);
	if (!isnan(band.share)) /* else what an earlier session knew */
		record->band = band;
	run->run_id = record->run_id;
	if (!record_begin(record)) {
		fail(error, "out of memory");
		return CODE_ENVIRONMENT;
	}
	return CODE_OK;
}

static void open_events(struct run *run, const struct run_record *record)
{
	char path[RUN_PATH_MAX + 32];

	snprintf(path, sizeof path, "%s/events.log", run->dir);
	run->events = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666);
	run_event(run, "start", "session %zu of run %s, process %ld", record->n_sessions,
	          record->run_id, (long)getpid());
	if (run->raw.torn)
		run_event(run, "torn", "%zu bytes after the last whole group of rows were cut off raw.csv",
		          run->raw.torn);
}

static void quote_argument(const char *s, struct text *out)
{
	if (*s && s[strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./=,:+@%")] == '\0') {
		text_adds(out, s);
		return;
	}
	text_adds(out, "'");
	for (; *s; s++) {
		if (*s == '\'')
			text_adds(out, "'\\'");
		text_add(out, s, 1);
	}
	text_adds(out, "'");
}

/* The command that goes on where this run ended. */
static void resume_command(const struct run *run, char *const *argv, struct text *out)
{
	for (size_t i = 0; argv[i]; i++) {
		if (!strcmp(argv[i], "--fresh") || !strcmp(argv[i], "--retry-failed"))
			continue;
		text_adds(out, i ? " " : "");
		quote_argument(argv[i], out);
	}
	if (!run->config->out) {
		text_adds(out, " --out ");
		quote_argument(run->dir, out);
	}
}

static size_t count_failed(const struct results *results)
{
	size_t failed = 0;
	const char *message;

	for (size_t i = 0; i < results->n; i++)
		failed += result_status(&results->v[i], &message) >= STATUS_OOM;
	return failed;
}

/* What is said on stderr when all is over. */
static int conclude(const struct run *run, enum run_end end, char *const *argv, char *error)
{
	size_t failed = count_failed(&run->results);
	struct text command = { 0 };
	int code = failed ? CODE_FAILED_CELLS : CODE_OK;

	if (end == RUN_INTERRUPTED || end == RUN_OUT_OF_TIME) {
		resume_command(run, argv, &command);
		fprintf(stderr, "%s; to go on:\n  %s\n",
		        end == RUN_INTERRUPTED ? "interrupted" : "the budget of the run is spent",
		        command.s ? command.s : "");
		text_free(&command);
		if (end == RUN_INTERRUPTED)
			code = CODE_INTERRUPTED;
	} else if (end == RUN_STOPPED) {
		snprintf(error, ERROR_MAX, "%s", run->error);
		code = CODE_ENVIRONMENT;
	}
	if (failed && code == CODE_FAILED_CELLS)
		fprintf(stderr, "%zu of %zu cells failed; %s/summary.csv says why, events.log has what they "
		        "printed\n", failed, run->results.n, run->dir);
	return code;
}

static bool allocate(struct run *run, char *error)
{
	run->worker_s = calloc(run->plan.n + 1, sizeof *run->worker_s);
	run->found = calloc(run->plan.n + 1, sizeof *run->found);
	return (run->worker_s && run->found) || fail(error, "out of memory");
}

static void free_run(struct run *run)
{
	raw_close(&run->raw);
	if (run->events >= 0)
		close(run->events);
	scratch_remove(run->scratch);
	results_free(&run->results);
	plan_free(&run->plan);
	topo_free(run->topo);
	free(run->worker_s);
	free(run->found);
	free(run->slow);
}

/* Seconds that workers lived, and that their calls took, in all sessions. */
static void add_up(const struct results *results, double *workers_s, double *calls_s)
{
	*workers_s = *calls_s = 0;
	for (size_t i = 0; i < results->n; i++) {
		*workers_s += results->v[i].spent_s;
		*calls_s += results->v[i].calls_s;
	}
}

static enum run_end carry_out(struct run *run, struct run_record *record, struct run_facts *facts,
                              char *error)
{
	static const char *const words[] = { "complete", "interrupted", "incomplete", "failed" };
	enum run_end end;
	double workers_s, calls_s;

	add_up(&run->results, &workers_s, &calls_s);
	run_ceilings(run);
	facts->ceilings = run->ceilings;
	facts->n_ceilings = run->n_ceilings;
	facts->calibration_start_ns = (double)sensors_calibrate();
	scratch_make(run->scratch);
	if (!runjson_write(run->dir, record, facts, run->error) ||
	    !topo_export(run->topo, run->dir, run->error) || !reset_cells(run, run->error) ||
	    !implied_open(run)) {
		end = RUN_STOPPED;
	} else {
		progress_start(&run->progress, run->config->quiet);
		end = run_measure(run);
		progress_stop(&run->progress);
	}
	record_end(record, words[end]);
	facts->calibration_end_ns = (double)sensors_calibrate();
	run_event(run, "end", "%s%s%s", words[end], end == RUN_STOPPED ? ": " : "",
	          end == RUN_STOPPED ? run->error : "");
	add_up(&run->results, &facts->workers_s, &facts->calls_s);
	facts->workers_s -= workers_s;
	facts->calls_s -= calls_s;
	facts->wall_s = (double)(clock_now_ns() - run->start_ns) * 1e-9;
	/* Even after a failure the derived files are worth a try. */
	if (!raw_sync(&run->raw, error) || !summary_write(&run->results, run->dir, error) ||
	    !runjson_write(run->dir, record, facts, error)) {
		if (end != RUN_STOPPED)
			snprintf(run->error, sizeof run->error, "%s", error);
		end = RUN_STOPPED;
	}
	return end;
}

/* On a CPU that it does not know, OpenBLAS has been seen to compute nonsense. */
static bool blas_works(double *off, char *error)
{
	return ask_blas(off, error) && (*off <= 1 || fail(error, "OpenBLAS computes wrong products on this CPU (core %s, %g times the "
	                               "rounding bound): set OPENBLAS_CORETYPE or install another build",
	                        attn_blas_core(), *off));
}

int run_verb(const struct config *config, char *const *argv, struct text *out, char *error)
{
	struct run run = { .config = config, .raw = { .fd = -1 }, .events = -1, .start_ns = clock_now_ns() };
	struct run_record record = { .band.share = (double)NAN };
	struct machine machine;
	struct build build;
	int code = CODE_ENVIRONMENT;
	double blas_off;

	machine_read(&machine);
	build_read(&build);
	if (!blas_works(&blas_off, error) || !(run.topo = topo_load(error)))
		goto out;
	topo_info(run.topo, &run.topology);
	code = CODE_USAGE;
	if (!plan_make(&run.plan, config, run.topo, &machine, error))
		goto out;
	code = CODE_ENVIRONMENT;
	if (!allocate(&run, error) || !choose_directory(&run, error) ||
	    (code = open_data(&run, &record, &build, &machine, error)) != CODE_OK)
		goto out;
	open_events(&run, &record);
	catch_signals();
	struct run_facts facts = {
		.config = config, .plan = &run.plan, .topo = run.topo, .machine = &machine, .build = &build,
		.results = &run.results, .argv = argv, .calibration_start_ns = NAN, .calibration_end_ns = NAN,
		.wall_s = NAN, .workers_s = NAN, .calls_s = NAN, .blas_off = blas_off,
	};
	if (!config->quiet)
		fprintf(stderr, "%zu cells, %zu to run, into %s\n", run.plan.n, run.plan.runnable, run.dir);
	enum run_end end = carry_out(&run, &record, &facts, error);
	if (end != RUN_STOPPED && !show_results(&run.results, config, &record.band, out, error))
		end = RUN_STOPPED;
	code = conclude(&run, end, argv, error);
out:
	record_free(&record);
	free_run(&run);
	return code;
}
