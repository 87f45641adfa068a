/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Inside of engine.c: the registry files, and starting what they name.
 */
#ifndef HARNESS_REGISTRY_H
#define HARNESS_REGISTRY_H

#include "engine.h"

enum entry_state { ENTRY_UNASKED, ENTRY_READY, ENTRY_MISSING, ENTRY_BROKEN };
enum { ENTRY_WORDS = 24 };

struct entry {
	char name[ENGINE_NAME];
	char program[64]; /* "torch 2.13.0", as it calls itself */
	char *command, *set, *drop, *install; /* as written; owned; NULL: not given */
	char registry[ENGINE_PATH], dir[ENGINE_PATH];
	enum entry_state state;
	char why[512]; /* missing or broken */
};

/* Reads the project's own registry first, the first time. */
struct entry *registry_find(const char *name);
struct entry *registry_at(size_t i);

/* Lower-case letters, digits and dashes. */
bool registry_good_name(const char *name);

/* Starts it and hears the first line of its greeting. False: entry->state and
 * entry->why say how it stands. limit_ms as in dialog_hear(). */
bool registry_greet(struct entry *entry, unsigned threads, const unsigned *cpus, int file,
                    int64_t limit_ms, struct dialog *dialog);

#endif
