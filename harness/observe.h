/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What the kernel says of another process of ours: the sensors of sensors.h,
 * from outside. Negative = not available.
 */
#ifndef HARNESS_OBSERVE_H
#define HARNESS_OBSERVE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "sample.h"

struct observed {
	int64_t cpu_ns, nivcsw, run_delay_ns, minflt, majflt;
	int cpu; /* of the first thread */
};

/* Sums over its threads of now. */
void observe(pid_t pid, struct observed *now);

/* What changed since `before`, into the fields of the sample that they are. */
void observe_difference(const struct observed *before, const struct observed *after,
                        struct sample *sample);

/* Threads of the process that may run elsewhere than on cpus[0 .. n). */
size_t observe_unpinned(pid_t pid, const unsigned *cpus, size_t n);

#endif
