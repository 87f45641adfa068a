/* SPDX-License-Identifier: BSD-3-Clause
 *
 * An array of numbers inside a file, whatever the format of the file around
 * it: little-endian, row after row, without gaps. Elements are read when they
 * are asked for, never mapped: a file that is cut short meanwhile is an error,
 * not a signal.
 */
#ifndef DATASETS_TENSOR_H
#define DATASETS_TENSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { TENSOR_MAX_RANK = 4, TENSOR_ERROR_MAX = 512 };

enum tensor_type { TENSOR_F16, TENSOR_BF16, TENSOR_F32, TENSOR_F64 };

struct tensor_head {
	enum tensor_type type;
	size_t rank, dim[TENSOR_MAX_RANK]; /* each dimension >= 1 */
	size_t count;                      /* elements */
	uint64_t offset;                   /* of the first element, in bytes */
};

struct tensor {
	struct tensor_head head;
	bool open;
	int fd; /* owned while open */
};

enum tensor_result { TENSOR_OK, TENSOR_NOT_FINITE, TENSOR_UNREADABLE };

size_t tensor_type_size(enum tensor_type type); /* bytes of an element */

/* Opens a regular file that is not empty; its size goes to *size. Less than 0,
 * and a sentence in error[TENSOR_ERROR_MAX]. */
int tensor_open_file(const char *path, uint64_t *size, char *error);

/* Reads n bytes at an offset. False: an error, or the file ends before. */
bool tensor_read_bytes(int fd, uint64_t offset, void *out, size_t n);

/* The end of a path that is shown in a message, so that the reason fits. */
const char *tensor_shown(const char *path);

/* out[0..n) = elements first .. first + n - 1. TENSOR_NOT_FINITE: element *bad
 * is no finite float32. TENSOR_UNREADABLE: the file changed, or the disk. */
enum tensor_result tensor_read(const struct tensor *tensor, size_t first, size_t n, float *out, size_t *bad);
void tensor_close(struct tensor *tensor);

/* out[0..n) from n elements in memory. False: number *bad is not finite as a
 * float32. */
bool tensor_decode(const unsigned char *bytes, enum tensor_type type, size_t n, float *out, size_t *bad);

float tensor_half(uint16_t bits);     /* the value of an IEEE 754 binary16 */
float tensor_bfloat16(uint16_t bits); /* the upper half of a binary32 */

#endif
