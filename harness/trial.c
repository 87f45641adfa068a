/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Rounds without a run. */
#include "trial.h"
#include "cross.h"
#include "rows.h"
#include "run.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

struct picked {
	struct cell cell;
	size_t n;
};

static bool pick(void *user, const struct cell *cell, char *error)
{
	struct picked *p = user;

	p->cell = *cell;
	return p->n++ == 0 || fail(error, "this experiment looks at one cell: give one value of each option");
}

static bool pick_cell(const struct config *config, const char *variant, const char *n,
                      struct cell *cell, char *error)
{
	const struct where where = { 0 };
	struct piece name = { (char *)(uintptr_t)variant, where }, length = { (char *)(uintptr_t)n, where };
	struct group group = { .axis = { [AXIS_VARIANT] = { &name, 1, 1 }, [AXIS_N] = { &length, 1, 1 } } };
	struct picked picked = { .n = 0 };

	if (!cross_group(config, &group, pick, &picked, error))
		return false;
	*cell = picked.cell;
	return true;
}

bool trial_begin(struct trial *t, const struct config *config, const char *variant, const char *n,
                 char *error)
{
	*t = (struct trial){ .job = { .pass = PASS_TIME, .pinned = !config->no_pin,
	                              .huge_pages = !config->small_pages, .samples = config->samples, .timeout_s = config->timeout_s } };
	if (!pick_cell(config, variant, n, &t->job.cell, error) || !(t->topo = topo_load(error)))
		return false;
	topo_info(t->topo, &t->topology);
	t->job.scrub_bytes = JOB_SCRUB_FACTOR * t->topology.llc_bytes;
	if (t->job.pinned &&
	    !topo_choose(t->topo, t->job.cell.threads, config->cpus, t->job.cpus, error))
		return false;
	scratch_make(t->scratch);
	snprintf(t->job.cache_dir, sizeof t->job.cache_dir, "%s", t->scratch);
	return true;
}

void trial_end(struct trial *t)
{
	trial_forget(t);
	scratch_remove(t->scratch);
	topo_free(t->topo);
	t->topo = NULL;
}

const struct result *trial_result(const struct trial *t, const char *name)
{
	for (size_t i = 0; i < t->results.n; i++)
		if (!strcmp(t->results.v[i].key.variant, name))
			return &t->results.v[i];
	return NULL;
}

void trial_forget(struct trial *t)
{
	results_free(&t->results);
}

bool trial_round(struct trial *t, const char *name, unsigned round, char *error)
{
	static struct outcome out;
	static struct raw_row rows[OUTCOME_SAMPLES];
	const struct row_machine machine = { .llc_bytes = -1, .roof_gflops = NAN, .roof_gbs = NAN };
	const struct result *before = trial_result(t, name);
	char params[CELL_PARAMS_MAX];

	t->job.round = round;
	t->job.calls = before && before->calls > 0 ? (uint64_t)before->calls : 0;
	spawn_job(&t->job, &out);
	if (out.status != STATUS_OK)
		return fail(error, "a worker ended as %s: %s", status_names[out.status], out.message);
	size_t n = rows_from_outcome(&t->job, &out, "", &machine, params, rows);
	for (size_t i = 0; i < n; i++) {
		rows[i].key.variant = rows[i].key.cell_id = name;
		if (t->split) {
			rows[i].round = (int64_t)(round + i);
			rows[i].sample = 0;
			rows[i].samples_in_round = 1;
		}
		if (!results_add(&t->results, &rows[i], error))
			return false;
	}
	return true;
}
