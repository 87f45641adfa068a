/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The decode slot for callers: refusals, and half precision for variants that
 * compute in f32 alone, whose rows are widened as they arrive. */
#include "half.h"
#include "layout.h"

enum { PIECE = 64 }; /* tokens widened at a time */

/* f32 copies, before the variant's own shared memory. */
struct wide {
	float *q, *k, *v, *out;
	size_t bytes;
};

static struct wide wide_at(const struct attn_shape *s, size_t queries, void *mem)
{
	struct layout l = { .base = mem };
	struct wide w;

	LAYOUT(&l, w.k, PIECE * s->d);
	LAYOUT(&l, w.v, PIECE * s->d_v);
	LAYOUT(&l, w.q, queries * s->d);
	LAYOUT(&l, w.out, queries * s->d_v);
	w.bytes = l.used;
	return w;
}

const char *attn_decode_plan(const struct attn_variant *v, const struct attn_shape *s, const double *arg,
                             size_t queries, size_t ranks, struct attn_decode_plan *plan)
{
	struct attn_shape shape = *s;

	if (!half_native(v, s->type))
		shape.type = ATTN_F32;
	*plan = (struct attn_decode_plan){ 0 };
	const char *why = v->plan(&shape, arg, 1, &plan->step);
	if (why)
		return why;
	if (!v->decode)
		return "has no decode step";
	plan->step = (struct attn_plan){ .state = plan->step.state };
	why = v->decode->plan(v->decode, &shape, arg, queries, ranks, plan);
	if (!half_native(v, s->type))
		plan->step.shared += wide_at(s, queries, NULL).bytes;
	return why;
}

void attn_decode_start(const struct attn_variant *v, const struct attn_decode_call *c)
{
	struct attn_shape shape = *c->shape;
	struct attn_decode_call call = *c;

	if (!half_native(v, shape.type))
		shape.type = ATTN_F32;
	call.slot = v->decode;
	call.shape = &shape;
	if (v->decode->start)
		v->decode->start(&call);
}

/* Puts f32 copies of its rows into the call. */
static void put_wide(struct attn_decode_call *call, const struct wide *w, struct attn_shape *shape)
{
	*shape = *call->shape;
	shape->type = ATTN_F32;
	call->shape = shape;
	call->k = w->k;
	call->v = w->v;
	call->q = w->q;
	call->out = w->out;
	call->ldk = call->ldq = shape->d;
	call->ldv = call->ldo = shape->d_v;
	call->shared = (char *)call->shared + w->bytes;
}

static void widen_tokens(const struct attn_decode_call *c, const struct wide *w, size_t first, size_t n)
{
	const struct attn_shape *s = c->shape;

	half_widen(c->kern, s->type, w->k, s->d, half_row(s->type, c->k, c->ldk, first), c->ldk, n, s->d);
	half_widen(c->kern, s->type, w->v, s->d_v, half_row(s->type, c->v, c->ldv, first), c->ldv, n, s->d_v);
}

void attn_decode_append(const struct attn_variant *v, const struct attn_decode_call *c)
{
	struct attn_decode_call call = *c;
	struct attn_shape shape;

	call.slot = v->decode;
	if (half_native(v, c->shape->type)) {
		v->decode->append(&call);
		return;
	}
	struct wide w = wide_at(c->shape, 0, c->shared);
	put_wide(&call, &w, &shape);
	for (size_t i = 0; i < c->tokens; i += PIECE) {
		call.tokens = c->tokens - i < PIECE ? c->tokens - i : PIECE;
		widen_tokens(c, &w, i, call.tokens);
		v->decode->append(&call);
		call.length += call.tokens;
	}
}

void attn_decode_step(const struct attn_variant *v, const struct attn_decode_call *c, struct attn_team *team)
{
	const struct attn_shape *s = c->shape;
	struct attn_decode_call call = *c;
	struct attn_shape shape;

	call.slot = v->decode;
	if (half_native(v, s->type)) {
		v->decode->step(&call, team);
		return;
	}
	struct wide w = wide_at(s, c->queries, c->shared);
	put_wide(&call, &w, &shape);
	if (team->rank == 0) {
		widen_tokens(c, &w, 0, 1);
		half_widen(c->kern, s->type, w.q, s->d, c->q, c->ldq, c->queries, s->d);
	}
	attn_barrier(team);
	v->decode->step(&call, team);
	attn_barrier(team);
	if (team->rank == 0)
		half_narrow(c->kern, s->type, c->out, c->ldo, w.out, s->d_v, c->queries, s->d_v);
}
