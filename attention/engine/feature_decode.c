/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Sums of features, a token at a time: the past is the state. */
#include "feature_work.h"

#include "cache.h"

/* Features of the state that are updated and read at a time, while in L1. */
enum { APPEND_CHUNK = 64, ROWS = 64 };

static struct feature_map map_of(const struct attn_decode *slot, const struct attn_shape *s, const double *arg)
{
	return ((const struct feature_decode *)slot)->map(s, arg);
}

/* Tokens that are summed without being read can form larger chunks. */
static size_t append_chunk(const struct feature_map *map)
{
	return map->chunk ? map->chunk : APPEND_CHUNK;
}

const char *feature_decode_plan(const struct attn_decode *slot, const struct attn_shape *s, const double *arg,
                                size_t queries, size_t ranks, struct attn_decode_plan *p)
{
	struct feature_map map = map_of(slot, s, arg);
	double dim = (double)map.dim, d_v = (double)s->d_v, rows = (double)queries;

	(void)ranks;
	map.chunk = append_chunk(&map);
	p->past = p->changed = feature_state_floats(s, &map) * sizeof(float);
	p->step.scratch = feature_work_floats(s, &map) * sizeof(float);
	p->step.flops_useful = (rows + 1) * (2 * dim * d_v + map.map_flops);
	if (map.normalise)
		p->step.flops_useful += (2 * rows + 1) * dim;
	p->step.flops_executed = p->step.flops_useful;
	p->step.n_exp = (rows + 1) * map.map_exp;
	p->step.pairs = rows * (double)s->n_k;
	/* The state is read and written, and W, or what else was prepared, is read. */
	p->step.bytes = 2 * (double)p->past + (double)p->step.state + cache_io_bytes(s, queries);
	return NULL;
}

static struct attn_call call_of(const struct attn_decode_call *c)
{
	return (struct attn_call){
		.shape = c->shape, .arg = c->arg, .kern = c->kern, .state = c->state, .q = c->q, .k = c->k,
		.v = c->v, .out = c->out, .ldq = c->ldq, .ldk = c->ldk, .ldv = c->ldv, .ldo = c->ldo,
		.aux = c->aux, .shared = c->shared, .scratch = c->scratch, .stats = c->stats,
	};
}

static struct feature_work begin(const struct attn_decode_call *c, const struct attn_call *call,
                                 struct feature_map *map, size_t chunk)
{
	map->chunk = chunk;
	struct feature_work w = feature_begin(call, map, call->scratch);
	w.first = c->length;
	w.state = feature_state_at(c->shape, map, c->past);
	return w;
}

void feature_decode_start(const struct attn_decode_call *c)
{
	struct feature_map map = map_of(c->slot, c->shape, c->arg);
	const struct attn_call call = call_of(c);
	struct feature_work w = begin(c, &call, &map, 1);

	feature_reset(&w);
}

void feature_decode_append(const struct attn_decode_call *c)
{
	struct feature_map map = map_of(c->slot, c->shape, c->arg);
	const struct attn_call call = call_of(c);
	struct feature_work w = begin(c, &call, &map, append_chunk(&map));

	feature_absorb_range(&w, 0, c->tokens);
}

/* The token in psi joins the sums, and the query in phi reads them, stretch by
 * stretch of the features: a large state passes through the cache once. */
static void absorb_and_read(const struct feature_work *w)
{
	const struct attn_call *c = w->c;
	const struct kern *kern = c->kern;
	size_t d_v = c->shape->d_v, ld_v = w->ld_v;
	struct feature_rows v = feature_values(w, 0), o = feature_output(w, 0);
	double sums = w->map->normalise ? 3 * (double)w->dim : 0;

	for (size_t f = 0; f < w->dim; f += ROWS) {
		size_t rows = w->dim - f < ROWS ? w->dim - f : ROWS;
		float *s = w->state.s + f * ld_v;
		if (w->map->decay < 1)
			kern->scale(s, w->power[1], rows * ld_v);
		kern->mm(s, ld_v, w->psi + f, 1, w->ld, v.x, v.ld, rows, d_v, 1, true);
		kern->mm(o.x, o.ld, w->phi + f, w->ld, 1, s, ld_v, 1, d_v, rows, f > 0);
	}
	if (w->map->normalise) {
		kern->scale(w->state.z, w->power[1], w->dim);
		kern->axpy(w->state.z, 1, w->psi, w->dim);
		w->den[0] = kern->dot(w->phi, w->state.z, w->dim);
	}
	feature_count(w, 4.0 * (double)(w->dim * d_v) + sums);
}

void feature_decode_step(const struct attn_decode_call *c, struct attn_team *team)
{
	struct feature_map map = map_of(c->slot, c->shape, c->arg);
	const struct attn_call call = call_of(c);
	struct feature_work w = begin(c, &call, &map, 1);
	bool channel = map.kind == FEATURE_CHANNEL;

	(void)team;
	feature_load_keys(&w, 0, 1);
	if (channel)
		feature_channel_absorb(&w, 0, 0);
	else
		feature_exponentiate(&w, 1);
	for (size_t r = 0; r < c->queries; r++) {
		w.first = c->length - r; /* row r stands at the same position */
		feature_load_queries(&w, r, 1);
		if (channel)
			feature_channel_read(&w, r, 0);
		else if (r == 0)
			absorb_and_read(&w);
		else
			feature_read_state(&w, r, 1, false);
		feature_divide(&w, r, 1);
		feature_finish(&w, r, 1);
	}
}

float feature_decode_read(const struct attn_decode_call *c, const float *phi, float *out)
{
	const struct kern *kern = c->kern;
	const struct feature_map map = map_of(c->slot, c->shape, c->arg);
	struct feature_state state = feature_state_at(c->shape, &map, c->past);
	size_t d_v = c->shape->d_v;
	float den = kern->dot(phi, state.z, map.dim);

	if (!(den > 0))
		return -INFINITY;
	kern->mm(out, d_v, phi, map.dim, 1, state.s, work_padded(d_v), 1, d_v, map.dim, false);
	kern->scale(out, 1 / den, d_v);
	if (c->stats)
		c->stats->flops_executed += 2.0 * (double)(map.dim * (d_v + 1));
	return logf(den) + state.top[0];
}
