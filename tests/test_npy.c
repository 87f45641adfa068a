/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The .npy reader: what NumPy writes is read, and each way a header can lie is
 * refused with a sentence that says so.
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

#include "../datasets/npy.h"

#define HEADER(type, order, shape) "{'descr': '" type "', 'fortran_order': " order ", 'shape': " shape ", }"

/* A file in memory: version, header ended by a newline, bytes of data. */
struct image {
	unsigned char byte[4096];
	size_t size;
};

static void build(struct image *f, int version, const char *header, size_t data)
{
	size_t length = strlen(header) + 1, prefix = version == 1 ? 10 : 12;

	memset(f, 0, sizeof(*f));
	memcpy(f->byte, "\x93NUMPY", 6);
	f->byte[6] = (unsigned char)version;
	f->byte[8] = (unsigned char)(length & 0xff);
	f->byte[9] = (unsigned char)(length >> 8);
	memcpy(f->byte + prefix, header, length - 1);
	f->byte[prefix + length - 1] = '\n';
	f->size = prefix + length + data;
	assert_true(f->size <= sizeof(f->byte));
}

static void accepts(int version, const char *header, size_t data, struct tensor_head *npy)
{
	char error[TENSOR_ERROR_MAX] = "";
	struct image f;

	build(&f, version, header, data);
	if (!npy_parse(f.byte, f.size, f.size, npy, error))
		fail_msg("%s\nrefused: %s", header, error);
	assert_int_equal(npy->offset + data, f.size);
}

/* Refused, and the message holds `says`. */
static void refuses_image(const struct image *f, const char *says)
{
	char error[TENSOR_ERROR_MAX] = "";
	/* An exact copy on the heap: a read beyond it is seen by ASan. */
	unsigned char *copy = malloc(f->size ? f->size : 1);
	struct tensor_head npy;

	assert_non_null(copy);
	memcpy(copy, f->byte, f->size);
	if (npy_parse(copy, f->size, f->size, &npy, error))
		fail_msg("accepted, expected: %s", says);
	free(copy);
	if (!strstr(error, says))
		fail_msg("expected '%s', the message is: %s", says, error);
	assert_true(strlen(error) > strlen(says));
}

static void refuses(const char *header, size_t data, const char *says)
{
	struct image f;

	build(&f, 1, header, data);
	refuses_image(&f, says);
}

static void what_numpy_writes(void **state)
{
	struct tensor_head npy;

	(void)state;
	accepts(1, HEADER("<f4", "False", "(2, 3)"), 24, &npy);
	assert_int_equal(npy.type, TENSOR_F32);
	assert_int_equal(npy.rank, 2);
	assert_int_equal(npy.dim[0], 2);
	assert_int_equal(npy.dim[1], 3);
	assert_int_equal(npy.count, 6);
	accepts(2, HEADER("<f8", "False", "(1, 2, 3, 4)") "        ", 192, &npy);
	assert_int_equal(npy.type, TENSOR_F64);
	assert_int_equal(npy.rank, 4);
	accepts(1, HEADER("<f2", "False", "(5,)"), 10, &npy);
	assert_int_equal(npy.rank, 1);
	accepts(1, HEADER("<f4", "False", "()"), 4, &npy);
	assert_int_equal(npy.rank, 0);
	assert_int_equal(npy.count, 1);
	/* Any order of keys, either quote, no trailing comma. */
	accepts(1, "{\"shape\": (2,3,), \"descr\": \"<f4\", \"fortran_order\": False}", 24, &npy);
	assert_int_equal(npy.count, 6);
}

static void damaged_prefix(void **state)
{
	struct image f;

	(void)state;
	build(&f, 1, HEADER("<f4", "False", "(2, 3)"), 24);
	f.byte[0] = 'P';
	refuses_image(&f, "not a .npy file");
	build(&f, 3, HEADER("<f4", "False", "(2, 3)"), 24);
	refuses_image(&f, "version 3.0");
	build(&f, 1, HEADER("<f4", "False", "(2, 3)"), 24);
	f.byte[7] = 1;
	refuses_image(&f, "version 1.1");
	build(&f, 1, HEADER("<f4", "False", "(2, 3)"), 24);
	f.byte[9] = 0x10; /* 4096 bytes of header in a file of a hundred */
	refuses_image(&f, "but the file ends after");
	f.byte[9] = 0xff;
	refuses_image(&f, "the file is damaged");
	build(&f, 2, HEADER("<f4", "False", "(2, 3)"), 24);
	f.byte[11] = 0xff; /* 4 GiB of header */
	refuses_image(&f, "the file is damaged");
}

static void cut_anywhere(void **state)
{
	char error[TENSOR_ERROR_MAX];
	struct image f;
	struct tensor_head npy;

	(void)state;
	for (int version = 1; version <= 2; version++) {
		size_t whole;

		build(&f, version, HEADER("<f4", "False", "(2, 3)") "   ", 24);
		whole = f.size;
		for (f.size = 0; f.size < whole; f.size++) {
			unsigned char *copy = malloc(f.size ? f.size : 1);

			assert_non_null(copy);
			memcpy(copy, f.byte, f.size);
			error[0] = '\0';
			assert_false(npy_parse(copy, f.size, f.size, &npy, error));
			assert_true(error[0] != '\0');
			free(copy);
		}
	}
}

static void lying_types(void **state)
{
	static const struct {
		const char *type, *says;
	} lies[] = {
		{ ">f4", "big-endian" },       { "|f4", "names no byte order" },
		{ "=f8", "names no byte order" }, { "|u1", "names no byte order" },
		{ "|O", "names no byte order" },  { "|V2", "names no byte order" },
		{ "<i4", "convert with x.astype" }, { "<c8", "convert with x.astype" },
		{ "<f16", "convert with x.astype" }, { "f4", "convert with x.astype" },
		{ "", "convert with x.astype" }, { "<f4<f4<f4<f4<f4<f4", "a type such as" },
		{ "<f\\x34", "a type such as" }, { "<\tf4", "0x09" }, { "<\xc3\xa9", "0xc3" },
	};
	char header[128];

	(void)state;
	for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
		snprintf(header, sizeof(header), HEADER("%s", "False", "(2, 3)"), lies[i].type);
		refuses(header, 24, lies[i].says);
	}
	refuses("{'descr': [('q', '<f4')], 'fortran_order': False, 'shape': (6,), }", 24, "records of several fields");
	refuses("{'descr': 4, 'fortran_order': False, 'shape': (6,), }", 24, "a type such as");
	refuses("{'descr': '<f4, 'fortran_order': False, 'shape': (6,), }", 24, "convert with x.astype");
}

static void lying_shapes(void **state)
{
	static const struct {
		const char *shape, *says;
	} lies[] = {
		{ "(3, 3)", "36 bytes in all, but 24 bytes follow the header; the file is cut short" },
		{ "(2, 2)", "the file is longer than its header says" },
		{ "(0, 3)", "is 0" },
		{ "(-2, -3)", "a dimension" },
		{ "(+2, 3)", "a dimension" },
		{ "(02, 3)", "a dimension" },
		{ "(2L, 3)", "',' or ')'" },
		{ "(2.0, 3)", "',' or ')'" },
		{ "(2 3)", "',' or ')'" },
		{ "(,)", "a dimension" },
		{ "(2,, 3)", "a dimension" },
		{ "(6)", "the ',' of a tuple" },
		{ "[2, 3]", "'('" },
		{ "6", "'('" },
		{ "None", "'('" },
		{ "(1, 1, 1, 2, 3)", "more than 4 dimensions" },
		{ "(18446744073709551616, 1)", "beyond 64 bits" },
		{ "(99999999999999999999999999999999999, 1)", "beyond 64 bits" },
		{ "(4294967296, 4294967296)", "more elements than 64 bits" },
		{ "(4294967296, 4294967296, 4294967296)", "more elements than 64 bits" },
		{ "(9223372036854775807, 2)", "more bytes than 64 bits" },
		{ "(4611686018427387910, 1)", "more bytes than 64 bits" },
		{ "(4611686018427387903, 1)", "cut short" },
	};
	char header[160];

	(void)state;
	for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
		snprintf(header, sizeof(header), HEADER("<f4", "False", "%s"), lies[i].shape);
		refuses(header, 24, lies[i].says);
	}
}

static void lying_headers(void **state)
{
	(void)state;
	refuses(HEADER("<f4", "True", "(2, 3)"), 24, "Fortran order");
	refuses(HEADER("<f4", "0", "(2, 3)"), 24, "True or False");
	refuses(HEADER("<f4", "Fals", "(2, 3)"), 24, "True or False");
	refuses(HEADER("<f4", "Falsehood", "(2, 3)"), 24, "',' or '}'");
	refuses("", 24, "'{'");
	refuses("{}", 24, "does not give descr");
	refuses("{'descr': '<f4', 'shape': (2, 3), }", 24, "does not give fortran_order");
	refuses("{'descr': '<f4', 'fortran_order': False, }", 24, "does not give shape");
	refuses("{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }", 24, "descr twice");
	refuses("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), 'x': 1}", 24, "a key 'x'");
	refuses("{'descr' '<f4', 'fortran_order': False, 'shape': (2, 3), }", 24, "':'");
	refuses("{'descr': '<f4' 'fortran_order': False, 'shape': (2, 3), }", 24, "',' or '}'");
	refuses("{,}", 24, "a key");
	refuses(HEADER("<f4", "False", "(2, 3)") " x", 24, "padding and one newline");
	refuses(HEADER("<f4", "False", "(2, 3)") "\n", 24, "padding and one newline");
	refuses("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), ", 24, "a key");
	refuses("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3", 24, "',' or ')'");
}

/* Every byte of a header, replaced by every other: nothing but a verdict. */
static void one_byte_wrong(void **state)
{
	char error[TENSOR_ERROR_MAX];
	struct image f;
	struct tensor_head npy;
	size_t accepted = 0;

	(void)state;
	build(&f, 1, HEADER("<f4", "False", "(2, 3)") "  ", 24);
	for (size_t i = 0; i < f.size - 24; i++) {
		unsigned char was = f.byte[i];

		for (unsigned value = 0; value < 256; value++) {
			f.byte[i] = (unsigned char)value;
			if (npy_parse(f.byte, f.size, f.size, &npy, error)) {
				assert_int_equal(npy.count * tensor_type_size(npy.type), 24);
				accepted++;
			}
		}
		f.byte[i] = was;
	}
	/* The file itself once a byte, and its few harmless neighbours. */
	assert_in_range(accepted, f.size - 24, f.size - 24 + 16);
}

/* Against the definition: (-1)^s 2^(e-15) (1 + f/1024), 2^-24 f for e = 0. */
static void halves(void **state)
{
	(void)state;
	for (unsigned bits = 0; bits < 0x10000; bits++) {
		unsigned e = (bits >> 10) & 31, f = bits & 1023;
		double value = e ? ldexp(1.0 + f / 1024.0, (int)e - 15) : ldexp(f, -24);
		float got = tensor_half((uint16_t)bits);

		if (e == 31) {
			assert_true(f ? isnan(got) : isinf(got));
		} else {
			assert_true((double)got == (bits & 0x8000 ? -value : value));
		}
		assert_int_equal(!!signbit(got), bits >> 15);
	}
}

/* Every value is that of the float32 with the same upper half. */
static void bfloats(void **state)
{
	(void)state;
	for (unsigned bits = 0; bits < 0x10000; bits++) {
		unsigned e = (bits >> 7) & 255, f = bits & 127;
		double value = e ? ldexp(1.0 + f / 128.0, (int)e - 127) : ldexp(f, -133);
		float got = tensor_bfloat16((uint16_t)bits);

		if (e == 255) {
			assert_true(f ? isnan(got) : isinf(got));
		} else {
			assert_true((double)got == (bits & 0x8000 ? -value : value));
		}
		assert_int_equal(!!signbit(got), bits >> 15);
	}
}

static char path[64];

static int make_path(void **state)
{
	int fd;

	(void)state;
	strcpy(path, "/tmp/attnbench-npy-XXXXXX");
	fd = mkstemp(path);
	return fd < 0 ? -1 : close(fd);
}

static int remove_path(void **state)
{
	(void)state;
	return unlink(path);
}

static void round_trip(void **state)
{
	static const size_t shapes[][4] = { { 7 }, { 3, 5 }, { 2, 3, 4 }, { 2, 1, 3, 5 } };
	float x[64], y[64];
	char error[TENSOR_ERROR_MAX];
	struct tensor file;
	size_t bad;

	(void)state;
	for (size_t i = 0; i < 64; i++)
		x[i] = ldexpf(1.0f + (float)i / 3.0f, (int)i * 2 - 64) * (i % 2 ? -1.0f : 1.0f);
	x[3] = 0x1p-149f;
	for (size_t rank = 1; rank <= 4; rank++) {
		assert_true(npy_write(path, rank, shapes[rank - 1], x, error));
		if (!npy_open(path, &file, error))
			fail_msg("%s", error);
		assert_int_equal(file.head.rank, rank);
		assert_memory_equal(file.head.dim, shapes[rank - 1], rank * sizeof(size_t));
		assert_int_equal(file.head.offset % 64, 0);
		assert_int_equal(tensor_read(&file, 0, file.head.count, y, &bad), TENSOR_OK);
		assert_memory_equal(x, y, file.head.count * sizeof(float));
		assert_int_equal(tensor_read(&file, 2, 3, y, &bad), TENSOR_OK);
		assert_memory_equal(x + 2, y, 3 * sizeof(float));
		tensor_close(&file);
		tensor_close(&file); /* a closed file may be closed */
	}
}

static void write_file(const void *data, size_t size)
{
	FILE *stream = fopen(path, "wb");

	assert_non_null(stream);
	assert_int_equal(fwrite(data, 1, size, stream), size);
	assert_int_equal(fclose(stream), 0);
}

/* A file that is cut short after it was opened is an error, not a signal. */
static void cut_while_open(void **state)
{
	static float x[70000], y[70000];
	char error[TENSOR_ERROR_MAX];
	struct tensor file;
	size_t bad;

	(void)state;
	assert_true(npy_write(path, 1, (const size_t[]){ 70000 }, x, error));
	assert_true(npy_open(path, &file, error));
	assert_int_equal(tensor_read(&file, 0, 70000, y, &bad), TENSOR_OK);
	assert_int_equal(truncate(path, 1000), 0);
	assert_int_equal(tensor_read(&file, 0, 70000, y, &bad), TENSOR_UNREADABLE);
	assert_int_equal(tensor_read(&file, 69999, 1, y, &bad), TENSOR_UNREADABLE);
	assert_int_equal(tensor_read(&file, 0, 100, y, &bad), TENSOR_OK);
	tensor_close(&file);
}

/* Elements behind an odd header, of each type; what is not finite is found. */
static void elements(void **state)
{
	static const double f8[4] = { 1.0 / 3.0, -2.5, 1e300, 0.0 };
	static const uint16_t f2[4] = { 0x3c00, 0xc100, 0x0001, 0x7e00 };
	char error[TENSOR_ERROR_MAX];
	struct tensor file;
	struct image f;
	float y[4];
	size_t bad = 99;

	(void)state;
	build(&f, 1, HEADER("<f8", "False", "(4,)") " ", sizeof(f8));
	memcpy(f.byte + f.size - sizeof(f8), f8, sizeof(f8));
	write_file(f.byte, f.size);
	assert_true(npy_open(path, &file, error));
	assert_int_equal(tensor_read(&file, 0, 2, y, &bad), TENSOR_OK);
	assert_true(y[0] == (float)(1.0 / 3.0) && y[1] == -2.5f);
	assert_int_equal(tensor_read(&file, 1, 3, y, &bad), TENSOR_NOT_FINITE); /* 1e300 is no float32 */
	assert_int_equal(bad, 2);
	tensor_close(&file);

	build(&f, 2, HEADER("<f2", "False", "(2, 2)") "  ", sizeof(f2));
	memcpy(f.byte + f.size - sizeof(f2), f2, sizeof(f2));
	write_file(f.byte, f.size);
	assert_true(npy_open(path, &file, error));
	assert_int_equal(tensor_read(&file, 0, 3, y, &bad), TENSOR_OK);
	assert_true(y[0] == 1.0f && y[1] == -2.5f && y[2] == 0x1p-24f);
	assert_int_equal(tensor_read(&file, 0, 4, y, &bad), TENSOR_NOT_FINITE);
	assert_int_equal(bad, 3);
	tensor_close(&file);
}

static void files(void **state)
{
	char error[TENSOR_ERROR_MAX], deep[600];
	struct tensor file;

	(void)state;
	assert_false(npy_open("/nonexistent/q.npy", &file, error));
	assert_string_equal(error, "cannot open /nonexistent/q.npy: No such file or directory");
	assert_false(npy_open("/tmp", &file, error));
	assert_non_null(strstr(error, "/tmp is not a regular file"));
	write_file("", 0);
	assert_false(npy_open(path, &file, error));
	assert_non_null(strstr(error, "is empty"));
	write_file("PK\x03\x04 not an array", 16);
	assert_false(npy_open(path, &file, error));
	assert_non_null(strstr(error, path));
	assert_non_null(strstr(error, "not a .npy file"));
	/* The reason is not lost behind a long path. */
	memset(deep, 'x', sizeof(deep));
	deep[0] = '/';
	deep[sizeof(deep) - 1] = '\0';
	assert_false(npy_open(deep, &file, error));
	assert_non_null(strstr(error, "too long"));
	assert_false(npy_write("/nonexistent/q.npy", 1, (const size_t[]){ 1 }, (const float[]){ 1 }, error));
	assert_non_null(strstr(error, "cannot write /nonexistent/q.npy"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_numpy_writes),
		cmocka_unit_test(damaged_prefix),
		cmocka_unit_test(cut_anywhere),
		cmocka_unit_test(lying_types),
		cmocka_unit_test(lying_shapes),
		cmocka_unit_test(lying_headers),
		cmocka_unit_test(one_byte_wrong),
		cmocka_unit_test(halves),
		cmocka_unit_test(bfloats),
		cmocka_unit_test_setup_teardown(round_trip, make_path, remove_path),
		cmocka_unit_test_setup_teardown(cut_while_open, make_path, remove_path),
		cmocka_unit_test_setup_teardown(elements, make_path, remove_path),
		cmocka_unit_test_setup_teardown(files, make_path, remove_path),
	};

	return cmocka_run_group_tests_name("npy", tests, NULL, NULL);
}
