/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Jobs and outcomes on the way. */
#include "wire.h"

#include <stdio.h>
#include <string.h>

const char *const status_names[] = {
	"ok", "unsupported", "skipped_mem", "skipped_timeout", "oom", "timeout",
	"crash", "bad_output", "inaccurate", "failed", NULL,
};

bool wire_pack(const struct job *job, struct wire_job *wire)
{
	const char *plugin = variant_plugin(job->cell.variant);

	memset(wire, 0, sizeof *wire);
	wire->abi = ATTN_ABI;
	wire->job_size = sizeof(struct job);
	wire->outcome_size = sizeof(struct outcome);
	if (strlen(job->cell.variant->name) >= sizeof wire->variant)
		return false;
	strcpy(wire->variant, job->cell.variant->name);
	strcpy(wire->plugin, plugin ? plugin : "");
	strcpy(wire->sysroot, sysroot());
	const struct engine_info *engine = engine_info(job->cell.variant);
	if (engine) {
		wire->engine = *engine;
		strcpy(wire->registry, engine_registry(job->cell.variant));
	}
	wire->job = *job;
	wire->job.cell.variant = NULL;
	return true;
}

const char *wire_unpack(const struct wire_job *wire, struct job *job)
{
	static char error[PLUGIN_ERROR_MAX];

	if (wire->abi != ATTN_ABI || wire->job_size != sizeof(struct job) ||
	    wire->outcome_size != sizeof(struct outcome))
		return "the job is of another version of this program";
	if (!sysroot_set(wire->sysroot))
		return "the prefix of /proc and /sys is too long";
	if (wire->plugin[0] && !plugin_load(wire->plugin, error))
		return error;
	*job = wire->job;
	if (wire->registry[0]) {
		job->cell.variant = engine_adopt(&wire->engine, wire->variant, wire->registry, error);
		return job->cell.variant ? NULL : error;
	}
	job->cell.variant = variant_find(wire->variant);
	if (job->cell.variant)
		return NULL;
	snprintf(error, sizeof error, "there is no variant %.96s", wire->variant);
	return error;
}

void outcome_clear(struct outcome *out)
{
	memset(out, 0, sizeof *out);
	out->status = STATUS_FAILED;
	out->life_ns = out->first_call_ns = out->warm_ns = out->prepare_ns = -1;
	out->overhead_ns = out->selection_share = (double)NAN;
	round_evidence_clear(&out->round);
	out->ws_model_bytes = out->ws_tracked_bytes = -1;
	out->rss_base_bytes = out->rss_peak_bytes = -1;
	out->rss_resolution_bytes = out->rss_spread_bytes = -1;
	out->ws_touched_bytes = out->blas_bytes = out->group_peak_bytes = -1;
	out->err_impl_rel_fro = out->err_impl_bound = (double)NAN;
	out->err_exact_rel_fro = out->err_exact_max_abs = (double)NAN;
	out->err_exact_cos = out->err_exact_nmse_u = (double)NAN;
	out->entropy_ratio = out->clamped_rows = (double)NAN;
	out->err_rows = out->io_bytes = out->tokens = -1;
	out->state_bytes = out->prefill_ns = -1;
	out->err_exact_max_rel_row = out->err_exact_med_rel_row = (double)NAN;
	out->err_sampling = out->err_uniform_rel_fro = out->n_eff = (double)NAN;
	out->weights_tv = out->weights_kl = (double)NAN;
	out->weights_kl_rev = out->weights_dropped = (double)NAN;
	out->task_accuracy = out->task_chance = (double)NAN;
	out->err_cos_left_out = out->weights_rows = out->task_answers = -1;
	out->flops_useful = out->flops_executed = (double)NAN;
	out->pairs_executed = out->bytes_model = (double)NAN;
}
