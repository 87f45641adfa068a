/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Sweep files: sections, lists over several lines, precedence, and errors that
 * name the place. */
#include "../harness/sweep.h"
#include "../harness/verbs.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static bool parse(struct config *config, const char *text, char *error)
{
	config->sweep_path = strdup("s.ini");
	text_adds(&config->sweep_text, text);
	return sweep_parse(config, error);
}

static void expect_error(const char *text, const char *want)
{
	struct config config = { 0 };
	char error[ERROR_MAX];

	assert_false(parse(&config, text, error));
	if (!strstr(error, want))
		fail_msg("'%s' does not say '%s'", error, want);
	config_free(&config);
}

static const char *axis(const struct config *config, const struct group *group, const char *name,
                        struct text *out)
{
	out->len = 0;
	option_show(config, group, option_find(name, VERB_RUN), out);
	return out->len ? out->s : "";
}

static void test_groups(void **state)
{
	struct config config = { 0 };
	struct text text = { 0 };
	char error[ERROR_MAX];

	(void)state;
	if (!parse(&config,
	           "; a comment\n"
	           "profile = standard\n"
	           "d = 64\n"
	           "\n"
	           "[sweep]\n"
	           "threads = 1, 2\n"
	           "[short]\n"
	           "variant = full, flash,   ; and one more\n"
	           "\tperformer:m=128|256\n"
	           "n = 256\n"
	           "n = 512\n"
	           "[long]\n"
	           "variant: topk\n"
	           "d = 32\n",
	           error))
		fail_msg("%s", error);
	assert_int_equal(config.profile, PROFILE_STANDARD);
	assert_int_equal(config.n_groups, 2);
	assert_string_equal(config.groups[0].name, "short");
	assert_string_equal(axis(&config, &config.groups[0], "variant", &text),
	                    "full, flash,performer:m=128|256");
	assert_string_equal(axis(&config, &config.groups[0], "n", &text), "256,512");
	assert_string_equal(axis(&config, &config.groups[0], "d", &text), "64");
	assert_string_equal(axis(&config, &config.groups[0], "threads", &text), "1, 2");
	assert_string_equal(axis(&config, &config.groups[1], "variant", &text), "topk");
	assert_string_equal(axis(&config, &config.groups[1], "d", &text), "32");
	assert_string_equal(axis(&config, &config.groups[1], "n", &text), "");
	text_free(&text);
	config_free(&config);
}

/* What the command line says replaces both the group and the defaults. */
static void test_precedence(void **state)
{
	char *argv[] = { "run", "--d", "16", "--profile", "report", "x.ini", NULL };
	struct config config = { 0 };
	struct text text = { 0 };
	char error[ERROR_MAX];

	(void)state;
	assert_true(options_parse(&config, VERB_RUN, 6, argv, error));
	assert_int_equal(config.n_positional, 1);
	assert_true(parse(&config, "profile = quick\nd = 64\n[g]\nd = 32\nvariant = full\n", error));
	assert_int_equal(config.profile, PROFILE_REPORT);
	assert_string_equal(axis(&config, &config.groups[0], "d", &text), "16");
	text_free(&text);
	config_free(&config);
}

static void test_errors(void **state)
{
	(void)state;
	expect_error("varaint = full\n", "s.ini:1:1: 'varaint' is not an option; did you mean 'variant'?");
	expect_error("\n\nprofile = slow\n", "s.ini:3:11: profile: 'slow' is none of");
	expect_error("profile = quick\nprofile = report\n", "s.ini:2:11: profile: given twice");
	expect_error("[a]\nprofile = quick\n", "move it to the top");
	expect_error("out = x\n", "belongs on the command line");
	expect_error("fresh = 1\n", "belongs on the command line");
	expect_error("[broken\n", "s.ini:1: this line is neither");
	expect_error("n\n", "s.ini:1: this line is neither");
	expect_error("n =\n", "s.ini:1:4: n: a value is missing");
	expect_error("timeout = 5 parsecs\n", "unknown unit 'parsecs'");
	expect_error("no-pin = maybe\n", "should be 0 or 1");
	expect_error("rounds = 1,2\n", "one value is wanted");
	expect_error("rounds = 0\n", "out of range");
}

/* The first error counts, and nothing after it is looked at. */
static void test_first_error(void **state)
{
	(void)state;
	expect_error("profile = slow\nvaraint = full\n", "s.ini:1:11");
}

static void test_long_line(void **state)
{
	struct text text = { 0 };

	(void)state;
	text_adds(&text, "d = 64\nn = ");
	for (int i = 0; i < 2000; i++)
		text_printf(&text, "%d,", i + 1);
	text_adds(&text, "1\n");
	expect_error(text.s, "s.ini:2: the line is longer than");
	text_free(&text);

	/* A long comment is no harm. */
	struct config config = { 0 };
	char error[ERROR_MAX];
	text_adds(&text, "# ");
	for (int i = 0; i < 2000; i++)
		text_adds(&text, "bla ");
	text_adds(&text, "\nd = 64\n");
	assert_true(parse(&config, text.s, error));
	config_free(&config);
	text_free(&text);
}

static void test_odd_files(void **state)
{
	struct config config = { 0 };
	char error[ERROR_MAX];

	(void)state;
	assert_true(parse(&config, "", error));
	config_free(&config);
	assert_true(parse(&config, "\xef\xbb\xbf" "d = 64\r\n[g]\r\nn = 1\r\n", error));
	assert_int_equal(config.n_groups, 1);
	config_free(&config);
	assert_true(parse(&config, "d = 64", error)); /* no newline at the end */
	config_free(&config);

	config.sweep_path = strdup("s.ini");
	text_add(&config.sweep_text, "d = 6\0004\n", 8);
	assert_false(sweep_parse(&config, error));
	assert_non_null(strstr(error, "not a text file"));
	config_free(&config);
	assert_false(sweep_read(&config, "/nowhere/s.ini", error));
	assert_non_null(strstr(error, "cannot open"));
	config_free(&config);
}

static void expect_argument_error(int argc, char **argv, const char *want)
{
	struct config config = { 0 };
	char error[ERROR_MAX];

	assert_false(options_parse(&config, VERB_RUN, argc, argv, error));
	if (!strstr(error, want))
		fail_msg("'%s' does not say '%s'", error, want);
	config_free(&config);
}

static void test_arguments(void **state)
{
	(void)state;
	expect_argument_error(2, (char *[]){ "run", "--porfile=quick", NULL }, "did you mean '--profile'");
	expect_argument_error(2, (char *[]){ "run", "--out", NULL }, "needs a value");
	expect_argument_error(2, (char *[]){ "run", "--fresh=1", NULL }, "takes no value");
	expect_argument_error(2, (char *[]){ "run", "--bogus-thing", NULL }, "attnbench run --help");
	expect_argument_error(2, (char *[]){ "run", "--c", NULL }, "several options");
	expect_argument_error(4, (char *[]){ "run", "--out=a", "--out", "b", NULL }, "given twice");
	expect_argument_error(2, (char *[]){ "run", "-x", NULL }, "no option '-x'");
}

/* Every option can be found, is documented, and has a place for its value. */
static void test_table(void **state)
{
	struct text text = { 0 };

	(void)state;
	for (const struct option_def *o = option_table; o->name; o++) {
		assert_true(o - option_table < OPTIONS_MAX);
		assert_non_null(o->help);
		assert_true(o->kind == OPTION_AXIS ? o->at < AXIS_COUNT : o->apply != NULL);
		assert_ptr_equal(option_find(o->name, o->verbs & ~(o->verbs - 1)), o);
	}
	verb_help(verb_find("run"), &text);
	assert_non_null(strstr(text.s, "--profile NAME"));
	text_free(&text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_groups),    cmocka_unit_test(test_precedence),
		cmocka_unit_test(test_errors),    cmocka_unit_test(test_first_error),
		cmocka_unit_test(test_long_line), cmocka_unit_test(test_odd_files),
		cmocka_unit_test(test_arguments), cmocka_unit_test(test_table),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
