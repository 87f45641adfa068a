/* SPDX-License-Identifier: BSD-3-Clause
 *
 * .safetensors files: eight bytes with the length of a header, the header in
 * JSON, and the elements:
 *
 *     {"q": {"dtype": "F32", "shape": [8, 512, 64], "data_offsets": [0, 1048576]}, ...}
 *
 * The reader is strict: elements must fill the rest of the file without gaps
 * or overlaps, and every number in the header must agree with the others.
 */
#ifndef DATASETS_SAFETENSORS_H
#define DATASETS_SAFETENSORS_H

#include "tensor.h"

enum {
	SAFETENSORS_PREFIX = 8,
	/* Three arrays need 300 bytes; a model of thousands stays below. */
	SAFETENSORS_HEADER_MAX = 1 << 20,
};

/* Queries, keys and values: "q", "k" and "v", or "query", "key" and "value". */
struct safetensors_heads {
	const char *name[3]; /* literals */
	struct tensor_head head[3];
};

/* The length of the header, from the first eight bytes of a file. False with
 * a sentence in error[TENSOR_ERROR_MAX]. */
bool safetensors_header(const unsigned char prefix[SAFETENSORS_PREFIX], uint64_t size, size_t *length, char *error);

/* Reads header[0..length) of a file of `size` bytes and finds the three. */
bool safetensors_parse(const char *header, size_t length, uint64_t size, struct safetensors_heads *heads, char *error);

/* Opens the three tensors of a file; names[i] is what tensor i is called. */
bool safetensors_open(const char *path, struct tensor *const tensors[3], const char *names[3], char *error);

#endif
