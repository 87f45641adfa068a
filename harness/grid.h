/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Tables of text: filled cell by cell, printed for a terminal, as Markdown or
 * as CSV.
 */
#ifndef HARNESS_GRID_H
#define HARNESS_GRID_H

#include "options.h"

enum { GRID_COLUMNS_MAX = 40 };

struct grid {
	const char *name[GRID_COLUMNS_MAX]; /* borrowed */
	bool right[GRID_COLUMNS_MAX];       /* aligned to the right */
	size_t columns;
	char **cell; /* owned, row by row */
	size_t n, cap;
	bool failed;
};

/* "name" or ">name" for a column that is aligned to the right. */
void grid_column(struct grid *grid, const char *name);

/* The next cell, row by row. */
__attribute__((format(printf, 2, 3)))
void grid_cell(struct grid *grid, const char *format, ...);

/* A number in full, or an empty cell for NAN. */
void grid_number(struct grid *grid, double x);

/* FORMAT_JSON prints an array of objects whose values are texts. */
void grid_print(const struct grid *grid, enum format format, struct text *out);
void grid_free(struct grid *grid);

/* A JSON string with its quotes. */
void json_quote(const char *s, struct text *out);

#endif
