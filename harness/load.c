/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Bursts. */
#include "load.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../attention/attn.h"
#include "clock.h"
#include "text.h"

static const size_t COPY_BYTES = (size_t)32 << 20;
static const double SHORTEST_S = 0.2, LONGEST_S = 2;

static int64_t stretch_ns(uint64_t seed, uint64_t process, uint64_t index)
{
	double u = attn_random_uniform(seed, process, index);

	return (int64_t)(1e9 * (SHORTEST_S + u * (LONGEST_S - SHORTEST_S)));
}

/* The child: only calls that are safe after a fork. */
static void copy_in_bursts(unsigned cpu, uint64_t seed, uint64_t process, pid_t parent)
{
	cpu_set_t set;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	signal(SIGINT, SIG_DFL);
	signal(SIGTERM, SIG_DFL);
	if (getppid() != parent)
		_exit(0);
	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	sched_setaffinity(0, sizeof set, &set); /* elsewhere, it is a load all the same */
	char *from = mmap(NULL, 2 * COPY_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (from == MAP_FAILED)
		_exit(1);
	memset(from, 1, COPY_BYTES);
	for (uint64_t i = 0;; i += 2) {
		int64_t end = clock_now_ns() + stretch_ns(seed, process, i);
		while (clock_now_ns() < end) {
			memcpy(from + COPY_BYTES, from, COPY_BYTES);
			__asm__ volatile("" ::: "memory");
		}
		int64_t pause = stretch_ns(seed, process, i + 1);
		struct timespec t = { pause / 1000000000, pause % 1000000000 };
		nanosleep(&t, NULL);
	}
}

bool load_start(struct load *load, const unsigned *cpus, size_t n, uint64_t seed, char *error)
{
	pid_t parent = getpid();

	load->n = 0;
	for (size_t i = 0; i < n && i < LOAD_MAX; i++) {
		pid_t child = fork();
		if (child == 0)
			copy_in_bursts(cpus[i], seed, i, parent);
		if (child < 0) {
			fail(error, "a process of the load cannot be started: %s", strerror(errno));
			load_stop(load);
			return false;
		}
		load->process[load->n++] = child;
	}
	return true;
}

void load_stop(struct load *load)
{
	for (size_t i = 0; i < load->n; i++)
		kill(load->process[i], SIGKILL);
	for (size_t i = 0; i < load->n; i++)
		while (waitpid(load->process[i], NULL, 0) < 0 && errno == EINTR)
			;
	load->n = 0;
}
