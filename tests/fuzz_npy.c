/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Fuzz target: a file of any bytes is refused with a sentence, or read whole
 * within its bounds. Build with clang -fsanitize=fuzzer,address,undefined and
 * start from tests/corpus/npy.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../datasets/npy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char error[NPY_ERROR_MAX];
	struct npy_file file = { .map = data, .size = size };
	float row[64];
	size_t bad;

	memset(error, 0x7f, sizeof(error));
	if (!npy_parse(data, size, &file.head, error)) {
		size_t length = strnlen(error, sizeof(error));

		/* A sentence of printable characters, ended within its buffer. */
		if (length == 0 || length == sizeof(error))
			abort();
		for (size_t i = 0; i < length; i++)
			if (error[i] < ' ' || error[i] > '~')
				abort();
		return 0;
	}
	if (file.head.offset + file.head.count * npy_type_size(file.head.type) != size)
		abort();
	for (size_t i = 0; i < file.head.count; i += 64) {
		size_t n = file.head.count - i < 64 ? file.head.count - i : 64;

		if (!npy_read(&file, i, n, row, &bad) && (bad < i || bad >= i + n))
			abort();
	}
	return 0;
}
