/* SPDX-License-Identifier: BSD-3-Clause
 *
 * One worker: a job out, rows in, and whether the cell has enough. */
#include "measure.h"
#include "clock.h"
#include "engine.h"
#include "rows.h"
#include "summary.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Timeouts that make larger cells of a variant not worth trying. */
enum { TIMEOUTS_MAX = 2 };
static const double TIMEOUT_MIN_S = 30, TIMEOUT_FACTOR = 20;
/* The harness's own part of a worker: a start on a busy machine, and inputs at
 * so many seconds a number, where 1e-8 are usual. */
static const double OWN_S = 60, NUMBER_S = 4e-7;
/* More for an engine: loading its libraries, compiling what it will run. */
static const double ENGINE_START_S = 120;
/* Program and libraries in a worker, beyond what a plan counts. */
static const size_t PROGRAM_BYTES = (size_t)64 << 20;
/* Exact attention of the accuracy pass: plain double arithmetic on one thread
 * is at least so fast, FLOP per second; it looks at 16384 rows at most. */
static const double REFERENCE_FLOPS = 2e8, REFERENCE_ROWS = 16384;
/* The definition in double and the implied weights, which need no more up to LONG
 * keys, and beyond in proportion. */
static const double DEFINITION_S = 90, LONG = 65536;

volatile sig_atomic_t run_interrupts;

/* What is known of a planned cell; NULL: nothing yet. Results keep their place,
 * so it is searched for once. */
struct result *result_of(const struct run *run, size_t i)
{
	char params[CELL_PARAMS_MAX];
	struct row_key key;

	if (!run->found[i]) {
		key_from_cell(&run->plan.cell[i].cell, run->run_id, params, &key);
		const struct result *r = results_find(&run->results, &key);
		if (!r)
			return NULL;
		run->found[i] = (size_t)(r - run->results.v) + 1;
	}
	return &run->results.v[run->found[i] - 1];
}

static double work_of(const struct cell *c)
{
	return (double)c->n_q * (double)c->n_k * (double)(c->batch * c->heads);
}

static struct slow *slow_of(struct run *run, const struct cell *cell)
{
	for (size_t i = 0; i < run->n_slow; i++) {
		const struct slow *s = &run->slow[i];
		bool same = s->variant == cell->variant;
		for (size_t k = 0; same && k < cell_n_params(cell->variant); k++)
			same = s->arg[k] == cell->arg[k] || (isnan(s->arg[k]) && isnan(cell->arg[k]));
		if (same)
			return &run->slow[i];
	}
	return NULL;
}

/* A timeout more for this variant. Without memory it is not remembered, and
 * the larger cells take their time. */
void note_timeout(struct run *run, const struct cell *cell)
{
	struct slow *slow = slow_of(run, cell);

	if (!slow && grow(&run->slow, &run->slow_cap, run->n_slow + 1, sizeof *run->slow)) {
		slow = &run->slow[run->n_slow++];
		*slow = (struct slow){ cell->variant, cell->arg, 0, HUGE_VAL };
	}
	if (slow) {
		slow->timeouts++;
		slow->least = fmin(slow->least, work_of(cell));
	}
}

static bool out_of_time(const struct run *run)
{
	double spent = (double)(clock_now_ns() - run->start_ns) * 1e-9;

	return run->config->budget_s > 0 && spent > run->config->budget_s;
}

bool stop_with(enum run_end *end, enum run_end why)
{
	*end = why;
	return false;
}

/* Writes the rows and takes them in. */
static bool keep(struct run *run, const struct raw_row *rows, size_t n, enum run_end *end)
{
	if (raw_append(&run->raw, rows, n, run->error))
		return true;
	return stop_with(end, RUN_STOPPED);
}

/* One row for a cell that has not been started. */
bool keep_skip(struct run *run, const struct planned *p, enum status status,
                      const char *message, enum stop_reason stop, enum run_end *end)
{
	char params[CELL_PARAMS_MAX];
	struct raw_row row;

	rows_skipped(&p->cell, run->run_id, status, message, stop, params, &row);
	if (p->cost.peak_bytes) {
		row.io_bytes = (int64_t)p->cost.io_bytes;
		row.ws_model_bytes = (int64_t)p->cost.ws_bytes;
	}
	return (results_add(&run->results, &row, run->error) || stop_with(end, RUN_STOPPED)) &&
	       keep(run, &row, 1, end);
}

/* CPUs may have been taken from us since the run began: then the threads run
 * where they may, and the rows say so. */
static void choose_cpus(struct run *run, struct job *job)
{
	char why[ERROR_MAX];

	if (!job->pinned || topo_choose(run->topo, job->cell.threads, run->config->cpus, job->cpus, why))
		return;
	job->pinned = false;
	if (!run->unpinned) {
		run_event(run, "warning", "threads are not pinned any more: %s", why);
		if (!run->progress.quiet)
			progress_note(&run->progress, "threads are not pinned any more: %s", why);
	}
	run->unpinned = true;
}

/* The same whatever --timeout says, which is about calls. */
static double own_seconds(const struct cell *c, enum pass pass)
{
	double heads = (double)(c->batch * c->heads), n_q = (double)cell_shape(c, 0).n_q, n_k = (double)c->n_k;
	double wide = (double)(c->d + c->d_v);
	double seconds = OWN_S + heads * (n_q + n_k) * wide * NUMBER_S;

	if (pass == PASS_ACCURACY)
		seconds += DEFINITION_S * fmax(1, n_k / LONG) + heads * fmin((double)c->n_q, REFERENCE_ROWS) * n_k * 2 * wide / REFERENCE_FLOPS;
	return seconds;
}

static void make_job(struct run *run, const struct planned *p, enum pass pass, unsigned round,
                     unsigned position, struct job *job)
{
	const struct config *config = run->config;
	double limit = fmax(TIMEOUT_MIN_S, TIMEOUT_FACTOR * p->worker_s);

	*job = (struct job){
		.cell = p->cell, .pass = pass, .round = round, .position = position,
		.samples = run->plan.policy.samples,
		.repeats = config->profile == PROFILE_QUICK ? 1 : 3,
		.pinned = !config->no_pin,
		.huge_pages = !config->small_pages,
		.memory_limit = run->plan.memory_limit > 0
		                        ? (size_t)run->plan.memory_limit + PROGRAM_BYTES
		                        : 0,
		.scrub_bytes = JOB_SCRUB_FACTOR * run->topology.llc_bytes,
	};
	job->keep_weights = pass == PASS_ACCURACY && p->cell.n_q <= config->keep_weights &&
	                    p->cell.n_k <= config->keep_weights;
	job->own_s = own_seconds(&p->cell, pass);
	if (engine_info(p->cell.variant))
		limit += ENGINE_START_S;
	job->timeout_s = config->timeout_s > 0 ? config->timeout_s : limit;
	snprintf(job->cache_dir, sizeof job->cache_dir, "%s", run->scratch);
	choose_cpus(run, job);
}

enum stop_reason at_look(const struct policy *policy, const struct result *r)
{
	struct estimate e;

	for (size_t i = 0; policy->target > 0 && i < policy->n_looks; i++)
		if (r->n_rounds == policy->look[i] && estimate_time(r, &e) &&
		    estimate_width(&e) <= policy->target)
			return STOP_CI_TARGET;
	return r->n_rounds >= policy->look[policy->n_looks - 1] ? STOP_MAX_ROUNDS : STOP_NONE;
}

/* At a look, and at the budget of the cell. */
static enum stop_reason decide(const struct run *run, const struct result *r)
{
	if (r->stop == STOP_CI_TARGET)
		return r->stop; /* measured on only because others are compared with it */
	enum stop_reason stop = at_look(&run->plan.policy, r);
	if (stop != STOP_NONE)
		return stop;
	if (run->config->cell_budget_s > 0 && r->spent_s > run->config->cell_budget_s)
		return STOP_CELL_BUDGET;
	return STOP_NONE;
}

/* The caches, and the ceilings of as many threads on that instruction set. */
static struct row_machine machine_of(const struct run *run, const struct cell *cell)
{
	struct row_machine m = { .llc_bytes = (int64_t)run->topology.llc_bytes, .roof_gflops = NAN, .roof_gbs = NAN };

	for (size_t i = 0; i < run->n_ceilings; i++) {
		const struct ceilings *c = &run->ceilings[i];
		if (c->threads == cell->threads && !strcmp(c->isa, cell->isa)) {
			m.roof_gflops = cell->type == ATTN_BF16 && !isnan(c->bf16_gflops) ? c->bf16_gflops : c->fma_gflops;
			m.roof_gbs = c->read_gbs[LEVEL_DRAM];
		}
	}
	return m;
}

/* The last decision goes with the rows it rests on. */
static bool keep_outcome(struct run *run, size_t i, const struct job *job, const struct outcome *out,
                         enum run_end *end)
{
	struct raw_row rows[OUTCOME_SAMPLES];
	char params[CELL_PARAMS_MAX];
	const struct result *before = result_of(run, i);
	enum stop_reason stop = before ? before->stop : STOP_NONE;
	struct row_machine machine = machine_of(run, &job->cell);
	size_t n = rows_from_outcome(job, out, run->run_id, &machine, params, rows);

	if (stop == STOP_RUN_BUDGET)
		stop = STOP_NONE;
	for (size_t k = 0; k < n; k++) {
		rows[k].stop_reason = stop_names[stop];
		if (!results_add(&run->results, &rows[k], run->error))
			return stop_with(end, RUN_STOPPED);
	}
	struct result *r = result_of(run, i);
	bool failed = out->status != STATUS_OK && out->status != STATUS_INACCURATE;
	if (job->pass == PASS_TIME || job->pass == PASS_MEMORY) {
		if (failed)
			r->stop = out->status == STATUS_UNSUPPORTED ? STOP_SKIPPED : STOP_FAILED;
		else if (job->pass == PASS_TIME)
			r->stop = decide(run, r);
	} else if (failed && !result_accuracy_missing(r)) {
		r->stop = STOP_FAILED;
	} else if (run->config->accuracy_only) {
		r->stop = STOP_MAX_ROUNDS;
	}
	for (size_t k = 0; k < n; k++)
		rows[k].stop_reason = stop_names[r->stop];
	return keep(run, rows, n, end);
}

static void report(struct run *run, const struct job *job, const struct outcome *out)
{
	char what[256], time[HUMAN_MAX], round[48];
	double seconds = (double)out->life_ns * 1e-9;

	for (unsigned i = 0; i < out->n_samples; i++)
		run->progress.disturbed += out->samples[i].disturbed != 0;
	run->progress.samples += out->n_samples;
	run->progress.done_s += seconds;
	if (job->pass == PASS_TIME)
		snprintf(round, sizeof round, "round %u/%u", job->round + 1,
		         run->plan.policy.look[run->plan.policy.n_looks - 1]);
	else
		snprintf(round, sizeof round, "%s", pass_names[job->pass]);
	snprintf(what, sizeof what, "%s %s n=%zu %s %s", round, job->cell.variant->name, job->cell.n_k,
	         status_names[out->status], human_ns(seconds * 1e9, time));
	progress_step(&run->progress, what);
	if (out->status == STATUS_OK || out->status == STATUS_UNSUPPORTED)
		return;
	run_event(run, status_names[out->status], "%s pass of cell %s (%s, n=%zu): %s",
	          pass_names[job->pass], job->cell.id, job->cell.variant->name, job->cell.n_k, out->message);
	if (out->output[0])
		run_event(run, "output", "%s", out->output);
	if (!run->progress.quiet)
		progress_note(&run->progress, "%s n=%zu: %s: %s", job->cell.variant->name, job->cell.n_k,
		              status_names[out->status], out->message);
}

/* A worker during which the machine slept is not a result: caches, clock rate
 * and neighbours are others. It is run again, a few times. */
static void spawn_unsuspended(struct run *run, const struct job *job, struct outcome *out)
{
	enum { TIMES = 3 };
	static const int64_t SLEPT_NS = 100000000;

	for (int i = 0; i < TIMES; i++) {
		int64_t before = clock_suspended_ns();
		spawn_job(job, out);
		int64_t slept = clock_suspended_ns() - before;
		if (slept < SLEPT_NS || out->interrupted)
			return;
		run_event(run, "suspended", "the machine slept for %.1f s during the %s pass of cell %s: %s",
		          (double)slept * 1e-9, pass_names[job->pass], job->cell.id,
		          i + 1 < TIMES ? "it is measured again" : "its last result is kept");
	}
}

/* One worker. False: the run ends, *end says how. */
bool work(struct run *run, size_t i, enum pass pass, unsigned round, unsigned position,
                 enum run_end *end)
{
	static struct outcome out;
	struct planned *p = &run->plan.cell[i];
	struct job job;

	if (run_interrupts)
		return stop_with(end, RUN_INTERRUPTED);
	if (out_of_time(run))
		return stop_with(end, RUN_OUT_OF_TIME);
	make_job(run, p, pass, round, position, &job);
	const struct result *r = result_of(run, i);
	if (pass == PASS_TIME && r && r->calls > 0)
		job.calls = (uint64_t)r->calls;
	spawn_unsuspended(run, &job, &out);
	if (out.interrupted)
		return stop_with(end, RUN_INTERRUPTED);
	run->worker_s[i] = (double)out.life_ns * 1e-9;
	if (out.status == STATUS_TIMEOUT && pass != PASS_ACCURACY)
		note_timeout(run, &p->cell);
	report(run, &job, &out);
	/* First: rows say that a cell is done. */
	if (!implied_keep(run, &job, &out))
		return stop_with(end, RUN_STOPPED);
	return keep_outcome(run, i, &job, &out, end);
}

/* True if there is nothing more to measure by the cell's own account. */
bool is_closed(const struct run *run, size_t i)
{
	const struct result *r = result_of(run, i);

	return run->plan.cell[i].skip != STATUS_OK || (r && r->stop != STOP_NONE && r->stop != STOP_RUN_BUDGET);
}

bool skip_as_slow(struct run *run, size_t i, enum run_end *end)
{
	const struct planned *p = &run->plan.cell[i];
	const struct slow *slow = slow_of(run, &p->cell);
	char message[160];

	if (!slow || slow->timeouts < TIMEOUTS_MAX || work_of(&p->cell) <= slow->least)
		return true;
	snprintf(message, sizeof message, "%u workers of %s timed out on cells that are smaller",
	         slow->timeouts, p->cell.variant->name);
	return keep_skip(run, p, STATUS_SKIPPED_TIMEOUT, message, STOP_SKIPPED, end);
}
