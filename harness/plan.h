/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The plan of a run: every cell once, what each will cost, which will not run
 * and why, and the policy that ends the rounds of a cell.
 */
#ifndef HARNESS_PLAN_H
#define HARNESS_PLAN_H

#include "job.h"
#include "machine.h"
#include "options.h"
#include "support.h"
#include "topo.h"

struct planned {
	struct cell cell;
	struct cell_cost cost;  /* zero for refused cells */
	double call_s;          /* predicted time of a call; 0 if refused */
	double worker_s;        /* predicted time of one worker of the time pass */
	enum status skip;       /* STATUS_OK: to be measured */
	char *reason;           /* why not; owned */
	size_t shape;           /* index into plan.shape */
};

/* Cells that differ in variant, parameters or instruction set only: they are
 * interleaved, and may be compared. */
struct shape {
	size_t *member; /* indices into plan.cell */
	size_t n, cap;
};

/* When a cell has enough rounds: at each look its interval is compared with
 * the target; after the last there are no more rounds. */
struct policy {
	unsigned look[16]; /* 0: no rounds, errors alone */
	size_t n_looks;
	double target;    /* half-width over median; 0: none, only the last look */
	unsigned samples; /* a round; 0: the worker chooses */
};

struct plan {
	struct planned *cell;
	size_t n, cap;
	struct shape *shape;
	size_t n_shapes, shapes_cap;
	struct policy policy;
	uint64_t order_seed;
	int64_t memory_limit; /* bytes; -1: not known */
	size_t runnable;
	double rounds_s;      /* predicted, one round of every cell */
	double total_s;       /* predicted, the whole run up to the last look */
	char hash[17];        /* of cells, policy and order: a resumed run must agree */
};

/* Crosses the axes of every group. False: a sentence in error. */
bool plan_make(struct plan *plan, const struct config *config, const struct topo *topo,
               const struct machine *machine, char *error);
void plan_free(struct plan *plan);

void policy_make(struct policy *policy, const struct config *config);

/* The cell that others of the shape are compared with, as an index into
 * shape.member: --baseline, else full, flash, or the first that runs. */
size_t plan_baseline(const struct plan *plan, const struct shape *shape, const char *wanted);




#endif
