/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Which sensors there are on this machine, and why the others are not. */
#include "sensors.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "clock.h"
#include "memory.h"

struct list {
	struct sensor *sensor;
	size_t n;
};

static void note(struct list *list, const char *name, const char *measures, const char *why)
{
	struct sensor *s = &list->sensor[list->n++];

	s->name = name;
	s->measures = measures;
	s->available = why == NULL;
	snprintf(s->reason, sizeof s->reason, "%s", why ? why : "");
}

static void note_threads(struct list *list)
{
	static const char *const measures[COUNTERS] = {
		"clock cycles in user space", "instructions in user space", "misses of the last cache",
	};
	struct tasks tasks;
	struct counters counters;
	const char *missing[COUNTERS], *why = tasks_open(&tasks);
	int64_t value;

	if (!why)
		why = tasks_run_delay(&tasks, &value);
	note(list, "run_delay", "time spent waiting for a CPU", why);
	counters_open(&counters, counter_events, tasks.id, tasks.n, missing);
	for (size_t e = 0; e < COUNTERS; e++)
		note(list, counter_events[e].name, measures[e], missing[e]);
	counters_close(&counters);
	tasks_close(&tasks);
}

void sensors_report(struct sensor report[SENSORS])
{
	struct list list = { report, 0 };
	struct energy energy;
	struct rusage u;
	int64_t value;
	const char *usage = getrusage(RUSAGE_SELF, &u) ? strerror(errno) : NULL;
	int cpu = sched_getcpu();

	memset(report, 0, SENSORS * sizeof *report);
	note(&list, "nivcsw", "involuntary context switches", usage);
	note(&list, "minflt", "page faults without I/O", usage);
	note(&list, "majflt", "page faults with I/O", usage);
	note_threads(&list);
	note(&list, "cpu", "which CPU ran the first thread", cpu < 0 ? strerror(errno) : NULL);
	note(&list, "cpu_time", "CPU time of all threads",
	     clock_read_ns(CLOCK_PROCESS_CPUTIME_ID) < 0 ? strerror(errno) : NULL);
	note(&list, "steal", "time the hypervisor took, in clock ticks", read_steal(NULL, 0, &value));
	note(&list, "throttled", "periods stopped by a CPU quota", read_throttled(&value));
	note(&list, "pressure", "time in which some thread waited for a CPU", read_pressure(&value));
	note(&list, "runnable", "threads that want a CPU", read_runnable(&value));
	note(&list, "freq", "clock rate of the CPU", read_frequency(cpu < 0 ? 0 : (unsigned)cpu, &value));
	note(&list, "temperature", "the hottest thermal zone", read_temperature(&value));
	note(&list, "core_throttles", "times a core was slowed: too hot", read_core_throttles(NULL, 0, &value));
	note(&list, "calibration", "time of a fixed integer loop",
	     sensors_calibrate() < 0 ? "no monotonic clock" : NULL);
	note(&list, "energy", "energy of the packages, for samples of 1 s or more", energy_open(&energy));
	note(&list, "rss", "resident memory", memory_resident() < 0 ? "not in /proc/self" : NULL);
	note(&list, "rss_reset", "resetting the peak of resident memory",
	     memory_reset_high_water() ? NULL : "/proc/self/clear_refs cannot be written");
	note(&list, "group_peak", "peak memory of the control group", read_group_peak(&value));
}
