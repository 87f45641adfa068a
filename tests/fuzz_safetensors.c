/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Fuzz target: a file of any bytes is refused with a sentence, or its three
 * tensors are read whole within its bounds. Build with clang
 * -fsanitize=fuzzer,address,undefined and start from tests/corpus/safetensors.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../datasets/safetensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A sentence of printable characters, ended within its buffer. */
static int refused(const char error[TENSOR_ERROR_MAX])
{
	size_t length = strnlen(error, TENSOR_ERROR_MAX);

	if (length == 0 || length == TENSOR_ERROR_MAX)
		abort();
	for (size_t i = 0; i < length; i++)
		if (error[i] < ' ' || error[i] > '~')
			abort();
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char error[TENSOR_ERROR_MAX];
	struct safetensors_heads heads;
	size_t length, bad = 0;
	float row[64];

	memset(error, 0x7f, sizeof(error));
	if (size < SAFETENSORS_PREFIX)
		return 0;
	if (!safetensors_header(data, size, &length, error) ||
	    !safetensors_parse((const char *)data + SAFETENSORS_PREFIX, length, size, &heads, error))
		return refused(error);
	for (size_t t = 0; t < 3; t++) {
		const struct tensor_head *head = &heads.head[t];
		size_t each = tensor_type_size(head->type);

		if (head->offset < SAFETENSORS_PREFIX + length || head->offset + head->count * each > size)
			abort();
		for (size_t i = 0; i < head->count; i += 64) {
			size_t n = head->count - i < 64 ? head->count - i : 64;

			if (!tensor_decode(data + head->offset + i * each, head->type, n, row, &bad) && bad >= n)
				abort();
		}
	}
	return 0;
}
