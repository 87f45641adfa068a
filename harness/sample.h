/* SPDX-License-Identifier: BSD-3-Clause
 *
 * One timed batch of calls and one round of them, each with the evidence of
 * what disturbed it. Negative = not available.
 */
#ifndef HARNESS_SAMPLE_H
#define HARNESS_SAMPLE_H

#include <stdint.h>

/* Why a sample is set aside, as bits. */
enum disturbance {
	DISTURBED_PREEMPTED = 1 << 0, /* a thread lost its CPU and waited for one */
	DISTURBED_MOVED = 1 << 1,     /* a thread that was pinned ran elsewhere */
	DISTURBED_STOLEN = 1 << 2,    /* the hypervisor ran others in the round */
	DISTURBED_THROTTLED = 1 << 3, /* the CPU quota was used up in the round */
	DISTURBED_HOT = 1 << 4,       /* a core was slowed in the round: too hot */
};
enum { DISTURBANCES = 5 };

/* "preempted;stolen", and back; words that are not known are left out. The text
 * stays. */
const char *disturbance_text(unsigned bits);
unsigned disturbance_bits(const char *text);

/* Counts are differences over the batch, of all threads. */
struct sample {
	int64_t t_start_ns, wall_ns, cpu_ns;
	uint64_t calls;
	int64_t nivcsw, run_delay_ns, minflt, majflt;
	int cpu_before, cpu_after;
	int64_t cycles, instructions, llc_misses; /* in user space */
	double perf_scale;  /* share of the time in which they were counted; NAN */
	int64_t energy_uj;  /* of the packages, neighbours included */
	unsigned disturbed; /* 0, or bits of enum disturbance */
};

/* What is read once before and once after the samples of a worker. */
struct round_evidence {
	int64_t steal_ticks;  /* of 1 / sysconf(_SC_CLK_TCK) s, summed over CPUs */
	int64_t throttled;    /* periods in which the CPU quota stopped us */
	int64_t pressure_us;  /* in which some thread of the machine waited */
	int64_t runnable;     /* threads of the machine, before the samples */
	int64_t freq_khz;     /* of the first CPU, after the samples */
	int64_t temperature_mdegc; /* of the hottest zone, after the samples */
	int64_t core_throttles;    /* times that our CPUs were too hot */
	int64_t cal_before_ns, cal_after_ns;
};

/* Nothing measured. */
void sample_clear(struct sample *sample);
void round_evidence_clear(struct round_evidence *round);

#endif
