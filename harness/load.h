/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A neighbour on every CPU, for experiments: processes that copy 32 MiB again
 * and again in bursts of 0.2 to 2 s, with pauses as long.
 */
#ifndef HARNESS_LOAD_H
#define HARNESS_LOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum { LOAD_MAX = 256 };

struct load {
	pid_t process[LOAD_MAX];
	size_t n;
};

/* One process on each of these CPUs; they end with the caller. The lengths of
 * bursts and pauses follow from the seed. False: a sentence in error, and none
 * is left. */
bool load_start(struct load *load, const unsigned *cpus, size_t n, uint64_t seed, char *error);
void load_stop(struct load *load);

#endif
