/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Writing files so that they are whole or not there.
 */
#ifndef HARNESS_FILE_H
#define HARNESS_FILE_H

#include "text.h"

/* All of it, through interruptions and short writes. False: errno says why. */
bool write_all(int fd, const void *data, size_t bytes);

/* Makes the directory and those above it, as far as they are missing. */
bool make_directory(const char *path, char *error);

/* The bytes of a file, added to *out. */
bool read_file(const char *path, struct text *out, char *error);

/* Replaces DIR/NAME by this text: a temporary file, fsync, rename, fsync. */
bool replace_file(const char *dir, const char *name, const char *text, size_t len, char *error);

#endif
