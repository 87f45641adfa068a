/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Single numbers from /proc and /sys. Each function returns NULL and the
 * number, or why it is not to be had: a literal, or from strerror().
 */
#ifndef HARNESS_READINGS_H
#define HARNESS_READINGS_H

#include <stddef.h>
#include <stdint.h>

#include "sysroot.h"

/* Clock ticks that the hypervisor gave to others, summed over these CPUs; NULL:
 * over all. */
const char *read_steal(const unsigned *cpus, size_t n, int64_t *ticks);

/* Periods in which the CPU quota of the control group was used up. */
const char *read_throttled(int64_t *periods);

/* Microseconds in which some thread of the machine waited for a CPU. */
const char *read_pressure(int64_t *us);

/* Threads that run or want to, this one included. */
const char *read_runnable(int64_t *threads);

const char *read_frequency(unsigned cpu, int64_t *khz);

/* The hottest zone, in thousandths of a degree Celsius. */
const char *read_temperature(int64_t *millidegrees);

/* Times that these CPUs (NULL: the first) were slowed because they were hot. */
const char *read_core_throttles(const unsigned *cpus, size_t n, int64_t *events);

/* The peak of the memory of the control group: page cache and neighbours count. */
const char *read_group_peak(int64_t *bytes);

/* The energy counters of the packages. They wrap, so one remembers. */
struct energy {
	struct energy_zone {
		char path[SYSROOT_PATH_MAX];
		int64_t last, range; /* microjoules */
	} zone[16];
	size_t zones;
};

const char *energy_open(struct energy *energy);

/* Microjoules of all packages since energy_open() or the last call; a zone that
 * wrapped more than once since then reads too little. */
const char *energy_read(struct energy *energy, int64_t *uj);

#endif
