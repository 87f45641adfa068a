/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The vector words of kern_simd.h for AVX2 and FMA: 8 floats. */
#ifndef KERNELS_VEC_AVX2_H
#define KERNELS_VEC_AVX2_H

#include <immintrin.h>
#include <stdint.h>

#define VL 8
typedef __m256 vf;

static inline vf v_set1(float a) { return _mm256_set1_ps(a); }
static inline vf v_load(const float *p) { return _mm256_loadu_ps(p); }
static inline void v_store(float *p, vf a) { _mm256_storeu_ps(p, a); }
static inline vf v_fma(vf a, vf b, vf c) { return _mm256_fmadd_ps(a, b, c); }
/* Where either is a NaN: b. */
static inline vf v_max(vf a, vf b) { return _mm256_max_ps(a, b); }
static inline vf v_min(vf a, vf b) { return _mm256_min_ps(a, b); }
static inline vf v_round(vf a) { return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
/* a 2^n for integral n; 0 below the smallest normal. */
static inline vf v_scale2(vf a, vf n)
{
	vf low = _mm256_set1_ps(-126.0f);
	/* maxps returns its second operand when either is a NaN, which then stays. */
	__m256i e = _mm256_cvtps_epi32(_mm256_min_ps(_mm256_set1_ps(127.0f), _mm256_max_ps(low, n)));
	vf scaled = _mm256_mul_ps(a, _mm256_castsi256_ps(_mm256_slli_epi32(
	                _mm256_add_epi32(e, _mm256_set1_epi32(127)), 23)));
	return _mm256_andnot_ps(_mm256_cmp_ps(n, low, _CMP_LT_OQ), scaled);
}
/* x > 0 ? a : b */
static inline vf v_if_positive(vf x, vf a, vf b)
{
	return _mm256_blendv_ps(b, a, _mm256_cmp_ps(x, _mm256_setzero_ps(), _CMP_GT_OQ));
}
/* Lane r of a where lo[r] <= j < hi[r], else b. */
static inline vf v_if_between(int32_t j, const int32_t *lo, const int32_t *hi, vf a, vf b)
{
	__m256i at = _mm256_set1_epi32(j);
	__m256i before = _mm256_cmpgt_epi32(_mm256_loadu_si256((const __m256i *)lo), at);
	__m256i within = _mm256_cmpgt_epi32(_mm256_loadu_si256((const __m256i *)hi), at);
	return _mm256_blendv_ps(b, a, _mm256_castsi256_ps(_mm256_andnot_si256(before, within)));
}
/* Lane r of a where bit r is set, else b. */
static inline vf v_if_bit(uint32_t bits, vf a, vf b)
{
	__m256i lane = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
	__m256i set = _mm256_and_si256(_mm256_set1_epi32((int32_t)bits), lane);
	return _mm256_blendv_ps(b, a, _mm256_castsi256_ps(_mm256_cmpeq_epi32(set, lane)));
}
static inline __m256i v_part_mask(size_t n)
{
	return _mm256_cmpgt_epi32(_mm256_set1_epi32((int32_t)n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
/* Bit r: lane r of a is >= that of b. */
static inline uint32_t v_at_least(vf a, vf b) { return (uint32_t)_mm256_movemask_ps(_mm256_cmp_ps(a, b, _CMP_GE_OQ)); }
/* The first n < VL floats, zeros behind. */
static inline vf v_load_part(const float *p, size_t n) { return _mm256_maskload_ps(p, v_part_mask(n)); }
static inline void v_store_part(float *p, vf a, size_t n) { _mm256_maskstore_ps(p, v_part_mask(n), a); }
static inline float v_hsum(vf a)
{
	__m128 s = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
	s = _mm_add_ps(s, _mm_movehl_ps(s, s));
	return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}
static inline float v_hmax(vf a)
{
	__m128 s = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
	s = _mm_max_ps(s, _mm_movehl_ps(s, s));
	return _mm_cvtss_f32(_mm_max_ss(s, _mm_movehdup_ps(s)));
}
/* VL halves to floats and back. */
static inline vf v_from_bf16(const uint16_t *p)
{
	__m256i wide = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)p));
	return _mm256_castsi256_ps(_mm256_slli_epi32(wide, 16));
}
static inline void v_to_bf16(uint16_t *p, vf a)
{
	__m256i u = _mm256_castps_si256(a), half = _mm256_srli_epi32(u, 16);
	__m256i even = _mm256_and_si256(half, _mm256_set1_epi32(1));
	__m256i rounded = _mm256_add_epi32(u, _mm256_add_epi32(even, _mm256_set1_epi32(0x7fff)));
	__m256i nan = _mm256_castps_si256(_mm256_cmp_ps(a, a, _CMP_UNORD_Q));
	__m256i quiet = _mm256_or_si256(half, _mm256_set1_epi32(0x40));
	__m256i out = _mm256_blendv_epi8(_mm256_srli_epi32(rounded, 16), quiet, nan);
	__m128i packed = _mm_packus_epi32(_mm256_castsi256_si128(out), _mm256_extracti128_si256(out, 1));
	_mm_storeu_si128((__m128i *)p, packed);
}
static inline vf v_from_f16(const uint16_t *p) { return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)p)); }
static inline void v_to_f16(uint16_t *p, vf a)
{
	_mm_storeu_si128((__m128i *)p, _mm256_cvtps_ph(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
/* Towards L2. Always inlined: gcc takes a function that only prefetches for one
 * without effect and drops its calls. */
static inline __attribute__((always_inline)) void v_prefetch_far(const char *p) { _mm_prefetch(p, _MM_HINT_T1); }

/* 8 x 8 transpose in registers: three rounds of pairwise exchanges. */
static inline void v_transpose(vf x[VL])
{
	vf y[VL];

	for (int i = 0; i < 8; i += 2) {
		y[i] = _mm256_unpacklo_ps(x[i], x[i + 1]);
		y[i + 1] = _mm256_unpackhi_ps(x[i], x[i + 1]);
	}
	for (int i = 0; i < 8; i += 4) {
		for (int h = 0; h < 2; h++) {
			__m256d a = _mm256_castps_pd(y[i + h]), b = _mm256_castps_pd(y[i + 2 + h]);
			x[i + 2 * h] = _mm256_castpd_ps(_mm256_unpacklo_pd(a, b));
			x[i + 2 * h + 1] = _mm256_castpd_ps(_mm256_unpackhi_pd(a, b));
		}
	}
	for (int h = 0; h < 4; h++) {
		y[h] = _mm256_permute2f128_ps(x[h], x[4 + h], 0x20);
		y[4 + h] = _mm256_permute2f128_ps(x[h], x[4 + h], 0x31);
	}
	for (int i = 0; i < 8; i++)
		x[i] = y[i];
}

#endif
