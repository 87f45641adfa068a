/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Results that many workers need and one computes: files in a directory, each
 * named by the hash of a key that says everything the contents depend on. A
 * file that is torn, foreign or of another key is as good as none.
 */
#ifndef HARNESS_CACHE_H
#define HARNESS_CACHE_H

#include <stdbool.h>
#include <stddef.h>

enum { CACHE_KEY_MAX = 768 };

struct cache_piece {
	void *data;
	size_t bytes;
};

/* The key, completed by what identifies this program: another build computes
 * anew. False if it is too long. */
__attribute__((format(printf, 2, 3)))
bool cache_key(char key[CACHE_KEY_MAX], const char *format, ...);

/* Fills the pieces in order. False, and the pieces undefined, if there is no
 * such file or it is not whole. dir "": never there. */
bool cache_load(const char *dir, const char *key, const struct cache_piece *piece, size_t pieces);

/* Writes beside the name and renames, so that no reader sees half a file. A
 * failure is silent: the next worker computes again. */
void cache_store(const char *dir, const char *key, const struct cache_piece *piece, size_t pieces);

#endif
