/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Stored inputs: which numbers of q.npy, k.npy and v.npy go where, and what is
 * said when files are missing, disagree, or do not hold what is asked.
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
#include <sys/stat.h>
#include <unistd.h>

#include "../datasets/data.h"
#include "../datasets/npy.h"

enum { MAX = 512 };

static char dir[64], spec[80];

static int make_dir(void **state)
{
	(void)state;
	strcpy(dir, "/tmp/attnbench-stored-XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	snprintf(spec, sizeof(spec), "file:%s", dir);
	return 0;
}

static int remove_dir(void **state)
{
	char path[128];

	(void)state;
	for (const char *name = "qkv"; *name; name++) {
		snprintf(path, sizeof(path), "%s/%c.npy", dir, *name);
		unlink(path);
	}
	return rmdir(dir);
}

/* A tensor whose element i is base + i, of a shape ended by 0. */
static void store(char name, float base, const size_t *dim)
{
	char path[128], error[DATA_ERROR_MAX];
	size_t rank = 0, count = 1;
	float x[MAX];

	while (dim[rank])
		count *= dim[rank++];
	assert_true(count <= MAX);
	for (size_t i = 0; i < count; i++)
		x[i] = base + (float)i;
	snprintf(path, sizeof(path), "%s/%c.npy", dir, name);
	assert_true(npy_write(path, rank, dim, x, error));
}

#define STORE(name, base, ...) store(name, base, (const size_t[]){ __VA_ARGS__, 0 })

static struct data parse(void)
{
	char error[DATA_ERROR_MAX];
	struct data data;

	if (!data_parse(spec, &data, error))
		fail_msg("%s", error);
	return data;
}

static void expect_fill(struct data_shape shape, size_t batch, size_t head, float q0, float k0, float v0)
{
	struct data data = parse();
	char error[DATA_ERROR_MAX];
	float q[MAX], k[MAX], v[MAX];

	if (!data_check(&data, &shape, error) || !data_fill(&data, &shape, 1, batch, head, q, k, v, error))
		fail_msg("%s", error);
	for (size_t i = 0; i < shape.n_q * shape.d; i++)
		assert_true(q[i] == q0 + (float)i);
	for (size_t i = 0; i < shape.n_k * shape.d; i++)
		assert_true(k[i] == k0 + (float)i);
	for (size_t i = 0; i < shape.n_k * shape.d_v; i++)
		assert_true(v[i] == v0 + (float)i);
}

static void heads_in_order(void **state)
{
	(void)state;
	STORE('q', 1000, 3, 5, 4);
	STORE('k', 2000, 3, 6, 4);
	STORE('v', 3000, 3, 6, 2);
	for (size_t head = 0; head < 3; head++) {
		float h = (float)head;

		expect_fill((struct data_shape){ 1, 3, 5, 6, 4, 2 }, 0, head, 1000 + 20 * h, 2000 + 24 * h, 3000 + 12 * h);
		/* Shorter: the first tokens. The seed changes nothing. */
		expect_fill((struct data_shape){ 1, 3, 2, 3, 4, 2 }, 0, head, 1000 + 20 * h, 2000 + 24 * h, 3000 + 12 * h);
	}
}

static void one_matrix(void **state)
{
	(void)state;
	STORE('q', 100, 5, 4);
	STORE('k', 200, 5, 4);
	STORE('v', 300, 5, 4);
	expect_fill((struct data_shape){ 1, 1, 5, 5, 4, 4 }, 0, 0, 100, 200, 300);
}

/* [batch, heads, n, d] with 4 query heads on 2 key heads: 0, 1 on 0 and 2, 3 on 1. */
static void grouped(void **state)
{
	struct data_shape shape = { 2, 4, 3, 3, 2, 2 };

	(void)state;
	STORE('q', 0, 2, 4, 3, 2);
	STORE('k', 1000, 2, 2, 3, 2);
	STORE('v', 2000, 2, 2, 3, 2);
	for (size_t batch = 0; batch < 2; batch++)
		for (size_t head = 0; head < 4; head++) {
			float q = (float)(6 * (4 * batch + head)), kv = (float)(6 * (2 * batch + head / 2));

			expect_fill(shape, batch, head, q, 1000 + kv, 2000 + kv);
		}
	shape.heads = 3; /* fewer heads do not change who shares with whom */
	expect_fill(shape, 1, 2, 36, 1018, 2018);
}

static void too_much(void **state)
{
	static const struct {
		struct data_shape shape;
		const char *says;
	} wrong[] = {
		{ { 1, 3, 6, 5, 4, 2 }, "holds 5 tokens a head, n = 6 was asked; use n <= 5" },
		{ { 1, 3, 5, 7, 4, 2 }, "holds 6 tokens a head, n = 7 was asked; use n <= 6" },
		{ { 1, 3, 5, 6, 8, 2 }, "has heads of d = 4, d = 8 was asked; use d = 4" },
		{ { 1, 3, 5, 6, 4, 4 }, "has values of d_v = 2, d_v = 4 was asked; use d_v = 2" },
		{ { 1, 4, 5, 6, 4, 2 }, "holds 3 heads, heads = 4 was asked; use heads <= 3" },
		{ { 2, 3, 5, 6, 4, 2 }, "holds 1 sequence(s), batch = 2 was asked; use batch <= 1" },
	};
	char error[DATA_ERROR_MAX];
	float x[MAX];
	struct data data;

	(void)state;
	STORE('q', 0, 3, 5, 4);
	STORE('k', 0, 3, 6, 4);
	STORE('v', 0, 3, 6, 2);
	data = parse();
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		assert_false(data_check(&data, &wrong[i].shape, error));
		assert_non_null(strstr(error, wrong[i].says));
		assert_true(strncmp(error, spec, strlen(spec)) == 0);
		assert_false(data_fill(&data, &wrong[i].shape, 1, 0, 0, x, x, x, error));
		assert_non_null(strstr(error, wrong[i].says));
	}
}

static void refused(const char *says)
{
	char error[DATA_ERROR_MAX];
	struct data data;

	assert_false(data_parse(spec, &data, error));
	if (!strstr(error, says) || !strstr(error, dir))
		fail_msg("expected '%s', the message is: %s", says, error);
}

static void files_that_disagree(void **state)
{
	(void)state;
	refused("q.npy: No such file or directory");
	STORE('q', 0, 4, 5, 4);
	refused("k.npy: No such file or directory");
	STORE('k', 0, 4, 6, 4);
	STORE('v', 0, 4, 6, 4);
	parse();
	STORE('k', 0, 4, 6, 3);
	refused("d is 4 in q.npy and 3 in k.npy");
	STORE('k', 0, 4, 7, 4);
	refused("k.npy holds 4 heads of 7 tokens, v.npy 4 of 6");
	STORE('k', 0, 2, 6, 4);
	refused("k.npy holds 2 heads of 6 tokens, v.npy 4 of 6");
	STORE('k', 0, 3, 6, 4);
	STORE('v', 0, 3, 6, 4);
	refused("q.npy holds 4 heads, k.npy 3; the first must be a multiple");
	STORE('k', 0, 2, 2, 6, 4);
	STORE('v', 0, 2, 2, 6, 4);
	refused("hold 1, 2 and 2 sequences");
	STORE('k', 0, 24);
	refused("have 3, 1 and 4 dimensions; reshape to [batch, heads, n, d]");
}

static void not_finite(void **state)
{
	struct data_shape shape = { 1, 2, 3, 3, 4, 4 };
	char path[128], error[DATA_ERROR_MAX];
	float x[MAX] = { 0 }, q[MAX], k[MAX], v[MAX];
	struct data data;

	(void)state;
	STORE('q', 0, 2, 3, 4);
	STORE('v', 0, 2, 3, 4);
	x[12 + 2 * 4 + 1] = NAN; /* head 1, token 2, channel 1 */
	snprintf(path, sizeof(path), "%s/k.npy", dir);
	assert_true(npy_write(path, 3, (const size_t[]){ 2, 3, 4 }, x, error));
	data = parse();
	assert_true(data_fill(&data, &shape, 1, 0, 0, q, k, v, error));
	assert_false(data_fill(&data, &shape, 1, 0, 1, q, k, v, error));
	assert_non_null(strstr(error, "k.npy holds a NaN, an infinity or a number beyond float32 in matrix 1, token 2, channel 1"));
	shape.n_q = shape.n_k = 2; /* not asked for, not looked at */
	assert_true(data_fill(&data, &shape, 1, 0, 1, q, k, v, error));
}

/* A file that shrank, or was replaced, since it was parsed. */
static void changed_since(void **state)
{
	struct data_shape shape = { 1, 1, 5, 5, 4, 4 };
	char error[DATA_ERROR_MAX];
	float x[MAX];
	struct data data;

	(void)state;
	STORE('q', 0, 5, 4);
	STORE('k', 0, 5, 4);
	STORE('v', 0, 5, 4);
	data = parse();
	STORE('k', 0, 4, 4);
	STORE('v', 0, 4, 4);
	assert_false(data_fill(&data, &shape, 1, 0, 0, x, x, x, error));
	assert_non_null(strstr(error, "use n <= 4"));
}

static void the_sample_that_ships(void **state)
{
	struct data_shape shape = { 1, 12, 512, 512, 32, 32 };
	static float q[512 * 32], k[512 * 32], v[512 * 32];
	char error[DATA_ERROR_MAX];
	struct data data;

	(void)state;
	assert_true(data_parse("real:minilm", &data, error));
	assert_true(data_check(&data, &shape, error));
	for (size_t head = 0; head < 12; head++)
		assert_true(data_fill(&data, &shape, 1, 0, head, q, k, v, error));
	shape.n_q = shape.n_k = 1024;
	assert_false(data_check(&data, &shape, error));
	assert_string_equal(error, "real:minilm holds 512 tokens a head, n = 1024 was asked; use n <= 512");
}

static void where_samples_are(void **state)
{
	char error[DATA_ERROR_MAX];
	struct stat status;
	struct data data;

	(void)state;
	assert_int_equal(unsetenv("ATTNBENCH_DATA"), 0);
	assert_int_equal(stat(data_real_dir(), &status), 0);
	assert_true(S_ISDIR(status.st_mode));
	assert_int_equal(setenv("ATTNBENCH_DATA", dir, 1), 0);
	assert_string_equal(data_real_dir(), dir);
	assert_false(data_parse("real:minilm", &data, error));
	assert_non_null(strstr(error, "holds none; set ATTNBENCH_DATA"));
	assert_int_equal(unsetenv("ATTNBENCH_DATA"), 0);
	assert_true(data_parse("real:minilm", &data, error));
}

#define IN_DIR(test) cmocka_unit_test_setup_teardown(test, make_dir, remove_dir)

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_DIR(heads_in_order),
		IN_DIR(one_matrix),
		IN_DIR(grouped),
		IN_DIR(too_much),
		IN_DIR(files_that_disagree),
		IN_DIR(not_finite),
		IN_DIR(changed_since),
		cmocka_unit_test(the_sample_that_ships),
		IN_DIR(where_samples_are),
	};

	return cmocka_run_group_tests_name("stored", tests, NULL, NULL);
}
