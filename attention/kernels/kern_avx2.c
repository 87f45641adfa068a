/* SPDX-License-Identifier: BSD-3-Clause
 *
 * AVX2 and FMA: 16 queries a tile as two vectors, so that a broadcast key
 * element serves two FMAs: two FMAs and two loads a cycle are the limits. */
#include "vec_avx2.h"

#define ISA "avx2"
#define TABLE kern_avx2
#define QV 2
#define PAIR 1
#define KR 4
#define DR 4
#define MR 4
#define NV 2
#define BLOCK 96

#include "kern_simd.h"
