/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Generated inputs: an element depends on nothing but its key, and each kind
 * has the statistics that it is named for. Bounds of random quantities are 5
 * standard errors, and the seed is fixed.
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

#include "../datasets/data.h"
#include "../datasets/regime.h"

enum { SEED = 20240607 };

static const char *const generated[] = {
	"gauss:sigma=2", "ar1:rho=0.9", "clustered:C=5:r=0.2", "local", "sink", "needle", "unit",
	"heavy:nu=4", "outlier:c=3", "lowrank:r=5",
};
enum { GENERATED = sizeof(generated) / sizeof(generated[0]) };

struct head {
	size_t n_q, n_k, d, d_v;
	float *q, *k, *v;
};

static struct data parse(const char *spec)
{
	char error[DATA_ERROR_MAX] = "";
	struct data data;

	if (!data_parse(spec, &data, error))
		fail_msg("%s: %s", spec, error);
	return data;
}

static struct head fill_at(const char *spec, size_t n_q, size_t n_k, size_t d, size_t d_v, uint64_t seed,
                           size_t batch, size_t head)
{
	struct data_shape shape = { batch + 1, head + 1, n_q, n_k, d, d_v };
	struct head h = { n_q, n_k, d, d_v, NULL, NULL, NULL };
	struct data data = parse(spec);
	char error[DATA_ERROR_MAX] = "";

	h.q = malloc(n_q * d * sizeof(float));
	h.k = malloc(n_k * d * sizeof(float));
	h.v = malloc(n_k * d_v * sizeof(float));
	assert_true(h.q && h.k && h.v);
	if (!data_check(&data, &shape, error) || !data_fill(&data, &shape, seed, batch, head, h.q, h.k, h.v, error))
		fail_msg("%s: %s", spec, error);
	return h;
}

static struct head fill(const char *spec, size_t n, size_t d)
{
	return fill_at(spec, n, n, d, d, SEED, 0, 0);
}

static void release(struct head *h)
{
	free(h->q);
	free(h->k);
	free(h->v);
}

static void shorter_is_a_prefix(void **state)
{
	(void)state;
	for (size_t i = 0; i < GENERATED; i++) {
		struct head whole = fill_at(generated[i], 200, 300, 24, 7, SEED, 0, 1);
		struct head part = fill_at(generated[i], 37, 90, 24, 7, SEED, 0, 1);

		assert_memory_equal(whole.q, part.q, 37 * 24 * sizeof(float));
		assert_memory_equal(whole.k, part.k, 90 * 24 * sizeof(float));
		assert_memory_equal(whole.v, part.v, 90 * 7 * sizeof(float));
		for (size_t c = 0; c < 200 * 24; c++)
			assert_true(isfinite(whole.q[c]) && isfinite(whole.k[c]));
		release(&whole);
		release(&part);
	}
}

static double correlation(const float *x, const float *y, size_t n)
{
	double xy = 0, xx = 0, yy = 0;

	for (size_t i = 0; i < n; i++) {
		xy += (double)x[i] * (double)y[i];
		xx += (double)x[i] * (double)x[i];
		yy += (double)y[i] * (double)y[i];
	}
	return xy / sqrt(xx * yy);
}

static void keys_differ(void **state)
{
	const size_t n = 64, d = 16;

	(void)state;
	for (size_t i = 0; i < GENERATED; i++) {
		struct head here = fill_at(generated[i], n, n, d, d, SEED, 0, 0);
		struct head again = fill_at(generated[i], n, n, d, d, SEED, 0, 0);
		struct head others[] = {
			fill_at(generated[i], n, n, d, d, SEED + 1, 0, 0),
			fill_at(generated[i], n, n, d, d, SEED, 1, 0),
			fill_at(generated[i], n, n, d, d, SEED, 0, 1),
		};

		assert_memory_equal(here.q, again.q, n * d * sizeof(float));
		assert_memory_equal(here.k, again.k, n * d * sizeof(float));
		assert_memory_equal(here.v, again.v, n * d * sizeof(float));
		for (size_t o = 0; o < 3; o++) {
			assert_memory_not_equal(here.q, others[o].q, d * sizeof(float));
			assert_memory_not_equal(here.k, others[o].k, d * sizeof(float));
			assert_memory_not_equal(here.v, others[o].v, d * sizeof(float));
			release(&others[o]);
		}
		release(&here);
		release(&again);
	}
}

static void streams_are_independent(void **state)
{
	const size_t n = 512, d = 32;
	struct head a = fill("gauss", n, d), b = fill_at("gauss", n, n, d, d, SEED, 0, 1),
	            c = fill_at("gauss", n, n, d, d, SEED, 1, 0), other = fill_at("gauss", n, n, d, d, SEED + 1, 0, 0);
	const float *const pairs[][2] = {
		{ a.q, a.k }, { a.q, a.v }, { a.k, a.v }, { a.q, b.q }, { a.q, c.q }, { b.q, c.q }, { a.q, other.q },
		{ a.q, a.q + d }, { b.k, c.v },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++)
		assert_true(fabs(correlation(pairs[i][0], pairs[i][1], (n - 1) * d)) < 5 / sqrt((double)(n * d)));
	release(&a);
	release(&b);
	release(&c);
	release(&other);
}

static void moments(const float *x, size_t n, double *mean, double *var)
{
	double sum = 0, squares = 0;

	for (size_t i = 0; i < n; i++)
		sum += (double)x[i];
	*mean = sum / (double)n;
	for (size_t i = 0; i < n; i++)
		squares += ((double)x[i] - *mean) * ((double)x[i] - *mean);
	*var = squares / (double)n;
}

static double dot(const float *x, const float *y, size_t d)
{
	double sum = 0;

	for (size_t c = 0; c < d; c++)
		sum += (double)x[c] * (double)y[c];
	return sum;
}

/* Logits of disjoint pairs (q_i, k_i): independent, with variance sigma^2 and
 * excess kurtosis 6/d, so the variance of n has error sigma^2 sqrt((2+6/d)/n). */
static void gauss_logits(void **state)
{
	static const double sigmas[] = { 0.1, 1, 4 };
	static const size_t sizes[] = { 16, 64 };
	const size_t n = 4096;

	(void)state;
	for (size_t s = 0; s < 3; s++)
		for (size_t j = 0; j < 2; j++) {
			size_t d = sizes[j];
			char spec[32];
			struct head h;
			float *logit = malloc(n * sizeof(float));
			double mean, var, want = sigmas[s] * sigmas[s];

			assert_non_null(logit);
			snprintf(spec, sizeof(spec), "gauss:sigma=%g", sigmas[s]);
			h = fill(spec, n, d);
			for (size_t i = 0; i < n; i++)
				logit[i] = (float)(dot(h.q + i * d, h.k + i * d, d) / sqrt((double)d));
			moments(logit, n, &mean, &var);
			assert_true(fabs(mean) < 5 * sigmas[s] / sqrt((double)n));
			assert_true(fabs(var - want) < 5 * want * sqrt((2 + 6 / (double)d) / (double)n));
			moments(h.v, n * d, &mean, &var);
			assert_true(fabs(var - 1) < 5 * sqrt(2 / (double)(n * d)));
			release(&h);
			free(logit);
		}
}

/* Over many channels: variance 1 at the first token and at a late one, and
 * correlation rho^k at distance k, whose error is at most (1 - rho^2k) / sqrt(m). */
static void ar1_is_stationary(void **state)
{
	const size_t d = 16384, n = 33;
	struct head h = fill_at("ar1:rho=0.9", n, n, d, 1, SEED, 0, 0);
	double mean, var;

	(void)state;
	for (size_t t = 0; t < n; t += n - 1) {
		moments(h.q + t * d, d, &mean, &var);
		assert_true(fabs(var - 1) < 5 * sqrt(2 / (double)d));
	}
	for (size_t lag = 1; lag <= 32; lag *= 2) {
		double want = pow(0.9, (double)lag);

		assert_true(fabs(correlation(h.q, h.q + lag * d, d) - want) < 5 * (1 - want * want) / sqrt((double)d));
	}
	assert_true(fabs(correlation(h.q, h.k, n * d)) < 5 * sqrt(19.0 / (double)(n * d))); /* (1+r^2)/(1-r^2) < 19 */
	release(&h);
}

/* Softmax of one query at scale 1/sqrt(d), into p[0..n_k). */
static void weights(const struct head *h, size_t i, double *p)
{
	double max = -INFINITY, sum = 0;

	for (size_t j = 0; j < h->n_k; j++) {
		p[j] = dot(h->q + i * h->d, h->k + j * h->d, h->d) / sqrt((double)h->d);
		max = fmax(max, p[j]);
	}
	for (size_t j = 0; j < h->n_k; j++)
		sum += p[j] = exp(p[j] - max);
	for (size_t j = 0; j < h->n_k; j++)
		p[j] /= sum;
}

/* Mean H / ln n of exact attention. */
static double entropy_ratio(const struct head *h)
{
	double *p = malloc(h->n_k * sizeof(*p)), sum = 0;

	assert_non_null(p);
	for (size_t i = 0; i < h->n_q; i++) {
		weights(h, i, p);
		for (size_t j = 0; j < h->n_k; j++)
			sum -= p[j] > 0 ? p[j] * log(p[j]) : 0;
	}
	free(p);
	return sum / ((double)h->n_q * log((double)h->n_k));
}

/* The regime of each kind at n = 512, d = 64, with room for the draw of one
 * head; gauss is ln n - sigma^2 / 2 to first order. */
static void entropies(void **state)
{
	static const struct {
		const char *spec;
		double low, high;
	} kinds[] = {
		{ "gauss:sigma=0.3", 0.985, 1 }, { "gauss:sigma=1", 0.90, 0.94 }, { "gauss:sigma=3", 0.43, 0.53 },
		{ "ar1:rho=0.99", 0.86, 0.97 },  { "local", 0.30, 0.38 },         { "clustered", 0.48, 0.56 },
		{ "sink", 0.32, 0.46 },          { "needle", 0.86, 0.94 },        { "unit", 0.9999, 1 },
		{ "gauss:sigma=0", 0.9999999, 1.0000001 }, { "heavy", 0.6, 0.93 }, { "outlier", 0.90, 0.94 },
		{ "lowrank", 0.90, 0.94 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		struct head h = fill(kinds[i].spec, 512, 64);
		double ratio = entropy_ratio(&h);

		if (!(kinds[i].low <= ratio && ratio <= kinds[i].high))
			fail_msg("%s: H / ln n = %.4f is not in [%g, %g]", kinds[i].spec, ratio, kinds[i].low, kinds[i].high);
		release(&h);
	}
}

/* The wanted entropy, within what the draw of two heads moves it. */
static void wanted_entropies(void **state)
{
	static const double ratios[] = { 0.1, 0.3, 0.5, 0.7, 0.9, 0.99 };
	static const size_t shapes[][2] = { { 128, 64 }, { 512, 16 }, { 512, 64 } };

	(void)state;
	for (size_t s = 0; s < 3; s++)
		for (size_t i = 0; i < sizeof(ratios) / sizeof(ratios[0]); i++) {
			char spec[32];
			double ratio = 0;

			snprintf(spec, sizeof(spec), "logits:H=%g", ratios[i]);
			for (size_t head = 0; head < 2; head++) {
				size_t n = shapes[s][0], d = shapes[s][1];
				struct head h = fill_at(spec, n, n, d, d, SEED, 0, head);

				ratio += entropy_ratio(&h) / 2;
				release(&h);
			}
			if (!(fabs(ratio - ratios[i]) < 0.02))
				fail_msg("%s: H / ln n = %.4f at n = %zu, d = %zu", spec, ratio, shapes[s][0], shapes[s][1]);
		}
}

/* The expected entropy against ln n - sigma^2 / 2, its limits, and the sigma
 * found from it. */
static void regimes(void **state)
{
	static const size_t lengths[] = { 2, 3, 31, 32, 33, 65, 1024, 1 << 20 };

	(void)state;
	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		size_t n = lengths[i];
		double before = 1;

		assert_true(fabs(regime_ratio(0, n, 64) - 1) < 1e-9);
		for (double sigma = 0.1; sigma < 100; sigma *= 1.5) {
			double ratio = regime_ratio(sigma, n, 64);

			assert_true(ratio > 0 && ratio < before);
			before = ratio;
		}
		for (double ratio = 0.05; ratio < 1; ratio += 0.13) {
			double sigma = regime_sigma(ratio, n, 64);

			assert_true(fabs(regime_ratio(sigma, n, 64) - ratio) < 1e-6);
		}
		assert_true(regime_sigma(1, n, 64) == 0);
	}
	assert_true(regime_ratio(5, 1, 64) == 1 && regime_sigma(0.5, 1, 64) == 0 && regime_sigma(0.5, 0, 64) == 0);
	for (double sigma = 0.1; sigma < 1.5; sigma += 0.2) {
		double n = 1 << 20, want = (log(n) - sigma * sigma / 2) / log(n);

		assert_true(fabs(regime_ratio(sigma, 1 << 20, 4096) - want) < 2e-3);
	}
}

/* Student's t with nu = 5, kurtosis 9: the variance is wanted, whose error is
 * sqrt(8 / n), and tails beyond 6 standard deviations, of which normals have
 * none: P(|t| > 6 sqrt(5 / 3)) = 6e-4. */
static void heavy_tails(void **state)
{
	const size_t n = 4096, d = 16;
	struct head h = fill("heavy:nu=5:sigma=2", n, d);
	double mean, var, far = 0;

	(void)state;
	moments(h.k, n * d, &mean, &var);
	assert_true(fabs(mean) < 5 * sqrt(2.0 / (double)(n * d)));
	assert_true(fabs(var - 2) < 5 * 2 * sqrt(8.0 / (double)(n * d)));
	for (size_t i = 0; i < n * d; i++)
		far += fabs((double)h.k[i]) > 6 * sqrt(2) ? 1 : 0;
	assert_true(far / (double)(n * d) > 3e-4 && far / (double)(n * d) < 1.2e-3);
	release(&h);
}

/* In c channels keys have the same large number more: attention is that of
 * gauss(1), though the keys are far from it. */
static void outliers(void **state)
{
	const size_t n = 256, d = 16;
	struct head h = fill("outlier:c=3:gain=20", n, d);
	size_t found = 0;

	(void)state;
	for (size_t c = 0; c < d; c++) {
		double mean = 0, var = 0;

		for (size_t t = 0; t < n; t++)
			mean += (double)h.k[t * d + c] / (double)n;
		for (size_t t = 0; t < n; t++)
			var += pow((double)h.k[t * d + c] - mean, 2) / (double)n;
		assert_true(fabs(var - 1) < 5 * sqrt(2 / (double)n));
		if (fabs(mean) > 1) {
			assert_true(fabs(fabs(mean) - 20) < 5 / sqrt((double)n));
			found++;
		}
	}
	assert_int_equal(found, 3);
	release(&h);
}

/* Rows of q and k lie in one space of r dimensions: of r + 1 rows the last is a
 * combination of the others. Logits have the standard deviation sigma. */
static void low_rank(void **state)
{
	enum { R = 3 };
	const size_t n = 2048, d = 32;
	struct head h = fill("lowrank:r=3:sigma=2", n, d);
	double basis[R][32], mean, var;
	float *logit = malloc(n * sizeof(float));

	(void)state;
	assert_non_null(logit);
	for (size_t i = 0; i < n + R; i++) { /* Gram-Schmidt: the first rows of q, then all of k */
		const float *x = i < R ? h.q + i * d : h.k + (i - R) * d;
		double rest[32], size = dot(x, x, d), left = 0;

		for (size_t c = 0; c < d; c++)
			rest[c] = (double)x[c];
		for (size_t b = 0; b < (i < R ? i : R); b++) {
			double along = 0;

			for (size_t c = 0; c < d; c++)
				along += basis[b][c] * rest[c];
			for (size_t c = 0; c < d; c++)
				rest[c] -= along * basis[b][c];
		}
		for (size_t c = 0; c < d; c++)
			left += rest[c] * rest[c];
		if (i < R)
			for (size_t c = 0; c < d; c++)
				basis[i][c] = rest[c] / sqrt(left);
		else
			assert_true(left < 1e-10 * size);
	}
	for (size_t i = 0; i < n; i++)
		logit[i] = (float)(dot(h.q + i * d, h.k + i * d, d) / sqrt((double)d));
	moments(logit, n, &mean, &var);
	assert_true(fabs(var - 4) < 5 * 4 * sqrt((2 + 6.0 / R) / (double)n));
	release(&h);
	free(logit);
}

/* Without scatter there are C different rows, in keys and values together, and
 * queries come from the same centres; all of them are used. */
static void clusters(void **state)
{
	const size_t n = 400, d = 8, centres = 5;
	struct head h = fill("clustered:C=5:r=0", n, d);
	size_t first[5], found = 0;

	(void)state;
	for (size_t t = 0; t < n; t++) {
		size_t c = 0;

		while (c < found && memcmp(h.k + t * d, h.k + first[c] * d, d * sizeof(float)) != 0)
			c++;
		if (c == found) {
			assert_true(found < centres);
			first[found++] = t;
		}
		assert_memory_equal(h.v + t * d, h.v + first[c] * d, d * sizeof(float));
	}
	assert_int_equal(found, centres);
	for (size_t t = 0; t < n; t++) {
		size_t c = 0;

		while (c < found && memcmp(h.q + t * d, h.k + first[c] * d, d * sizeof(float)) != 0)
			c++;
		assert_true(c < found);
	}
	release(&h);
}

static void units(void **state)
{
	struct head h = fill("unit", 100, 24);

	(void)state;
	for (size_t t = 0; t < 100; t++) {
		assert_true(fabs(dot(h.q + t * 24, h.q + t * 24, 24) - 1) < 1e-6);
		assert_true(fabs(dot(h.k + t * 24, h.k + t * 24, 24) - 1) < 1e-6);
	}
	release(&h);
}

/* Weight near the diagonal, on the first key, and on the needles. */
static void structure(void **state)
{
	const size_t n = 512, d = 64;
	struct head local = fill("local", n, d), sink = fill("sink", n, d);
	double p[512], near = 0, first = 0;

	(void)state;
	for (size_t i = 0; i < n; i++) {
		weights(&local, i, p);
		for (size_t j = i < 16 ? 0 : i - 16; j < n && j <= i + 16; j++)
			near += p[j] / (double)n;
		weights(&sink, i, p);
		first += p[0] / (double)n;
	}
	assert_true(near > 0.9);
	assert_true(first > 0.4 && first < 0.8);
	assert_true(dot(sink.v, sink.v, d) < 0.05 * 0.05 * 2 * (double)d);
	release(&local);
	release(&sink);
}

static void needles(void **state)
{
	const size_t n = 1024, d = 64;
	struct head h = fill("needle:a=2", n, d);
	double p[1024], weight = 0;
	size_t found = 0;

	(void)state;
	for (size_t j = 0; j < n; j++)
		for (size_t i = 0; i < n; i++) {
			size_t c = 0;

			while (c < d && h.k[j * d + c] == 2 * h.q[i * d + c])
				c++;
			if (c < d)
				continue;
			/* A query finds its key, and not before it is there:
			 * its logit is 2 |q|^2 / 8, 16 +- 3, all others
			 * together weigh as much as one of ln(1024) + 1/2. */
			weights(&h, i, p);
			assert_true(i >= j);
			assert_true(p[j] > 0.5);
			weight += p[j];
			found++;
		}
	/* 16 keys; distances are log-uniform to 2^16, so about half are in reach. */
	assert_in_range(found, 4, 14);
	assert_true(weight / (double)found > 0.9);
	release(&h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(shorter_is_a_prefix),
		cmocka_unit_test(keys_differ),
		cmocka_unit_test(streams_are_independent),
		cmocka_unit_test(gauss_logits),
		cmocka_unit_test(ar1_is_stationary),
		cmocka_unit_test(entropies),
		cmocka_unit_test(wanted_entropies),
		cmocka_unit_test(regimes),
		cmocka_unit_test(heavy_tails),
		cmocka_unit_test(outliers),
		cmocka_unit_test(low_rank),
		cmocka_unit_test(clusters),
		cmocka_unit_test(units),
		cmocka_unit_test(structure),
		cmocka_unit_test(needles),
	};

	return cmocka_run_group_tests_name("gen", tests, NULL, NULL);
}
