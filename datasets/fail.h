/* SPDX-License-Identifier: BSD-3-Clause
 *
 * How functions here fail: `return fail(error, "what, where, what to do")`.
 */
#ifndef DATASETS_FAIL_H
#define DATASETS_FAIL_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>

enum { FAIL_MAX = 512 }; /* bytes of a message, its end included */

/* Writes the message into error[FAIL_MAX], cut to fit; always false. */
__attribute__((format(printf, 2, 3)))
static inline bool fail(char *error, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(error, FAIL_MAX, format, args);
	va_end(args);
	return false;
}

#endif
