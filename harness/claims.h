/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A list of claims: what must hold, what was found, whether it does.
 */
#ifndef HARNESS_CLAIMS_H
#define HARNESS_CLAIMS_H

#include "grid.h"

struct claims {
	struct grid grid; /* columns: holds, claim, found */
	size_t failed;
};

void claims_begin(struct claims *claims);

__attribute__((format(printf, 4, 5)))
void claim(struct claims *claims, bool holds, const char *what, const char *format, ...);

/* Prints and frees it. */
void claims_end(struct claims *claims, enum format format, struct text *out);

#endif
