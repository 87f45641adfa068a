/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Sentences and strings: error messages as values, a growing string, names
 * that are nearly right, numbers for people.
 */
#ifndef HARNESS_TEXT_H
#define HARNESS_TEXT_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { ERROR_MAX = 1024 };

/* Where a value was given, for messages. file NULL: on the command line. */
struct where {
	const char *file;      /* borrowed */
	unsigned line, column; /* from 1; column of the first character */
	const char *name;      /* of the option, without dashes; may be NULL */
};

/* Writes the sentence and returns false, so that `return fail(...)` reads. */
__attribute__((format(printf, 2, 3)))
bool fail(char error[ERROR_MAX], const char *format, ...);

/* The same after "sweep.ini:7:12: n: " or "--n: "; offset counts characters
 * of the value. */
__attribute__((format(printf, 4, 5)))
bool fail_at(const struct where *where, size_t offset, char error[ERROR_MAX],
             const char *format, ...);

/* A string that grows. After a failed allocation it stays as it was and
 * `failed` is set; look once, at the end. text_free() when done. */
struct text {
	char *s; /* ends in NUL; NULL before the first character */
	size_t len, cap;
	bool failed;
};

__attribute__((format(printf, 2, 3)))
void text_printf(struct text *text, const char *format, ...);
void text_add(struct text *text, const char *s, size_t len);
void text_adds(struct text *text, const char *s);
void text_free(struct text *text);

/* *array has room for `need` elements of `size` bytes, or false. */
bool grow(void *array, size_t *capacity, size_t need, size_t size);

/* Edits (insert, delete, replace, swap neighbours) from a to b. */
size_t edit_distance(const char *a, const char *b);

/* The name closest to `word`, kept while names are offered one by one. */
struct nearest {
	const char *word, *best;
	size_t distance;
};
void nearest_offer(struct nearest *nearest, const char *name);

/* "; did you mean 'flash'?", or "" when no name is close. */
enum { HINT_MAX = 160 };
const char *nearest_hint(const struct nearest *nearest, char hint[HINT_MAX]);

/* "61.3 ms", "64.0 MiB": three significant digits and a unit. */
enum { HUMAN_MAX = 32 };
const char *human_ns(double ns, char out[HUMAN_MAX]);
const char *human_bytes(double bytes, char out[HUMAN_MAX]);
/* "3:07" or "1:02:45" for seconds. */
const char *human_clock(double seconds, char out[HUMAN_MAX]);

/* 64-bit FNV-1a; start with FNV64_START and chain. */
#define FNV64_START 0xcbf29ce484222325u
uint64_t fnv64(uint64_t hash, const void *data, size_t len);

/* Now in UTC: "2026-11-24T21:36:19Z", or "20261124T213619Z" if compact. */
enum { UTC_MAX = 32 };
const char *utc_now(bool compact, char out[UTC_MAX]);

#endif
