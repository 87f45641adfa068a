/* SPDX-License-Identifier: BSD-3-Clause
 *
 * perf_event_open without a library: three generic events, which the kernel
 * translates for each CPU, are all that is wanted. */
#include "counters.h"

#include <errno.h>
#include <linux/perf_event.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

const struct counter_event counter_events[COUNTERS] = {
	{ "cycles", PERF_TYPE_HARDWARE, PERF_COUNT_HW_CPU_CYCLES },
	{ "instructions", PERF_TYPE_HARDWARE, PERF_COUNT_HW_INSTRUCTIONS },
	{ "llc_misses", PERF_TYPE_HARDWARE, PERF_COUNT_HW_CACHE_MISSES },
};

static int open_event(const struct counter_event *event, pid_t thread, int leader)
{
	struct perf_event_attr attr = {
		.type = event->type,
		.size = sizeof attr,
		.config = event->config,
		.read_format = PERF_FORMAT_GROUP | PERF_FORMAT_TOTAL_TIME_ENABLED |
		               PERF_FORMAT_TOTAL_TIME_RUNNING,
		.exclude_kernel = 1, /* what perf_event_paranoid = 2 allows anyone */
		.exclude_hv = 1,
	};
	return (int)syscall(SYS_perf_event_open, &attr, thread, -1, leader, PERF_FLAG_FD_CLOEXEC);
}

static const char *reason(int error)
{
	switch (error) {
	case ENOENT:
	case ENODEV:
	case EOPNOTSUPP:
		return "this CPU, or what it is virtualised by, has no such counter";
	case EACCES:
	case EPERM:
		return "not allowed: see /proc/sys/kernel/perf_event_paranoid";
	default:
		return strerror(error);
	}
}

/* The leader of a thread: its first event that is open. */
static int leader_of(const struct counters *c, size_t thread)
{
	for (size_t e = 0; e < COUNTERS; e++)
		if (c->fd[thread * COUNTERS + e] >= 0)
			return c->fd[thread * COUNTERS + e];
	return -1;
}

void counters_open(struct counters *c, const struct counter_event events[COUNTERS],
                   const pid_t *thread, size_t threads, const char *why[COUNTERS])
{
	*c = (struct counters){ .threads = threads };
	for (size_t e = 0; e < COUNTERS; e++)
		why[e] = threads ? NULL : "the threads are not known";
	c->fd = threads ? malloc(threads * COUNTERS * sizeof *c->fd) : NULL;
	if (!c->fd) {
		for (size_t e = 0; e < COUNTERS && threads; e++)
			why[e] = strerror(ENOMEM);
		c->threads = 0;
		return;
	}
	for (size_t i = 0; i < threads * COUNTERS; i++)
		c->fd[i] = -1;
	for (size_t e = 0; e < COUNTERS; e++) {
		for (size_t t = 0; t < threads && !why[e]; t++) {
			int fd = open_event(&events[e], thread[t], leader_of(c, t));
			if (fd < 0)
				why[e] = reason(errno);
			c->fd[t * COUNTERS + e] = fd;
		}
		c->have[e] = !why[e];
		for (size_t t = 0; t < threads && why[e]; t++) {
			if (c->fd[t * COUNTERS + e] >= 0)
				close(c->fd[t * COUNTERS + e]);
			c->fd[t * COUNTERS + e] = -1;
		}
	}
}

void counters_close(struct counters *c)
{
	for (size_t i = 0; i < c->threads * COUNTERS; i++)
		if (c->fd[i] >= 0)
			close(c->fd[i]);
	free(c->fd);
	*c = (struct counters){ 0 };
}

void counters_read(const struct counters *c, struct counts *now)
{
	struct {
		uint64_t n, enabled, running, value[COUNTERS];
	} group;

	*now = (struct counts){ 0 };
	for (size_t e = 0; e < COUNTERS; e++)
		now->value[e] = c->have[e] ? 0 : -1;
	for (size_t t = 0; t < c->threads; t++) {
		int leader = leader_of(c, t);
		if (leader < 0)
			continue;
		if (read(leader, &group, sizeof group) < 3 * (ssize_t)sizeof(uint64_t)) {
			for (size_t e = 0; e < COUNTERS; e++)
				now->value[e] = -1;
			return;
		}
		now->enabled += (int64_t)group.enabled;
		now->running += (int64_t)group.running;
		/* The values come in the order in which the events were opened. */
		for (size_t e = 0, k = 0; e < COUNTERS; e++)
			if (c->have[e] && k < group.n)
				now->value[e] += (int64_t)group.value[k++];
	}
}

void counters_between(const struct counts *before, const struct counts *after,
                      int64_t value[COUNTERS], double *share)
{
	int64_t enabled = after->enabled - before->enabled, running = after->running - before->running;
	bool any = false;

	for (size_t e = 0; e < COUNTERS; e++) {
		value[e] = -1;
		if (before->value[e] < 0 || after->value[e] < 0)
			continue;
		any = true;
		if (running > 0)
			value[e] = (int64_t)((double)(after->value[e] - before->value[e]) *
			                     ((double)enabled / (double)running));
	}
	*share = any && enabled > 0 ? (double)running / (double)enabled : (double)NAN;
}
