/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Heads over threads, and the memory they work in. */
#include "layer.h"

#include "decode.h"
#include "hash.h"

#include <stdlib.h>
#include <string.h>

/* What a head has memory for. */
static size_t rows_q(const struct layer *l, size_t g)
{
	return l->cell.lengths == LENGTHS_PACKED ? layer_sequence(l, g)->n_q : l->cell.n_q;
}

static size_t rows_k(const struct layer *l, size_t g)
{
	return l->cell.lengths == LENGTHS_PACKED ? layer_sequence(l, g)->shape.n_k : l->cell.n_k;
}

/* Row i of query head g, in an array of `width` channels. */
static void *query_row(const struct layer *l, void *base, size_t g, size_t i, size_t width)
{
	size_t heads = l->cell.heads, n = rows_q(l, g), row = g * n;

	if (l->cell.lengths == LENGTHS_PACKED)
		row = layer_sequence(l, g)->first_q * heads + g % heads * n;
	return (char *)base + (row + i) * width * layer_element(&l->cell);
}

/* The same of its keys or values: consecutive query heads share a head of them. */
static void *key_row(const struct layer *l, void *base, size_t g, size_t i, size_t width)
{
	size_t heads = l->cell.kv_heads, group = l->cell.heads / heads, n = rows_k(l, g), row = g / group * n;

	if (l->cell.lengths == LENGTHS_PACKED)
		row = layer_sequence(l, g)->first_k * heads + g / group % heads * n;
	return (char *)base + (row + i) * width * layer_element(&l->cell);
}

const struct layer_sequence *layer_sequence(const struct layer *l, size_t g)
{
	return &l->sequence[g / l->cell.heads];
}

struct attn_shape layer_shape(const struct layer *l, size_t g)
{
	struct attn_shape shape = layer_sequence(l, g)->shape;

	shape.head = g % l->cell.heads;
	return shape;
}

void *layer_state(const struct layer *l, size_t g)
{
	return l->state ? l->state + g % l->plan.states * l->plan.state : NULL;
}

void *layer_q(const struct layer *l, size_t g, size_t i)
{
	return query_row(l, l->q, g, i, l->cell.d);
}

void *layer_k(const struct layer *l, size_t g, size_t i)
{
	return key_row(l, l->k, g, i, l->cell.d);
}

void *layer_v(const struct layer *l, size_t g, size_t i)
{
	return key_row(l, l->v, g, i, l->cell.d_v);
}

void *layer_out(const struct layer *l, size_t g, size_t i)
{
	return query_row(l, l->out, g, i, l->cell.d_v);
}

bool layer_is_wide(const struct cell *c)
{
	return c->type == ATTN_F32 && c->kv_heads == c->heads && c->lengths != LENGTHS_PADDED;
}

bool layer_widen(const struct layer *l, struct layer *wide)
{
	const struct cell *c = &l->cell;
	size_t queries = c->heads * l->plan.tokens_q, keys = c->heads * l->plan.tokens_k;

	*wide = *l;
	if (layer_is_wide(&l->cell))
		return true;
	wide->cell.type = ATTN_F32;
	wide->cell.kv_heads = c->heads;
	if (c->lengths == LENGTHS_PADDED)
		wide->cell.lengths = LENGTHS_PACKED;
	wide->q = malloc(queries * c->d * sizeof(float));
	wide->k = malloc(keys * c->d * sizeof(float));
	wide->v = malloc(keys * c->d_v * sizeof(float));
	wide->out = malloc(queries * c->d_v * sizeof(float));
	if (!wide->q || !wide->k || !wide->v || !wide->out) {
		layer_free_wide(l, wide);
		return false;
	}
	for (size_t g = 0; g < l->plan.total; g++) {
		size_t n_q = layer_sequence(l, g)->n_q, n_k = layer_sequence(l, g)->shape.n_k;
		attn_widen(l->kern, c->type, layer_q(wide, g, 0), layer_q(l, g, 0), n_q * c->d);
		attn_widen(l->kern, c->type, layer_k(wide, g, 0), layer_k(l, g, 0), n_k * c->d);
		attn_widen(l->kern, c->type, layer_v(wide, g, 0), layer_v(l, g, 0), n_k * c->d_v);
		attn_widen(l->kern, c->type, layer_out(wide, g, 0), layer_out(l, g, 0), n_q * c->d_v);
	}
	return true;
}

void layer_free_wide(const struct layer *l, struct layer *wide)
{
	if (layer_is_wide(&l->cell))
		return;
	free(wide->q);
	free(wide->k);
	free(wide->v);
	free(wide->out);
}

/* The memory of a page is where its first writer runs. */
static void touch(void *arg, struct attn_team *me)
{
	const struct layer *l = arg;
	const struct cell *c = &l->cell;
	size_t group = c->heads / c->kv_heads, bytes = layer_element(c);

	for (size_t g = 0; g < l->plan.total; g++) {
		size_t unit = g / l->plan.group;
		bool solo = unit < l->plan.solo;
		size_t parts = solo ? 1 : me->size, part = solo ? 0 : me->rank;
		if (solo && unit % me->size != me->rank)
			continue;
		char *base[] = { layer_q(l, g, 0), layer_out(l, g, 0), layer_k(l, g, 0), layer_v(l, g, 0) };
		size_t n_q = rows_q(l, g), n_k = rows_k(l, g);
		size_t n[] = { n_q * c->d, n_q * c->d_v, n_k * c->d, n_k * c->d_v };
		for (size_t i = 0; i < (g % group ? 2 : 4); i++) {
			size_t from = n[i] * part / parts, to = n[i] * (part + 1) / parts;
			memset(base[i] + from * bytes, 0, (to - from) * bytes);
		}
	}
}

static void list_sequences(struct layer *l)
{
	struct layer_sequence here = { 0 };

	for (size_t b = 0; b < l->cell.batch; b++) {
		here.shape = cell_shape(&l->cell, b * l->cell.heads);
		here.n_q = cell_length(&l->cell, l->cell.n_q, b);
		layer_resolve(&l->cell, b * l->cell.heads, here.arg);
		l->sequence[b] = here;
		here.first_q += here.n_q;
		here.first_k += here.shape.n_k;
	}
}

bool layer_create(struct layer *l, const struct cell *cell, const struct layer_plan *plan,
                  const struct kern *kern, struct team *team, struct arena *arena)
{
	*l = (struct layer){ .cell = *cell, .plan = *plan, .team = team, .arena = arena,
	                     .kern = kern };
	l->sequence = arena_alloc(arena, "the table of sequences", cell->batch * sizeof *l->sequence);
	l->q = l->sequence ? arena_alloc(arena, "q", plan->q) : NULL;
	l->k = l->q ? arena_alloc(arena, "k", plan->k) : NULL;
	l->v = l->k ? arena_alloc(arena, "v", plan->v) : NULL;
	l->out = l->v ? arena_alloc(arena, "the output", plan->out) : NULL;
	if (!l->out)
		return false;
	list_sequences(l);
	if (plan->state > 0) {
		l->state = arena_alloc(arena, "the state", plan->states * plan->state);
		if (!l->state)
			return false;
	}
	if (plan->past > 0) {
		l->past = arena_alloc(arena, "the past", plan->units * plan->past);
		if (!l->past)
			return false;
	}
	for (size_t r = 0; r < cell->threads; r++) {
		size_t shared = layer_shared_of(plan, r), scratch = layer_scratch_of(plan, r);
		if (shared > 0 && !(l->shared[r] = arena_alloc(arena, "shared memory", shared)))
			return false;
		if (scratch > 0 && !(l->scratch[r] = arena_alloc(arena, "scratch memory", scratch)))
			return false;
	}
	team_run(team, TEAM_EXACT, touch, l);
	return true;
}

void layer_prepare(struct layer *l)
{
	const struct attn_variant *v = l->cell.variant;

	for (size_t g = 0; v->prepare && g < l->plan.states; g++) {
		struct attn_shape shape = layer_shape(l, g);
		v->prepare(&shape, layer_sequence(l, g)->arg, l->cell.seed, layer_state(l, g));
	}
}

static void run_head(const struct layer *l, size_t g, size_t shared, struct attn_team *me,
                     size_t rank)
{
	const struct cell *c = &l->cell;
	struct attn_shape shape = layer_shape(l, g);
	struct attn_call call = {
		.shape = &shape,
		.arg = layer_sequence(l, g)->arg,
		.kern = l->kern,
		.state = layer_state(l, g),
		.q = layer_q(l, g, 0),
		.k = layer_k(l, g, 0),
		.v = layer_v(l, g, 0),
		.out = layer_out(l, g, 0),
		.ldq = c->d,
		.ldk = c->d,
		.ldv = c->d_v,
		.ldo = c->d_v,
		.shared = l->shared[shared],
		.scratch = l->scratch[rank],
		.stats = l->stats[rank],
	};
	attn_forward(c->variant, &call, me);
	size_t padding = rows_q(l, g) - shape.n_q;
	if (padding > 0 && me->rank == 0)
		memset(layer_out(l, g, shape.n_q), 0, padding * c->d_v * layer_element(c));
}

static void run_rank(void *arg, struct attn_team *me)
{
	const struct layer *l = arg;
	struct attn_team alone = { 0, 1, me->barrier, me->impl };
	layer_unit_fn *run = l->cell.mode == MODE_DECODE ? decode_step : run_head;

	for (size_t u = me->rank; u < l->plan.solo; u += me->size)
		run(l, u, me->rank, &alone, me->rank);
	for (size_t u = l->plan.solo; u < l->plan.units; u++) {
		/* The unit before may still be read from shared memory. */
		attn_barrier(me);
		run(l, u, 0, me, me->rank);
	}
}

void layer_run(void *layer)
{
	struct layer *l = layer;

	team_run(l->team, TEAM_FAST, run_rank, l);
}

void layer_each_work(struct layer *l, void (*fn)(struct arena *, void *block))
{
	if (l->state)
		fn(l->arena, l->state);
	if (l->past)
		fn(l->arena, l->past);
	for (size_t r = 0; r < l->cell.threads; r++) {
		if (l->shared[r])
			fn(l->arena, l->shared[r]);
		if (l->scratch[r])
			fn(l->arena, l->scratch[r]);
	}
}

static bool add_resident(const struct layer *l, const void *block, int64_t *sum)
{
	size_t bytes = 0;
	bool ok = !block || arena_resident(l->arena, block, &bytes);

	*sum += (int64_t)bytes;
	return ok;
}

int64_t layer_resident(const struct layer *l)
{
	int64_t sum = 0;
	bool ok = add_resident(l, l->state, &sum) && add_resident(l, l->past, &sum);

	for (size_t r = 0; r < l->cell.threads; r++)
		ok = ok && add_resident(l, l->shared[r], &sum) && add_resident(l, l->scratch[r], &sum);
	return ok ? sum : -1;
}

uint64_t layer_hash_inputs(const struct layer *l)
{
	uint64_t h = hash_memory(1, l->q, l->plan.q);
	h = hash_mix(h, hash_memory(2, l->k, l->plan.k));
	return hash_mix(h, hash_memory(3, l->v, l->plan.v));
}

uint64_t layer_hash_output(const struct layer *l)
{
	return hash_memory(4, l->out, l->plan.out);
}
