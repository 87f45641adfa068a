/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The vector words of kern_simd.h for NEON on aarch64: 4 floats. */
#ifndef KERNELS_VEC_NEON_H
#define KERNELS_VEC_NEON_H

#include <arm_neon.h>
#include <stddef.h>
#include <stdint.h>

#define VL 4
typedef float32x4_t vf;

static inline vf v_set1(float a) { return vdupq_n_f32(a); }
static inline vf v_load(const float *p) { return vld1q_f32(p); }
static inline void v_store(float *p, vf a) { vst1q_f32(p, a); }
static inline vf v_fma(vf a, vf b, vf c) { return vfmaq_f32(c, a, b); }
static inline vf v_max(vf a, vf b) { return vmaxq_f32(a, b); }
static inline vf v_min(vf a, vf b) { return vminq_f32(a, b); }
static inline vf v_round(vf a) { return vrndnq_f32(a); }
/* a 2^n for integral n; 0 below the smallest normal. */
static inline vf v_scale2(vf a, vf n)
{
	vf low = vdupq_n_f32(-126.0f);
	int32x4_t e = vcvtq_s32_f32(vminq_f32(vdupq_n_f32(127.0f), vmaxq_f32(low, n)));
	int32x4_t bits = vshlq_n_s32(vaddq_s32(e, vdupq_n_s32(127)), 23);
	/* A NaN in n must stay one: a carries it too. */
	vf scaled = vmulq_f32(a, vreinterpretq_f32_s32(bits));
	return vreinterpretq_f32_u32(vbicq_u32(vreinterpretq_u32_f32(scaled), vcltq_f32(n, low)));
}
/* x > 0 ? a : b */
static inline vf v_if_positive(vf x, vf a, vf b) { return vbslq_f32(vcgtzq_f32(x), a, b); }
/* Lane r of a where lo[r] <= j < hi[r], else b. */
static inline vf v_if_between(int32_t j, const int32_t *lo, const int32_t *hi, vf a, vf b)
{
	int32x4_t at = vdupq_n_s32(j);
	uint32x4_t in = vandq_u32(vcleq_s32(vld1q_s32(lo), at), vcltq_s32(at, vld1q_s32(hi)));
	return vbslq_f32(in, a, b);
}
/* Lane r of a where bit r is set, else b. */
static inline vf v_if_bit(uint32_t bits, vf a, vf b)
{
	static const uint32_t lane[4] = { 1, 2, 4, 8 };
	return vbslq_f32(vtstq_u32(vdupq_n_u32(bits), vld1q_u32(lane)), a, b);
}
/* Bit r: lane r of a is >= that of b. */
static inline uint32_t v_at_least(vf a, vf b)
{
	static const uint32_t lane[4] = { 1, 2, 4, 8 };
	return vaddvq_u32(vandq_u32(vcgeq_f32(a, b), vld1q_u32(lane)));
}
/* The first n < VL floats, zeros behind. */
static inline vf v_load_part(const float *p, size_t n)
{
	float x[VL] = { 0 };
	for (size_t i = 0; i < n; i++)
		x[i] = p[i];
	return vld1q_f32(x);
}
static inline void v_store_part(float *p, vf a, size_t n)
{
	float x[VL];
	vst1q_f32(x, a);
	for (size_t i = 0; i < n; i++)
		p[i] = x[i];
}
static inline float v_hsum(vf a) { return vaddvq_f32(a); }
static inline float v_hmax(vf a) { return vmaxvq_f32(a); }
/* VL halves to floats and back. */
static inline vf v_from_bf16(const uint16_t *p)
{
	return vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(p), 16));
}
static inline void v_to_bf16(uint16_t *p, vf a)
{
	uint32x4_t u = vreinterpretq_u32_f32(a), half = vshrq_n_u32(u, 16);
	uint32x4_t rounded = vaddq_u32(u, vaddq_u32(vandq_u32(half, vdupq_n_u32(1)), vdupq_n_u32(0x7fff)));
	uint32x4_t number = vceqq_f32(a, a), quiet = vorrq_u32(half, vdupq_n_u32(0x40));
	vst1_u16(p, vmovn_u32(vbslq_u32(number, vshrq_n_u32(rounded, 16), quiet)));
}
static inline vf v_from_f16(const uint16_t *p) { return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p))); }
static inline void v_to_f16(uint16_t *p, vf a) { vst1_u16(p, vreinterpret_u16_f16(vcvt_f16_f32(a))); }
/* Towards L2. Always inlined: gcc takes a function that only prefetches for one
 * without effect and drops its calls. */
static inline __attribute__((always_inline)) void v_prefetch_far(const char *p) { __builtin_prefetch(p, 0, 2); }

/* 4 x 4 transpose in registers. */
static inline void v_transpose(vf x[VL])
{
	float32x4x2_t a = vtrnq_f32(x[0], x[1]), b = vtrnq_f32(x[2], x[3]);

	x[0] = vcombine_f32(vget_low_f32(a.val[0]), vget_low_f32(b.val[0]));
	x[1] = vcombine_f32(vget_low_f32(a.val[1]), vget_low_f32(b.val[1]));
	x[2] = vcombine_f32(vget_high_f32(a.val[0]), vget_high_f32(b.val[0]));
	x[3] = vcombine_f32(vget_high_f32(a.val[1]), vget_high_f32(b.val[1]));
}

#endif
