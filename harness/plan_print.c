/* SPDX-License-Identifier: BSD-3-Clause
 *
 * `attnbench plan`: the cells, what each is predicted to cost, what will not
 * run and why. */
#include "verbs.h"
#include "grid.h"
#include "plan.h"

#include <stdio.h>
#include <string.h>

static void rows_for_people(const struct plan *plan, struct grid *grid)
{
	static const char *const names[] = { "variant", "params", ">n_q", ">n_k", ">d", "layer", "input",
		                             ">time a call", ">memory", "verdict" };
	char a[HUMAN_MAX], b[HUMAN_MAX], params[CELL_PARAMS_MAX];

	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		grid_column(grid, names[i]);
	for (size_t i = 0; i < plan->n; i++) {
		const struct planned *p = &plan->cell[i];
		const struct cell *c = &p->cell;
		cell_params(c, params);
		grid_cell(grid, "%s", c->variant->name);
		grid_cell(grid, "%s", params);
		grid_cell(grid, "%zu", c->n_q);
		grid_cell(grid, "%zu", c->n_k);
		grid_cell(grid, c->d == c->d_v ? "%zu" : "%zu/%zu", c->d, c->d_v);
		char grouped[24] = "";
		if (c->kv_heads != c->heads)
			snprintf(grouped, sizeof grouped, "/%zu", c->kv_heads);
		const char *form = c->mode == MODE_DECODE ? " decode" : c->causal ? " causal" : "";
		const char *lengths = c->lengths == LENGTHS_FULL ? "" : cell_lengths_names[c->lengths];
		grid_cell(grid, "%zux%zu%s%s%s%s %s %uT %s%s", c->batch, c->heads, grouped, form, *lengths ? " " : "", lengths,
		          cell_type_names[c->type], c->threads, c->isa,
		          c->cache == CACHE_COLD ? " cold" : "");
		grid_cell(grid, "%s seed=%llu", c->input, (unsigned long long)c->seed);
		grid_cell(grid, "%s%s", p->call_s > 0 ? "~" : "",
		          p->call_s > 0 ? human_ns(p->call_s * 1e9, a) : "");
		grid_cell(grid, "%s", p->cost.peak_bytes ? human_bytes((double)p->cost.peak_bytes, b) : "");
		grid_cell(grid, "%s%s%s", p->skip == STATUS_OK ? "run" : status_names[p->skip],
		          p->skip == STATUS_OK ? "" : ": ", p->reason ? p->reason : "");
	}
}

static void rows_for_programs(const struct plan *plan, struct grid *grid)
{
	static const char *const names[] = {
		"cell_id", "variant", "params", ">batch", ">heads", ">kv_heads", ">n_q", ">n_k", ">d_head", ">d_value",
		">causal", "dtype", ">threads", "cache", "isa", "input_kind", ">seed", ">predicted_call_ns",
		">predicted_peak_bytes", ">predicted_flops", "status", "message", "mode", "lengths",
	};
	char params[CELL_PARAMS_MAX];

	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		grid_column(grid, names[i]);
	for (size_t i = 0; i < plan->n; i++) {
		const struct planned *p = &plan->cell[i];
		const struct cell *c = &p->cell;
		cell_params(c, params);
		grid_cell(grid, "%s", c->id);
		grid_cell(grid, "%s", c->variant->name);
		grid_cell(grid, "%s", params);
		const size_t sizes[] = { c->batch, c->heads, c->kv_heads, c->n_q, c->n_k, c->d, c->d_v, c->causal };
		for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++)
			grid_cell(grid, "%zu", sizes[k]);
		grid_cell(grid, "%s", cell_type_names[c->type]);
		grid_cell(grid, "%u", c->threads);
		grid_cell(grid, "%s", cell_cache_names[c->cache]);
		grid_cell(grid, "%s", c->isa);
		grid_cell(grid, "%s", c->input);
		grid_cell(grid, "%llu", (unsigned long long)c->seed);
		bool known = p->cost.peak_bytes > 0; /* refused cells cost nothing */
		grid_number(grid, p->call_s > 0 ? nearbyint(p->call_s * 1e9) : NAN);
		grid_number(grid, known ? (double)p->cost.peak_bytes : NAN);
		grid_number(grid, known ? p->cost.flops_executed : NAN);
		grid_cell(grid, "%s", status_names[p->skip]);
		grid_cell(grid, "%s", p->reason ? p->reason : "");
		grid_cell(grid, "%s", cell_mode_names[c->mode]);
		grid_cell(grid, "%s", cell_lengths_names[c->lengths]);
	}
}

static void totals(const struct plan *plan, struct text *out)
{
	size_t counts[STATUS_FAILED + 1] = { 0 };
	char clock[HUMAN_MAX], least[HUMAN_MAX], limit[HUMAN_MAX];
	const struct policy *policy = &plan->policy;

	for (size_t i = 0; i < plan->n; i++)
		counts[plan->cell[i].skip]++;
	text_printf(out, "\n%zu cells in %zu shapes: %zu to run", plan->n, plan->n_shapes, plan->runnable);
	if (counts[STATUS_UNSUPPORTED])
		text_printf(out, ", %zu unsupported", counts[STATUS_UNSUPPORTED]);
	if (counts[STATUS_SKIPPED_MEM])
		text_printf(out, ", %zu need more than %s of memory", counts[STATUS_SKIPPED_MEM],
		            human_bytes((double)plan->memory_limit, limit));
	unsigned first = policy->look[0], last = policy->look[policy->n_looks - 1];
	double fixed = plan->total_s - plan->rounds_s * last;
	if (last == 0)
		text_printf(out, ".\nErrors alone; about %s", human_clock(plan->total_s, clock));
	else if (first == last)
		text_printf(out, ".\n%u rounds; about %s", last, human_clock(plan->total_s, clock));
	else
		text_printf(out, ".\n%u to %u rounds, to %.3g %% of the median; about %s to %s", first, last,
		            policy->target * 100, human_clock(fixed + plan->rounds_s * first, least),
		            human_clock(plan->total_s, clock));
	text_adds(out, " in all, predicted from the work of each cell.\n");
}

bool plan_verb(const struct config *config, struct text *out, char *error)
{
	struct topo *topo = topo_load(error);
	struct machine machine;
	struct plan plan = { 0 };
	struct grid grid = { 0 };

	if (!topo)
		return false;
	machine_read(&machine);
	bool ok = plan_make(&plan, config, topo, &machine, error);
	if (ok) {
		bool people = config->format == FORMAT_TEXT || config->format == FORMAT_MD;
		(people ? rows_for_people : rows_for_programs)(&plan, &grid);
		grid_print(&grid, (enum format)config->format, out);
		if (people)
			totals(&plan, out);
	}
	grid_free(&grid);
	plan_free(&plan);
	topo_free(topo);
	return ok;
}
