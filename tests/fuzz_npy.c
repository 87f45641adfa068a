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
	size_t have = size < NPY_START_MAX ? size : NPY_START_MAX, each, bad = 0;
	char error[TENSOR_ERROR_MAX];
	struct tensor_head head;
	float row[64];

	memset(error, 0x7f, sizeof(error));
	if (!npy_parse(data, have, size, &head, error)) {
		size_t length = strnlen(error, sizeof(error));

		/* A sentence of printable characters, ended within its buffer. */
		if (length == 0 || length == sizeof(error))
			abort();
		for (size_t i = 0; i < length; i++)
			if (error[i] < ' ' || error[i] > '~')
				abort();
		return 0;
	}
	each = tensor_type_size(head.type);
	if (head.offset + head.count * each != size)
		abort();
	for (size_t i = 0; i < head.count; i += 64) {
		size_t n = head.count - i < 64 ? head.count - i : 64;

		if (!tensor_decode(data + head.offset + i * each, head.type, n, row, &bad) && bad >= n)
			abort();
	}
	return 0;
}
