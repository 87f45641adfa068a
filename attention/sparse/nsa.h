/* SPDX-License-Identifier: BSD-3-Clause
 *
 * nsa: what its queries see, for the forward form and for decoding. */
#ifndef SPARSE_NSA_H
#define SPARSE_NSA_H

#include "../attn.h"
#include "../engine/compressed.h"
#include "../engine/pick.h"

enum { L, ST, BLOCK, NS, W, GCMP, GSLC, GSWA };

static inline size_t nsa_least(size_t a, size_t b)
{
	return a < b ? a : b;
}

static inline struct compressed nsa_shape_of(const double *arg)
{
	return (struct compressed){ .l = (size_t)arg[L], .st = (size_t)arg[ST], .block = (size_t)arg[BLOCK] };
}

/* Compressed keys complete within the first n tokens. */
static inline size_t nsa_compressed(const double *arg, size_t n)
{
	const struct compressed c = nsa_shape_of(arg);

	return compressed_count(&c, n);
}

static inline size_t nsa_blocks(const struct attn_shape *s, const double *arg)
{
	return (s->n_k + (size_t)arg[BLOCK] - 1) / (size_t)arg[BLOCK];
}

/* Blocks chosen by importance: a query of the first three blocks has none to choose. */
static inline size_t nsa_choices(const struct attn_shape *s, const double *arg)
{
	size_t nb = nsa_blocks(s, arg);

	return nsa_least((size_t)arg[NS] - 3, nb > 3 ? nb - 3 : 0);
}

static inline void nsa_compressed_band(const struct attn_shape *s, const double *arg, size_t i, size_t *lo,
                            size_t *hi)
{
	(void)s;
	*lo = 0;
	*hi = nsa_compressed(arg, i + 1);
}

static inline void nsa_window(const struct attn_shape *s, const double *arg, size_t i, size_t *lo, size_t *hi)
{
	size_t w = (size_t)arg[W];

	(void)s;
	*lo = i + 1 > w ? i + 1 - w : 0;
	*hi = i + 1;
}

/* The own block and the one before it; the first block, where it is neither. */
static inline void nsa_latest_blocks(const struct attn_shape *s, const double *arg, size_t i, size_t *lo, size_t *hi)
{
	size_t b = (size_t)arg[BLOCK], own = i / b;

	(void)s;
	*lo = own > 0 ? (own - 1) * b : 0;
	*hi = i + 1;
}

static inline void nsa_first_block(const struct attn_shape *s, const double *arg, size_t i, size_t *lo, size_t *hi)
{
	size_t b = (size_t)arg[BLOCK];

	(void)s;
	*lo = 0;
	*hi = i / b > 1 ? b : 0;
}

static inline void nsa_gates(const struct attn_aux *aux, const double *arg, float gate[3])
{
	const float *given = attn_aux_find(aux, "gates3", 1, 3);

	for (size_t g = 0; g < 3; g++)
		gate[g] = given ? given[g] : (float)arg[GCMP + g];
}

/* Largest error of a logarithm in compressed_importances: of two weights, e^s and a few
 * roundings each; and of the bits. longest: of the compressed keys. */
static inline float nsa_importance_error(const struct kern *kern, const struct attn_shape *s, const float *q, float longest)
{
	return 2 * s->scale * pick_dot_error(s->d, sqrtf(kern->dot(q, q, s->d)), longest) + 2e-5f;
}

extern const struct attn_decode nsa_decode;

#endif
