/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What passes between spawn.c and worker.c: frames whose payloads are structs
 * as they lie in memory, as both ends are the same program. Pointers do not
 * travel; sizes and versions do, and are checked.
 */
#ifndef HARNESS_WIRE_H
#define HARNESS_WIRE_H

#include "engine.h"
#include "job.h"
#include "plugin.h"
#include "sysroot.h"

/* WIRE_STAGE: a struct wire_stage. WIRE_CHILD: the process id of an engine, an
 * int32_t. */
enum { WIRE_JOB = 1, WIRE_STAGE, WIRE_OUTCOME, WIRE_CHILD };
enum { WIRE_NAME = 96, WIRE_STAGE_MAX = 32 };

struct wire_job {
	uint32_t abi;                   /* ATTN_ABI */
	uint32_t job_size, outcome_size;
	char variant[WIRE_NAME];        /* in place of job.cell.variant */
	char plugin[PLUGIN_PATH_MAX];   /* where that is found; "": built in */
	struct engine_info engine;      /* an engine's variant, */
	char registry[ENGINE_PATH];     /* and the file that names the engine; or "" */
	char sysroot[SYSROOT_MAX];
	struct job job;
};

/* What comes next, and whose time it takes: calls of the variant, or the inputs
 * and checks of the harness, which a long sequence makes long. */
struct wire_stage {
	char name[WIRE_STAGE_MAX];
	int32_t own; /* 1: the harness's */
};

/* False if a name or path is too long. */
bool wire_pack(const struct job *job, struct wire_job *wire);

/* Checks it, loads the plug-in, finds the variant. NULL and *job, or why not,
 * a sentence that stays until the next call. */
const char *wire_unpack(const struct wire_job *wire, struct job *job);

/* Nothing measured yet. */
void outcome_clear(struct outcome *out);

#endif
