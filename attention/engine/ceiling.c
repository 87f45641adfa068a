/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What a machine can do at most: the work behind `attnbench roof`. */
#include "../attn.h"
#include "../kernels/gemm.h"
#include "../kernels/kern.h"

/* Registers hold the chains of the FMA loop, so one call is many rounds. */
enum { FMA_BATCH = 4096 };

static float round_of(const struct kern *kern, enum attn_ceiling what, float *x, size_t floats)
{
	size_t half = floats / 2, side = (size_t)sqrt((double)floats / 3);

	switch (what) {
	case ATTN_CEILING_FMA:
		return kern->fma_rounds(FMA_BATCH);
	case ATTN_CEILING_READ:
		return kern->sum(x, floats);
	case ATTN_CEILING_TRIAD:
		kern->axpy(x, 1e-30f, x + half, half);
		return x[0];
	case ATTN_CEILING_EXP:
		/* From one half to the other: the input stays what it was. */
		return kern->exp_shift(x + half, x, 1, half);
	case ATTN_CEILING_SGEMM:
		gemm_nn(side, side, side, 1, x, side, x + side * side, side, 0, x + 2 * side * side, side);
		return x[2 * side * side];
	case ATTN_CEILING_BF16:
		return kern->bf16 ? kern->bf16->dot_rounds(FMA_BATCH) : 0;
	}
	return 0;
}

double attn_ceiling(const struct kern *kern, enum attn_ceiling what, float *x, size_t floats,
                    size_t rounds)
{
	size_t half = floats / 2, side = (size_t)sqrt((double)floats / 3);
	const double work[] = {
		[ATTN_CEILING_FMA] = (double)(FMA_BATCH * kern->fma_flops),
		[ATTN_CEILING_READ] = (double)(floats * sizeof(float)),
		[ATTN_CEILING_TRIAD] = 3 * (double)(half * sizeof(float)),
		[ATTN_CEILING_EXP] = (double)half,
		[ATTN_CEILING_SGEMM] = 2 * (double)side * (double)side * (double)side,
		[ATTN_CEILING_BF16] = kern->bf16 ? (double)(FMA_BATCH * kern->bf16->dot_flops) : 0,
	};
	volatile float sink = 0;

	for (size_t r = 0; r < rounds; r++)
		sink = round_of(kern, what, x, floats);
	(void)sink;
	return work[what] * (double)rounds;
}
