/* SPDX-License-Identifier: BSD-3-Clause
 *
 * scatterbrain and sinkhorn where they could go wrong: exponents that rise or fall
 * steeply along the sequence, windows as long as it, blocks longer than it. */
#include "attend.h"

static double scatterbrain_error(const char *arguments, size_t n_q, size_t n_k, bool causal, double steep)
{
	struct head h = head_new("scatterbrain", arguments, n_q, n_k, 16, 24, causal, 8);

	/* |x'|^2 / 2, which the exponents fall by, goes up or down by hundreds. */
	for (size_t j = 0; j < n_k; j++)
		for (size_t e = 0; e < 16; e++)
			h.k[j * 16 + e] *= (float)(1 + fabs(steep) * (double)(steep > 0 ? j : n_k - 1 - j) / (double)n_k);
	head_run(&h);
	for (size_t i = 0; i < n_q * 24; i++)
		assert_true(isfinite(h.out[i]));
	double error = head_own_error(&h);
	head_free(&h);
	return error;
}

static void test_steep_exponents(void **state)
{
	static const double steep[] = { 0, 3, -3, 15, -15 };
	static const size_t shapes[][2] = { { 150, 150 }, { 40, 150 }, { 150, 40 } };

	(void)state;
	for (size_t a = 0; a < sizeof steep / sizeof *steep; a++)
		for (size_t b = 0; b < 3; b++)
			for (int causal = 0; causal < 2; causal++) {
				double error = scatterbrain_error("left=6:right=9:m=24", shapes[b][0], shapes[b][1],
				                                  causal, steep[a]);
				/* An exponent of size u is off by u roundings. */
				double bound = 5e-6 + 3e-6 * (1 + fabs(steep[a])) * (1 + fabs(steep[a]));
				if (!(error <= bound))
					fail_msg("steep %g, n_q %zu, n_k %zu, causal %d: error %.2e, allowed %.2e",
					         steep[a], shapes[b][0], shapes[b][1], causal, error, bound);
			}
}

/* Everything in the window, on one side or both: exact. */
static void test_wide_windows(void **state)
{
	static const char *const arguments[] = { "left=99:right=99", "left=200:right=500:m=2" };

	(void)state;
	for (size_t a = 0; a < 2; a++)
		for (int causal = 0; causal < 2; causal++) {
			struct head h = head_new("scatterbrain", arguments[a], 100, 100, 16, 24, causal, 3);
			head_run(&h);
			double *exact = head_oracle_with(&h, "full", NULL);
			assert_true(head_error(&h, exact) <= 2e-6);
			free(exact);
			head_free(&h);
		}
}

/* More features, less error: the mean over rows of a row's squared error falls by
 * about the factor that m grows by. */
static void test_features_converge(void **state)
{
	double error[2];

	(void)state;
	for (int more = 0; more < 2; more++) {
		struct head h = head_new("scatterbrain", more ? "left=8:right=8:m=4096" : "left=8:right=8:m=64", 200,
		                         200, 8, 24, false, 4);
		for (size_t i = 0; i < 200 * 8; i++) { /* logits of order 0.3: few outliers */
			h.q[i] *= 0.5f;
			h.k[i] *= 0.5f;
		}
		head_run(&h);
		double *exact = head_oracle_with(&h, "full", NULL);
		error[more] = head_error(&h, exact);
		free(exact);
		head_free(&h);
	}
	assert_true(error[1] < error[0] / 4); /* expected: an eighth */
}

static void test_sinkhorn_tails(void **state)
{
	static const size_t lengths[] = { 1, 2, 15, 16, 17, 31, 33, 47, 49 };
	static const char *const arguments[] = { "b=16", "b=16:iters=0", "b=16:iters=30:temp=0.1" };

	(void)state;
	for (size_t a = 0; a < sizeof lengths / sizeof *lengths; a++)
		for (size_t b = 0; b < 3; b++) {
			struct head h = head_new("sinkhorn", arguments[b], lengths[a], lengths[a], 16, 24, false, 3);
			head_run(&h);
			assert_true(head_own_error(&h) <= 5e-6);
			if (lengths[a] <= 16) {
				double *exact = head_oracle_with(&h, "full", NULL);
				assert_true(head_error(&h, exact) <= 2e-6);
				free(exact);
			}
			head_free(&h);
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_steep_exponents),
		cmocka_unit_test(test_wide_windows),
		cmocka_unit_test(test_features_converge),
		cmocka_unit_test(test_sinkhorn_tails),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
