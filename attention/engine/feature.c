/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Sums of features: bidirectional, causal by chunks, with decay, over a team. */
#include "feature_work.h"

#include "half.h"

#include <string.h>

/* A chunk whose exponents rise by more than this is split, so that tokens
 * before the rise are not flushed to zero by a maximum they must not see. */
#define MAX_RISE 40.0f

/* FLOP of the weight of one pair within a chunk. */
static double pair_flops(const struct feature_map *map)
{
	return map->near ? map->near_flops : 2 * (double)map->dim;
}

/* near = phi psi^T for the chunk, times gamma^|r - s|, hidden keys zero. */
static void weigh_near(const struct feature_work *w, size_t i0, size_t j0, size_t rows, bool both_sides)
{
	const struct kern *kern = w->c->kern;
	size_t ld = work_padded(w->chunk);

	if (w->map->near) {
		w->map->near(w->c, i0, j0, rows, w->near, ld, w->psi_t);
	} else {
		kern->transpose(w->psi_t, ld, w->psi, w->ld, rows, w->dim);
		kern->mm(w->near, ld, w->phi, w->ld, 1, w->psi_t, ld, rows, rows, w->dim, false);
	}
	for (size_t r = 0; r < rows; r++) {
		float *a = w->near + r * ld;
		size_t end = both_sides ? rows : r + 1;
		for (size_t s = 0; w->map->decay < 1 && s < end; s++)
			a[s] *= w->power[s < r ? r - s : s - r];
		memset(a + end, 0, (rows - end) * sizeof *a);
	}
	feature_count(w, (double)(rows * rows) * pair_flops(w->map));
}

/* out += near v; den += row sums of near. */
static void read_near(const struct feature_work *w, size_t i0, size_t j0, size_t rows)
{
	const struct attn_call *c = w->c;
	size_t ld = work_padded(w->chunk), d_v = c->shape->d_v;

	struct feature_rows o = feature_output(w, i0), v = feature_values(w, j0);

	c->kern->mm(o.x, o.ld, w->near, ld, 1, v.x, v.ld, rows, d_v, rows, true);
	if (w->map->normalise) {
		c->kern->rows_dot(w->near_den, w->near, ld, rows, w->ones, rows);
		c->kern->axpy(w->den, 1, w->near_den, rows);
	}
	feature_count(w, 2.0 * (double)(rows * rows * d_v));
}

/* How many of the rows in w->psi may form one chunk: see MAX_RISE. */
static size_t safe_rows(const struct feature_work *w, size_t rows)
{
	float first = 0, m = w->state.top[0];

	for (size_t r = 0; r < rows; r++) {
		float top = w->c->kern->max(w->psi + r * w->ld, feature_exponents(w->map));
		m = top > m ? top : m;
		if (r == 0)
			first = m;
		if (m > first + MAX_RISE)
			return r;
	}
	return rows;
}

/* The same where each channel has its own maximum. */
static size_t safe_channels(const struct feature_work *w, size_t rows)
{
	const struct kern *kern = w->c->kern;
	float *first = w->psi_t, *rise = w->psi_t + w->ld;

	memcpy(first, w->state.top, w->dim * sizeof *first);
	kern->raise(first, w->psi, w->dim);
	for (; rows > 1; rows /= 2) {
		memcpy(rise, first, w->dim * sizeof *rise);
		for (size_t r = 1; r < rows; r++)
			kern->raise(rise, w->psi + r * w->ld, w->dim);
		kern->axpy(rise, -1, first, w->dim);
		if (kern->max(rise, w->dim) <= MAX_RISE)
			break;
	}
	return rows;
}

/* phi over the sums of its own row, z and the keys of the chunk up to it: then
 * O_t = sum_f phi_t[f] (s_f + sum_{j<=t} psi_j[f] v_j), as without channels. */
static void divide_channels(const struct feature_work *w, size_t rows)
{
	const struct kern *kern = w->c->kern;
	float *z = w->psi_t;

	memcpy(z, w->state.z, w->dim * sizeof *z);
	for (size_t r = 0; r < rows; r++) {
		float *phi = w->phi + r * w->ld;
		kern->axpy(z, 1, w->psi + r * w->ld, w->dim);
		kern->div(phi, phi, z, w->dim);
	}
}

/* Queries i0 .. i0 + rows against the state and their own chunk of keys. */
static void causal_chunk(const struct feature_work *w, size_t i0, size_t j0, size_t rows, bool both_sides)
{
	const struct kern *kern = w->c->kern;
	bool decays = w->map->decay < 1;

	feature_exponentiate(w, rows);
	feature_load_queries(w, i0, rows);
	if (w->map->kind == FEATURE_CHANNEL)
		divide_channels(w, rows);
	weigh_near(w, i0, j0, rows, both_sides);
	for (size_t r = 0; decays && r < rows; r++)
		kern->scale(w->phi + r * w->ld, w->power[r + 1], w->dim);
	feature_read_state(w, i0, rows, false);
	read_near(w, i0, j0, rows);
	feature_divide(w, i0, rows);
	feature_finish(w, i0, rows);
	if (decays)
		feature_rescale_all(w, w->power[rows]);
	for (size_t r = 0; decays && r < rows; r++)
		kern->scale(w->psi + r * w->ld, w->power[rows - 1 - r], w->dim);
	feature_absorb(w, j0, rows);
}

/* Queries [i0, i1) in order; query i sees the state and keys j0 .. j0 + i - i0. */
static void causal_range(const struct feature_work *w, size_t i0, size_t i1, size_t j0, bool both_sides)
{
	for (size_t i = i0; i < i1;) {
		size_t rows = i1 - i < w->chunk ? i1 - i : w->chunk, j = j0 + (i - i0);
		feature_load_keys(w, j, rows);
		if (w->map->kind == FEATURE_EXP)
			rows = safe_rows(w, rows);
		else if (w->map->kind == FEATURE_CHANNEL)
			rows = safe_channels(w, rows);
		causal_chunk(w, i, j, rows, both_sides);
		i += rows;
	}
}

/* Tokens of the last chunk when chunks are counted from the first token. */
static size_t last_chunk(const struct feature_work *w, size_t tokens)
{
	return (tokens - 1) % w->chunk + 1;
}

/* Absorbs keys [j0, j1) from the last to the first; the state is relative to
 * the first key absorbed. */
static void absorb_backward(const struct feature_work *w, size_t j0, size_t j1)
{
	const struct attn_call *c = w->c;

	for (size_t rows; j1 > j0; j1 -= rows) {
		rows = last_chunk(w, j1 - j0);
		feature_load_keys(w, j1 - rows, rows);
		feature_rescale_all(w, w->power[rows]);
		for (size_t r = 0; r < rows; r++)
			c->kern->scale(w->psi + r * w->ld, w->power[r], w->dim);
		feature_absorb(w, j1 - rows, rows);
	}
}

/* Adds to queries [i0, i1) what later keys give under two-sided decay. */
static void backward_range(const struct feature_work *w, size_t i0, size_t i1)
{
	for (size_t rows; i1 > i0; i1 -= rows) {
		rows = last_chunk(w, i1 - i0);
		feature_load_queries(w, i1 - rows, rows);
		for (size_t r = 0; r < rows; r++)
			w->c->kern->scale(w->phi + r * w->ld, w->power[rows - r], w->dim);
		feature_read_state(w, i1 - rows, rows, true);
		absorb_backward(w, i1 - rows, i1);
	}
}

/* ---- the forms, over a team: each rank sums its own stretch of keys into
 * shared memory; after the barrier it starts from the sums that it needs ---- */

/* Sum number i of those that the team shares. */
static struct feature_state shared_sum(const struct feature_work *w, size_t i)
{
	const struct attn_shape *s = w->c->shape;

	return feature_state_at(s, w->map, (float *)w->c->shared + i * feature_state_floats(s, w->map));
}

static struct feature_work into_shared(const struct feature_work *w, size_t i)
{
	struct feature_work sum = *w;

	sum.state = shared_sum(w, i);
	feature_reset(&sum);
	return sum;
}

static void bidirectional(const struct feature_work *w, struct attn_team *team)
{
	const struct attn_call *c = w->c;
	const struct attn_shape *s = c->shape;
	struct feature_work sum = into_shared(w, team->rank);

	feature_absorb_range(&sum, work_part(s->n_k, team->rank, team->size), work_part(s->n_k, team->rank + 1, team->size));
	attn_barrier(team);
	feature_reset(w);
	for (size_t r = 0; r < team->size; r++)
		feature_combine(w, shared_sum(w, r), 0);
	for (size_t f = 0; w->map->kind == FEATURE_CHANNEL && f < w->dim; f++)
		if (w->state.z[f] > 0)
			c->kern->scale(w->state.s + f * w->ld_v, 1 / w->state.z[f], s->d_v);
	size_t end = work_part(s->n_q, team->rank + 1, team->size);
	for (size_t i = work_part(s->n_q, team->rank, team->size); i < end; i += w->chunk) {
		size_t rows = end - i < w->chunk ? end - i : w->chunk;
		feature_load_queries(w, i, rows);
		feature_read_state(w, i, rows, false);
		feature_divide(w, i, rows);
		feature_finish(w, i, rows);
	}
}

/* The last `rows` queries meet the last `rows` keys on the diagonal; earlier
 * keys are absorbed first, earlier queries see nothing. */
static void causal(const struct feature_work *w, struct attn_team *team)
{
	const struct attn_call *c = w->c;
	const struct attn_shape *s = c->shape;
	size_t rows = s->n_q < s->n_k ? s->n_q : s->n_k, q0 = s->n_q - rows, k0 = s->n_k - rows;
	size_t a = work_part(rows, team->rank, team->size), b = work_part(rows, team->rank + 1, team->size);

	if (team->rank + 1 < team->size) {
		struct feature_work sum = into_shared(w, team->rank);
		feature_absorb_range(&sum, team->rank == 0 ? 0 : k0 + a, k0 + b);
	}
	attn_barrier(team);
	feature_reset(w);
	if (team->rank == 0) {
		feature_absorb_range(w, 0, k0);
		for (size_t i = 0; i < q0; i++)
			memset((char *)c->out + i * c->ldo * half_element_bytes(s->type), 0,
			       s->d_v * half_element_bytes(s->type));
	}
	for (size_t r = 0; r < team->rank; r++)
		feature_combine(w, shared_sum(w, r), work_part(rows, r + 1, team->size) - work_part(rows, r, team->size));
	causal_range(w, q0 + a, q0 + b, k0 + a, false);
}

/* Decay on both sides: forward with whole chunks, then backward. */
static void two_sided(const struct feature_work *w, struct attn_team *team)
{
	size_t n = w->c->shape->n_q, size = team->size;
	size_t a = work_part(n, team->rank, size), b = work_part(n, team->rank + 1, size);

	if (size > 1) {
		struct feature_work forward = into_shared(w, team->rank), back = into_shared(w, size + team->rank);
		feature_absorb_range(&forward, a, b);
		absorb_backward(&back, a, b);
		attn_barrier(team);
	}
	feature_reset(w);
	for (size_t r = 0; r < team->rank; r++)
		feature_combine(w, shared_sum(w, r), work_part(n, r + 1, size) - work_part(n, r, size));
	causal_range(w, a, b, a, true);
	feature_reset(w);
	for (size_t r = size; r-- > team->rank + 1;)
		feature_combine(w, shared_sum(w, size + r), work_part(n, r + 1, size) - work_part(n, r, size));
	backward_range(w, a, b);
}

void feature_forward(const struct attn_call *c, struct attn_team *team,
                     const struct feature_map *map)
{
	float *state = c->scratch;
	struct feature_work w = feature_begin(c, map, state + feature_state_floats(c->shape, map));

	w.state = feature_state_at(c->shape, map, state);
	if (c->shape->causal)
		causal(&w, team);
	else if (map->decay == 1)
		bidirectional(&w, team);
	else
		two_sided(&w, team);
}

void feature_plan(const struct attn_shape *s, const struct feature_map *map, size_t ranks,
                  struct attn_plan *p)
{
	double dim = (double)map->dim, d_v = (double)s->d_v, n_q = (double)s->n_q, n_k = (double)s->n_k;
	double rows = s->causal && n_k < n_q ? n_k : n_q; /* queries that see a key */
	bool two_sided = map->decay < 1 && !s->causal;
	double sums = 2 * (rows + n_k) * dim * d_v; /* phi S and psi^T V */

	/* A causal team of one passes no sums on. */
	size_t sums_passed = ranks == 1 && (s->causal || two_sided) ? 0 : (two_sided ? 2 : 1) * ranks;
	p->shared = sums_passed * feature_state_floats(s, map) * sizeof(float);
	p->scratch = (feature_state_floats(s, map) + feature_work_floats(s, map)) * sizeof(float);
	p->flops_useful = sums + (map->normalise ? (2 * rows + n_k) * dim : 0) +
	                  (rows + n_k) * map->map_flops;
	p->flops_executed = p->flops_useful + (two_sided ? sums + (rows + n_k) * map->map_flops : 0);
	if (s->causal || two_sided) { /* whole squares of each chunk; the last may be short */
		double chunk = (double)feature_chunk(s, map), last = fmod(rows, chunk);
		p->flops_executed += ((rows - last) * chunk + last * last) * (pair_flops(map) + 2 * d_v);
	}
	p->n_exp = (rows + n_k) * map->map_exp * (two_sided ? 2 : 1);
	p->pairs = work_visible_pairs(s);
	p->bytes = work_io_bytes(s);
}
