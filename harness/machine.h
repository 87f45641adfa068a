/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Facts of the machine and of this process, from /proc, /sys and the C
 * library: for run.json, for the doctor, for limits. "" or -1: not known.
 */
#ifndef HARNESS_MACHINE_H
#define HARNESS_MACHINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct machine {
	char cpu_model[128], cpu_flags[4096], microcode[32];
	char kernel[200], libc[64], os[128], hostname[72];
	char host_id[24]; /* hash of the machine id, or of what stands in for it */
	char clocksource[32], governor[32], driver[32], boost[16], smt[16], thp[64];
	char hypervisor[32]; /* "": none that shows itself */
	int aslr, overcommit, perf_paranoid;
	int64_t memory_total, memory_available;
	int cgroup_version;
	int64_t cgroup_memory_limit, cgroup_memory_used;
	double load1; /* NAN: not known */
	int runnable; /* threads that want a CPU now, this one included */
};

void machine_read(struct machine *machine);

/* Where this process is in a hierarchy of control groups: that of a controller
 * (version 1), or of version 2 for "". The root is "". False: in none. */
bool machine_cgroup(const char *controller, char *path, size_t size);

/* Bytes that a new process can use now: what the system has available, or what
 * the cgroup leaves, whichever is less. -1: neither is known. */
int64_t machine_memory(const struct machine *machine);

/* Step and cost of the clock that times the samples, in ns. */
void machine_clock(double *resolution, double *cost);

/* A hash of this program's file, "" if it cannot be read. */
void machine_program_hash(char out[17]);

/* The directory that holds the project: the one above the program, or a
 * share/attnbench near it, that has this entry. False: none. */
bool machine_root(const char *entry, char *out, size_t size);

#endif
