/* SPDX-License-Identifier: BSD-3-Clause
 *
 * CSV as RFC 4180 has it, with LF at the end of a line: rows of a known table,
 * out of structs and back into them. Numbers are written so that they read
 * back as the same number, whatever the locale; an empty field is a value that
 * is not available.
 */
#ifndef HARNESS_CSV_H
#define HARNESS_CSV_H

#include "columns.h"

enum { CSV_ROW_MAX = 1 << 16, CSV_COLUMNS_MAX = 256 };

void csv_write_header(const struct table *table, struct text *out);
void csv_write_row(const struct table *table, const void *row, struct text *out);

/* The shortest text of %.15g, %.16g and %.17g that reads back as x; "" for NAN
 * and infinities. */
enum { CSV_NUMBER_MAX = 32 };
const char *csv_number(double x, char out[CSV_NUMBER_MAX]);

/* One field, quoted where it has to be. Control characters but newline and tab
 * become blanks. */
void csv_write_field(const char *s, struct text *out);

enum csv_result {
	CSV_ROW,
	CSV_END,
	CSV_TORN, /* the text ends within a row */
	CSV_BAD,  /* error says what, with row and column */
};

/* A reader of text in memory. It never writes to the text, and holds one row. */
struct csv_reader {
	const struct table *table;
	const char *name; /* of the file, for messages; borrowed */
	const char *data;
	size_t len, at;   /* at: after the last whole row */
	size_t row;       /* rows taken, the header is row 1 */
	size_t n_columns; /* of the file */
	int index[CSV_COLUMNS_MAX]; /* column of the file -> of the table */
	char scratch[CSV_ROW_MAX];
	char error[ERROR_MAX];
};

/* Takes the header: columns may be missing, or in another order; a name that
 * the table does not have, or has twice, is an error. */
enum csv_result csv_open(struct csv_reader *reader, const struct table *table, const char *name,
                         const char *data, size_t len);

/* The next row. Texts point into the reader and last until the next call. */
enum csv_result csv_next(struct csv_reader *reader, void *row);

/* True if the columns of the file are exactly those of the table, in order. */
bool csv_complete(const struct csv_reader *reader);

#endif
