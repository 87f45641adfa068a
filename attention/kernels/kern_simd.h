/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The body of every SIMD table, written once on the words of vec_*.h. A stub
 * (kern_avx2.c ...) includes its words and defines
 *
 *   ISA      the name, a string; TABLE the symbol
 *   QV       vectors of queries in a tile: a tile is QV * VL queries
 *   KR, DR   keys, value channels of a micro-kernel: KR * QV and DR * QV
 *            accumulators, which with QV operands must fit the registers and
 *            cover latency x throughput of the FMA units
 *   MR, NV   rows and vectors of the matrix micro-kernel: MR * NV accumulators
 *   BLOCK    keys of a step: p, the values and the queries stay in L1; a
 *            multiple of KR, or keys would be counted twice
 */
#include "kern.h"

#include <math.h>

#define LANES (QV * VL)
#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 16")

_Static_assert(LANES <= KERN_MAX_LANES && BLOCK <= KERN_MAX_BLOCK && BLOCK % KR == 0, "tile");

/* 2^f on [-1/2, 1/2], relative error 9.2e-8 in exact arithmetic. The constant
 * term is exactly 1, so that 2^0 = 1: a running maximum that does not change
 * must not change what was summed. Minimax under that constraint. */
INLINE vf exp2_poly(vf f)
{
	vf p = v_set1(1.3264652e-3f);
	p = v_fma(p, f, v_set1(9.6715113e-3f));
	p = v_fma(p, f, v_set1(5.5507340e-2f));
	p = v_fma(p, f, v_set1(2.4022242e-1f));
	p = v_fma(p, f, v_set1(6.9314698e-1f));
	return v_fma(p, f, v_set1(1.0f));
}

/* 2^x; 0 below 2^-126, NaN stays NaN. */
INLINE vf v_exp2(vf x)
{
	vf n = v_round(x);
	return v_scale2(exp2_poly(x - n), n);
}

/* e^x for x <= 88, 0 from -150 down, -inf included; NaN stays NaN. n = round(x / ln 2), f = x - n ln 2 in two parts so that f
 * is exact, then e^f by its own minimax polynomial with constant term 1. */
INLINE vf v_exp(vf x)
{
	x = v_max(v_set1(-150.0f), x); /* v_max gives its second operand if it is a NaN */
	vf n = v_round(x * v_set1(KERN_LOG2E));
	vf f = v_fma(n, v_set1(-0.693145752f), x);
	f = v_fma(n, v_set1(-1.42860677e-6f), f);
	vf p = v_set1(8.2903149e-3f);
	p = v_fma(p, f, v_set1(4.1897929e-2f));
	p = v_fma(p, f, v_set1(1.6667636e-1f));
	p = v_fma(p, f, v_set1(4.9999150e-1f));
	p = v_fma(p, f, v_set1(9.9999971e-1f));
	return v_scale2(v_fma(p, f, v_set1(1.0f)), n);
}

/* ---- tile: one lane is one query ------------------------------------- */

/* VL rows (fewer: zeros) of VL channels to lane-minor columns. */
INLINE void load_square(vf x[VL], const float *q, size_t ldq, size_t rows, size_t channels)
{
	UNROLL for (size_t r = 0; r < VL; r++) {
		if (r >= rows)
			x[r] = v_set1(0);
		else if (channels >= VL)
			x[r] = v_load(q + r * ldq);
		else
			x[r] = v_load_part(q + r * ldq, channels);
	}
	v_transpose(x);
}

static void tile_load(const struct kern_tile *t, const float *q, size_t ldq, size_t rows,
                      float factor)
{
	vf x[VL], zero = v_set1(0), f = v_set1(factor);

	for (size_t u = 0; u < QV; u++) {
		size_t first = u * VL, here = rows > first ? rows - first : 0;
		for (size_t c = 0; c < t->d; c += VL) {
			size_t channels = t->d - c < VL ? t->d - c : VL;
			load_square(x, q + first * ldq + c, ldq, here < VL ? here : VL, channels);
			float *to = t->q + c * LANES + first;
			for (size_t i = 0; i < channels; i++)
				v_store(to + i * LANES, x[i] * f);
		}
	}
	for (size_t i = 0; i < t->d_v * QV; i++)
		v_store(t->acc + i * VL, zero);
	for (size_t u = 0; u < QV; u++) {
		v_store(t->max + u * VL, v_set1(KERN_NO_MAX));
		v_store(t->sum + u * VL, zero);
	}
}

/* Scores of KR keys: p[r] = q . k[r], and their maximum. While it computes it
 * fetches the next KR keys and this group's values: without that the latency
 * of memory adds to the arithmetic once keys no longer fit L2. */
INLINE void scores(const float *q, size_t d, const float *k, const size_t row[KR],
                   size_t ahead, const float *v, size_t ldv, size_t d_v, float *p, vf top[QV])
{
	vf acc[KR][QV];
	size_t c = 0;

	UNROLL for (size_t r = 0; r < KR; r++)
		UNROLL for (size_t u = 0; u < QV; u++)
			acc[r][u] = v_set1(0);
	for (; c + 16 <= d; c += 16) {
		UNROLL for (size_t e = 0; e < 16; e++) {
			const float *kc = k + c + e;
			if (e % (16 / KR) == 0 && e / (16 / KR) < KR) {
				size_t r = e / (16 / KR);
				v_prefetch(k + c + row[r] + ahead);
				if (c < d_v)
					v_prefetch_far(v + c + r * ldv);
			}
			vf qc[QV];
			UNROLL for (size_t u = 0; u < QV; u++)
				qc[u] = v_load(q + (c + e) * LANES + u * VL);
			UNROLL for (size_t r = 0; r < KR; r++) {
				vf kr = v_set1(kc[row[r]]);
				UNROLL for (size_t u = 0; u < QV; u++)
					acc[r][u] = v_fma(kr, qc[u], acc[r][u]);
			}
		}
	}
	for (; c < d; c++) {
		UNROLL for (size_t r = 0; r < KR; r++) {
			vf kr = v_set1(k[c + row[r]]);
			UNROLL for (size_t u = 0; u < QV; u++)
				acc[r][u] = v_fma(kr, v_load(q + c * LANES + u * VL), acc[r][u]);
		}
	}
	UNROLL for (size_t r = 0; r < KR; r++) {
		UNROLL for (size_t u = 0; u < QV; u++) {
			v_store(p + r * LANES + u * VL, acc[r][u]);
			top[u] = v_max(top[u], acc[r][u]);
		}
	}
}

/* Adds the bias, hides what the mask hides, and finds the maximum anew. */
static void edge(float *p, size_t n, const struct kern_mask *mask, const float *bias, vf top[QV])
{
	vf hidden = v_set1(KERN_MASKED);

	for (size_t j = 0; j < n; j++) {
		UNROLL for (size_t u = 0; u < QV; u++) {
			float *at = p + j * LANES + u * VL;
			vf s = v_load(at);
			if (bias)
				s += v_set1(bias[j] * KERN_LOG2E);
			if (mask && mask->lo)
				s = v_if_between((int32_t)j, mask->lo + u * VL, mask->hi + u * VL, s, hidden);
			if (mask && mask->bits)
				s = v_if_bit(mask->bits[j] >> (u * VL), s, hidden);
			v_store(at, s);
			top[u] = v_max(top[u], s);
		}
	}
}

/* acc[c .. c + dr) = acc alpha + sum_j p[j] v[j][c ..): the rescaling is free. */
INLINE void absorb(float *acc, const float *p, const float *v, size_t ldv, size_t n,
                   const vf alpha[QV], const size_t dr)
{
	vf a[DR][QV];

	UNROLL for (size_t c = 0; c < dr; c++)
		UNROLL for (size_t u = 0; u < QV; u++)
			a[c][u] = v_load(acc + c * LANES + u * VL) * alpha[u];
	for (size_t j = 0; j < n; j++) {
		vf pj[QV];
		UNROLL for (size_t u = 0; u < QV; u++)
			pj[u] = v_load(p + j * LANES + u * VL);
		UNROLL for (size_t c = 0; c < dr; c++) {
			vf vc = v_set1(v[j * ldv + c]);
			UNROLL for (size_t u = 0; u < QV; u++)
				a[c][u] = v_fma(vc, pj[u], a[c][u]);
		}
	}
	UNROLL for (size_t c = 0; c < dr; c++)
		UNROLL for (size_t u = 0; u < QV; u++)
			v_store(acc + c * LANES + u * VL, a[c][u]);
}

/* p = 2^(p - max); the new maximum, the rescaling factor, the new sum. */
INLINE void weigh(const struct kern_tile *t, size_t n, const vf top[QV], vf alpha[QV])
{
	vf max[QV], sum[QV];

	UNROLL for (size_t u = 0; u < QV; u++) {
		vf old = v_load(t->max + u * VL);
		max[u] = v_max(old, top[u]);
		alpha[u] = v_exp2(old - max[u]);
		sum[u] = v_load(t->sum + u * VL) * alpha[u];
		v_store(t->max + u * VL, max[u]);
	}
	for (size_t j = 0; j < n; j++) {
		UNROLL for (size_t u = 0; u < QV; u++) {
			float *at = t->p + j * LANES + u * VL;
			vf w = v_exp2(v_load(at) - max[u]);
			v_store(at, w);
			sum[u] += w;
		}
	}
	UNROLL for (size_t u = 0; u < QV; u++)
		v_store(t->sum + u * VL, sum[u]);
}

static void tile_step(const struct kern_tile *t, const float *k, size_t ldk, const float *v,
                      size_t ldv, size_t n, const struct kern_mask *mask, const float *bias)
{
	vf top[QV], alpha[QV];
	size_t row[KR], c = 0;

	for (size_t u = 0; u < QV; u++)
		top[u] = v_set1(KERN_MASKED);
	for (size_t j = 0; j < n; j += KR) {
		/* A short last group repeats its last key: the maximum is unmoved
		 * and the surplus scores are never read. */
		for (size_t r = 0; r < KR; r++)
			row[r] = (j + r < n ? r : n - 1 - j) * ldk;
		scores(t->q, t->d, k + j * ldk, row, KR * ldk, v + j * ldv, ldv, t->d_v,
		       t->p + j * LANES, top);
	}
	if (mask || bias) {
		for (size_t u = 0; u < QV; u++)
			top[u] = v_set1(KERN_MASKED);
		edge(t->p, n, mask, bias, top);
	}
	weigh(t, n, top, alpha);
	for (; c + DR <= t->d_v; c += DR)
		absorb(t->acc + c * LANES, t->p, v + c, ldv, n, alpha, DR);
	for (; c < t->d_v; c++)
		absorb(t->acc + c * LANES, t->p, v + c, ldv, n, alpha, 1);
}

static void tile_store(const struct kern_tile *t, float *out, size_t ldo, float *lse,
                       size_t rows)
{
	vf x[VL];

	for (size_t u = 0; u < QV && u * VL < rows; u++) {
		size_t first = u * VL, here = rows - first < VL ? rows - first : VL;
		vf sum = v_load(t->sum + first);
		vf inverse = v_if_positive(sum, v_set1(1) / sum, sum); /* 0 and NaN stay */
		for (size_t c = 0; c < t->d_v; c += VL) {
			size_t channels = t->d_v - c < VL ? t->d_v - c : VL;
			for (size_t i = 0; i < VL; i++)
				x[i] = v_set1(0);
			for (size_t i = 0; i < channels; i++)
				x[i] = v_load(t->acc + (c + i) * LANES + first) * inverse;
			v_transpose(x);
			for (size_t r = 0; r < here; r++) {
				if (channels == VL)
					v_store(out + (first + r) * ldo + c, x[r]);
				else
					v_store_part(out + (first + r) * ldo + c, x[r], channels);
			}
		}
	}
	for (size_t r = 0; lse && r < rows; r++)
		lse[r] = t->sum[r] == 0 ? -INFINITY : t->max[r] * KERN_LN2 + logf(t->sum[r]);
}

/* ---- selection: what top-k needs of scores ---------------------------------- */

static void tile_scores(const struct kern_tile *t, const float *k, size_t ldk, size_t n, float *p)
{
	float last[KR * LANES];
	vf top[QV];
	size_t row[KR];

	for (size_t u = 0; u < QV; u++)
		top[u] = v_set1(KERN_MASKED);
	for (size_t j = 0; j < n; j += KR) {
		bool whole = n - j >= KR;
		for (size_t r = 0; r < KR; r++)
			row[r] = (whole || j + r < n ? r : n - 1 - j) * ldk;
		scores(t->q, t->d, k + j * ldk, row, KR * ldk, k, 0, 0, whole ? p + j * LANES : last, top);
		for (size_t i = 0; !whole && i < (n - j) * LANES; i++)
			p[j * LANES + i] = last[i];
	}
}

static void lanes_fold_max(float *y, size_t groups, const float *p, size_t n)
{
	for (size_t i = 0; i < groups * QV; i++)
		v_store(y + i * VL, v_set1(KERN_MASKED));
	for (size_t j0 = 0; j0 < n; j0 += groups) {
		size_t here = (n - j0 < groups ? n - j0 : groups) * QV;
		for (size_t i = 0; i < here; i++)
			v_store(y + i * VL, v_max(v_load(y + i * VL), v_load(p + j0 * LANES + i * VL)));
	}
}

static void lanes_collect(uint32_t *index, size_t stride, uint32_t *count, const float *p, size_t n,
                          const float *threshold)
{
	vf least[QV];

	for (size_t u = 0; u < QV; u++)
		least[u] = v_load(threshold + u * VL);
	for (size_t j = 0; j < n; j++) {
		UNROLL for (size_t u = 0; u < QV; u++) {
			uint32_t hits = v_at_least(v_load(p + j * LANES + u * VL), least[u]);
			for (; hits; hits &= hits - 1) {
				size_t r = u * VL + (size_t)__builtin_ctz(hits);
				index[r * stride + count[r]++] = (uint32_t)j;
			}
		}
	}
}

/* nv vectors of the output at a time stay in registers over all rows. */
INLINE void gather_panel(float *out, const float *v, size_t ldv, const uint32_t *index,
                         const float *weight, size_t n, const size_t nv, size_t part)
{
	vf acc[4];

	UNROLL for (size_t u = 0; u < nv; u++)
		acc[u] = v_set1(0);
	for (size_t i = 0; i < n; i++) {
		const float *row = v + index[i] * ldv;
		vf w = v_set1(weight[i]);
		UNROLL for (size_t u = 0; u < nv; u++)
			acc[u] = v_fma(w, part ? v_load_part(row, part) : v_load(row + u * VL), acc[u]);
	}
	UNROLL for (size_t u = 0; u < nv; u++) {
		if (part)
			v_store_part(out, acc[u], part);
		else
			v_store(out + u * VL, acc[u]);
	}
}

static void gather_sum(float *out, size_t d_v, const float *v, size_t ldv, const uint32_t *index,
                       const float *weight, size_t n)
{
	size_t c = 0;

	for (; c + 4 * VL <= d_v; c += 4 * VL)
		gather_panel(out + c, v + c, ldv, index, weight, n, 4, 0);
	for (; c + VL <= d_v; c += VL)
		gather_panel(out + c, v + c, ldv, index, weight, n, 1, 0);
	if (c < d_v)
		gather_panel(out + c, v + c, ldv, index, weight, n, 1, d_v - c);
}

/* ---- matrices ---------------------------------------------------------- */

/* mr rows times nv vectors of c; `part` > 0: the last vector has part floats. */
INLINE void mm_micro(float *c, size_t ldc, const float *a, size_t rsa, size_t csa,
                     const float *b, size_t ldb, size_t k, bool accumulate, const size_t mr,
                     const size_t nv, size_t part)
{
	vf acc[MR][NV];

	UNROLL for (size_t i = 0; i < mr; i++)
		UNROLL for (size_t u = 0; u < nv; u++)
			acc[i][u] = !accumulate ? v_set1(0)
			            : part && u == nv - 1 ? v_load_part(c + i * ldc + u * VL, part)
			                                  : v_load(c + i * ldc + u * VL);
	for (size_t l = 0; l < k; l++) {
		vf bl[NV];
		UNROLL for (size_t u = 0; u < nv; u++)
			bl[u] = part && u == nv - 1 ? v_load_part(b + l * ldb + u * VL, part)
			                            : v_load(b + l * ldb + u * VL);
		UNROLL for (size_t i = 0; i < mr; i++) {
			vf ai = v_set1(a[i * rsa + l * csa]);
			UNROLL for (size_t u = 0; u < nv; u++)
				acc[i][u] = v_fma(ai, bl[u], acc[i][u]);
		}
	}
	UNROLL for (size_t i = 0; i < mr; i++) {
		UNROLL for (size_t u = 0; u < nv; u++) {
			if (part && u == nv - 1)
				v_store_part(c + i * ldc + u * VL, acc[i][u], part);
			else
				v_store(c + i * ldc + u * VL, acc[i][u]);
		}
	}
}

/* All rows of one column panel of nv vectors. */
INLINE void mm_panel(float *c, size_t ldc, const float *a, size_t rsa, size_t csa,
                     const float *b, size_t ldb, size_t m, size_t k, bool accumulate,
                     const size_t nv, size_t part)
{
	size_t i = 0;

	for (; i + MR <= m; i += MR)
		mm_micro(c + i * ldc, ldc, a + i * rsa, rsa, csa, b, ldb, k, accumulate, MR, nv, part);
	for (; i < m; i++)
		mm_micro(c + i * ldc, ldc, a + i * rsa, rsa, csa, b, ldb, k, accumulate, 1, nv, part);
}

static void mm(float *c, size_t ldc, const float *a, size_t rsa, size_t csa, const float *b,
               size_t ldb, size_t m, size_t n, size_t k, bool accumulate)
{
	size_t j = 0;

	for (; j + NV * VL <= n; j += NV * VL)
		mm_panel(c + j, ldc, a, rsa, csa, b + j, ldb, m, k, accumulate, NV, 0);
	for (; j + VL <= n; j += VL)
		mm_panel(c + j, ldc, a, rsa, csa, b + j, ldb, m, k, accumulate, 1, 0);
	if (j < n)
		mm_panel(c + j, ldc, a, rsa, csa, b + j, ldb, m, k, accumulate, 1, n - j);
}

static void transpose(float *y, size_t ldy, const float *x, size_t ldx, size_t rows, size_t cols)
{
	vf square[VL];

	for (size_t i = 0; i < rows; i += VL) {
		size_t r = rows - i < VL ? rows - i : VL;
		for (size_t j = 0; j < cols; j += VL) {
			size_t c = cols - j < VL ? cols - j : VL;
			load_square(square, x + i * ldx + j, ldx, r, c);
			for (size_t l = 0; l < c; l++) {
				if (r == VL)
					v_store(y + (j + l) * ldy + i, square[l]);
				else
					v_store_part(y + (j + l) * ldy + i, square[l], r);
			}
		}
	}
}

/* ---- rows --------------------------------------------------------------- */

static float row_max(const float *x, size_t n)
{
	vf a = v_set1(KERN_NO_MAX), b = a;
	size_t i = 0;

	for (; i + 2 * VL <= n; i += 2 * VL) {
		a = v_max(a, v_load(x + i));
		b = v_max(b, v_load(x + i + VL));
	}
	float m = v_hmax(v_max(a, b));
	for (; i < n; i++)
		m = x[i] > m ? x[i] : m;
	return m;
}

static float row_sum(const float *x, size_t n)
{
	vf a = v_set1(0), b = a;
	size_t i = 0;

	for (; i + 2 * VL <= n; i += 2 * VL) {
		a += v_load(x + i);
		b += v_load(x + i + VL);
	}
	if (i + VL <= n) {
		a += v_load(x + i);
		i += VL;
	}
	if (i < n)
		b += v_load_part(x + i, n - i);
	return v_hsum(a + b);
}

static float row_dot(const float *x, const float *y, size_t n)
{
	vf a = v_set1(0), b = a;
	size_t i = 0;

	for (; i + 2 * VL <= n; i += 2 * VL) {
		a = v_fma(v_load(x + i), v_load(y + i), a);
		b = v_fma(v_load(x + i + VL), v_load(y + i + VL), b);
	}
	if (i + VL <= n) {
		a = v_fma(v_load(x + i), v_load(y + i), a);
		i += VL;
	}
	if (i < n)
		b = v_fma(v_load_part(x + i, n - i), v_load_part(y + i, n - i), b);
	return v_hsum(a + b);
}

static void row_axpy(float *y, float a, const float *x, size_t n)
{
	vf f = v_set1(a);
	size_t i = 0;

	for (; i + VL <= n; i += VL)
		v_store(y + i, v_fma(f, v_load(x + i), v_load(y + i)));
	if (i < n)
		v_store_part(y + i, v_fma(f, v_load_part(x + i, n - i), v_load_part(y + i, n - i)), n - i);
}

static void row_scale(float *x, float a, size_t n)
{
	vf f = v_set1(a);
	size_t i = 0;

	for (; i + VL <= n; i += VL)
		v_store(x + i, v_load(x + i) * f);
	if (i < n)
		v_store_part(x + i, v_load_part(x + i, n - i) * f, n - i);
}

static float row_exp_shift(float *y, const float *x, float shift, size_t n)
{
	vf s = v_set1(shift), a = v_set1(0), b = a;
	size_t i = 0;

	for (; i + 2 * VL <= n; i += 2 * VL) {
		vf e = v_exp(v_load(x + i) - s), f = v_exp(v_load(x + i + VL) - s);
		v_store(y + i, e);
		v_store(y + i + VL, f);
		a += e;
		b += f;
	}
	float sum = v_hsum(a + b);
	while (i < n) {
		size_t here = n - i < VL ? n - i : VL;
		float e[VL];
		v_store(e, v_exp((here == VL ? v_load(x + i) : v_load_part(x + i, here)) - s));
		for (size_t r = 0; r < here; r++, i++) {
			y[i] = e[r];
			sum += e[r];
		}
	}
	return sum;
}

INLINE vf elu1(vf x)
{
	return v_if_positive(x, x + v_set1(1), v_exp(v_min(x, v_set1(0))));
}

static void row_elu1(float *y, const float *x, size_t n)
{
	size_t i = 0;

	for (; i + VL <= n; i += VL)
		v_store(y + i, elu1(v_load(x + i)));
	if (i < n)
		v_store_part(y + i, elu1(v_load_part(x + i, n - i)), n - i);
}

const struct kern TABLE = {
	.isa = ISA,
	.lanes = LANES,
	.block = BLOCK,
	.tile_load = tile_load,
	.tile_step = tile_step,
	.tile_store = tile_store,
	.tile_scores = tile_scores,
	.lanes_fold_max = lanes_fold_max,
	.lanes_collect = lanes_collect,
	.gather_sum = gather_sum,
	.mm = mm,
	.transpose = transpose,
	.max = row_max,
	.sum = row_sum,
	.dot = row_dot,
	.axpy = row_axpy,
	.scale = row_scale,
	.exp_shift = row_exp_shift,
	.elu1 = row_elu1,
};
