/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What a call of a layer needs and does, before any memory is taken. */
#include "layer.h"

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

size_t layer_element(const struct cell *cell)
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

/* The unit that starts with head g, and `times` - 1 others like it, where one thread or
 * where the team works on each. */
static const char *plan_unit(const struct cell *cell, struct layer_plan *p, size_t g, const double *arg,
                             bool team, size_t times)
{
	struct attn_shape shape = cell_shape(cell, g);
	struct attn_decode_plan decode = { 0 };
	struct attn_plan head = { 0 };
	size_t *shared = team ? &p->shared_team : &p->shared_solo;
	size_t *scratch = team ? &p->scratch_team : &p->scratch_solo;
	size_t exact, padded = 0, past = 0, ranks = team ? cell->threads : 1;
	const char *why;

	if (cell->mode == MODE_DECODE) {
		why = attn_decode_plan(cell->variant, &shape, arg, p->group, ranks, &decode);
		head = decode.step;
	} else {
		why = attn_plan(cell->variant, &shape, arg, ranks, &head);
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

size_t layer_shared_of(const struct layer_plan *p, size_t r)
{
	size_t solo = r < p->solo ? p->shared_solo : 0;
	return r == 0 && p->solo < p->units ? larger(solo, p->shared_team) : solo;
}

size_t layer_scratch_of(const struct layer_plan *p, size_t r)
{
	size_t solo = r < p->solo ? p->scratch_solo : 0;
	return p->solo < p->units ? larger(solo, p->scratch_team) : solo;
}

void layer_resolve(const struct cell *cell, size_t g, double arg[ATTN_MAX_PARAMS])
{
	struct attn_shape shape = cell_shape(cell, g);

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

/* The units of a sequence, which stands for all where all are alike. */
static const char *plan_sequence(const struct cell *cell, struct layer_plan *p, size_t sequence)
{
	size_t each = cell->heads / p->group, first = sequence * each;
	bool alike = cell->lengths == LENGTHS_FULL;
	double arg[ATTN_MAX_PARAMS];
	const char *why = NULL;

	p->sequence = sequence;
	layer_resolve(cell, sequence * cell->heads, arg);
	for (size_t u = 0; u < each && !why; u++) {
		size_t all = alike ? count_unit(p->units, each, u) : 1, g = (first + u) * p->group;
		size_t solo = alike ? count_unit(p->solo, each, u) : first + u < p->solo;
		if (solo > 0)
			why = plan_unit(cell, p, g, arg, false, solo);
		if (!why && all > solo)
			why = plan_unit(cell, p, g, arg, true, all - solo);
	}
	return why;
}

/* Tokens, and rows of a head in memory; false: too many. */
static bool count_tokens(const struct cell *cell, struct layer_plan *p, size_t *rows_q, size_t *rows_k)
{
	if (__builtin_mul_overflow(cell->batch, cell->n_q, rows_q) ||
	    __builtin_mul_overflow(cell->batch, cell->n_k, rows_k))
		return false;
	p->tokens_q = *rows_q;
	p->tokens_k = *rows_k;
	if (cell->lengths == LENGTHS_FULL)
		return true;
	p->tokens_q = p->tokens_k = 0;
	for (size_t b = 0; b < cell->batch; b++) {
		p->tokens_q += cell_length(cell, cell->n_q, b);
		p->tokens_k += cell_length(cell, cell->n_k, b);
	}
	if (cell->lengths == LENGTHS_PACKED) {
		*rows_q = p->tokens_q;
		*rows_k = p->tokens_k;
	}
	return true;
}

static bool plan_arrays(const struct cell *cell, struct layer_plan *p)
{
	size_t rows_q, rows_k, table;

	if (__builtin_mul_overflow(cell->batch, cell->heads, &p->total) || p->total > SIZE_MAX / sizeof(float) ||
	    !count_tokens(cell, p, &rows_q, &rows_k))
		return false;
	size_t queries = cell->heads * layer_element(cell), keys = cell->kv_heads * layer_element(cell);
	if (!need(&p->q, &p->io, queries, rows_q, cell->d) || !need(&p->k, &p->io, keys, rows_k, cell->d) ||
	    !need(&p->v, &p->io, keys, rows_k, cell->d_v) || !need(&p->out, &p->io, queries, rows_q, cell->d_v) ||
	    !need(&table, &p->io, cell->batch, sizeof(struct layer_sequence), 1))
		return false;
	p->call_io = p->q + p->k + p->v + p->out;
	if (cell->mode == MODE_DECODE)
		p->call_io = p->q + p->out + cell->batch * keys * (cell->d + cell->d_v);
	p->states = cell->lengths == LENGTHS_FULL ? cell->heads : p->total;
	return true;
}

const char *layer_plan(const struct cell *cell, struct layer_plan *p)
{
	size_t exact, kinds = cell->lengths == LENGTHS_FULL ? 1 : cell->batch;

	*p = (struct layer_plan){ 0 };
	layer_resolve(cell, 0, p->arg);
	p->flags = attn_flags(cell->variant, p->arg);
	if (!plan_arrays(cell, p))
		return too_large;
	divide_heads(cell, p);
	for (size_t b = 0; b < kinds; b++) {
		const char *why = plan_sequence(cell, p, b);
		if (why)
			return why;
	}
	bool fits = need(&exact, &p->work, p->states, p->state, 1) && need(&exact, &p->work, p->units, p->past, 1);
	for (size_t r = 0; r < cell->threads; r++)
		fits = fits && need(&exact, &p->work, 1, layer_shared_of(p, r), 1) &&
		       need(&exact, &p->work, 1, layer_scratch_of(p, r), 1);
	return fits ? NULL : too_large;
}

size_t layer_room(const struct layer_plan *p, const struct cell *cell)
{
	/* Every block that layer_create() takes has its guards. */
	size_t blocks = 5 + 2 + 2 * (size_t)cell->threads, room;

	if (__builtin_add_overflow(p->io, p->work, &room) ||
	    __builtin_add_overflow(room, blocks * arena_room(0), &room))
		return SIZE_MAX;
	return room;
}
