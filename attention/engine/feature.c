/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Sums of features: bidirectional, causal by chunks, with decay, over a team. */
#include "feature.h"

#include "half.h"
#include "work.h"

#include <string.h>

/* Measured: causal chunks beyond 16 cost more inside the chunk than they save
 * in updates of S; sums without order only need enough rows to fill the
 * matrix kernel while phi and S stay in L1. */
enum { CAUSAL_CHUNK = 16, SUM_CHUNK = 64 };

/* A chunk whose exponents rise by more than this is split, so that tokens
 * before the rise are not flushed to zero by a maximum they must not see. */
#define MAX_RISE 40.0f

static size_t padded(size_t n)
{
	return (n + 15) / 16 * 16;
}

static size_t chunk_of(const struct attn_shape *s, const struct feature_map *map)
{
	if (map->chunk)
		return map->chunk;
	return s->causal || map->decay < 1 ? CAUSAL_CHUNK : SUM_CHUNK;
}

/* Sums over keys: s (D x ld), z (D), top (D; top[0] for one a head). */
struct state {
	float *s, *z, *top;
};

/* What a rank works with. */
struct work {
	const struct attn_call *c;
	const struct feature_map *map;
	size_t dim, ld, ld_v; /* D, its row length, the row length of s */
	size_t chunk;
	struct state state;
	float *phi, *psi, *psi_t, *near; /* chunk x D, same, D x chunk, chunk x chunk */
	float *den, *near_den, *ones;    /* chunk each */
	float *power;                    /* decay^0 .. decay^chunk */
	float *x, *v, *o; /* half precision: a chunk of q or k, of v, of out as f32 */
};

static size_t state_floats(const struct attn_shape *s, const struct feature_map *map)
{
	return map->dim * padded(s->d_v) + 2 * padded(map->dim);
}

static size_t scratch_floats(const struct attn_shape *s, const struct feature_map *map)
{
	size_t chunk = chunk_of(s, map), ld = padded(map->dim);

	return state_floats(s, map) + 2 * chunk * ld + ld * padded(chunk) + chunk * padded(chunk) +
	       3 * padded(chunk) + padded(chunk + 1) +
	       (s->type == ATTN_F32 ? 0 : chunk * (padded(s->d) + 2 * padded(s->d_v)));
}

static struct state state_at(const struct attn_shape *s, const struct feature_map *map, float *mem)
{
	struct state st = { .s = mem };

	st.z = st.s + map->dim * padded(s->d_v);
	st.top = st.z + padded(map->dim);
	return st;
}

/* Sum number i of those that the team shares. */
static struct state shared_sum(const struct work *w, size_t i)
{
	const struct attn_shape *s = w->c->shape;

	return state_at(s, w->map, (float *)w->c->shared + i * state_floats(s, w->map));
}

static void state_reset(const struct work *w)
{
	memset(w->state.s, 0, (w->dim * w->ld_v + w->ld) * sizeof(float));
	for (size_t f = 0; f < w->ld; f++)
		w->state.top[f] = KERN_NO_MAX;
}

static struct work work_init(const struct attn_call *c, const struct feature_map *map)
{
	struct work w = { .c = c, .map = map, .dim = map->dim };
	float *at = c->scratch;

	w.ld = padded(map->dim);
	w.ld_v = padded(c->shape->d_v);
	w.chunk = chunk_of(c->shape, map);
	w.state = state_at(c->shape, map, at);
	w.phi = at += state_floats(c->shape, map);
	w.psi = at += w.chunk * w.ld;
	w.psi_t = at += w.chunk * w.ld;
	w.near = at += w.ld * padded(w.chunk);
	w.den = at += w.chunk * padded(w.chunk);
	w.near_den = at += padded(w.chunk);
	w.ones = at += padded(w.chunk);
	w.power = at += padded(w.chunk);
	w.x = at += padded(w.chunk + 1);
	w.v = at += w.chunk * padded(c->shape->d);
	w.o = at + w.chunk * w.ld_v;
	for (size_t i = 0; i < w.chunk; i++)
		w.ones[i] = 1;
	for (size_t i = 0; i <= w.chunk; i++)
		w.power[i] = (float)pow(map->decay, (double)i);
	return w;
}

static void count(const struct work *w, double flops)
{
	if (w->c->stats)
		w->c->stats->flops_executed += flops;
}

/* Sums of features for the denominator: D a token; their product with phi: 2 D. */
static double norm_flops(const struct work *w, size_t rows)
{
	return w->map->normalise ? (double)(rows * w->dim) : 0;
}

/* Rows as f32, in place or in a buffer. */
struct rows {
	float *x;
	size_t ld;
};

static struct rows rows_of(const struct work *w, const void *base, size_t ld, size_t i0, size_t rows,
                           size_t cols, float *buffer)
{
	enum attn_type type = w->c->shape->type;
	const void *at = half_row(type, base, ld, i0);

	if (type == ATTN_F32)
		return (struct rows){ (float *)(uintptr_t)at, ld };
	half_widen(w->c->kern, type, buffer, cols, at, ld, rows, cols);
	return (struct rows){ buffer, cols };
}

static void load_queries(const struct work *w, size_t i0, size_t rows)
{
	const struct attn_call *c = w->c;
	struct rows q = rows_of(w, c->q, c->ldq, i0, rows, c->shape->d, w->x);

	w->map->query(c, q.x, q.ld, rows, i0, w->phi, w->ld);
	count(w, (double)rows * w->map->map_flops);
}

/* Features, or exponents of features, of keys into psi; their values are at hand. */
static void load_keys(const struct work *w, size_t j0, size_t rows)
{
	const struct attn_call *c = w->c;
	struct rows k = rows_of(w, c->k, c->ldk, j0, rows, c->shape->d, w->x);

	w->map->key(c, k.x, k.ld, rows, j0, w->psi, w->ld);
	if (c->shape->type != ATTN_F32)
		rows_of(w, c->v, c->ldv, j0, rows, c->shape->d_v, w->v);
	count(w, (double)rows * w->map->map_flops);
}

/* Values of the keys loaded last, the first of which is j0. */
static struct rows values(const struct work *w, size_t j0)
{
	const struct attn_call *c = w->c;

	if (c->shape->type == ATTN_F32)
		return (struct rows){ (float *)(uintptr_t)c->v + j0 * c->ldv, c->ldv };
	return (struct rows){ w->v, c->shape->d_v };
}

/* Where the output of the queries loaded last, from i0 on, is made ... */
static struct rows output(const struct work *w, size_t i0)
{
	const struct attn_call *c = w->c;

	if (c->shape->type == ATTN_F32)
		return (struct rows){ (float *)c->out + i0 * c->ldo, c->ldo };
	return (struct rows){ w->o, c->shape->d_v };
}

/* ... and goes from there. */
static void finish(const struct work *w, size_t i0, size_t rows)
{
	const struct attn_call *c = w->c;
	enum attn_type type = c->shape->type;

	if (type != ATTN_F32)
		half_narrow(c->kern, type, (char *)c->out + i0 * c->ldo * half_element_bytes(type), c->ldo,
		            w->o, c->shape->d_v, rows, c->shape->d_v);
}

/* A stretch of q, k, v or out that is needed soon. */
static void fetch(const struct work *w, struct kern_fetch *f, size_t which, const void *x, size_t ld,
                  size_t from, size_t rows)
{
	enum attn_type type = w->c->shape->type;

	f->from[which] = half_row(type, x, ld, from);
	f->bytes[which] = rows * ld * half_element_bytes(type);
}

/* ---- the state ---- */

/* Row f of the state, and z[f], times a. */
static void rescale(const struct work *w, size_t f, float a)
{
	w->c->kern->scale(w->state.s + f * w->ld_v, a, w->c->shape->d_v);
	w->state.z[f] *= a;
}

/* All of the state times a. */
static void rescale_all(const struct work *w, float a)
{
	w->c->kern->scale(w->state.s, a, w->dim * w->ld_v);
	w->c->kern->scale(w->state.z, a, w->dim);
}

/* Features that are exponents come first. */
static size_t exponents(const struct feature_map *map)
{
	return map->kind == FEATURE_PLAIN ? 0 : map->dim - map->plain;
}

/* Lifts the running maximum to at least `top`: one a head. */
static void lift_head(const struct work *w, float top)
{
	float *m = w->state.top;

	if (!(top > *m))
		return;
	float a = expf(*m - top); /* 0 from the initial, finite maximum */
	for (size_t f = 0; f < exponents(w->map); f++)
		rescale(w, f, a);
	*m = top;
}

/* psi = exp(u - m) for `rows` rows of exponents in w->psi. */
static void exponentiate(const struct work *w, size_t rows)
{
	const struct kern *kern = w->c->kern;
	float *top = w->state.top;
	size_t exps = exponents(w->map);

	if (w->map->kind == FEATURE_EXP) {
		for (size_t r = 0; r < rows; r++)
			lift_head(w, kern->max(w->psi + r * w->ld, exps));
		for (size_t r = 0; r < rows; r++)
			kern->exp_shift(w->psi + r * w->ld, w->psi + r * w->ld, *top, exps);
	} else if (w->map->kind == FEATURE_CHANNEL) {
		for (size_t f = 0; f < w->dim; f++) {
			float m = top[f];
			for (size_t r = 0; r < rows; r++)
				m = w->psi[r * w->ld + f] > m ? w->psi[r * w->ld + f] : m;
			if (m > top[f])
				rescale(w, f, expf(top[f] - m));
			top[f] = m;
		}
		for (size_t r = 0; r < rows; r++) {
			float *u = w->psi + r * w->ld;
			kern->axpy(u, -1, top, w->dim);
			kern->exp_shift(u, u, 0, w->dim);
		}
	}
}

/* s += psi^T v, z += column sums, for keys j0 .. j0 + rows in w->psi. */
static void absorb(const struct work *w, size_t j0, size_t rows)
{
	const struct attn_call *c = w->c;
	size_t d_v = c->shape->d_v;

	/* The chunk after the next: its turn comes too soon after this product. */
	struct kern_fetch next;
	struct rows v = values(w, j0);
	fetch(w, &next, 0, c->k, c->ldk, j0 + 2 * rows, rows);
	fetch(w, &next, 1, c->v, c->ldv, j0 + 2 * rows, rows);
	c->kern->mm_fetch(w->state.s, w->ld_v, w->psi, 1, w->ld, v.x, v.ld, w->dim, d_v, rows, true, &next);
	if (w->map->normalise || w->map->kind == FEATURE_CHANNEL)
		c->kern->rows_add(w->state.z, w->psi, w->ld, rows, w->dim);
	count(w, 2.0 * (double)(rows * w->dim * d_v) + norm_flops(w, rows));
}

/* Absorbs keys [j0, j1) without reading their queries. With decay, the state
 * is kept relative to the last key absorbed. */
static void absorb_range(const struct work *w, size_t j0, size_t j1)
{
	for (size_t j = j0; j < j1; j += w->chunk) {
		size_t rows = j1 - j < w->chunk ? j1 - j : w->chunk;
		load_keys(w, j, rows);
		exponentiate(w, rows);
		if (w->map->decay < 1) {
			rescale_all(w, w->power[rows]);
			for (size_t r = 0; r < rows; r++)
				w->c->kern->scale(w->psi + r * w->ld, w->power[rows - 1 - r], w->dim);
		}
		absorb(w, j, rows);
	}
}

/* into (of the same head) absorbs the sums of a later stretch of `keys` keys. */
static void combine(const struct work *w, struct state into, struct state later, size_t keys)
{
	const struct kern *kern = w->c->kern;
	float gamma = w->map->decay < 1 ? (float)pow(w->map->decay, (double)keys) : 1;
	bool channel = w->map->kind == FEATURE_CHANNEL;

	for (size_t f = 0; f < w->dim; f++) {
		float a = gamma, b = 1, *m = into.top + (channel ? f : 0);
		float m2 = later.top[channel ? f : 0];
		if (f < exponents(w->map)) {
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

static float divisor(const struct work *w, size_t i, float den)
{
	const struct feature_map *map = w->map;

	if (map->divisor)
		return map->divisor(w->c, i, den);
	den += map->eps;
	return fabsf(den) < map->den_min ? copysignf(map->den_min, den) : den;
}

/* Divides the rows; nothing to divide by makes a zero row. Features of both
 * signs can make a denominator negative: it is used as it is, and counted. */
static void divide(const struct work *w, size_t i0, size_t rows)
{
	const struct attn_call *c = w->c;

	for (size_t r = 0; w->map->normalise && r < rows; r++) {
		struct rows o = output(w, i0);
		float *out = o.x + r * o.ld, by = divisor(w, i0 + r, w->den[r]);
		if (by == 0)
			memset(out, 0, c->shape->d_v * sizeof *out);
		else
			c->kern->scale(out, 1 / by, c->shape->d_v);
		if (c->stats && (w->den[r] <= 0 || w->den[r] < w->map->den_min))
			c->stats->clamped_rows += 1;
	}
}

/* out = phi s (+=), den = phi . z for the queries in w->phi. */
static void read_state(const struct work *w, size_t i0, size_t rows, bool accumulate)
{
	const struct attn_call *c = w->c;
	size_t d_v = c->shape->d_v;

	struct kern_fetch next;
	struct rows o = output(w, i0);
	fetch(w, &next, 0, c->q, c->ldq, i0 + 2 * rows, rows);
	fetch(w, &next, 1, c->out, c->ldo, i0 + 2 * rows, rows);
	c->kern->mm_fetch(o.x, o.ld, w->phi, w->ld, 1, w->state.s, w->ld_v, rows, d_v, w->dim, accumulate,
	                  &next);
	if (w->map->normalise)
		c->kern->rows_dot(w->den, w->phi, w->ld, rows, w->state.z, w->dim);
	count(w, 2.0 * (double)(rows * w->dim * d_v) + 2 * norm_flops(w, rows));
}

/* FLOP of the weight of one pair within a chunk. */
static double pair_flops(const struct feature_map *map)
{
	return map->near ? map->near_flops : 2 * (double)map->dim;
}

/* near = phi psi^T for the chunk, times gamma^|r - s|, hidden keys zero. */
static void weigh_near(const struct work *w, size_t i0, size_t j0, size_t rows, bool both_sides)
{
	const struct kern *kern = w->c->kern;
	size_t ld = padded(w->chunk);

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
	count(w, (double)(rows * rows) * pair_flops(w->map));
}

/* out += near v; den += row sums of near. */
static void read_near(const struct work *w, size_t i0, size_t j0, size_t rows)
{
	const struct attn_call *c = w->c;
	size_t ld = padded(w->chunk), d_v = c->shape->d_v;

	struct rows o = output(w, i0), v = values(w, j0);

	c->kern->mm(o.x, o.ld, w->near, ld, 1, v.x, v.ld, rows, d_v, rows, true);
	if (w->map->normalise) {
		c->kern->rows_dot(w->near_den, w->near, ld, rows, w->ones, rows);
		c->kern->axpy(w->den, 1, w->near_den, rows);
	}
	count(w, 2.0 * (double)(rows * rows * d_v));
}

/* How many of the rows in w->psi may form one chunk: see MAX_RISE. */
static size_t safe_rows(const struct work *w, size_t rows)
{
	float first = 0, m = w->state.top[0];

	for (size_t r = 0; r < rows; r++) {
		float top = w->c->kern->max(w->psi + r * w->ld, exponents(w->map));
		m = top > m ? top : m;
		if (r == 0)
			first = m;
		if (m > first + MAX_RISE)
			return r;
	}
	return rows;
}

/* Queries i0 .. i0 + rows against the state and their own chunk of keys. */
static void causal_chunk(const struct work *w, size_t i0, size_t j0, size_t rows, bool both_sides)
{
	const struct kern *kern = w->c->kern;
	bool decays = w->map->decay < 1;

	exponentiate(w, rows);
	load_queries(w, i0, rows);
	weigh_near(w, i0, j0, rows, both_sides);
	for (size_t r = 0; decays && r < rows; r++)
		kern->scale(w->phi + r * w->ld, w->power[r + 1], w->dim);
	read_state(w, i0, rows, false);
	read_near(w, i0, j0, rows);
	divide(w, i0, rows);
	finish(w, i0, rows);
	if (decays)
		rescale_all(w, w->power[rows]);
	for (size_t r = 0; decays && r < rows; r++)
		kern->scale(w->psi + r * w->ld, w->power[rows - 1 - r], w->dim);
	absorb(w, j0, rows);
}

/* One token at a time, for channels that each have their own running sum:
 * O_t = sum_f (phi_t[f] / z_f) s_f. */
static void channel_chunk(const struct work *w, size_t i0, size_t j0, size_t rows)
{
	const struct attn_call *c = w->c;
	size_t d_v = c->shape->d_v;
	struct rows o = output(w, i0), v = values(w, j0);

	load_queries(w, i0, rows);
	for (size_t r = 0; r < rows; r++) {
		float *u = w->psi + r * w->ld, *phi = w->phi + r * w->ld, *top = w->state.top;
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
		for (size_t f = 0; f < w->dim; f++)
			phi[f] /= w->state.z[f];
		c->kern->mm(o.x + r * o.ld, o.ld, phi, w->ld, 1, w->state.s, w->ld_v, 1, d_v, w->dim, false);
	}
	finish(w, i0, rows);
	count(w, 4.0 * (double)(rows * w->dim * d_v));
}

/* Queries [i0, i1) in order; query i sees the state and keys j0 .. j0 + i - i0. */
static void causal_range(const struct work *w, size_t i0, size_t i1, size_t j0, bool both_sides)
{
	for (size_t i = i0; i < i1;) {
		size_t rows = i1 - i < w->chunk ? i1 - i : w->chunk, j = j0 + (i - i0);
		load_keys(w, j, rows);
		if (w->map->kind == FEATURE_CHANNEL) {
			channel_chunk(w, i, j, rows);
		} else {
			if (w->map->kind == FEATURE_EXP)
				rows = safe_rows(w, rows);
			causal_chunk(w, i, j, rows, both_sides);
		}
		i += rows;
	}
}

/* Tokens of the last chunk when chunks are counted from the first token. */
static size_t last_chunk(const struct work *w, size_t tokens)
{
	return (tokens - 1) % w->chunk + 1;
}

/* Absorbs keys [j0, j1) from the last to the first; the state is relative to
 * the first key absorbed. */
static void absorb_backward(const struct work *w, size_t j0, size_t j1)
{
	const struct attn_call *c = w->c;

	for (size_t rows; j1 > j0; j1 -= rows) {
		rows = last_chunk(w, j1 - j0);
		load_keys(w, j1 - rows, rows);
		rescale_all(w, w->power[rows]);
		for (size_t r = 0; r < rows; r++)
			c->kern->scale(w->psi + r * w->ld, w->power[r], w->dim);
		absorb(w, j1 - rows, rows);
	}
}

/* Adds to queries [i0, i1) what later keys give under two-sided decay. */
static void backward_range(const struct work *w, size_t i0, size_t i1)
{
	for (size_t rows; i1 > i0; i1 -= rows) {
		rows = last_chunk(w, i1 - i0);
		load_queries(w, i1 - rows, rows);
		for (size_t r = 0; r < rows; r++)
			w->c->kern->scale(w->phi + r * w->ld, w->power[rows - r], w->dim);
		read_state(w, i1 - rows, rows, true);
		absorb_backward(w, i1 - rows, i1);
	}
}

/* ---- the forms, over a team: each rank sums its own stretch of keys into
 * shared memory; after the barrier it starts from the sums that it needs ---- */

static size_t part(size_t n, size_t rank, size_t size)
{
	return n / size * rank + (rank < n % size ? rank : n % size);
}

static struct work into_shared(const struct work *w, size_t i)
{
	struct work sum = *w;

	sum.state = shared_sum(w, i);
	state_reset(&sum);
	return sum;
}

static void bidirectional(const struct work *w, struct attn_team *team)
{
	const struct attn_call *c = w->c;
	const struct attn_shape *s = c->shape;
	struct work sum = into_shared(w, team->rank);

	absorb_range(&sum, part(s->n_k, team->rank, team->size), part(s->n_k, team->rank + 1, team->size));
	attn_barrier(team);
	state_reset(w);
	for (size_t r = 0; r < team->size; r++)
		combine(w, w->state, shared_sum(w, r), 0);
	for (size_t f = 0; w->map->kind == FEATURE_CHANNEL && f < w->dim; f++)
		if (w->state.z[f] > 0)
			c->kern->scale(w->state.s + f * w->ld_v, 1 / w->state.z[f], s->d_v);
	size_t end = part(s->n_q, team->rank + 1, team->size);
	for (size_t i = part(s->n_q, team->rank, team->size); i < end; i += w->chunk) {
		size_t rows = end - i < w->chunk ? end - i : w->chunk;
		load_queries(w, i, rows);
		read_state(w, i, rows, false);
		divide(w, i, rows);
		finish(w, i, rows);
	}
}

/* The last `rows` queries meet the last `rows` keys on the diagonal; earlier
 * keys are absorbed first, earlier queries see nothing. */
static void causal(const struct work *w, struct attn_team *team)
{
	const struct attn_call *c = w->c;
	const struct attn_shape *s = c->shape;
	size_t rows = s->n_q < s->n_k ? s->n_q : s->n_k, q0 = s->n_q - rows, k0 = s->n_k - rows;
	size_t a = part(rows, team->rank, team->size), b = part(rows, team->rank + 1, team->size);

	if (team->rank + 1 < team->size) {
		struct work sum = into_shared(w, team->rank);
		absorb_range(&sum, team->rank == 0 ? 0 : k0 + a, k0 + b);
	}
	attn_barrier(team);
	state_reset(w);
	if (team->rank == 0) {
		absorb_range(w, 0, k0);
		for (size_t i = 0; i < q0; i++)
			memset((char *)c->out + i * c->ldo * half_element_bytes(s->type), 0,
			       s->d_v * half_element_bytes(s->type));
	}
	for (size_t r = 0; r < team->rank; r++)
		combine(w, w->state, shared_sum(w, r), part(rows, r + 1, team->size) - part(rows, r, team->size));
	causal_range(w, q0 + a, q0 + b, k0 + a, false);
}

/* Decay on both sides: forward with whole chunks, then backward. */
static void two_sided(const struct work *w, struct attn_team *team)
{
	size_t n = w->c->shape->n_q, size = team->size;
	size_t a = part(n, team->rank, size), b = part(n, team->rank + 1, size);

	if (size > 1) {
		struct work forward = into_shared(w, team->rank), back = into_shared(w, size + team->rank);
		absorb_range(&forward, a, b);
		absorb_backward(&back, a, b);
		attn_barrier(team);
	}
	state_reset(w);
	for (size_t r = 0; r < team->rank; r++)
		combine(w, w->state, shared_sum(w, r), part(n, r + 1, size) - part(n, r, size));
	causal_range(w, a, b, a, true);
	state_reset(w);
	for (size_t r = size; r-- > team->rank + 1;)
		combine(w, w->state, shared_sum(w, size + r), part(n, r + 1, size) - part(n, r, size));
	backward_range(w, a, b);
}

void feature_forward(const struct attn_call *c, struct attn_team *team,
                     const struct feature_map *map)
{
	struct work w = work_init(c, map);

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
	bool chunked = (s->causal || two_sided) && map->kind != FEATURE_CHANNEL;
	double sums = 2 * (rows + n_k) * dim * d_v; /* phi S and psi^T V */

	p->shared = (two_sided ? 2 : 1) * ranks * state_floats(s, map) * sizeof(float);
	p->scratch = scratch_floats(s, map) * sizeof(float);
	p->flops_useful = sums + (map->normalise ? (2 * rows + n_k) * dim : 0) +
	                  (rows + n_k) * map->map_flops;
	p->flops_executed = p->flops_useful + (two_sided ? sums + (rows + n_k) * map->map_flops : 0);
	if (chunked) /* whole squares of each chunk */
		p->flops_executed += rows * (double)chunk_of(s, map) * (pair_flops(map) + 2 * d_v);
	p->n_exp = (rows + n_k) * map->map_exp * (two_sided ? 2 : 1);
	p->pairs = work_visible_pairs(s);
	p->bytes = work_io_bytes(s);
}
