/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Lists of values: numbers, names, variants, inputs, sizes; and what their
 * errors say. */
#include "../harness/axes.h"
#include "../harness/cell.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const struct axis_rule lengths = { 1, 1 << 20, true, NULL };
static const struct axis_rule reals = { -10, 10, false, NULL };
static const struct where flag = { .name = "n" };

static void expect(const struct axis_rule *rule, const char *text, const double *want, size_t n)
{
	struct numbers got = { 0 };
	char error[ERROR_MAX];

	if (!numbers_parse(rule, ',', text, &flag, 0, &got, error))
		fail_msg("%s: %s", text, error);
	assert_int_equal(got.n, n);
	for (size_t i = 0; i < n; i++)
		if (fabs(got.v[i] - want[i]) > 1e-12)
			fail_msg("%s: value %zu is %.17g, not %.17g", text, i, got.v[i], want[i]);
	free(got.v);
}

static void expect_error(const struct axis_rule *rule, const char *text, const char *part)
{
	struct numbers got = { 0 };
	char error[ERROR_MAX];

	assert_false(numbers_parse(rule, ',', text, &flag, 0, &got, error));
	if (!strstr(error, part))
		fail_msg("%s: '%s' does not say '%s'", text, error, part);
	free(got.v);
}

static void test_numbers(void **state)
{
	(void)state;
	expect(&lengths, "256,512,1024", (double[]){ 256, 512, 1024 }, 3);
	expect(&lengths, " 256 , 512 ", (double[]){ 256, 512 }, 2);
	expect(&lengths, "7,7,8,7", (double[]){ 7, 8 }, 2);
	expect(&lengths, "256..2048:x2", (double[]){ 256, 512, 1024, 2048 }, 4);
	expect(&lengths, "256..3000:x2", (double[]){ 256, 512, 1024, 2048 }, 4);
	expect(&lengths, "1..8:+1", (double[]){ 1, 2, 3, 4, 5, 6, 7, 8 }, 8);
	expect(&lengths, "1..9:+4,100", (double[]){ 1, 5, 9, 100 }, 4);
	expect(&lengths, "5..5:x2", (double[]){ 5 }, 1);
	expect(&lengths, "5..5:+1", (double[]){ 5 }, 1);
	expect(&reals, "-1..1:+0.5", (double[]){ -1, -0.5, 0, 0.5, 1 }, 5);
	expect(&reals, "0.1..0.4:+0.1", (double[]){ 0.1, 0.2, 0.1 + 0.2, 0.4 }, 4);
	expect(&lengths, "1e3", (double[]){ 1000 }, 1);
}

/* Half octaves: 1.414 is trimmed so that every second length is a power of 2. */
static void test_half_octaves(void **state)
{
	struct numbers got = { 0 };
	char error[ERROR_MAX];

	(void)state;
	assert_true(numbers_parse(&lengths, ',', "256..16384:x1.414", &flag, 0, &got, error));
	assert_int_equal(got.n, 13);
	for (size_t i = 0; i < 13; i += 2)
		assert_true(got.v[i] == (double)(256 << (i / 2)));
	assert_true(got.v[1] == 362 && got.v[11] == 11585);
	free(got.v);

	/* Rounding makes equal numbers: each is kept once. */
	got = (struct numbers){ 0 };
	assert_true(numbers_parse(&lengths, ',', "1..4:x1.1", &flag, 0, &got, error));
	for (size_t i = 1; i < got.n; i++)
		assert_true(got.v[i] > got.v[i - 1]);
	assert_true(got.v[got.n - 1] == 4);
	free(got.v);
}

static void test_number_errors(void **state)
{
	(void)state;
	expect_error(&lengths, "", "missing");
	expect_error(&lengths, "1,,2", "missing");
	expect_error(&lengths, "1,", "missing");
	expect_error(&lengths, "abc", "not a number");
	expect_error(&lengths, "12x", "not a number");
	expect_error(&lengths, "nan", "not a number");
	expect_error(&lengths, "inf", "not a number");
	expect_error(&lengths, "1.5", "whole number");
	expect_error(&lengths, "0", "out of range");
	expect_error(&lengths, "2000000", "out of range");
	expect_error(&lengths, "256..1024", "how to step");
	expect_error(&lengths, "256..1024:2", "how to step");
	expect_error(&lengths, "256..1024:x1", "factor above 1");
	expect_error(&lengths, "256..1024:+0", "number above 0");
	expect_error(&lengths, "256..1024:x", "factor above 1");
	expect_error(&lengths, "1024..256:x2", "empty");
	expect_error(&lengths, "1..1000000:+1", "more than");
	expect_error(&reals, "-1..1:x2", "start above 0");
	expect_error(&lengths, "1..x:+1", "not a number");
}

static void test_position(void **state)
{
	const struct where file = { "sweep.ini", 7, 5, "n" };
	struct numbers got = { 0 };
	char error[ERROR_MAX];

	(void)state;
	assert_false(numbers_parse(&lengths, ',', "256,abc", &file, 0, &got, error));
	assert_int_equal(strncmp(error, "sweep.ini:7:9: n: ", 18), 0);
	assert_false(numbers_parse(&lengths, ',', "256,abc", &flag, 0, &got, error));
	assert_int_equal(strncmp(error, "--n: ", 5), 0);
	free(got.v);
}

static void test_names(void **state)
{
	static const char *const names[] = { "warm", "cold", NULL };
	const struct axis_rule rule = { .min = 0, .max = 1, .names = names };

	(void)state;
	expect(&rule, "cold,warm,cold", (double[]){ 1, 0 }, 2);
	expect_error(&rule, "wram", "did you mean 'warm'");
	expect_error(&rule, "tepid", "warm, cold");
}

static void expect_variants(const char *text, const char *const *want, size_t n)
{
	struct variant_choices got = { 0 };
	char error[ERROR_MAX], params[CELL_PARAMS_MAX];

	if (!variants_parse(text, &flag, &got, error))
		fail_msg("%s: %s", text, error);
	assert_int_equal(got.n, n);
	for (size_t i = 0; i < n; i++) {
		struct cell cell = { .variant = got.v[i].variant };
		memcpy(cell.arg, got.v[i].arg, sizeof cell.arg);
		cell_params(&cell, params);
		size_t len = strlen(cell.variant->name);
		assert_int_equal(strncmp(want[i], cell.variant->name, len), 0);
		if (!strstr(params, want[i] + len + 1))
			fail_msg("%s: '%s' lacks '%s'", text, params, want[i] + len + 1);
	}
	free(got.v);
}

static void expect_variant_error(const char *text, const char *part)
{
	struct variant_choices got = { 0 };
	char error[ERROR_MAX];

	assert_false(variants_parse(text, &flag, &got, error));
	if (!strstr(error, part))
		fail_msg("%s: '%s' does not say '%s'", text, error, part);
	free(got.v);
}

static void test_variants(void **state)
{
	(void)state;
	expect_variants("full", (const char *[]){ "full:softcap=0" }, 1);
	expect_variants("full, flash", (const char *[]){ "full:", "flash:" }, 2);
	expect_variants("performer:m=128|256:ortho=1",
	                (const char *[]){ "performer:m=128:ortho=1", "performer:m=256:ortho=1" }, 2);
	expect_variants("performer:m=64..256:x2:ortho=0|1",
	                (const char *[]){ "performer:m=64:ortho=0", "performer:m=64:ortho=1",
	                                  "performer:m=128:ortho=0", "performer:m=128:ortho=1",
	                                  "performer:m=256:ortho=0", "performer:m=256:ortho=1" }, 6);
	expect_variants("performer:lengths=root", (const char *[]){ "performer:lengths=root" }, 1);
	expect_variants("sliding-window:left=auto|64",
	                (const char *[]){ "sliding-window:left=auto", "sliding-window:left=64" }, 2);
}

static void test_families(void **state)
{
	struct variant_choices got = { 0 };
	char error[ERROR_MAX];
	size_t all = 0;

	(void)state;
	for (size_t i = 0; attn_variants[i]; i++)
		all += !(attn_variants[i]->flags & ATTN_EMULATED);
	assert_true(variants_parse("all", &flag, &got, error));
	assert_int_equal(got.n, all);
	free(got.v);
	got = (struct variant_choices){ 0 };
	assert_true(variants_parse("family/exact", &flag, &got, error));
	assert_true(got.n >= 2 && got.n < all);
	for (size_t i = 0; i < got.n; i++)
		assert_string_equal(got.v[i].variant->family, "exact");
	free(got.v);
}

static void test_variant_errors(void **state)
{
	(void)state;
	expect_variant_error("flsh", "did you mean 'flash'");
	expect_variant_error("linear-elo", "did you mean 'linear-elu'");
	expect_variant_error("zzzzzzzz", "attnbench list");
	expect_variant_error("family/linaer", "did you mean 'linear'");
	expect_variant_error("performer:n=3", "no parameter 'n'");
	expect_variant_error("performer:otho=1", "did you mean 'ortho'");
	expect_variant_error("performer:m", "parameter=value");
	expect_variant_error("performer:m=1", "out of range");
	expect_variant_error("performer:m=12.5", "whole number");
	expect_variant_error("performer:m=64:m=128", "given twice");
	expect_variant_error("performer:lengths=rot", "did you mean 'root'");
	expect_variant_error("performer:m=auto", "cannot be auto");
	expect_variant_error("performer:ortho=2", "0, 1");
	expect_variant_error("full,", "missing");
	expect_variant_error("full:softcap=|2", "missing");
}

static void test_inputs(void **state)
{
	struct names got = { 0 };
	char error[ERROR_MAX];

	(void)state;
	assert_true(inputs_parse("gauss, gauss:sigma=1|2", &flag, &got, error));
	assert_int_equal(got.n, 2); /* gauss is gauss:sigma=1 */
	assert_string_equal(got.v[0], "gauss:sigma=1");
	assert_string_equal(got.v[1], "gauss:sigma=2");
	names_free(&got);

	assert_true(inputs_parse("clustered:r=0.1|0.2:C=4|8", &flag, &got, error));
	assert_int_equal(got.n, 4);
	assert_string_equal(got.v[0], "clustered:C=4:r=0.1");
	assert_string_equal(got.v[3], "clustered:C=8:r=0.2");
	names_free(&got);

	assert_false(inputs_parse("gaus", &flag, &got, error));
	assert_non_null(strstr(error, "gauss"));
	assert_false(inputs_parse("gauss:sigma=x", &flag, &got, error));
	names_free(&got);
}

static void test_isas(void **state)
{
	struct names got = { 0 };
	char error[ERROR_MAX];

	(void)state;
	assert_true(isas_parse("scalar,auto,scalar", &flag, &got, error));
	assert_string_equal(got.v[0], "scalar");
	names_free(&got);
	assert_true(isas_parse("all", &flag, &got, error));
	assert_true(got.n >= 1);
	names_free(&got);
	assert_false(isas_parse("scaler", &flag, &got, error));
	assert_non_null(strstr(error, "did you mean 'scalar'"));
	names_free(&got);
}

static void test_sizes(void **state)
{
	char error[ERROR_MAX];
	double x;

	(void)state;
	assert_true(parse_bytes("8GiB", &flag, &x, error) && x == 8589934592.0);
	assert_true(parse_bytes("1.5 MB", &flag, &x, error) && x == 1.5e6);
	assert_true(parse_bytes("1000", &flag, &x, error) && x == 1000);
	assert_false(parse_bytes("8 gigs", &flag, &x, error));
	assert_non_null(strstr(error, "unknown unit 'gigs'"));
	assert_false(parse_bytes("-1", &flag, &x, error));
	assert_false(parse_bytes("", &flag, &x, error));
	assert_true(parse_seconds("90", &flag, &x, error) && x == 90);
	assert_true(parse_seconds("5m", &flag, &x, error) && x == 300);
	assert_true(parse_seconds("2h", &flag, &x, error) && x == 7200);
	assert_true(parse_seconds("20ms", &flag, &x, error) && x == 0.02);
	assert_false(parse_seconds("soon", &flag, &x, error));
}

static void test_distance(void **state)
{
	(void)state;
	assert_int_equal(edit_distance("", ""), 0);
	assert_int_equal(edit_distance("abc", ""), 3);
	assert_int_equal(edit_distance("flash", "flahs"), 1);
	assert_int_equal(edit_distance("kitten", "sitting"), 3);
	assert_int_equal(edit_distance("full", "full"), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_numbers),       cmocka_unit_test(test_half_octaves),
		cmocka_unit_test(test_number_errors), cmocka_unit_test(test_position),
		cmocka_unit_test(test_names),         cmocka_unit_test(test_variants),
		cmocka_unit_test(test_families),      cmocka_unit_test(test_variant_errors),
		cmocka_unit_test(test_inputs),        cmocka_unit_test(test_isas),
		cmocka_unit_test(test_sizes),         cmocka_unit_test(test_distance),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
