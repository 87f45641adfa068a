/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Fourier transforms along the sequence, of all channels at once.
 *
 * Own code, for want of a library that fits: FFTW is GPL, and this suite is BSD;
 * pocketfft's C form (BSD) is in no distribution; kissfft (BSD) allocates inside a
 * transform and takes p^2 steps for a prime p. A transform of many channels also
 * has a form of its own: a row is one vector, a butterfly of radix r is a small
 * matrix product, and so the kernel table's product does all of the work.
 */
#ifndef ENGINE_FFT_H
#define ENGINE_FFT_H

#include "../attn.h"

/* A row of `cols` complex numbers: cols real parts, padding up to `half` floats,
 * cols imaginary parts, padding. */
struct fft {
	size_t n;         /* rows */
	size_t cols, half;
	size_t core;      /* rows of the mixed-radix transform: n, or more (Bluestein) */
	const float *table; /* fft_table_floats(n), from fft_prepare */
};

struct fft fft_of(size_t n, size_t cols, const float *table);

size_t fft_table_floats(size_t n); /* ATTN_ALIGN-aligned, read-only afterwards */
void fft_prepare(size_t n, float *table);

/* Floats that the team shares, beside x and y; floats of each rank. */
size_t fft_shared_floats(size_t n, size_t cols);
size_t fft_scratch_floats(size_t cols);

/* FLOP of one transform as it is run. */
double fft_flops(size_t n, size_t cols);

/* y = the transform of x, sum_t x_t e^(-2 pi i k t / n), n rows each; x may be lost. Every
 * rank calls it; ends with a barrier. */
void fft_run(const struct fft *f, const struct kern *kern, float *x, float *y, float *shared,
             float *scratch, struct attn_team *team);

#endif
