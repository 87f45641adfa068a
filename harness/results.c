/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Rows of raw.csv gathered by cell. */
#include "results.h"
#include "engine.h"
#include "stats.h"
#include "version.h"

#include <stdlib.h>
#include <string.h>

const char *const stop_names[] = {
	"", "ci_target", "max_rounds", "cell_budget", "run_budget", "failed", "skipped", NULL,
};
const char *const pass_names[] = { "time", "memory", "accuracy", NULL };

static int index_of(const char *const *names, const char *name)
{
	for (int i = 0; name && names[i]; i++)
		if (!strcmp(names[i], name))
			return i;
	return -1;
}

void key_from_cell(const struct cell *cell, const char *run_id, char params[CELL_PARAMS_MAX],
                   struct row_key *key)
{
	cell_params(cell, params);
	*key = (struct row_key){
		.schema_version = SCHEMA_VERSION,
		.run_id = run_id,
		.mode = cell_mode_names[cell->mode],
		.lengths = cell_lengths_names[cell->lengths],
		.impl = engine_info(cell->variant) ? engine_info(cell->variant)->impl : ATTNBENCH_IMPL,
		.variant = cell->variant->name,
		.family = cell->variant->family,
		.params = params,
		.batch = (int64_t)cell->batch,
		.heads = (int64_t)cell->heads,
		.kv_heads = (int64_t)cell->kv_heads,
		.n_q = (int64_t)cell->n_q,
		.n_k = (int64_t)cell->n_k,
		.d_head = (int64_t)cell->d,
		.d_value = (int64_t)cell->d_v,
		.causal = cell->causal,
		.scale = (double)cell_scale(cell),
		.dtype = cell_type_names[cell->type],
		.threads = cell->threads,
		.cache = cell_cache_names[cell->cache],
		.isa = cell->isa,
		.input_kind = cell->input,
		.seed = (int64_t)cell->seed,
		.cell_id = cell->id,
	};
}

static bool same_text(const char *a, const char *b)
{
	return !strcmp(a ? a : "", b ? b : "");
}

/* Equality of all that makes a cell; ids alone are not trusted. */
static bool key_equal(const struct row_key *a, const struct row_key *b)
{
	return same_text(a->variant, b->variant) && same_text(a->params, b->params) &&
	       a->batch == b->batch && a->heads == b->heads && a->kv_heads == b->kv_heads &&
	       a->n_q == b->n_q && a->n_k == b->n_k &&
	       a->d_head == b->d_head && a->d_value == b->d_value && a->causal == b->causal &&
	       (a->scale == b->scale || (isnan(a->scale) && isnan(b->scale))) &&
	       same_text(a->dtype, b->dtype) && a->threads == b->threads &&
	       same_text(a->cache, b->cache) && same_text(a->isa, b->isa) &&
	       same_text(a->input_kind, b->input_kind) && a->seed == b->seed &&
	       same_text(a->mode, b->mode) && same_text(a->lengths, b->lengths) && same_text(a->impl, b->impl);
}

/* Where the key is, or where it would go. */
static size_t find_slot(const struct results *results, const struct row_key *key)
{
	const char *id = key->cell_id ? key->cell_id : "";
	size_t at = (size_t)fnv64(FNV64_START, id, strlen(id)) & (results->n_slots - 1);

	while (results->slot[at] && !key_equal(&results->v[results->slot[at] - 1].key, key))
		at = (at + 1) & (results->n_slots - 1);
	return at;
}

struct result *results_find(const struct results *results, const struct row_key *key)
{
	if (!results->n_slots)
		return NULL;
	size_t index = results->slot[find_slot(results, key)];
	return index ? &results->v[index - 1] : NULL;
}

static bool rehash(struct results *results)
{
	size_t n = results->n_slots ? 2 * results->n_slots : 64;
	size_t *slot = calloc(n, sizeof *slot);

	if (!slot)
		return false;
	free(results->slot);
	results->slot = slot;
	results->n_slots = n;
	for (size_t i = 0; i < results->n; i++)
		results->slot[find_slot(results, &results->v[i].key)] = i + 1;
	return true;
}

/* The texts of a key, in an order of their own. */
enum { KEY_TEXTS = 11 };
static void key_texts(struct row_key *key, const char **texts[KEY_TEXTS])
{
	const char **all[KEY_TEXTS] = { &key->run_id,  &key->impl,  &key->mode,  &key->variant,
		                        &key->family,  &key->params, &key->dtype, &key->cache,
		                        &key->isa,     &key->input_kind, &key->lengths };
	memcpy(texts, all, sizeof all);
}

static void key_free(struct row_key *key)
{
	const char **texts[KEY_TEXTS];

	key_texts(key, texts);
	for (size_t i = 0; i < KEY_TEXTS; i++)
		free((char *)(uintptr_t)*texts[i]);
	free((char *)(uintptr_t)key->cell_id);
}

static bool key_copy(struct row_key *key)
{
	const char **texts[KEY_TEXTS];
	bool ok = true;

	key_texts(key, texts);
	for (size_t i = 0; i < KEY_TEXTS; i++)
		ok &= (*texts[i] = strdup(*texts[i] ? *texts[i] : "")) != NULL;
	key->cell_id = strdup(key->cell_id ? key->cell_id : "");
	if (!ok || !key->cell_id) {
		key_free(key);
		return false;
	}
	return true;
}

static struct result *add_result(struct results *results, const struct row_key *key)
{
	if (2 * (results->n + 1) > results->n_slots && !rehash(results))
		return NULL;
	if (!grow(&results->v, &results->cap, results->n + 1, sizeof *results->v))
		return NULL;
	struct result *r = &results->v[results->n];
	*r = (struct result){ .key = *key, .calls = NA_INT };
	if (!key_copy(&r->key))
		return NULL;
	row_clear(&raw_table, &r->memory);
	row_clear(&raw_table, &r->accuracy);
	r->flops_useful = r->flops_executed = r->pairs_executed = r->bytes_model = NAN;
	r->roof_gflops = r->roof_gbs = NAN;
	r->io_bytes = r->llc_bytes = r->ws_model_bytes = r->state_bytes = r->tokens = NA_INT;
	results->slot[find_slot(results, &r->key)] = ++results->n;
	return r;
}

static void forget(struct result *r)
{
	for (size_t p = 0; p < 3; p++) {
		free(r->message[p]);
		r->message[p] = NULL;
		r->done[p] = false;
		r->status[p] = STATUS_OK;
	}
	r->n_rounds = r->n_samples = 0;
	r->calls = NA_INT;
	r->spent_s = r->calls_s = 0;
	r->unpinned = r->throttled = false;
	r->stop = STOP_NONE;
	row_clear(&raw_table, &r->memory);
	row_clear(&raw_table, &r->accuracy);
}

static double per_call(int64_t ns, int64_t calls)
{
	return ns == NA_INT || calls < 1 ? NAN : (double)ns / (double)calls;
}

/* The value of a round from its samples so far. */
static bool close_round(struct result *r, struct round *round)
{
	double *x = malloc(round->n * sizeof *x);
	size_t clean = 0;

	if (!x)
		return false;
	for (size_t i = 0; i < round->n; i++)
		if (!r->sample[round->first + i].disturbed)
			x[clean++] = r->sample[round->first + i].wall;
	round->disturbed = clean < (round->n < 3 ? round->n : 3);
	if (round->disturbed)
		for (clean = 0; clean < round->n; clean++)
			x[clean] = r->sample[round->first + clean].wall;
	stats_sort(x, clean);
	round->value = stats_median(x, clean);
	free(x);
	return true;
}

static double or_nan(int64_t x)
{
	return x == NA_INT ? NAN : (double)x;
}

/* A cause that this version does not know is one all the same. */
static unsigned disturbance_of(const struct raw_row *row)
{
	unsigned known = disturbance_bits(row->disturbed_by);

	return known ? known : 1u << DISTURBANCES;
}

static bool add_sample(struct result *r, const struct raw_row *row, char *error)
{
	struct round *last = r->n_rounds ? &r->round[r->n_rounds - 1] : NULL;

	if (row->calls < 1 || row->wall_ns == NA_INT || row->round == NA_INT)
		return fail(error, "raw.csv: a sample of cell %s has no time", r->key.cell_id);
	if (!last || last->round != row->round || row->sample == 0) {
		for (size_t i = 0; i < r->n_rounds; i++)
			if (r->round[i].round == row->round)
				return fail(error, "raw.csv: round %lld of cell %s is there twice",
				            (long long)row->round, r->key.cell_id);
		if (!grow(&r->round, &r->rounds_cap, r->n_rounds + 1, sizeof *r->round))
			return fail(error, "out of memory");
		last = &r->round[r->n_rounds++];
		*last = (struct round){ .round = row->round, .first = r->n_samples,
			                .first_call = or_nan(row->first_call_ns),
			                .prepare = or_nan(row->prepare_ns),
			                .overhead = row->overhead_ns,
			                .selection = row->selection_share,
			                .prefill = or_nan(row->prefill_ns),
			                .cal_before = or_nan(row->cal_before_ns),
			                .cal_after = or_nan(row->cal_after_ns) };
	}
	if (!grow(&r->sample, &r->samples_cap, r->n_samples + 1, sizeof *r->sample))
		return fail(error, "out of memory");
	r->sample[r->n_samples++] = (struct call_time){
		.wall = per_call(row->wall_ns, row->calls), .cpu = per_call(row->cpu_ns, row->calls),
		.cycles = per_call(row->cycles, row->calls),
		.instructions = per_call(row->instructions, row->calls),
		.llc_misses = per_call(row->llc_misses, row->calls),
		.energy_uj = per_call(row->energy_uj, row->calls),
		.disturbed = row->disturbed == 1 ? disturbance_of(row) : 0,
	};
	r->calls_s += (double)row->wall_ns * 1e-9;
	last->n++;
	last->span += (double)row->wall_ns * 1e-9;
	if (r->calls == NA_INT)
		r->calls = row->calls_base != NA_INT ? row->calls_base : row->calls;
	if (row->sample + 1 < row->samples_in_round)
		return true;
	return close_round(r, last) || fail(error, "out of memory");
}

/* What the first row of a group says of its worker, and what every row says of
 * the work of a call. */
static void keep_facts(struct result *r, const struct raw_row *row)
{
	if (row->life_ns != NA_INT && (row->sample == NA_INT || row->sample == 0))
		r->spent_s += (double)row->life_ns * 1e-9;
	if (row->sample == 0 && row->first_call_ns != NA_INT && row->warm_ns != NA_INT)
		r->calls_s += (double)(row->first_call_ns + row->warm_ns) * 1e-9;
	r->unpinned |= row->unpinned == 1;
	r->throttled |= row->throttled > 0;
	/* Rounds say what the plan declares; the passes before them counted. */
	if (!isnan(row->flops_executed) && (isnan(r->flops_executed) || row->sample == NA_INT)) {
		r->flops_useful = row->flops_useful;
		r->flops_executed = row->flops_executed;
		r->pairs_executed = row->pairs_executed;
		r->bytes_model = row->bytes_model;
	}
	if (!isnan(row->roof_gflops)) {
		r->roof_gflops = row->roof_gflops;
		r->roof_gbs = row->roof_gbs;
	}
	if (row->io_bytes != NA_INT)
		r->io_bytes = row->io_bytes;
	if (row->tokens != NA_INT)
		r->tokens = row->tokens;
	if (row->state_bytes != NA_INT)
		r->state_bytes = row->state_bytes;
	if (row->llc_bytes != NA_INT)
		r->llc_bytes = row->llc_bytes;
	if (row->ws_model_bytes != NA_INT)
		r->ws_model_bytes = row->ws_model_bytes;
}

bool results_add(struct results *results, const struct raw_row *row, char *error)
{
	struct result *r = results_find(results, &row->key);

	if (!r && !(r = add_result(results, &row->key)))
		return fail(error, "out of memory");
	if (same_text(row->pass, "reset")) {
		forget(r);
		return true;
	}
	int pass = index_of(pass_names, row->pass), status = index_of(status_names, row->status);
	if (pass < 0 || status < 0)
		return fail(error, "raw.csv: a row of cell %s has no pass or no status", r->key.cell_id);

	int stop = index_of(stop_names, row->stop_reason);
	r->stop = stop < 0 ? STOP_NONE : (enum stop_reason)stop;
	if (r->stop == STOP_RUN_BUDGET && row->sample == NA_INT && r->n_rounds)
		return true; /* a note: what was measured stays as it is */
	r->done[pass] = true;
	r->status[pass] = (enum status)status;
	free(r->message[pass]);
	r->message[pass] = NULL;
	if (row->message && *row->message && !(r->message[pass] = strdup(row->message)))
		return fail(error, "out of memory");
	keep_facts(r, row);
	if (pass == PASS_MEMORY)
		r->memory = *row;
	else if (pass == PASS_ACCURACY)
		r->accuracy = *row;
	else if (row->sample != NA_INT)
		return add_sample(r, row, error);
	return true;
}

bool result_accuracy_missing(const struct result *r)
{
	enum status s = r->status[PASS_ACCURACY];

	return r->done[PASS_ACCURACY] &&
	       (s == STATUS_TIMEOUT || s == STATUS_OOM || s == STATUS_FAILED || s == STATUS_UNSUPPORTED);
}

enum status result_status(const struct result *r, const char **message)
{
	static const enum pass order[] = { PASS_TIME, PASS_MEMORY, PASS_ACCURACY };
	enum status status = STATUS_OK;

	*message = "";
	for (size_t i = 0; i < 3; i++) {
		enum pass p = order[i];
		if (!r->done[p] || r->status[p] == STATUS_OK)
			continue;
		*message = r->message[p] ? r->message[p] : "";
		if (p != PASS_ACCURACY || !result_accuracy_missing(r))
			status = r->status[p];
		break;
	}
	return status;
}

void results_free(struct results *results)
{
	for (size_t i = 0; i < results->n; i++) {
		struct result *r = &results->v[i];
		key_free(&r->key);
		free(r->round);
		free(r->sample);
		for (size_t p = 0; p < 3; p++)
			free(r->message[p]);
	}
	free(results->v);
	free(results->slot);
	*results = (struct results){ 0 };
}
