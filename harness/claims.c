/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Claims as a table. */
#include "claims.h"

#include <stdio.h>

void claims_begin(struct claims *claims)
{
	*claims = (struct claims){ .failed = 0 };
	grid_column(&claims->grid, "holds");
	grid_column(&claims->grid, "claim");
	grid_column(&claims->grid, "found");
}

void claim(struct claims *claims, bool holds, const char *what, const char *format, ...)
{
	char found[1024];
	va_list args;

	va_start(args, format);
	vsnprintf(found, sizeof found, format, args);
	va_end(args);
	claims->failed += !holds;
	grid_cell(&claims->grid, "%s", holds ? "ok" : "NO");
	grid_cell(&claims->grid, "%s", what);
	grid_cell(&claims->grid, "%s", found);
}

void claims_end(struct claims *claims, enum format format, struct text *out)
{
	grid_print(&claims->grid, format, out);
	grid_free(&claims->grid);
}
