/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Rows of the CSV files as structs, made from columns.def, and the tables that
 * describe them to the reader, the writer, the documentation and the schemas.
 */
#ifndef HARNESS_COLUMNS_H
#define HARNESS_COLUMNS_H

#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "text.h"

enum { SCHEMA_VERSION = 1 };

/* Not available: an empty field. Texts: NULL or "", numbers: NAN. */
#define NA_INT INT64_MIN

enum column_type { COLUMN_STR, COLUMN_INT, COLUMN_NUM, COLUMN_BOOL };

#define COLUMN_C_STR const char * /* borrowed */
#define COLUMN_C_INT int64_t
#define COLUMN_C_NUM double
#define COLUMN_C_BOOL int64_t

struct row_key {
#define KEY(type, name, unit, values, description) COLUMN_C_##type name;
#include "columns.def"
};

struct raw_row {
	struct row_key key;
#define RAW(type, name, unit, values, description) COLUMN_C_##type name;
#include "columns.def"
};

struct summary_row {
	struct row_key key;
#define SUMMARY(type, name, unit, values, description) COLUMN_C_##type name;
#include "columns.def"
};

struct column {
	const char *name, *unit, *values, *description;
	enum column_type type;
	bool key;
	size_t at; /* offset in the row */
};

struct table {
	const char *file;
	const struct column *column;
	size_t n;
	size_t row_size;
};

extern const struct table raw_table, summary_table;

/* All fields not available. */
void row_clear(const struct table *table, void *row);

/* Is text one of the words of "a|b|c"? "" accepts all. */
bool column_accepts(const char *values, const char *text, size_t len);

/* The documentation of both files: for a terminal, or as Markdown. */
void columns_text(struct text *out);
void columns_markdown(struct text *out);

/* Frictionless Table Schema of one file. */
void columns_schema(const struct table *table, struct text *out);

#endif
