/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The body of every SIMD table, written once on the words of vec_*.h. A stub
 * (kern_avx2.c ...) includes its words and defines
 *
 *   ISA      the name, a string; TABLE the symbol
 *   QV       vectors of queries in a tile: a tile is QV * VL queries
 *   PAIR     tiles that tile_pair() takes up at once, 1 or 2
 *   KR, DR   keys, value channels of a micro-kernel: KR * QV and DR * QV
 *            accumulators, PAIR times as many in a pair, which with the operands
 *            must fit the registers and cover latency x throughput of the FMA units
 *   MR, NV   rows and vectors of the matrix micro-kernel: MR * NV accumulators,
 *            at least WIDE
 *   BLOCK    keys of a step: p, the values and the queries stay in L1; a
 *            multiple of KR, or keys would be counted twice
 */
#include "kern.h"

#include <math.h>
#include <string.h>

#define LANES (QV * VL)
#define PV (PAIR * QV) /* vectors of queries in as many tiles as go together */
#define INLINE static inline __attribute__((always_inline))
/* Of loops with constant bounds alone, for clang unrolls no others: a smaller
 * number of rows, known once the function is inlined, ends them by a break. */
#define UNROLL _Pragma("GCC unroll 16")

enum { SPAN = 16 / PAIR }; /* channels of scores in one run of instructions */

_Static_assert(LANES <= KERN_MAX_LANES && BLOCK <= KERN_MAX_BLOCK && BLOCK % KR == 0, "tile");

/* 2^f on [-1/2, 1/2], relative error 9.2e-8 in exact arithmetic. The constant
 * term is exactly 1, so that 2^0 = 1: a running maximum that does not change
 * must not change what was summed. Minimax under that constraint. */
INLINE vf exp2_poly(vf f)
{
	vf p = v_set1(1.3264652e-3f);
	p = v_fma(p, f, v_set1(9.6715113e-3f));
	p = v_fma(p, f, v_set1(5.5507340e-2f));
	p = v_fma(p, f, v_set1(2.4022242e-1f));
	p = v_fma(p, f, v_set1(6.9314698e-1f));
	return v_fma(p, f, v_set1(1.0f));
}

/* 2^x; 0 below 2^-126, NaN stays NaN. */
INLINE vf v_exp2(vf x)
{
	vf n = v_round(x);
	return v_scale2(exp2_poly(x - n), n);
}

/* e^x for x <= 88, 0 from -150 down, -inf included; NaN stays NaN. n = round(x / ln 2), f = x - n ln 2 in two parts so that f
 * is exact, then e^f by its own minimax polynomial with constant term 1. */
INLINE vf v_exp(vf x)
{
	x = v_max(v_set1(-150.0f), x); /* v_max gives its second operand if it is a NaN */
	vf n = v_round(x * v_set1(KERN_LOG2E));
	vf f = v_fma(n, v_set1(-0.693145752f), x);
	f = v_fma(n, v_set1(-1.42860677e-6f), f);
	vf p = v_set1(8.2903149e-3f);
	p = v_fma(p, f, v_set1(4.1897929e-2f));
	p = v_fma(p, f, v_set1(1.6667636e-1f));
	p = v_fma(p, f, v_set1(4.9999150e-1f));
	p = v_fma(p, f, v_set1(9.9999971e-1f));
	return v_scale2(v_fma(p, f, v_set1(1.0f)), n);
}

/* ---- tile: one lane is one query ------------------------------------- */

/* VL rows (fewer: zeros) of VL channels to lane-minor columns. */
INLINE void load_square(vf x[VL], const float *q, size_t ldq, size_t rows, size_t channels)
{
	UNROLL for (size_t r = 0; r < VL; r++) {
		if (r >= rows)
			x[r] = v_set1(0);
		else if (channels >= VL)
			x[r] = v_load(q + r * ldq);
		else
			x[r] = v_load_part(q + r * ldq, channels);
	}
	v_transpose(x);
}

static void tile_load(const struct kern_tile *t, const float *q, size_t ldq, size_t rows,
                      float factor)
{
	vf x[VL], zero = v_set1(0), f = v_set1(factor);

	for (size_t u = 0; u < QV; u++) {
		size_t first = u * VL, here = rows > first ? rows - first : 0;
		for (size_t c = 0; c < t->d; c += VL) {
			size_t channels = t->d - c < VL ? t->d - c : VL;
			load_square(x, q + first * ldq + c, ldq, here < VL ? here : VL, channels);
			float *to = t->q + c * LANES + first;
			for (size_t i = 0; i < channels; i++)
				v_store(to + i * LANES, x[i] * f);
		}
	}
	for (size_t i = 0; i < t->d_v * QV; i++)
		v_store(t->acc + i * VL, zero);
	for (size_t u = 0; u < QV; u++) {
		v_store(t->max + u * VL, v_set1(KERN_NO_MAX));
		v_store(t->sum + u * VL, zero);
	}
}

/* One channel of KR keys, for the queries of the first `tiles` tiles: q[t] is tile t's
 * channel. Two tiles share the load and the broadcast of a key's. */
INLINE void scores_channel(const float *const q[PAIR], size_t at, const float *k, const size_t row[KR],
                           vf acc[KR][PV], const size_t tiles)
{
	vf qc[PV];

	UNROLL for (size_t u = 0; u < PV; u++) {
		if (u >= tiles * QV)
			break;
		qc[u] = v_load(q[u / QV] + at + u % QV * VL);
	}
	UNROLL for (size_t r = 0; r < KR; r++) {
		vf kr = v_set1(k[row[r]]);
		UNROLL for (size_t u = 0; u < PV; u++) {
			if (u >= tiles * QV)
				break;
			acc[r][u] = v_fma(kr, qc[u], acc[r][u]);
		}
	}
}

/* Scores of KR keys, p[t][r] = q[t] . k[r], and their maxima. */
INLINE void scores(const float *const q[PAIR], size_t d, const float *k, const size_t row[KR],
                   float *const p[PAIR], size_t at, vf top[PV], const size_t tiles)
{
	vf acc[KR][PV];
	size_t c = 0;

	UNROLL for (size_t r = 0; r < KR; r++)
		UNROLL for (size_t u = 0; u < PV; u++)
			acc[r][u] = v_set1(0);
	for (; c + SPAN <= d; c += SPAN)
		UNROLL for (size_t e = 0; e < SPAN; e++)
			scores_channel(q, (c + e) * LANES, k + c + e, row, acc, tiles);
	for (; c < d; c++)
		scores_channel(q, c * LANES, k + c, row, acc, tiles);
	UNROLL for (size_t r = 0; r < KR; r++) {
		UNROLL for (size_t u = 0; u < PV; u++) {
			if (u >= tiles * QV)
				break;
			v_store(p[u / QV] + at + r * LANES + u % QV * VL, acc[r][u]);
			top[u] = v_max(top[u], acc[r][u]);
		}
	}
}

INLINE void edge_keys(float *p, size_t n, const int32_t *lo, const int32_t *hi, const uint32_t *bits,
                      const float *bias, vf top[QV])
{
	vf hidden = v_set1(KERN_MASKED), max[QV];

	UNROLL for (size_t u = 0; u < QV; u++)
		max[u] = hidden;
	for (size_t j = 0; j < n; j++) {
		UNROLL for (size_t u = 0; u < QV; u++) {
			float *at = p + j * LANES + u * VL;
			vf s = v_load(at);
			if (bias)
				s += v_set1(bias[j] * KERN_LOG2E);
			if (lo)
				s = v_if_between((int32_t)j, lo + u * VL, hi + u * VL, s, hidden);
			if (bits)
				s = v_if_bit(bits[j] >> (u * VL), s, hidden);
			v_store(at, s);
			max[u] = v_max(max[u], s);
		}
	}
	UNROLL for (size_t u = 0; u < QV; u++)
		top[u] = max[u];
}

/* Adds the bias, hides what the mask hides, and finds the maximum anew. */
static void edge(float *p, size_t n, const struct kern_mask *mask, const float *bias, vf top[QV])
{
	const struct kern_mask none = { .lo = NULL };
	const struct kern_mask *m = mask ? mask : &none;

	if (!bias && !m->bits)
		edge_keys(p, n, m->lo, m->hi, NULL, NULL, top);
	else if (!bias && !m->lo)
		edge_keys(p, n, NULL, NULL, m->bits, NULL, top);
	else
		edge_keys(p, n, m->lo, m->hi, m->bits, bias, top);
}

/* acc[c .. c + dr) = acc alpha + sum_j p[j] v[j][c ..), for the first `tiles` tiles; acc
 * begins at channel `at`. The block is summed on its own and then added: rounding grows
 * with the number of blocks, not of keys. Fetches n * step bytes of the next block, a
 * little with every key: in bursts the fetches would wait for each other, and the
 * arithmetic for them. */
INLINE void absorb(const struct kern_tile *const t[PAIR], size_t at, const float *v, size_t ldv, size_t n,
                   const vf alpha[PV], const char *fetch, size_t step, const size_t dr, const size_t tiles)
{
	vf a[DR][PV];

	UNROLL for (size_t c = 0; c < DR; c++)
		UNROLL for (size_t u = 0; u < PV; u++)
			a[c][u] = v_set1(0);
	for (size_t j = 0; j < n; j++) {
		vf pj[PV];
		v_prefetch_far(fetch + j * step);
		UNROLL for (size_t u = 0; u < PV; u++) {
			if (u >= tiles * QV)
				break;
			pj[u] = v_load(t[u / QV]->p + j * LANES + u % QV * VL);
		}
		UNROLL for (size_t c = 0; c < DR; c++) {
			if (c >= dr)
				break;
			vf vc = v_set1(v[j * ldv + c]);
			UNROLL for (size_t u = 0; u < PV; u++) {
				if (u >= tiles * QV)
					break;
				a[c][u] = v_fma(vc, pj[u], a[c][u]);
			}
		}
	}
	UNROLL for (size_t c = 0; c < DR; c++) {
		if (c >= dr)
			break;
		UNROLL for (size_t u = 0; u < PV; u++) {
			if (u >= tiles * QV)
				break;
			float *to = t[u / QV]->acc + (at + c) * LANES + u % QV * VL;
			v_store(to, v_fma(v_load(to), alpha[u], a[c][u]));
		}
	}
}

/* p = 2^(p - max); the new maximum, the rescaling factor, the new sum. */
INLINE void weigh(const struct kern_tile *t, size_t n, const vf top[QV], vf alpha[QV])
{
	vf max[QV], sum[QV];

	UNROLL for (size_t u = 0; u < QV; u++) {
		vf old = v_load(t->max + u * VL);
		max[u] = v_max(old, top[u]);
		alpha[u] = v_exp2(old - max[u]);
		sum[u] = v_set1(0);
		v_store(t->max + u * VL, max[u]);
	}
	for (size_t j = 0; j < n; j++) {
		UNROLL for (size_t u = 0; u < QV; u++) {
			float *at = t->p + j * LANES + u * VL;
			vf w = v_exp2(v_load(at) - max[u]);
			v_store(at, w);
			sum[u] += w;
		}
	}
	UNROLL for (size_t u = 0; u < QV; u++)
		v_store(t->sum + u * VL, v_fma(v_load(t->sum + u * VL), alpha[u], sum[u]));
}

/* The share of `tiles` tiles of the next block of keys and values, spread over the
 * groups of channels of absorb(): the first half fetches keys, the second
 * values, `step` bytes with every key. */
struct share {
	const char *k, *v;
	size_t step, each; /* each: bytes a group */
	size_t half;
};

INLINE struct share share_of(const struct kern_tile *t, size_t tiles, size_t ldk, size_t ldv, size_t n,
                             size_t element)
{
	size_t turns = (t->turns + tiles - 1) / tiles, turn = t->turn / tiles;
	size_t half = (t->d_v / DR + 1) / 2 + !(t->d_v / DR), rows = half * n * turns;
	size_t longest = (ldk > ldv ? ldk : ldv) * n * element;
	struct share s = { .half = half, .step = t->next_k ? longest / rows : 0 };

	s.step = s.step < 64 ? s.step : 64;
	s.each = s.step * n;
	s.k = (const char *)(t->next_k ? t->next_k : t->p) + turn * half * s.each;
	s.v = (const char *)(t->next_k ? t->next_v : t->p) + turn * half * s.each;
	return s;
}

INLINE const char *share_part(const struct share *s, size_t group)
{
	return group < s->half ? s->k + group * s->each : s->v + (group - s->half) * s->each;
}

/* The block for the first `tiles` tiles, each with its mask. */
INLINE void step(const struct kern_tile *const t[PAIR], const float *k, size_t ldk, const float *v, size_t ldv,
                 size_t n, const struct kern_mask *const mask[PAIR], const float *bias, const size_t tiles)
{
	const float *q[PAIR];
	float *p[PAIR];
	vf top[PV], alpha[PV];
	size_t row[KR], c = 0;

	UNROLL for (size_t i = 0; i < PAIR; i++) {
		q[i] = t[i]->q;
		p[i] = t[i]->p;
	}
	for (size_t u = 0; u < PV; u++)
		top[u] = v_set1(KERN_MASKED);
	for (size_t j = 0; j < n; j += KR) {
		/* A short last group repeats its last key: the maximum is unmoved
		 * and the surplus scores are never read. */
		for (size_t r = 0; r < KR; r++)
			row[r] = (j + r < n ? r : n - 1 - j) * ldk;
		scores(q, t[0]->d, k + j * ldk, row, p, j * LANES, top, tiles);
	}
	UNROLL for (size_t i = 0; i < PAIR; i++) {
		if (i >= tiles)
			break;
		if (mask[i] || bias)
			edge(t[i]->p, n, mask[i], bias, top + i * QV);
		weigh(t[i], n, top + i * QV, alpha + i * QV);
	}
	struct share share = share_of(t[0], tiles, ldk, ldv, n, sizeof *k);
	for (; c + DR <= t[0]->d_v; c += DR)
		absorb(t, c, v + c, ldv, n, alpha, share_part(&share, c / DR), share.step, DR, tiles);
	for (; c < t[0]->d_v; c++)
		absorb(t, c, v + c, ldv, n, alpha, share.v, 0, 1, tiles);
}

static void tile_step(const struct kern_tile *t, const float *k, size_t ldk, const float *v,
                      size_t ldv, size_t n, const struct kern_mask *mask, const float *bias)
{
	const struct kern_tile *const tiles[2] = { t, t };
	const struct kern_mask *const masks[2] = { mask, mask };

	step(tiles, k, ldk, v, ldv, n, masks, bias, 1);
}

static void tile_pair(const struct kern_tile *const t[2], const float *k, size_t ldk, const float *v,
                      size_t ldv, size_t n, const struct kern_mask *const mask[2], const float *bias)
{
	if (PAIR == 2) {
		step(t, k, ldk, v, ldv, n, mask, bias, PAIR);
	} else {
		tile_step(t[0], k, ldk, v, ldv, n, mask[0], bias);
		tile_step(t[1], k, ldk, v, ldv, n, mask[1], bias);
	}
}

static void tile_store(const struct kern_tile *t, float *out, size_t ldo, float *lse,
                       size_t rows)
{
	vf x[VL];

	for (size_t u = 0; u < QV && u * VL < rows; u++) {
		size_t first = u * VL, here = rows - first < VL ? rows - first : VL;
		vf sum = v_load(t->sum + first);
		vf inverse = v_if_positive(sum, v_set1(1) / sum, sum); /* 0 and NaN stay */
		for (size_t c = 0; c < t->d_v; c += VL) {
			size_t channels = t->d_v - c < VL ? t->d_v - c : VL;
			for (size_t i = 0; i < VL; i++)
				x[i] = v_set1(0);
			for (size_t i = 0; i < channels; i++)
				x[i] = v_load(t->acc + (c + i) * LANES + first) * inverse;
			v_transpose(x);
			for (size_t r = 0; r < here; r++) {
				if (channels == VL)
					v_store(out + (first + r) * ldo + c, x[r]);
				else
					v_store_part(out + (first + r) * ldo + c, x[r], channels);
			}
		}
	}
	for (size_t r = 0; lse && r < rows; r++)
		lse[r] = t->sum[r] == 0 ? -INFINITY : t->max[r] * KERN_LN2 + logf(t->sum[r]);
}

/* ---- selection: what top-k needs of scores ---------------------------------- */

static void tile_scores(const struct kern_tile *t, const float *k, size_t ldk, size_t n, float *p)
{
	float last[KR * LANES];
	const float *const q[2] = { t->q, t->q };
	vf top[PV];
	size_t row[KR];

	for (size_t u = 0; u < PV; u++)
		top[u] = v_set1(KERN_MASKED);
	for (size_t j = 0; j < n; j += KR) {
		bool whole = n - j >= KR;
		for (size_t r = 0; r < KR; r++)
			row[r] = (whole || j + r < n ? r : n - 1 - j) * ldk;
		float *const to[2] = { whole ? p + j * LANES : last, last };
		scores(q, t->d, k + j * ldk, row, to, 0, top, 1);
		for (size_t i = 0; !whole && i < (n - j) * LANES; i++)
			p[j * LANES + i] = last[i];
	}
}

static void lanes_fold_max(float *y, size_t groups, const float *p, size_t n)
{
	for (size_t i = 0; i < groups * QV; i++)
		v_store(y + i * VL, v_set1(KERN_MASKED));
	for (size_t j0 = 0; j0 < n; j0 += groups) {
		size_t here = (n - j0 < groups ? n - j0 : groups) * QV;
		for (size_t i = 0; i < here; i++)
			v_store(y + i * VL, v_max(v_load(y + i * VL), v_load(p + j0 * LANES + i * VL)));
	}
}

static void lanes_best(uint32_t *index, float *best, float *second, const float *p, size_t n)
{
	for (size_t u = 0; u < QV; u++) {
		vf top = v_load(p + u * VL), next = v_set1(KERN_MASKED), at = v_set1(0);
		float where[VL];
		for (size_t j = 1; j < n; j++) {
			vf x = v_load(p + j * LANES + u * VL);
			next = v_max(next, v_min(x, top));
			at = v_if_positive(x - top, v_set1((float)j), at);
			top = v_max(top, x);
		}
		v_store(best + u * VL, top);
		v_store(second + u * VL, next);
		v_store(where, at);
		for (size_t r = 0; r < VL; r++)
			index[u * VL + r] = (uint32_t)where[r];
	}
}

static void lanes_collect(uint32_t *index, size_t stride, uint32_t *count, const float *p, size_t n,
                          const float *threshold)
{
	vf least[QV];

	for (size_t u = 0; u < QV; u++)
		least[u] = v_load(threshold + u * VL);
	for (size_t j = 0; j < n; j++) {
		UNROLL for (size_t u = 0; u < QV; u++) {
			uint32_t hits = v_at_least(v_load(p + j * LANES + u * VL), least[u]);
			for (; hits; hits &= hits - 1) {
				size_t r = u * VL + (size_t)__builtin_ctz(hits);
				index[r * stride + count[r]++] = (uint32_t)j;
			}
		}
	}
}

static float ranked(const float *x, size_t n, size_t k)
{
	size_t rest = n % VL, whole = n - rest;
	uint32_t last = (1u << rest) - 1;

	for (size_t a = 0; a + 1 < n; a++) {
		vf at = v_set1(x[a]);
		int reach = 0, below = 0; /* >= x[a], <= x[a] */
		for (size_t i = 0; i < whole; i += VL) {
			vf other = v_load(x + i);
			reach += __builtin_popcount(v_at_least(other, at));
			below += __builtin_popcount(v_at_least(at, other));
		}
		if (rest) {
			vf other = v_load_part(x + whole, rest);
			reach += __builtin_popcount(v_at_least(other, at) & last);
			below += __builtin_popcount(v_at_least(at, other) & last);
		}
		if (k <= (size_t)reach && n - k < (size_t)below)
			return x[a];
	}
	return x[n - 1];
}

/* nv vectors of the output at a time stay in registers over all rows. */
INLINE void gather_panel(float *out, const float *v, size_t ldv, const uint32_t *index,
                         const float *weight, size_t n, const size_t nv, size_t part)
{
	vf acc[4];

	UNROLL for (size_t u = 0; u < 4; u++)
		acc[u] = v_set1(0);
	for (size_t i = 0; i < n; i++) {
		const float *row = v + index[i] * ldv;
		vf w = v_set1(weight[i]);
		UNROLL for (size_t u = 0; u < 4; u++) {
			if (u >= nv)
				break;
			acc[u] = v_fma(w, part ? v_load_part(row, part) : v_load(row + u * VL), acc[u]);
		}
	}
	UNROLL for (size_t u = 0; u < 4; u++) {
		if (u >= nv)
			break;
		if (part)
			v_store_part(out, acc[u], part);
		else
			v_store(out + u * VL, acc[u]);
	}
}

static void gather_sum(float *out, size_t d_v, const float *v, size_t ldv, const uint32_t *index,
                       const float *weight, size_t n)
{
	size_t c = 0;

	for (; c + 4 * VL <= d_v; c += 4 * VL)
		gather_panel(out + c, v + c, ldv, index, weight, n, 4, 0);
	for (; c + VL <= d_v; c += VL)
		gather_panel(out + c, v + c, ldv, index, weight, n, 1, 0);
	if (c < d_v)
		gather_panel(out + c, v + c, ldv, index, weight, n, 1, d_v - c);
}

/* ---- matrices ---------------------------------------------------------- */

/* A product in the making: where its operands lie, and what it fetches, a
 * little with every step, the two stretches in turn. */
struct product {
	float *c;
	const float *a, *b;
	size_t ldc, rsa, csa, ldb, k;
	bool accumulate;
	const char *fetch[2];
	size_t step[2], calls;
};

/* Vectors of a product of one row, which has no other rows to hide latency with
 * and should read b in the order of memory. */
enum { WIDE = 8 };
_Static_assert(WIDE <= MR * NV, "accumulators");

/* mr rows times nv vectors at (i, j); `part` > 0: the last vector has part floats. */
INLINE void mm_micro(struct product *x, size_t i0, size_t j0, const size_t mr, const size_t nv,
                     size_t part)
{
	float *c = x->c + i0 * x->ldc + j0;
	const float *a[(MR + 3) / 4], *b = x->b + j0;
	size_t ldc = x->ldc, rsa = x->rsa, csa = x->csa, ldb = x->ldb, k = x->k, turn = x->calls++ % 2;
	size_t rsa3 = 3 * rsa;
	const char *fetch = x->fetch[turn];
	size_t step = x->step[turn];
	vf acc[MR * NV];

	x->fetch[turn] += k * step;
	UNROLL for (size_t i = 0; i < MR * NV; i++)
		acc[i] = v_set1(0);
	/* A pointer for four rows, with two strides that addresses can hold: eight pointers
	 * would not fit the registers, and one that walks them is a chain of additions. */
	UNROLL for (size_t i = 0; i < (MR + 3) / 4; i++)
		a[i] = x->a + (i0 + (4 * i < mr ? 4 * i : 0)) * rsa;
	for (size_t l = 0; l < k; l++, b += ldb) {
		vf bl[WIDE];
		v_prefetch_far(fetch + l * step);
		UNROLL for (size_t u = 0; u < WIDE; u++) {
			if (u >= nv)
				break;
			bl[u] = part && u == nv - 1 ? v_load_part(b + u * VL, part)
			                            : v_load(b + u * VL);
		}
		UNROLL for (size_t i = 0; i < MR; i++) {
			if (i >= mr)
				break;
			vf ai = v_set1(a[i / 4][i % 4 == 3 ? rsa3 : i % 4 * rsa]);
			UNROLL for (size_t u = 0; u < WIDE; u++) {
				if (u >= nv)
					break;
				acc[i * nv + u] = v_fma(ai, bl[u], acc[i * nv + u]);
			}
		}
		UNROLL for (size_t i = 0; i < (MR + 3) / 4; i++)
			a[i] += csa;
	}
	UNROLL for (size_t i = 0; i < MR; i++) {
		if (i >= mr)
			break;
		UNROLL for (size_t u = 0; u < WIDE; u++) {
			if (u >= nv)
				break;
			float *to = c + i * ldc + u * VL;
			bool partial = part && u == nv - 1;
			vf sum = acc[i * nv + u];
			if (x->accumulate)
				sum += partial ? v_load_part(to, part) : v_load(to);
			if (partial)
				v_store_part(to, sum, part);
			else
				v_store(to, sum);
		}
	}
}

/* All rows of one column panel of nv vectors. */
INLINE void mm_panel(struct product *x, size_t m, size_t j, const size_t nv, size_t part)
{
	size_t i = 0;

	for (; i + MR <= m; i += MR)
		mm_micro(x, i, j, MR, nv, part);
	for (; i < m; i++)
		mm_micro(x, i, j, 1, nv, part);
}

static void mm_fetch(float *c, size_t ldc, const float *a, size_t rsa, size_t csa, const float *b,
                     size_t ldb, size_t m, size_t n, size_t k, bool accumulate,
                     const struct kern_fetch *fetch)
{
	struct product x = { .c = c, .a = a, .b = b, .ldc = ldc, .rsa = rsa, .csa = csa, .ldb = ldb,
		             .k = k, .accumulate = accumulate };
	size_t j = 0, steps = (m / MR) * (n / (NV * VL)) * k / 2; /* of each stretch */

	for (size_t u = 0; u < 2; u++) {
		size_t step = steps ? fetch->bytes[u] / steps : 0;
		x.fetch[u] = fetch->bytes[u] ? fetch->from[u] : (const void *)b;
		x.step[u] = step < 64 ? step : 64;
	}
	for (; m == 1 && j + WIDE * VL <= n; j += WIDE * VL)
		mm_micro(&x, 0, j, 1, WIDE, 0);
	for (; m == 1 && j + WIDE / 2 * VL <= n; j += WIDE / 2 * VL)
		mm_micro(&x, 0, j, 1, WIDE / 2, 0);
	for (; j + NV * VL <= n; j += NV * VL)
		mm_panel(&x, m, j, NV, 0);
	for (; j + VL <= n; j += VL)
		mm_panel(&x, m, j, 1, 0);
	if (j < n)
		mm_panel(&x, m, j, 1, n - j);
}

static void mm(float *c, size_t ldc, const float *a, size_t rsa, size_t csa, const float *b,
               size_t ldb, size_t m, size_t n, size_t k, bool accumulate)
{
	const struct kern_fetch nothing = { .bytes = { 0, 0 } };

	mm_fetch(c, ldc, a, rsa, csa, b, ldb, m, n, k, accumulate, &nothing);
}

/* VL rows at a time: each has an accumulator, and one transpose sums them all.
 * Row by row, in the order of memory: rows side by side are several streams of
 * short lines, which caches fetch at a third of the speed. */
static void rows_dot(float *y, const float *a, size_t lda, size_t m, const float *x, size_t n)
{
	for (size_t i = 0; i < m; i += VL) {
		size_t rows = m - i < VL ? m - i : VL, j = 0;
		vf acc[VL], sum = v_set1(0);
		UNROLL for (size_t r = 0; r < VL; r++) {
			acc[r] = v_set1(0);
			for (j = 0; rows == VL && j + VL <= n; j += VL)
				acc[r] = v_fma(v_load(a + (i + r) * lda + j), v_load(x + j), acc[r]);
		}
		for (; j < n; j += VL) {
			size_t part = n - j < VL ? n - j : VL;
			vf xj = part < VL ? v_load_part(x + j, part) : v_load(x + j);
			for (size_t r = 0; r < rows; r++) {
				const float *at = a + (i + r) * lda + j;
				acc[r] = v_fma(part < VL ? v_load_part(at, part) : v_load(at), xj, acc[r]);
			}
		}
		v_transpose(acc);
		UNROLL for (size_t r = 0; r < VL; r++)
			sum += acc[r];
		if (rows == VL)
			v_store(y + i, sum);
		else
			v_store_part(y + i, sum, rows);
	}
}

static void rows_add(float *y, const float *a, size_t lda, size_t m, size_t n)
{
	size_t j = 0;

	for (; j + 4 * VL <= n; j += 4 * VL) {
		vf sum[4];
		UNROLL for (size_t u = 0; u < 4; u++)
			sum[u] = v_set1(0);
		for (size_t i = 0; i < m; i++)
			UNROLL for (size_t u = 0; u < 4; u++)
				sum[u] += v_load(a + i * lda + j + u * VL);
		UNROLL for (size_t u = 0; u < 4; u++)
			v_store(y + j + u * VL, v_load(y + j + u * VL) + sum[u]);
	}
	for (; j < n; j += VL) {
		size_t part = n - j < VL ? n - j : VL;
		vf sum = v_set1(0);
		for (size_t i = 0; i < m; i++)
			sum += part < VL ? v_load_part(a + i * lda + j, part) : v_load(a + i * lda + j);
		sum += part < VL ? v_load_part(y + j, part) : v_load(y + j);
		if (part < VL)
			v_store_part(y + j, sum, part);
		else
			v_store(y + j, sum);
	}
}

static void transpose(float *y, size_t ldy, const float *x, size_t ldx, size_t rows, size_t cols)
{
	vf square[VL];

	for (size_t i = 0; i < rows; i += VL) {
		size_t r = rows - i < VL ? rows - i : VL;
		for (size_t j = 0; j < cols; j += VL) {
			size_t c = cols - j < VL ? cols - j : VL;
			load_square(square, x + i * ldx + j, ldx, r, c);
			for (size_t l = 0; l < c; l++) {
				if (r == VL)
					v_store(y + (j + l) * ldy + i, square[l]);
				else
					v_store_part(y + (j + l) * ldy + i, square[l], r);
			}
		}
	}
}

/* ---- rows --------------------------------------------------------------- */

/* Independent chains: enough for latency x throughput of any FMA unit here. */
enum { CHAINS = 12 };

static float fma_rounds(size_t n)
{
	vf x[CHAINS], a = v_set1(0.999f), b = v_set1(0.001f), s = v_set1(0);

	UNROLL for (size_t i = 0; i < CHAINS; i++)
		x[i] = v_set1((float)i);
	for (size_t r = 0; r < n; r++)
		UNROLL for (size_t i = 0; i < CHAINS; i++)
			x[i] = v_fma(x[i], a, b);
	UNROLL for (size_t i = 0; i < CHAINS; i++)
		s += x[i];
	return v_hsum(s);
}

static float row_max(const float *x, size_t n)
{
	vf a = v_set1(KERN_NO_MAX), b = a;
	size_t i = 0;

	for (; i + 2 * VL <= n; i += 2 * VL) {
		a = v_max(a, v_load(x + i));
		b = v_max(b, v_load(x + i + VL));
	}
	float m = v_hmax(v_max(a, b));
	for (; i < n; i++)
		m = x[i] > m ? x[i] : m;
	return m;
}

static float row_sum(const float *x, size_t n)
{
	vf sum[4];
	size_t i = 0;

	UNROLL for (size_t u = 0; u < 4; u++)
		sum[u] = v_set1(0);
	for (; i + 4 * VL <= n; i += 4 * VL)
		UNROLL for (size_t u = 0; u < 4; u++)
			sum[u] += v_load(x + i + u * VL);
	for (; i + VL <= n; i += VL)
		sum[0] += v_load(x + i);
	if (i < n)
		sum[1] += v_load_part(x + i, n - i);
	return v_hsum((sum[0] + sum[1]) + (sum[2] + sum[3]));
}

static float row_dot(const float *x, const float *y, size_t n)
{
	vf a = v_set1(0), b = a;
	size_t i = 0;

	for (; i + 2 * VL <= n; i += 2 * VL) {
		a = v_fma(v_load(x + i), v_load(y + i), a);
		b = v_fma(v_load(x + i + VL), v_load(y + i + VL), b);
	}
	if (i + VL <= n) {
		a = v_fma(v_load(x + i), v_load(y + i), a);
		i += VL;
	}
	if (i < n)
		b = v_fma(v_load_part(x + i, n - i), v_load_part(y + i, n - i), b);
	return v_hsum(a + b);
}

static void row_axpy(float *y, float a, const float *x, size_t n)
{
	vf f = v_set1(a);
	size_t i = 0;

	for (; i + VL <= n; i += VL)
		v_store(y + i, v_fma(f, v_load(x + i), v_load(y + i)));
	if (i < n)
		v_store_part(y + i, v_fma(f, v_load_part(x + i, n - i), v_load_part(y + i, n - i)), n - i);
}

static void row_scale(float *x, float a, size_t n)
{
	vf f = v_set1(a);
	size_t i = 0;

	for (; i + VL <= n; i += VL)
		v_store(x + i, v_load(x + i) * f);
	if (i < n)
		v_store_part(x + i, v_load_part(x + i, n - i) * f, n - i);
}

static float row_exp_shift(float *y, const float *x, float shift, size_t n)
{
	vf s = v_set1(shift), a = v_set1(0), b = a;
	size_t i = 0;

	for (; i + 2 * VL <= n; i += 2 * VL) {
		vf e = v_exp(v_load(x + i) - s), f = v_exp(v_load(x + i + VL) - s);
		v_store(y + i, e);
		v_store(y + i + VL, f);
		a += e;
		b += f;
	}
	float sum = v_hsum(a + b);
	while (i < n) {
		size_t here = n - i < VL ? n - i : VL;
		float e[VL];
		v_store(e, v_exp((here == VL ? v_load(x + i) : v_load_part(x + i, here)) - s));
		for (size_t r = 0; r < here; r++, i++) {
			y[i] = e[r];
			sum += e[r];
		}
	}
	return sum;
}

/* Here e^x through 2^(x log2 e) is enough: rounding the product costs |x| u of
 * an e^x that is as small as |x| is large. */
INLINE vf elu1(vf x)
{
	vf e = v_exp2(v_min(x, v_set1(0)) * v_set1(KERN_LOG2E));

	return v_if_positive(x, x + v_set1(1), e);
}

static void row_elu1(float *y, const float *x, size_t n)
{
	size_t i = 0;

	for (; i + VL <= n; i += VL)
		v_store(y + i, elu1(v_load(x + i)));
	if (i < n)
		v_store_part(y + i, elu1(v_load_part(x + i, n - i)), n - i);
}

static void row_affine(float *y, const float *x, float a, float b, size_t n)
{
	vf f = v_set1(a), shift = v_set1(b);
	size_t i = 0;

	for (; i + VL <= n; i += VL)
		v_store(y + i, v_fma(f, v_load(x + i), shift));
	if (i < n)
		v_store_part(y + i, v_fma(f, v_load_part(x + i, n - i), shift), n - i);
}

static void row_relu(float *y, const float *x, float a, float b, size_t n)
{
	vf f = v_set1(a), shift = v_set1(b), zero = v_set1(0);
	size_t i = 0;

	for (; i + VL <= n; i += VL)
		v_store(y + i, v_fma(f, v_max(v_load(x + i), zero), shift));
	if (i < n)
		v_store_part(y + i, v_fma(f, v_max(v_load_part(x + i, n - i), zero), shift), n - i);
}

static void row_raise(float *y, const float *x, size_t n)
{
	size_t i = 0;

	for (; i + VL <= n; i += VL)
		v_store(y + i, v_max(v_load(x + i), v_load(y + i)));
	if (i < n)
		v_store_part(y + i, v_max(v_load_part(x + i, n - i), v_load_part(y + i, n - i)), n - i);
}

static void row_mul(float *y, const float *x, const float *z, size_t n)
{
	size_t i = 0;

	for (; i + VL <= n; i += VL)
		v_store(y + i, v_load(x + i) * v_load(z + i));
	if (i < n)
		v_store_part(y + i, v_load_part(x + i, n - i) * v_load_part(z + i, n - i), n - i);
}

static void row_div(float *y, const float *x, const float *z, size_t n)
{
	size_t i = 0;

	for (; i + VL <= n; i += VL)
		v_store(y + i, v_load(x + i) / v_load(z + i));
	for (; i < n; i++)
		y[i] = x[i] / z[i];
}

static void row_pairs(float *y, const float *x, float square, size_t d)
{
	for (size_t a = 0; a < d; y += d - a, a++) {
		vf f = v_set1(x[a]);
		size_t i = a;
		for (; i + VL <= d; i += VL)
			v_store(y + i - a, f * v_load(x + i));
		if (i < d)
			v_store_part(y + i - a, f * v_load_part(x + i, d - i), d - i);
		y[0] = square * (x[a] * x[a]);
	}
}

/* x = quarter pi/2 + f, |f| <= pi/4, pi/2 in two parts; the polynomials of
 * Cephes' sinf and cosf on f; the quadrant exchanges them and sets the signs. */
INLINE void v_sincos(vf x, vf *s, vf *c)
{
	vf one = v_set1(1), quarter = v_round(x * v_set1(0.636619772f));
	vf f = v_fma(quarter, v_set1(-1.57079637f), x);
	f = v_fma(quarter, v_set1(4.37113883e-8f), f);
	vf z = f * f, sine = v_fma(v_set1(-1.9515295891e-4f), z, v_set1(8.3321608736e-3f));
	sine = v_fma(sine, z, v_set1(-1.6666654611e-1f));
	sine = v_fma(sine * z, f, f);
	vf cosine = v_fma(v_set1(2.443315711809948e-5f), z, v_set1(-1.388731625493765e-3f));
	cosine = v_fma(cosine, z, v_set1(4.166664568298827e-2f));
	cosine = v_fma(cosine * z, z, v_fma(z, v_set1(-0.5f), one));
	/* 0 .. 3; v_round(m / 4 - 3/8) is the floor of m / 4. */
	vf q = quarter - v_set1(4) * v_round(v_fma(quarter, v_set1(0.25f), v_set1(-0.375f)));
	vf odd = q - v_set1(2) * v_round(v_fma(q, v_set1(0.5f), v_set1(-0.25f)));
	vf middle = q - v_set1(1.5f);
	*s = v_if_positive(odd, cosine, sine) * v_if_positive(middle, v_set1(-1), one);
	*c = v_if_positive(odd, sine, cosine) * v_if_positive(one - middle * middle, v_set1(-1), one);
}

static void row_sincos(float *s, float *c, const float *x, size_t n)
{
	vf a, b;
	size_t i = 0;

	for (; i + VL <= n; i += VL) {
		v_sincos(v_load(x + i), &a, &b);
		v_store(s + i, a);
		v_store(c + i, b);
	}
	if (i < n) {
		v_sincos(v_load_part(x + i, n - i), &a, &b);
		v_store_part(s + i, a, n - i);
		v_store_part(c + i, b, n - i);
	}
}

/* ---- half precision ------------------------------------------------------- */

INLINE void from_half(float *y, const uint16_t *x, size_t n, vf (*word)(const uint16_t *))
{
	size_t i = 0;

	for (; i + VL <= n; i += VL)
		v_store(y + i, word(x + i));
	if (i < n) {
		uint16_t part[VL] = { 0 };
		memcpy(part, x + i, (n - i) * sizeof *x);
		v_store_part(y + i, word(part), n - i);
	}
}

INLINE void to_half(uint16_t *y, const float *x, size_t n, void (*word)(uint16_t *, vf))
{
	size_t i = 0;

	for (; i + VL <= n; i += VL)
		word(y + i, v_load(x + i));
	if (i < n) {
		uint16_t part[VL];
		word(part, v_load_part(x + i, n - i));
		memcpy(y + i, part, (n - i) * sizeof *y);
	}
}

static void from_bf16(float *y, const uint16_t *x, size_t n) { from_half(y, x, n, v_from_bf16); }
static void from_f16(float *y, const uint16_t *x, size_t n) { from_half(y, x, n, v_from_f16); }
static void to_bf16(uint16_t *y, const float *x, size_t n) { to_half(y, x, n, v_to_bf16); }
static void to_f16(uint16_t *y, const float *x, size_t n) { to_half(y, x, n, v_to_f16); }

#ifdef BF16_BODY
#include BF16_BODY
#endif
#ifndef BF16_SLOTS
#define BF16_SLOTS NULL
#endif

const struct kern TABLE = {
	.isa = ISA,
	.lanes = LANES,
	.block = BLOCK,
	.tile_load = tile_load,
	.tile_step = tile_step,
	.tile_pair = tile_pair,
	.tile_store = tile_store,
	.tile_scores = tile_scores,
	.lanes_fold_max = lanes_fold_max,
	.lanes_best = lanes_best,
	.lanes_collect = lanes_collect,
	.ranked = ranked,
	.gather_sum = gather_sum,
	.mm = mm,
	.mm_fetch = mm_fetch,
	.rows_dot = rows_dot,
	.rows_add = rows_add,
	.transpose = transpose,
	.from_bf16 = from_bf16,
	.from_f16 = from_f16,
	.to_bf16 = to_bf16,
	.to_f16 = to_f16,
	.bf16 = BF16_SLOTS,
	.fma_flops = 2 * CHAINS * VL,
	.fma_rounds = fma_rounds,
	.max = row_max,
	.sum = row_sum,
	.dot = row_dot,
	.axpy = row_axpy,
	.scale = row_scale,
	.exp_shift = row_exp_shift,
	.elu1 = row_elu1,
	.affine = row_affine,
	.relu = row_relu,
	.raise = row_raise,
	.mul = row_mul,
	.div = row_div,
	.pairs = row_pairs,
	.sincos = row_sincos,
};
