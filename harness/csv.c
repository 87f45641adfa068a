/* SPDX-License-Identifier: BSD-3-Clause
 *
 * CSV: writer and strict reader. */
#include "csv.h"

#include <errno.h>
#include <inttypes.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* printf and strtod use the locale's decimal point; files have a dot. */
static void to_dot(char *s)
{
	const char *point = localeconv()->decimal_point;
	size_t n = strlen(point);
	char *at;

	if (strcmp(point, ".") && (at = strstr(s, point))) {
		*at = '.';
		memmove(at + 1, at + n, strlen(at + n) + 1);
	}
}

static double from_dot(const char *s, char **end)
{
	const char *point = localeconv()->decimal_point, *dot = strchr(s, '.');
	char local[128];

	if (!strcmp(point, ".") || !dot)
		return strtod(s, end);
	size_t before = (size_t)(dot - s), n = strlen(point);
	int len = snprintf(local, sizeof local, "%.*s%s%s", (int)before, s, point, dot + 1);
	if (len < 0 || (size_t)len >= sizeof local) {
		*end = (char *)(uintptr_t)s;
		return 0;
	}
	char *stop;
	double x = strtod(local, &stop);
	size_t used = (size_t)(stop - local);
	*end = (char *)(uintptr_t)s + (used > before ? used - n + 1 : used);
	return x;
}

const char *csv_number(double x, char out[CSV_NUMBER_MAX])
{
	out[0] = '\0';
	for (int digits = 15; isfinite(x) && digits <= 17; digits++) {
		snprintf(out, CSV_NUMBER_MAX, "%.*g", digits, x);
		if (strtod(out, NULL) == x)
			break;
	}
	to_dot(out);
	return out;
}

void csv_write_field(const char *s, struct text *out)
{
	/* Blanks at the ends are quoted too: some readers would drop them. */
	size_t len = strlen(s);
	bool quote = len && (strpbrk(s, ",\"\n") || (unsigned char)s[0] <= ' ' ||
	                     (unsigned char)s[len - 1] <= ' ');

	if (quote)
		text_adds(out, "\"");
	for (; *s; s++) {
		char c = (unsigned char)*s < ' ' && *s != '\n' && *s != '\t' ? ' ' : *s;
		if (c == '"')
			text_adds(out, "\"");
		text_add(out, &c, 1);
	}
	if (quote)
		text_adds(out, "\"");
}

void csv_write_header(const struct table *table, struct text *out)
{
	for (size_t i = 0; i < table->n; i++)
		text_printf(out, "%s%s", i ? "," : "", table->column[i].name);
	text_adds(out, "\n");
}

void csv_write_row(const struct table *table, const void *row, struct text *out)
{
	char number[CSV_NUMBER_MAX];

	for (size_t i = 0; i < table->n; i++) {
		const char *at = (const char *)row + table->column[i].at;
		if (i)
			text_adds(out, ",");
		if (table->column[i].type == COLUMN_STR) {
			const char *s = *(const char *const *)at;
			csv_write_field(s ? s : "", out);
		} else if (table->column[i].type == COLUMN_NUM) {
			text_adds(out, csv_number(*(const double *)at, number));
		} else if (*(const int64_t *)at != NA_INT) {
			text_printf(out, "%" PRId64, *(const int64_t *)at);
		}
	}
	text_adds(out, "\n");
}

struct field {
	const char *s; /* in scratch, ends in NUL */
	size_t len;
};

static enum csv_result bad(struct csv_reader *r, size_t column, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

static enum csv_result bad(struct csv_reader *r, size_t column, const char *format, ...)
{
	char what[ERROR_MAX / 2];
	va_list args;

	va_start(args, format);
	vsnprintf(what, sizeof what, format, args);
	va_end(args);
	const char *name = column < r->n_columns ? r->table->column[r->index[column]].name : "";
	fail(r->error, "%.400s: row %zu, column %zu%s%s%s: %s", r->name, r->row + 1, column + 1,
	     *name ? " (" : "", name, *name ? ")" : "", what);
	return CSV_BAD;
}

/* Copies one field to scratch + *used; *at moves behind its separator, *last
 * says whether that ended the row. */
static enum csv_result take_field(struct csv_reader *r, size_t column, size_t *at, size_t *used,
                                  struct field *field, bool *last)
{
	const char *d = r->data;
	size_t i = *at;
	bool quoted = i < r->len && d[i] == '"';

	field->s = r->scratch + *used;
	field->len = 0;
	for (i += quoted;; i++) {
		if (i >= r->len)
			return CSV_TORN;
		char c = d[i];
		if (c == '\0')
			return bad(r, column, "a NUL byte");
		if (quoted && c == '"') {
			if (i + 1 >= r->len)
				return CSV_TORN;
			if (d[i + 1] != '"') {
				i++;
				break;
			}
			i++;
		} else if (!quoted && (c == ',' || c == '\n' || c == '\r')) {
			break;
		} else if (!quoted && c == '"') {
			return bad(r, column, "a quote inside a field that is not quoted");
		}
		if (*used + field->len + 2 > sizeof r->scratch)
			return bad(r, column, "the row is longer than %d bytes", CSV_ROW_MAX);
		r->scratch[*used + field->len++] = c;
	}
	r->scratch[*used + field->len] = '\0';
	*used += field->len + 1;
	if (i < r->len && d[i] == '\r') {
		if (i + 1 >= r->len)
			return CSV_TORN;
		if (d[++i] != '\n')
			return bad(r, column, "a carriage return inside a row");
	}
	if (i >= r->len)
		return CSV_TORN;
	if (d[i] != ',' && d[i] != '\n')
		return bad(r, column, "text after the closing quote");
	*last = d[i] == '\n';
	*at = i + 1;
	return CSV_ROW;
}

static enum csv_result take_row(struct csv_reader *r, struct field *fields, size_t *n)
{
	size_t at = r->at, used = 0;
	bool last = false;

	if (at >= r->len)
		return CSV_END;
	for (*n = 0; !last; ++*n) {
		if (*n >= CSV_COLUMNS_MAX)
			return bad(r, *n, "more than %d columns", CSV_COLUMNS_MAX);
		if (used + 2 > sizeof r->scratch)
			return bad(r, *n, "the row is longer than %d bytes", CSV_ROW_MAX);
		enum csv_result got = take_field(r, *n, &at, &used, &fields[*n], &last);
		if (got != CSV_ROW)
			return got;
	}
	r->at = at;
	return CSV_ROW;
}

static enum csv_result set_field(struct csv_reader *r, size_t c, const struct field *f, void *row)
{
	const struct column *column = &r->table->column[r->index[c]];
	char *at = (char *)row + column->at, *end;

	if (column->type == COLUMN_STR) {
		if (f->len && !column_accepts(column->values, f->s, f->len))
			return bad(r, c, "'%.80s' is none of %s", f->s, column->values);
		*(const char **)at = f->s;
		return CSV_ROW;
	}
	if (f->len == 0)
		return CSV_ROW;
	if (column->type == COLUMN_NUM) {
		double x = from_dot(f->s, &end);
		/* strtod also knows blanks, hex, inf and nan: files do not. */
		if (strspn(f->s, "0123456789+-.eE") != f->len || *end || !isfinite(x))
			return bad(r, c, "'%.80s' is not a number", f->s);
		*(double *)at = x;
		return CSV_ROW;
	}
	errno = 0;
	long long x = strtoll(f->s, &end, 10);
	if (strspn(f->s, "0123456789-") != f->len || *end || errno || x == INT64_MIN)
		return bad(r, c, "'%.80s' is not a whole number of 64 bits", f->s);
	if (column->type == COLUMN_BOOL && x != 0 && x != 1)
		return bad(r, c, "'%.80s' is not 0 or 1", f->s);
	*(int64_t *)at = x;
	return CSV_ROW;
}

enum csv_result csv_open(struct csv_reader *r, const struct table *table, const char *name,
                         const char *data, size_t len)
{
	struct field fields[CSV_COLUMNS_MAX];
	size_t n = 0;

	r->table = table;
	r->name = name;
	r->data = data;
	r->len = len;
	r->at = r->row = r->n_columns = 0;
	r->error[0] = '\0';
	enum csv_result got = take_row(r, fields, &n);
	if (got != CSV_ROW)
		return got;
	for (size_t c = 0; c < n; c++) {
		size_t t = 0;
		while (t < table->n && strcmp(table->column[t].name, fields[c].s))
			t++;
		if (t == table->n)
			return bad(r, c, "unknown column '%.80s'", fields[c].s);
		for (size_t before = 0; before < c; before++)
			if (r->index[before] == (int)t)
				return bad(r, c, "column '%.80s' is there twice", fields[c].s);
		r->index[c] = (int)t;
	}
	r->n_columns = n;
	r->row = 1;
	return CSV_ROW;
}

enum csv_result csv_next(struct csv_reader *r, void *row)
{
	struct field fields[CSV_COLUMNS_MAX];
	size_t n = 0, start = r->at;
	enum csv_result got = take_row(r, fields, &n);

	if (got != CSV_ROW)
		return got;
	row_clear(r->table, row);
	if (n != r->n_columns)
		got = bad(r, n ? n - 1 : 0, "%zu columns where the header has %zu", n, r->n_columns);
	for (size_t c = 0; c < n && got == CSV_ROW; c++)
		got = set_field(r, c, &fields[c], row);
	if (got != CSV_ROW)
		r->at = start;
	else
		r->row++;
	return got;
}

bool csv_complete(const struct csv_reader *reader)
{
	for (size_t c = 0; c < reader->n_columns; c++)
		if (reader->index[c] != (int)c)
			return false;
	return reader->n_columns == reader->table->n;
}
