/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Topology. The one file that includes hwloc. */
#include "topo.h"
#include "machine.h"
#include "sysroot.h"

#include <errno.h>
#include <hwloc.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct topo {
	hwloc_topology_t hw;
	hwloc_bitmap_t allowed; /* of the system, this process and its cgroup */
	char version[32];
	bool ours; /* false: a synthetic or foreign topology */
};

/* What sched_getaffinity() lets us use, as a bitmap. */
static void restrict_to_affinity(hwloc_bitmap_t allowed)
{
	cpu_set_t set;
	hwloc_bitmap_t mine;

	if (sched_getaffinity(0, sizeof set, &set) || !(mine = hwloc_bitmap_alloc()))
		return;
	for (unsigned i = 0; i < CPU_SETSIZE; i++)
		if (CPU_ISSET(i, &set))
			hwloc_bitmap_set(mine, i);
	if (hwloc_bitmap_intersects(mine, allowed))
		hwloc_bitmap_and(allowed, allowed, mine);
	hwloc_bitmap_free(mine);
}

struct topo *topo_load(char *error)
{
	struct topo *topo = calloc(1, sizeof *topo);

	if (!topo || hwloc_topology_init(&topo->hw)) {
		free(topo);
		fail(error, "hwloc cannot start: out of memory");
		return NULL;
	}
	if (hwloc_topology_load(topo->hw)) {
		fail(error, "hwloc cannot read the topology of this machine: %s; check HWLOC_SYNTHETIC and "
		     "HWLOC_XMLFILE if they are set", strerror(errno));
		hwloc_topology_destroy(topo->hw);
		free(topo);
		return NULL;
	}
	unsigned v = hwloc_get_api_version();
	snprintf(topo->version, sizeof topo->version, "%u.%u.%u", v >> 16, v >> 8 & 0xff, v & 0xff);
	topo->ours = hwloc_topology_is_thissystem(topo->hw);
	topo->allowed = hwloc_bitmap_dup(hwloc_topology_get_allowed_cpuset(topo->hw));
	if (!topo->allowed) {
		hwloc_topology_destroy(topo->hw);
		free(topo);
		fail(error, "out of memory");
		return NULL;
	}
	if (topo->ours)
		restrict_to_affinity(topo->allowed);
	return topo;
}

void topo_free(struct topo *topo)
{
	if (!topo)
		return;
	hwloc_bitmap_free(topo->allowed);
	hwloc_topology_destroy(topo->hw);
	free(topo);
}

/* Objects of a type that hold an allowed CPU. */
static unsigned count(const struct topo *topo, hwloc_obj_type_t type)
{
	unsigned n = 0;
	hwloc_obj_t obj = NULL;

	while ((obj = hwloc_get_next_obj_by_type(topo->hw, type, obj)))
		n += (unsigned)(hwloc_bitmap_intersects(obj->cpuset, topo->allowed) != 0);
	return n;
}

/* Hardware threads of the largest core, allowed to us or not. */
static unsigned smt_width(const struct topo *topo)
{
	unsigned widest = 1;
	hwloc_obj_t core = NULL;

	while ((core = hwloc_get_next_obj_by_type(topo->hw, HWLOC_OBJ_CORE, core))) {
		int n = hwloc_bitmap_weight(core->complete_cpuset ? core->complete_cpuset : core->cpuset);
		if (n > (int)widest)
			widest = (unsigned)n;
	}
	return widest;
}

static size_t cache_size(const struct topo *topo, hwloc_obj_type_t type)
{
	hwloc_obj_t cache = hwloc_get_next_obj_by_type(topo->hw, type, NULL);

	return cache && cache->attr ? (size_t)cache->attr->cache.size : 0;
}

static bool read_numbers(const char *text, double *a, double *b)
{
	char *end;

	*a = strtod(text, &end);
	*b = strtod(end, NULL);
	return end != text;
}

double topo_quota(void)
{
	char text[128], path[512];
	double least = 0, quota, period;

	/* A limit may sit at any level above the process. */
	for (bool more = machine_cgroup("", path, sizeof path); more;) {
		if (!sysroot_read(text, sizeof text, "/sys/fs/cgroup%s/cpu.max", path) &&
		    read_numbers(text, &quota, &period) && quota > 0 && period > 0 &&
		    (least == 0 || quota / period < least))
			least = quota / period;
		char *slash = strrchr(path, '/');
		more = slash != NULL;
		if (slash)
			*slash = '\0';
	}
	if (!machine_cgroup("cpu", path, sizeof path))
		return least;
	const char *const where[] = { path, "" };
	for (size_t i = 0; i < 2; i++) {
		if (sysroot_read(text, sizeof text, "/sys/fs/cgroup/cpu%s/cpu.cfs_quota_us", where[i]))
			continue;
		quota = strtod(text, NULL);
		if (sysroot_read(text, sizeof text, "/sys/fs/cgroup/cpu%s/cpu.cfs_period_us", where[i]))
			continue;
		period = strtod(text, NULL);
		if (quota > 0 && period > 0 && (least == 0 || quota / period < least))
			least = quota / period;
	}
	return least;
}

void topo_info(const struct topo *topo, struct topo_info *info)
{
	*info = (struct topo_info){
		.packages = count(topo, HWLOC_OBJ_PACKAGE),
		.numa_nodes = count(topo, HWLOC_OBJ_NUMANODE),
		.cores = count(topo, HWLOC_OBJ_CORE),
		.pus = count(topo, HWLOC_OBJ_PU),
		.smt = smt_width(topo),
		.l1d_bytes = cache_size(topo, HWLOC_OBJ_L1CACHE),
		.l2_bytes = cache_size(topo, HWLOC_OBJ_L2CACHE),
		.l3_bytes = cache_size(topo, HWLOC_OBJ_L3CACHE),
		.quota = topo->ours ? topo_quota() : 0,
		.hwloc_version = topo->version,
		.synthetic = !topo->ours,
	};
	info->llc_bytes = info->l3_bytes ? info->l3_bytes : info->l2_bytes ? info->l2_bytes : info->l1d_bytes;
	info->effective_cpus = info->quota > 0 && info->quota < info->pus ? info->quota : info->pus;
}

void topo_allowed(const struct topo *topo, char *out, size_t size)
{
	hwloc_bitmap_list_snprintf(out, size, topo->allowed);
}

bool topo_export(const struct topo *topo, const char *path, char *error)
{
	return hwloc_topology_export_xml(topo->hw, path, 0) == 0 ||
	       fail(error, "cannot write %s: %s", path, strerror(errno));
}

/* A CPU that could be taken, with what the order of choice depends on. */
struct candidate {
	unsigned cpu;
	unsigned sibling; /* how many of its core come before it */
	bool first;       /* CPU 0 */
	unsigned node;    /* rank of its NUMA node in the order of use */
	size_t order;     /* in the topology: neighbours are close */
};

static int by_preference(const void *pa, const void *pb)
{
	const struct candidate *a = pa, *b = pb;

	if (a->sibling != b->sibling)
		return a->sibling < b->sibling ? -1 : 1;
	if (a->node != b->node)
		return a->node < b->node ? -1 : 1;
	if (a->first != b->first)
		return a->first ? 1 : -1;
	return (a->order > b->order) - (a->order < b->order);
}

static unsigned node_of(const struct topo *topo, hwloc_const_bitmap_t cpuset)
{
	hwloc_obj_t node = NULL;

	while ((node = hwloc_get_next_obj_by_type(topo->hw, HWLOC_OBJ_NUMANODE, node)))
		if (hwloc_bitmap_intersects(node->cpuset, cpuset))
			return node->logical_index;
	return 0;
}

static size_t collect(const struct topo *topo, hwloc_const_bitmap_t usable, struct candidate *out)
{
	size_t n = 0;
	hwloc_obj_t pu = NULL;

	while (n < TOPO_CPUS_MAX && (pu = hwloc_get_next_obj_by_type(topo->hw, HWLOC_OBJ_PU, pu))) {
		if (!hwloc_bitmap_isset(usable, pu->os_index))
			continue;
		hwloc_obj_t core = hwloc_get_ancestor_obj_by_type(topo->hw, HWLOC_OBJ_CORE, pu);
		unsigned sibling = 0;
		for (size_t i = 0; core && i < n; i++)
			sibling += (unsigned)(hwloc_bitmap_isset(core->cpuset, out[i].cpu) != 0);
		out[n] = (struct candidate){ pu->os_index, sibling, pu->os_index == 0,
			                     node_of(topo, pu->cpuset), n };
		n++;
	}
	return n;
}

/* Ranks the nodes: first the one with the fewest cores that can hold all
 * threads, or else the largest; CPU 0's node gives way to an equal one. */
static void rank_nodes(struct candidate *c, size_t n, unsigned threads)
{
	size_t cores[TOPO_CPUS_MAX] = { 0 };
	bool used[TOPO_CPUS_MAX] = { false };
	unsigned rank_of[TOPO_CPUS_MAX] = { 0 }, nodes = 0;

	for (size_t i = 0; i < n; i++) {
		unsigned node = c[i].node < TOPO_CPUS_MAX ? c[i].node : TOPO_CPUS_MAX - 1;
		cores[node] += c[i].sibling == 0 && !c[i].first;
		nodes = node + 1 > nodes ? node + 1 : nodes;
	}
	for (unsigned rank = 0; rank < nodes; rank++) {
		unsigned best = nodes;
		for (unsigned node = 0; node < nodes; node++) {
			if (used[node])
				continue;
			bool fits = cores[node] >= threads;
			bool best_fits = best < nodes && cores[best] >= threads;
			if (best == nodes || (fits && !best_fits) ||
			    (fits == best_fits && (fits ? cores[node] < cores[best] : cores[node] > cores[best])))
				best = node;
		}
		used[best] = true;
		rank_of[best] = rank;
	}
	for (size_t i = 0; i < n; i++)
		c[i].node = rank_of[c[i].node < TOPO_CPUS_MAX ? c[i].node : TOPO_CPUS_MAX - 1];
}

bool topo_choose(const struct topo *topo, unsigned threads, const char *wanted, unsigned *cpus,
                 char *error)
{
	struct candidate candidate[TOPO_CPUS_MAX];
	hwloc_bitmap_t usable = hwloc_bitmap_dup(topo->allowed), list = hwloc_bitmap_alloc();
	char allowed[256];
	bool ok = false;

	topo_allowed(topo, allowed, sizeof allowed);
	if (!usable || !list) {
		fail(error, "out of memory");
		goto out;
	}
	if (wanted) {
		if (wanted[strspn(wanted, "0123456789-,")] || hwloc_bitmap_list_sscanf(list, wanted) ||
		    hwloc_bitmap_iszero(list) || hwloc_bitmap_weight(list) < 0) {
			fail(error, "--cpus: '%s' is not a list of CPUs such as 0-3,8", wanted);
			goto out;
		}
		if (!hwloc_bitmap_isincluded(list, usable)) {
			fail(error, "--cpus: %s is more than this process may use: %s", wanted, allowed);
			goto out;
		}
		hwloc_bitmap_and(usable, usable, list);
	}
	size_t n = collect(topo, usable, candidate);
	if (threads > n) {
		fail(error, "%u threads are more than the %zu CPUs %s", threads, n,
		     wanted ? "of --cpus" : "that this process may use");
		goto out;
	}
	rank_nodes(candidate, n, threads);
	qsort(candidate, n, sizeof *candidate, by_preference);
	for (unsigned i = 0; i < threads; i++)
		cpus[i] = candidate[i].cpu;
	ok = true;
out:
	hwloc_bitmap_free(usable);
	hwloc_bitmap_free(list);
	return ok;
}
