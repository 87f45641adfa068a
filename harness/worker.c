/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The child side of a job: read it, bind, take memory, make the inputs, run
 * one pass, look at what the variant did, report. */
#include "worker.h"

#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine.h"
#include "frame.h"
#include "inputs.h"
#include "metrics.h"
#include "remote.h"
#include "support.h"
#include "wire.h"

/* The descriptor for the outcome is moved this high: a variant that writes to
 * or closes small numbers does not reach it by accident. */
enum { HIGH_FD = 500 };

/* Of an output row that are looked at. */
enum { CHANNELS = 4096 };

bool worker_end(struct worker *w, enum status status, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	w->out->status = status;
	vsnprintf(w->out->message, sizeof w->out->message, format, args);
	va_end(args);
	return false;
}

static void tell(struct worker *w, const char *name, bool own)
{
	struct wire_stage stage = { .own = own };

	snprintf(stage.name, sizeof stage.name, "%s", name);
	frame_write(w->out_fd, WIRE_STAGE, &stage, sizeof stage);
}

void worker_stage(struct worker *w, const char *stage)
{
	tell(w, stage, false);
}

void worker_own_stage(struct worker *w, const char *stage)
{
	tell(w, stage, true);
}

/* One row of the output; behind the last token of its sequence it is 0. */
static bool check_row(struct worker *w, size_t g, size_t i)
{
	const struct layer *l = &w->layer;
	const struct cell *c = &l->cell;
	size_t part = c->d_v < CHANNELS ? c->d_v : CHANNELS, e;
	bool padding = i >= layer_sequence(l, g)->n_q;
	float row[CHANNELS];

	attn_widen(l->kern, c->type, row, layer_out(l, g, i), part);
	if (padding)
		for (e = 0; e < part && row[e] == 0; e++)
			;
	else
		e = first_nonfinite(row, part);
	return e == part || worker_end(w, STATUS_BAD_OUTPUT, "the output is %g at batch %zu, head %zu, query %zu, "
	                               "channel %zu%s", (double)row[e], g / c->heads, g % c->heads, i, e,
	                               padding ? ", which is padding" : "");
}

bool worker_check(struct worker *w)
{
	const struct layer *l = &w->layer;
	const struct cell *c = &l->cell;

	if (!arena_check(&w->arena))
		return worker_end(w, STATUS_BAD_OUTPUT, "%s %s", c->variant->name,
		                  w->arena.message);
	if (layer_hash_inputs(l) != w->input_hash)
		return worker_end(w, STATUS_BAD_OUTPUT, "%s changed its inputs", c->variant->name);
	for (size_t g = 0; g < l->plan.total; g++) {
		size_t n = c->lengths == LENGTHS_PACKED ? layer_sequence(l, g)->n_q : c->n_q;
		for (size_t i = 0; i < n; i++)
			if (!check_row(w, g, i))
				return false;
	}
	return true;
}

/* The first product sets up what BLAS keeps for each thread that calls it. */
struct warming {
	double worst[TEAM_MAX];
	bool refused[TEAM_MAX];
};

static void warm(void *arg, struct attn_team *me)
{
	struct warming *warming = arg;
	float *work = malloc(ATTN_BLAS_SELFTEST_FLOATS * sizeof *work);

	warming->refused[me->rank] = !work;
	if (work)
		warming->worst[me->rank] = attn_blas_selftest(work);
	free(work);
}

static bool warm_blas(struct worker *w)
{
	struct warming warming = { .worst = { 0 } };

	team_run(w->team, TEAM_FAST, warm, &warming);
	for (size_t r = 0; r < team_size(w->team); r++) {
		if (warming.refused[r])
			return worker_end(w, STATUS_OOM, "no memory to try BLAS with");
		if (!(warming.worst[r] <= 1))
			return worker_end(w, STATUS_FAILED,
			                  "OpenBLAS computes wrong products on this CPU (core %s, "
			                  "%g times the rounding bound): set OPENBLAS_CORETYPE or "
			                  "install another build", attn_blas_core(), warming.worst[r]);
	}
	return true;
}

bool worker_count(struct worker *w)
{
	size_t threads = w->layer.cell.threads;
	struct attn_stats *stats = calloc(threads, sizeof *stats);

	for (size_t r = 0; stats && r < threads; r++)
		w->layer.stats[r] = &stats[r];
	return stats || worker_end(w, STATUS_OOM, "no memory for the counters");
}

void worker_counted(struct worker *w)
{
	struct layer *l = &w->layer;
	struct attn_stats total = { 0 };

	for (size_t r = 0; r < l->cell.threads; r++) {
		total.pairs += l->stats[r]->pairs;
		total.flops_executed += l->stats[r]->flops_executed;
		total.clamped_rows += l->stats[r]->clamped_rows;
	}
	free(l->stats[0]);
	for (size_t r = 0; r < l->cell.threads; r++)
		l->stats[r] = NULL;
	if (total.pairs > 0)
		w->out->pairs_executed = total.pairs;
	if (total.flops_executed > 0)
		w->out->flops_executed = total.flops_executed;
	w->out->clamped_rows = total.clamped_rows;
}

/* Everything up to the first call. */
static bool set_up(struct worker *w, struct remote *remote)
{
	const struct cell *cell = &w->job->cell;
	struct layer_plan plan;
	char error[INPUTS_ERROR_MAX];
	const char *why = cell_refusal(cell);

	if (!why)
		why = layer_plan(cell, &plan);
	if (why)
		return worker_end(w, STATUS_UNSUPPORTED, "%s", why);
	w->out->flops_useful = plan.flops_useful;
	w->out->flops_executed = plan.flops_executed;
	w->out->pairs_executed = plan.pairs;
	w->out->bytes_model = plan.bytes;
	w->out->io_bytes = (int64_t)plan.call_io;
	w->out->state_bytes = cell_state_bytes(cell);
	w->out->tokens = (int64_t)plan.tokens_q;
	w->out->ws_model_bytes = (int64_t)plan.work;

	worker_own_stage(w, "start");
	attn_blas_threads(1);
	w->team = team_create(cell->threads, w->job->pinned ? w->job->cpus : NULL, &why);
	if (!w->team)
		return worker_end(w, STATUS_FAILED, "%u threads cannot be started: %s",
		                  cell->threads, why);
	w->out->unpinned = team_unpinned(w->team) > 0;
	const struct engine_info *engine = engine_info(cell->variant);
	bool created = engine ? arena_create_shared(&w->arena, layer_room(&plan, cell))
	                      : arena_create(&w->arena, layer_room(&plan, cell));
	if (!created)
		return worker_end(w, STATUS_OOM, "%s", w->arena.message);
	if (w->job->huge_pages && w->job->pass == PASS_TIME && !engine)
		arena_huge_pages(&w->arena);
	w->arena.fail_at = w->job->fail_alloc;
	const struct kern *kern = cell->isa[0] ? attn_kern(cell->isa) : attn_kern_best();
	if (!layer_create(&w->layer, cell, &plan, kern, w->team, &w->arena))
		return worker_end(w, STATUS_OOM, "%s", w->arena.message);
	w->out->ws_tracked_bytes = (int64_t)(w->arena.peak - plan.io);
	if (engine) /* what it works in is its own */
		w->out->ws_model_bytes = w->out->ws_tracked_bytes = -1;
	worker_own_stage(w, "inputs");
	if (!inputs_fill(&w->layer, w->job->cache_dir, error))
		return worker_end(w, STATUS_UNSUPPORTED, "%s", error);
	w->input_hash = layer_hash_inputs(&w->layer);
	if (engine)
		return remote_open(w, remote);
	worker_stage(w, "a product by BLAS");
	return warm_blas(w);
}

static void run(struct worker *w)
{
	static bool (*const passes[])(struct worker *) = { pass_time, pass_memory, pass_accuracy };
	static struct remote remote;

	if (w->job->pass == PASS_MEMORY)
		memory_prepare();
	if (set_up(w, &remote) && passes[w->job->pass](w))
		w->out->status = STATUS_OK;
	remote_close(w);
	team_destroy(w->team);
	arena_destroy(&w->arena);
}

int worker_main(int in_fd, int out_fd)
{
	static struct wire_job wire;
	static struct job job;
	static struct outcome out;
	struct worker w = { .job = &job, .out = &out };

	signal(SIGPIPE, SIG_IGN);
	outcome_clear(&out);
	w.out_fd = fcntl(out_fd, F_DUPFD_CLOEXEC, HIGH_FD);
	if (w.out_fd >= 0)
		close(out_fd);
	else
		w.out_fd = out_fd;
	const char *why = frame_read(in_fd, WIRE_JOB, &wire, sizeof wire);
	close(in_fd);
	if (!why)
		why = wire_unpack(&wire, &job);
	if (why)
		worker_end(&w, STATUS_FAILED, "the worker did not get its job: %s", why);
	else
		run(&w);
	bool sent = frame_write(w.out_fd, WIRE_OUTCOME, &out, sizeof out);
	close(w.out_fd);
	return sent ? 0 : 1;
}
