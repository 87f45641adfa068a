/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Evidence of what disturbed a measurement. Every sensor is optional: a
 * missing one reads -1, and sensors_report() says why it is missing.
 */
#ifndef HARNESS_SENSORS_H
#define HARNESS_SENSORS_H

#include <stddef.h>

#include "sample.h"

enum { SENSORS = 10, SENSOR_REASON = 96 };

struct sensor {
	const char *name, *measures;
	bool available;
	char reason[SENSOR_REASON]; /* of its absence */
};

/* Tries every sensor on this machine, now. */
void sensors_report(struct sensor report[SENSORS]);

/* What is read once before and once after the samples of a worker. */
struct round_evidence {
	int64_t steal_ticks;   /* of 1 / sysconf(_SC_CLK_TCK) s, summed over CPUs */
	int64_t throttled;     /* periods in which the CPU quota stopped us */
	int64_t freq_khz;      /* of the first CPU, after the samples */
	int64_t cal_before_ns, cal_after_ns;
};

struct sensors {
	const unsigned *cpus; /* the caller's; NULL: any CPU, steal is of all */
	size_t threads;
	int *task_fd;         /* schedstat of each thread of the process */
	size_t tasks;
	int64_t steal, throttled;
	struct sample before;
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

/* A fixed chain of dependent integer operations, about 2 ms: shows the clock
 * rate and whether a sibling thread competes. Returns how long it takes when
 * nothing interrupts it. */
int64_t sensors_calibrate(void);

#endif
