/* SPDX-License-Identifier: BSD-3-Clause
 *
 * lsh against its target: softmax of q_i . k_j/|k_j| over the other tokens of one
 * shared matrix. With one chunk it is the target; test_traps.c has what rounds do.
 * And the hash behind it. */
#include "attend.h"

#include "../attention/engine/crosspoly.h"
#include "../attention/engine/tile.h"

/* n_q x d_v, freed by the caller. */
static double *target(const struct head *h)
{
	const struct attn_shape *s = &h->shape;
	double *out = calloc(s->n_q * s->d_v, sizeof *out);

	assert_non_null(out);
	for (size_t i = 0; i < s->n_q; i++) {
		double sum = 0, *row = out + i * s->d_v;
		for (size_t j = 0; j < s->n_k; j++) {
			double dot = 0, length = 0;
			bool only_self = s->n_k == 1 || (s->causal && i == 0);
			if ((s->causal && j > i) || (j == i && !only_self))
				continue;
			for (size_t e = 0; e < s->d; e++) {
				dot += (double)h->q[i * s->d + e] * (double)h->k[j * s->d + e];
				length += (double)h->k[j * s->d + e] * (double)h->k[j * s->d + e];
			}
			double w = exp(dot / sqrt(length)); /* |dot/length| <= |q| ~ sqrt d: no overflow */
			sum += w;
			for (size_t e = 0; e < s->d_v; e++)
				row[e] += w * (double)h->v[j * s->d_v + e];
		}
		for (size_t e = 0; e < s->d_v; e++)
			row[e] /= sum;
	}
	return out;
}

static double error_to_target(const char *arguments, size_t n, bool causal)
{
	struct head h = head_new("lsh", arguments, n, n, 32, 16, causal, 5);
	double *want, error;

	head_run(&h);
	want = target(&h);
	error = head_error(&h, want);
	free(want);
	head_free(&h);
	return error;
}

static void test_one_chunk_is_the_target(void **state)
{
	static const size_t lengths[] = { 1, 2, 16, 17, 67, 130 };
	static const char *const arguments[] = { "chunk=130:rounds=1", "chunk=130:rounds=3",
		                                 "chunk=130:rounds=3:dedup=0", "chunk=200:rounds=2:buckets=8" };

	(void)state;
	for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++)
		for (size_t a = 0; a < sizeof arguments / sizeof *arguments; a++)
			for (int causal = 0; causal < 2; causal++) {
				double error = error_to_target(arguments[a], lengths[i], causal);
				if (!(error <= 2e-6))
					fail_msg("%s, n = %zu, causal %d: %.2e from the target", arguments[a],
					         lengths[i], causal, error);
			}
}

/* Pairs are counted where they are computed: at most once each, never the self. */
static void test_pairs(void **state)
{
	const size_t n = 96;
	struct head h = head_new("lsh", "chunk=8:rounds=6", n, n, 16, n, false, 9);
	double seen = 0;

	(void)state;
	head_identity(&h);
	head_run(&h);
	for (size_t i = 0; i < n; i++) {
		assert_true(head_weight(&h, i, i) == 0);
		for (size_t j = 0; j < n; j++)
			seen += head_weight(&h, i, j) > 0;
	}
	assert_true(seen == h.stats.pairs);
	assert_true(seen > (double)(n * 15)); /* a round alone gives 2 chunks but the self */
	assert_true(seen < (double)(n * 6 * 15));
	head_free(&h);
}

/* Zero keys tie everywhere: bucket 0, equal weights, no NaN. */
static void test_zero_keys(void **state)
{
	struct head h = head_new("lsh", "chunk=8:rounds=2", 40, 40, 16, 16, true, 3);

	(void)state;
	memset(h.k + 5 * 16, 0, 20 * 16 * sizeof *h.k);
	memset(h.q + 5 * 16, 0, 20 * 16 * sizeof *h.q);
	head_run(&h);
	assert_true(head_own_error(&h) <= 2e-6);
	assert_memory_equal(h.out, h.v, 16 * sizeof *h.out); /* token 0 sees itself alone */
	head_free(&h);
}

static void hash_all(const float *x, size_t n, size_t d, size_t buckets, const float *r, uint32_t *bucket)
{
	const struct attn_shape shape = { .n_q = n, .n_k = n, .d = d, .d_v = 1, .scale = 1 };
	const struct attn_call call = { .shape = &shape, .kern = attn_kern_best() };
	struct crosspoly h = crosspoly_of(buckets, d);
	void *mem = head_alloc(crosspoly_bytes(h)), *tile_mem = head_alloc(tile_scratch_bytes(d, 1));
	struct crosspoly_tile t;
	struct tile tile;

	tile_init(&tile, &call, tile_mem, d, 1);
	crosspoly_init(&t, h, &call, &tile.k, mem);
	for (size_t i = 0; i < n; i += call.kern->lanes) {
		crosspoly_load(&t, x + i * d, d, n - i < call.kern->lanes ? n - i : call.kern->lanes);
		crosspoly_hash(&t, r, 100, bucket + i);
	}
	free(tile_mem);
	free(mem);
}

/* -x falls into the opposite bucket of each hash, 2 x into the bucket of x, and
 * buckets are used about evenly. */
static void test_hash(void **state)
{
	static const size_t buckets[] = { 2, 6, 128, 130, 1000 };
	enum { N = 2000, D = 24, COLUMNS = 64 };
	float *x = head_alloc(3 * N * D * sizeof *x), *r = head_alloc(COLUMNS * D * sizeof *r);
	uint32_t *bucket = head_alloc(3 * N * sizeof *bucket);

	(void)state;
	attn_random_normals(1, 1, 0, N * D, x);
	attn_random_normals(1, 2, 0, COLUMNS * D, r);
	for (size_t i = 0; i < N * D; i++) {
		x[N * D + i] = -x[i];
		x[2 * N * D + i] = 2 * x[i];
	}
	for (size_t b = 0; b < sizeof buckets / sizeof *buckets; b++) {
		struct crosspoly h = crosspoly_of(buckets[b], D);
		size_t used[2048] = { 0 };
		assert_true(crosspoly_buckets(h) >= buckets[b]);
		assert_true(crosspoly_columns(h) <= COLUMNS);
		hash_all(x, 3 * N, D, buckets[b], r, bucket);
		for (size_t i = 0; i < N; i++) {
			size_t here = bucket[i], there = bucket[N + i], half = h.first / 2;
			assert_true(here < crosspoly_buckets(h));
			assert_true(bucket[2 * N + i] == here);
			assert_true(there % h.first == (here % h.first + half) % h.first);
			if (h.second > 1)
				assert_true(there / h.first == (here / h.first + h.second / 2) % h.second);
			used[here]++;
		}
		for (size_t u = 0; u < h.first * h.second && buckets[b] <= 6; u++)
			assert_true(used[u] > N / buckets[b] / 3);
	}
	free(bucket);
	free(r);
	free(x);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one_chunk_is_the_target),
		cmocka_unit_test(test_pairs),
		cmocka_unit_test(test_zero_keys),
		cmocka_unit_test(test_hash),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
