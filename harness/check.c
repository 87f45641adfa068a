/* SPDX-License-Identifier: BSD-3-Clause
 *
 * `attnbench check DIR`: is a run what it says? raw.csv against the columns and
 * against itself, run.json against raw.csv, summary.csv against what raw.csv
 * gives. It changes nothing. */
#include "claims.h"
#include "csv.h"
#include "file.h"
#include "raw.h"
#include "summary.h"
#include "verbs.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct checking {
	const char *dir;
	struct claims claims;
	struct results results;
	struct text raw;
	json_t *record;   /* run.json, or NULL */
	const char *run_id; /* of run.json, or NULL */
	bool complete;    /* raw.csv has the columns of this version */
	size_t rows, groups, foreign, other_schema, causes;
	char first[17];   /* a cell that breaks the rule at hand */
};

static const char *path_in(const struct checking *c, const char *name)
{
	static char path[4096];

	snprintf(path, sizeof path, "%s/%s", c->dir, name);
	return path;
}

static bool take_row(void *user, const struct raw_row *row, char *error)
{
	struct checking *c = user;

	c->rows++;
	c->groups += row->sample == NA_INT || row->sample == 0;
	c->other_schema += row->key.schema_version != SCHEMA_VERSION;
	c->foreign += c->run_id && strcmp(row->key.run_id, c->run_id) != 0;
	c->causes += row->sample != NA_INT && (row->disturbed == 1) != (row->disturbed_by[0] != '\0');
	return results_add(&c->results, row, error);
}

static void check_raw(struct checking *c)
{
	struct csv_reader *reader = malloc(sizeof *reader);
	char error[ERROR_MAX] = "out of memory";
	size_t good = 0;
	bool read = reader && read_file(path_in(c, "raw.csv"), &c->raw, error);
	bool complete = read && csv_open(reader, &raw_table, "raw.csv", c->raw.s ? c->raw.s : "", c->raw.len) == CSV_ROW &&
	                csv_complete(reader);
	bool parsed = read && raw_parse("raw.csv", c->raw.s ? c->raw.s : "", c->raw.len, false, take_row, c,
	                                &good, error);

	free(reader);
	claim(&c->claims, parsed, "raw.csv", "%s", parsed ? "every field has the type and the words of its column" : error);
	if (!parsed)
		return;
	c->complete = complete;
	claim(&c->claims, complete, "columns", complete ? "as in results/schema/raw.json" : "of another version");
	claim(&c->claims, c->other_schema == 0, "schema_version", "%zu of %zu rows are not of version %d",
	      c->other_schema, c->rows, SCHEMA_VERSION);
	claim(&c->claims, good == c->raw.len, "whole groups", "%zu rows in %zu groups, %zu bytes of a torn one%s",
	      c->rows, c->groups, c->raw.len - good,
	      good == c->raw.len ? "" : ": the same `attnbench run` goes on from there");
	if (complete)
		claim(&c->claims, c->causes == 0, "causes", "%zu samples are set aside without a cause, or have one and are not",
	      c->causes);
	if (c->run_id)
		claim(&c->claims, c->foreign == 0, "run_id", "%zu of %zu rows are of another run than run.json",
		      c->foreign, c->rows);
}

static void read_record(struct checking *c)
{
	static const char *const members[] = {
		"schema_version", "run_id", "status", "start", "sessions", "plan_hash", "argv", "config", "policy",
		"counts", "build", "machine", "topology", "blas", "timing", "sensors", "environment", "limits",
	};
	json_error_t why;
	const char *missing = NULL;

	c->record = json_load_file(path_in(c, "run.json"), 0, &why);
	if (!c->record) {
		claim(&c->claims, false, "run.json", "line %d: %s", why.line, why.text);
		return;
	}
	for (size_t i = 0; i < sizeof members / sizeof *members && !missing; i++)
		if (!json_object_get(c->record, members[i]))
			missing = members[i];
	c->run_id = json_string_value(json_object_get(c->record, "run_id"));
	claim(&c->claims, !missing, "run.json", missing ? "it lacks %s" : "it has all that it should%s",
	      missing ? missing : "");
}

/* An absent sensor says why. */
static void check_sensors(struct checking *c)
{
	json_t *sensors = json_object_get(c->record, "sensors"), *one;
	size_t all = 0, absent = 0, silent = 0;
	const char *name;

	json_object_foreach(sensors, name, one) {
		const char *reason = json_string_value(json_object_get(one, "reason"));
		bool available = json_is_true(json_object_get(one, "available"));
		all++;
		absent += !available;
		silent += !available && !(reason && *reason);
	}
	claim(&c->claims, all > 0 && silent == 0, "sensors", "%zu, of which %zu are absent, %zu of these without a reason",
	      all, absent, silent);
}

/* Planned cells are the sum of all statuses, and each status counts as many. */
static void check_counts(struct checking *c)
{
	const json_t *counts = json_object_get(c->record, "counts");
	const char *status = json_string_value(json_object_get(c->record, "status"));
	json_int_t planned = json_integer_value(json_object_get(counts, "planned")), sum = 0;
	json_int_t open = json_integer_value(json_object_get(counts, "open"));
	size_t of[STATUS_FAILED + 1] = { 0 };
	const char *message, *wrong = NULL;

	for (size_t i = 0; i < c->results.n; i++)
		of[result_status(&c->results.v[i], &message)]++;
	for (size_t s = 0; s <= STATUS_FAILED; s++) {
		json_int_t recorded = json_integer_value(json_object_get(counts, status_names[s]));
		sum += recorded;
		if (recorded != (json_int_t)of[s])
			wrong = status_names[s];
	}
	claim(&c->claims, planned == sum + open && !wrong, "counts",
	      "%lld cells planned, %lld with a status, %lld open%s%s", (long long)planned, (long long)sum,
	      (long long)open, wrong ? "; raw.csv has another number of " : "", wrong ? wrong : "");
	bool complete = status && !strcmp(status, "complete");
	claim(&c->claims, !complete || (open == 0 && c->results.n == (size_t)planned), "complete",
	      "status %s, %zu cells have rows", status ? status : "unknown", c->results.n);
}

/* Passes that the run was to make: those that any cell has. */
static void asked_for(const struct results *results, bool *memory, bool *accuracy, bool *time)
{
	*memory = *accuracy = *time = false;
	for (size_t i = 0; i < results->n; i++) {
		*memory |= results->v[i].done[PASS_MEMORY];
		*accuracy |= results->v[i].done[PASS_ACCURACY];
		*time |= results->v[i].n_rounds > 0;
	}
}

/* A cell that is ok has a memory row, an accuracy row and rounds, unless the run has none. */
static void check_cells(struct checking *c)
{
	bool memory, accuracy, time;
	size_t lacking = 0, ended = 0;
	const char *message;

	asked_for(&c->results, &memory, &accuracy, &time);
	for (size_t i = 0; i < c->results.n; i++) {
		const struct result *r = &c->results.v[i];
		enum status status = result_status(r, &message);
		bool good = status == STATUS_OK || status == STATUS_INACCURATE;
		bool whole = (r->done[PASS_MEMORY] || !memory) && (r->done[PASS_ACCURACY] || !accuracy) &&
		             (r->n_rounds > 0 || !time);
		bool silent = !good && !*message;
		ended += r->stop != STOP_NONE;
		if ((good && r->stop != STOP_NONE && r->stop != STOP_RUN_BUDGET && !whole) || silent) {
			if (!lacking++)
				snprintf(c->first, sizeof c->first, "%s", r->key.cell_id);
		}
	}
	claim(&c->claims, lacking == 0, "cells",
	      "%zu have ended; %zu lack a pass or say nothing of why they failed%s%s", ended, lacking,
	      lacking ? ", the first " : "", lacking ? c->first : "");
}

/* What was declared is what was given; and where that is far above what the
 * kernel's account resolves, the process grew by as much. */
static void check_accounts(struct checking *c)
{
	size_t declared = 0, differ = 0, large = 0, off = 0;
	const char *first = "";

	for (size_t i = 0; i < c->results.n; i++) {
		const struct result *r = &c->results.v[i];
		int64_t model = r->memory.ws_model_bytes, tracked = r->memory.ws_tracked_bytes;
		struct memory_check memory = check_memory(r);
		bool both = model != NA_INT && tracked != NA_INT;
		bool wrong = (both && model != tracked) || (memory.large && (memory.leaks || memory.falls_short));
		declared += both;
		differ += both && model != tracked;
		large += memory.large;
		off += memory.large && (memory.leaks || memory.falls_short);
		if (wrong && !*first)
			first = r->key.cell_id;
	}
	claim(&c->claims, differ == 0, "work space", "%zu of %zu cells were given other than they declared%s%s", differ,
	      declared, *first ? ", the first off " : "", first);
	claim(&c->claims, off == 0, "memory", "%zu of the %zu cells above 20 times the resolution grew by another amount, "
	      "beyond the error bar%s%s", off, large, *first ? ", the first off " : "", first);
}

static size_t line_of(const char *text, size_t at)
{
	size_t line = 1;

	for (size_t i = 0; i < at; i++)
		line += text[i] == '\n';
	return line;
}

/* summary.csv is what raw.csv gives, byte for byte. */
static void check_summary(struct checking *c)
{
	struct text made = { 0 }, found = { 0 };
	char error[ERROR_MAX] = "";
	bool ok = summary_text(&c->results, &made, error) && read_file(path_in(c, "summary.csv"), &found, error);

	if (!ok) {
		claim(&c->claims, false, "summary.csv", "%s", error);
	} else {
		size_t at = 0;
		while (at < made.len && at < found.len && made.s[at] == found.s[at])
			at++;
		bool same = at == made.len && at == found.len;
		claim(&c->claims, same, "summary.csv",
		      same ? "%zu lines, as raw.csv gives them" : "differs from what raw.csv gives, first in line %zu",
		      same ? line_of(made.s, made.len) - 1 : line_of(made.s, at));
	}
	text_free(&made);
	text_free(&found);
}

bool check_verb(const struct config *config, size_t *failures, struct text *out, char *error)
{
	if (config->n_positional != 1)
		return fail(error, "check wants one directory: attnbench check results/NAME");
	struct checking c = { .dir = config->positional[0] };

	claims_begin(&c.claims);
	read_record(&c);
	check_raw(&c);
	if (c.record && c.rows) {
		check_counts(&c);
		check_sensors(&c);
	}
	if (c.rows) {
		check_cells(&c);
		check_accounts(&c);
		if (c.complete)
			check_summary(&c);
	}
	*failures = c.claims.failed;
	claims_end(&c.claims, (enum format)config->format, out);
	results_free(&c.results);
	text_free(&c.raw);
	json_decref(c.record);
	return true;
}
