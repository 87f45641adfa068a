/* SPDX-License-Identifier: BSD-3-Clause
 *
 * .npy files on disk: opened and written.
 */
#include "npy.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "fail.h"

bool npy_open(const char *path, struct tensor *tensor, char *error)
{
	unsigned char start[NPY_START_MAX];
	char reason[FAIL_MAX];
	uint64_t size = 0;
	int fd = tensor_open_file(path, &size, error);
	size_t have = size < sizeof(start) ? (size_t)size : sizeof(start);
	bool ok;

	memset(tensor, 0, sizeof(*tensor));
	if (fd < 0)
		return false;
	ok = tensor_read_bytes(fd, 0, start, have) || fail(reason, "it cannot be read; copy it again");
	ok = ok && npy_parse(start, have, size, &tensor->head, reason);
	if (!ok) {
		close(fd);
		return fail(error, "%s: %.300s", tensor_shown(path), reason);
	}
	tensor->open = true;
	tensor->fd = fd;
	return true;
}

bool npy_write(const char *path, size_t rank, const size_t *dim, const float *x, char *error)
{
	char header[256];
	size_t count = 1, used;
	FILE *stream = fopen(path, "wbe");
	bool ok;

	if (!stream)
		return fail(error, "cannot write %s: %s", tensor_shown(path), strerror(errno));
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
		return fail(error, "cannot write %s: %s", tensor_shown(path), strerror(errno));
	return true;
}
