/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Fuzz target: any bytes as raw.csv are refused with a sentence, or give rows
 * that are written and read back unchanged. Build with clang
 * -fsanitize=fuzzer,address,undefined and start from tests/corpus/csv.
 */
#include "../harness/csv.h"
#include "../harness/raw.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool write_back(void *user, const struct raw_row *row, char *error)
{
	(void)error;
	csv_write_row(&raw_table, row, user);
	return true;
}

static bool count(void *user, const struct raw_row *row, char *error)
{
	(void)row;
	(void)error;
	++*(size_t *)user;
	return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char error[ERROR_MAX] = "";
	struct text text = { 0 };
	size_t good = 0, rows = 0;

	if (!raw_parse("fuzz", (const char *)data, size, false, count, &rows, &good, error)) {
		if (!error[0] || !memchr(error, '\0', sizeof error))
			abort();
		return 0;
	}
	if (good > size)
		abort();
	csv_write_header(&raw_table, &text);
	size_t header = text.len;
	if (!raw_parse("fuzz", (const char *)data, size, false, write_back, &text, &good, error))
		abort();
	/* What we write is whole to us, and says the same once more. */
	struct text again = { 0 };
	csv_write_header(&raw_table, &again);
	if (!raw_parse("again", text.s, text.len, true, write_back, &again, &good, error) ||
	    (text.len > header && good != text.len) || again.len != text.len ||
	    memcmp(again.s, text.s, text.len))
		abort();
	text_free(&again);
	text_free(&text);
	return 0;
}
