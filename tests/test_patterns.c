/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Facts of single sparse patterns. A query of zeros weighs all keys that it sees
 * alike: a key that two rules give and the kernel counts twice would show as a
 * weight that differs, a key missed as a zero. */
#include "attend.h"

#include "../datasets/data.h"

typedef bool allowed_fn(size_t n, size_t i, size_t j);

/* Every row of the matrix is uniform over exactly the allowed keys. */
static void check_set(const char *name, const char *arguments, size_t n, bool causal, allowed_fn *allowed)
{
	struct head h = head_new(name, arguments, n, n, 8, n, causal, 1);
	double pairs = 0;

	memset(h.q, 0, n * 8 * sizeof *h.q);
	head_identity(&h);
	head_run(&h);
	for (size_t i = 0; i < n; i++) {
		size_t count = 0;
		for (size_t j = 0; j < n; j++)
			count += allowed(n, i, j) && (!causal || j <= i);
		for (size_t j = 0; j < n; j++) {
			bool sees = allowed(n, i, j) && (!causal || j <= i);
			double want = sees ? 1 / (double)count : 0, got = head_weight(&h, i, j);
			if (!(fabs(got - want) <= 1e-6))
				fail_msg("%s:%s n = %zu causal %d: weight (%zu, %zu) is %.9g, not %.9g", name,
				         arguments, n, causal, i, j, got, want);
		}
		pairs += (double)count;
	}
	if (h.stats.pairs != pairs)
		fail_msg("%s:%s n = %zu causal %d: counts %.0f pairs of %.0f", name, arguments, n, causal,
		         h.stats.pairs, pairs);
	head_free(&h);
}

static size_t apart(size_t i, size_t j)
{
	return i > j ? i - j : j - i;
}

static bool sinks(size_t n, size_t i, size_t j)
{
	(void)n;
	return j < 20 || j + 30 > i;
}

static bool blocks_of_16(size_t n, size_t i, size_t j)
{
	(void)n;
	return i / 16 == j / 16;
}

static bool neighbours_of_7(size_t n, size_t i, size_t j)
{
	(void)n;
	return apart(i / 7, j / 7) <= 1;
}

static bool dilated(size_t n, size_t i, size_t j)
{
	(void)n;
	return apart(i, j) % 5 == 0 && apart(i, j) <= 15;
}

static bool strided(size_t n, size_t i, size_t j)
{
	(void)n;
	return apart(i, j) <= 5 || apart(i, j) % 5 == 0;
}

static bool fixed(size_t n, size_t i, size_t j)
{
	(void)n;
	return i / 10 == j / 10 || j % 10 >= 6;
}

static bool window_and_globals(size_t n, size_t i, size_t j)
{
	(void)n;
	return apart(i, j) <= 5 || j < 20 || i < 20;
}

/* All gates are 0: the own block and the two lowest others. */
static bool lowest_blocks(size_t n, size_t i, size_t j)
{
	size_t own = i / 8, others = own < 2 ? 2 : 1;

	(void)n;
	return j / 8 == own || j / 8 <= others;
}

static const size_t lengths[] = { 1, 2, 7, 15, 16, 17, 63, 64, 65, 67, 130 };
enum { LENGTHS = sizeof lengths / sizeof *lengths };

/* Overlap is built in: sinks in the window, globals in the window, summaries in
 * the block, stride l at the edge of a window of l. */
static void test_unions_count_once(void **state)
{
	(void)state;
	for (size_t a = 0; a < LENGTHS; a++) {
		size_t n = lengths[a];
		check_set("sink-window", "s=20:w=30", n, true, sinks);
		for (int causal = 0; causal < 2; causal++) {
			check_set("block-local", "b=16", n, causal, blocks_of_16);
			check_set("block-local", "b=7:back=1:fwd=1", n, causal, neighbours_of_7);
			check_set("dilated-window", "w=6:dil=5", n, causal, dilated);
			check_set("sparse-strided", "l=5", n, causal, strided);
			check_set("sparse-fixed", "l=10:c=4", n, causal, fixed);
			check_set("longformer", "w=10:g=20", n, causal, window_and_globals);
			check_set("moba", "b=8:k=3", n, causal, lowest_blocks);
		}
	}
}

static double pairs_of(const char *name, const char *arguments, size_t n, bool causal)
{
	struct head h = head_new(name, arguments, n, n, 4, 4, causal, 1);
	struct attn_plan plan = { 0 };

	h.variant->plan(&h.shape, h.arg, 1, &plan);
	head_run(&h);
	assert_true(plan.pairs == h.stats.pairs);
	head_free(&h);
	return plan.pairs;
}

/* Pairs by closed formula, in the plan as at run time. */
static void test_pairs(void **state)
{
	const double n = 320;
	double sum = 0, chosen = 0;

	(void)state;
	/* n (l + r + 1) - l (l + 1)/2 - r (r + 1)/2 */
	assert_true(pairs_of("sliding-window", "left=30:right=12", 320, false) == n * 43 - 465 - 78);
	assert_true(pairs_of("sliding-window", "left=30", 320, true) == n * 31 - 465);
	assert_true(pairs_of("block-local", "b=32", 320, false) == n * 32);
	assert_true(pairs_of("block-local", "b=32", 320, true) == n * 33 / 2);
	/* a window of each residue class of 320/4 tokens */
	assert_true(pairs_of("dilated-window", "w=20:dil=4", 320, false) == 4 * (80 * 21 - 55 - 55));
	for (size_t i = 0; i < 320; i++) {
		sum += fmin((double)i + 1, 16) + floor((double)i / 16);
		chosen += (double)(i % 16 + 1) + 16 * fmin(2, floor((double)i / 16));
	}
	assert_true(pairs_of("sparse-strided", "l=16", 320, true) == sum);
	/* own block and c of each of the others */
	assert_true(pairs_of("sparse-fixed", "l=16:c=3", 320, false) == n * (16 + 3 * 19));
	assert_true(pairs_of("sink-window", "s=5:w=20", 320, true) == n * 25 - 25 * 24 / 2.0);
	assert_true(pairs_of("moba", "b=16:k=3", 320, true) == chosen);
	assert_true(pairs_of("moba", "b=16:k=3", 320, false) == n * 48);
	/* 16 block rows see 8 blocks; the second and the last but one 7; two see all 20 */
	assert_true(pairs_of("bigbird", "b=16:r=3", 320, false) == 256 * (16.0 * 8 + 2 * 7 + 2 * 20));
}

/* Distinct blocks of each block row, read off the weights. */
static void check_bigbird(size_t n, size_t b, size_t r, bool causal, uint64_t seed)
{
	char arguments[64];
	size_t nb = (n + b - 1) / b;

	snprintf(arguments, sizeof arguments, "b=%zu:r=%zu", b, r);
	struct head h = head_new("bigbird", arguments, n, n, 8, n, causal, seed);
	memset(h.q, 0, n * 8 * sizeof *h.q);
	head_identity(&h);
	head_run(&h);
	for (size_t row = 0; row < nb; row++) {
		size_t i = row * b, distinct = 0, end = causal ? row + 1 : nb;
		for (size_t block = 0; block < end; block++)
			distinct += head_weight(&h, i, block * b) > 0;
		if (row == 0 || row == nb - 1)
			assert_int_equal(distinct, end);
		else if (causal) /* the first, the previous, the own, r of those between */
			assert_int_equal(distinct, row < 2 ? 2 : row + 1 < 3 + r ? row + 1 : 3 + r);
		else if (row >= 2 && row + 3 <= nb)
			assert_int_equal(distinct, nb < 5 + r ? nb : 5 + r);
		else /* the window holds a global block */
			assert_int_equal(distinct, nb < 4 + r ? nb : 4 + r);
		/* And none twice: all weights of a row are alike. */
		double weight = head_weight(&h, i, i);
		for (size_t j = 0; j < n; j++)
			assert_true(head_weight(&h, i, j) == 0 || fabs(head_weight(&h, i, j) - weight) < 1e-7);
	}
	head_free(&h);
}

static void test_bigbird_blocks(void **state)
{
	(void)state;
	for (int causal = 0; causal < 2; causal++) {
		check_bigbird(640, 16, 3, causal, 1);
		check_bigbird(640, 16, 0, causal, 2);
		check_bigbird(200, 7, 2, causal, 3);
		check_bigbird(120, 16, 3, causal, 4); /* nb = 5 + r */
		check_bigbird(100, 16, 3, causal, 5); /* fewer */
		check_bigbird(300, 4, 60, causal, 6);
	}
}

/* The table is the seed's and the head's; every candidate is drawn about as often. */
static void test_bigbird_table(void **state)
{
	enum { NB = 40, R = 3 };
	const struct attn_variant *v = attn_find("bigbird");
	struct attn_shape s = { .n_q = NB * 16, .n_k = NB * 16, .d = 8, .d_v = 8, .scale = 1, .heads = 2 };
	const double arg[] = { 16, R };
	uint32_t a[NB * R], b[NB * R];
	size_t drawn[NB] = { 0 };

	(void)state;
	v->prepare(&s, arg, 7, a);
	v->prepare(&s, arg, 7, b);
	assert_memory_equal(a, b, sizeof a);
	v->prepare(&s, arg, 8, b);
	assert_memory_not_equal(a, b, sizeof a);
	s.head = 1;
	v->prepare(&s, arg, 7, b);
	assert_memory_not_equal(a, b, sizeof a);
	for (uint64_t seed = 0; seed < 1000; seed++) {
		v->prepare(&s, arg, seed, a);
		for (size_t i = 0; i < R; i++)
			drawn[a[20 * R + i]]++;
	}
	for (size_t block = 1; block < NB - 1; block++) {
		bool candidate = block < 19 || block > 21; /* 35 of them: 86 +- 9 */
		assert_true(candidate ? drawn[block] > 40 && drawn[block] < 130 : drawn[block] == 0);
	}
	assert_true(drawn[0] == 0 && drawn[NB - 1] == 0);
}

/* Same inputs, two variants: the same result. */
static void check_same(const char *a, const char *a_arguments, const char *b, const char *b_arguments,
                       size_t n, bool causal)
{
	struct head x = head_new(a, a_arguments, n, n, 16, 24, causal, 3);
	struct head y = head_new(b, b_arguments, n, n, 16, 24, causal, 3);
	double *want = calloc(n * 24, sizeof *want);

	head_run(&x);
	head_run(&y);
	for (size_t i = 0; i < n * 24; i++)
		want[i] = (double)y.out[i];
	double error = head_error(&x, want);
	if (!(error <= 2e-6))
		fail_msg("%s:%s and %s:%s differ by %.2e", a, a_arguments, b, b_arguments, error);
	free(want);
	head_free(&x);
	head_free(&y);
}

static void test_limits_of_each_other(void **state)
{
	(void)state;
	check_same("sink-window", "s=0:w=20", "sliding-window", "left=19", 150, true);
	check_same("dilated-window", "w=24:dil=1", "sliding-window", "left=12:right=12", 150, false);
	check_same("moba", "b=16:k=1", "block-local", "b=16", 150, true);
	check_same("longformer", "w=20:g=0", "sliding-window", "left=10:right=10", 150, false);
	check_same("nsa", "l=8:st=4:block=8:w=20:gcmp=0:gslc=0:gswa=1", "sliding-window", "left=19", 150, true);
	/* Two of three blocks are not chosen: the first, the previous and the own are. */
	check_same("nsa", "l=8:st=4:block=16:ns=3:gcmp=0:gslc=1:gswa=0", "moba", "b=16:k=3", 48, true);
}

/* moba chooses by f32 gates; where two blocks are the same, by number. */
static void test_moba_ties(void **state)
{
	const size_t n = 96, d = 16;
	struct head h = head_new("moba", "b=16:k=2", n, n, d, n, true, 2);

	(void)state;
	for (size_t b = 2; b < 6; b++)
		memcpy(h.k + b * 16 * d, h.k + 16 * d, 16 * d * sizeof *h.k); /* all are block 1 */
	head_identity(&h);
	head_run(&h);
	for (size_t i = 48; i < n; i++) {
		bool first = head_weight(&h, i, 0) > 0, second = head_weight(&h, i, 16) > 0;
		assert_true(first != second);
		for (size_t b = 2; b < i / 16; b++)
			assert_true(head_weight(&h, i, b * 16) == 0);
	}
	head_free(&h);
}

/* Weights sum to 1 once a compressed key is complete, to 2/3 before; gates3 takes
 * the place of the parameters. */
static void test_nsa_gates(void **state)
{
	const size_t n = 130;
	const float given[] = { 0.5f, 2, 0.25f };
	const struct attn_aux aux[] = { { "gates3", given, 1, 3 }, { 0 } };
	struct head h = head_new("nsa", "l=10:st=5:block=8:ns=5:w=12", n, n, 16, n, true, 4);

	(void)state;
	head_identity(&h);
	for (int with = 0; with < 2; with++) {
		double late = with ? 2.75 : 1, early = with ? 2.25 : 2.0 / 3;
		head_run_with(&h, with ? aux : NULL);
		for (size_t i = 0; i < n; i++) {
			double sum = 0;
			for (size_t j = 0; j < n; j++)
				sum += head_weight(&h, i, j);
			assert_true(fabs(sum - (i >= 9 ? late : early)) < 1e-5);
		}
		double *want = head_oracle_with(&h, NULL, with ? aux : NULL);
		assert_true(head_error(&h, want) <= 2e-6);
		free(want);
	}
	head_free(&h);
}

/* Heads that park their weight on token 0 need it kept. */
static void test_sinks_matter(void **state)
{
	const struct data_shape shape = { 1, 1, 400, 400, 32, 32 };
	char error[DATA_ERROR_MAX];
	struct data data;
	double far[2];

	(void)state;
	assert_true(data_parse("sink", &data, error));
	for (int s = 0; s < 2; s++) {
		struct head h = head_new("sink-window", s ? "s=1:w=40" : "s=0:w=41", 400, 400, 32, 32, true, 1);
		assert_true(data_fill(&data, &shape, 1, 0, 0, h.q, h.k, h.v, error));
		head_run(&h);
		double *want = head_oracle_with(&h, "full", NULL);
		far[s] = head_error(&h, want);
		free(want);
		head_free(&h);
	}
	assert_true(far[0] > 2 * far[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_unions_count_once),
		cmocka_unit_test(test_pairs),
		cmocka_unit_test(test_bigbird_blocks),
		cmocka_unit_test(test_bigbird_table),
		cmocka_unit_test(test_limits_of_each_other),
		cmocka_unit_test(test_moba_ties),
		cmocka_unit_test(test_nsa_gates),
		cmocka_unit_test(test_sinks_matter),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
