/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The definition of every kernel in plain C: the table for CPUs without a
 * supported instruction set, and what the others are tested against. It is
 * never tuned. */
#include "kern.h"

#include <math.h>

enum { LANES = 4, BLOCK = 64 };

static void tile_load(const struct kern_tile *t, const float *q, size_t ldq, size_t rows,
                      float factor)
{
	for (size_t c = 0; c < t->d; c++)
		for (size_t r = 0; r < LANES; r++)
			t->q[c * LANES + r] = r < rows ? q[r * ldq + c] * factor : 0;
	for (size_t i = 0; i < t->d_v * LANES; i++)
		t->acc[i] = 0;
	for (size_t r = 0; r < LANES; r++) {
		t->max[r] = KERN_NO_MAX;
		t->sum[r] = 0;
	}
}

static bool visible(const struct kern_mask *mask, size_t j, size_t r)
{
	if (mask && mask->lo && ((int64_t)j < mask->lo[r] || (int64_t)j >= mask->hi[r]))
		return false;
	return !mask || !mask->bits || (mask->bits[j] >> r & 1);
}

/* One lane: m' = max(m, max s); acc = acc 2^(m - m') + sum 2^(s - m') v. Sums of the
 * block are formed first: rounding grows with the blocks, not with the keys. */
static void step_lane(const struct kern_tile *t, size_t r, const float *v, size_t ldv,
                      size_t n)
{
	float max = t->max[r];

	for (size_t j = 0; j < n; j++)
		max = fmaxf(max, t->p[j * LANES + r]);
	float alpha = exp2f(t->max[r] - max), sum = 0;
	t->max[r] = max;
	for (size_t j = 0; j < n; j++) {
		t->p[j * LANES + r] = exp2f(t->p[j * LANES + r] - max);
		sum += t->p[j * LANES + r];
	}
	t->sum[r] = t->sum[r] * alpha + sum;
	for (size_t c = 0; c < t->d_v; c++) {
		float part = 0;
		for (size_t j = 0; j < n; j++)
			part += t->p[j * LANES + r] * v[j * ldv + c];
		t->acc[c * LANES + r] = t->acc[c * LANES + r] * alpha + part;
	}
}

static void tile_step(const struct kern_tile *t, const float *k, size_t ldk, const float *v,
                      size_t ldv, size_t n, const struct kern_mask *mask, const float *bias)
{
	for (size_t j = 0; j < n; j++) {
		for (size_t r = 0; r < LANES; r++) {
			float s = 0;
			for (size_t c = 0; c < t->d; c++)
				s += t->q[c * LANES + r] * k[j * ldk + c];
			if (bias)
				s += bias[j] * KERN_LOG2E;
			t->p[j * LANES + r] = visible(mask, j, r) ? s : KERN_MASKED;
		}
	}
	for (size_t r = 0; r < LANES; r++)
		step_lane(t, r, v, ldv, n);
}

static void tile_pair(const struct kern_tile *const t[2], const float *k, size_t ldk, const float *v,
                      size_t ldv, size_t n, const struct kern_mask *const mask[2], const float *bias)
{
	for (size_t i = 0; i < 2; i++)
		tile_step(t[i], k, ldk, v, ldv, n, mask[i], bias);
}

static void tile_store(const struct kern_tile *t, float *out, size_t ldo, float *lse,
                       size_t rows)
{
	for (size_t r = 0; r < rows; r++) {
		float sum = t->sum[r];
		for (size_t c = 0; c < t->d_v; c++)
			out[r * ldo + c] = sum == 0 ? 0 : t->acc[c * LANES + r] / sum;
		if (lse)
			lse[r] = sum == 0 ? -INFINITY : t->max[r] * KERN_LN2 + logf(sum);
	}
}

static void tile_scores(const struct kern_tile *t, const float *k, size_t ldk, size_t n, float *p)
{
	for (size_t j = 0; j < n; j++) {
		for (size_t r = 0; r < LANES; r++) {
			float s = 0;
			for (size_t c = 0; c < t->d; c++)
				s += t->q[c * LANES + r] * k[j * ldk + c];
			p[j * LANES + r] = s;
		}
	}
}

static void lanes_fold_max(float *y, size_t groups, const float *p, size_t n)
{
	for (size_t i = 0; i < groups * LANES; i++)
		y[i] = KERN_MASKED;
	for (size_t j = 0; j < n; j++)
		for (size_t r = 0; r < LANES; r++)
			y[j % groups * LANES + r] = fmaxf(y[j % groups * LANES + r], p[j * LANES + r]);
}

static void lanes_best(uint32_t *index, float *best, float *second, const float *p, size_t n)
{
	for (size_t r = 0; r < LANES; r++) {
		index[r] = 0;
		best[r] = p[r];
		second[r] = KERN_MASKED;
		for (size_t j = 1; j < n; j++) {
			float x = p[j * LANES + r], less = x > best[r] ? best[r] : x;
			second[r] = less > second[r] ? less : second[r];
			index[r] = x > best[r] ? (uint32_t)j : index[r];
			best[r] = x > best[r] ? x : best[r];
		}
	}
}

static void lanes_collect(uint32_t *index, size_t stride, uint32_t *count, const float *p, size_t n,
                          const float *threshold)
{
	for (size_t j = 0; j < n; j++)
		for (size_t r = 0; r < LANES; r++)
			if (p[j * LANES + r] >= threshold[r])
				index[r * stride + count[r]++] = (uint32_t)j;
}

static float ranked(const float *x, size_t n, size_t k)
{
	for (size_t a = 0; a + 1 < n; a++) {
		size_t above = 0, level = 0;
		for (size_t i = 0; i < n; i++) {
			above += x[i] > x[a];
			level += x[i] == x[a];
		}
		if (above < k && k <= above + level)
			return x[a];
	}
	return x[n - 1];
}

static void gather_sum(float *out, size_t d_v, const float *v, size_t ldv, const uint32_t *index,
                       const float *weight, size_t n)
{
	for (size_t c = 0; c < d_v; c++) {
		out[c] = 0;
		for (size_t i = 0; i < n; i++)
			out[c] += weight[i] * v[index[i] * ldv + c];
	}
}

static void mm(float *c, size_t ldc, const float *a, size_t rsa, size_t csa, const float *b,
               size_t ldb, size_t m, size_t n, size_t k, bool accumulate)
{
	for (size_t i = 0; i < m; i++) {
		for (size_t j = 0; j < n; j++) {
			float sum = 0;
			for (size_t l = 0; l < k; l++)
				sum += a[i * rsa + l * csa] * b[l * ldb + j];
			c[i * ldc + j] = accumulate ? c[i * ldc + j] + sum : sum;
		}
	}
}

static void mm_fetch(float *c, size_t ldc, const float *a, size_t rsa, size_t csa, const float *b,
                     size_t ldb, size_t m, size_t n, size_t k, bool accumulate,
                     const struct kern_fetch *fetch)
{
	(void)fetch;
	mm(c, ldc, a, rsa, csa, b, ldb, m, n, k, accumulate);
}

static void transpose(float *y, size_t ldy, const float *x, size_t ldx, size_t rows, size_t cols)
{
	for (size_t i = 0; i < rows; i++)
		for (size_t j = 0; j < cols; j++)
			y[j * ldy + i] = x[i * ldx + j];
}

static float bits_float(uint32_t bits)
{
	union { uint32_t u; float f; } x = { .u = bits };

	return x.f;
}

static uint32_t float_bits(float f)
{
	union { float f; uint32_t u; } x = { .f = f };

	return x.u;
}

/* bf16: the upper half of an f32. */
static void from_bf16(float *y, const uint16_t *x, size_t n)
{
	for (size_t i = 0; i < n; i++)
		y[i] = bits_float((uint32_t)x[i] << 16);
}

static void to_bf16(uint16_t *y, const float *x, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		uint32_t u = float_bits(x[i]);
		if ((u & 0x7fffffff) > 0x7f800000) /* a NaN stays one: quiet it */
			y[i] = (uint16_t)(u >> 16 | 0x40);
		else
			y[i] = (uint16_t)((u + 0x7fff + (u >> 16 & 1)) >> 16);
	}
}

/* f16: sign, 5 bits of exponent (bias 15), 10 of fraction; subnormals f 2^-24. */
static void from_f16(float *y, const uint16_t *x, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		uint32_t sign = (uint32_t)(x[i] & 0x8000) << 16, exponent = x[i] >> 10 & 31;
		uint32_t fraction = x[i] & 0x3ff;
		if (exponent == 31) /* infinity, or a NaN, made quiet */
			y[i] = bits_float(sign | 0x7f800000 | fraction << 13 | (fraction ? 0x400000 : 0));
		else if (exponent)
			y[i] = bits_float(sign | (exponent + 112) << 23 | fraction << 13);
		else
			y[i] = sign ? -(float)fraction * 0x1p-24f : (float)fraction * 0x1p-24f;
	}
}

static void to_f16(uint16_t *y, const float *x, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		uint32_t u = float_bits(x[i]), sign = u >> 16 & 0x8000, a = u & 0x7fffffff;
		if (a > 0x7f800000)
			y[i] = (uint16_t)(sign | 0x7e00 | (a >> 13 & 0x1ff));
		else if (a >= 0x477ff000) /* 65520 and above round to infinity */
			y[i] = (uint16_t)(sign | 0x7c00);
		else if (a >= 0x38800000) /* normal: round the fraction, carry into the exponent */
			y[i] = (uint16_t)(sign | (a - 0x38000000 + 0xfff + (a >> 13 & 1)) >> 13);
		else /* subnormal: multiples of 2^-24, rounded by the addition of 1.5 2^-1 */
			y[i] = (uint16_t)(sign | (float_bits(bits_float(a) + 0.75f) - 0x3f400000));
	}
}

enum { CHAINS = 8 };

static float fma_rounds(size_t n)
{
	float x[CHAINS], s = 0;

	for (size_t i = 0; i < CHAINS; i++)
		x[i] = (float)i;
	for (size_t r = 0; r < n; r++)
		for (size_t i = 0; i < CHAINS; i++)
			x[i] = x[i] * 0.999f + 0.001f;
	for (size_t i = 0; i < CHAINS; i++)
		s += x[i];
	return s;
}

static float max(const float *x, size_t n)
{
	float m = KERN_NO_MAX;

	for (size_t i = 0; i < n; i++)
		m = fmaxf(m, x[i]);
	return m;
}

static float sum(const float *x, size_t n)
{
	float s = 0;

	for (size_t i = 0; i < n; i++)
		s += x[i];
	return s;
}

static float dot(const float *x, const float *y, size_t n)
{
	float s = 0;

	for (size_t i = 0; i < n; i++)
		s += x[i] * y[i];
	return s;
}

static void rows_dot(float *y, const float *a, size_t lda, size_t m, const float *x, size_t n)
{
	for (size_t i = 0; i < m; i++)
		y[i] = dot(a + i * lda, x, n);
}

static void rows_add(float *y, const float *a, size_t lda, size_t m, size_t n)
{
	for (size_t j = 0; j < n; j++) {
		float sum = 0;
		for (size_t i = 0; i < m; i++)
			sum += a[i * lda + j];
		y[j] += sum;
	}
}

static void axpy(float *y, float a, const float *x, size_t n)
{
	for (size_t i = 0; i < n; i++)
		y[i] += a * x[i];
}

static void scale(float *x, float a, size_t n)
{
	for (size_t i = 0; i < n; i++)
		x[i] *= a;
}

static float exp_shift(float *y, const float *x, float shift, size_t n)
{
	float s = 0;

	for (size_t i = 0; i < n; i++) {
		y[i] = expf(x[i] - shift);
		s += y[i];
	}
	return s;
}

static void elu1(float *y, const float *x, size_t n)
{
	for (size_t i = 0; i < n; i++)
		y[i] = x[i] > 0 ? x[i] + 1 : expf(x[i]);
}

static void affine(float *y, const float *x, float a, float b, size_t n)
{
	for (size_t i = 0; i < n; i++)
		y[i] = a * x[i] + b;
}

static void relu(float *y, const float *x, float a, float b, size_t n)
{
	for (size_t i = 0; i < n; i++)
		y[i] = a * (x[i] > 0 ? x[i] : 0) + b;
}

static void raise_to(float *y, const float *x, size_t n)
{
	for (size_t i = 0; i < n; i++)
		y[i] = x[i] > y[i] ? x[i] : y[i];
}

static void mul(float *y, const float *x, const float *z, size_t n)
{
	for (size_t i = 0; i < n; i++)
		y[i] = x[i] * z[i];
}

/* `div` is taken by the C library. */
static void divide(float *y, const float *x, const float *z, size_t n)
{
	for (size_t i = 0; i < n; i++)
		y[i] = x[i] / z[i];
}

static void pairs(float *y, const float *x, float square, size_t d)
{
	for (size_t a = 0; a < d; a++)
		for (size_t b = a; b < d; b++)
			*y++ = (a == b ? square : 1) * (x[a] * x[b]);
}

static void sine_cosine(float *s, float *c, const float *x, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		float angle = x[i];
		s[i] = sinf(angle);
		c[i] = cosf(angle);
	}
}

const struct kern kern_scalar = {
	.isa = "scalar",
	.lanes = LANES,
	.block = BLOCK,
	.tile_load = tile_load,
	.tile_step = tile_step,
	.tile_pair = tile_pair,
	.tile_store = tile_store,
	.tile_scores = tile_scores,
	.lanes_fold_max = lanes_fold_max,
	.lanes_best = lanes_best,
	.lanes_collect = lanes_collect,
	.ranked = ranked,
	.gather_sum = gather_sum,
	.mm = mm,
	.mm_fetch = mm_fetch,
	.rows_dot = rows_dot,
	.rows_add = rows_add,
	.transpose = transpose,
	.from_bf16 = from_bf16,
	.from_f16 = from_f16,
	.to_bf16 = to_bf16,
	.to_f16 = to_f16,
	.fma_flops = 2 * CHAINS,
	.fma_rounds = fma_rounds,
	.max = max,
	.sum = sum,
	.dot = dot,
	.axpy = axpy,
	.scale = scale,
	.exp_shift = exp_shift,
	.elu1 = elu1,
	.affine = affine,
	.relu = relu,
	.raise = raise_to,
	.mul = mul,
	.div = divide,
	.pairs = pairs,
	.sincos = sine_cosine,
};
