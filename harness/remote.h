/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A worker whose variant is an engine's: the engine is its child, q, k, v and out
 * lie in a file in memory that both map, and each call is asked for in a line.
 * Times are the engine's own, on the monotonic clock, and checked against ours
 * around them. All else (inputs, guards, errors, sensors) is as for our variants.
 */
#ifndef HARNESS_REMOTE_H
#define HARNESS_REMOTE_H

#include "dialog.h"
#include "observe.h"
#include "worker.h"

struct remote {
	struct dialog dialog;
	const char *engine;
	int64_t oom_kills;       /* of the kernel, before it started */
	int64_t start, cpu_ns;   /* of the last run, as the engine says */
	int64_t idle_ns, beyond_ns; /* least time around no call; least excess around calls */
	struct observed before;
	bool ended;              /* the outcome says why */
};

/* Starts it and tells it the plan. False: the outcome says why. The caller
 * closes it either way. */
bool remote_open(struct worker *w, struct remote *remote);

/* Setting up what the first call needs, which takes *ns. */
bool remote_prepare(struct worker *w, int64_t *ns);

/* The batch of bench.h, a struct worker as its argument: so many calls, and how
 * long they took by the engine's clock; negative once it has ended. */
int64_t remote_batch(void *worker, uint64_t calls);

/* The sensors of bench.h; the argument is a struct worker. */
void remote_sense_before(void *worker);
void remote_sense_after(void *worker, struct sample *sample);

/* After the last batch: do the clocks agree, and did its threads stay where
 * they were told to? */
bool remote_verify(struct worker *w);

/* Its high-water mark as it says, for where the kernel does not; -1: unknown. */
bool remote_peak(struct worker *w, int64_t *peak);

void remote_close(struct worker *w);

#endif
