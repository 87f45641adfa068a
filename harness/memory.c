/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The memory pass: what a call adds to the resident memory of the process, by
 * the kernel's count, beside what the arena knows. */
#include "memory.h"

#include <fcntl.h>
#include <inttypes.h>
#include <malloc.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "readings.h"
#include "remote.h"
#include "sysroot.h"

/* The number of KiB after "name:" at the start of a line, in bytes. */
static int64_t field(const char *text, const char *name)
{
	size_t length = strlen(name);
	int64_t kib;

	for (const char *line = text; line; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (!strncmp(line, name, length) && line[length] == ':')
			return sscanf(line + length + 1, "%" SCNd64, &kib) == 1 ? kib * 1024 : -1;
	}
	return -1;
}

int64_t memory_resident_of(pid_t pid)
{
	char text[128];
	int64_t pages;

	if (sysroot_read(text, sizeof text, "/proc/%d/statm", (int)pid) ||
	    sscanf(text, "%*u %" SCNd64, &pages) != 1)
		return -1;
	return pages * sysconf(_SC_PAGESIZE);
}

/* The name of a process below /proc; 0 is this one. */
static const char *name_of(pid_t pid, char name[16])
{
	if (pid > 0)
		snprintf(name, 16, "%d", (int)pid);
	return pid > 0 ? name : "self";
}

int64_t memory_resident_exact(pid_t pid)
{
	char text[4096], name[16];
	int64_t bytes = -1;

	if (!sysroot_read(text, sizeof text, "/proc/%s/smaps_rollup", name_of(pid, name)))
		bytes = field(text, "Rss");
	if (bytes < 0 && !sysroot_read(text, sizeof text, "/proc/%s/status", name_of(pid, name)))
		bytes = field(text, "VmRSS");
	return bytes;
}

int64_t memory_high_water_of(pid_t pid)
{
	char text[4096], name[16];

	return sysroot_read(text, sizeof text, "/proc/%s/status", name_of(pid, name)) ? -1 : field(text, "VmHWM");
}

bool memory_reset_high_water_of(pid_t pid)
{
	char path[SYSROOT_PATH_MAX], name[16];
	if (!sysroot_path(path, "/proc/%s/clear_refs", name_of(pid, name)))
		return false;
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	bool ok = write(fd, "5", 1) == 1;
	close(fd);
	return ok;
}

int64_t memory_resident(void)
{
	return memory_resident_exact(0);
}

int64_t memory_high_water(void)
{
	return memory_high_water_of(0);
}

bool memory_reset_high_water(void)
{
	return memory_reset_high_water_of(0);
}

int64_t memory_resolution(size_t cpus_used)
{
	long online = sysconf(_SC_NPROCESSORS_ONLN);
	long batch = online > 16 ? 2 * online : 32;

	return (int64_t)cpus_used * batch * sysconf(_SC_PAGESIZE);
}

int64_t memory_oom_kills(void)
{
	enum { SIZE = 1 << 15 };
	char *text = malloc(SIZE);
	int64_t kills = -1;

	if (text && !sysroot_read(text, SIZE, "/proc/vmstat")) {
		const char *line = strstr(text, "\noom_kill ");
		if (line && sscanf(line, " oom_kill %" SCNd64, &kills) != 1)
			kills = -1;
	}
	free(text);
	return kills;
}

void memory_prepare(void)
{
	/* A huge page would count as resident as soon as a byte of it is used. */
	prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
}

/* BLAS packs matrices into buffers of its own, one set a calling thread, and
 * keeps them: they are filled before the call, so that they are not taken for
 * memory of the variant. */
static void warm_blas(void *arg, struct attn_team *me)
{
	enum { TIMES = 3 };
	const size_t bytes = ATTN_BLAS_WARM_FLOATS * sizeof(float);
	atomic_bool *refused = arg;
	/* Zero pages that are only read take no memory. */
	float *x = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	/* Together, as in the call: threads one after another share a set. */
	for (int i = 0; i < (me->size > 1 ? TIMES : 1); i++) {
		attn_barrier(me);
		if (x != MAP_FAILED)
			attn_blas_warm(x);
	}
	if (x == MAP_FAILED || munmap(x, bytes))
		atomic_store(refused, true);
}

/* What they grew by; -1: not known. */
static int64_t fill_blas(struct worker *w)
{
	atomic_bool refused = false;
	int64_t before = memory_resident();

	team_run(w->team, TEAM_FAST, warm_blas, &refused);
	malloc_trim(0);
	int64_t after = memory_resident();
	if (before < 0 || after < 0 || atomic_load(&refused))
		return -1;
	return after > before ? after - before : 0;
}

/* Of the engine: what its setting up leaves behind, and the peak of the call. */
static bool measure_engine(struct worker *w)
{
	struct outcome *out = w->out;
	pid_t pid = w->remote->dialog.pid;
	int64_t ns, said;

	out->rss_base_bytes = memory_resident_exact(pid);
	if (!remote_prepare(w, &ns))
		return false;
	out->rss_is_bound = !memory_reset_high_water_of(pid);
	if (remote_batch(w, 1) < 0)
		return false;
	out->rss_peak_bytes = memory_high_water_of(pid);
	if (!remote_peak(w, &said))
		return false;
	if (out->rss_peak_bytes < 0)
		out->rss_peak_bytes = said;
	return remote_verify(w) && worker_check(w);
}

bool pass_memory(struct worker *w)
{
	struct outcome *out = w->out;
	const struct job *job = w->job;
	bool pinned = job->pinned && !out->unpinned;
	long online = sysconf(_SC_NPROCESSORS_ONLN);

	out->rss_resolution_bytes =
	        memory_resolution(pinned ? job->cell.threads : online > 0 ? (size_t)online : 1);
	if (w->remote)
		return measure_engine(w);

	worker_stage(w, "the buffers of BLAS");
	malloc_trim(0);
	out->blas_bytes = fill_blas(w);
	if (!worker_count(w))
		return false;
	worker_stage(w, "the call");
	int64_t base = memory_resident();
	bool reset = memory_reset_high_water();
	layer_prepare(&w->layer);
	layer_fill(&w->layer);
	layer_run(&w->layer);
	int64_t peak = memory_high_water();
	worker_counted(w);

	out->ws_touched_bytes = layer_resident(&w->layer);
	if (read_group_peak(&out->group_peak_bytes))
		out->group_peak_bytes = -1;
	out->rss_base_bytes = base;
	out->rss_peak_bytes = peak;
	out->rss_is_bound = !reset;
	return worker_check(w);
}
