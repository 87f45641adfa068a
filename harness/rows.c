/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Outcomes into rows. A negative count or time means that it was not
 * available; a row says that by an empty field. */
#include "rows.h"

static int64_t known(int64_t x)
{
	return x < 0 ? NA_INT : x;
}

static void put_sample(const struct sample *s, struct raw_row *row)
{
	row->t_start_ns = known(s->t_start_ns);
	row->calls = (int64_t)s->calls;
	row->wall_ns = known(s->wall_ns);
	row->cpu_ns = known(s->cpu_ns);
	row->nivcsw = known(s->nivcsw);
	row->run_delay_ns = known(s->run_delay_ns);
	row->minflt = known(s->minflt);
	row->majflt = known(s->majflt);
	row->cpu_before = known(s->cpu_before);
	row->cpu_after = known(s->cpu_after);
	row->disturbed = s->disturbed != 0;
	row->disturbed_by = disturbance_text(s->disturbed);
	row->cycles = known(s->cycles);
	row->instructions = known(s->instructions);
	row->llc_misses = known(s->llc_misses);
	row->perf_scale = s->perf_scale;
	row->energy_uj = known(s->energy_uj);
	row->energy_scope = s->energy_uj >= 0 ? "package_shared" : "";
}

static void put_work(const struct outcome *out, struct raw_row *row)
{
	row->flops_useful = out->flops_useful;
	row->flops_executed = out->flops_executed;
	row->pairs_executed = out->pairs_executed;
	row->bytes_model = out->bytes_model;
	row->io_bytes = known(out->io_bytes);
	row->tokens = known(out->tokens);
	row->state_bytes = known(out->state_bytes);
	row->ws_model_bytes = known(out->ws_model_bytes);
}

static void put_round(const struct round_evidence *r, struct raw_row *row)
{
	row->steal_ticks = known(r->steal_ticks);
	row->throttled = known(r->throttled);
	row->pressure_us = known(r->pressure_us);
	row->runnable = known(r->runnable);
	row->freq_khz = known(r->freq_khz);
	row->temperature_mdegc = known(r->temperature_mdegc);
	row->core_throttles = known(r->core_throttles);
	row->cal_before_ns = known(r->cal_before_ns);
	row->cal_after_ns = known(r->cal_after_ns);
}

static void put_pass(const struct job *job, const struct outcome *out, struct raw_row *row)
{
	switch (job->pass) {
	case PASS_TIME:
		row->calls_base = out->calls ? (int64_t)out->calls : NA_INT;
		row->first_call_ns = known(out->first_call_ns);
		row->prepare_ns = known(out->prepare_ns);
		row->warm_ns = known(out->warm_ns);
		row->overhead_ns = out->overhead_ns;
		row->selection_share = out->selection_share;
		put_round(&out->round, row);
		row->prefill_ns = known(out->prefill_ns);
		break;
	case PASS_MEMORY:
		row->ws_tracked_bytes = known(out->ws_tracked_bytes);
		row->rss_base_bytes = known(out->rss_base_bytes);
		row->rss_peak_bytes = known(out->rss_peak_bytes);
		row->rss_resolution_bytes = known(out->rss_resolution_bytes);
		row->rss_spread_bytes = known(out->rss_spread_bytes);
		row->rss_is_bound = out->rss_is_bound;
		row->ws_touched_bytes = known(out->ws_touched_bytes);
		row->blas_bytes = known(out->blas_bytes);
		row->group_peak_bytes = known(out->group_peak_bytes);
		break;
	case PASS_ACCURACY:
		row->err_impl_rel_fro = out->err_impl_rel_fro;
		row->err_impl_bound = out->err_impl_bound;
		row->err_exact_rel_fro = out->err_exact_rel_fro;
		row->err_exact_max_abs = out->err_exact_max_abs;
		row->err_exact_cos = out->err_exact_cos;
		row->err_exact_nmse_u = out->err_exact_nmse_u;
		row->err_rows = known(out->err_rows);
		row->entropy_ratio = out->entropy_ratio;
		row->clamped_rows = out->clamped_rows;
		row->err_exact_max_rel_row = out->err_exact_max_rel_row;
		row->err_exact_med_rel_row = out->err_exact_med_rel_row;
		row->err_cos_left_out = known(out->err_cos_left_out);
		row->err_sampling = out->err_sampling;
		row->err_uniform_rel_fro = out->err_uniform_rel_fro;
		row->n_eff = out->n_eff;
		row->weights_rows = known(out->weights_rows);
		row->weights_tv = out->weights_tv;
		row->weights_kl = out->weights_kl;
		row->weights_kl_rev = out->weights_kl_rev;
		row->weights_dropped = out->weights_dropped;
		row->task_accuracy = out->task_accuracy;
		row->task_chance = out->task_chance;
		row->task_answers = known(out->task_answers);
		break;
	}
}

size_t rows_from_outcome(const struct job *job, const struct outcome *out, const char *run_id,
                         const struct row_machine *machine, char params[CELL_PARAMS_MAX],
                         struct raw_row *rows)
{
	bool failed = out->status != STATUS_OK && out->status != STATUS_INACCURATE;
	/* Samples of a worker that failed afterwards prove nothing. */
	size_t n = job->pass == PASS_TIME && !failed ? out->n_samples : 0;

	for (size_t i = 0; i < (n ? n : 1); i++) {
		struct raw_row *row = &rows[i];
		row_clear(&raw_table, row);
		key_from_cell(&job->cell, run_id, params, &row->key);
		row->pass = pass_names[job->pass];
		row->round = job->round;
		row->position = job->position;
		row->status = status_names[out->status];
		row->stop_reason = "";
		row->llc_bytes = machine->llc_bytes > 0 ? machine->llc_bytes : NA_INT;
		row->roof_gflops = machine->roof_gflops;
		row->roof_gbs = machine->roof_gbs;
		row->unpinned = !job->pinned || out->unpinned;
		row->life_ns = known(out->life_ns);
		row->exit_code = known(out->exit_code);
		row->signal = out->signal > 0 ? out->signal : NA_INT;
		row->message = out->message;
		put_work(out, row);
		if (!failed)
			put_pass(job, out, row);
		if (n) {
			row->sample = (int64_t)i;
			row->samples_in_round = (int64_t)n;
			put_sample(&out->samples[i], row);
		}
	}
	return n ? n : 1;
}

void rows_skipped(const struct cell *cell, const char *run_id, enum status status,
                  const char *message, enum stop_reason stop, char params[CELL_PARAMS_MAX],
                  struct raw_row *row)
{
	row_clear(&raw_table, row);
	key_from_cell(cell, run_id, params, &row->key);
	row->pass = pass_names[PASS_TIME];
	row->status = status_names[status];
	row->stop_reason = stop_names[stop];
	row->message = message;
}

void rows_reset(const struct row_key *key, struct raw_row *row)
{
	row_clear(&raw_table, row);
	row->key = *key;
	row->pass = "reset";
	row->status = status_names[STATUS_OK];
}
