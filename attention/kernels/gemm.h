/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Large dense products: the one door to BLAS. Row-major, f32. */
#ifndef KERNELS_GEMM_H
#define KERNELS_GEMM_H

#include <stddef.h>

/* c (m x n) = alpha a b + beta c, with a (m x k) and b (k x n). */
void gemm_nn(size_t m, size_t n, size_t k, float alpha, const float *a, size_t lda,
             const float *b, size_t ldb, float beta, float *c, size_t ldc);

/* c (m x n) = alpha a b^T + beta c, with a (m x k) and b (n x k). */
void gemm_nt(size_t m, size_t n, size_t k, float alpha, const float *a, size_t lda,
             const float *b, size_t ldb, float beta, float *c, size_t ldc);

#endif
