/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Plans: every combination once, the same plan from the same words, skips with
 * both numbers; and orders: permutations and Latin squares. */
#include "../harness/cross.h"
#include "../harness/order.h"
#include "../harness/plan.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct topo *topo;
static struct machine machine;

static int setup(void **state)
{
	char error[ERROR_MAX];

	(void)state;
	topo = topo_load(error);
	machine_read(&machine);
	return topo ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	topo_free(topo);
	return 0;
}

static void set(struct config *config, const char *name, const char *value)
{
	const struct option_def *option = option_find(name, VERB_RUN);
	const struct where where = { .name = name };
	char error[ERROR_MAX];

	assert_non_null(option);
	if (!option_set(config, &config->command_line, option, value, &where, error))
		fail_msg("%s", error);
}

static void make(struct plan *plan, struct config *config)
{
	char error[ERROR_MAX];

	if (!plan_make(plan, config, topo, &machine, error))
		fail_msg("%s", error);
}

static void test_cross(void **state)
{
	struct config config = { 0 };
	struct plan plan;

	(void)state;
	set(&config, "variant", "full,flash,full"); /* named twice, planned once */
	set(&config, "n", "64,128");
	set(&config, "d", "16,32");
	set(&config, "causal", "0,1");
	make(&plan, &config);
	assert_int_equal(plan.n, 2 * 2 * 2 * 2);
	assert_int_equal(plan.n_shapes, 8);
	assert_int_equal(plan.runnable, 16);
	for (size_t i = 0; i < plan.n; i++) {
		const struct cell *c = &plan.cell[i].cell;
		assert_true(c->n_q == c->n_k && c->d == c->d_v && c->batch == 1 && c->heads == 1);
		assert_string_equal(c->input, "gauss:sigma=1");
		assert_true(c->isa[0] && strlen(c->id) == 16);
		assert_true(plan.cell[i].call_s > 0 && plan.cell[i].cost.peak_bytes > 0);
		for (size_t k = 0; k < i; k++) {
			assert_false(cell_equal(c, &plan.cell[k].cell));
			assert_string_not_equal(c->id, plan.cell[k].cell.id);
		}
	}
	for (size_t s = 0; s < plan.n_shapes; s++) {
		assert_int_equal(plan.shape[s].n, 2);
		assert_true(cell_same_shape(&plan.cell[plan.shape[s].member[0]].cell,
		                            &plan.cell[plan.shape[s].member[1]].cell));
		assert_string_equal(plan.cell[plan.shape[s].member[plan_baseline(&plan, &plan.shape[s], NULL)]]
		                            .cell.variant->name, "full");
		assert_string_equal(plan.cell[plan.shape[s].member[plan_baseline(&plan, &plan.shape[s], "flash")]]
		                            .cell.variant->name, "flash");
	}
	plan_free(&plan);
	config_free(&config);
}

static void test_lengths(void **state)
{
	struct config config = { 0 };
	struct plan plan;

	(void)state;
	set(&config, "variant", "flash");
	set(&config, "n", "64,128");
	set(&config, "n-q", "1,16");
	make(&plan, &config);
	assert_int_equal(plan.n, 4); /* n stands for the keys */
	for (size_t i = 0; i < 4; i++)
		assert_true(plan.cell[i].cell.n_q <= 16 && plan.cell[i].cell.n_k >= 64);
	plan_free(&plan);
	config_free(&config);

	set(&config, "variant", "flash");
	set(&config, "n-q", "16");
	make(&plan, &config);
	assert_int_equal(plan.n, 1); /* n was not given: keys as queries */
	assert_true(plan.cell[0].cell.n_q == 16 && plan.cell[0].cell.n_k == 16);
	plan_free(&plan);
	config_free(&config);

	set(&config, "variant", "flash");
	set(&config, "n", "8,16");
	set(&config, "n-k", "100");
	set(&config, "d-v", "3");
	make(&plan, &config);
	assert_int_equal(plan.n, 2);
	assert_true(plan.cell[1].cell.n_q == 16 && plan.cell[1].cell.n_k == 100);
	assert_true(plan.cell[1].cell.d == 64 && plan.cell[1].cell.d_v == 3);
	plan_free(&plan);
	config_free(&config);
}

static void test_hash(void **state)
{
	struct plan plan;
	char first[17];

	(void)state;
	for (int i = 0; i < 5; i++) {
		struct config config = { 0 };
		set(&config, "variant", "full,flash");
		set(&config, "n", i == 1 ? "64,128" : "64");
		if (i == 2)
			set(&config, "rounds", "7");
		if (i == 3)
			set(&config, "order-seed", "2");
		if (i == 4) { /* limits may change without making it another plan */
			set(&config, "timeout", "99");
			set(&config, "budget", "1h");
		}
		make(&plan, &config);
		if (i == 0)
			strcpy(first, plan.hash);
		else if (i == 4)
			assert_string_equal(plan.hash, first);
		else
			assert_string_not_equal(plan.hash, first);
		plan_free(&plan);
		config_free(&config);
	}
}

static void test_skips(void **state)
{
	struct config config = { 0 };
	struct plan plan;

	(void)state;
	set(&config, "variant", "full,flash,linformer");
	set(&config, "n", "4096");
	set(&config, "causal", "1");
	set(&config, "memory", "32MiB");
	make(&plan, &config);
	assert_int_equal(plan.n, 3);
	assert_int_equal(plan.cell[0].skip, STATUS_SKIPPED_MEM);
	assert_non_null(strstr(plan.cell[0].reason, "33554432 bytes"));
	char bytes[40];
	snprintf(bytes, sizeof bytes, "%zu bytes", plan.cell[0].cost.peak_bytes);
	assert_non_null(strstr(plan.cell[0].reason, bytes));
	assert_int_equal(plan.cell[1].skip, STATUS_OK);
	assert_int_equal(plan.cell[2].skip, STATUS_UNSUPPORTED);
	assert_non_null(plan.cell[2].reason);
	plan_free(&plan);
	config_free(&config);
}

static void test_too_many_threads(void **state)
{
	struct config config = { 0 };
	struct topo_info info;
	struct plan plan;

	(void)state;
	topo_info(topo, &info);
	if (info.pus >= 256)
		skip();
	set(&config, "variant", "flash");
	set(&config, "n", "64");
	set(&config, "threads", "256");
	make(&plan, &config);
	assert_int_equal(plan.cell[0].skip, STATUS_UNSUPPORTED);
	assert_non_null(strstr(plan.cell[0].reason, "256 threads"));
	plan_free(&plan);
	config_free(&config);
}

static void test_no_variant(void **state)
{
	struct config config = { 0 };
	struct plan plan;
	char error[ERROR_MAX];

	(void)state;
	assert_false(plan_make(&plan, &config, topo, &machine, error));
	assert_non_null(strstr(error, "--variant"));
	plan_free(&plan);
}

static void test_policy(void **state)
{
	struct config config = { 0 };
	struct policy policy;

	(void)state;
	policy_make(&policy, &config);
	assert_true(policy.n_looks == 1 && policy.look[0] == 6 && policy.target == 0);
	config.profile = PROFILE_STANDARD;
	policy_make(&policy, &config);
	assert_true(policy.n_looks == 5 && policy.look[0] == 6 && policy.look[4] == 20);
	assert_true(policy.target == 0.02);
	config.profile = PROFILE_REPORT;
	config.target = 0.005;
	policy_make(&policy, &config);
	assert_true(policy.look[0] == 9 && policy.look[4] == 30 && policy.target == 0.005);
	config.rounds = 3;
	policy_make(&policy, &config);
	assert_true(policy.n_looks == 1 && policy.look[0] == 3 && policy.target == 0);
}

static void assert_permutation(const size_t *order, size_t n)
{
	bool seen[64] = { false };

	for (size_t i = 0; i < n; i++) {
		assert_true(order[i] < n && !seen[order[i]]);
		seen[order[i]] = true;
	}
}

/* In n rounds each cell takes each place once; each round is a permutation. */
static void test_latin_square(void **state)
{
	(void)state;
	for (size_t n = 1; n <= 20; n++) {
		for (size_t shape = 0; shape < 5; shape++) {
			bool taken[20][20] = { { false } };
			size_t row[20];
			for (size_t round = 0; round < n; round++) {
				order_cells(7, shape, round, n, row);
				assert_permutation(row, n);
				for (size_t place = 0; place < n; place++) {
					assert_false(taken[row[place]][place]);
					taken[row[place]][place] = true;
				}
			}
		}
	}
}

/* Squares and shuffles are drawn: they follow the seed and the shape, and every
 * cell comes first about equally often over many of them. */
static void test_random_orders(void **state)
{
	enum { N = 8, DRAWS = 4000 };
	size_t row[N], again[N], first_cells[N] = { 0 }, first_shapes[N] = { 0 }, differ = 0;

	(void)state;
	for (size_t i = 0; i < DRAWS; i++) {
		order_cells(i, 0, 0, N, row);
		order_cells(i, 0, 0, N, again);
		assert_memory_equal(row, again, sizeof row);
		first_cells[row[0]]++;
		order_shapes(3, i, N, row);
		order_shapes(3, i, N, again);
		assert_memory_equal(row, again, sizeof row);
		assert_permutation(row, N);
		first_shapes[row[0]]++;
		order_cells(1, i, 0, N, row);
		order_cells(1, i + 1, 0, N, again);
		differ += memcmp(row, again, sizeof row) != 0;
	}
	/* Expected 500 each, standard deviation 21. */
	for (size_t i = 0; i < N; i++) {
		assert_in_range(first_cells[i], 390, 610);
		assert_in_range(first_shapes[i], 390, 610);
	}
	assert_true(differ > DRAWS * 9 / 10);
}

/* Ids follow the fields, not the order in which they were given. */
static void test_identity(void **state)
{
	struct cell a = { .variant = attn_find("flash"), .batch = 1, .heads = 1, .kv_heads = 1, .n_q = 4, .n_k = 4,
		          .d = 8, .d_v = 8, .threads = 1, .isa = "scalar", .input = "gauss:sigma=1" };
	char params[CELL_PARAMS_MAX];

	(void)state;
	cell_identify(&a);
	struct cell b = a;
	b.scale = attn_default_scale(8); /* said, or left out: the same cell */
	cell_identify(&b);
	assert_true(cell_equal(&a, &b));
	assert_string_equal(a.id, b.id);
	b.seed = 2;
	cell_identify(&b);
	assert_false(cell_equal(&a, &b));
	assert_string_not_equal(a.id, b.id);
	b = a;
	b.causal = true;
	assert_false(cell_equal(&a, &b));
	assert_false(cell_same_shape(&a, &b));
	b = a;
	b.variant = attn_find("sliding-window");
	b.arg[0] = ATTN_AUTO;
	b.arg[1] = 16;
	assert_true(cell_same_shape(&a, &b));
	cell_params(&b, params);
	assert_string_equal(params, "left=auto:right=16");
	struct cell c = b;
	assert_true(cell_equal(&b, &c)); /* auto equals auto */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cross),         cmocka_unit_test(test_lengths),
		cmocka_unit_test(test_hash),          cmocka_unit_test(test_skips),
		cmocka_unit_test(test_too_many_threads), cmocka_unit_test(test_no_variant),
		cmocka_unit_test(test_policy),        cmocka_unit_test(test_latin_square),
		cmocka_unit_test(test_random_orders), cmocka_unit_test(test_identity),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
