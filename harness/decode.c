/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Filling pasts, steps, and putting back what they change. */
#include "decode.h"

#include <stdlib.h>
#include <string.h>

/* The call of unit u with `length` tokens in its past and `tokens` to take up. */
static struct attn_decode_call call_of(const struct layer *l, size_t u, struct attn_shape *shape,
                                       size_t length, size_t tokens, size_t shared, size_t rank)
{
	const struct cell *c = &l->cell;
	size_t g = u * l->plan.group;

	*shape = layer_shape(l, g);
	return (struct attn_decode_call){
		.shape = shape,
		.arg = layer_sequence(l, g)->arg,
		.kern = l->kern,
		.state = layer_state(l, g),
		.past = l->past ? l->past + u * l->plan.past : NULL,
		.length = length,
		.k = layer_k(l, g, length),
		.v = layer_v(l, g, length),
		.tokens = tokens,
		.ldk = c->d,
		.ldv = c->d_v,
		.q = layer_q(l, g, 0),
		.out = layer_out(l, g, 0),
		.queries = l->plan.group,
		.ldq = c->d,
		.ldo = c->d_v,
		.shared = l->shared[shared],
		.scratch = l->scratch[rank],
		.stats = l->stats[rank],
	};
}

/* The tokens of a unit's sequence but the last. */
static size_t tokens_before(const struct layer *l, size_t u)
{
	return layer_sequence(l, u * l->plan.group)->shape.n_k - 1;
}

void decode_step(const struct layer *l, size_t u, size_t shared, struct attn_team *me, size_t rank)
{
	struct attn_shape shape;
	const struct attn_decode_call call = call_of(l, u, &shape, tokens_before(l, u), 1, shared, rank);

	attn_decode_step(l->cell.variant, &call, me);
}

/* All tokens but the last: units of a thread on that one, those of the team on the
 * first. */
static void fill_rank(void *arg, struct attn_team *me)
{
	const struct layer *l = arg;

	for (size_t u = 0; u < l->plan.units; u++) {
		struct attn_shape shape;
		if (me->rank != (u < l->plan.solo ? u % me->size : 0))
			continue;
		struct attn_decode_call call = call_of(l, u, &shape, 0, tokens_before(l, u), me->rank, me->rank);
		call.stats = NULL; /* the work of a step alone is counted */
		attn_decode_start(l->cell.variant, &call);
		attn_decode_append(l->cell.variant, &call);
	}
}

void layer_fill(struct layer *l)
{
	if (l->cell.mode == MODE_DECODE)
		team_run(l->team, TEAM_FAST, fill_rank, l);
}

unsigned char *decode_save(const struct layer *l, bool *ok)
{
	size_t bytes = l->plan.changed;
	unsigned char *saved = bytes > 0 ? malloc(l->plan.units * bytes) : NULL;

	*ok = saved || bytes == 0;
	for (size_t u = 0; saved && u < l->plan.units; u++)
		memcpy(saved + u * bytes, l->past + u * l->plan.past, bytes);
	return saved;
}

void decode_restore(struct layer *l, const unsigned char *saved)
{
	size_t bytes = l->plan.changed;

	for (size_t u = 0; saved && u < l->plan.units; u++)
		memcpy(l->past + u * l->plan.past, saved + u * bytes, bytes);
}
