/* SPDX-License-Identifier: BSD-3-Clause
 *
 * AVX-512: 16 queries a tile. One 512-bit FMA a cycle with latency 4 is
 * covered by 8 accumulators; where there are two, the 16 of a pair of tiles
 * need fewer loads as well. */
#include "vec_avx512.h"

#define ISA "avx512"
#define TABLE kern_avx512
#define QV 1
#define PAIR 2
#define KR 8
#define DR 8
#define MR 8
#define NV 2
#define BLOCK 96

#include "kern_simd.h"
