/* SPDX-License-Identifier: BSD-3-Clause
 *
 * .npy files on disk: mapped, read element by element whatever the byte order
 * of this machine, and written.
 */
#include "npy.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fail.h"

enum {
	/* Longest part of a path shown in a message, so that the reason fits. */
	SHOWN_PATH = 160
};

static const char *shown(const char *path)
{
	size_t length = strlen(path);

	return length > SHOWN_PATH ? path + length - SHOWN_PATH : path;
}

bool npy_open(const char *path, struct npy_file *file, char *error)
{
	char reason[NPY_ERROR_MAX];
	struct stat status;
	void *map = MAP_FAILED;
	bool ok = false;
	int fd;

	memset(file, 0, sizeof(*file));
	/* O_NONBLOCK: a pipe of this name must not make us wait for a writer. */
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0 || fstat(fd, &status) != 0) {
		fail(error, "cannot open %s: %s", shown(path), strerror(errno));
		goto out;
	}
	if (!S_ISREG(status.st_mode)) {
		fail(error, "%s is not a regular file; give a .npy file", shown(path));
		goto out;
	}
	if (status.st_size == 0) {
		fail(error, "%s is empty; copy or save it again", shown(path));
		goto out;
	}
	map = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (map == MAP_FAILED) {
		fail(error, "cannot map %s: %s", shown(path), strerror(errno));
		goto out;
	}
	if (!npy_parse(map, (size_t)status.st_size, &file->head, reason)) {
		fail(error, "%s: %.300s", shown(path), reason);
		goto out;
	}
	file->map = map;
	file->size = (size_t)status.st_size;
	ok = true;
out:
	if (!ok && map != MAP_FAILED)
		munmap(map, (size_t)status.st_size);
	if (fd >= 0)
		close(fd);
	return ok;
}

void npy_close(struct npy_file *file)
{
	if (file->map)
		munmap((void *)(uintptr_t)file->map, file->size);
	memset(file, 0, sizeof(*file));
}

float npy_half(uint16_t bits)
{
	uint32_t sign = (uint32_t)(bits & 0x8000u) << 16;
	uint32_t exponent = (bits >> 10) & 0x1fu, fraction = bits & 0x3ffu;
	uint32_t word;
	float value;

	if (exponent == 0) { /* zero and subnormals: fraction x 2^-24 */
		value = (float)fraction * 0x1p-24f;
		return sign ? -value : value;
	}
	exponent = exponent == 31 ? 255 : exponent + 127 - 15;
	word = sign | exponent << 23 | fraction << 13;
	memcpy(&value, &word, sizeof(value));
	return value;
}

/* n <= 8 bytes, least significant first, whatever the byte order here. */
static uint64_t little(const unsigned char *byte, size_t n)
{
	uint64_t word = 0;

	for (size_t i = 0; i < n; i++)
		word |= (uint64_t)byte[i] << (8 * i);
	return word;
}

static float element(const unsigned char *byte, enum npy_type type)
{
	if (type == NPY_F2)
		return npy_half((uint16_t)little(byte, 2));
	if (type == NPY_F4) {
		uint32_t word = (uint32_t)little(byte, 4);
		float value;

		memcpy(&value, &word, sizeof(value));
		return value;
	} else {
		uint64_t word = little(byte, 8);
		double value;

		memcpy(&value, &word, sizeof(value));
		return (float)value;
	}
}

bool npy_read(const struct npy_file *file, size_t first, size_t n, float *out, size_t *bad)
{
	size_t size = npy_type_size(file->head.type);
	const unsigned char *byte = file->map + file->head.offset + first * size;

	for (size_t i = 0; i < n; i++) {
		out[i] = element(byte + i * size, file->head.type);
		if (!isfinite(out[i])) {
			*bad = first + i;
			return false;
		}
	}
	return true;
}

bool npy_write(const char *path, size_t rank, const size_t *dim, const float *x, char *error)
{
	char header[256];
	size_t count = 1, used;
	FILE *stream = fopen(path, "wbe");
	bool ok;

	if (!stream)
		return fail(error, "cannot write %s: %s", shown(path), strerror(errno));
	used = (size_t)snprintf(header, sizeof(header), "{'descr': '%s', 'fortran_order': False, 'shape': (",
	                        __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? "<f4" : ">f4");
	for (size_t i = 0; i < rank; i++) {
		used += (size_t)snprintf(header + used, sizeof(header) - used, "%s%zu%s", i ? " " : "", dim[i],
		                         i + 1 < rank || rank == 1 ? "," : "");
		count *= dim[i];
	}
	used += (size_t)snprintf(header + used, sizeof(header) - used, "), }");
	/* Elements start at a multiple of 64 bytes, as NumPy has it; 10 come
	 * before the header. */
	while ((10 + used + 1) % 64 != 0)
		header[used++] = ' ';
	header[used++] = '\n';
	ok = fwrite("\x93NUMPY\x01\x00", 1, 8, stream) == 8 &&
	     fputc((int)(used & 0xff), stream) != EOF && fputc((int)(used >> 8), stream) != EOF &&
	     fwrite(header, 1, used, stream) == used && fwrite(x, sizeof(*x), count, stream) == count;
	if (fclose(stream) != 0 || !ok)
		return fail(error, "cannot write %s: %s", shown(path), strerror(errno));
	return true;
}
