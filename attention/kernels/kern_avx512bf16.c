/* SPDX-License-Identifier: BSD-3-Clause
 *
 * AVX-512 with dot products of bf16 pairs (AVX512_BF16): all of kern_avx512.c,
 * and tiles that multiply bf16 without widening it. */
#include "vec_avx512.h"

#define ISA "avx512bf16"
#define TABLE kern_avx512bf16
#define QV 1
#define PAIR 2
#define KR 8
#define DR 8
#define MR 8
#define NV 2
#define BLOCK 96
#define BF16_SLOTS &bf16_slots
#define BF16_BODY "tile_bf16.h"

#include "kern_simd.h"
