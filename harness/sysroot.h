/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Where /proc and /sys are. Everything that reads them asks here, so that a
 * directory of files can stand in for another machine, or for none.
 */
#ifndef HARNESS_SYSROOT_H
#define HARNESS_SYSROOT_H

#include <stdbool.h>
#include <stddef.h>

enum { SYSROOT_MAX = 256, SYSROOT_PATH_MAX = 1024 };

/* A prefix for all paths; NULL or "" for the real ones. False if too long. */
bool sysroot_set(const char *root);
const char *sysroot(void);

/* The prefix and a formatted path. False if it does not fit. */
__attribute__((format(printf, 2, 3)))
bool sysroot_path(char out[SYSROOT_PATH_MAX], const char *format, ...);

/* Reads a small file whole, cut off at size - 1 bytes and ended by NUL. NULL,
 * or why not, as a literal or from strerror(). */
__attribute__((format(printf, 3, 4)))
const char *sysroot_read(char *text, size_t size, const char *format, ...);

#endif
