/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Every slot of every kernel table that this CPU can run, against sums in
 * double over lengths nobody would choose, unaligned, between canaries. Bounds
 * are derived, not tuned: a sum of n products in any order is within n u of
 * the sum of their magnitudes (Higham, Accuracy and Stability, 3.1).
 *
 * The seed is printed; KERN_SEED=n repeats a run. With --bench: what each slot
 * costs, its share of the FMA peak, its factor over the scalar definition. */
#include "../attention/kernels/kern.h"

#include "../attention/attn.h"

#include <float.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#define UNIT (FLT_EPSILON / 2) /* unit roundoff */
/* Relative error of 2^f and e^f: the polynomial's 9.2e-8 and its roundings. */
#define EXP_ERROR 4e-7
#define CANARY 12345.678f

static uint64_t seed;
static uint64_t drawn;

/* Uniform in [-a, a]. */
static float draw(double a)
{
	return (float)(a * (2 * attn_random_uniform(seed, 1, drawn++) - 1));
}

/* n floats, `offset` floats past an aligned address, between canaries. */
struct buffer {
	float *all, *x;
	size_t n, offset;
};

static struct buffer buffer_new(size_t n, size_t offset, double a)
{
	struct buffer b = { .n = n, .offset = offset };

	b.all = aligned_alloc(64, ((n + 96) * sizeof(float) + 63) / 64 * 64);
	assert_non_null(b.all);
	b.x = b.all + 16 + offset;
	for (size_t i = 0; i < n + 48; i++)
		b.all[i] = CANARY;
	for (size_t i = 0; i < n; i++)
		b.x[i] = draw(a);
	return b;
}

static void buffer_free(struct buffer *b)
{
	for (size_t i = 0; i < 16 + b->offset; i++)
		assert_true(b->all[i] == CANARY);
	for (size_t i = 0; i < 16; i++)
		assert_true(b->x[b->n + i] == CANARY);
	free(b->all);
}

static const struct kern *kern_of(void **state)
{
	return *state;
}

static void assert_near(double got, double want, double bound, const char *what, size_t n)
{
	if (!(fabs(got - want) <= bound))
		fail_msg("%s, n = %zu: got %.9g, want %.9g, allowed %.3g off", what, n, got, want, bound);
}

static const size_t lengths[] = { 0,  1,  2,  3,  4,  5,  7,  8,  9,  15, 16, 17,  23,  31,   32,
	                          33, 47, 48, 49, 63, 64, 65, 66, 67, 95, 97, 127, 128, 129, 1000 };
enum { LENGTHS = sizeof lengths / sizeof *lengths };

static void test_sums(void **state)
{
	const struct kern *kern = kern_of(state);

	for (size_t l = 0; l < LENGTHS; l++) {
		for (size_t offset = 0; offset < 4; offset++) {
			size_t n = lengths[l];
			struct buffer x = buffer_new(n, offset, 2), y = buffer_new(n, 3 - offset, 2);
			double dot = 0, sum = 0, dot_size = 0, sum_size = 0, max = KERN_NO_MAX;
			for (size_t i = 0; i < n; i++) {
				double p = (double)x.x[i] * (double)y.x[i];
				dot += p;
				dot_size += fabs(p);
				sum += (double)x.x[i];
				sum_size += fabs((double)x.x[i]);
				max = fmax(max, (double)x.x[i]);
			}
			double u = (double)(n + 1) * UNIT;
			assert_near((double)kern->dot(x.x, y.x, n), dot, u * dot_size, "dot", n);
			assert_near((double)kern->sum(x.x, n), sum, u * sum_size, "sum", n);
			assert_true((double)kern->max(x.x, n) == max);
			buffer_free(&x);
			buffer_free(&y);
		}
	}
}

static void test_elementwise(void **state)
{
	const struct kern *kern = kern_of(state);

	for (size_t l = 0; l < LENGTHS; l++) {
		size_t n = lengths[l], offset = l % 4;
		struct buffer x = buffer_new(n, offset, 30), y = buffer_new(n, 3 - offset, 30);
		struct buffer z = buffer_new(n, 0, 1);
		float a = draw(3), shift = draw(5);
		double sum = 0;
		memcpy(z.x, y.x, n * sizeof(float));
		kern->axpy(z.x, a, x.x, n);
		for (size_t i = 0; i < n; i++) {
			double p = (double)a * (double)x.x[i], want = p + (double)y.x[i];
			assert_near((double)z.x[i], want, UNIT * (fabs(p) + fabs(want)), "axpy", n);
		}
		memcpy(z.x, x.x, n * sizeof(float));
		kern->scale(z.x, a, n);
		for (size_t i = 0; i < n; i++)
			assert_true(z.x[i] == x.x[i] * a);
		float got = kern->exp_shift(z.x, x.x, shift, n);
		for (size_t i = 0; i < n; i++) {
			double want = exp((double)(x.x[i] - shift));
			sum += want;
			assert_near((double)z.x[i], want, EXP_ERROR * want, "exp_shift", n);
		}
		assert_near((double)got, sum, (EXP_ERROR + (double)n * UNIT) * sum, "sum of exp", n);
		kern->elu1(z.x, x.x, n);
		for (size_t i = 0; i < n; i++) {
			double v = (double)x.x[i], want = v > 0 ? v + 1 : exp(v);
			assert_near((double)z.x[i], want, (EXP_ERROR + 2 * fabs(v) * UNIT) * want, "elu1", n);
		}
		kern->affine(z.x, x.x, a, shift, n);
		for (size_t i = 0; i < n; i++) {
			double p = (double)a * (double)x.x[i], want = p + (double)shift;
			assert_near((double)z.x[i], want, UNIT * (fabs(p) + fabs(want)), "affine", n);
		}
		kern->relu(z.x, x.x, a, shift, n);
		for (size_t i = 0; i < n; i++) {
			double p = (double)a * fmax((double)x.x[i], 0), want = p + (double)shift;
			assert_near((double)z.x[i], want, UNIT * (fabs(p) + fabs(want)), "relu", n);
		}
		memcpy(z.x, y.x, n * sizeof(float));
		kern->raise(z.x, x.x, n);
		for (size_t i = 0; i < n; i++)
			assert_true(z.x[i] == fmaxf(x.x[i], y.x[i]));
		kern->mul(z.x, x.x, y.x, n);
		for (size_t i = 0; i < n; i++)
			assert_true(z.x[i] == x.x[i] * y.x[i]);
		kern->div(z.x, x.x, y.x, n);
		for (size_t i = 0; i < n; i++)
			assert_true(z.x[i] == x.x[i] / y.x[i]);
		buffer_free(&x);
		buffer_free(&y);
		buffer_free(&z);
	}
}

/* The corners of the exponential: exact at 0, 0 far below, NaN stays NaN. */
static void test_exp_corners(void **state)
{
	const struct kern *kern = kern_of(state);
	float x[19] = { 0, -0.0f, -87, -88, -105, -1e30f, KERN_MASKED, 0, 0, 1, 80, 88, NAN,
		        -1e-30f, 1e-8f, -INFINITY, 0, 0, NAN };
	float y[19];

	kern->exp_shift(y, x, 0, 19);
	assert_true(y[0] == 1 && y[1] == 1 && y[13] == 1);
	assert_true(y[4] == 0 && y[5] == 0 && y[6] == 0 && y[15] == 0);
	assert_true(isnan(y[12]) && isnan(y[18]));
	assert_near((double)y[2], exp(-87), EXP_ERROR * exp(-87), "exp(-87)", 1);
	assert_near((double)y[11], exp(88), EXP_ERROR * exp(88), "exp(88)", 1);
}

static void test_pairs(void **state)
{
	const struct kern *kern = kern_of(state);

	for (size_t d = 1; d < 70; d++) {
		struct buffer x = buffer_new(d, d % 4, 2), y = buffer_new(d * (d + 1) / 2, d % 3, 1);
		const float *at = y.x;
		kern->pairs(y.x, x.x, 0.75f, d);
		for (size_t a = 0; a < d; a++) {
			for (size_t b = a; b < d; b++) {
				double want = (double)x.x[a] * (double)x.x[b] * (a == b ? 0.75 : 1);
				assert_near((double)*at++, want, 2 * UNIT * fabs(want), "pairs", d);
			}
		}
		buffer_free(&x);
		buffer_free(&y);
	}
}

static void test_sincos(void **state)
{
	const struct kern *kern = kern_of(state);

	for (size_t l = 0; l < LENGTHS; l++) {
		size_t n = lengths[l];
		struct buffer x = buffer_new(n, l % 4, l % 3 ? 10 : 1e4);
		struct buffer s = buffer_new(n, 3 - l % 4, 1), c = buffer_new(n, 0, 1);
		if (n > 2)
			x.x[0] = 0;
		kern->sincos(s.x, c.x, x.x, n);
		for (size_t i = 0; i < n; i++) {
			assert_near((double)s.x[i], sin((double)x.x[i]), 2e-7, "sin", n);
			assert_near((double)c.x[i], cos((double)x.x[i]), 2e-7, "cos", n);
		}
		kern->sincos(x.x, c.x, x.x, n); /* in place */
		assert_memory_equal(x.x, s.x, n * sizeof(float));
		buffer_free(&x);
		buffer_free(&s);
		buffer_free(&c);
	}
}

static void test_mm(void **state)
{
	const struct kern *kern = kern_of(state);
	static const size_t sizes[] = { 1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 40, 67 };

	for (size_t round = 0; round < 300; round++) {
		size_t m = sizes[round % 13], n = sizes[(round / 3 + 5) % 13], k = sizes[(round / 7 + 2) % 13];
		bool transposed = round % 2, accumulate = round / 2 % 2;
		size_t ldb = n + round % 5, ldc = n + round % 3, lda = (transposed ? m : k) + round % 4;
		struct buffer a = buffer_new(lda * (transposed ? k : m), round % 4, 1);
		struct buffer b = buffer_new(ldb * k, (round + 1) % 4, 1), c = buffer_new(ldc * m, round % 3, 1);
		float *before = malloc(ldc * m * sizeof(float));
		size_t rsa = transposed ? 1 : lda, csa = transposed ? lda : 1;
		memcpy(before, c.x, ldc * m * sizeof(float));
		kern->mm(c.x, ldc, a.x, rsa, csa, b.x, ldb, m, n, k, accumulate);
		for (size_t i = 0; i < m; i++) {
			for (size_t j = 0; j < ldc; j++) {
				double want = accumulate ? (double)before[i * ldc + j] : 0, size = fabs(want);
				if (j >= n) { /* between the rows nothing may change */
					assert_true(c.x[i * ldc + j] == before[i * ldc + j]);
					continue;
				}
				for (size_t l = 0; l < k; l++) {
					double p = (double)a.x[i * rsa + l * csa] * (double)b.x[l * ldb + j];
					want += p;
					size += fabs(p);
				}
				assert_near((double)c.x[i * ldc + j], want, (double)(k + 1) * UNIT * size, "mm", n);
			}
		}
		free(before);
		buffer_free(&a);
		buffer_free(&b);
		buffer_free(&c);
	}
}

static void test_rows(void **state)
{
	const struct kern *kern = kern_of(state);

	for (size_t m = 1; m < 40; m += 3) {
		for (size_t n = 1; n < 150; n += n / 2 + 1) {
			struct buffer a = buffer_new(m * (n + 1), m % 4, 1), x = buffer_new(n, n % 4, 1);
			struct buffer y = buffer_new(m, 1, 1), sum = buffer_new(n, 2, 1);
			float *before = malloc(n * sizeof *before);
			memcpy(before, sum.x, n * sizeof *before);
			kern->rows_dot(y.x, a.x, n + 1, m, x.x, n);
			kern->rows_add(sum.x, a.x, n + 1, m, n);
			for (size_t i = 0; i < m; i++) {
				double want = 0, size = 0;
				for (size_t j = 0; j < n; j++) {
					double p = (double)a.x[i * (n + 1) + j] * (double)x.x[j];
					want += p;
					size += fabs(p);
				}
				assert_near((double)y.x[i], want, (double)(n + 1) * UNIT * size, "rows_dot", n);
			}
			for (size_t j = 0; j < n; j++) {
				double want = (double)before[j], size = fabs(want);
				for (size_t i = 0; i < m; i++) {
					want += (double)a.x[i * (n + 1) + j];
					size += fabs((double)a.x[i * (n + 1) + j]);
				}
				assert_near((double)sum.x[j], want, (double)(m + 1) * UNIT * size, "rows_add", n);
			}
			free(before);
			buffer_free(&a);
			buffer_free(&x);
			buffer_free(&y);
			buffer_free(&sum);
		}
	}
}

static void test_transpose(void **state)
{
	const struct kern *kern = kern_of(state);

	for (size_t rows = 1; rows < 35; rows += 3) {
		for (size_t cols = 1; cols < 40; cols++) {
			struct buffer x = buffer_new(rows * (cols + 2), cols % 4, 1);
			struct buffer y = buffer_new(cols * (rows + 1), rows % 4, 1);
			kern->transpose(y.x, rows + 1, x.x, cols + 2, rows, cols);
			for (size_t i = 0; i < rows; i++)
				for (size_t j = 0; j < cols; j++)
					assert_true(y.x[j * (rows + 1) + i] == x.x[i * (cols + 2) + j]);
			buffer_free(&x);
			buffer_free(&y);
		}
	}
}

/* ---- tiles ---- */

struct tile_case {
	const struct kern *kern;
	struct kern_tile t;
	struct buffer q, k, v, out, bias;
	size_t rows, n, d, d_v;
	float factor;
	int32_t lo[KERN_MAX_LANES], hi[KERN_MAX_LANES];
	uint32_t bits[KERN_MAX_BLOCK * 2];
	bool banded, bitted, biased;
	float *work;
};

static struct tile_case tile_case_new(const struct kern *kern, size_t rows, size_t n, size_t d,
                                      size_t d_v, unsigned round)
{
	struct tile_case c = { .kern = kern, .rows = rows, .n = n, .d = d, .d_v = d_v };
	size_t lanes = kern->lanes, floats = (d + d_v + 2 + kern->block + 16) * lanes;

	c.factor = KERN_LOG2E / sqrtf((float)d);
	c.q = buffer_new(rows * (d + 1), round % 4, 2);
	c.k = buffer_new(n * (d + 2), (round + 1) % 4, 2);
	c.v = buffer_new(n * (d_v + 1), (round + 2) % 4, 2);
	c.out = buffer_new(rows * (d_v + 3), (round + 3) % 4, 2);
	c.bias = buffer_new(n, 0, 2);
	c.banded = round % 4 == 1;
	c.bitted = round % 4 == 2;
	c.biased = round % 3 == 1;
	for (size_t r = 0; r < lanes; r++) {
		c.lo[r] = (int32_t)(attn_random_uniform(seed, 2, drawn++) * (double)n) - 3;
		c.hi[r] = c.lo[r] + (int32_t)(attn_random_uniform(seed, 2, drawn++) * (double)n);
	}
	for (size_t j = 0; j < n; j++)
		c.bits[j] = (uint32_t)(attn_random_uniform(seed, 3, drawn++) * 65536);
	c.work = aligned_alloc(64, (floats * sizeof(float) + 63) / 64 * 64);
	c.t = (struct kern_tile){ .d = d, .d_v = d_v, .turns = 1 };
	c.t.q = c.work;
	c.t.acc = c.t.q + d * lanes;
	c.t.max = c.t.acc + d_v * lanes;
	c.t.sum = c.t.max + lanes;
	c.t.p = c.t.sum + lanes;
	return c;
}

static void tile_case_free(struct tile_case *c)
{
	buffer_free(&c->q);
	buffer_free(&c->k);
	buffer_free(&c->v);
	buffer_free(&c->out);
	buffer_free(&c->bias);
	free(c->work);
}

static bool tile_case_sees(const struct tile_case *c, size_t r, size_t j)
{
	if (c->banded)
		return (int32_t)j >= c->lo[r] && (int32_t)j < c->hi[r];
	return !c->bitted || (c->bits[j] >> r & 1);
}

/* The mask of a step from key j on; NULL where it hides nothing. */
struct step_mask {
	struct kern_mask mask;
	int32_t lo[KERN_MAX_LANES], hi[KERN_MAX_LANES];
};

static const struct kern_mask *tile_case_mask(const struct tile_case *c, size_t j, struct step_mask *m)
{
	m->mask = (struct kern_mask){ NULL, NULL, c->bitted ? c->bits + j : NULL };
	for (size_t r = 0; r < c->kern->lanes; r++) {
		m->lo[r] = c->lo[r] - (int32_t)j;
		m->hi[r] = c->hi[r] - (int32_t)j;
	}
	if (c->banded) {
		m->mask.lo = m->lo;
		m->mask.hi = m->hi;
	}
	return c->banded || c->bitted ? &m->mask : NULL;
}

/* The result, stored, against double. */
static void tile_case_verify(struct tile_case *c)
{
	float lse[KERN_MAX_LANES];
	size_t n = c->n, d = c->d, d_v = c->d_v;

	c->kern->tile_store(&c->t, c->out.x, d_v + 3, lse, c->rows);
	for (size_t r = 0; r < c->rows; r++) {
		double *s = malloc((n + 1) * sizeof *s), top = -INFINITY, size = 0, sum = 0;
		for (size_t j = 0; j < n; j++) {
			double dot = 0, terms = 0;
			for (size_t e = 0; e < d; e++) {
				double p = (double)c->q.x[r * (d + 1) + e] * (double)c->k.x[j * (d + 2) + e];
				dot += p;
				terms += fabs(p);
			}
			double bias = c->biased ? (double)c->bias.x[j] : 0;
			s[j] = tile_case_sees(c, r, j) ? dot * (double)c->factor / (double)KERN_LOG2E + bias : -INFINITY;
			top = fmax(top, s[j]);
			size = fmax(size, terms * (double)c->factor / (double)KERN_LOG2E + fabs(bias));
		}
		for (size_t j = 0; j < n; j++)
			sum += s[j] > -INFINITY ? exp(s[j] - top) : 0;
		/* A logit is off by (d + 4) u of its terms; a weight by that and
		 * the exponential's error; a mean of values by twice a weight's
		 * error and the roundings of two sums of n terms. */
		double logit = (double)(d + 4) * UNIT * size;
		double bound = 2 * (2 * logit + EXP_ERROR + (double)(2 * n + 8) * UNIT);
		for (size_t e = 0; e < d_v; e++) {
			double want = 0;
			for (size_t j = 0; j < n; j++)
				if (s[j] > -INFINITY)
					want += exp(s[j] - top) / sum * (double)c->v.x[j * (d_v + 1) + e];
			assert_near((double)c->out.x[r * (d_v + 3) + e], want, bound * 2, "tile", n);
		}
		if (sum == 0)
			assert_true(lse[r] == -INFINITY);
		else
			assert_near((double)lse[r], top + log(sum), bound + UNIT * fabs(top), "lse", n);
		free(s);
	}
}

/* All keys, in steps of `step`. */
static void tile_case_check(struct tile_case *c, size_t step)
{
	size_t n = c->n, d = c->d, d_v = c->d_v;
	struct step_mask mask;

	c->kern->tile_load(&c->t, c->q.x, d + 1, c->rows, c->factor);
	for (size_t j = 0; j < n; j += step)
		c->kern->tile_step(&c->t, c->k.x + j * (d + 2), d + 2, c->v.x + j * (d_v + 1), d_v + 1,
		                   n - j < step ? n - j : step, tile_case_mask(c, j, &mask),
		                   c->biased ? c->bias.x + j : NULL);
	tile_case_verify(c);
}

/* Two tiles, the second with the keys of the first. */
static void tile_pair_check(struct tile_case c[2], size_t step)
{
	const struct kern_tile *const both[2] = { &c[0].t, &c[1].t };
	size_t n = c->n, d = c->d, d_v = c->d_v;
	struct step_mask mask[2];

	memcpy(c[1].k.x, c[0].k.x, n * (d + 2) * sizeof(float));
	memcpy(c[1].v.x, c[0].v.x, n * (d_v + 1) * sizeof(float));
	memcpy(c[1].bias.x, c[0].bias.x, n * sizeof(float));
	c[1].biased = c[0].biased;
	for (size_t i = 0; i < 2; i++)
		c->kern->tile_load(&c[i].t, c[i].q.x, d + 1, c[i].rows, c[i].factor);
	for (size_t j = 0; j < n; j += step) {
		const struct kern_mask *const masks[2] = { tile_case_mask(&c[0], j, &mask[0]),
			                                   tile_case_mask(&c[1], j, &mask[1]) };
		c->kern->tile_pair(both, c->k.x + j * (d + 2), d + 2, c->v.x + j * (d_v + 1), d_v + 1,
		                   n - j < step ? n - j : step, masks, c->biased ? c->bias.x + j : NULL);
	}
	tile_case_verify(&c[0]);
	tile_case_verify(&c[1]);
}

static void test_tile_pair(void **state)
{
	const struct kern *kern = kern_of(state);
	static const size_t dims[] = { 1, 7, 8, 16, 37, 64, 67 };

	for (unsigned round = 0; round < 7 * 16; round++) {
		size_t n = 1 + (round * 13) % kern->block, d = dims[round % 7], d_v = dims[(round * 3 + 1) % 7];
		struct tile_case c[2] = { tile_case_new(kern, 1 + round % kern->lanes, n, d, d_v, round),
			                  tile_case_new(kern, kern->lanes - round % kern->lanes, n, d, d_v, round / 7) };
		tile_pair_check(c, n);
		tile_pair_check(c, n / 3 + 1);
		tile_case_free(&c[0]);
		tile_case_free(&c[1]);
	}
}

static void test_tile(void **state)
{
	const struct kern *kern = kern_of(state);
	static const size_t dims[] = { 1, 3, 8, 15, 16, 17, 32, 37, 64, 67 };
	unsigned round = 0;

	for (size_t a = 0; a < 10; a++) {
		for (size_t n = 1; n <= kern->block; n += 1 + n / 6) {
			size_t rows = 1 + round % kern->lanes, d_v = dims[(a * 7 + n) % 10];
			struct tile_case c = tile_case_new(kern, rows, n, dims[a], d_v, round);
			tile_case_check(&c, n);
			tile_case_check(&c, n / 2 + 1); /* the same in two steps */
			tile_case_free(&c);
			round++;
		}
	}
	struct tile_case c = tile_case_new(kern, kern->lanes, kern->block * 2, 128, 128, 0);
	tile_case_check(&c, kern->block);
	tile_case_free(&c);
}

/* A maximum that stays must leave what was summed bit for bit, and ascending
 * scores, which move it at every step, must give the same as descending ones. */
static void test_tile_order(void **state)
{
	const struct kern *kern = kern_of(state);
	enum { N = 64 };
	struct tile_case c = tile_case_new(kern, 1, N, 1, 1, 0);

	c.q.x[0] = 1;
	c.factor = KERN_LOG2E;
	for (int order = 0; order < 4; order++) {
		for (size_t j = 0; j < N; j++)
			c.k.x[j * 3] = order == 0 ? (float)j : order == 1 ? (float)(N - j) : order == 2 ? 1
			                                                           : j == N - 1 ? 80 : 0;
		tile_case_check(&c, 8);
	}
	tile_case_free(&c);
}

static void test_selection(void **state)
{
	const struct kern *kern = kern_of(state);
	size_t lanes = kern->lanes, n = 203, d = 19, groups = 24;
	struct tile_case c = tile_case_new(kern, lanes, 1, d, 1, 0);
	struct buffer k = buffer_new(n * d, 1, 2), p = buffer_new(n * lanes, 0, 1);
	struct buffer folded = buffer_new(groups * lanes, 0, 1);
	uint32_t *index = malloc(n * lanes * sizeof *index), count[KERN_MAX_LANES] = { 0 };
	float threshold[KERN_MAX_LANES];

	kern->tile_load(&c.t, c.q.x, d + 1, lanes, c.factor);
	kern->tile_scores(&c.t, k.x, d, n, p.x);
	kern->lanes_fold_max(folded.x, groups, p.x, n);
	for (size_t r = 0; r < lanes; r++) {
		threshold[r] = p.x[(7 * r) * lanes + r];
		for (size_t j = 0; j < n; j++) {
			double want = 0, terms = 0;
			for (size_t e = 0; e < d; e++) {
				double t = (double)c.q.x[r * (d + 1) + e] * (double)k.x[j * d + e] * (double)c.factor;
				want += t;
				terms += fabs(t);
			}
			assert_near((double)p.x[j * lanes + r], want, (double)(d + 2) * UNIT * terms, "scores", n);
		}
		for (size_t g = 0; g < groups; g++) {
			float top = KERN_MASKED;
			for (size_t j = g; j < n; j += groups)
				top = fmaxf(top, p.x[j * lanes + r]);
			assert_true(folded.x[g * lanes + r] == top);
		}
	}
	kern->lanes_collect(index, n, count, p.x, n, threshold);
	for (size_t r = 0; r < lanes; r++) {
		size_t at = 0;
		for (size_t j = 0; j < n; j++)
			if (p.x[j * lanes + r] >= threshold[r])
				assert_true(at < count[r] && index[r * n + at++] == j);
		assert_int_equal(at, count[r]);
	}
	free(index);
	buffer_free(&k);
	buffer_free(&p);
	buffer_free(&folded);
	tile_case_free(&c);
}

static void check_best(const struct kern *kern, const float *p, size_t n)
{
	uint32_t index[KERN_MAX_LANES];
	float best[KERN_MAX_LANES], second[KERN_MAX_LANES];
	size_t lanes = kern->lanes;

	kern->lanes_best(index, best, second, p, n);
	for (size_t r = 0; r < lanes; r++) {
		size_t first = 0;
		float next = KERN_MASKED;
		for (size_t j = 1; j < n; j++)
			first = p[j * lanes + r] > p[first * lanes + r] ? j : first;
		for (size_t j = 0; j < n; j++)
			next = j != first ? fmaxf(next, p[j * lanes + r]) : next;
		assert_int_equal(index[r], first);
		assert_true(best[r] == p[first * lanes + r] && second[r] == next);
	}
}

/* The k-th largest, by sorting. */
static void check_ranked(const struct kern *kern, const float *x, size_t n)
{
	float sorted[64];

	memcpy(sorted, x, n * sizeof *x);
	for (size_t i = 1; i < n; i++)
		for (size_t j = i; j > 0 && sorted[j] > sorted[j - 1]; j--) {
			float t = sorted[j];
			sorted[j] = sorted[j - 1];
			sorted[j - 1] = t;
		}
	for (size_t k = 1; k <= n; k++)
		assert_true(kern->ranked(x, n, k) == sorted[k - 1]);
}

/* With ties, masked scores and infinities among them. */
static void test_ranks(void **state)
{
	const struct kern *kern = kern_of(state);
	size_t lanes = kern->lanes;

	for (size_t n = 1; n <= 64; n++) {
		struct buffer p = buffer_new(n * lanes, n % 3, 1);
		for (size_t i = 0; n % 4 == 1 && i < n * lanes; i++)
			p.x[i] = roundf(p.x[i]);
		for (size_t i = 0; n % 4 == 2 && i < n * lanes; i += 3)
			p.x[i] = i % 2 ? KERN_MASKED : INFINITY;
		check_best(kern, p.x, n);
		check_ranked(kern, p.x, n);
		buffer_free(&p);
	}
}

static void test_gather(void **state)
{
	const struct kern *kern = kern_of(state);
	uint32_t index[40];

	for (size_t d_v = 1; d_v < 140; d_v += d_v / 3 + 1) {
		size_t n = d_v % 40;
		struct buffer v = buffer_new(50 * (d_v + 1), d_v % 4, 1), w = buffer_new(n, 1, 1);
		struct buffer out = buffer_new(d_v, 2, 1);
		for (size_t i = 0; i < n; i++)
			index[i] = (uint32_t)(attn_random_uniform(seed, 4, drawn++) * 50);
		kern->gather_sum(out.x, d_v, v.x, d_v + 1, index, w.x, n);
		for (size_t e = 0; e < d_v; e++) {
			double want = 0, size = 0;
			for (size_t i = 0; i < n; i++) {
				double p = (double)w.x[i] * (double)v.x[index[i] * (d_v + 1) + e];
				want += p;
				size += fabs(p);
			}
			assert_near((double)out.x[e], want, (double)(n + 1) * UNIT * size, "gather_sum", n);
		}
		buffer_free(&v);
		buffer_free(&w);
		buffer_free(&out);
	}
}

static void test_table(void **state)
{
	const struct kern *kern = kern_of(state);

	assert_true(kern->lanes >= 1 && kern->lanes <= KERN_MAX_LANES);
	assert_int_equal(kern->lanes & (kern->lanes - 1), 0);
	assert_true(kern->block >= 1 && kern->block <= KERN_MAX_BLOCK);
	assert_ptr_equal(attn_kern(kern->isa), kern);
	assert_null(attn_kern("no-such-isa"));
}

static const struct {
	const char *name;
	CMUnitTestFunction run;
} cases[] = {
	{ "table", test_table },       { "sum dot max", test_sums },
	{ "axpy scale exp_shift elu1 affine relu raise mul div", test_elementwise },
	{ "exp corners", test_exp_corners }, { "pairs", test_pairs },
	{ "sincos", test_sincos }, { "mm", test_mm },
	{ "rows", test_rows },           { "transpose", test_transpose }, { "tile", test_tile },
	{ "tile pair", test_tile_pair }, { "tile order", test_tile_order }, { "selection", test_selection },
	{ "lanes_best and ranked", test_ranks },
	{ "gather_sum", test_gather },
};
enum { CASES = sizeof cases / sizeof *cases };

/* ---- `test_kern --bench`: what each slot costs ---- */

struct bench {
	const struct kern *kern;
	float *x, *y, *z; /* 64 x 128 floats each, in L1 or L2 */
	struct kern_tile tile;
	uint32_t index[96];
};

enum { BENCH_FLOATS = 128 * 128, BENCH_D = 64, BENCH_ROWS = 64, BENCH_N = 2048 };

static void bench_fma(struct bench *b) { b->x[0] = b->kern->fma_rounds(256); }
static void bench_sum(struct bench *b) { b->y[0] = b->kern->sum(b->x, BENCH_N); }
static void bench_max(struct bench *b) { b->y[0] = b->kern->max(b->x, BENCH_N); }
static void bench_dot(struct bench *b) { b->z[0] = b->kern->dot(b->x, b->y, BENCH_N); }
static void bench_axpy(struct bench *b) { b->kern->axpy(b->y, 1e-30f, b->x, BENCH_N); }
static void bench_exp(struct bench *b) { b->z[0] = b->kern->exp_shift(b->y, b->x, 1, BENCH_N); }
static void bench_elu(struct bench *b) { b->kern->elu1(b->y, b->x, BENCH_N); }
static void bench_mm(struct bench *b)
{
	b->kern->mm(b->z, BENCH_D, b->x, BENCH_D, 1, b->y, BENCH_D, BENCH_ROWS, BENCH_D, BENCH_D, true);
}
static void bench_transpose(struct bench *b)
{
	b->kern->transpose(b->y, BENCH_ROWS, b->x, BENCH_D, BENCH_ROWS, BENCH_D);
}
static void bench_rows_dot(struct bench *b) { b->kern->rows_dot(b->z, b->x, BENCH_D, BENCH_ROWS, b->y, BENCH_D); }
static void bench_gather(struct bench *b)
{
	b->kern->gather_sum(b->z, BENCH_D, b->x, BENCH_D, b->index, b->y, 64);
}
static void bench_load(struct bench *b) { b->kern->tile_load(&b->tile, b->x, BENCH_D, b->kern->lanes, 0.1f); }
static void bench_step(struct bench *b)
{
	b->kern->tile_step(&b->tile, b->x, BENCH_D, b->y, BENCH_D, b->kern->block, NULL, NULL);
}
static void bench_store(struct bench *b) { b->kern->tile_store(&b->tile, b->z, BENCH_D, NULL, b->kern->lanes); }
static void bench_scores(struct bench *b) { b->kern->tile_scores(&b->tile, b->x, BENCH_D, 96, b->z); }

/* FLOP of a call where that is the measure, else elements. */
static double bench_work(const struct bench *b, size_t i)
{
	double lanes = (double)b->kern->lanes, block = (double)b->kern->block;
	const double work[] = {
		256.0 * (double)b->kern->fma_flops, 4 * block * lanes * BENCH_D, 2 * 96 * lanes * BENCH_D,
		2.0 * BENCH_ROWS * BENCH_D * BENCH_D, 2.0 * BENCH_ROWS * BENCH_D, 2.0 * 64 * BENCH_D,
		lanes * BENCH_D, lanes * BENCH_D, BENCH_ROWS * BENCH_D, BENCH_N, BENCH_N, BENCH_N, BENCH_N, BENCH_N,
		BENCH_N,
	};

	return work[i];
}

static const struct {
	const char *name;
	void (*run)(struct bench *);
	bool flops;
} benches[] = {
	{ "fma_rounds", bench_fma, true },   { "tile_step", bench_step, true },
	{ "tile_scores", bench_scores, true }, { "mm 64x64x64", bench_mm, true },
	{ "rows_dot 64x64", bench_rows_dot, true }, { "gather_sum 64x64", bench_gather, true },
	{ "tile_load", bench_load, false },  { "tile_store", bench_store, false },
	{ "transpose 64x64", bench_transpose, false }, { "sum 2048", bench_sum, false },
	{ "max 2048", bench_max, false },    { "dot 2048", bench_dot, false },
	{ "axpy 2048", bench_axpy, false },  { "exp_shift 2048", bench_exp, false },
	{ "elu1 2048", bench_elu, false },
};
enum { BENCHES = sizeof benches / sizeof *benches };

static double now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

/* The least of 30 batches of about 1 ms. */
static double bench_ns(struct bench *b, void (*run)(struct bench *))
{
	size_t calls = 1;
	double best = INFINITY;

	for (double took = 0; took < 5e5; calls *= 2) {
		double begin = now_ns();
		for (size_t i = 0; i < calls; i++)
			run(b);
		took = now_ns() - begin;
	}
	for (int r = 0; r < 30; r++) {
		double begin = now_ns();
		for (size_t i = 0; i < calls; i++)
			run(b);
		best = fmin(best, (now_ns() - begin) / (double)calls);
	}
	return best;
}

static struct bench bench_new(const struct kern *kern)
{
	struct bench b = { .kern = kern };
	float **all[] = { &b.x, &b.y, &b.z };
	size_t lanes = kern->lanes;

	for (size_t a = 0; a < 3; a++) {
		/* Starts a third of a page apart: a load that follows a store to the
		 * same offset of another page waits for it. */
		*all[a] = (float *)aligned_alloc(4096, (BENCH_FLOATS + 1024) * sizeof(float)) + a * 336;
		for (size_t i = 0; i < BENCH_FLOATS; i++)
			(*all[a])[i] = draw(1);
	}
	for (size_t i = 0; i < 96; i++)
		b.index[i] = (uint32_t)(i * 37 % 64);
	b.tile = (struct kern_tile){ .d = BENCH_D, .d_v = BENCH_D, .turns = 1 };
	b.tile.q = aligned_alloc(64, (2 * BENCH_D + 2 + kern->block + 16) * lanes * sizeof(float));
	b.tile.acc = b.tile.q + BENCH_D * lanes;
	b.tile.max = b.tile.acc + BENCH_D * lanes;
	b.tile.sum = b.tile.max + lanes;
	b.tile.p = b.tile.sum + lanes;
	kern->tile_load(&b.tile, b.x, BENCH_D, lanes, 0.1f);
	return b;
}

static int bench_all(void)
{
	double scalar[BENCHES], scalar_work[BENCHES];
	struct bench b = bench_new(attn_kern("scalar"));

	for (size_t i = 0; i < BENCHES; i++) {
		scalar[i] = bench_ns(&b, benches[i].run);
		scalar_work[i] = bench_work(&b, i);
	}
	printf("%-8s %-18s %10s %10s %8s %10s\n", "isa", "slot", "ns", "G/s", "of peak", "x scalar");
	for (const char *const *isa = attn_isa_names(); *isa; isa++) {
		if (!attn_kern(*isa))
			continue;
		double peak = 0;
		b = bench_new(attn_kern(*isa));
		for (size_t i = 0; i < BENCHES; i++) {
			double ns = bench_ns(&b, benches[i].run), rate = bench_work(&b, i) / ns;
			peak = i == 0 ? rate : peak;
			printf("%-8s %-18s %10.1f %10.2f ", *isa, benches[i].name, ns, rate);
			if (benches[i].flops)
				printf("%7.1f%%", 100 * rate / peak);
			else
				printf("%8s", "");
			printf(" %10.1f\n", rate * scalar[i] / scalar_work[i]);
		}
	}
	puts("G/s: GFLOP/s where a share of the peak is given, else 1e9 elements a second.");
	return 0;
}

int main(int argc, char **argv)
{
	struct CMUnitTest tests[8 * CASES];
	char names[8 * CASES][64];
	size_t n = 0;
	const char *given = getenv("KERN_SEED");

	attn_flush_subnormals();
	if (argc > 1 && !strcmp(argv[1], "--bench"))
		return bench_all();
	seed = given ? strtoull(given, NULL, 10) : 20260101;
	printf("KERN_SEED=%llu\n", (unsigned long long)seed);
	for (const char *const *isa = attn_isa_names(); *isa; isa++) {
		const struct kern *kern = attn_kern(*isa);
		if (!kern) {
			printf("%s: not supported by this CPU, skipped\n", *isa);
			continue;
		}
		for (size_t i = 0; i < CASES; i++, n++) {
			snprintf(names[n], sizeof names[n], "%s: %s", *isa, cases[i].name);
			tests[n] = (struct CMUnitTest){ .name = names[n], .test_func = cases[i].run,
				                        .initial_state = (void *)(uintptr_t)kern };
		}
	}
	return _cmocka_run_group_tests("kernels", tests, n, NULL, NULL);
}
