/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Carrying out a plan: the first passes, then rounds. */
#include "measure.h"
#include "order.h"
#include "summary.h"

#include <stdio.h>
#include <stdlib.h>

static const double SCRATCH_SHARE = 0.1; /* of the memory there is */

/* "1,2" of the thread counts, "avx2,avx512" of the instruction sets to run. */
static void lists_of(const struct plan *plan, struct text *threads, struct text *isas)
{
	for (size_t i = 0; i < plan->n; i++) {
		const struct cell *c = &plan->cell[i].cell;
		bool new_threads = plan->cell[i].skip == STATUS_OK, new_isa = new_threads;
		for (size_t b = 0; b < i; b++) {
			const struct cell *before = &plan->cell[b].cell;
			bool counts = plan->cell[b].skip == STATUS_OK;
			new_threads = new_threads && !(counts && before->threads == c->threads);
			new_isa = new_isa && !(counts && !strcmp(before->isa, c->isa));
		}
		if (new_threads)
			text_printf(threads, "%s%u", threads->len ? "," : "", c->threads);
		if (new_isa)
			text_printf(isas, "%s%s", isas->len ? "," : "", c->isa);
	}
}

static bool anything_open(const struct run *run)
{
	for (size_t i = 0; i < run->plan.n; i++)
		if (!is_closed(run, i))
			return true;
	return false;
}

/* A run without ceilings is a run all the same. */
void run_ceilings(struct run *run)
{
	struct text threads = { 0 }, isas = { 0 };
	char error[ERROR_MAX];

	if (!anything_open(run))
		return;
	lists_of(&run->plan, &threads, &isas);
	if (threads.len && isas.len) {
		run->n_ceilings = ceilings_ask(threads.s, isas.s, run->config, run->ceilings, error);
		if (!run->n_ceilings)
			run_event(run, "warning", "%s", error);
	}
	text_free(&threads);
	text_free(&isas);
}

static void recount(struct run *run)
{
	unsigned last = run->plan.policy.look[run->plan.policy.n_looks - 1];

	run->progress.total = run->progress.done;
	run->progress.left_s = 0;
	for (size_t i = 0; i < run->plan.n; i++) {
		if (is_closed(run, i))
			continue;
		const struct planned *p = &run->plan.cell[i];
		const struct result *r = result_of(run, i);
		size_t rounds = r && r->n_rounds < last ? last - r->n_rounds : r ? 0 : last;
		size_t passes = (size_t)(!run->config->accuracy_only && (!r || !r->done[PASS_MEMORY])) +
		                (size_t)(!run->config->no_accuracy && (!r || !r->done[PASS_ACCURACY]));
		double each = run->worker_s[i] > 0 ? run->worker_s[i] : p->worker_s;
		run->progress.total += rounds + passes;
		run->progress.left_s += each * (double)(rounds + passes);
	}
}

/* The row of a cell that will not be run. */
static bool skip_as_planned(struct run *run, size_t i, enum run_end *end)
{
	const struct planned *p = &run->plan.cell[i];

	return p->skip == STATUS_OK || result_of(run, i) ||
	       keep_skip(run, p, p->skip, p->reason ? p->reason : "", STOP_SKIPPED, end);
}

/* Memory, then accuracy, of every cell that lacks them. */
static bool first_passes(struct run *run, enum run_end *end)
{
	static const enum pass passes[] = { PASS_MEMORY, PASS_ACCURACY };

	for (size_t i = 0; i < run->plan.n; i++) {
		if (!skip_as_planned(run, i, end))
			return false;
		for (size_t k = run->config->accuracy_only; k < 2 - (size_t)run->config->no_accuracy; k++) {
			if (is_closed(run, i))
				break;
			const struct result *r = result_of(run, i);
			if (r && r->done[passes[k]])
				continue;
			if (!skip_as_slow(run, i, end))
				return false;
			if (!is_closed(run, i) && !work(run, i, passes[k], 0, 0, end))
				return false;
		}
		recount(run);
		if (i + 1 == run->plan.n || run->plan.cell[i].shape != run->plan.cell[i + 1].shape)
			scratch_limit(run->scratch, (int64_t)(SCRATCH_SHARE * (double)run->plan.memory_limit));
	}
	progress_round(&run->progress, "memory and accuracy");
	return raw_sync(&run->raw, run->error) || stop_with(end, RUN_STOPPED);
}

static bool has_round(const struct result *r, unsigned round)
{
	for (size_t k = 0; r && k < r->n_rounds; k++)
		if (r->round[k].round == round)
			return true;
	return false;
}

/* A shape's baseline goes on while others are open: ratios are made of rounds
 * in which both were measured. */
static bool wants_round(const struct run *run, const struct shape *shape, size_t base, size_t k)
{
	if (!is_closed(run, shape->member[k]))
		return true;
	const struct result *r = result_of(run, shape->member[k]);
	if (k != base || !r || r->stop != STOP_CI_TARGET)
		return false;
	for (size_t other = 0; other < shape->n; other++)
		if (!is_closed(run, shape->member[other]))
			return true;
	return false;
}

static bool one_shape(struct run *run, size_t s, unsigned round, unsigned *position, size_t *row,
                      enum run_end *end)
{
	const struct shape *shape = &run->plan.shape[s];
	size_t base = plan_baseline(&run->plan, shape, run->config->baseline);

	order_cells(run->plan.order_seed, s, round, shape->n, row);
	for (size_t k = 0; k < shape->n; k++, ++*position) {
		size_t i = shape->member[row[k]];
		if (!wants_round(run, shape, base, row[k]) ||
		    has_round(result_of(run, i), round))
			continue;
		if (!skip_as_slow(run, i, end))
			return false;
		if (wants_round(run, shape, base, row[k]) &&
		    !work(run, i, PASS_TIME, round, *position, end))
			return false;
	}
	recount(run);
	scratch_limit(run->scratch, (int64_t)(SCRATCH_SHARE * (double)run->plan.memory_limit));
	return true;
}

static bool one_round(struct run *run, unsigned round, size_t *shapes, size_t *row, enum run_end *end)
{
	char what[64];
	unsigned position = 0;

	topo_refresh(run->topo);
	order_shapes(run->plan.order_seed, round, run->plan.n_shapes, shapes);
	for (size_t k = 0; k < run->plan.n_shapes; k++)
		if (!one_shape(run, shapes[k], round, &position, row, end))
			return false;
	snprintf(what, sizeof what, "round %u of %u", round + 1,
	         run->plan.policy.look[run->plan.policy.n_looks - 1]);
	progress_round(&run->progress, what);
	if (!raw_sync(&run->raw, run->error) || !summary_write(&run->results, run->dir, run->error))
		return stop_with(end, RUN_STOPPED);
	return true;
}

/* The budget of the run ended: say so at every cell that is open, so that no
 * cell of the plan is without a row. */
static bool keep_out_of_time(struct run *run, enum run_end *end)
{
	for (size_t i = 0; i < run->plan.n; i++) {
		const struct planned *p = &run->plan.cell[i];
		const struct result *r = result_of(run, i);
		bool timed = r && r->n_rounds;
		if (!skip_as_planned(run, i, end))
			return false;
		if (!is_closed(run, i) &&
		    !keep_skip(run, p, timed ? STATUS_OK : STATUS_FAILED,
		               timed ? "" : "the budget of the run ended before this cell was timed",
		               STOP_RUN_BUDGET, end))
			return false;
	}
	return true;
}

enum run_end run_measure(struct run *run)
{
	const struct plan *plan = &run->plan;
	size_t widest = 1;
	enum run_end end = RUN_COMPLETE;

	for (size_t s = 0; s < plan->n_shapes; s++)
		widest = plan->shape[s].n > widest ? plan->shape[s].n : widest;
	size_t *shapes = malloc((plan->n_shapes + 1) * sizeof *shapes);
	size_t *row = malloc(widest * sizeof *row);
	if (!shapes || !row) {
		fail(run->error, "out of memory");
		end = RUN_STOPPED;
		goto out;
	}
	for (size_t i = 0; i < plan->n; i++) {
		const struct result *r = result_of(run, i);
		if (r && (r->status[PASS_TIME] == STATUS_TIMEOUT || r->status[PASS_MEMORY] == STATUS_TIMEOUT))
			note_timeout(run, &plan->cell[i].cell);
	}
	recount(run);
	bool going = first_passes(run, &end);
	for (unsigned round = 0; going && round < plan->policy.look[plan->policy.n_looks - 1]; round++)
		going = one_round(run, round, shapes, row, &end);
	if (end == RUN_OUT_OF_TIME)
		keep_out_of_time(run, &end);
out:
	free(shapes);
	free(row);
	return end;
}
