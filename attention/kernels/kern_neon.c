/* SPDX-License-Identifier: BSD-3-Clause
 *
 * NEON on aarch64: 16 queries a tile as four vectors; 32 registers hold 16
 * accumulators, the queries and the broadcasts. */
#include "vec_neon.h"

#define ISA "neon"
#define TABLE kern_neon
#define QV 4
#define PAIR 1
#define KR 4
#define DR 4
#define MR 8
#define NV 2
#define BLOCK 96

#include "kern_simd.h"
