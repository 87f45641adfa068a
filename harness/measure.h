/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Inside a run: what is known of each planned cell, and one worker at a time.
 * Functions that return false set *end: the run ends so.
 */
#ifndef HARNESS_MEASURE_H
#define HARNESS_MEASURE_H

#include "run.h"

/* What is known of a planned cell; NULL: nothing yet. */
struct result *result_of(const struct run *run, size_t i);

/* True if there is nothing more to measure by the cell's own account. */
bool is_closed(const struct run *run, size_t i);

/* Do the rounds of a cell suffice by the policy? */
enum stop_reason at_look(const struct policy *policy, const struct result *r);

/* One worker for cell i, and its rows. */
bool work(struct run *run, size_t i, enum pass pass, unsigned round, unsigned position,
          enum run_end *end);

/* One row for a cell that is not started. */
bool keep_skip(struct run *run, const struct planned *p, enum status status,
               const char *message, enum stop_reason stop, enum run_end *end);

/* A timeout more for this variant with these arguments. */
void note_timeout(struct run *run, const struct cell *cell);

/* Closes the cell if workers of smaller ones timed out. */
bool skip_as_slow(struct run *run, size_t i, enum run_end *end);

bool stop_with(enum run_end *end, enum run_end why);

#endif
