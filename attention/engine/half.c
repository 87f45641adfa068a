/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Half precision: conversion of rows, and the calls of variants that compute in
 * f32 alone: q, k, v are widened into shared memory, out is narrowed from it. */
#include "half.h"

#include "../kernels/kern.h"
#include "layout.h"

#include <string.h>

void half_widen(const struct kern *kern, enum attn_type type, float *y, size_t ldy, const void *x,
                size_t ldx, size_t rows, size_t cols)
{
	for (size_t i = 0; i < rows; i++) {
		const void *from = half_row(type, x, ldx, i);
		if (type == ATTN_BF16)
			kern->from_bf16(y + i * ldy, from, cols);
		else if (type == ATTN_F16)
			kern->from_f16(y + i * ldy, from, cols);
		else
			memcpy(y + i * ldy, from, cols * sizeof *y);
	}
}

void half_narrow(const struct kern *kern, enum attn_type type, void *x, size_t ldx, const float *y,
                 size_t ldy, size_t rows, size_t cols)
{
	for (size_t i = 0; i < rows; i++) {
		void *to = (char *)x + i * ldx * half_element_bytes(type);
		if (type == ATTN_BF16)
			kern->to_bf16(to, y + i * ldy, cols);
		else if (type == ATTN_F16)
			kern->to_f16(to, y + i * ldy, cols);
		else
			memcpy(to, y + i * ldy, cols * sizeof *y);
	}
}

/* ---- variants that compute in f32 alone ---- */

static bool is_native(const struct attn_variant *v, const struct attn_shape *s)
{
	unsigned flag = s->type == ATTN_BF16 ? ATTN_BF16_OK : ATTN_F16_OK;

	return s->type == ATTN_F32 || (v->flags & flag);
}

/* The f32 copies of one head, before the variant's own shared memory. */
struct wide {
	float *q, *k, *v, *out;
	size_t bytes;
};

static struct wide wide_at(const struct attn_shape *s, void *mem)
{
	struct layout l = { .base = mem };
	struct wide w;

	LAYOUT(&l, w.q, s->n_q * s->d);
	LAYOUT(&l, w.k, s->n_k * s->d);
	LAYOUT(&l, w.v, s->n_k * s->d_v);
	LAYOUT(&l, w.out, s->n_q * s->d_v);
	w.bytes = l.used;
	return w;
}

const char *attn_plan(const struct attn_variant *v, const struct attn_shape *s, const double *arg,
                      size_t ranks, struct attn_plan *plan)
{
	struct attn_shape wide = *s;

	if (!is_native(v, s))
		wide.type = ATTN_F32;
	const char *why = v->plan(&wide, arg, ranks, plan);
	if (!why && !is_native(v, s))
		plan->shared += wide_at(s, NULL).bytes;
	return why;
}

void attn_forward(const struct attn_variant *v, const struct attn_call *c, struct attn_team *team)
{
	const struct attn_shape *s = c->shape;
	struct attn_shape shape = *s;
	struct attn_call call = *c;

	if (is_native(v, s)) {
		v->forward(c, team);
		return;
	}
	struct wide w = wide_at(s, c->shared);
	size_t q0 = s->n_q * team->rank / team->size, q1 = s->n_q * (team->rank + 1) / team->size;
	size_t k0 = s->n_k * team->rank / team->size, k1 = s->n_k * (team->rank + 1) / team->size;
	half_widen(c->kern, s->type, w.q + q0 * s->d, s->d, half_row(s->type, c->q, c->ldq, q0), c->ldq,
	           q1 - q0, s->d);
	half_widen(c->kern, s->type, w.k + k0 * s->d, s->d, half_row(s->type, c->k, c->ldk, k0), c->ldk,
	           k1 - k0, s->d);
	half_widen(c->kern, s->type, w.v + k0 * s->d_v, s->d_v, half_row(s->type, c->v, c->ldv, k0), c->ldv,
	           k1 - k0, s->d_v);
	attn_barrier(team);
	shape.type = ATTN_F32;
	call.shape = &shape;
	call.q = w.q;
	call.k = w.k;
	call.v = w.v;
	call.out = w.out;
	call.ldq = call.ldk = s->d;
	call.ldv = call.ldo = s->d_v;
	call.shared = (char *)c->shared + w.bytes;
	v->forward(&call, team);
	attn_barrier(team);
	half_narrow(c->kern, s->type, (char *)c->out + q0 * c->ldo * sizeof(uint16_t), c->ldo,
	            w.out + q0 * s->d_v, s->d_v, q1 - q0, s->d_v);
}

const char *const half_names[] = { "f32", "bf16", "f16", NULL };

void half_round(const struct kern *kern, enum attn_type type, double *x, size_t n)
{
	enum { BLOCK = 64 };
	float y[BLOCK];
	uint16_t half[BLOCK];

	for (size_t at = 0; at < n; at += BLOCK) {
		size_t count = n - at < BLOCK ? n - at : BLOCK;
		for (size_t i = 0; i < count; i++)
			y[i] = (float)x[at + i];
		if (type != ATTN_F32) {
			half_narrow(kern, type, half, count, y, count, 1, count);
			half_widen(kern, type, y, count, half, count, 1, count);
		}
		for (size_t i = 0; i < count; i++)
			x[at + i] = (double)y[i];
	}
}

void attn_widen(const struct kern *kern, enum attn_type type, float *y, const void *x, size_t n)
{
	half_widen(kern, type, y, n, x, n, 1, n);
}

void attn_narrow(const struct kern *kern, enum attn_type type, void *x, const float *y, size_t n)
{
	half_narrow(kern, type, x, n, y, n, 1, n);
}
