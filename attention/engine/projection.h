/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Random projections: Gaussian rows, orthogonal in blocks if asked. */
#ifndef ENGINE_PROJECTION_H
#define ENGINE_PROJECTION_H

#include "../attn.h"

enum projection_length {
	PROJECTION_CHI,  /* independent chi(d): rows are N(0, I) one by one */
	PROJECTION_ROOT, /* sqrt(d) */
};

/* w_t (d x m, row-major): column r is row w_r of W. With ortho, blocks of d
 * rows (the last truncated) are orthogonal and Haar-distributed: Gram-Schmidt
 * on Gaussian rows leaves no sign to an algorithm, unlike Householder QR.
 * Without ortho: independent N(0, 1) entries. */
void projection_gaussian(float *w_t, size_t m, size_t d, bool ortho, enum projection_length length,
                         uint64_t seed, uint64_t stream);

#endif
