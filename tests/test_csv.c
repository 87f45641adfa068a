/* SPDX-License-Identifier: BSD-3-Clause
 *
 * CSV: what is written reads back the same, in any locale; what is not CSV is
 * refused with row and column; no text makes the reader leave its memory. */
#include "../harness/csv.h"

#include <locale.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static uint64_t state = 88172645463325252u;

static uint64_t next_random(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	return state ^= state << 17;
}

static double random_double(void)
{
	uint64_t bits = next_random();
	double x;

	memcpy(&x, &bits, sizeof x);
	return isfinite(x) ? x : NAN;
}

/* Commas, quotes, newlines, blanks at the ends, bytes of UTF-8. */
static void random_text(char *s, size_t size)
{
	static const char letters[] = "ab,\"\n \t\xc3\xa9;=:'\\";
	size_t n = next_random() % (size - 1);

	for (size_t i = 0; i < n; i++)
		s[i] = letters[next_random() % (sizeof letters - 1)];
	s[n] = '\0';
}

/* A row of random values; columns with a list of words get one of them. */
static void random_row(struct raw_row *row, char texts[][24])
{
	row_clear(&raw_table, row);
	for (size_t c = 0; c < raw_table.n; c++) {
		const struct column *column = &raw_table.column[c];
		char *at = (char *)row + column->at;
		if (next_random() % 4 == 0)
			continue;
		if (column->type == COLUMN_STR && *column->values) {
			snprintf(texts[c], 24, "%.*s", (int)strcspn(column->values, "|"), column->values);
			*(const char **)at = texts[c];
		} else if (column->type == COLUMN_STR) {
			random_text(texts[c], 24);
			*(const char **)at = texts[c];
		} else if (column->type == COLUMN_NUM) {
			*(double *)at = random_double();
		} else if (column->type == COLUMN_BOOL) {
			*(int64_t *)at = (int64_t)(next_random() & 1);
		} else {
			*(int64_t *)at = (int64_t)next_random() >> (next_random() % 60);
			if (*(int64_t *)at == NA_INT)
				*(int64_t *)at = 0;
		}
	}
}

static void assert_same_row(const struct raw_row *a, const struct raw_row *b)
{
	for (size_t c = 0; c < raw_table.n; c++) {
		const struct column *column = &raw_table.column[c];
		const char *at_a = (const char *)a + column->at, *at_b = (const char *)b + column->at;
		if (column->type == COLUMN_STR)
			assert_string_equal(*(const char *const *)at_a, *(const char *const *)at_b);
		else if (column->type == COLUMN_NUM && isnan(*(const double *)at_a))
			assert_true(isnan(*(const double *)at_b));
		else
			assert_memory_equal(at_a, at_b, 8);
	}
}

static void round_trip(void)
{
	static struct csv_reader reader;
	static char texts[CSV_COLUMNS_MAX][24];
	struct raw_row row, back;

	for (int i = 0; i < 300; i++) {
		struct text text = { 0 };
		random_row(&row, texts);
		csv_write_header(&raw_table, &text);
		csv_write_row(&raw_table, &row, &text);
		assert_int_equal(csv_open(&reader, &raw_table, "t", text.s, text.len), CSV_ROW);
		assert_true(csv_complete(&reader));
		if (csv_next(&reader, &back) != CSV_ROW)
			fail_msg("%s\n%s", reader.error, text.s);
		assert_same_row(&row, &back);
		assert_int_equal(csv_next(&reader, &back), CSV_END);
		text_free(&text);
	}
}

static void test_round_trip(void **unused)
{
	(void)unused;
	round_trip();
}

/* A locale with a decimal comma must not change a byte. */
static void test_locale(void **unused)
{
	static const char *const names[] = { "de_DE.UTF-8", "de_DE.utf8", "fr_FR.UTF-8", "de_DE" };
	char number[CSV_NUMBER_MAX];
	bool found = false;

	(void)unused;
	for (size_t i = 0; i < 4 && !found; i++)
		found = setlocale(LC_ALL, names[i]) != NULL;
	if (!found)
		skip();
	assert_string_equal(csv_number(1.5, number), "1.5");
	assert_string_equal(csv_number(-2.25e-300, number), "-2.25e-300");
	round_trip();
	setlocale(LC_ALL, "C");
}

static void test_numbers(void **unused)
{
	char number[CSV_NUMBER_MAX];

	(void)unused;
	assert_string_equal(csv_number(0.1, number), "0.1");
	assert_string_equal(csv_number(100, number), "100");
	assert_string_equal(csv_number(1.0 / 3, number), "0.3333333333333333");
	assert_string_equal(csv_number(5e-324, number), "4.94065645841247e-324");
	assert_string_equal(csv_number(NAN, number), "");
	assert_string_equal(csv_number(INFINITY, number), "");
	for (int i = 0; i < 20000; i++) {
		double x = random_double();
		if (isnan(x))
			continue;
		assert_true(strtod(csv_number(x, number), NULL) == x);
	}
}

static enum csv_result read_text(struct csv_reader *reader, const char *text, size_t len)
{
	struct summary_row row;
	enum csv_result got = csv_open(reader, &summary_table, "t.csv", text, len);

	while (got == CSV_ROW)
		got = csv_next(reader, &row);
	return got;
}

static void expect_bad(const char *text, const char *part)
{
	static struct csv_reader reader;
	enum csv_result got = read_text(&reader, text, strlen(text));

	if (got != CSV_BAD)
		fail_msg("accepted: %s", text);
	if (!strstr(reader.error, part))
		fail_msg("'%s' does not say '%s'", reader.error, part);
}

static void test_refusals(void **unused)
{
	(void)unused;
	expect_bad("variant,nonsense\n", "t.csv: row 1, column 2: unknown column 'nonsense'");
	expect_bad("variant,n_q,variant\n", "there twice");
	expect_bad("variant,n_q\nfull\n", "1 columns where the header has 2");
	expect_bad("variant,n_q\nfull,1,2\n", "3 columns where the header has 2");
	expect_bad("variant,n_q\nfull,12x\n", "row 2, column 2 (n_q): '12x' is not a whole number");
	expect_bad("n_q\n99999999999999999999\n", "whole number");
	expect_bad("n_q\n1.5\n", "whole number");
	expect_bad("n_q\n 1\n", "whole number");
	expect_bad("scale\nnan\n", "is not a number");
	expect_bad("scale\ninf\n", "is not a number");
	expect_bad("scale\n0x10\n", "is not a number");
	expect_bad("scale\n1e999\n", "is not a number");
	expect_bad("scale\n1,5\n", "2 columns");
	expect_bad("causal\n2\n", "is not 0 or 1");
	expect_bad("dtype\nf64\n", "'f64' is none of f32|bf16|f16");
	expect_bad("variant\nfu\"ll\n", "quote inside");
	expect_bad("variant\n\"full\"x\n", "after the closing quote");
	expect_bad("variant\nfull\rx\n", "carriage return");
}

static void test_dialects(void **unused)
{
	static struct csv_reader reader;
	struct summary_row row;
	const char *text = "variant,n_q,message\r\n\"a\"\"b\",7,\"x\ny\"\r\n,,\n";

	(void)unused;
	assert_int_equal(csv_open(&reader, &summary_table, "t", text, strlen(text)), CSV_ROW);
	assert_false(csv_complete(&reader));
	assert_int_equal(csv_next(&reader, &row), CSV_ROW);
	assert_string_equal(row.key.variant, "a\"b");
	assert_int_equal(row.key.n_q, 7);
	assert_string_equal(row.message, "x\ny");
	assert_true(isnan(row.time_median_ns));
	assert_int_equal(csv_next(&reader, &row), CSV_ROW);
	assert_true(row.key.n_q == NA_INT);
	assert_int_equal(csv_next(&reader, &row), CSV_END);
}

/* Cut off anywhere, the reader says torn, and `at` is where the last row ends. */
static void test_torn(void **unused)
{
	static struct csv_reader reader;
	const char *text = "variant,n_q,message\nfull,7,\"a,\"\"b\"\nflash,8,\n";
	size_t len = strlen(text), ends[] = { 0, 20, 35, 44 };

	(void)unused;
	assert_int_equal(len, ends[3]);
	for (size_t cut = 0; cut <= len; cut++) {
		char *copy = malloc(cut + 1); /* exact size: a sanitizer sees an overrun */
		memcpy(copy, text, cut);
		size_t whole = 0;
		for (size_t i = 0; i < 4; i++)
			whole = ends[i] <= cut ? ends[i] : whole;
		enum csv_result got = read_text(&reader, copy, cut);
		assert_int_equal(got, whole == cut ? CSV_END : CSV_TORN);
		assert_int_equal(reader.at, whole);
		free(copy);
	}
}

/* Random bytes, and mutated files: any answer but a fault. */
static void test_hostile(void **unused)
{
	static struct csv_reader reader;
	static char texts[CSV_COLUMNS_MAX][24];
	struct raw_row row;

	(void)unused;
	for (int i = 0; i < 2000; i++) {
		struct text text = { 0 };
		csv_write_header(&raw_table, &text);
		random_row(&row, texts);
		csv_write_row(&raw_table, &row, &text);
		for (uint64_t k = next_random() % 8; k > 0; k--)
			text.s[next_random() % text.len] = (char)next_random();
		struct raw_row back;
		enum csv_result got = csv_open(&reader, &raw_table, "t", text.s, text.len);
		while (got == CSV_ROW)
			got = csv_next(&reader, &back);
		assert_true(got == CSV_END || got == CSV_TORN || (got == CSV_BAD && reader.error[0]));
		text_free(&text);
	}
}

static void test_long_row(void **unused)
{
	static struct csv_reader reader;
	struct text text = { 0 };

	(void)unused;
	text_adds(&text, "message\n");
	for (int i = 0; i < CSV_ROW_MAX; i++)
		text_adds(&text, "x");
	text_adds(&text, "\n");
	assert_int_equal(read_text(&reader, text.s, text.len), CSV_BAD);
	assert_non_null(strstr(reader.error, "longer than"));
	text.len = 0;
	for (int i = 0; i < 100000; i++)
		text_adds(&text, ",");
	text_adds(&text, "\n");
	assert_int_equal(read_text(&reader, text.s, text.len), CSV_BAD);
	text_free(&text);
}

static void test_control_characters(void **unused)
{
	struct text text = { 0 };

	(void)unused;
	csv_write_field("a\x1b[31mb\r", &text);
	assert_string_equal(text.s, "\"a [31mb \"");
	text_free(&text);
}

/* Names are unique, and those of the key stand first in both files. */
static void test_tables(void **unused)
{
	const struct table *const tables[] = { &raw_table, &summary_table };

	(void)unused;
	for (size_t t = 0; t < 2; t++) {
		assert_true(tables[t]->n <= CSV_COLUMNS_MAX);
		for (size_t i = 0; i < tables[t]->n; i++) {
			assert_true(*tables[t]->column[i].description != '\0');
			for (size_t k = 0; k < i; k++)
				assert_string_not_equal(tables[t]->column[i].name, tables[t]->column[k].name);
		}
	}
	for (size_t i = 0; i < raw_table.n && raw_table.column[i].key; i++)
		assert_string_equal(raw_table.column[i].name, summary_table.column[i].name);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip), cmocka_unit_test(test_locale),
		cmocka_unit_test(test_numbers),    cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_dialects),   cmocka_unit_test(test_torn),
		cmocka_unit_test(test_hostile),    cmocka_unit_test(test_long_row),
		cmocka_unit_test(test_control_characters), cmocka_unit_test(test_tables),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
