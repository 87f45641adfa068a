/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The one clock of the harness: monotonic, in nanoseconds.
 */
#ifndef HARNESS_CLOCK_H
#define HARNESS_CLOCK_H

#include <stdint.h>
#include <time.h>

static inline int64_t clock_read_ns(clockid_t id)
{
	struct timespec t;
	if (clock_gettime(id, &t))
		return -1;
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static inline int64_t clock_now_ns(void)
{
	return clock_read_ns(CLOCK_MONOTONIC);
}

/* Time that the machine has been suspended, which the monotonic clock leaves
 * out. The least of a few readings: one may be interrupted in the middle. */
static inline int64_t clock_suspended_ns(void)
{
	int64_t least = INT64_MAX;

	for (int i = 0; i < 3; i++) {
		int64_t before = clock_now_ns(), gap = clock_read_ns(CLOCK_BOOTTIME) - before;
		least = gap < least ? gap : least;
	}
	return least;
}

#endif
