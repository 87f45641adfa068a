/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Printing tables. */
#include "grid.h"
#include "csv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void grid_column(struct grid *grid, const char *name)
{
	if (grid->columns == GRID_COLUMNS_MAX)
		return;
	grid->right[grid->columns] = *name == '>';
	grid->name[grid->columns++] = name + (*name == '>');
}

void grid_cell(struct grid *grid, const char *format, ...)
{
	va_list args;
	char *s = NULL;

	va_start(args, format);
	int n = vasprintf(&s, format, args);
	va_end(args);
	if (n < 0 || !grow(&grid->cell, &grid->cap, grid->n + 1, sizeof *grid->cell)) {
		if (n >= 0)
			free(s);
		grid->failed = true;
		return;
	}
	grid->cell[grid->n++] = s;
}

void grid_number(struct grid *grid, double x)
{
	char number[CSV_NUMBER_MAX];

	grid_cell(grid, "%s", csv_number(x, number));
}

/* Columns that a text takes on a terminal: UTF-8, one a character. */
static size_t text_width(const char *s)
{
	size_t n = 0;

	for (; *s; s++)
		n += ((unsigned char)*s & 0xc0) != 0x80; /* not a byte that goes on */
	return n;
}

static void pad(struct text *out, size_t n)
{
	while (n-- > 0)
		text_add(out, " ", 1);
}

static void aligned(const char *s, size_t width, bool right, bool last, struct text *out)
{
	size_t n = text_width(s), fill = n < width ? width - n : 0;

	if (right)
		pad(out, fill);
	text_adds(out, s);
	if (!right && !last)
		pad(out, fill);
}

static void print_text(const struct grid *grid, struct text *out)
{
	size_t width[GRID_COLUMNS_MAX], c = grid->columns;

	for (size_t k = 0; k < c; k++)
		width[k] = text_width(grid->name[k]);
	for (size_t i = 0; i < grid->n; i++)
		if (text_width(grid->cell[i]) > width[i % c])
			width[i % c] = text_width(grid->cell[i]);
	for (size_t k = 0; k < c; k++) {
		text_adds(out, k ? "  " : "");
		aligned(grid->name[k], width[k], grid->right[k], k + 1 == c, out);
	}
	for (size_t i = 0; i < grid->n; i++) {
		text_adds(out, i % c ? "  " : "\n");
		aligned(grid->cell[i], width[i % c], grid->right[i % c], i % c + 1 == c, out);
	}
	text_adds(out, "\n");
}

static void markdown_cell(const char *s, struct text *out)
{
	for (; *s; s++) {
		if (*s == '|')
			text_adds(out, "\\");
		text_add(out, *s == '\n' ? " " : s, 1);
	}
}

static void print_markdown(const struct grid *grid, struct text *out)
{
	size_t c = grid->columns;

	for (size_t k = 0; k < c; k++)
		text_printf(out, "| %s ", grid->name[k]);
	text_adds(out, "|\n");
	for (size_t k = 0; k < c; k++)
		text_printf(out, "|---%s", grid->right[k] ? ":" : "");
	text_adds(out, "|\n");
	for (size_t i = 0; i < grid->n; i++) {
		text_adds(out, "| ");
		markdown_cell(grid->cell[i], out);
		text_adds(out, i % c + 1 == c ? " |\n" : " ");
	}
}

static void print_csv(const struct grid *grid, struct text *out)
{
	size_t c = grid->columns;

	for (size_t k = 0; k < c; k++) {
		text_adds(out, k ? "," : "");
		csv_write_field(grid->name[k], out);
	}
	for (size_t i = 0; i < grid->n; i++) {
		text_adds(out, i % c ? "," : "\n");
		csv_write_field(grid->cell[i], out);
	}
	text_adds(out, "\n");
}

void json_quote(const char *s, struct text *out)
{
	text_adds(out, "\"");
	for (; *s; s++) {
		if (*s == '"' || *s == '\\')
			text_printf(out, "\\%c", *s);
		else if ((unsigned char)*s < ' ')
			text_printf(out, "\\u%04x", (unsigned)*s);
		else
			text_add(out, s, 1);
	}
	text_adds(out, "\"");
}

static void print_json(const struct grid *grid, struct text *out)
{
	size_t c = grid->columns;

	text_adds(out, "[");
	for (size_t i = 0; i < grid->n; i++) {
		text_adds(out, i % c ? ", " : i ? ",\n {" : "\n {");
		json_quote(grid->name[i % c], out);
		text_adds(out, ": ");
		json_quote(grid->cell[i], out);
		text_adds(out, i % c + 1 == c ? "}" : "");
	}
	text_adds(out, "\n]\n");
}

void grid_print(const struct grid *grid, enum format format, struct text *out)
{
	if (grid->failed)
		out->failed = true;
	else if (format == FORMAT_MD)
		print_markdown(grid, out);
	else if (format == FORMAT_CSV)
		print_csv(grid, out);
	else if (format == FORMAT_JSON)
		print_json(grid, out);
	else
		print_text(grid, out);
}

void grid_free(struct grid *grid)
{
	for (size_t i = 0; i < grid->n; i++)
		free(grid->cell[i]);
	free(grid->cell);
	*grid = (struct grid){ 0 };
}
