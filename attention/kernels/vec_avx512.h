/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The vector words of kern_simd.h for AVX-512 (F, BW, DQ, VL): 16 floats. */
#ifndef KERNELS_VEC_AVX512_H
#define KERNELS_VEC_AVX512_H

#include <immintrin.h>
#include <stdint.h>

#define VL 16
typedef __m512 vf;

static inline vf v_set1(float a) { return _mm512_set1_ps(a); }
static inline vf v_load(const float *p) { return _mm512_loadu_ps(p); }
static inline void v_store(float *p, vf a) { _mm512_storeu_ps(p, a); }
static inline vf v_fma(vf a, vf b, vf c) { return _mm512_fmadd_ps(a, b, c); }
/* Where either is a NaN: b. */
static inline vf v_max(vf a, vf b) { return _mm512_max_ps(a, b); }
static inline vf v_min(vf a, vf b) { return _mm512_min_ps(a, b); }
static inline vf v_round(vf a) { return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
/* a 2^n for integral n; 0 below the smallest normal. */
static inline vf v_scale2(vf a, vf n) { return _mm512_scalef_ps(a, n); }
/* x > 0 ? a : b */
static inline vf v_if_positive(vf x, vf a, vf b)
{
	return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(x, _mm512_setzero_ps(), _CMP_GT_OQ), b, a);
}
/* Lane r of a where lo[r] <= j < hi[r], else b. */
static inline vf v_if_between(int32_t j, const int32_t *lo, const int32_t *hi, vf a, vf b)
{
	__m512i at = _mm512_set1_epi32(j);
	__mmask16 in = _mm512_cmple_epi32_mask(_mm512_loadu_si512(lo), at) &
	               _mm512_cmplt_epi32_mask(at, _mm512_loadu_si512(hi));
	return _mm512_mask_blend_ps(in, b, a);
}
/* Lane r of a where bit r is set, else b. */
static inline vf v_if_bit(uint32_t bits, vf a, vf b)
{
	return _mm512_mask_blend_ps((__mmask16)bits, b, a);
}
/* Bit r: lane r of a is >= that of b. */
static inline uint32_t v_at_least(vf a, vf b) { return _mm512_cmp_ps_mask(a, b, _CMP_GE_OQ); }
/* The first n < VL floats, zeros behind. */
static inline vf v_load_part(const float *p, size_t n)
{
	return _mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1), p);
}
static inline void v_store_part(float *p, vf a, size_t n)
{
	_mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1), a);
}
static inline float v_hsum(vf a) { return _mm512_reduce_add_ps(a); }
static inline float v_hmax(vf a) { return _mm512_reduce_max_ps(a); }
/* VL halves to floats and back. */
static inline vf v_from_bf16(const uint16_t *p)
{
	__m512i wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)p));
	return _mm512_castsi512_ps(_mm512_slli_epi32(wide, 16));
}
static inline void v_to_bf16(uint16_t *p, vf a)
{
	__m512i u = _mm512_castps_si512(a), half = _mm512_srli_epi32(u, 16);
	__m512i even = _mm512_and_si512(half, _mm512_set1_epi32(1));
	__m512i rounded = _mm512_add_epi32(u, _mm512_add_epi32(even, _mm512_set1_epi32(0x7fff)));
	__mmask16 nan = _mm512_cmp_ps_mask(a, a, _CMP_UNORD_Q);
	__m512i quiet = _mm512_or_si512(half, _mm512_set1_epi32(0x40));
	__m512i out = _mm512_mask_mov_epi32(_mm512_srli_epi32(rounded, 16), nan, quiet);
	_mm256_storeu_si256((__m256i *)p, _mm512_cvtepi32_epi16(out));
}
static inline vf v_from_f16(const uint16_t *p) { return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)p)); }
static inline void v_to_f16(uint16_t *p, vf a)
{
	_mm256_storeu_si256((__m256i *)p, _mm512_cvtps_ph(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
/* Towards L2. Always inlined: gcc takes a function that only prefetches for one
 * without effect and drops its calls. */
static inline __attribute__((always_inline)) void v_prefetch_far(const char *p) { _mm_prefetch(p, _MM_HINT_T1); }

/* 16 x 16 transpose in registers: four rounds of pairwise exchanges. */
static inline void v_transpose(vf x[VL])
{
	vf y[VL];

	for (int i = 0; i < 16; i += 2) {
		y[i] = _mm512_unpacklo_ps(x[i], x[i + 1]);
		y[i + 1] = _mm512_unpackhi_ps(x[i], x[i + 1]);
	}
	for (int i = 0; i < 16; i += 4) {
		for (int h = 0; h < 2; h++) {
			__m512d a = _mm512_castps_pd(y[i + h]), b = _mm512_castps_pd(y[i + 2 + h]);
			x[i + 2 * h] = _mm512_castpd_ps(_mm512_unpacklo_pd(a, b));
			x[i + 2 * h + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(a, b));
		}
	}
	for (int i = 0; i < 16; i += 8) {
		for (int h = 0; h < 4; h++) {
			y[i + h] = _mm512_shuffle_f32x4(x[i + h], x[i + 4 + h], 0x88);
			y[i + 4 + h] = _mm512_shuffle_f32x4(x[i + h], x[i + 4 + h], 0xdd);
		}
	}
	for (int h = 0; h < 8; h++) {
		x[h] = _mm512_shuffle_f32x4(y[h], y[8 + h], 0x88);
		x[8 + h] = _mm512_shuffle_f32x4(y[h], y[8 + h], 0xdd);
	}
}

#endif
