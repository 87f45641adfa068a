/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Inputs: specs, and the sentence that each wrong one gets.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "../datasets/data.h"

enum { SEED = 20240607 };

static const char *const generated[] = {
	"gauss:sigma=2", "ar1:rho=0.9", "clustered:C=5:r=0.2", "local", "sink", "needle", "unit",
	"heavy:nu=4", "outlier:c=3", "lowrank:r=5",
};
enum { GENERATED = sizeof(generated) / sizeof(generated[0]) };

static struct data parse(const char *spec)
{
	char error[DATA_ERROR_MAX] = "";
	struct data data;

	if (!data_parse(spec, &data, error))
		fail_msg("%s: %s", spec, error);
	return data;
}

static void specs(void **state)
{
	static const struct {
		const char *spec, *full;
	} good[] = {
		{ "gauss", "gauss:sigma=1" },
		{ "gauss:sigma=0.30", "gauss:sigma=0.3" },
		{ "gauss:sigma=1e-1", "gauss:sigma=0.1" },
		{ "gauss:sigma=-0", "gauss:sigma=0" },
		{ "ar1:rho=.5", "ar1:rho=0.5" },
		{ "clustered", "clustered:C=16:r=0.3" },
		{ "clustered:r=1:C=4", "clustered:C=4:r=1" },
		{ "clustered:C=1e2", "clustered:C=1e+02:r=0.3" },
		{ "local", "local" },
		{ "needle:a=3", "needle:a=3" },
		{ "heavy", "heavy:nu=3:sigma=1" },
		{ "outlier:gain=8", "outlier:c=4:gain=8" },
		{ "lowrank:r=2", "lowrank:r=2:sigma=1" },
		{ "logits", "logits:H=0.5" },
		{ "mqar:pairs=64", "mqar:pairs=64:queries=64:gap=64:classes=16" },
		{ "induction", "induction:span=64:distance=128:classes=16" },
		{ "haystack:depth=0.25", "haystack:depth=0.25:needles=16:classes=16" },
		{ "majority:share=1", "majority:groups=16:members=8:share=1:classes=16" },
		{ "real:minilm", "real:minilm" },
	};
	char full[64];

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		struct data data = parse(good[i].spec);

		assert_true(data_format(&data, full, sizeof(full)));
		assert_string_equal(full, good[i].full);
		data = parse(full);
		assert_false(data_format(&data, full, strlen(good[i].full)));
	}
	for (size_t i = 0; data_kinds[i]; i++) {
		assert_true(strlen(data_kinds[i]->summary) > 20);
		for (size_t p = 0; p < DATA_MAX_PARAMS && data_kinds[i]->params[p].name; p++) {
			const struct data_param *param = &data_kinds[i]->params[p];

			assert_true(param->min <= param->def && param->def <= param->max);
		}
	}
}

static void wrong_specs(void **state)
{
	static const struct {
		const char *spec, *says;
	} wrong[] = {
		{ "", "the input has no name; write for example gauss:sigma=1" },
		{ ":sigma=1", "the input has no name" },
		{ "gaus", "unknown input 'gaus'; did you mean 'gauss'? Inputs are: gauss, logits, ar1, clustered, local, sink, needle, unit, heavy, outlier, lowrank, mqar, induction, haystack, majority, real, file" },
		{ "Gauss", "did you mean 'gauss'" },
		{ "clusterd:C=4", "did you mean 'clustered'" },
		{ "gauss(1)", "did you mean 'gauss'" },
		{ "zzzzzz", "unknown input 'zzzzzz'; inputs are: gauss" },
		{ "gauss:", "nothing follows a ':' of gauss" },
		{ "gauss:sigma=1:", "nothing follows a ':' of gauss" },
		{ "gauss::sigma=1", "nothing follows a ':' of gauss" },
		{ "gauss:sigma", "sigma has no value; write gauss:sigma=1" },
		{ "gauss:1", "gauss has no parameter '1'" },
		{ "gauss:sgima=1", "gauss has no parameter 'sgima'; did you mean 'sigma'? It has: sigma" },
		{ "clustered:k=3", "clustered has no parameter 'k'" },
		{ "gauss:sigma=", "'sigma=' is not a number; write for example gauss:sigma=1" },
		{ "gauss:sigma= 1", "is not a number" },
		{ "gauss:sigma=1x", "is not a number" },
		{ "gauss:sigma=nan", "is not a number" },
		{ "gauss:sigma=inf", "is not a number" },
		{ "gauss:sigma=0x1p3", "is not a number" },
		{ "gauss:sigma=1e999", "is not a number" },
		{ "gauss:sigma=1,5", "is not a number" },
		{ "gauss:sigma=1=2", "is not a number" },
		{ "gauss:sigma=-1", "gauss:sigma=-1 is out of range; sigma goes from 0 to 100" },
		{ "gauss:sigma=100.5", "is out of range" },
		{ "ar1:rho=1", "ar1:rho=1 is out of range; rho goes from 0 to 0.99999" },
		{ "clustered:C=2.5", "'C=2.5' is not a whole number; write for example clustered:C=16" },
		{ "clustered:C=0", "clustered:C=0 is out of range; C goes from 1 to 65536" },
		{ "gauss:sigma=1:sigma=2", "gauss gives sigma twice" },
		{ "local:c=1", "local has no parameters, 'c=1' was given; write just local" },
		{ "gauss:sigma=1111111111111111111111111111111111111111111111111111111111111111", "longer than 63 bytes" },
		{ "real", "real names no sample; write real:NAME" },
		{ "real:", "real names no sample" },
		{ "file:", "file names no directory or file; write file:DIR or file:FILE.safetensors" },
		{ "file:/nonexistent.safetensors", "cannot open /nonexistent.safetensors: No such file or directory" },
		{ "file:/proc/self/exe", "/proc/self/exe: the header is said to have" },
		{ "logits:H=0", "H goes from 0.01 to 1" },
		{ "heavy:nu=2", "nu goes from 2.1 to 100" },
		{ "majority:share=0.5", "share goes from 0.51 to 1" },
		{ "mqar:pair=4", "mqar has no parameter 'pair'; did you mean 'pairs'? It has: pairs, queries, gap, classes" },
		{ "real:minilmm", "did you mean 'real:minilm'" },
		{ "real:qqqqqqqqqqqqqq", "it holds: minilm" },
		{ "real:../real/minilm", "for a directory of your own write file:" },
		{ "real:.", "is no name of a sample" },
		{ "file:/nonexistent", "cannot open /nonexistent/q.npy: No such file or directory" },
	};
	char error[DATA_ERROR_MAX], one[DATA_PATH_MAX];
	struct data data;

	(void)state;
	snprintf(one, sizeof(one), "file:%s/minilm/q.npy", data_real_dir());
	assert_false(data_parse(one, &data, error));
	assert_non_null(strstr(error, "is one array; give the directory"));
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		error[0] = '\0';
		if (data_parse(wrong[i].spec, &data, error))
			fail_msg("'%s' was accepted", wrong[i].spec);
		if (!strstr(error, wrong[i].says))
			fail_msg("'%s': expected '%s', the message is: %s", wrong[i].spec, wrong[i].says, error);
	}
}

static void shapes(void **state)
{
	static const struct data_shape none[] = {
		{ 0, 1, 4, 4, 8, 8 }, { 1, 0, 4, 4, 8, 8 }, { 1, 1, 0, 4, 8, 8 }, { 1, 1, 4, 4, 0, 8 }, { 1, 1, 4, 4, 8, 0 },
	};
	struct data_shape shape = { 2, 3, 1, 0, 8, 8 };
	struct data data = parse("gauss");
	char error[DATA_ERROR_MAX] = "";
	float q[8];

	(void)state;
	for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++)
		assert_false(data_check(&data, &none[i], error));
	for (size_t i = 0; i < GENERATED; i++) { /* no keys at all is a shape */
		data = parse(generated[i]);
		assert_true(data_check(&data, &shape, error));
		assert_true(data_fill(&data, &shape, SEED, 1, 2, q, q, q, error));
	}
	assert_false(data_fill(&data, &shape, SEED, 2, 0, q, q, q, error));
	assert_string_equal(error, "there is no batch 2, head 0 in a shape of 2 and 3");
	assert_false(data_fill(&data, &shape, SEED, 0, 3, q, q, q, error));
}

static void refused_shapes(void **state)
{
	static const struct {
		const char *spec;
		struct data_shape shape;
		const char *says;
	} wrong[] = {
		{ "lowrank:r=9", { 1, 1, 4, 4, 8, 8 }, "lowrank:r=9 needs as many dimensions, d = 8 was asked; use r <= 8" },
		{ "mqar", { 1, 1, 159, 159, 64, 64 }, "takes 160 tokens, of which 64 ask; n = 159 was asked: use n >= 160" },
		{ "mqar", { 1, 1, 63, 256, 64, 64 }, "takes 160 tokens, of which 64 ask; n = 63 was asked: use n >= 64" },
		{ "mqar", { 1, 1, 256, 256, 15, 64 }, "codes of at least 16 channels, d = 15 was asked" },
		{ "mqar", { 1, 1, 256, 256, 64, 16 }, "the 16 classes of mqar need as many channels and one more, d_v = 16 was asked; use mqar:classes=15" },
		{ "induction:distance=63", { 1, 1, 256, 256, 64, 64 }, "distance=63 is below span=64" },
		{ "induction", { 1, 1, 191, 191, 64, 64 }, "use n >= 192" },
		{ "haystack", { 1, 1, 31, 31, 64, 64 }, "use n >= 32" },
		{ "majority", { 1, 1, 143, 143, 64, 64 }, "use n >= 144" },
	};
	static float x[256 * 64];
	char error[DATA_ERROR_MAX];
	struct data_score score;
	struct data data;

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		data = parse(wrong[i].spec);
		error[0] = '\0';
		assert_false(data_check(&data, &wrong[i].shape, error));
		if (!strstr(error, wrong[i].says))
			fail_msg("%s: expected '%s', the message is: %s", wrong[i].spec, wrong[i].says, error);
		assert_false(data_fill(&data, &wrong[i].shape, SEED, 0, 0, x, x, x, error));
		assert_non_null(strstr(error, wrong[i].says));
		assert_false(data_score(&data, &wrong[i].shape, SEED, 0, 0, x, &score, error));
	}
	data = parse("gauss");
	assert_false(data_score(&data, &(struct data_shape){ 1, 1, 4, 4, 8, 8 }, SEED, 0, 0, x, &score, error));
	assert_string_equal(error, "gauss is no task: it has no answers to score");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(specs),
		cmocka_unit_test(wrong_specs),
		cmocka_unit_test(shapes),
		cmocka_unit_test(refused_shapes),
	};

	return cmocka_run_group_tests_name("data", tests, NULL, NULL);
}
