/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The tile kernels on bf16 for AVX512_BF16; part of kern_simd.h's body. One
 * vdpbf16ps adds two products of bf16 to each of 16 sums in f32:
 *
 *   scores   q holds pairs of channels a lane; the pair of a key is one 32-bit
 *            broadcast from its row, as rows are pairs of channels already
 *   product  p holds pairs of keys a lane; values are packed once a block into
 *            pairs of rows, so that their pair is one broadcast too
 *
 * Scores, maxima, weights and sums are f32; a weight is rounded to bf16 for the
 * product only. The scale multiplies scores, not queries.
 */

static inline vf v_dot2(vf sum, __m512i a, __m512i b)
{
	return _mm512_dpbf16_ps(sum, (__m512bh)a, (__m512bh)b);
}

/* Two neighbouring halves as one broadcast pair. */
static inline __m512i v_pair(const uint16_t *p)
{
	int32_t pair;

	memcpy(&pair, p, sizeof pair);
	return _mm512_set1_epi32(pair);
}

/* Lane r: (a[r], b[r]) as bf16. */
static inline __m512i v_round_pairs(vf a, vf b)
{
	const __m512i interleave = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23,
	                                            7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);

	return _mm512_permutexvar_epi16(interleave, (__m512i)_mm512_cvtne2ps_pbh(b, a));
}

static void bf16_load(const struct kern_tile *t, const uint16_t *q, size_t ldq, size_t rows)
{
	uint32_t *pairs = (uint32_t *)t->q;

	for (size_t c = 0; c < t->d; c += 2) {
		for (size_t r = 0; r < LANES; r++) {
			uint32_t even = r < rows ? q[r * ldq + c] : 0;
			uint32_t odd = r < rows && c + 1 < t->d ? q[r * ldq + c + 1] : 0;
			pairs[c / 2 * LANES + r] = even | odd << 16;
		}
	}
	for (size_t i = 0; i < t->d_v; i++)
		v_store(t->acc + i * LANES, v_set1(0));
	v_store(t->max, v_set1(KERN_NO_MAX));
	v_store(t->sum, v_set1(0));
}

static void bf16_pack(uint32_t *pairs, const uint16_t *v, size_t ldv, size_t n, size_t d_v)
{
	for (size_t j = 0; j < n; j += 2) {
		const uint16_t *even = v + j * ldv, *odd = even + ldv;
		uint32_t *to = pairs + j / 2 * d_v;
		size_t c = 0;
		for (; j + 1 < n && c + VL <= d_v; c += VL) {
			__m512i lo = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)(even + c)));
			__m512i hi = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)(odd + c)));
			_mm512_storeu_si512(to + c, _mm512_or_si512(lo, _mm512_slli_epi32(hi, 16)));
		}
		for (; c < d_v; c++)
			to[c] = even[c] | (j + 1 < n ? (uint32_t)odd[c] << 16 : 0);
	}
}

/* Unscaled scores of KR keys, and their maximum. */
INLINE void bf16_scores(const uint32_t *q, size_t d, const uint16_t *k, const size_t row[KR], float *p,
                        vf *top)
{
	vf acc[KR];
	size_t c = 0;

	UNROLL for (size_t r = 0; r < KR; r++)
		acc[r] = v_set1(0);
	for (; c + 2 <= d; c += 2) {
		__m512i qc = _mm512_loadu_si512(q + c / 2 * LANES);
		UNROLL for (size_t r = 0; r < KR; r++)
			acc[r] = v_dot2(acc[r], qc, v_pair(k + row[r] + c));
	}
	if (c < d) {
		__m512i qc = _mm512_loadu_si512(q + c / 2 * LANES);
		UNROLL for (size_t r = 0; r < KR; r++)
			acc[r] = v_dot2(acc[r], qc, _mm512_set1_epi32(k[row[r] + c]));
	}
	UNROLL for (size_t r = 0; r < KR; r++) {
		v_store(p + r * LANES, acc[r]);
		*top = v_max(*top, acc[r]);
	}
}

/* p (n scores) becomes pairs of weights 2^(factor p - max), in place: pair j is
 * written behind the scores that made it. */
INLINE void bf16_weigh(const struct kern_tile *t, size_t n, vf top, float factor, vf *alpha)
{
	vf old = v_load(t->max), max = v_max(old, top), sum = v_set1(0), f = v_set1(factor);

	*alpha = v_exp2(old - max);
	for (size_t j = 0; j < n; j += 2) {
		vf a = v_exp2(v_load(t->p + j * LANES) * f - max), b = v_set1(0);
		if (j + 1 < n)
			b = v_exp2(v_load(t->p + (j + 1) * LANES) * f - max);
		sum += a + b;
		_mm512_storeu_si512(t->p + j / 2 * LANES, v_round_pairs(a, b));
	}
	v_store(t->max, max);
	v_store(t->sum, v_fma(v_load(t->sum), *alpha, sum));
}

/* acc[c .. c + dr) = acc alpha + sum over pairs of keys. */
INLINE void bf16_absorb(float *acc, const float *p, const uint32_t *pairs, size_t d_v, size_t n,
                        vf alpha, const char *fetch, size_t step, const size_t dr)
{
	vf a[DR];

	UNROLL for (size_t c = 0; c < DR; c++)
		a[c] = v_set1(0);
	for (size_t j = 0; j < (n + 1) / 2; j++) {
		__m512i pj = _mm512_loadu_si512(p + j * LANES);
		v_prefetch_far(fetch + j * step);
		UNROLL for (size_t c = 0; c < DR; c++) {
			if (c >= dr)
				break;
			a[c] = v_dot2(a[c], pj, _mm512_set1_epi32((int32_t)pairs[j * d_v + c]));
		}
	}
	UNROLL for (size_t c = 0; c < DR; c++) {
		if (c >= dr)
			break;
		v_store(acc + c * LANES, v_fma(v_load(acc + c * LANES), alpha, a[c]));
	}
}

static void bf16_step(const struct kern_tile *t, const uint16_t *k, size_t ldk, const uint32_t *pairs,
                      size_t ldv, size_t n, float factor, const struct kern_mask *mask,
                      const float *bias)
{
	vf top = v_set1(KERN_MASKED), alpha;
	size_t row[KR], c = 0;

	for (size_t j = 0; j < n; j += KR) {
		for (size_t r = 0; r < KR; r++)
			row[r] = (j + r < n ? r : n - 1 - j) * ldk;
		bf16_scores((const uint32_t *)t->q, t->d, k + j * ldk, row, t->p + j * LANES, &top);
	}
	if (mask || bias) { /* hidden scores must not be scaled afterwards */
		for (size_t j = 0; j < n; j++)
			v_store(t->p + j * LANES, v_load(t->p + j * LANES) * v_set1(factor));
		edge(t->p, n, mask, bias, &top);
		bf16_weigh(t, n, top, 1, &alpha);
	} else {
		bf16_weigh(t, n, top * v_set1(factor), factor, &alpha);
	}
	struct share share = share_of(t, 1, ldk, ldv, n, sizeof *k);
	for (; c + DR <= t->d_v; c += DR)
		bf16_absorb(t->acc + c * LANES, t->p, pairs + c, t->d_v, n, alpha, share_part(&share, c / DR),
		            share.step * 2, DR);
	for (; c < t->d_v; c++)
		bf16_absorb(t->acc + c * LANES, t->p, pairs + c, t->d_v, n, alpha, share.v, 0, 1);
}

static float dot_rounds(size_t n)
{
	__m512 x[CHAINS];
	__m512i a = _mm512_set1_epi32(0x3f7f3f7f), b = _mm512_set1_epi32(0x3b033b03); /* 0.996, 0.002 */

	UNROLL for (size_t i = 0; i < CHAINS; i++)
		x[i] = _mm512_set1_ps((float)i);
	for (size_t r = 0; r < n; r++)
		UNROLL for (size_t i = 0; i < CHAINS; i++)
			x[i] = _mm512_dpbf16_ps(x[i], (__m512bh)a, (__m512bh)b);
	UNROLL for (size_t i = 1; i < CHAINS; i++)
		x[0] = _mm512_add_ps(x[0], x[i]);
	return _mm512_reduce_add_ps(x[0]);
}

static const struct kern_bf16 bf16_slots = {
	.load = bf16_load,
	.pack = bf16_pack,
	.step = bf16_step,
	.dot_flops = 4 * 16 * CHAINS,
	.dot_rounds = dot_rounds,
};
