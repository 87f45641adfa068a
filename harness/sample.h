/* SPDX-License-Identifier: BSD-3-Clause
 *
 * One timed batch of calls, with the evidence of what disturbed it.
 */
#ifndef HARNESS_SAMPLE_H
#define HARNESS_SAMPLE_H

#include <stdbool.h>
#include <stdint.h>

/* Negative = not available. Counts are differences over the batch. */
struct sample {
	int64_t t_start_ns, wall_ns, cpu_ns;
	uint64_t calls;
	int64_t nivcsw, run_delay_ns, minflt, majflt;
	int cpu_before, cpu_after;
	bool disturbed;
};

#endif
