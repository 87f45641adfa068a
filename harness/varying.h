/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What a table says of a cell beside its numbers: the variant with what is not
 * at its default, and the axes that take more than one value.
 */
#ifndef HARNESS_VARYING_H
#define HARNESS_VARYING_H

#include "grid.h"
#include "results.h"

enum { VARYING_AXES = 16 };

struct varying {
	bool shown[VARYING_AXES];
	bool over_seeds; /* rows are made of several seeds */
	bool tokens;     /* all calls are steps of a token: n is a context */
};

/* Which axes differ among the results; n always counts. */
void varying_find(const struct results *results, struct varying *varying);
void varying_over_seeds(struct varying *varying);

/* The columns, and the cells of one row. */
void varying_headings(const struct varying *varying, struct grid *grid);
void varying_cells(const struct varying *varying, const struct row_key *key, struct grid *grid);

/* " heads=1 d=64 ...": the axes that are not shown. */
void varying_common(const struct varying *varying, const struct row_key *key, struct text *out);

/* Do two cells stand at the same place of all axes? */
bool varying_same(const struct row_key *a, const struct row_key *b);

/* "name", and the parameters that are not at their defaults. */
void varying_label(const struct row_key *key, char *out, size_t size);

#endif
