/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Counter-based random numbers: Philox4x32-10 (Salmon, Moraes, Dror, Shaw,
 * "Parallel random numbers: as easy as 1, 2, 3", SC 2011). The key is the
 * seed, the counter is (index, stream); nothing is kept between calls.
 *
 * Normals by Box-Muller in double from 32-bit uniforms, four a block: normal
 * number i is number i mod 4 of block i / 4. Largest magnitude 6.7.
 */
#include "../attn.h"

#include <string.h>

void attn_random_bits(uint64_t seed, uint64_t stream, uint64_t index, uint32_t bits[4])
{
	uint32_t c0 = (uint32_t)index, c1 = (uint32_t)(index >> 32);
	uint32_t c2 = (uint32_t)stream, c3 = (uint32_t)(stream >> 32);
	uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);

	for (int round = 0; round < 10; round++) {
		uint64_t a = (uint64_t)0xD2511F53u * c0, b = (uint64_t)0xCD9E8D57u * c2;
		c0 = (uint32_t)(b >> 32) ^ c1 ^ k0;
		c1 = (uint32_t)b;
		c2 = (uint32_t)(a >> 32) ^ c3 ^ k1;
		c3 = (uint32_t)a;
		k0 += 0x9E3779B9u;
		k1 += 0xBB67AE85u;
	}
	bits[0] = c0;
	bits[1] = c1;
	bits[2] = c2;
	bits[3] = c3;
}

double attn_random_uniform(uint64_t seed, uint64_t stream, uint64_t index)
{
	uint32_t b[4];

	attn_random_bits(seed, stream, index, b);
	uint64_t x = (uint64_t)b[0] << 20 ^ b[1] >> 12; /* 52 bits: x + 1/2 is exact */
	return ((double)x + 0.5) * 0x1p-52;
}

static void normal_block(uint64_t seed, uint64_t stream, uint64_t block, double z[4])
{
	const double tau = 6.283185307179586476925;
	uint32_t b[4];

	attn_random_bits(seed, stream, block, b);
	for (int i = 0; i < 4; i += 2) {
		double radius = sqrt(-2 * log(((double)b[i] + 0.5) * 0x1p-32));
		double angle = tau * ((double)b[i + 1] * 0x1p-32);
		z[i] = radius * cos(angle);
		z[i + 1] = radius * sin(angle);
	}
}

double attn_random_normal(uint64_t seed, uint64_t stream, uint64_t index)
{
	double z[4];

	normal_block(seed, stream, index / 4, z);
	return z[index % 4];
}

void attn_random_normals(uint64_t seed, uint64_t stream, uint64_t first, size_t n, float *x)
{
	double z[4];

	for (size_t i = 0; i < n; i++) {
		uint64_t at = first + i;
		if (i == 0 || at % 4 == 0)
			normal_block(seed, stream, at / 4, z);
		x[i] = (float)z[at % 4];
	}
}

uint64_t attn_random_stream(const char *name, uint64_t head, uint64_t purpose)
{
	uint64_t h = UINT64_C(0xcbf29ce484222325); /* FNV-1a of the name ... */

	for (; *name; name++)
		h = (h ^ (unsigned char)*name) * UINT64_C(0x100000001b3);
	/* ... then the numbers, mixed by the finaliser of splitmix64. */
	h += (head + 1) * UINT64_C(0x9e3779b97f4a7c15) + (purpose + 1) * UINT64_C(0xd1b54a32d192ed03);
	h = (h ^ h >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	h = (h ^ h >> 27) * UINT64_C(0x94d049bb133111eb);
	return h ^ h >> 31;
}
