/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What this machine is, as its files tell it. */
#include "machine.h"
#include "clock.h"
#include "sysroot.h"
#include "text.h"

#include <fcntl.h>
#include <gnu/libc-version.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

static void trim(char *s)
{
	size_t n = strcspn(s, "\n");

	while (n && (s[n - 1] == ' ' || s[n - 1] == '\t'))
		n--;
	s[n] = '\0';
}

/* The first line of a file, or "". */
static void read_line(char *out, size_t size, const char *path)
{
	if (sysroot_read(out, size, "%s", path))
		out[0] = '\0';
	trim(out);
}

static int64_t read_int(const char *path)
{
	char text[64], *end;

	read_line(text, sizeof text, path);
	long long x = strtoll(text, &end, 10);
	return end == text ? -1 : (int64_t)x;
}

/* The value behind "name   : value" in a text of such lines, or "". */
static void find_value(const char *text, const char *name, char separator, char *out, size_t size)
{
	size_t len = strlen(name);

	out[0] = '\0';
	for (const char *line = text; line; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (strncmp(line, name, len) || !strchr(" \t:=", line[len]))
			continue;
		const char *value = strchr(line, separator);
		if (!value)
			return;
		value += 1 + strspn(value + 1, " \t\"");
		snprintf(out, size, "%.*s", (int)strcspn(value, "\n\""), value);
		return;
	}
}

/* The word in brackets of "always [madvise] never". */
static void chosen_word(char *text)
{
	char *open = strchr(text, '['), *close = open ? strchr(open, ']') : NULL;

	if (close) {
		*close = '\0';
		memmove(text, open + 1, strlen(open + 1) + 1);
	}
}

static void read_cpu(struct machine *m)
{
	static char text[1 << 16];

	if (sysroot_read(text, sizeof text, "/proc/cpuinfo"))
		return;
	find_value(text, "model name", ':', m->cpu_model, sizeof m->cpu_model);
	find_value(text, "flags", ':', m->cpu_flags, sizeof m->cpu_flags);
	find_value(text, "microcode", ':', m->microcode, sizeof m->microcode);
	if (!m->cpu_flags[0])
		find_value(text, "Features", ':', m->cpu_flags, sizeof m->cpu_flags);
	if (!m->cpu_model[0]) {
		char implementer[16], part[16];
		find_value(text, "CPU implementer", ':', implementer, sizeof implementer);
		find_value(text, "CPU part", ':', part, sizeof part);
		if (part[0])
			snprintf(m->cpu_model, sizeof m->cpu_model, "implementer %s part %s", implementer, part);
	}
	char padded[sizeof m->cpu_flags + 2];
	snprintf(padded, sizeof padded, " %s ", m->cpu_flags);
	if (strstr(padded, " hypervisor ")) {
		read_line(m->hypervisor, sizeof m->hypervisor, "/sys/class/dmi/id/sys_vendor");
		if (!m->hypervisor[0])
			snprintf(m->hypervisor, sizeof m->hypervisor, "unnamed");
	}
}

static void read_system(struct machine *m)
{
	struct utsname names;
	char text[4096], id[64];

	if (uname(&names) == 0) {
		snprintf(m->kernel, sizeof m->kernel, "%s %s %s", names.sysname, names.release, names.machine);
		snprintf(m->hostname, sizeof m->hostname, "%s", names.nodename);
	}
	snprintf(m->libc, sizeof m->libc, "glibc %s", gnu_get_libc_version());
	if (!sysroot_read(text, sizeof text, "/etc/os-release"))
		find_value(text, "PRETTY_NAME", '=', m->os, sizeof m->os);

	/* The id itself is confidential (machine-id(5)): keep a hash. */
	read_line(id, sizeof id, "/etc/machine-id");
	const char *base = id[0] ? id : m->hostname;
	snprintf(m->host_id, sizeof m->host_id, "%016" PRIx64,
	         fnv64(fnv64(FNV64_START, "attnbench", 9), base, strlen(base)));

	read_line(m->clocksource, sizeof m->clocksource,
	          "/sys/devices/system/clocksource/clocksource0/current_clocksource");
	read_line(m->governor, sizeof m->governor,
	          "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor");
	read_line(m->driver, sizeof m->driver, "/sys/devices/system/cpu/cpu0/cpufreq/scaling_driver");
	read_line(m->smt, sizeof m->smt, "/sys/devices/system/cpu/smt/control");
	read_line(m->thp, sizeof m->thp, "/sys/kernel/mm/transparent_hugepage/enabled");
	chosen_word(m->thp);
	int64_t boost = read_int("/sys/devices/system/cpu/cpufreq/boost");
	int64_t no_turbo = read_int("/sys/devices/system/cpu/intel_pstate/no_turbo");
	if (boost >= 0 || no_turbo >= 0)
		snprintf(m->boost, sizeof m->boost, "%s", boost == 1 || no_turbo == 0 ? "on" : "off");
	m->aslr = (int)read_int("/proc/sys/kernel/randomize_va_space");
	m->overcommit = (int)read_int("/proc/sys/vm/overcommit_memory");
	m->perf_paranoid = (int)read_int("/proc/sys/kernel/perf_event_paranoid");
}

bool machine_cgroup(const char *controller, char *path, size_t size)
{
	char text[4096];

	if (sysroot_read(text, sizeof text, "/proc/self/cgroup"))
		return false;
	for (char *line = text, *next; line && *line; line = next) {
		next = strchr(line, '\n');
		if (next)
			*next++ = '\0';
		char *names = strchr(line, ':'), *where = names ? strchr(names + 1, ':') : NULL;
		if (!where)
			continue;
		*where++ = '\0';
		bool match = false;
		for (char *name = names + 1, *save = NULL; (name = strtok_r(name, ",", &save)); name = NULL)
			match |= !strcmp(name, controller);
		if (match || (!*controller && !names[1])) {
			snprintf(path, size, "%s", strcmp(where, "/") ? where : "");
			return true;
		}
	}
	return false;
}

/* Limits at or above the size of the machine are none. */
static void read_cgroup(struct machine *m)
{
	char where[512], dir[600] = "";
	const char *limit = "memory.limit_in_bytes", *used = "memory.usage_in_bytes";

	m->cgroup_version = 0;
	m->cgroup_memory_limit = m->cgroup_memory_used = -1;
	if (machine_cgroup("memory", where, sizeof where)) {
		m->cgroup_version = 1;
		snprintf(dir, sizeof dir, "/sys/fs/cgroup/memory%s", where);
	} else if (machine_cgroup("", where, sizeof where)) {
		m->cgroup_version = 2;
		snprintf(dir, sizeof dir, "/sys/fs/cgroup%s", where);
		limit = "memory.max";
		used = "memory.current";
	}
	/* The least limit of this level and those above counts. */
	while (strlen(dir) >= strlen("/sys/fs/cgroup")) {
		char path[700];
		snprintf(path, sizeof path, "%s/%s", dir, limit);
		int64_t here = read_int(path);
		if (here > 0 && (m->memory_total <= 0 || here < m->memory_total) &&
		    (m->cgroup_memory_limit < 0 || here < m->cgroup_memory_limit)) {
			m->cgroup_memory_limit = here;
			snprintf(path, sizeof path, "%s/%s", dir, used);
			m->cgroup_memory_used = read_int(path);
		}
		*strrchr(dir, '/') = '\0';
	}
}

static void read_memory(struct machine *m)
{
	char text[4096], value[64];

	m->memory_total = m->memory_available = -1;
	if (!sysroot_read(text, sizeof text, "/proc/meminfo")) {
		find_value(text, "MemTotal", ':', value, sizeof value);
		if (value[0])
			m->memory_total = strtoll(value, NULL, 10) * 1024;
		find_value(text, "MemAvailable", ':', value, sizeof value);
		if (value[0])
			m->memory_available = strtoll(value, NULL, 10) * 1024;
	}
	m->load1 = NAN;
	m->runnable = -1;
	if (!sysroot_read(text, sizeof text, "/proc/loadavg")) {
		char *slash = strchr(text, '/');
		m->load1 = strtod(text, NULL);
		while (slash && slash > text && slash[-1] >= '0' && slash[-1] <= '9')
			slash--;
		if (slash)
			m->runnable = atoi(slash);
	}
}

void machine_read(struct machine *m)
{
	*m = (struct machine){ 0 };
	read_cpu(m);
	read_system(m);
	read_memory(m);
	read_cgroup(m);
}

int64_t machine_memory(const struct machine *m)
{
	int64_t free_bytes = m->memory_available;

	if (m->cgroup_memory_limit >= 0) {
		int64_t used = m->cgroup_memory_used > 0 ? m->cgroup_memory_used : 0;
		int64_t left = m->cgroup_memory_limit > used ? m->cgroup_memory_limit - used : 0;
		if (free_bytes < 0 || left < free_bytes)
			free_bytes = left;
	}
	return free_bytes;
}

void machine_clock(double *resolution, double *cost)
{
	enum { CALLS = 2000 };
	int64_t least = INT64_MAX, start = clock_now_ns(), last = start;

	for (int i = 0; i < CALLS; i++) {
		int64_t now = clock_now_ns();
		if (now > last && now - last < least)
			least = now - last;
		last = now;
	}
	*resolution = least == INT64_MAX ? NAN : (double)least;
	*cost = (double)(last - start) / CALLS;
}

void machine_program_hash(char out[17])
{
	struct stat st;
	int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);

	out[0] = '\0';
	if (fd < 0)
		return;
	if (fstat(fd, &st) == 0 && st.st_size > 0) {
		void *map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
		if (map != MAP_FAILED) {
			snprintf(out, 17, "%016" PRIx64, fnv64(FNV64_START, map, (size_t)st.st_size));
			munmap(map, (size_t)st.st_size);
		}
	}
	close(fd);
}

bool machine_root(const char *entry, char *out, size_t size)
{
	char self[4096], path[4200];
	ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);

	if (n <= 0)
		return false;
	self[n] = '\0';
	for (char *slash; (slash = strrchr(self, '/'));) {
		*slash = '\0';
		static const char *const below[] = { "", "/share/attnbench" };
		for (size_t i = 0; i < 2; i++) {
			snprintf(path, sizeof path, "%s%s/%s", self, below[i], entry);
			if (access(path, F_OK) == 0)
				return snprintf(out, size, "%s%s", self, below[i]) < (int)size;
		}
	}
	return false;
}
