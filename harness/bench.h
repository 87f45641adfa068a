/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A timer: a function, its payload and a policy in; samples out. It knows
 * nothing of what it times.
 *
 *     first call   on its own: page faults, cold caches
 *     warm-up      until the last calls agree
 *     calibration  the fewest calls whose batch the clock resolves
 *     samples      batches of that many calls, a little more each at random, so
 *                  that they do not keep step with the timer tick
 */
#ifndef HARNESS_BENCH_H
#define HARNESS_BENCH_H

#include <stddef.h>

#include "sample.h"

struct bench_policy {
	unsigned warm_calls;     /* at least so many calls */
	int64_t warm_ns;         /* and so long, */
	double warm_agree;       /* until the last three are within this share */
	int64_t warm_limit_ns;   /* or so long */
	int64_t slow_call_ns;    /* longer calls are warmed up by one call */
	int64_t sample_ns;       /* a batch is at least so long */
	int64_t budget_ns;       /* all batches together, within: */
	unsigned samples_min, samples_max;
	int64_t very_slow_call_ns; /* longer calls give one sample */
	double jitter;           /* largest share of calls added to a batch */
	uint64_t seed;           /* of the jitter */
	uint64_t calls;          /* a batch; 0: calibrate */
	unsigned samples;        /* 0: choose within the budget */
};

extern const struct bench_policy bench_default;

struct bench_job {
	void (*call)(void *payload);
	/* Before each batch, outside the timer: puts back what calls change. NULL:
	 * nothing. */
	void (*reset)(void *payload);
	/* The same, after it; batches are then single calls. NULL: caches stay warm. */
	/* In place of call: so many calls, timed by who makes them. Returns ns, or
	 * a negative number when there will be no more; that batch then counts 0. */
	int64_t (*batch)(void *payload, uint64_t calls);
	void (*scrub)(void *payload);
	/* Around each batch, outside the timer: read the sensors before it, and
	 * write what they say into the sample after it. NULL: none. */
	void (*sense_before)(void *sensor);
	void (*sense_after)(void *sensor, struct sample *sample);
	/* Before each of the steps named above; NULL: nobody wants to know. */
	void (*progress)(void *payload, const char *step);
	void *payload, *sensor;
	int64_t (*now)(void); /* NULL: CLOCK_MONOTONIC */
};

struct bench_result {
	int64_t first_call_ns;
	unsigned warm_calls;
	int64_t warm_ns, calibrate_ns;
	uint64_t calls; /* a batch, before jitter */
	unsigned n_samples;
};

/* samples has room for the larger of policy's samples and samples_max. */
void bench_run(const struct bench_job *job, const struct bench_policy *policy,
               struct sample *samples, struct bench_result *result);

#endif
