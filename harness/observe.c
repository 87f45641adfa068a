/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Counters of another process. */
#include "observe.h"

#include <dirent.h>
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "clock.h"
#include "sysroot.h"

/* Calls fn for each thread; false if they cannot be listed. */
static bool each_task(pid_t pid, void (*fn)(pid_t pid, pid_t task, void *user), void *user)
{
	char path[SYSROOT_PATH_MAX];
	DIR *dir = sysroot_path(path, "/proc/%d/task", (int)pid) ? opendir(path) : NULL;

	if (!dir)
		return false;
	for (struct dirent *e; (e = readdir(dir));) {
		pid_t task = (pid_t)strtol(e->d_name, NULL, 10);
		if (task > 0)
			fn(pid, task, user);
	}
	closedir(dir);
	return true;
}

static void add_task(pid_t pid, pid_t task, void *user)
{
	struct observed *now = user;
	char text[4096];
	int64_t delay, switches;

	/* A thread that ends meanwhile takes its counts with it. */
	if (!sysroot_read(text, sizeof text, "/proc/%d/task/%d/schedstat", (int)pid, (int)task) &&
	    sscanf(text, "%*u %" SCNd64, &delay) == 1)
		now->run_delay_ns = (now->run_delay_ns < 0 ? 0 : now->run_delay_ns) + delay;
	if (!sysroot_read(text, sizeof text, "/proc/%d/task/%d/status", (int)pid, (int)task)) {
		const char *line = strstr(text, "\nnonvoluntary_ctxt_switches:");
		if (line && sscanf(line, " %*[^:]: %" SCNd64, &switches) == 1)
			now->nivcsw = (now->nivcsw < 0 ? 0 : now->nivcsw) + switches;
	}
}

/* Fields 10, 12 and 39 of /proc/PID/stat, counted after the name, which may
 * hold blanks and ends with the last parenthesis. */
static void read_stat(pid_t pid, struct observed *now)
{
	enum { FIRST = 3, MINFLT = 10, MAJFLT = 12, CPU = 39 };
	char text[2048];

	if (sysroot_read(text, sizeof text, "/proc/%d/stat", (int)pid))
		return;
	char *at = strrchr(text, ')'), *save = NULL;
	int field = FIRST;
	for (char *w = at ? strtok_r(at + 1, " ", &save) : NULL; w; w = strtok_r(NULL, " ", &save), field++) {
		if (field == MINFLT)
			now->minflt = strtoll(w, NULL, 10);
		else if (field == MAJFLT)
			now->majflt = strtoll(w, NULL, 10);
		else if (field == CPU)
			now->cpu = (int)strtol(w, NULL, 10);
	}
}

void observe(pid_t pid, struct observed *now)
{
	clockid_t clock;

	*now = (struct observed){ -1, -1, -1, -1, -1, -1 };
	read_stat(pid, now);
	each_task(pid, add_task, now);
	if (clock_getcpuclockid(pid, &clock) == 0)
		now->cpu_ns = clock_read_ns(clock);
}

static int64_t difference(int64_t after, int64_t before)
{
	/* Threads that ended in between would make it negative. */
	return after < 0 || before < 0 || after < before ? -1 : after - before;
}

void observe_difference(const struct observed *before, const struct observed *after, struct sample *s)
{
	s->cpu_before = before->cpu;
	s->cpu_after = after->cpu;
	s->cpu_ns = difference(after->cpu_ns, before->cpu_ns);
	s->nivcsw = difference(after->nivcsw, before->nivcsw);
	s->run_delay_ns = difference(after->run_delay_ns, before->run_delay_ns);
	s->minflt = difference(after->minflt, before->minflt);
	s->majflt = difference(after->majflt, before->majflt);
}

struct allowed {
	const unsigned *cpus;
	size_t n, astray;
};

static void check_task(pid_t pid, pid_t task, void *user)
{
	enum { CPUS = 8192 };
	struct allowed *a = user;
	cpu_set_t *mask = CPU_ALLOC(CPUS);
	size_t bytes = CPU_ALLOC_SIZE(CPUS);

	(void)pid;
	if (mask && sched_getaffinity(task, bytes, mask) == 0) {
		for (size_t i = 0; i < a->n; i++)
			CPU_CLR_S(a->cpus[i], bytes, mask);
		a->astray += CPU_COUNT_S(bytes, mask) > 0;
	}
	if (mask)
		CPU_FREE(mask);
}

size_t observe_unpinned(pid_t pid, const unsigned *cpus, size_t n)
{
	struct allowed allowed = { cpus, n, 0 };

	each_task(pid, check_task, &allowed);
	return allowed.astray;
}
