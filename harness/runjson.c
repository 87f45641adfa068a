/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Writing and reading run.json. */
#include "runjson.h"
#include "cross.h"
#include "file.h"
#include "engine.h"
#include "record.h"
#include "summary.h"
#include "version.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A value that jansson had no memory for is left out without a word: this
 * remembers that there was none. */
static bool refused;

static void *noting_malloc(size_t n)
{
	void *p = malloc(n);

	refused |= !p;
	return p;
}

static void note_refusals(void)
{
	json_set_alloc_funcs(noting_malloc, free);
	refused = false;
}

/* "" and -1 and NAN mean that nobody knows: null. */
static json_t *text_or_null(const char *s)
{
	return s && *s ? json_string(s) : json_null();
}

static json_t *int_or_null(int64_t x)
{
	return x < 0 ? json_null() : json_integer(x);
}

static json_t *real_or_null(double x)
{
	return isfinite(x) ? json_real(x) : json_null();
}

static json_t *machine_json(const struct run_facts *f)
{
	const struct machine *m = f->machine;

	return json_pack("{s:o s:o s:o s:o s:o s:o s:o s:o s:o s:o s:o s:o s:o s:o s:o s:o s:o s:o s:o s:o}",
	                 "perf_event_paranoid", int_or_null(m->perf_paranoid), "host_id", text_or_null(m->host_id), "cpu_model", text_or_null(m->cpu_model),
	                 "cpu_flags", text_or_null(m->cpu_flags), "microcode", text_or_null(m->microcode),
	                 "hypervisor", text_or_null(m->hypervisor), "os", text_or_null(m->os),
	                 "kernel", text_or_null(m->kernel), "libc", text_or_null(m->libc),
	                 "clocksource", text_or_null(m->clocksource),
	                 "governor", text_or_null(m->governor), "freq_driver", text_or_null(m->driver),
	                 "boost", text_or_null(m->boost), "smt", text_or_null(m->smt),
	                 "transparent_hugepages", text_or_null(m->thp), "aslr", int_or_null(m->aslr),
	                 "overcommit", int_or_null(m->overcommit),
	                 "memory_total_bytes", int_or_null(m->memory_total),
	                 "memory_available_bytes", int_or_null(m->memory_available),
	                 "load1", real_or_null(m->load1));
}

static json_t *topology_json(const struct run_facts *f)
{
	struct topo_info t;
	char allowed[256];

	topo_info(f->topo, &t);
	topo_allowed(f->topo, allowed, sizeof allowed);
	return json_pack("{s:s s:i s:i s:i s:i s:i s:I s:I s:I s:I s:s s:o s:f s:b s:i s:o s:o}",
	                 "hwloc_api", t.hwloc_version, "packages", (int)t.packages,
	                 "numa_nodes", (int)t.numa_nodes, "cores", (int)t.cores, "pus", (int)t.pus,
	                 "smt_width", (int)t.smt, "l1d_bytes", (json_int_t)t.l1d_bytes,
	                 "l2_bytes", (json_int_t)t.l2_bytes, "l3_bytes", (json_int_t)t.l3_bytes,
	                 "llc_bytes", (json_int_t)t.llc_bytes, "allowed_cpus", allowed,
	                 "cpu_quota", t.quota > 0 ? json_real(t.quota) : json_null(),
	                 "effective_cpus", t.effective_cpus, "synthetic", (int)t.synthetic,
	                 "cgroup_version", f->machine->cgroup_version,
	                 "cgroup_memory_limit_bytes", int_or_null(f->machine->cgroup_memory_limit),
	                 "pinned", json_boolean(!f->config->no_pin));
}

static json_t *build_json(const struct run_facts *f)
{
	const struct build *b = f->build;

	return json_pack("{s:s s:s s:s s:o s:o s:o s:o s:b}", "version", ATTNBENCH_VERSION,
	                 "compiler", b->compiler, "flags", b->flags,
	                 "sanitizers", text_or_null(b->sanitizers),
	                 "program_hash", text_or_null(b->program_hash),
	                 "schema_version", json_integer(SCHEMA_VERSION),
	                 "git_commit", text_or_null(b->commit), "git_dirty", (int)b->dirty);
}

static json_t *blas_json(const struct run_facts *f)
{
	return json_pack("{s:o s:o s:o}", "config", text_or_null(attn_blas_config()),
	                 "core", text_or_null(attn_blas_core()),
	                 "selftest_error_over_bound", real_or_null(f->blas_off));
}

static json_t *clock_json(const struct run_facts *f)
{
	double resolution, cost;

	machine_clock(&resolution, &cost);
	return json_pack("{s:s s:o s:o s:o s:o s:o s:o s:o}", "clock", "CLOCK_MONOTONIC",
	                 "session_wall_s", real_or_null(f->wall_s),
	                 "session_workers_s", real_or_null(f->workers_s),
	                 "session_calls_s", real_or_null(f->calls_s),
	                 "resolution_ns", real_or_null(resolution), "cost_ns", real_or_null(cost),
	                 "calibration_start_ns", real_or_null(f->calibration_start_ns),
	                 "calibration_end_ns", real_or_null(f->calibration_end_ns));
}

/* Every option that was given, and the axes of each group, defaults included. */
static json_t *config_json(const struct config *config)
{
	json_t *all = json_object(), *groups = json_array();

	for (const struct option_def *o = option_table; o->name; o++) {
		if (!(o->verbs & VERB_RUN) || !strcmp(o->name, "help"))
			continue;
		struct text value = { 0 };
		option_show(config, NULL, o, &value);
		if (!value.len && o->kind == OPTION_AXIS && axis_default((enum axis_id)o->at))
			text_adds(&value, axis_default((enum axis_id)o->at));
		if (value.len)
			json_object_set_new(all, o->name, json_string(value.s));
		text_free(&value);
	}
	for (size_t g = 0; g < config->n_groups; g++) {
		json_t *group = json_pack("{s:s}", "section", config->groups[g].name);
		for (const struct option_def *o = option_table; o->name; o++) {
			struct text value = { 0 };
			if (o->kind == OPTION_AXIS)
				option_show(config, &config->groups[g], o, &value);
			if (value.len)
				json_object_set_new(group, o->name, json_string(value.s));
			text_free(&value);
		}
		json_array_append_new(groups, group);
	}
	return json_pack("{s:o s:o s:s}", "options", all, "groups", groups, "profile",
	                 profile_names[config->profile]);
}

static json_t *sweep_json(const struct config *config)
{
	char hash[17];

	if (!config->sweep_path)
		return json_null();
	const char *text = config->sweep_text.s ? config->sweep_text.s : "";
	snprintf(hash, sizeof hash, "%016" PRIx64, fnv64(FNV64_START, text, config->sweep_text.len));
	return json_pack("{s:s s:s s:o}", "path", config->sweep_path, "hash", hash, "text",
	                 text_or_null(text));
}

static json_t *policy_json(const struct plan *plan, const struct config *config)
{
	json_t *looks = json_array();

	for (size_t i = 0; i < plan->policy.n_looks; i++)
		json_array_append_new(looks, json_integer(plan->policy.look[i]));
	return json_pack("{s:o s:o s:i s:I s:o s:b}", "looks", looks, "target",
	                 plan->policy.target > 0 ? json_real(plan->policy.target) : json_null(), "samples",
	                 (int)plan->policy.samples, "order_seed", (json_int_t)plan->order_seed,
	                 "memory_limit_bytes", int_or_null(plan->memory_limit),
	                 "huge_pages", !config->small_pages);
}

/* Cells by status; those without a row yet are "open". */
static json_t *counts_json(const struct run_facts *f)
{
	size_t counts[STATUS_FAILED + 1] = { 0 }, known = 0;
	json_t *json = json_object();
	const char *message;

	for (size_t i = 0; i < f->results->n; i++, known++)
		counts[result_status(&f->results->v[i], &message)]++;
	json_object_set_new(json, "planned", json_integer((json_int_t)f->plan->n));
	for (size_t s = 0; s <= STATUS_FAILED; s++)
		if (counts[s])
			json_object_set_new(json, status_names[s], json_integer((json_int_t)counts[s]));
	if (known < f->plan->n)
		json_object_set_new(json, "open", json_integer((json_int_t)(f->plan->n - known)));
	return json;
}

static json_t *sessions_json(const struct run_record *record)
{
	json_t *all = json_array();

	for (size_t i = 0; i < record->n_sessions; i++) {
		const struct session *s = &record->session[i];
		json_array_append_new(all, json_pack("{s:s s:o s:s}", "start", s->start, "end",
		                                     text_or_null(s->end), "status", s->status));
	}
	return all;
}

/* Variants of engines: who computes them, and after which of ours they are made. */
static json_t *engines_json(void)
{
	json_t *all = json_object();

	for (size_t i = 0; engine_variant_at(i); i++) {
		const struct attn_variant *v = engine_variant_at(i);
		const struct engine_info *info = engine_info(v);
		if (engine_ask(info->engine)) /* what it has is not known */
			continue;
		json_object_set_new(all, v->name, json_pack("{s:s s:s s:b s:s}", "impl", info->impl, "definition", info->base,
		                                            "same", (int)info->defined, "command", engine_command(info->engine)));
	}
	return all;
}

static json_t *argv_json(char *const *argv)
{
	json_t *all = json_array();

	for (; *argv; argv++) {
		json_t *one = json_string(*argv);
		json_array_append_new(all, one ? one : json_string("(not UTF-8)"));
	}
	return all;
}

bool runjson_write(const char *dir, const struct run_record *record, const struct run_facts *f,
                   char *error)
{
	const struct session *now = &record->session[record->n_sessions - 1];

	note_refusals();
	json_t *json = json_pack(
		"{s:i s:s s:s s:s s:o s:o s:s s:o s:o s:o s:o s:o s:o s:o s:o s:o s:o s:o s:o}",
		"schema_version", SCHEMA_VERSION, "run_id", record->run_id, "status", now->status,
		"start", record->session[0].start, "end", text_or_null(now->end),
		"sessions", sessions_json(record), "plan_hash", record->plan_hash,
		"argv", argv_json(f->argv), "config", config_json(f->config), "sweep", sweep_json(f->config),
		"policy", policy_json(f->plan, f->config), "counts", counts_json(f), "build", build_json(f),
		"machine", machine_json(f), "topology", topology_json(f), "blas", blas_json(f),
		"timing", clock_json(f), "sensors", record_sensors(), "environment", record_environment());

	if (json) {
		json_object_set_new(json, "limits", record_limits());
		json_object_set_new(json, "aa", band_json(&record->band));
		json_object_set_new(json, "engines", engines_json());
	}
	if (json && f->n_ceilings)
		json_object_set_new(json, "roof", ceilings_json(f->ceilings, f->n_ceilings));
	else if (json && record->roof)
		json_object_set(json, "roof", record->roof);
	char *text = json ? json_dumps(json, JSON_INDENT(2) | JSON_REAL_PRECISION(15)) : NULL;
	json_decref(json);
	if (!text || refused) {
		free(text);
		return fail(error, refused ? "cannot make run.json: out of memory"
		                           : "cannot make run.json: a text in it is not UTF-8");
	}
	bool ok = replace_file(dir, "run.json", text, strlen(text), error);
	free(text);
	return ok;
}

static void copy_text(const json_t *object, const char *key, char *out, size_t size)
{
	const char *s = json_string_value(json_object_get(object, key));

	snprintf(out, size, "%s", s ? s : "");
}

enum runjson_result runjson_read(const char *dir, struct run_record *record, char *error)
{
	char path[4096];
	json_error_t why;

	*record = (struct run_record){ .band.share = (double)NAN };
	snprintf(path, sizeof path, "%s/run.json", dir);
	json_t *json = json_load_file(path, 0, &why);
	if (!json) {
		fail(error, "%s: line %d: %s", path, why.line, why.text);
		return json_error_code(&why) == json_error_cannot_open_file ? RUNJSON_NONE : RUNJSON_BAD;
	}
	const json_t *machine = json_object_get(json, "machine"), *sessions = json_object_get(json, "sessions");
	copy_text(json, "run_id", record->run_id, sizeof record->run_id);
	copy_text(json, "plan_hash", record->plan_hash, sizeof record->plan_hash);
	copy_text(json_object_get(json, "build"), "program_hash", record->program_hash,
	          sizeof record->program_hash);
	copy_text(machine, "host_id", record->host_id, sizeof record->host_id);
	copy_text(machine, "cpu_model", record->cpu_model, sizeof record->cpu_model);
	band_from_json(json_object_get(json, "aa"), &record->band);
	record->roof = json_incref(json_object_get(json, "roof"));
	enum runjson_result result = RUNJSON_FOUND;
	for (size_t i = 0; i < json_array_size(sessions) && i < SESSIONS_MAX; i++) {
		const json_t *one = json_array_get(sessions, i);
		if (!record_begin(record)) {
			fail(error, "out of memory");
			result = RUNJSON_BAD;
			break;
		}
		struct session *s = &record->session[i];
		copy_text(one, "start", s->start, sizeof s->start);
		copy_text(one, "end", s->end, sizeof s->end);
		copy_text(one, "status", s->status, sizeof s->status);
		if (!s->end[0]) /* it did not live to write one */
			snprintf(s->status, sizeof s->status, "killed");
	}
	json_decref(json);
	if (result == RUNJSON_FOUND && !record->run_id[0]) {
		fail(error, "%s has no run_id", path);
		result = RUNJSON_BAD;
	}
	return result;
}

bool runjson_agrees(const struct run_record *record, const struct plan *plan,
                    const struct build *build, const struct machine *machine, char *error)
{
	const char *what = NULL;

	if (strcmp(record->plan_hash, plan->hash))
		what = "another plan (cells, rounds, samples or order)";
	else if (strcmp(record->program_hash, build->program_hash))
		what = "another build of attnbench";
	else if (strcmp(record->host_id, machine->host_id) || strcmp(record->cpu_model, machine->cpu_model))
		what = "another machine";
	return !what || fail(error, "the rows there were measured with %s: give another --out, or --fresh "
	                            "to put them aside and start anew", what);
}

bool record_begin(struct run_record *record)
{
	if (!grow(&record->session, &record->cap, record->n_sessions + 1, sizeof *record->session))
		return false;
	struct session *s = &record->session[record->n_sessions++];
	*s = (struct session){ .status = "running" };
	utc_now(false, s->start);
	return true;
}

void record_end(struct run_record *record, const char *status)
{
	struct session *s = &record->session[record->n_sessions - 1];

	utc_now(false, s->end);
	snprintf(s->status, sizeof s->status, "%s", status);
}

void record_free(struct run_record *record)
{
	free(record->session);
	json_decref(record->roof);
	*record = (struct run_record){ .band.share = (double)NAN };
}
