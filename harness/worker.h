/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The inside of a worker: one job, set up once, and the three passes over it.
 */
#ifndef HARNESS_WORKER_H
#define HARNESS_WORKER_H

#include "job.h"
#include "layer.h"

struct worker {
	const struct job *job;
	struct outcome *out;
	struct team *team;
	struct arena arena;
	struct layer layer;  /* inputs are filled, state is not */
	uint64_t input_hash;
	int out_fd;
	struct remote *remote; /* the engine that computes; NULL: the variant is ours */
};

/* Notes why the job ends here. Returns false, so that a pass can return it. */
__attribute__((format(printf, 3, 4)))
bool worker_end(struct worker *w, enum status status, const char *format, ...);

/* Tells the parent what comes next, for its message should this be the last:
 * calls of the variant, or work of the harness itself. Each has its own limit. */
void worker_stage(struct worker *w, const char *stage);
void worker_own_stage(struct worker *w, const char *stage);

/* Each runs the layer and fills its part of the outcome. False: it ended. */
bool pass_time(struct worker *w);
bool pass_memory(struct worker *w);
bool pass_accuracy(struct worker *w);

/* Before any memory of the job is mapped: no huge pages in the memory pass. */
void memory_prepare(void);

/* Counts what the next call of the layer does, in place of what its plan declares.
 * A variant that counts nothing is believed. */
bool worker_count(struct worker *w);
void worker_counted(struct worker *w);

/* Looks at guards, inputs and output after a call. */
bool worker_check(struct worker *w);

#endif
