/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Hardware counters of the threads of this process, by perf_event_open(2): one
 * group a thread, user space only. Many virtual machines have none.
 */
#ifndef HARNESS_COUNTERS_H
#define HARNESS_COUNTERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum { COUNTERS = 3 };

struct counter_event {
	const char *name;
	uint32_t type;   /* PERF_TYPE_* */
	uint64_t config; /* PERF_COUNT_* */
};

/* cycles, instructions, llc_misses; as many as the CPU has. */
extern const struct counter_event counter_events[COUNTERS];

struct counters {
	int *fd; /* threads x COUNTERS; -1: not open. The first of a thread leads */
	size_t threads;
	bool have[COUNTERS];
};

/* Opens the events for these threads. why[i]: NULL, or why event i is missing:
 * an event that one thread cannot have is had by none. */
void counters_open(struct counters *c, const struct counter_event events[COUNTERS],
                   const pid_t *thread, size_t threads, const char *why[COUNTERS]);
void counters_close(struct counters *c);

/* Sums over threads. The kernel may run a group for part of the time only:
 * enabled and running are in nanoseconds, in which the counts can be scaled. */
struct counts {
	int64_t value[COUNTERS]; /* -1: not to be had */
	int64_t enabled, running;
};

void counters_read(const struct counters *c, struct counts *now);

/* What was counted between two readings, scaled to all of the time between;
 * -1: it did not run. *share: running over enabled, NAN: nothing is counted. */
void counters_between(const struct counts *before, const struct counts *after,
                      int64_t value[COUNTERS], double *share);

#endif
