/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Segment means. */
#include "segment.h"

#include "../kernels/kern.h"

#include <string.h>

void segment_means(const struct kern *kern, const float *x, size_t ldx, size_t n, size_t d, size_t m,
                   size_t u0, size_t u1, float *out)
{
	for (size_t u = u0; u < u1; u++) {
		size_t begin = segment_begin(n, m, u), size = segment_size(n, m, u);
		float *mean = out + u * d;
		memset(mean, 0, d * sizeof *mean);
		for (size_t i = 0; i < size; i++)
			kern->axpy(mean, 1, x + (begin + i) * ldx, d);
		kern->scale(mean, 1 / (float)size, d);
	}
}
