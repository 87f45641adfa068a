/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The run: a plan carried out worker by worker, into raw.csv.
 *
 * First each cell gets a worker for memory and one for accuracy. A fault there
 * is the variant's, and ends the cell before any time is spent on rounds; that
 * the error could not be had is not, and is noted. Then rounds: in each, every
 * cell that is still open gets one worker, shapes shuffled, the cells of a
 * shape interleaved. What raw.csv holds already is not measured again.
 */
#ifndef HARNESS_RUN_H
#define HARNESS_RUN_H

#include "ceiling.h"
#include "plan.h"
#include "progress.h"
#include "raw.h"
#include "results.h"
#include "topo.h"

enum { RUN_PATH_MAX = 4096 };

/* Exit codes of the program. */
enum {
	CODE_OK = 0,
	CODE_FAILED_CELLS = 1,
	CODE_USAGE = 2,
	CODE_ENVIRONMENT = 3,
	CODE_REGRESSION = 4,
	CODE_INTERRUPTED = 130,
};

/* A variant with its arguments whose workers timed out. */
struct slow {
	const struct attn_variant *variant;
	const double *arg; /* of a planned cell */
	unsigned timeouts;
	double least;      /* work of the smallest cell that timed out */
};

enum run_end { RUN_COMPLETE, RUN_INTERRUPTED, RUN_OUT_OF_TIME, RUN_STOPPED };

struct run {
	const struct config *config;
	struct plan plan;
	struct topo *topo;
	struct topo_info topology;
	struct ceilings ceilings[CEILINGS_MAX]; /* of the thread counts of the plan */
	size_t n_ceilings;
	struct raw raw;
	struct results results;
	struct progress progress;
	const char *run_id;
	char dir[RUN_PATH_MAX];
	char scratch[256]; /* where workers keep what the next one needs; "": nowhere */
	int events;        /* events.log */

	double *worker_s;  /* by planned cell: life of its last worker */
	size_t *found;     /* by planned cell: index of its result + 1 */
	bool unpinned;     /* the CPUs of the plan are gone, and that was said */
	struct slow *slow;
	size_t n_slow, slow_cap;
	int64_t start_ns;
	char error[ERROR_MAX]; /* RUN_STOPPED: why */
};

/* `attnbench run`: returns the exit code; the table goes into *out, a sentence
 * into error unless the code is 0 or 1. argv is kept in run.json. */
int run_verb(const struct config *config, char *const *argv, struct text *out, char *error);

/* Measures the ceilings of the thread counts and instruction sets of the plan,
 * unless nothing is left to do. */
void run_ceilings(struct run *run);

/* Carries out the plan. */
enum run_end run_measure(struct run *run);

/* 0: go on; 1: stop after the current worker; more: at once. */
extern volatile sig_atomic_t run_interrupts;

/* DIR/implied, where the weights of cells are kept if the user wants them; false:
 * run->error says why not. Opened once there is a scratch directory, emptied by
 * --fresh; then, after each worker, what that left is taken. */
bool implied_open(struct run *run);
bool implied_keep(struct run *run, const struct job *job, const struct outcome *out);

/* A line for events.log: time, kind, text. */
__attribute__((format(printf, 3, 4)))
void run_event(const struct run *run, const char *kind, const char *format, ...);

/* A directory in memory for workers, removed by scratch_remove(); those that
 * killed runs left behind are removed on the way. */
void scratch_make(char path[256]);
/* Empties it when it holds more than this. */
void scratch_limit(const char *path, int64_t bytes);
void scratch_remove(char path[256]);

#endif
