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

/* The counters of energy move about once a millisecond, and hold neighbours
 * too: shorter samples say nothing. */
static const int64_t ENERGY_SAMPLE_NS = 1000000000;

/* ---- threads ------------------------------------------------------------- */

static bool add_task(struct tasks *tasks, pid_t id, int fd)
{
	int *fds = realloc(tasks->fd, (tasks->n + 1) * sizeof *fds);
	pid_t *ids = fds ? realloc(tasks->id, (tasks->n + 1) * sizeof *ids) : NULL;

	tasks->fd = fds ? fds : tasks->fd;
	if (!ids)
		return false;
	tasks->id = ids;
	tasks->fd[tasks->n] = fd;
	tasks->id[tasks->n++] = id;
	return true;
}

const char *tasks_open(struct tasks *tasks)
{
	char path[SYSROOT_PATH_MAX];
	DIR *dir = sysroot_path(path, "/proc/self/task") ? opendir(path) : NULL;

	*tasks = (struct tasks){ 0 };
	if (!dir)
		return strerror(errno);
	const char *why = NULL;
	for (struct dirent *e; !why && (e = readdir(dir));) {
		if (e->d_name[0] == '.' ||
		    !sysroot_path(path, "/proc/self/task/%s/schedstat", e->d_name))
			continue;
		int fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0) {
			why = strerror(errno);
		} else if (!add_task(tasks, atoi(e->d_name), fd)) {
			close(fd);
			why = strerror(ENOMEM);
		}
	}
	closedir(dir);
	if (why) /* a sum over some of the threads would mislead */
		tasks_close(tasks);
	return why;
}

void tasks_close(struct tasks *tasks)
{
	for (size_t i = 0; i < tasks->n; i++)
		close(tasks->fd[i]);
	free(tasks->fd);
	free(tasks->id);
	*tasks = (struct tasks){ 0 };
}

/* Field 2 of each. */
const char *tasks_run_delay(const struct tasks *tasks, int64_t *ns)
{
	*ns = 0;
	for (size_t i = 0; i < tasks->n; i++) {
		char text[128];
		int64_t delay;
		ssize_t n = pread(tasks->fd[i], text, sizeof text - 1, 0);
		if (n < 0)
			return strerror(errno);
		text[n] = '\0';
		if (sscanf(text, "%*u %" SCNd64, &delay) != 1)
			return "schedstat has no run delay";
		*ns += delay;
	}
	return tasks->n ? NULL : "the threads are not known";
}

/* ---- around a sample ---------------------------------------------------- */

void sensors_close(struct sensors *s)
{
	counters_close(&s->counters);
	tasks_close(&s->tasks);
}

void sensors_open(struct sensors *s, const unsigned *cpus, size_t threads)
{
	const char *why[COUNTERS];

	*s = (struct sensors){ .cpus = cpus, .threads = threads };
	tasks_open(&s->tasks);
	counters_open(&s->counters, counter_events, s->tasks.id, s->tasks.n, why);
	energy_open(&s->energy);
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
	int64_t ignored;

	if (s->energy.zones)
		energy_read(&s->energy, &ignored);
	if (tasks_run_delay(&s->tasks, &s->before.run_delay_ns))
		s->before.run_delay_ns = -1;
	read_usage(&s->before);
	s->before.cpu_before = sched_getcpu();
	s->before.cpu_ns = clock_read_ns(CLOCK_PROCESS_CPUTIME_ID);
	counters_read(&s->counters, &s->counts);
}

static int64_t difference(int64_t after, int64_t before)
{
	return after < 0 || before < 0 ? -1 : after - before;
}

void sensors_after(void *sensors, struct sample *sample)
{
	struct sensors *s = sensors;
	struct counts counts;
	struct sample now;
	int64_t value[COUNTERS];

	counters_read(&s->counters, &counts);
	now.cpu_ns = clock_read_ns(CLOCK_PROCESS_CPUTIME_ID);
	sample->cpu_before = s->before.cpu_before;
	sample->cpu_after = sched_getcpu();
	read_usage(&now);
	if (tasks_run_delay(&s->tasks, &now.run_delay_ns))
		now.run_delay_ns = -1;
	if (!s->energy.zones || energy_read(&s->energy, &sample->energy_uj) ||
	    sample->wall_ns < ENERGY_SAMPLE_NS)
		sample->energy_uj = -1;
	sample->cpu_ns = difference(now.cpu_ns, s->before.cpu_ns);
	sample->nivcsw = difference(now.nivcsw, s->before.nivcsw);
	sample->minflt = difference(now.minflt, s->before.minflt);
	sample->majflt = difference(now.majflt, s->before.majflt);
	sample->run_delay_ns = difference(now.run_delay_ns, s->before.run_delay_ns);
	counters_between(&s->counts, &counts, value, &sample->perf_scale);
	sample->cycles = value[0];
	sample->instructions = value[1];
	sample->llc_misses = value[2];
}

/* ---- around a round ----------------------------------------------------- */

/* The least of four parts: a preemption, which has sensors of its own, spoils
 * one of them and does not pass for a slow clock. */
int64_t sensors_calibrate(void)
{
	enum { PARTS = 4, STEPS = 60000 }; /* 6 dependent operations a step: half a millisecond at 3 GHz */
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

/* Counters that only grow. */
static void read_totals(const struct sensors *s, struct round_evidence *r)
{
	round_evidence_clear(r);
	if (read_steal(s->cpus, s->threads, &r->steal_ticks))
		r->steal_ticks = -1;
	if (read_throttled(&r->throttled))
		r->throttled = -1;
	if (read_pressure(&r->pressure_us))
		r->pressure_us = -1;
	if (read_core_throttles(s->cpus, s->threads, &r->core_throttles))
		r->core_throttles = -1;
}

void sensors_round_begin(struct sensors *s, struct round_evidence *round)
{
	round_evidence_clear(round);
	round->cal_before_ns = sensors_calibrate();
	if (read_runnable(&round->runnable))
		round->runnable = -1;
	read_totals(s, &s->round);
}

void sensors_round_end(struct sensors *s, struct round_evidence *round)
{
	struct round_evidence now;

	read_totals(s, &now);
	round->steal_ticks = difference(now.steal_ticks, s->round.steal_ticks);
	round->throttled = difference(now.throttled, s->round.throttled);
	round->pressure_us = difference(now.pressure_us, s->round.pressure_us);
	round->core_throttles = difference(now.core_throttles, s->round.core_throttles);
	int cpu = sched_getcpu();
	if (cpu < 0 || read_frequency(s->cpus ? s->cpus[0] : (unsigned)cpu, &round->freq_khz))
		round->freq_khz = -1;
	if (read_temperature(&round->temperature_mdegc))
		round->temperature_mdegc = -1;
	round->cal_after_ns = sensors_calibrate();
}

void sensors_judge(struct sample *samples, size_t n, const struct round_evidence *round,
                   size_t threads, bool pinned)
{
	unsigned all = (round->steal_ticks > 0 ? DISTURBED_STOLEN : 0u) |
	               (round->throttled > 0 ? DISTURBED_THROTTLED : 0u) |
	               (round->core_throttles > 0 ? DISTURBED_HOT : 0u);

	for (size_t i = 0; i < n; i++) {
		struct sample *s = &samples[i];
		double share = (double)s->run_delay_ns / ((double)s->wall_ns * (double)threads);
		bool waited = s->run_delay_ns < 0 || share > 0.01;
		bool moved = s->cpu_before >= 0 && s->cpu_after >= 0 &&
		             s->cpu_before != s->cpu_after;
		s->disturbed = all | (s->nivcsw > 0 && waited ? DISTURBED_PREEMPTED : 0u) |
		               (pinned && moved ? DISTURBED_MOVED : 0u);
	}
}
