/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The one file that calls CBLAS. Members of a team call it at the same time,
 * each for its own rows, so OpenBLAS itself runs one thread a caller: its own
 * pool would spin against the team. */
#include "gemm.h"

#include "../attn.h"

#include <cblas.h>
#include <float.h>

static void gemm(enum CBLAS_TRANSPOSE tb, size_t m, size_t n, size_t k, float alpha,
                 const float *a, size_t lda, const float *b, size_t ldb, float beta,
                 float *c, size_t ldc)
{
	if (m == 0 || n == 0)
		return;
	cblas_sgemm(CblasRowMajor, CblasNoTrans, tb, (blasint)m, (blasint)n, (blasint)k,
	            alpha, a, (blasint)lda, b, (blasint)ldb, beta, c, (blasint)ldc);
}

void gemm_nn(size_t m, size_t n, size_t k, float alpha, const float *a, size_t lda,
             const float *b, size_t ldb, float beta, float *c, size_t ldc)
{
	gemm(CblasNoTrans, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}

void gemm_nt(size_t m, size_t n, size_t k, float alpha, const float *a, size_t lda,
             const float *b, size_t ldb, float beta, float *c, size_t ldc)
{
	gemm(CblasTrans, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}

const char *attn_blas_config(void)
{
	return openblas_get_config();
}

const char *attn_blas_core(void)
{
	return openblas_get_corename();
}

void attn_blas_threads(int threads)
{
	openblas_set_num_threads(threads);
}

/* Row-major, so BLAS sees the transpose: columns beyond two of its blocks, depth
 * beyond two of its panels, and both are full. */
void attn_blas_warm(float *x)
{
	enum { ROWS = 64, DEPTH = 1536, COLUMNS = 1024 };
	const float *a = x, *b = a + ROWS * DEPTH;

	gemm_nn(ROWS, COLUMNS, DEPTH, 1, a, DEPTH, b, COLUMNS, 0, x + (ROWS + COLUMNS) * DEPTH, COLUMNS);
}

double attn_blas_selftest(float *work)
{
	enum { N = 31 }; /* odd: every tail of a blocked kernel */
	float *a = work, *b = a + N * N, *c = b + N * N;
	double worst = 0;

	for (int i = 0; i < N * N; i++) {
		a[i] = (float)((i * 7 + 3) % 19 - 9) / 8;
		b[i] = (float)((i * 5 + 1) % 23 - 11) / 8;
	}
	gemm_nn(N, N, N, 1, a, N, b, N, 0, c, N);
	for (int i = 0; i < N; i++) {
		for (int j = 0; j < N; j++) {
			double exact = 0, magnitude = 0;
			for (int l = 0; l < N; l++) {
				double term = (double)a[i * N + l] * (double)b[l * N + j];
				exact += term;
				magnitude += fabs(term);
			}
			/* Error of a sum of N products in any order: N u sum|x y|. */
			double bound = N * 0.5 * FLT_EPSILON * magnitude + FLT_MIN;
			double error = fabs((double)c[i * N + j] - exact) / bound;
			if (!(error <= worst))
				worst = error;
		}
	}
	return worst;
}
