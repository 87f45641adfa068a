/* SPDX-License-Identifier: BSD-3-Clause
 *
 * From the outcome of a worker to rows of raw.csv.
 */
#ifndef HARNESS_ROWS_H
#define HARNESS_ROWS_H

#include "results.h"

/* What a row says of the machine; negative or NAN: not known. */
struct row_machine {
	int64_t llc_bytes;
	double roof_gflops, roof_gbs; /* of as many threads on that instruction set */
};

/* One row a sample, or one for a worker without samples. rows has room for
 * OUTCOME_SAMPLES; texts point into job, out, params and literals. */
size_t rows_from_outcome(const struct job *job, const struct outcome *out, const char *run_id,
                         const struct row_machine *machine, char params[CELL_PARAMS_MAX],
                         struct raw_row *rows);

/* A row for a cell that was not started. */
void rows_skipped(const struct cell *cell, const char *run_id, enum status status,
                  const char *message, enum stop_reason stop, char params[CELL_PARAMS_MAX],
                  struct raw_row *row);

/* A row after which earlier rows of the cell no longer count. */
void rows_reset(const struct row_key *key, struct raw_row *row);

#endif
