/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Looking names up: the known name nearest to a misspelled one, and the
 * samples that ship.
 */
#ifndef DATASETS_LOOKUP_H
#define DATASETS_LOOKUP_H

#include <stdbool.h>
#include <stddef.h>

enum { LOOKUP_NAME_MAX = 48 };

/* "Did you mean": start with a word, offer every known name, read best. */
struct guess {
	const char *word;
	size_t edits; /* a name must be within fewer edits than this */
	char best[LOOKUP_NAME_MAX]; /* "" while nothing is near */
};

struct guess guess_start(const char *word);
void guess_offer(struct guess *guess, const char *name);

/* Offers every directory under data_real_dir() and appends its name to the
 * list, ", "-separated. */
void lookup_samples(struct guess *guess, char *list, size_t size);

/* Appends to a ", "-separated list, as far as it fits. */
void lookup_append(char *list, size_t size, const char *name);

#endif
