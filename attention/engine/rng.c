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

enum { LANES = 4 }; /* evaluated side by side */

/* y = c[0] + c[1] z + ... + c[n - 1] z^(n - 1) */
static void series(const double *c, int n, const double z[LANES], double y[LANES])
{
	for (int l = 0; l < LANES; l++)
		y[l] = c[n - 1];
	for (int k = n - 2; k >= 0; k--)
		for (int l = 0; l < LANES; l++)
			y[l] = y[l] * z[l] + c[k];
}

/* ln((b + 1/2) / 2^32) = e ln 2 + 2 artanh(s), where the number is 2^e m with m in
 * [1/sqrt 2, sqrt 2) and s = (m - 1) / (m + 1), by the series of artanh:
 * |s| < 0.172, so what is left out is below 1e-17. Not the C library's: this is
 * the same to the bit on every machine. */
static void natural_logs(const uint32_t b[LANES], double y[LANES])
{
	static const double ln2 = 0.693147180559945309417, root = 1.41421356237309504880;
	static const double c[] = { 1, 1.0 / 3, 1.0 / 5, 1.0 / 7, 1.0 / 9, 1.0 / 11, 1.0 / 13, 1.0 / 15,
		                    1.0 / 17, 1.0 / 19 };
	double e[LANES], s[LANES], z[LANES];

	for (int l = 0; l < LANES; l++) {
		double x = ((double)b[l] + 0.5) * 0x1p-32, m;
		uint64_t bits;
		memcpy(&bits, &x, sizeof bits);
		e[l] = (double)((int)(bits >> 52) - 1023);
		bits = (bits & UINT64_C(0x000fffffffffffff)) | UINT64_C(0x3ff0000000000000);
		memcpy(&m, &bits, sizeof m);
		e[l] += m < root ? 0 : 1;
		m *= m < root ? 1 : 0.5;
		s[l] = (m - 1) / (m + 1);
		z[l] = s[l] * s[l];
	}
	series(c, sizeof c / sizeof *c, z, y);
	for (int l = 0; l < LANES; l++)
		y[l] = e[l] * ln2 + 2 * s[l] * y[l];
}

/* cos and sin of 2 pi b / 2^32: the nearest quarter of a turn, exactly, and the
 * series of the rest, at most an eighth of a turn; what is left out is below 1e-17. */
static void cosines_sines(const uint32_t b[LANES], double cosine[LANES], double sine[LANES])
{
	static const double unit = 6.283185307179586476925 * 0x1p-32;
	static const double c[] = { 1, -1.0 / 2, 1.0 / 24, -1.0 / 720, 1.0 / 40320, -1.0 / 3628800,
		                    1.0 / 479001600, -1.0 / 87178291200, 1.0 / 20922789888000 };
	static const double s[] = { 1, -1.0 / 6, 1.0 / 120, -1.0 / 5040, 1.0 / 362880, -1.0 / 39916800,
		                    1.0 / 6227020800, -1.0 / 1307674368000, 1.0 / 355687428096000 };
	double a[LANES], z[LANES];

	for (int l = 0; l < LANES; l++) {
		uint32_t nearest = (b[l] + 0x20000000u) & 0xc0000000u;
		a[l] = (double)(int32_t)(b[l] - nearest) * unit;
		z[l] = a[l] * a[l];
	}
	series(c, sizeof c / sizeof *c, z, cosine);
	series(s, sizeof s / sizeof *s, z, sine);
	for (int l = 0; l < LANES; l++) {
		uint32_t quarter = (b[l] + 0x20000000u) >> 30;
		double x = cosine[l], y = sine[l] * a[l];
		double turned = quarter & 1 ? -y : x, up = quarter & 1 ? x : y;
		cosine[l] = quarter & 2 ? -turned : turned;
		sine[l] = quarter & 2 ? -up : up;
	}
}

/* Normals 4 block .. 4 block + 7: Box and Muller's pairs of two blocks. */
static void normal_blocks(uint64_t seed, uint64_t stream, uint64_t block, double z[2 * LANES])
{
	uint32_t b[2][4], first[LANES], second[LANES];
	double radius[LANES], cosine[LANES], sine[LANES];

	attn_random_bits(seed, stream, block, b[0]);
	attn_random_bits(seed, stream, block + 1, b[1]);
	for (int l = 0; l < LANES; l++) {
		first[l] = b[l / 2][l % 2 * 2];
		second[l] = b[l / 2][l % 2 * 2 + 1];
	}
	natural_logs(first, radius);
	cosines_sines(second, cosine, sine);
	for (int l = 0; l < LANES; l++) {
		radius[l] = sqrt(-2 * radius[l]);
		z[2 * l] = radius[l] * cosine[l];
		z[2 * l + 1] = radius[l] * sine[l];
	}
}

double attn_random_normal(uint64_t seed, uint64_t stream, uint64_t index)
{
	double z[2 * LANES];

	normal_blocks(seed, stream, index / 4, z);
	return z[index % 4];
}

void attn_random_normals(uint64_t seed, uint64_t stream, uint64_t first, size_t n, float *x)
{
	double z[2 * LANES];

	for (size_t i = 0; i < n;) {
		size_t skip = (size_t)((first + i) % 4), left = n - i;
		normal_blocks(seed, stream, (first + i) / 4, z);
		for (size_t k = skip; k < 2 * LANES && k - skip < left; k++)
			x[i++] = (float)z[k];
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
