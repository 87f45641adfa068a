/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The .safetensors reader: what the format allows is read, each way a header
 * can lie is refused with a sentence that says so.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../datasets/data.h"
#include "../datasets/safetensors.h"

#define ENTRY(name, type, shape, from, to) \
	"\"" name "\": {\"dtype\": \"" type "\", \"shape\": " shape ", \"data_offsets\": [" #from ", " #to "]}"
#define Q ENTRY("q", "F32", "[2, 3]", 0, 24)
#define K ENTRY("k", "F16", "[2, 3]", 24, 36)
#define V ENTRY("v", "BF16", "[2, 4]", 36, 52)
#define GOOD "{" Q ", " K ", " V "}"
enum { DATA = 52 };

static bool parse(const char *header, size_t length, uint64_t data, struct safetensors_heads *heads, char *error)
{
	/* An exact copy on the heap: a read beyond it is seen by ASan. */
	char *copy = malloc(length ? length : 1);
	bool ok;

	assert_non_null(copy);
	memcpy(copy, header, length);
	ok = safetensors_parse(copy, length, SAFETENSORS_PREFIX + length + data, heads, error);
	free(copy);
	return ok;
}

static void accepts(const char *header, uint64_t data, struct safetensors_heads *heads)
{
	char error[TENSOR_ERROR_MAX] = "";

	if (!parse(header, strlen(header), data, heads, error))
		fail_msg("%s\nrefused: %s", header, error);
}

static void refuses(const char *header, uint64_t data, const char *says)
{
	char error[TENSOR_ERROR_MAX] = "";
	struct safetensors_heads heads;

	if (parse(header, strlen(header), data, &heads, error))
		fail_msg("%s\naccepted, expected: %s", header, says);
	if (!strstr(error, says))
		fail_msg("%s\nexpected '%s', the message is: %s", header, says, error);
	for (const char *c = error; *c; c++)
		assert_true(*c >= ' ' && *c <= '~');
}

static void what_the_format_allows(void **state)
{
	struct safetensors_heads heads;

	(void)state;
	accepts(GOOD, DATA, &heads);
	assert_string_equal(heads.name[0], "q");
	assert_int_equal(heads.head[0].type, TENSOR_F32);
	assert_int_equal(heads.head[0].rank, 2);
	assert_int_equal(heads.head[0].dim[1], 3);
	assert_int_equal(heads.head[0].count, 6);
	assert_int_equal(heads.head[0].offset, SAFETENSORS_PREFIX + strlen(GOOD));
	assert_int_equal(heads.head[1].type, TENSOR_F16);
	assert_int_equal(heads.head[1].offset, SAFETENSORS_PREFIX + strlen(GOOD) + 24);
	assert_int_equal(heads.head[2].type, TENSOR_BF16);
	/* Any order, spaces behind, metadata, tensors of other kinds, an empty
	 * one, a scalar, a type of the future. */
	accepts("{" V "," K "," Q "}       ", DATA, &heads);
	assert_int_equal(heads.head[2].offset, SAFETENSORS_PREFIX + strlen("{" V "," K "," Q "}       ") + 36);
	accepts("{\"__metadata__\": {\"format\": \"pt\"}, " Q ", " K ", " V ", "
	        ENTRY("ids", "I64", "[2]", 52, 68) ", " ENTRY("none", "F32", "[0, 5]", 68, 68) ", "
	        ENTRY("one", "F64", "[]", 68, 76) ", " ENTRY("small", "F4_E2M1", "[4]", 76, 78) "}", 78, &heads);
	accepts("{" ENTRY("query", "F64", "[1, 1, 1, 2]", 0, 16) ", " ENTRY("key", "F64", "[1, 2]", 16, 32) ", "
	        ENTRY("value", "F64", "[1, 2]", 32, 48) "}", 48, &heads);
	assert_string_equal(heads.name[2], "value");
	assert_int_equal(heads.head[0].rank, 4);
}

static void lying_entries(void **state)
{
	static const struct {
		const char *header, *says;
	} lies[] = {
		{ "", "does not begin with '{'" },
		{ " " GOOD, "does not begin with '{'" },
		{ "[]", "does not begin with '{'" },
		{ "{", "is no JSON" },
		{ "{" Q ", " K ", " V, "is no JSON" },
		{ GOOD "x", "is no JSON" },
		{ "{\xff}", "is no JSON" },
		{ "{" Q ", " Q ", " K ", " V "}", "is no JSON" },
		{ "{}", "the tensors end at byte 0 of the data, the file at 52" },
		{ "{\"q\": 1, " K ", " V "}", "must have dtype, shape and data_offsets" },
		{ "{\"q\": {\"dtype\": \"F32\", \"shape\": [2, 3]}, " K ", " V "}", "must have dtype" },
		{ "{\"q\": {\"dtype\": \"F32\", \"shape\": [2, 3], \"data_offsets\": [0, 24], \"x\": 0}, " K ", " V "}",
		  "and nothing else" },
		{ "{\"q\": {\"dtype\": 4, \"shape\": [2, 3], \"data_offsets\": [0, 24]}, " K ", " V "}", "is no text" },
		{ "{" ENTRY("q", "F32", "6", 0, 24) ", " K ", " V "}", "is no list of sizes" },
		{ "{" ENTRY("q", "F32", "[2.0, 3]", 0, 24) ", " K ", " V "}", "is no list of sizes" },
		{ "{" ENTRY("q", "F32", "[-2, -3]", 0, 24) ", " K ", " V "}", "is no list of sizes" },
		{ "{" ENTRY("q", "F32", "[4294967296, 4294967296]", 0, 24) ", " K ", " V "}", "beyond 64 bits" },
		{ "{" ENTRY("q", "F32", "[99999999999999999999]", 0, 24) ", " K ", " V "}", "is no JSON" },
		{ "{" ENTRY("q", "F32", "[9223372036854775807, 2]", 0, 24) ", " K ", " V "}", "bytes in the file" },
		{ "{" ENTRY("q", "F32", "[2, 4]", 0, 24) ", " K ", " V "}", "has 8 elements of 4 bytes, but 24 bytes" },
		{ "{" ENTRY("q", "F64", "[2, 3]", 0, 24) ", " K ", " V "}", "has 6 elements of 8 bytes, but 24 bytes" },
		{ "{" ENTRY("q", "F32", "[2, 3]", 24, 0) ", " K ", " V "}", "not two places in order" },
		{ "{" ENTRY("q", "F32", "[2, 3]", -24, 0) ", " K ", " V "}", "not two places in order" },
		{ "{\"q\": {\"dtype\": \"F32\", \"shape\": [2, 3], \"data_offsets\": [0]}, " K ", " V "}", "not two places" },
		{ "{\"q\": {\"dtype\": \"F32\", \"shape\": [2, 3], \"data_offsets\": 24}, " K ", " V "}", "not two places" },
		{ "{" Q ", " K ", " ENTRY("v", "BF16", "[2, 5]", 36, 56) "}", "ends at byte 56 of the data, but the file holds 52" },
		{ "{" Q ", " ENTRY("k", "F16", "[2, 3]", 20, 32) ", " V "}", "'k' begins at byte 20 of the data, where another one is" },
		{ "{" Q ", " ENTRY("k", "F16", "[2, 3]", 0, 12) ", " V "}", "where another one is" },
		{ "{" Q ", " ENTRY("k", "F16", "[1, 3]", 26, 32) ", " V "}", "where a gap is before it" },
		{ "{" Q ", " K ", " ENTRY("v", "BF16", "[2, 3]", 36, 48) "}", "it is longer than its header says" },
		{ "{" Q ", " K ", " ENTRY("w", "BF16", "[2, 4]", 36, 52) "}", "it holds no tensors named q, k and v (or query, key and value) but q, k, w" },
		{ "{" ENTRY("q", "I32", "[2, 3]", 0, 24) ", " K ", " V "}", "tensor 'q' is I32; F32, F16, BF16 and F64 are read" },
		{ "{" Q ", " ENTRY("k", "F8_E4M3", "[2, 6]", 24, 36) ", " V "}", "tensor 'k' is F8_E4M3" },
		{ "{" Q ", " ENTRY("k", "F128", "[2, 3]", 24, 36) ", " V "}", "the unknown dtype 'F128'" },
		{ "{" ENTRY("q", "F32", "[1, 1, 1, 2, 3]", 0, 24) ", " K ", " V "}", "has 5 dimensions" },
		{ "{\"__metadata__\": 1, " Q ", " K ", " V "}", "__metadata__ is no object" },
		{ "{\"__metadata__\": {\"x\": 1}, " Q ", " K ", " V "}", "__metadata__ holds what is no text" },
		{ "{\"\\u0001\\u00e9\": 1, " Q ", " K ", " V "}", "tensor '?" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++)
		refuses(lies[i].header, DATA, lies[i].says);
	refuses("{" ENTRY("q", "F32", "[0, 3]", 0, 0) ", " ENTRY("k", "F32", "[0, 3]", 0, 0) ", "
	        ENTRY("v", "F32", "[0, 3]", 0, 0) "}", 0, "it is empty");
	refuses("{" Q ", " K ", " V ", " ENTRY("query", "U8", "[1]", 52, 53) ", " ENTRY("key", "U8", "[1]", 53, 54) ", "
	        ENTRY("value", "U8", "[1]", 54, 55) "}", 55, "both q, k, v and query, key, value are there");
	refuses("{}", 0, "it holds no tensors named q, k and v (or query, key and value) but none");
}

static void cut_anywhere(void **state)
{
	char error[TENSOR_ERROR_MAX];
	struct safetensors_heads heads;
	size_t length = strlen(GOOD);

	(void)state;
	for (size_t n = 0; n < length; n++)
		assert_false(parse(GOOD, n, DATA, &heads, error));
	for (uint64_t data = 0; data < DATA; data++)
		assert_false(parse(GOOD, length, data, &heads, error));
	assert_true(parse(GOOD, length, DATA, &heads, error));
	assert_false(parse(GOOD, length, DATA + 1, &heads, error));
}

/* Every byte of a header, replaced by every other: a verdict, and what is
 * accepted lies inside the file. */
static void one_byte_wrong(void **state)
{
	char error[TENSOR_ERROR_MAX], header[] = GOOD;
	struct safetensors_heads heads;
	size_t length = strlen(GOOD);

	(void)state;
	for (size_t i = 0; i < length; i++) {
		char was = header[i];

		for (int value = 0; value < 256; value++) {
			header[i] = (char)value;
			if (!parse(header, length, DATA, &heads, error))
				continue;
			for (size_t t = 0; t < 3; t++)
				assert_true(heads.head[t].offset + heads.head[t].count * tensor_type_size(heads.head[t].type) <=
				            SAFETENSORS_PREFIX + length + DATA);
		}
		header[i] = was;
	}
}

static char path[64], spec[80];

static int make_path(void **state)
{
	int fd;

	(void)state;
	strcpy(path, "/tmp/attnbench-XXXXXX.safetensors");
	fd = mkstemps(path, 12);
	snprintf(spec, sizeof(spec), "file:%s", path);
	return fd < 0 ? -1 : close(fd);
}

static int remove_path(void **state)
{
	(void)state;
	return unlink(path);
}

/* A file of a header and data; `said`: the length in its prefix. */
static void write_file(const char *header, uint64_t said, const void *data, size_t size)
{
	FILE *stream = fopen(path, "wb");

	assert_non_null(stream);
	for (int i = 0; i < 8; i++)
		fputc((int)(said >> (8 * i) & 0xff), stream);
	fputs(header, stream);
	assert_int_equal(fwrite(data, 1, size, stream), size);
	assert_int_equal(fclose(stream), 0);
}

/* [batch, heads, n, d] = [1, 2, 3, 2] in float32 for q, [1, 1, 3, 2] in
 * bfloat16 for k, [1, 1, 3, 1] in float16 for v, stored in another order. */
static void heads_from_a_file(void **state)
{
	static const char header[] =
		"{" ENTRY("v", "F16", "[1, 1, 3, 1]", 0, 6) ", " ENTRY("q", "F32", "[1, 2, 3, 2]", 6, 54) ", "
		ENTRY("k", "BF16", "[1, 1, 3, 2]", 54, 66) "}";
	static const uint16_t k[6] = { 0x3f80, 0x4000, 0x4040, 0x4080, 0x40a0, 0xc0c0 }; /* 1 2 3 4 5 -6 */
	static const uint16_t v[3] = { 0x3c00, 0x4000, 0xc200 };                         /* 1 2 -3 */
	struct data_shape shape = { 1, 2, 3, 3, 2, 1 };
	float q[12], got_q[6], got_k[6], got_v[3];
	char error[DATA_ERROR_MAX];
	unsigned char bytes[66];
	struct data data;

	(void)state;
	for (size_t i = 0; i < 12; i++)
		q[i] = (float)i / 4;
	memcpy(bytes, v, 6); /* this machine is little-endian, as the tests of files are */
	memcpy(bytes + 6, q, 48);
	memcpy(bytes + 54, k, 12);
	write_file(header, strlen(header), bytes, sizeof(bytes));
	assert_true(data_parse(spec, &data, error));
	assert_true(data_check(&data, &shape, error));
	for (size_t head = 0; head < 2; head++) {
		assert_true(data_fill(&data, &shape, 1, 0, head, got_q, got_k, got_v, error));
		assert_memory_equal(got_q, q + 6 * head, sizeof(got_q));
		assert_true(got_k[0] == 1 && got_k[4] == 5 && got_k[5] == -6);
		assert_true(got_v[0] == 1 && got_v[1] == 2 && got_v[2] == -3);
	}
	shape.heads = 3;
	assert_false(data_check(&data, &shape, error));
	assert_non_null(strstr(error, "holds 2 heads, heads = 3 was asked"));
	/* A file that has become shorter since it was parsed. */
	shape.heads = 2;
	assert_int_equal(truncate(path, (off_t)(SAFETENSORS_PREFIX + strlen(header) + 60)), 0);
	assert_false(data_fill(&data, &shape, 1, 0, 0, got_q, got_k, got_v, error));
	assert_non_null(strstr(error, "it is cut short"));
}

static void refused_file(const char *says)
{
	char error[DATA_ERROR_MAX] = "";
	struct data data;

	assert_false(data_parse(spec, &data, error));
	if (!strstr(error, says) || !strstr(error, path))
		fail_msg("expected '%s', the message is: %s", says, error);
}

static void damaged_files(void **state)
{
	static const char nan_header[] = "{" ENTRY("q", "F32", "[1, 1]", 0, 4) ", " ENTRY("k", "F32", "[1, 1]", 4, 8) ", "
	                                 ENTRY("v", "F32", "[1, 1]", 8, 12) "}";
	static const float nans[3] = { 1, NAN, 1 };
	struct data_shape shape = { 1, 1, 1, 1, 1, 1 };
	char error[DATA_ERROR_MAX], data[DATA] = { 0 };
	float x[1];
	struct data parsed;

	(void)state;
	write_file(GOOD, strlen(GOOD), data, DATA - 1);
	refused_file("it is cut short");
	write_file(GOOD, strlen(GOOD) + 1000, data, DATA);
	refused_file("but the file ends after");
	write_file(GOOD, UINT64_MAX, data, DATA);
	refused_file("the header is said to have 18446744073709551615 bytes");
	write_file(GOOD, strlen(GOOD) - 1, data, DATA);
	refused_file("is no JSON");
	write_file("", 0, data, DATA);
	refused_file("does not begin with '{'");
	write_file(GOOD, strlen(GOOD), data, DATA); /* q is [2, 3], v [2, 4]: good by itself */
	assert_true(data_parse(spec, &parsed, error));
	assert_int_equal(truncate(path, 5), 0);
	refused_file("the file ends inside its first 8 bytes");
	assert_int_equal(truncate(path, 0), 0);
	refused_file("is empty");
	write_file("{" Q ", " ENTRY("k", "F16", "[3, 2]", 24, 36) ", " V "}",
	           strlen("{" Q ", " ENTRY("k", "F16", "[3, 2]", 24, 36) ", " V "}"), data, DATA);
	refused_file("k holds 1 heads of 3 tokens, v 1 of 2");
	write_file(nan_header, strlen(nan_header), nans, sizeof(nans));
	assert_true(data_parse(spec, &parsed, error));
	assert_false(data_fill(&parsed, &shape, 1, 0, 0, x, x, x, error));
	assert_non_null(strstr(error, "k holds a NaN"));
	assert_int_equal(unlink(path), 0);
	refused_file("No such file or directory");
	write_file("", 0, data, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_the_format_allows),
		cmocka_unit_test(lying_entries),
		cmocka_unit_test(cut_anywhere),
		cmocka_unit_test(one_byte_wrong),
		cmocka_unit_test_setup_teardown(heads_from_a_file, make_path, remove_path),
		cmocka_unit_test_setup_teardown(damaged_files, make_path, remove_path),
	};

	return cmocka_run_group_tests_name("safetensors", tests, NULL, NULL);
}
