/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Sums of features: loading tokens, the state, reading it. */
#include "feature_work.h"

#include "half.h"

#include <string.h>

/* Measured: causal chunks beyond 16 cost more inside the chunk than they save
 * in updates of S; sums without order only need enough rows to fill the
 * matrix kernel while phi and S stay in L1. */
enum { CAUSAL_CHUNK = 16, SUM_CHUNK = 64 };

size_t feature_chunk(const struct attn_shape *s, const struct feature_map *map)
{
	if (map->chunk)
		return map->chunk;
	return s->causal || map->decay < 1 ? CAUSAL_CHUNK : SUM_CHUNK;
}

size_t feature_state_floats(const struct attn_shape *s, const struct feature_map *map)
{
	return map->dim * work_padded(s->d_v) + 2 * work_padded(map->dim);
}

size_t feature_work_floats(const struct attn_shape *s, const struct feature_map *map)
{
	size_t chunk = feature_chunk(s, map), ld = work_padded(map->dim);

	return 2 * chunk * ld + ld * work_padded(chunk) + chunk * work_padded(chunk) +
	       3 * work_padded(chunk) + work_padded(chunk + 1) +
	       (s->type == ATTN_F32 ? 0 : chunk * (work_padded(s->d) + 2 * work_padded(s->d_v)));
}

struct feature_state feature_state_at(const struct attn_shape *s, const struct feature_map *map, float *mem)
{
	struct feature_state st = { .s = mem };

	st.z = st.s + map->dim * work_padded(s->d_v);
	st.top = st.z + work_padded(map->dim);
	return st;
}

void feature_reset(const struct feature_work *w)
{
	memset(w->state.s, 0, (w->dim * w->ld_v + w->ld) * sizeof(float));
	for (size_t f = 0; f < w->ld; f++)
		w->state.top[f] = KERN_NO_MAX;
}

struct feature_work feature_begin(const struct attn_call *c, const struct feature_map *map, float *mem)
{
	struct feature_work w = { .c = c, .map = map, .dim = map->dim };
	float *at = mem;

	w.ld = work_padded(map->dim);
	w.ld_v = work_padded(c->shape->d_v);
	w.chunk = feature_chunk(c->shape, map);
	w.phi = at;
	w.psi = at += w.chunk * w.ld;
	w.psi_t = at += w.chunk * w.ld;
	w.near = at += w.ld * work_padded(w.chunk);
	w.den = at += w.chunk * work_padded(w.chunk);
	w.near_den = at += work_padded(w.chunk);
	w.ones = at += work_padded(w.chunk);
	w.power = at += work_padded(w.chunk);
	w.x = at += work_padded(w.chunk + 1);
	w.v = at += w.chunk * work_padded(c->shape->d);
	w.o = at + w.chunk * w.ld_v;
	for (size_t i = 0; i < w.chunk; i++)
		w.ones[i] = 1;
	for (size_t i = 0; i <= w.chunk; i++)
		w.power[i] = (float)pow(map->decay, (double)i);
	return w;
}

void feature_count(const struct feature_work *w, double flops)
{
	if (w->c->stats)
		w->c->stats->flops_executed += flops;
}

/* Sums of features for the denominator: D a token; their product with phi: 2 D. */
static double norm_flops(const struct feature_work *w, size_t rows)
{
	return w->map->normalise ? (double)(rows * w->dim) : 0;
}

static struct feature_rows rows_of(const struct feature_work *w, const void *base, size_t ld, size_t i0, size_t rows,
                           size_t cols, float *buffer)
{
	enum attn_type type = w->c->shape->type;
	const void *at = half_row(type, base, ld, i0);

	if (type == ATTN_F32)
		return (struct feature_rows){ (float *)(uintptr_t)at, ld };
	half_widen(w->c->kern, type, buffer, cols, at, ld, rows, cols);
	return (struct feature_rows){ buffer, cols };
}

void feature_load_queries(const struct feature_work *w, size_t i0, size_t rows)
{
	const struct attn_call *c = w->c;
	struct feature_rows q = rows_of(w, c->q, c->ldq, i0, rows, c->shape->d, w->x);

	w->map->query(c, q.x, q.ld, rows, w->first + i0, w->phi, w->ld);
	feature_count(w, (double)rows * w->map->map_flops);
}

void feature_load_keys(const struct feature_work *w, size_t j0, size_t rows)
{
	const struct attn_call *c = w->c;
	struct feature_rows k = rows_of(w, c->k, c->ldk, j0, rows, c->shape->d, w->x);

	w->map->key(c, k.x, k.ld, rows, w->first + j0, w->psi, w->ld);
	if (c->shape->type != ATTN_F32)
		rows_of(w, c->v, c->ldv, j0, rows, c->shape->d_v, w->v);
	feature_count(w, (double)rows * w->map->map_flops);
}

struct feature_rows feature_values(const struct feature_work *w, size_t j0)
{
	const struct attn_call *c = w->c;

	if (c->shape->type == ATTN_F32)
		return (struct feature_rows){ (float *)(uintptr_t)c->v + j0 * c->ldv, c->ldv };
	return (struct feature_rows){ w->v, c->shape->d_v };
}

struct feature_rows feature_output(const struct feature_work *w, size_t i0)
{
	const struct attn_call *c = w->c;

	if (c->shape->type == ATTN_F32)
		return (struct feature_rows){ (float *)c->out + i0 * c->ldo, c->ldo };
	return (struct feature_rows){ w->o, c->shape->d_v };
}

void feature_finish(const struct feature_work *w, size_t i0, size_t rows)
{
	const struct attn_call *c = w->c;
	enum attn_type type = c->shape->type;

	if (type != ATTN_F32)
		half_narrow(c->kern, type, (char *)c->out + i0 * c->ldo * half_element_bytes(type), c->ldo,
		            w->o, c->shape->d_v, rows, c->shape->d_v);
}

/* A stretch of q, k, v or out that is needed soon. */
static void fetch(const struct feature_work *w, struct kern_fetch *f, size_t which, const void *x, size_t ld,
                  size_t from, size_t rows)
{
	enum attn_type type = w->c->shape->type;

	f->from[which] = half_row(type, x, ld, from);
	f->bytes[which] = rows * ld * half_element_bytes(type);
}

/* ---- the state ---- */

/* Row f of the state, and z[f], times a. */
static void rescale(const struct feature_work *w, size_t f, float a)
{
	w->c->kern->scale(w->state.s + f * w->ld_v, a, w->c->shape->d_v);
	w->state.z[f] *= a;
}

void feature_rescale_all(const struct feature_work *w, float a)
{
	w->c->kern->scale(w->state.s, a, w->dim * w->ld_v);
	w->c->kern->scale(w->state.z, a, w->dim);
}

size_t feature_exponents(const struct feature_map *map)
{
	return map->kind == FEATURE_PLAIN ? 0 : map->dim - map->plain;
}

/* Lifts the running maximum to at least `top`: one a head. */
static void lift_head(const struct feature_work *w, float top)
{
	float *m = w->state.top;

	if (!(top > *m))
		return;
	float a = expf(*m - top); /* 0 from the initial, finite maximum */
	for (size_t f = 0; f < feature_exponents(w->map); f++)
		rescale(w, f, a);
	*m = top;
}

void feature_exponentiate(const struct feature_work *w, size_t rows)
{
	const struct kern *kern = w->c->kern;
	float *top = w->state.top;
	size_t exps = feature_exponents(w->map);

	if (w->map->kind == FEATURE_EXP) {
		for (size_t r = 0; r < rows; r++)
			lift_head(w, kern->max(w->psi + r * w->ld, exps));
		for (size_t r = 0; r < rows; r++)
			kern->exp_shift(w->psi + r * w->ld, w->psi + r * w->ld, *top, exps);
	} else if (w->map->kind == FEATURE_CHANNEL) {
		float *high = w->psi_t;
		memcpy(high, top, w->dim * sizeof *high);
		for (size_t r = 0; r < rows; r++)
			kern->raise(high, w->psi + r * w->ld, w->dim);
		for (size_t f = 0; f < w->dim; f++)
			if (high[f] > top[f])
				rescale(w, f, expf(top[f] - high[f]));
		memcpy(top, high, w->dim * sizeof *top);
		for (size_t r = 0; r < rows; r++) {
			float *u = w->psi + r * w->ld;
			kern->axpy(u, -1, top, w->dim);
			kern->exp_shift(u, u, 0, w->dim);
		}
	}
}

void feature_absorb(const struct feature_work *w, size_t j0, size_t rows)
{
	const struct attn_call *c = w->c;
	size_t d_v = c->shape->d_v;

	/* The chunk after the next: its turn comes too soon after this product. */
	struct kern_fetch next;
	struct feature_rows v = feature_values(w, j0);
	fetch(w, &next, 0, c->k, c->ldk, j0 + 2 * rows, rows);
	fetch(w, &next, 1, c->v, c->ldv, j0 + 2 * rows, rows);
	c->kern->mm_fetch(w->state.s, w->ld_v, w->psi, 1, w->ld, v.x, v.ld, w->dim, d_v, rows, true, &next);
	if (w->map->normalise || w->map->kind == FEATURE_CHANNEL)
		c->kern->rows_add(w->state.z, w->psi, w->ld, rows, w->dim);
	feature_count(w, 2.0 * (double)(rows * w->dim * d_v) + norm_flops(w, rows));
}

void feature_absorb_range(const struct feature_work *w, size_t j0, size_t j1)
{
	for (size_t j = j0; j < j1; j += w->chunk) {
		size_t rows = j1 - j < w->chunk ? j1 - j : w->chunk;
		feature_load_keys(w, j, rows);
		feature_exponentiate(w, rows);
		if (w->map->decay < 1) {
			feature_rescale_all(w, w->power[rows]);
			for (size_t r = 0; r < rows; r++)
				w->c->kern->scale(w->psi + r * w->ld, w->power[rows - 1 - r], w->dim);
		}
		feature_absorb(w, j, rows);
	}
}

void feature_combine(const struct feature_work *w, struct feature_state later, size_t keys)
{
	const struct kern *kern = w->c->kern;
	struct feature_state into = w->state;
	float gamma = w->map->decay < 1 ? (float)pow(w->map->decay, (double)keys) : 1;
	bool channel = w->map->kind == FEATURE_CHANNEL;

	for (size_t f = 0; f < w->dim; f++) {
		float a = gamma, b = 1, *m = into.top + (channel ? f : 0);
		float m2 = later.top[channel ? f : 0];
		if (f < feature_exponents(w->map)) {
			float top = m2 > *m ? m2 : *m;
			a = expf(*m - top);
			b = expf(m2 - top);
		}
		kern->scale(into.s + f * w->ld_v, a, w->c->shape->d_v);
		kern->axpy(into.s + f * w->ld_v, b, later.s + f * w->ld_v, w->c->shape->d_v);
		into.z[f] = a * into.z[f] + b * later.z[f];
		if (channel)
			*m = m2 > *m ? m2 : *m;
	}
	if (!channel && later.top[0] > into.top[0])
		into.top[0] = later.top[0];
}

/* ---- outputs ---- */

static float divisor(const struct feature_work *w, size_t i, float den)
{
	const struct feature_map *map = w->map;

	if (map->divisor)
		return map->divisor(w->c, i, den);
	den += map->eps;
	return fabsf(den) < map->den_min ? copysignf(map->den_min, den) : den;
}

/* Divides the rows; nothing to divide by makes a zero row. Features of both
 * signs can make a denominator negative: it is used as it is, and counted. */
void feature_divide(const struct feature_work *w, size_t i0, size_t rows)
{
	const struct attn_call *c = w->c;

	for (size_t r = 0; w->map->normalise && r < rows; r++) {
		struct feature_rows o = feature_output(w, i0);
		float *out = o.x + r * o.ld, by = divisor(w, w->first + i0 + r, w->den[r]);
		if (by == 0)
			memset(out, 0, c->shape->d_v * sizeof *out);
		else
			c->kern->scale(out, 1 / by, c->shape->d_v);
		if (c->stats && (w->den[r] <= 0 || w->den[r] < w->map->den_min))
			c->stats->clamped_rows += 1;
	}
}

void feature_read_state(const struct feature_work *w, size_t i0, size_t rows, bool accumulate)
{
	const struct attn_call *c = w->c;
	size_t d_v = c->shape->d_v;

	struct kern_fetch next;
	struct feature_rows o = feature_output(w, i0);
	fetch(w, &next, 0, c->q, c->ldq, i0 + 2 * rows, rows);
	fetch(w, &next, 1, c->out, c->ldo, i0 + 2 * rows, rows);
	c->kern->mm_fetch(o.x, o.ld, w->phi, w->ld, 1, w->state.s, w->ld_v, rows, d_v, w->dim, accumulate,
	                  &next);
	if (w->map->normalise)
		c->kern->rows_dot(w->den, w->phi, w->ld, rows, w->state.z, w->dim);
	feature_count(w, 2.0 * (double)(rows * w->dim * d_v) + 2 * norm_flops(w, rows));
}

/* ---- channels that each have their own running sum ---- */

void feature_channel_absorb(const struct feature_work *w, size_t j, size_t r)
{
	const struct attn_call *c = w->c;
	size_t d_v = c->shape->d_v;
	float *u = w->psi + r * w->ld, *top = w->state.top;
	struct feature_rows v = feature_values(w, j);

	for (size_t f = 0; f < w->dim; f++) {
		if (u[f] > top[f]) {
			rescale(w, f, expf(top[f] - u[f]));
			top[f] = u[f];
		}
		u[f] -= top[f];
	}
	c->kern->exp_shift(u, u, 0, w->dim);
	c->kern->axpy(w->state.z, 1, u, w->dim);
	c->kern->mm(w->state.s, w->ld_v, u, 1, w->ld, v.x + r * v.ld, v.ld, w->dim, d_v, 1, true);
	feature_count(w, 2.0 * (double)(w->dim * d_v));
}

void feature_channel_read(const struct feature_work *w, size_t i, size_t r)
{
	const struct attn_call *c = w->c;
	size_t d_v = c->shape->d_v;
	float *phi = w->phi + r * w->ld;
	struct feature_rows o = feature_output(w, i);

	for (size_t f = 0; f < w->dim; f++)
		phi[f] /= w->state.z[f];
	c->kern->mm(o.x + r * o.ld, o.ld, phi, w->ld, 1, w->state.s, w->ld_v, 1, d_v, w->dim, false);
	feature_count(w, 2.0 * (double)(w->dim * d_v));
}
