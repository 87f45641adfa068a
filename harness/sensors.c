/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Counters of the kernel around samples and rounds. */
#include "sensors.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "clock.h"
#include "sysroot.h"

/* The cpu lines of /proc/stat come first, some 100 bytes each. */
enum { STAT_BYTES = 1 << 16, LINE_BYTES = 4096 };

/* ---- readings: NULL, or why not ---------------------------------------- */

/* Column 8 of the line of a CPU, or of "cpu " for all of them. */
static const char *read_steal(const unsigned *cpus, size_t n, int64_t *ticks)
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

/* The cgroup of this process in the hierarchy that has cpu.stat: version 2 has
 * the line "0::PATH", version 1 a line "N:cpu,cpuacct:PATH". */
static const char *read_throttled(int64_t *periods)
{
	char groups[LINE_BYTES], stat[LINE_BYTES], *save = NULL;
	const char *why = sysroot_read(groups, sizeof groups, "/proc/self/cgroup");

	if (why)
		return why;
	why = "no cpu.stat with nr_throttled in the control group";
	for (char *line = strtok_r(groups, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		char *names = strchr(line, ':'), *path = names ? strchr(names + 1, ':') : NULL;
		if (!path)
			continue;
		*path++ = '\0';
		names++;
		bool v1 = !strcmp(names, "cpu") || !strncmp(names, "cpu,", 4) ||
		          strstr(names, ",cpu,");
		if (*names != '\0' && !v1)
			continue;
		if (sysroot_read(stat, sizeof stat, "/sys/fs/cgroup%s%s%s/cpu.stat",
		                 v1 ? "/" : "", names, !strcmp(path, "/") ? "" : path))
			continue;
		const char *found = strstr(stat, "nr_throttled ");
		if (found && sscanf(found, "nr_throttled %" SCNd64, periods) == 1)
			return NULL;
	}
	return why;
}

static const char *read_frequency(unsigned cpu, int64_t *khz)
{
	char text[64];
	const char *why =
	        sysroot_read(text, sizeof text,
	                     "/sys/devices/system/cpu/cpu%u/cpufreq/scaling_cur_freq", cpu);
	if (!why && sscanf(text, "%" SCNd64, khz) != 1)
		why = "scaling_cur_freq is not a number";
	return why;
}

/* Field 2: nanoseconds spent runnable, waiting for a CPU. */
static bool read_run_delay(const struct sensors *s, int64_t *ns)
{
	*ns = 0;
	for (size_t i = 0; i < s->tasks; i++) {
		char text[128];
		int64_t delay;
		ssize_t n = pread(s->task_fd[i], text, sizeof text - 1, 0);
		if (n < 0)
			return false;
		text[n] = '\0';
		if (sscanf(text, "%*u %" SCNd64, &delay) != 1)
			return false;
		*ns += delay;
	}
	return s->tasks > 0;
}

static const char *open_tasks(struct sensors *s)
{
	char path[SYSROOT_PATH_MAX];
	DIR *dir = sysroot_path(path, "/proc/self/task") ? opendir(path) : NULL;

	if (!dir)
		return strerror(errno);
	const char *why = NULL;
	for (struct dirent *e; !why && (e = readdir(dir));) {
		if (e->d_name[0] == '.' ||
		    !sysroot_path(path, "/proc/self/task/%s/schedstat", e->d_name))
			continue;
		int *more = realloc(s->task_fd, (s->tasks + 1) * sizeof *more);
		if (!more) {
			why = strerror(ENOMEM);
			break;
		}
		s->task_fd = more;
		int fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			why = strerror(errno);
		else
			s->task_fd[s->tasks++] = fd;
	}
	closedir(dir);
	return why;
}

/* ---- around a sample ---------------------------------------------------- */

void sensors_close(struct sensors *s)
{
	for (size_t i = 0; i < s->tasks; i++)
		close(s->task_fd[i]);
	free(s->task_fd);
	s->task_fd = NULL;
	s->tasks = 0;
}

void sensors_open(struct sensors *s, const unsigned *cpus, size_t threads)
{
	*s = (struct sensors){ .cpus = cpus, .threads = threads };
	if (open_tasks(s)) /* a sum over some of the threads would mislead */
		sensors_close(s);
}

static void read_usage(struct sample *now)
{
	struct rusage u;

	now->nivcsw = now->minflt = now->majflt = -1;
	if (getrusage(RUSAGE_SELF, &u) == 0) {
		now->nivcsw = u.ru_nivcsw;
		now->minflt = u.ru_minflt;
		now->majflt = u.ru_majflt;
	}
}

void sensors_before(void *sensors)
{
	struct sensors *s = sensors;

	if (!read_run_delay(s, &s->before.run_delay_ns))
		s->before.run_delay_ns = -1;
	read_usage(&s->before);
	s->before.cpu_before = sched_getcpu();
	s->before.cpu_ns = clock_read_ns(CLOCK_PROCESS_CPUTIME_ID);
}

static int64_t difference(int64_t after, int64_t before)
{
	return after < 0 || before < 0 ? -1 : after - before;
}

void sensors_after(void *sensors, struct sample *sample)
{
	struct sensors *s = sensors;
	struct sample now;

	now.cpu_ns = clock_read_ns(CLOCK_PROCESS_CPUTIME_ID);
	sample->cpu_before = s->before.cpu_before;
	sample->cpu_after = sched_getcpu();
	read_usage(&now);
	if (!read_run_delay(s, &now.run_delay_ns))
		now.run_delay_ns = -1;
	sample->cpu_ns = difference(now.cpu_ns, s->before.cpu_ns);
	sample->nivcsw = difference(now.nivcsw, s->before.nivcsw);
	sample->minflt = difference(now.minflt, s->before.minflt);
	sample->majflt = difference(now.majflt, s->before.majflt);
	sample->run_delay_ns = difference(now.run_delay_ns, s->before.run_delay_ns);
}

/* ---- around a round ----------------------------------------------------- */

/* The least of four parts: a preemption, which has sensors of its own, spoils
 * one of them and does not pass for a slow clock. */
int64_t sensors_calibrate(void)
{
	enum { PARTS = 4, STEPS = 250000 }; /* 6 dependent operations a step: 2 ms at 3 GHz */
	uint64_t x = 88172645463325252u;
	int64_t least = INT64_MAX;

	for (int part = 0; part < PARTS; part++) {
		int64_t start = clock_now_ns();
		for (int i = 0; i < STEPS; i++) {
			x ^= x << 13;
			x ^= x >> 7;
			x ^= x << 17;
		}
		__asm__ volatile("" : "+r"(x));
		int64_t took = clock_now_ns() - start;
		least = took < least ? took : least;
	}
	return PARTS * least;
}

void sensors_round_begin(struct sensors *s, struct round_evidence *round)
{
	round->cal_before_ns = sensors_calibrate();
	if (read_steal(s->cpus, s->threads, &s->steal))
		s->steal = -1;
	if (read_throttled(&s->throttled))
		s->throttled = -1;
}

void sensors_round_end(struct sensors *s, struct round_evidence *round)
{
	int64_t steal = -1, throttled = -1;

	if (read_steal(s->cpus, s->threads, &steal))
		steal = -1;
	if (read_throttled(&throttled))
		throttled = -1;
	round->steal_ticks = difference(steal, s->steal);
	round->throttled = difference(throttled, s->throttled);
	int cpu = sched_getcpu();
	if (cpu < 0 || read_frequency(s->cpus ? s->cpus[0] : (unsigned)cpu, &round->freq_khz))
		round->freq_khz = -1;
	round->cal_after_ns = sensors_calibrate();
}

void sensors_judge(struct sample *samples, size_t n, const struct round_evidence *round,
                   size_t threads, bool pinned)
{
	for (size_t i = 0; i < n; i++) {
		struct sample *s = &samples[i];
		double share = (double)s->run_delay_ns / ((double)s->wall_ns * (double)threads);
		bool waited = s->run_delay_ns < 0 || share > 0.01;
		bool moved = s->cpu_before >= 0 && s->cpu_after >= 0 &&
		             s->cpu_before != s->cpu_after;
		s->disturbed = (s->nivcsw > 0 && waited) || (pinned && moved) ||
		               round->steal_ticks > 0 || round->throttled > 0;
	}
}

/* ---- what there is ------------------------------------------------------ */

static void note(struct sensor *sensor, const char *name, const char *measures, const char *why)
{
	sensor->name = name;
	sensor->measures = measures;
	sensor->available = why == NULL;
	snprintf(sensor->reason, sizeof sensor->reason, "%s", why ? why : "");
}

void sensors_report(struct sensor report[SENSORS])
{
	struct rusage u;
	struct sensors s = { 0 };
	int64_t value;
	const char *usage = getrusage(RUSAGE_SELF, &u) ? strerror(errno) : NULL;
	const char *tasks = open_tasks(&s);
	int cpu = sched_getcpu();
	const char *where = cpu < 0 ? strerror(errno) : NULL;

	if (!tasks && !read_run_delay(&s, &value))
		tasks = "schedstat has no run delay";
	sensors_close(&s);
	note(&report[0], "nivcsw", "involuntary context switches", usage);
	note(&report[1], "minflt", "page faults without I/O", usage);
	note(&report[2], "majflt", "page faults with I/O", usage);
	note(&report[3], "run_delay", "time spent waiting for a CPU", tasks);
	note(&report[4], "cpu", "which CPU ran the first thread", where);
	note(&report[5], "cpu_time", "CPU time of all threads",
	     clock_read_ns(CLOCK_PROCESS_CPUTIME_ID) < 0 ? strerror(errno) : NULL);
	note(&report[6], "steal", "time the hypervisor took, in clock ticks",
	     read_steal(NULL, 0, &value));
	note(&report[7], "throttled", "periods stopped by a CPU quota", read_throttled(&value));
	note(&report[8], "freq", "clock rate of the CPU",
	     read_frequency(cpu < 0 ? 0 : (unsigned)cpu, &value));
	note(&report[9], "calibration", "time of a fixed integer loop",
	     sensors_calibrate() < 0 ? "no monotonic clock" : NULL);
}
