/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A fast 64-bit hash of memory, to notice changes and to name cached files.
 * Not against an adversary.
 */
#ifndef HARNESS_HASH_H
#define HARNESS_HASH_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline uint64_t hash_mix(uint64_t h, uint64_t word)
{
	h = (h ^ word) * UINT64_C(0x9e3779b97f4a7c15);
	return h ^ h >> 32;
}

/* Four chains in turn, so that one multiplication need not wait for another. */
static inline uint64_t hash_memory(uint64_t seed, const void *data, size_t length)
{
	const unsigned char *byte = data;
	uint64_t lane[4] = { seed, ~seed, seed ^ length, seed + length }, word;
	size_t i = 0;

	for (; i + 32 <= length; i += 32) {
		for (size_t l = 0; l < 4; l++) {
			memcpy(&word, byte + i + 8 * l, 8);
			lane[l] = hash_mix(lane[l], word);
		}
	}
	for (; i < length; i += 8) {
		word = 0;
		memcpy(&word, byte + i, length - i < 8 ? length - i : 8);
		lane[0] = hash_mix(lane[0], word);
	}
	return hash_mix(hash_mix(hash_mix(hash_mix(length, lane[0]), lane[1]), lane[2]), lane[3]);
}

#endif
