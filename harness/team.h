/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The threads of a worker. They are started once, each on its CPU, and run
 * one function after another as ranks of an SPMD program; the calling thread
 * is rank 0. Waiting is by spinning, as a timed call must not pay for a sleep,
 * then by futex; a team larger than its CPUs never spins.
 */
#ifndef HARNESS_TEAM_H
#define HARNESS_TEAM_H

#include <stdbool.h>
#include <stddef.h>

#include "../attention/attn.h"

enum { TEAM_MAX = 256 };

struct team;

/* What ranks compute with. TEAM_FAST: subnormals are flushed to zero, as in
 * every timed call. TEAM_EXACT: the arithmetic of the standard. */
enum team_mode { TEAM_FAST, TEAM_EXACT };

typedef void team_fn(void *arg, struct attn_team *me);

/* size threads, rank r on cpus[r]; cpus NULL: wherever the process may run.
 * NULL on failure: *why says it, as a literal or from strerror(). */
struct team *team_create(size_t size, const unsigned *cpus, const char **why);
void team_destroy(struct team *team);

size_t team_size(const struct team *team);

/* How many ranks could not be put on their CPU. */
size_t team_unpinned(const struct team *team);

/* Every rank calls fn(arg, me), where me is a team of all ranks; returns when
 * all have returned. Writes before it are seen in it, writes in it after it. */
void team_run(struct team *team, enum team_mode mode, team_fn *fn, void *arg);

#endif
