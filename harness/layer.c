/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Heads over threads, and the memory they work in. */
#include "layer.h"

#include "decode.h"
#include "hash.h"

#include <stdlib.h>
#include <string.h>

static const char too_large[] = "the shape is too large to be addressed";

/* *bytes = a * b * c and *sum += that, rounded up; false if any overflows. */
static bool need(size_t *bytes, size_t *sum, size_t a, size_t b, size_t c)
{
	size_t padded;

	if (__builtin_mul_overflow(a, b, bytes) || __builtin_mul_overflow(*bytes, c, bytes) ||
	    __builtin_add_overflow(*bytes, ARENA_ALIGN - 1, &padded))
		return false;
	return !__builtin_add_overflow(*sum, padded / ARENA_ALIGN * ARENA_ALIGN, sum);
}

static size_t element(const struct cell *cell)
{
	return cell->type == ATTN_F32 ? sizeof(float) : sizeof(uint16_t);
}

static size_t larger(size_t a, size_t b)
{
	return a > b ? a : b;
}

/* How many of the first n units (sequence after sequence) are number u of theirs. */
static size_t count_unit(size_t n, size_t units, size_t u)
{
	return n / units + (u < n % units);
}

/* Unit u of each sequence, where one thread or where the team works on it. */
static const char *plan_unit(const struct cell *cell, struct layer_plan *p, size_t u, bool team)
{
	struct attn_shape shape = cell_shape(cell, u * p->group);
	struct attn_decode_plan decode = { 0 };
	struct attn_plan head = { 0 };
	size_t *shared = team ? &p->shared_team : &p->shared_solo;
	size_t *scratch = team ? &p->scratch_team : &p->scratch_solo;
	size_t exact, padded = 0, past = 0, each = cell->heads / p->group, ranks = team ? cell->threads : 1;
	size_t all = count_unit(p->units, each, u), solo = count_unit(p->solo, each, u);
	size_t times = team ? all - solo : solo;
	const char *why;

	if (cell->mode == MODE_DECODE) {
		why = attn_decode_plan(cell->variant, &shape, p->arg, p->group, ranks, &decode);
		head = decode.step;
	} else {
		why = attn_plan(cell->variant, &shape, p->arg, ranks, &head);
	}
	if (why)
		return why;
	if (!need(&exact, &padded, head.state, 1, 1) || !need(&exact, &past, decode.past, 1, 1))
		return too_large;
	p->state = larger(p->state, padded);
	p->past = larger(p->past, past);
	p->changed = larger(p->changed, decode.changed);
	p->kept += times * decode.past;
	*shared = larger(*shared, head.shared);
	*scratch = larger(*scratch, head.scratch);
	p->flops_useful += (double)times * head.flops_useful;
	p->flops_executed += (double)times * head.flops_executed;
	p->n_exp += (double)times * head.n_exp;
	p->pairs += (double)times * head.pairs;
	p->bytes += (double)times * head.bytes;
	return NULL;
}

/* What rank r needs: room for both phases where they differ. */
static size_t shared_of(const struct layer_plan *p, size_t r)
{
	size_t solo = r < p->solo ? p->shared_solo : 0;
	return r == 0 && p->solo < p->units ? larger(solo, p->shared_team) : solo;
}

static size_t scratch_of(const struct layer_plan *p, size_t r)
{
	size_t solo = r < p->solo ? p->scratch_solo : 0;
	return p->solo < p->units ? larger(solo, p->scratch_team) : solo;
}

void layer_resolve(const struct cell *cell, double arg[ATTN_MAX_PARAMS])
{
	struct attn_shape shape = cell_shape(cell, 0);

	memcpy(arg, cell->arg, sizeof cell->arg);
	if (cell->variant->resolve)
		cell->variant->resolve(&shape, arg);
}

/* Units, and who works on them. */
static void divide_heads(const struct cell *cell, struct layer_plan *p)
{
	bool splits = p->flags & ATTN_PARALLEL;

	p->group = 1;
	if (cell->mode == MODE_DECODE) {
		splits = cell->variant->decode && cell->variant->decode->splits;
		if (cell->variant->decode && cell->variant->decode->shares)
			p->group = cell->heads / cell->kv_heads;
	}
	p->units = p->solo = p->total / p->group;
	if (splits)
		p->solo -= p->units % cell->threads;
}

const char *layer_plan(const struct cell *cell, struct layer_plan *p)
{
	*p = (struct layer_plan){ 0 };
	layer_resolve(cell, p->arg);
	p->flags = attn_flags(cell->variant, p->arg);
	if (__builtin_mul_overflow(cell->batch, cell->heads, &p->total) ||
	    p->total > SIZE_MAX / sizeof(float))
		return too_large;
	size_t row = p->total * element(cell), shared = cell->batch * cell->kv_heads * element(cell);
	if (!need(&p->q, &p->io, row, cell->n_q, cell->d) ||
	    !need(&p->k, &p->io, shared, cell->n_k, cell->d) ||
	    !need(&p->v, &p->io, shared, cell->n_k, cell->d_v) ||
	    !need(&p->out, &p->io, row, cell->n_q, cell->d_v))
		return too_large;
	p->call_io = cell->mode == MODE_DECODE ? p->q + p->out + (p->k + p->v) / cell->n_k
	                                       : p->io;
	divide_heads(cell, p);
	for (size_t u = 0, each = cell->heads / p->group; u < each; u++) {
		size_t solo = count_unit(p->solo, each, u);
		const char *why = NULL;
		if (solo > 0)
			why = plan_unit(cell, p, u, false);
		if (!why && count_unit(p->units, each, u) > solo)
			why = plan_unit(cell, p, u, true);
		if (why)
			return why;
	}
	size_t exact;
	bool fits = need(&exact, &p->work, cell->heads, p->state, 1) && need(&exact, &p->work, p->units, p->past, 1);
	for (size_t r = 0; r < cell->threads; r++)
		fits = fits && need(&exact, &p->work, 1, shared_of(p, r), 1) &&
		       need(&exact, &p->work, 1, scratch_of(p, r), 1);
	return fits ? NULL : too_large;
}

size_t layer_room(const struct layer_plan *p, const struct cell *cell)
{
	/* Every block that layer_create() takes has its guards. */
	size_t blocks = 4 + 2 + 2 * (size_t)cell->threads, room;

	if (__builtin_add_overflow(p->io, p->work, &room) ||
	    __builtin_add_overflow(room, blocks * arena_room(0), &room))
		return SIZE_MAX;
	return room;
}

static void *row_at(const struct layer *l, void *base, size_t row, size_t width)
{
	return (char *)base + row * width * element(&l->cell);
}

/* Consecutive query heads share a key and value head. */
static size_t kv_head(const struct layer *l, size_t g)
{
	return g / (l->cell.heads / l->cell.kv_heads);
}

void *layer_q(const struct layer *l, size_t g, size_t i)
{
	return row_at(l, l->q, g * l->cell.n_q + i, l->cell.d);
}

void *layer_k(const struct layer *l, size_t g, size_t i)
{
	return row_at(l, l->k, kv_head(l, g) * l->cell.n_k + i, l->cell.d);
}

void *layer_v(const struct layer *l, size_t g, size_t i)
{
	return row_at(l, l->v, kv_head(l, g) * l->cell.n_k + i, l->cell.d_v);
}

void *layer_out(const struct layer *l, size_t g, size_t i)
{
	return row_at(l, l->out, g * l->cell.n_q + i, l->cell.d_v);
}

static bool is_wide(const struct layer *l)
{
	return l->cell.type == ATTN_F32 && l->cell.kv_heads == l->cell.heads;
}

bool layer_widen(const struct layer *l, struct layer *wide)
{
	const struct cell *c = &l->cell;
	size_t q = c->n_q * c->d, k = c->n_k * c->d, v = c->n_k * c->d_v, out = c->n_q * c->d_v;

	*wide = *l;
	if (is_wide(l))
		return true;
	wide->cell.type = ATTN_F32;
	wide->cell.kv_heads = c->heads;
	wide->q = malloc(l->plan.total * q * sizeof(float));
	wide->k = malloc(l->plan.total * k * sizeof(float));
	wide->v = malloc(l->plan.total * v * sizeof(float));
	wide->out = malloc(l->plan.total * out * sizeof(float));
	if (!wide->q || !wide->k || !wide->v || !wide->out) {
		layer_free_wide(l, wide);
		return false;
	}
	for (size_t g = 0; g < l->plan.total; g++) {
		attn_widen(l->kern, c->type, layer_q(wide, g, 0), layer_q(l, g, 0), q);
		attn_widen(l->kern, c->type, layer_k(wide, g, 0), layer_k(l, g, 0), k);
		attn_widen(l->kern, c->type, layer_v(wide, g, 0), layer_v(l, g, 0), v);
		attn_widen(l->kern, c->type, layer_out(wide, g, 0), layer_out(l, g, 0), out);
	}
	return true;
}

void layer_free_wide(const struct layer *l, struct layer *wide)
{
	if (is_wide(l))
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
	size_t group = c->heads / c->kv_heads, bytes = element(c);

	for (size_t g = 0; g < l->plan.total; g++) {
		size_t unit = g / l->plan.group;
		bool solo = unit < l->plan.solo;
		size_t parts = solo ? 1 : me->size, part = solo ? 0 : me->rank;
		if (solo && unit % me->size != me->rank)
			continue;
		char *base[] = { layer_q(l, g, 0), layer_out(l, g, 0), layer_k(l, g, 0), layer_v(l, g, 0) };
		size_t n[] = { c->n_q * c->d, c->n_q * c->d_v, c->n_k * c->d, c->n_k * c->d_v };
		for (size_t i = 0; i < (g % group ? 2 : 4); i++) {
			size_t from = n[i] * part / parts, to = n[i] * (part + 1) / parts;
			memset(base[i] + from * bytes, 0, (to - from) * bytes);
		}
	}
}

bool layer_create(struct layer *l, const struct cell *cell, const struct layer_plan *plan,
                  const struct kern *kern, struct team *team, struct arena *arena)
{
	*l = (struct layer){ .cell = *cell, .plan = *plan, .team = team, .arena = arena,
	                     .kern = kern };
	l->q = arena_alloc(arena, "q", plan->q);
	l->k = l->q ? arena_alloc(arena, "k", plan->k) : NULL;
	l->v = l->k ? arena_alloc(arena, "v", plan->v) : NULL;
	l->out = l->v ? arena_alloc(arena, "the output", plan->out) : NULL;
	if (!l->out)
		return false;
	if (plan->state > 0) {
		l->state = arena_alloc(arena, "the state", cell->heads * plan->state);
		if (!l->state)
			return false;
	}
	if (plan->past > 0) {
		l->past = arena_alloc(arena, "the past", plan->units * plan->past);
		if (!l->past)
			return false;
	}
	for (size_t r = 0; r < cell->threads; r++) {
		size_t shared = shared_of(plan, r), scratch = scratch_of(plan, r);
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

	for (size_t h = 0; v->prepare && h < l->cell.heads; h++) {
		struct attn_shape shape = cell_shape(&l->cell, h);
		v->prepare(&shape, l->plan.arg, l->cell.seed,
		           l->state ? l->state + h * l->plan.state : NULL);
	}
}

static void run_head(const struct layer *l, size_t g, size_t shared, struct attn_team *me,
                     size_t rank)
{
	const struct cell *c = &l->cell;
	size_t h = g % c->heads;
	struct attn_shape shape = cell_shape(c, h);
	struct attn_call call = {
		.shape = &shape,
		.arg = l->plan.arg,
		.kern = l->kern,
		.state = l->state ? l->state + h * l->plan.state : NULL,
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
		.stats = l->stats ? &l->stats[rank] : NULL,
	};
	attn_forward(c->variant, &call, me);
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
