/* SPDX-License-Identifier: BSD-3-Clause
 *
 * NumPy's .npy files, versions 1.0 and 2.0: little-endian float16, float32 and
 * float64 in C order. The reader is strict: a header that says anything but
 * what follows it is refused. A file is mapped, never read whole.
 */
#ifndef DATASETS_NPY_H
#define DATASETS_NPY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { NPY_MAX_RANK = 4, NPY_ERROR_MAX = 512 };

enum npy_type { NPY_F2, NPY_F4, NPY_F8 };

struct npy {
	enum npy_type type;
	size_t rank, dim[NPY_MAX_RANK]; /* each dimension >= 1 */
	size_t count;                   /* elements */
	size_t offset;                  /* of the first element, in bytes */
};

/* A mapped file. npy_close() releases it; all zero is a closed file. */
struct npy_file {
	struct npy head;
	const unsigned char *map;
	size_t size;
};

/* Reads the header of a whole file held in buf[0..size), and checks it against
 * size. False with a sentence in error[NPY_ERROR_MAX]. */
bool npy_parse(const void *buf, size_t size, struct npy *npy, char *error);

bool npy_open(const char *path, struct npy_file *file, char *error);
void npy_close(struct npy_file *file);

/* out[0..n) = elements first .. first + n - 1. False if one of them is not
 * finite as a float32: its index goes to *bad. */
bool npy_read(const struct npy_file *file, size_t first, size_t n, float *out, size_t *bad);

/* Writes x, rank dimensions of float32, as version 1.0. */
bool npy_write(const char *path, size_t rank, const size_t *dim, const float *x, char *error);

const char *npy_type_name(enum npy_type type); /* "<f2", "<f4", "<f8" */
size_t npy_type_size(enum npy_type type);      /* bytes */

/* The value of an IEEE 754 binary16, exactly. */
float npy_half(uint16_t bits);

#endif
