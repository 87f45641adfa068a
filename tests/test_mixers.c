/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Recurrent, compressed, position and Fourier forms: limits that join one to
 * another, memories that recall, gates that must not overflow, teams. */
#include "head.h"

#include "../attention/engine/projection.h"

/* ---- recurrent forms ---- */

static void fill(float *x, size_t n, float value)
{
	for (size_t i = 0; i < n; i++)
		x[i] = value;
}

/* A gate that never moves is retention's decay. */
static void test_gla_constant_gate(void **state)
{
	enum { N = 300, D = 24 };
	float *gate = take(N * D * sizeof *gate);

	(void)state;
	struct head gla = head_of("gla", "", N, N, D, 20, true, 1);
	struct head retention = head_of("retention", "gamma=0.9375", N, N, D, 20, true, 1);
	struct head open = head_of("gla", "", N, N, D, 20, true, 1);
	struct head no_decay = head_of("retention", "gamma=1", N, N, D, 20, true, 1);
	fill(gate, N * D, logf(0.9375f));
	gla.aux[0] = (struct attn_aux){ "log_gate", gate, N, D };
	run(&gla);
	run(&retention);
	assert_below(distance(gla.out, retention.out, elements(&gla)), 2e-6, "gla and retention");
	fill(gate, N * D, 0);
	open.aux[0] = gla.aux[0];
	run(&open);
	run(&no_decay);
	assert_below(distance(open.out, no_decay.out, elements(&gla)), 2e-6, "gla without gates");
	free(gate);
	head_free(&gla);
	head_free(&retention);
	head_free(&open);
	head_free(&no_decay);
}

/* ln alpha down to -1000 in one token, in some channels, and open in others. */
static void test_gla_strong_gates(void **state)
{
	enum { N = 200, D = 16 };
	float *gate = take(N * D * sizeof *gate);

	(void)state;
	for (size_t i = 0; i < N * D; i++) {
		double u = attn_random_uniform(11, 1, i);
		gate[i] = u < 0.2 ? -1000 : u < 0.4 ? -20 : u < 0.7 ? -1 : 0;
	}
	struct head h = head_of("gla", "", N, N, D, 16, true, 1);
	h.aux[0] = (struct attn_aux){ "log_gate", gate, N, D };
	run(&h);
	for (size_t i = 0; i < elements(&h); i++)
		assert_true(isfinite(h.out[i]));
	assert_below(own_error(&h), 5e-6, "gla with strong gates");
	free(gate);
	head_free(&h);
}

static void test_lightning_is_retention(void **state)
{
	(void)state;
	for (int causal = 0; causal < 2; causal++) {
		struct head lightning = head_of("lightning", "slope=0.1", 150, 150, 16, 16, causal, 1);
		struct head retention = head_of("retention", "", 150, 150, 16, 16, causal, 1);
		retention.shape.scale = 1;
		retention.arg[0] = exp(-0.1);
		run(&lightning);
		run(&retention);
		assert_below(distance(lightning.out, retention.out, elements(&lightning)), 1e-6, "lightning");
		head_free(&lightning);
		head_free(&retention);
	}
}

/* Slopes of ALiBi: halves of a power for 8 heads; every second of 16 beyond. */
static void test_lightning_slopes(void **state)
{
	struct attn_shape s = { .n_q = 1, .n_k = 1, .d = 1, .d_v = 1, .heads = 8, .head = 3 };
	double arg[2] = { NAN, 0 };

	(void)state;
	attn_find("lightning")->resolve(&s, arg);
	assert_true(fabs(arg[0] - 1.0 / 16) < 1e-15);
	s.heads = 12;
	s.head = 9; /* second beyond 8: exponent 8 * 3 / 16 */
	arg[0] = NAN;
	attn_find("lightning")->resolve(&s, arg);
	assert_true(fabs(arg[0] - pow(2, -1.5)) < 1e-15);
}

enum { KEYS = 16 };

/* Token t < KEYS writes value t under the row of an orthonormal matrix that
 * `order` names; tokens after ask for key t - KEYS without writing. */
static struct head memory_of(const char *name, const char *args, const size_t *order, float *beta)
{
	struct head h = head_of(name, args, 2 * KEYS, 2 * KEYS, KEYS, 8, true, 1);
	float w_t[KEYS * KEYS];

	h.shape.scale = 1;
	projection_gaussian(w_t, KEYS, KEYS, true, PROJECTION_ROOT, 2, 2);
	for (size_t t = 0; t < 2 * KEYS; t++) {
		size_t r = t < KEYS ? order[t] : t - KEYS;
		for (size_t c = 0; c < KEYS; c++) {
			h.q[t * KEYS + c] = w_t[c * KEYS + r] / sqrtf(KEYS);
			h.k[t * KEYS + c] = t < KEYS ? h.q[t * KEYS + c] : 0;
		}
		if (beta)
			beta[t] = t < KEYS;
	}
	if (beta)
		h.aux[0] = (struct attn_aux){ "beta", beta, 2 * KEYS, 1 };
	return h;
}

/* Orthonormal keys and beta = 1: what was written is read back. A key written again
 * holds the latest value, where an additive memory holds the sum. */
static void test_deltanet_memory(void **state)
{
	static const size_t once[KEYS] = { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15 };
	static const size_t twice[KEYS] = { 0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 2, 3, 4, 5, 6, 7 };
	float beta[2 * KEYS];

	(void)state;
	struct head h = memory_of("deltanet", "", once, beta);
	run(&h);
	assert_below(distance(h.out + KEYS * 8, h.v, KEYS * 8), 1e-6, "recall");
	head_free(&h);

	struct head delta = memory_of("deltanet", "", twice, beta);
	struct head sum = memory_of("lightning", "slope=0", twice, NULL);
	run(&delta);
	run(&sum);
	assert_below(distance(delta.out + KEYS * 8, delta.v + KEYS / 2 * 8, KEYS / 2 * 8), 1e-6, "the latest");
	for (size_t i = 0; i < KEYS / 2 * 8; i++) {
		float both = sum.v[i] + sum.v[KEYS / 2 * 8 + i];
		assert_true(fabsf(sum.out[KEYS * 8 + i] - both) < 1e-5f);
	}
	head_free(&delta);
	head_free(&sum);
}

/* ---- compressed, position and Fourier forms ---- */

/* All rows as landmarks, no ridge, an exact inverse: C V. */
static void test_skyformer_limit(void **state)
{
	enum { N = 40, D = 16 };
	struct head h = head_of("skyformer", "m=80:ridge=0:pinv=exact", N, N, D, D, false, 1);
	double want[N * D] = { 0 };

	(void)state;
	run(&h);
	for (size_t i = 0; i < N; i++) {
		for (size_t j = 0; j < N; j++) {
			double square = 0;
			for (size_t e = 0; e < D; e++)
				square += pow((double)h.q[i * D + e] - (double)h.k[j * D + e], 2);
			for (size_t e = 0; e < D; e++)
				want[i * D + e] += exp(-square / (2 * sqrt((double)D))) * (double)h.v[j * D + e];
		}
	}
	assert_below(error_to(h.out, want, N * D), 1e-5, "skyformer at m = 2 n");
	head_free(&h);
}

/* Piecewise constant keys and values over blocks: pooling loses nothing, also when
 * the last block is short. */
static void test_pooled_piecewise_constant(void **state)
{
	enum { N = 100, D = 16, C = 7 };
	struct head h = head_of("pooled", "c=7", N, N, D, D, false, 1);

	(void)state;
	for (size_t j = 0; j < N; j++) {
		memcpy(h.k + j * D, h.k + j / C * C * D, D * sizeof(float));
		memcpy(h.v + j * D, h.v + j / C * C * D, D * sizeof(float));
	}
	run(&h);
	assert_below(exact_error(&h), 2e-6, "pooled on constant blocks");
	head_free(&h);
}

static void test_aft_without_bias(void **state)
{
	(void)state;
	for (int causal = 0; causal < 2; causal++) {
		struct head full = head_of("aft-full", "bias=0", 300, 300, 24, 24, causal, 1);
		struct head simple = head_of("aft-simple", "", 300, 300, 24, 24, causal, 1);
		run(&full);
		run(&simple);
		assert_below(distance(full.out, simple.out, elements(&full)), 2e-6, "aft-full without a bias");
		head_free(&full);
		head_free(&simple);
	}
}

/* Keys that rise by 50 every token: a maximum shared by a block of tokens would
 * flush all but the last to zero. */
static void test_rising_keys(void **state)
{
	static const char *const names[] = { "aft-simple", "aft-full", "performer", "efficient", "hedgehog" };
	enum { N = 150, D = 8 };

	(void)state;
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		struct head h = head_of(names[i], i == 2 ? "m=32:map=hyperbolic" : "", N, N, D, D, true, 1);
		bool features = i == 2 || i == 4; /* exponents grow with |k|: stay within double */
		for (size_t j = 0; j < N * D; j++)
			h.k[j] += features ? 0.6f * (float)(j / D) / 2 : 50.0f * (float)(j / D);
		run(&h);
		assert_below(own_error(&h), features ? 2e-5 : 5e-6, names[i]);
		head_free(&h);
	}
}

/* The double sum at a length that is no power of two, by hand. */
static void test_fnet_direct(void **state)
{
	enum { N = 12, E = 5 };
	struct head h = head_of("fnet", "", N, N, E, E, false, 1);
	double want[N * E] = { 0 };

	(void)state;
	run(&h);
	for (size_t a = 0; a < N; a++)
		for (size_t b = 0; b < E; b++)
			for (size_t t = 0; t < N; t++)
				for (size_t f = 0; f < E; f++)
					want[a * E + b] += (double)h.v[t * E + f] *
					                   cos(2 * acos(-1) * ((double)(a * t) / N + (double)(b * f) / E));
	assert_below(error_to(h.out, want, N * E), 1e-6, "fnet at n = 12");
	head_free(&h);
}

/* Lengths of one pass, of several, with large primes inside, and prime: the
 * definition, on one thread and on three. */
static void test_fnet_lengths(void **state)
{
	static const size_t lengths[] = { 1, 2, 16, 17, 61, 64, 67, 121, 240, 256, 268, 509, 600 };
	const char *why;
	struct team *team = team_create(3, NULL, &why);

	(void)state;
	assert_non_null(team);
	for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
		struct head h = head_of("fnet", "", lengths[i], lengths[i], 4, 33 + i % 3, false, 1);
		run(&h);
		assert_below(own_error(&h), 2e-6, "fnet");
		run_on(&h, team);
		assert_below(own_error(&h), 2e-6, "fnet on three threads");
		head_free(&h);
	}
	team_destroy(team);
}

/* Enough tokens for several tiles and chunks on every thread. */
static void test_teams(void **state)
{
	static const char *const names[] = { "aft-full", "aft-simple", "gla", "deltanet", "skyformer", "taylor2",
		                             "lightning", "uniform", "performer", "rfa" };
	const char *why;

	(void)state;
	for (size_t ranks = 2; ranks <= 4; ranks++) {
		struct team *team = team_create(ranks, NULL, &why);
		assert_non_null(team);
		for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
			for (int causal = 0; causal < 2; causal++) {
				unsigned form = causal ? ATTN_CAUSAL : ATTN_BIDIRECTIONAL;
				if (!(attn_find(names[i])->flags & form))
					continue;
				struct head h = head_of(names[i], "", 700, 700, 40, 40, causal, 0.3);
				float *alone = take(elements(&h) * sizeof *alone);
				run(&h);
				memcpy(alone, h.out, elements(&h) * sizeof *alone);
				run_on(&h, team);
				assert_below(distance(h.out, alone, elements(&h)), 3e-6, names[i]);
				free(alone);
				head_free(&h);
			}
		}
		team_destroy(team);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_gla_constant_gate),
		cmocka_unit_test(test_gla_strong_gates),
		cmocka_unit_test(test_lightning_is_retention),
		cmocka_unit_test(test_lightning_slopes),
		cmocka_unit_test(test_deltanet_memory),
		cmocka_unit_test(test_skyformer_limit),
		cmocka_unit_test(test_pooled_piecewise_constant),
		cmocka_unit_test(test_aft_without_bias),
		cmocka_unit_test(test_rising_keys),
		cmocka_unit_test(test_fnet_direct),
		cmocka_unit_test(test_fnet_lengths),
		cmocka_unit_test(test_teams),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
