/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What the rows of raw.csv say, cell by cell. The same whether the rows have
 * just been measured or are read back, so that a resumed run, summary.csv and
 * `attnbench show` cannot differ.
 */
#ifndef HARNESS_RESULTS_H
#define HARNESS_RESULTS_H

#include "columns.h"
#include "job.h"

enum stop_reason {
	STOP_NONE, STOP_CI_TARGET, STOP_MAX_ROUNDS, STOP_CELL_BUDGET, STOP_RUN_BUDGET, STOP_FAILED,
	STOP_SKIPPED
};
extern const char *const stop_names[]; /* "" for STOP_NONE */
extern const char *const pass_names[];

/* One round of a cell: a worker with its samples. Times a call, in ns. */
struct round {
	int64_t round;
	size_t first, n;   /* its samples in result.sample */
	double value;      /* median of undisturbed samples, of all if too few */
	bool disturbed;    /* too few were undisturbed */
	double first_call, prepare, prefill, overhead, selection;
	double cal_before, cal_after; /* NAN: not measured */
	double span;       /* seconds that the samples took */
};

/* A sample, by call; NAN: not measured. */
struct call_time {
	double wall, cpu; /* ns */
	double cycles, instructions, llc_misses, energy_uj;
	unsigned disturbed; /* bits of enum disturbance */
};

struct result {
	struct row_key key; /* owns its texts */
	struct round *round;
	size_t n_rounds, rounds_cap;
	struct call_time *sample;
	size_t n_samples, samples_cap;
	int64_t calls;
	double spent_s;  /* life of its workers, */
	double calls_s;  /* and of that in calls: first, warm-up, samples */
	bool unpinned, throttled;

	bool done[3];           /* by enum pass: has a row that counts */
	enum status status[3];
	char *message[3];       /* owned, or NULL */
	enum stop_reason stop;

	struct raw_row memory, accuracy; /* their numbers; texts are not kept */
	double flops_useful, flops_executed, pairs_executed, bytes_model;
	double roof_gflops, roof_gbs;
	int64_t io_bytes, llc_bytes, ws_model_bytes, state_bytes, tokens;
};

struct results {
	struct result *v;
	size_t n, cap;
	size_t *slot; /* hash table of index + 1, by cell_id */
	size_t n_slots;
};

/* Takes one row of raw.csv. False: no memory, or a contradiction. */
bool results_add(struct results *results, const struct raw_row *row, char *error);
struct result *results_find(const struct results *results, const struct row_key *key);
void results_free(struct results *results);

/* How the cell stands as a whole, and why (never NULL). */
enum status result_status(const struct result *result, const char **message);

/* True if all that failed is the measuring of the error, not the variant. */
bool result_accuracy_missing(const struct result *result);

/* The key columns of a cell; texts point into *cell, *params and literals. */
void key_from_cell(const struct cell *cell, const char *run_id, char params[CELL_PARAMS_MAX],
                   struct row_key *key);

#endif
