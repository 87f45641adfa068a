/* SPDX-License-Identifier: BSD-3-Clause
 *
 * raw.csv: append-only, the one truth of a run. The rows of one worker are one
 * group and go into the file with one write(). What a kill leaves behind a
 * whole group is cut off when the file is opened again.
 */
#ifndef HARNESS_RAW_H
#define HARNESS_RAW_H

#include "columns.h"

/* Called for each row of a whole group, in order; texts last for the call. */
typedef bool raw_row_fn(void *user, const struct raw_row *row, char *error);

struct raw {
	int fd;
	size_t size;   /* of the file, all of it whole groups */
	size_t torn;   /* bytes that were cut off at opening */
	struct text group;
};

enum raw_result {
	RAW_OK,
	RAW_BUSY,   /* another process has the file */
	RAW_ERROR,
};

/* Opens DIR/raw.csv for appending, locks it, and hands its rows to fn. With
 * `fresh`, an existing file is renamed to raw.csv.TIME first. The lock lives
 * as long as the descriptor, which workers do not inherit. */
enum raw_result raw_open(struct raw *raw, const char *dir, bool fresh, raw_row_fn *fn, void *user,
                         char *error);

/* Appends n rows as one group. False: nothing of the group is in the file. */
bool raw_append(struct raw *raw, const struct raw_row *rows, size_t n, char *error);

bool raw_sync(struct raw *raw, char *error);
void raw_close(struct raw *raw);

/* Reads DIR/raw.csv without locking or changing it; a torn end is left out. */
bool raw_read(const char *dir, raw_row_fn *fn, void *user, char *error);

/* The rows of a text. *good: its length up to the last whole group. False: an
 * error before the end, or from fn. */
bool raw_parse(const char *name, const char *data, size_t len, bool appendable, raw_row_fn *fn,
               void *user, size_t *good, char *error);

#endif
