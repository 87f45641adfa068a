/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Elements of a file as float32, whatever the byte order of this machine.
 */
#include "tensor.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fail.h"

enum { SHOWN_PATH = 160, BLOCK_BYTES = 1 << 16 };

static const size_t sizes[] = { [TENSOR_F16] = 2, [TENSOR_BF16] = 2, [TENSOR_F32] = 4, [TENSOR_F64] = 8 };

size_t tensor_type_size(enum tensor_type type)
{
	return sizes[type];
}

const char *tensor_shown(const char *path)
{
	size_t length = strlen(path);

	return length > SHOWN_PATH ? path + length - SHOWN_PATH : path;
}

int tensor_open_file(const char *path, uint64_t *size, char *error)
{
	struct stat status;
	/* O_NONBLOCK: a pipe of this name must not make us wait for a writer. */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0 || fstat(fd, &status) != 0)
		fail(error, "cannot open %s: %s", tensor_shown(path), strerror(errno));
	else if (!S_ISREG(status.st_mode))
		fail(error, "%s is not a regular file; give a file of arrays", tensor_shown(path));
	else if (status.st_size == 0)
		fail(error, "%s is empty; copy or save it again", tensor_shown(path));
	else {
		*size = (uint64_t)status.st_size;
		return fd;
	}
	if (fd >= 0)
		close(fd);
	return -1;
}

bool tensor_read_bytes(int fd, uint64_t offset, void *out, size_t n)
{
	unsigned char *at = out;

	while (n > 0) {
		ssize_t got = pread(fd, at, n, (off_t)offset);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return false;
		at += got;
		offset += (uint64_t)got;
		n -= (size_t)got;
	}
	return true;
}

void tensor_close(struct tensor *tensor)
{
	if (tensor->open)
		close(tensor->fd);
	memset(tensor, 0, sizeof(*tensor));
}

static float from_bits(uint32_t word)
{
	float value;

	memcpy(&value, &word, sizeof(value));
	return value;
}

float tensor_half(uint16_t bits)
{
	uint32_t sign = (uint32_t)(bits & 0x8000u) << 16;
	uint32_t exponent = (bits >> 10) & 0x1fu, fraction = bits & 0x3ffu;

	if (exponent == 0) { /* zero and subnormals: fraction x 2^-24 */
		float value = (float)fraction * 0x1p-24f;

		return sign ? -value : value;
	}
	exponent = exponent == 31 ? 255 : exponent + 127 - 15;
	return from_bits(sign | exponent << 23 | fraction << 13);
}

float tensor_bfloat16(uint16_t bits)
{
	return from_bits((uint32_t)bits << 16);
}

/* n <= 8 bytes, least significant first, whatever the byte order here. */
static uint64_t little(const unsigned char *byte, size_t n)
{
	uint64_t word = 0;

	for (size_t i = 0; i < n; i++)
		word |= (uint64_t)byte[i] << (8 * i);
	return word;
}

static float element(const unsigned char *byte, enum tensor_type type)
{
	uint64_t word = little(byte, sizes[type]);
	double value;

	switch (type) {
	case TENSOR_F16:
		return tensor_half((uint16_t)word);
	case TENSOR_BF16:
		return tensor_bfloat16((uint16_t)word);
	case TENSOR_F32:
		return from_bits((uint32_t)word);
	case TENSOR_F64:
		break;
	}
	memcpy(&value, &word, sizeof(value));
	return (float)value;
}

bool tensor_decode(const unsigned char *bytes, enum tensor_type type, size_t n, float *out, size_t *bad)
{
	for (size_t i = 0; i < n; i++) {
		out[i] = element(bytes + i * sizes[type], type);
		if (!isfinite(out[i])) {
			*bad = i;
			return false;
		}
	}
	return true;
}

enum tensor_result tensor_read(const struct tensor *tensor, size_t first, size_t n, float *out, size_t *bad)
{
	unsigned char block[BLOCK_BYTES];
	size_t size = sizes[tensor->head.type], step = sizeof(block) / size;

	for (size_t i = 0; i < n; i += step) {
		size_t m = n - i < step ? n - i : step;

		if (!tensor_read_bytes(tensor->fd, tensor->head.offset + (uint64_t)(first + i) * size, block, m * size))
			return TENSOR_UNREADABLE;
		if (!tensor_decode(block, tensor->head.type, m, out + i, bad)) {
			*bad += first + i;
			return TENSOR_NOT_FINITE;
		}
	}
	return TENSOR_OK;
}
