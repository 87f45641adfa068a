/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Resident memory of this process, as the kernel counts it. -1: not to be had.
 */
#ifndef HARNESS_MEMORY_H
#define HARNESS_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Exact where smaps_rollup exists (it walks the page tables), else the
 * kernel's running count. */
int64_t memory_resident(void);

/* The same count of any process; cheap. */
int64_t memory_resident_of(pid_t pid);

/* The high-water mark since the process began or since the last reset. */
int64_t memory_high_water(void);
bool memory_reset_high_water(void);

/* The three of another process of ours. */
int64_t memory_resident_exact(pid_t pid);
int64_t memory_high_water_of(pid_t pid);
bool memory_reset_high_water_of(pid_t pid);

/* The kernel keeps the count in batches of max(32, 2 x CPUs) pages a CPU, so
 * the mark may miss that much on each of the CPUs that were used. */
int64_t memory_resolution(size_t cpus_used);

/* Processes that the kernel has killed for want of memory since it started,
 * in every control group of this machine. */
int64_t memory_oom_kills(void);

#endif
