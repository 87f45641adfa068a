/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Reading them. */
#include "readings.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "machine.h"

/* The cpu lines of /proc/stat come first, some 100 bytes each. */
enum { STAT_BYTES = 1 << 16, FILE_BYTES = 4096 };

/* The first number of a file. */
__attribute__((format(printf, 2, 3)))
static const char *read_number(int64_t *x, const char *format, ...)
{
	char path[SYSROOT_PATH_MAX], text[64];
	va_list args;

	va_start(args, format);
	int n = vsnprintf(path, sizeof path, format, args);
	va_end(args);
	if (n < 0 || n >= (int)sizeof path)
		return "path too long";
	const char *why = sysroot_read(text, sizeof text, "%s", path);
	if (!why && sscanf(text, "%" SCNd64, x) != 1)
		why = "not a number";
	return why;
}

/* Column 8 of the line of a CPU, or of "cpu " for all of them. */
const char *read_steal(const unsigned *cpus, size_t n, int64_t *ticks)
{
	char *text = malloc(STAT_BYTES);
	if (!text)
		return strerror(ENOMEM);
	const char *why = sysroot_read(text, STAT_BYTES, "/proc/stat");

	*ticks = 0;
	for (size_t i = 0; !why && i < (cpus ? n : 1); i++) {
		char name[32];
		int64_t steal;
		if (cpus)
			snprintf(name, sizeof name, "cpu%u ", cpus[i]);
		else
			snprintf(name, sizeof name, "cpu ");
		const char *line = text;
		while (line && strncmp(line, name, strlen(name)) != 0) {
			line = strchr(line, '\n');
			line = line ? line + 1 : NULL;
		}
		if (!line || sscanf(line, "%*s %*u %*u %*u %*u %*u %*u %*u %" SCNd64, &steal) != 1)
			why = "no steal column in /proc/stat";
		else
			*ticks += steal;
	}
	free(text);
	return why;
}

/* A file of the control group of this process: of the version 1 hierarchy that
 * has the controller, else of version 2. In a container the group may be
 * mounted as the root. */
static const char *read_group(const char *controller, const char *v1, const char *v2, char *text,
                              size_t size)
{
	char where[512];
	const char *why = "this process is in no control group";

	if (machine_cgroup(controller, where, sizeof where)) {
		why = sysroot_read(text, size, "/sys/fs/cgroup/%s%s/%s", controller, where, v1);
		if (why)
			why = sysroot_read(text, size, "/sys/fs/cgroup/%s/%s", controller, v1);
	}
	if (why && machine_cgroup("", where, sizeof where)) {
		why = sysroot_read(text, size, "/sys/fs/cgroup%s/%s", where, v2);
		if (why)
			why = sysroot_read(text, size, "/sys/fs/cgroup/%s", v2);
	}
	return why;
}

const char *read_throttled(int64_t *periods)
{
	char text[FILE_BYTES];
	const char *why = read_group("cpu", "cpu.stat", "cpu.stat", text, sizeof text);
	const char *found = why ? NULL : strstr(text, "nr_throttled ");

	if (!why && (!found || sscanf(found, "nr_throttled %" SCNd64, periods) != 1))
		why = "no cpu.stat with nr_throttled in the control group";
	return why;
}

const char *read_group_peak(int64_t *bytes)
{
	char text[FILE_BYTES];
	const char *why = read_group("memory", "memory.max_usage_in_bytes", "memory.peak", text,
	                             sizeof text);

	if (!why && sscanf(text, "%" SCNd64, bytes) != 1)
		why = "not a number";
	return why;
}

const char *read_pressure(int64_t *us)
{
	char text[FILE_BYTES];
	const char *why = sysroot_read(text, sizeof text, "/proc/pressure/cpu");
	const char *total = why || strncmp(text, "some ", 5) ? NULL : strstr(text, " total=");

	if (!why && (!total || sscanf(total, " total=%" SCNd64, us) != 1))
		why = "no total in /proc/pressure/cpu";
	return why;
}

const char *read_runnable(int64_t *threads)
{
	char text[FILE_BYTES];
	const char *why = sysroot_read(text, sizeof text, "/proc/loadavg");

	if (!why && sscanf(text, "%*s %*s %*s %" SCNd64 "/", threads) != 1)
		why = "no count in /proc/loadavg";
	return why;
}

const char *read_frequency(unsigned cpu, int64_t *khz)
{
	return read_number(khz, "/sys/devices/system/cpu/cpu%u/cpufreq/scaling_cur_freq", cpu);
}

const char *read_temperature(int64_t *millidegrees)
{
	const char *why = NULL;
	int64_t here;

	*millidegrees = INT64_MIN;
	for (unsigned zone = 0; !why; zone++)
		if (!(why = read_number(&here, "/sys/class/thermal/thermal_zone%u/temp", zone)))
			*millidegrees = here > *millidegrees ? here : *millidegrees;
	return *millidegrees == INT64_MIN ? why : NULL;
}

const char *read_core_throttles(const unsigned *cpus, size_t n, int64_t *events)
{
	const char *why = NULL;
	int64_t here;

	*events = 0;
	for (size_t i = 0; !why && i < (cpus ? n : 1); i++) {
		why = read_number(&here, "/sys/devices/system/cpu/cpu%u/thermal_throttle/core_throttle_count",
		                  cpus ? cpus[i] : 0);
		*events += why ? 0 : here;
	}
	return why;
}

/* intel-rapl:N is a package (AMD's too); intel-rapl:N:M is part of one. */
static bool is_package(const char *zone)
{
	char name[64];

	return !strncmp(zone, "intel-rapl:", 11) && !strchr(zone + 11, ':') &&
	       !sysroot_read(name, sizeof name, "/sys/class/powercap/%.64s/name", zone) &&
	       !strncmp(name, "package", 7);
}

const char *energy_open(struct energy *e)
{
	char path[SYSROOT_PATH_MAX];
	const char *why = "no package among the zones of powercap";

	e->zones = 0;
	if (!sysroot_path(path, "/sys/class/powercap"))
		return "path too long";
	DIR *dir = opendir(path);
	if (!dir)
		return strerror(errno);
	for (struct dirent *entry; (entry = readdir(dir)) && e->zones < 16;) {
		struct energy_zone *z = &e->zone[e->zones];
		if (!is_package(entry->d_name))
			continue;
		snprintf(z->path, sizeof z->path, "/sys/class/powercap/%.64s", entry->d_name);
		if ((why = read_number(&z->last, "%.128s/energy_uj", z->path)))
			break;
		if (read_number(&z->range, "%.128s/max_energy_range_uj", z->path))
			z->range = 0;
		e->zones++;
	}
	closedir(dir);
	if (why)
		e->zones = 0; /* a sum over some packages would mislead */
	return why;
}

const char *energy_read(struct energy *e, int64_t *uj)
{
	const char *why = e->zones ? NULL : "no energy counter";
	int64_t sum = 0, now;

	for (size_t i = 0; !why && i < e->zones; i++) {
		struct energy_zone *z = &e->zone[i];
		if ((why = read_number(&now, "%.128s/energy_uj", z->path)))
			break;
		if (now < z->last && z->range <= 0)
			why = "an energy counter went back";
		sum += now - z->last + (now < z->last ? z->range : 0);
		z->last = now;
	}
	*uj = sum;
	return why;
}
