/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Evidence of what disturbed a measurement. Every sensor is optional: a
 * missing one reads -1, and sensors_report() says why it is missing.
 */
#ifndef HARNESS_SENSORS_H
#define HARNESS_SENSORS_H

#include <stdbool.h>
#include <stddef.h>

#include "counters.h"
#include "readings.h"
#include "sample.h"

enum { SENSORS = 21, SENSOR_REASON = 96 };

struct sensor {
	const char *name, *measures;
	bool available;
	char reason[SENSOR_REASON]; /* of its absence */
};

/* Tries every sensor on this machine, now. */
void sensors_report(struct sensor report[SENSORS]);

/* The threads of this process and their schedstat files. */
struct tasks {
	pid_t *id;
	int *fd;
	size_t n;
};

/* NULL, or why they are not known. */
const char *tasks_open(struct tasks *tasks);
void tasks_close(struct tasks *tasks);

/* Nanoseconds that they spent runnable, waiting for a CPU. */
const char *tasks_run_delay(const struct tasks *tasks, int64_t *ns);

struct sensors {
	const unsigned *cpus; /* the caller's; NULL: any CPU, steal is of all */
	size_t threads;
	struct tasks tasks;
	struct counters counters;
	struct energy energy;
	/* Readings before the sample, and before the round. */
	struct sample before;
	struct counts counts;
	struct round_evidence round;
};

/* Call when all threads run. cpus[0 .. threads), or NULL when not pinned. */
void sensors_open(struct sensors *s, const unsigned *cpus, size_t threads);
void sensors_close(struct sensors *s);

/* The hooks of bench.h; the argument is a struct sensors. */
void sensors_before(void *sensors);
void sensors_after(void *sensors, struct sample *sample);

void sensors_round_begin(struct sensors *s, struct round_evidence *round);
void sensors_round_end(struct sensors *s, struct round_evidence *round);

/* Sets disturbed: a thread was preempted and then waited for more than 1 % of
 * the time of all threads; or it moved to another CPU though it was pinned; or
 * the round shows steal or throttling. By cause, never by the time it took. */
void sensors_judge(struct sample *samples, size_t n, const struct round_evidence *round,
                   size_t threads, bool pinned);

/* A fixed chain of dependent integer operations, about half a millisecond: shows the clock
 * rate and whether a sibling thread competes. Returns how long it takes when
 * nothing interrupts it. */
int64_t sensors_calibrate(void);

#endif
