/* SPDX-License-Identifier: BSD-3-Clause
 *
 * routing and clustered: who belongs to a cluster, who is left out, what the
 * improved form gains. And k-means itself. */
#include "attend.h"

#include "../attention/engine/kmeans.h"

/* Rows of zeros are counted; each balanced cluster has w queries and w keys. */
static void test_coverage(void **state)
{
	const size_t n = 120;
	static const char *const arguments[] = { "kc=6", "kc=6:w=5", "kc=6:membership=argmax", "kc=1" };

	(void)state;
	for (size_t a = 0; a < 4; a++) {
		struct head h = head_new("routing", arguments[a], n, n, 16, n, false, a);
		double uncovered = 0;
		head_identity(&h);
		head_run(&h);
		for (size_t i = 0; i < n; i++) {
			double sum = 0;
			for (size_t j = 0; j < n; j++)
				sum += head_weight(&h, i, j);
			assert_true(sum == 0 || fabs(sum - 1) < 1e-5);
			uncovered += sum == 0;
		}
		assert_true(h.stats.clamped_rows == uncovered);
		if (a == 0)
			assert_true(h.stats.pairs == 6 * 20 * 20 && uncovered > 0);
		if (a == 1)
			assert_true(h.stats.pairs == 6 * 5 * 5 && uncovered >= (double)n - 30);
		if (a == 3)
			assert_true(uncovered == 0);
		head_free(&h);
	}
}

/* The sum over keys of |A - P|, for each row the improved form is not farther. */
static void test_improved_is_not_worse(void **state)
{
	const size_t n = 150;
	static const char *const forms[] = { "c=8:topk_keys=0", "c=8:topk_keys=10", "c=8:topk_keys=60" };
	double *distance = calloc(3 * n, sizeof *distance), total[3] = { 0 };

	(void)state;
	for (size_t f = 0; f < 3; f++) {
		struct head h = head_new("clustered", forms[f], n, n, 16, n, false, 5);
		head_identity(&h);
		head_run(&h);
		double *exact = head_oracle_with(&h, "full", NULL);
		for (size_t i = 0; i < n; i++) {
			for (size_t j = 0; j < n; j++)
				distance[f * n + i] += fabs(head_weight(&h, i, j) - exact[i * n + j]);
			total[f] += distance[f * n + i];
			assert_true(f == 0 || distance[f * n + i] <= distance[i] + 1e-5);
		}
		free(exact);
		head_free(&h);
	}
	assert_true(total[2] < total[1] && total[1] < total[0]);
	free(distance);
}

/* As many groups as queries: each is its own mean. */
static void test_a_group_a_query(void **state)
{
	static const char *const forms[] = { "c=90:topk_keys=0", "c=90:topk_keys=7", "c=200:topk_keys=0:iters=0" };

	(void)state;
	for (size_t f = 0; f < 3; f++) {
		struct head h = head_new("clustered", forms[f], 90, 70, 16, 24, false, 6);
		head_run(&h);
		double *exact = head_oracle_with(&h, "full", NULL);
		assert_true(head_error(&h, exact) <= 2e-6);
		free(exact);
		head_free(&h);
	}
}

enum { POINTS = 500, D = 12, CENTRES = 7 };

struct clustering {
	struct kmeans km;
	float *x;
	uint32_t member[POINTS];
	void *shared, *scratch;
};

static void cluster(struct clustering *c, const struct attn_call *call, bool spherical, size_t iterations)
{
	static const uint32_t first[CENTRES] = { 3, 50, 111, 240, 300, 301, 499 };
	struct attn_team alone = { .size = 1 };

	c->shared = head_alloc(kmeans_shared_bytes(CENTRES, D, POINTS, 1));
	c->scratch = head_alloc(kmeans_scratch_bytes(CENTRES, D));
	c->km = (struct kmeans){ .call = call, .count = CENTRES, .d = D, .iterations = iterations,
		                 .spherical = spherical, .set = { { .x = c->x, .ldx = D, .n = POINTS, .member = c->member } } };
	kmeans_init(&c->km, 1, c->shared, c->scratch);
	kmeans_run(&c->km, &alone, first);
}

/* Sum of squared distances, or of 1 - cosine: what an iteration lowers. */
static double objective(const struct clustering *c)
{
	double sum = 0;

	for (size_t i = 0; i < POINTS; i++) {
		const double *centre = c->km.centre + c->member[i] * D;
		double dot = 0, square = 0, apart = 0;
		for (size_t e = 0; e < D; e++) {
			double x = (double)c->x[i * D + e];
			dot += x * centre[e];
			square += x * x;
			apart += (x - centre[e]) * (x - centre[e]);
		}
		sum += c->km.spherical ? 1 - dot / sqrt(square) : apart;
	}
	return sum;
}

static void test_kmeans(void **state)
{
	const struct attn_call call = { .kern = attn_kern_best() };
	struct clustering c = { .x = head_alloc(POINTS * D * sizeof(float)) };

	(void)state;
	attn_random_normals(1, 1, 0, POINTS * D, c.x);
	for (int spherical = 0; spherical < 2; spherical++) {
		double last = INFINITY;
		for (size_t iterations = 0; iterations <= 60; iterations += 4) {
			cluster(&c, &call, spherical, iterations);
			double now = objective(&c);
			assert_true(now <= last);
			last = now;
			free(c.shared);
			free(c.scratch);
		}
		/* At rest: every centre is the mean, or the direction, of its members. */
		cluster(&c, &call, spherical, 1000);
		for (size_t u = 0; u < CENTRES; u++) {
			double sum[D] = { 0 }, members = 0, square = 0;
			for (size_t i = 0; i < POINTS; i++) {
				double length = 0;
				for (size_t e = 0; e < D; e++)
					length += (double)c.x[i * D + e] * (double)c.x[i * D + e];
				for (size_t e = 0; c.member[i] == u && e < D; e++)
					sum[e] += (double)c.x[i * D + e] / (spherical ? sqrt(length) : 1);
				members += c.member[i] == u;
			}
			assert_true(members > 0);
			for (size_t e = 0; e < D; e++)
				square += sum[e] * sum[e];
			for (size_t e = 0; e < D; e++)
				assert_true(fabs(c.km.centre[u * D + e] -
				                 sum[e] / (spherical ? sqrt(square) : members)) < 1e-12);
		}
		free(c.shared);
		free(c.scratch);
	}
	free(c.x);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_coverage),
		cmocka_unit_test(test_improved_is_not_worse),
		cmocka_unit_test(test_a_group_a_query),
		cmocka_unit_test(test_kmeans),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
