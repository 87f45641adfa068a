/* SPDX-License-Identifier: BSD-3-Clause
 *
 * NumPy's .npy files, versions 1.0 and 2.0: little-endian float16, float32 and
 * float64 in C order. The reader is strict: a header that says anything but
 * what follows it is refused.
 */
#ifndef DATASETS_NPY_H
#define DATASETS_NPY_H

#include "tensor.h"

/* The longest beginning of a file that is looked at. NumPy itself refuses
 * headers beyond 10000 bytes; three keys need 120. */
enum { NPY_START_MAX = 10000 + 12 };

/* Reads the header of a file of `size` bytes from its first bytes buf[0..have),
 * have = min(size, NPY_START_MAX), and checks it against the size. False with a
 * sentence in error[TENSOR_ERROR_MAX]. */
bool npy_parse(const void *buf, size_t have, uint64_t size, struct tensor_head *head, char *error);

bool npy_open(const char *path, struct tensor *tensor, char *error);

/* Writes x, rank dimensions of float32, as version 1.0. */
bool npy_write(const char *path, size_t rank, const size_t *dim, const float *x, char *error);

#endif
