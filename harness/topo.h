/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The topology of the machine, by hwloc: which CPUs we may use, which of them
 * to choose for T threads, how large the caches are.
 */
#ifndef HARNESS_TOPO_H
#define HARNESS_TOPO_H

#include <stdbool.h>
#include <stddef.h>

#include "text.h"

enum { TOPO_CPUS_MAX = 256 };

struct topo;

struct topo_info {
	unsigned packages, numa_nodes, cores, pus; /* that we may use */
	unsigned smt;           /* hardware threads of the largest core */
	size_t l1d_bytes, l2_bytes, l3_bytes; /* of one cache; 0: unknown */
	size_t llc_bytes;       /* the last level that is there */
	double quota;           /* CPUs that the cgroup grants; 0: no limit */
	double effective_cpus;  /* min(pus, quota) */
	const char *hwloc_version;
	bool synthetic;         /* not this machine: HWLOC_SYNTHETIC, HWLOC_XMLFILE */
};

/* NULL and a sentence in error if there is no topology. */
struct topo *topo_load(char *error);
void topo_free(struct topo *topo);
void topo_info(const struct topo *topo, struct topo_info *info);

/* Chooses `threads` CPUs, numbered as the system does: one of each core, of as
 * few NUMA nodes as can hold them, CPU 0 last, as interrupts land there; a
 * second one of a core only when there are no other cores. `wanted` ("2-5,8",
 * NULL: any) restricts the choice. */
bool topo_choose(const struct topo *topo, unsigned threads, const char *wanted, unsigned *cpus,
                 char *error);

/* The CPUs we may use, as "0-3,8", in out. */
void topo_allowed(const struct topo *topo, char *out, size_t size);

/* The XML of hwloc, for `lstopo -i`. */
bool topo_export(const struct topo *topo, const char *path, char *error);

/* CPUs that the cgroup of this process grants, 0: no limit. Versions 1 and 2. */
double topo_quota(void);

#endif
