/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Rows of q, k, v and out in the type of the call, as f32 and back. */
#ifndef ENGINE_HALF_H
#define ENGINE_HALF_H

#include "../attn.h"

static inline size_t half_element_bytes(enum attn_type type)
{
	return type == ATTN_F32 ? sizeof(float) : sizeof(uint16_t);
}

/* Row i of a matrix of that type. */
static inline const void *half_row(enum attn_type type, const void *x, size_t ld, size_t i)
{
	return (const char *)x + i * ld * half_element_bytes(type);
}

/* y (rows x cols, ldy) = rows of x; x (rows x cols, ldx) = rows of y. For f32 a copy. */
void half_widen(const struct kern *kern, enum attn_type type, float *y, size_t ldy, const void *x,
                size_t ldx, size_t rows, size_t cols);
void half_narrow(const struct kern *kern, enum attn_type type, void *x, size_t ldx, const float *y,
                 size_t ldy, size_t rows, size_t cols);

/* n numbers rounded to the type, to the nearest, ties to even. */
void half_round(const struct kern *kern, enum attn_type type, double *x, size_t n);

/* Of the types, in their order, NULL-ended: the names of a parameter. */
extern const char *const half_names[];

#endif
