/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Running sums on both sides of a window. */
#include "outside.h"

#include "../kernels/kern.h"
#include "layout.h"

#include <string.h>

enum { CHUNK = 16 }; /* measured: larger ones cost more inside than they save in updates */

/* A chunk whose exponents rise by more than this is cut, so that keys before the
 * rise are not flushed to zero by a maximum that some queries do not see. */
#define MAX_RISE 40.0f

static size_t padded(size_t n)
{
	return (n + 15) / 16 * 16;
}

static ptrdiff_t clamp(ptrdiff_t x, size_t most)
{
	return x < 0 ? 0 : x < (ptrdiff_t)most ? x : (ptrdiff_t)most;
}

/* Sums over keys, relative to e^top. */
struct state {
	float *s, *z, *top; /* dim x ld_v; dim; 1 */
};

struct work {
	const struct attn_call *c;
	const struct outside *o;
	size_t ld, ld_v;
	struct state state;
	float *phi, *psi, *psi_t, *near; /* chunk x dim, same, dim x chunk, chunk x chunk */
	float *result, *den, *near_den, *ones; /* chunk x d_v; chunk each */
	float *top, *shift; /* of a query's, of a key's exponents */
	float *lse;
	bool back; /* from the last query to the first */
	float *sums; /* shared: for each direction and rank, s, z and top */
};

static void lay_out(struct work *w, struct layout *l, const struct attn_shape *s, const struct outside *o)
{
	w->ld = padded(o->dim);
	w->ld_v = padded(s->d_v);
	LAYOUT(l, w->state.s, o->dim * w->ld_v);
	LAYOUT(l, w->state.z, w->ld);
	LAYOUT(l, w->state.top, 1);
	LAYOUT(l, w->phi, CHUNK * w->ld);
	LAYOUT(l, w->psi, CHUNK * w->ld);
	LAYOUT(l, w->psi_t, w->ld * CHUNK);
	LAYOUT(l, w->near, CHUNK * CHUNK);
	LAYOUT(l, w->result, CHUNK * w->ld_v);
	LAYOUT(l, w->den, CHUNK);
	LAYOUT(l, w->near_den, CHUNK);
	LAYOUT(l, w->ones, CHUNK);
	LAYOUT(l, w->top, CHUNK);
	LAYOUT(l, w->shift, CHUNK);
}

size_t outside_scratch_bytes(const struct attn_shape *s, const struct outside *o)
{
	struct layout l = { .base = NULL };
	struct work w;

	lay_out(&w, &l, s, o);
	return l.used;
}

static size_t sum_floats(const struct attn_shape *s, const struct outside *o)
{
	return o->dim * padded(s->d_v) + padded(o->dim) + 16;
}

size_t outside_shared_bytes(const struct attn_shape *s, const struct outside *o, size_t ranks)
{
	return ranks > 1 ? (s->causal ? 1 : 2) * ranks * sum_floats(s, o) * sizeof(float) : 0;
}

static void count(const struct work *w, double flops)
{
	if (w->c->stats)
		w->c->stats->flops_executed += flops;
}

/* Query i meets key i + offset on the diagonal. */
static ptrdiff_t offset(const struct work *w)
{
	ptrdiff_t shift = (ptrdiff_t)w->c->shape->n_k - (ptrdiff_t)w->c->shape->n_q;

	return w->back ? shift + (ptrdiff_t)w->o->after : shift - (ptrdiff_t)w->o->before;
}

/* ---- the state ---- */

static void reset(struct work *w)
{
	memset(w->state.s, 0, w->o->dim * w->ld_v * sizeof(float));
	memset(w->state.z, 0, w->o->dim * sizeof(float));
	*w->state.top = KERN_NO_MAX;
}

static void lift(struct work *w, float top)
{
	if (!(top > *w->state.top))
		return;
	float a = expf(*w->state.top - top); /* 0 from the initial, finite maximum */
	w->c->kern->scale(w->state.s, a, w->o->dim * w->ld_v);
	w->c->kern->scale(w->state.z, a, w->o->dim);
	*w->state.top = top;
}

/* Exponents of keys j0 .. j0 + rows into psi. */
static void load_keys(struct work *w, size_t j0, size_t rows)
{
	const struct attn_call *c = w->c;

	w->o->exponents(c, (const float *)c->k + j0 * c->ldk, c->ldk, rows, w->psi, w->ld, w->shift);
	count(w, (double)rows * w->o->map_flops);
}

static float key_top(const struct work *w, size_t r)
{
	return w->c->kern->max(w->psi + r * w->ld, w->o->dim) - w->shift[r];
}

/* psi = e^(u - top), the state's top lifted over all rows from `first` on. */
static void exponentiate(struct work *w, size_t first, size_t rows)
{
	float *u = w->psi + first * w->ld;

	for (size_t r = first; r < first + rows; r++)
		lift(w, key_top(w, r));
	for (size_t r = first; r < first + rows; r++, u += w->ld)
		w->c->kern->exp_shift(u, u, *w->state.top + w->shift[r], w->o->dim);
}

/* Keys j0 .. j0 + rows, whose features are in psi from row `first` on. */
static void absorb(struct work *w, size_t first, size_t j0, size_t rows)
{
	const struct attn_call *c = w->c;
	const float *psi = w->psi + first * w->ld;

	c->kern->mm(w->state.s, w->ld_v, psi, 1, w->ld, (const float *)c->v + j0 * c->ldv, c->ldv,
	            w->o->dim, c->shape->d_v, rows, true);
	c->kern->rows_add(w->state.z, psi, w->ld, rows, w->o->dim);
	count(w, (double)(rows * w->o->dim) * (2.0 * (double)c->shape->d_v + 1));
}

static void absorb_range(struct work *w, size_t j0, size_t j1)
{
	for (size_t j = j0; j < j1; j += CHUNK) {
		size_t rows = j1 - j < CHUNK ? j1 - j : CHUNK;
		load_keys(w, j, rows);
		exponentiate(w, 0, rows);
		absorb(w, 0, j, rows);
	}
}

/* ---- a chunk ---- */

/* Features of queries i0 .. i0 + rows, and what was subtracted from them. */
static void load_queries(struct work *w, size_t i0, size_t rows)
{
	const struct attn_call *c = w->c;

	w->o->exponents(c, (const float *)c->q + i0 * c->ldq, c->ldq, rows, w->phi, w->ld, w->top);
	for (size_t r = 0; r < rows; r++) {
		float *u = w->phi + r * w->ld, most = c->kern->max(u, w->o->dim);
		c->kern->exp_shift(u, u, most, w->o->dim);
		w->top[r] = most - w->top[r];
	}
	count(w, (double)rows * w->o->map_flops);
}

/* result, den of the loaded queries from the state. */
static void read_state(struct work *w, size_t rows)
{
	const struct kern *kern = w->c->kern;
	size_t dim = w->o->dim, d_v = w->c->shape->d_v;

	kern->mm(w->result, w->ld_v, w->phi, w->ld, 1, w->state.s, w->ld_v, rows, d_v, dim, false);
	kern->rows_dot(w->den, w->phi, w->ld, rows, w->state.z, dim);
	count(w, 2.0 * (double)(rows * dim) * (double)(d_v + 1));
}

/* Adds keys j0 .. j0 + rows, psi from row `first` on: query r sees those up to r,
 * or from r on. */
static void read_near(struct work *w, size_t first, size_t j0, size_t rows)
{
	const struct attn_call *c = w->c;
	const struct kern *kern = c->kern;
	size_t dim = w->o->dim, d_v = c->shape->d_v;

	kern->transpose(w->psi_t, CHUNK, w->psi + first * w->ld, w->ld, rows, dim);
	kern->mm(w->near, CHUNK, w->phi, w->ld, 1, w->psi_t, CHUNK, rows, rows, dim, false);
	for (size_t r = 0; r < rows; r++) {
		float *a = w->near + r * CHUNK;
		if (w->back)
			memset(a, 0, r * sizeof *a);
		else
			memset(a + r + 1, 0, (rows - r - 1) * sizeof *a);
	}
	kern->mm(w->result, w->ld_v, w->near, CHUNK, 1, (const float *)c->v + j0 * c->ldv, c->ldv, rows, d_v,
	         rows, true);
	kern->rows_dot(w->near_den, w->near, CHUNK, rows, w->ones, rows);
	for (size_t r = 0; r < rows; r++)
		w->den[r] += w->near_den[r];
	count(w, 2.0 * (double)(rows * rows) * (double)(dim + d_v));
}

/* Writes rows i0 .. i0 + rows, merged with what the other direction wrote. */
static void write(struct work *w, size_t i0, size_t rows)
{
	const struct attn_call *c = w->c;
	size_t d_v = c->shape->d_v;

	for (size_t r = 0; r < rows; r++) {
		float *out = (float *)c->out + (i0 + r) * c->ldo, *lse = w->lse + i0 + r;
		if (!(w->den[r] > 0))
			continue;
		float mine = logf(w->den[r]) + w->top[r] + *w->state.top + (float)w->o->log_weight;
		float most = *lse > mine ? *lse : mine, sum = expf(*lse - most) + expf(mine - most);
		c->kern->scale(out, expf(*lse - most) / sum, d_v);
		c->kern->axpy(out, expf(mine - most) / sum / w->den[r], w->result + r * w->ld_v, d_v);
		*lse = most + logf(sum);
	}
}

/* Of `rows` loaded keys, in the order of the direction, how many may form one
 * chunk: see MAX_RISE. */
static size_t safe_rows(const struct work *w, size_t rows)
{
	float first = 0, most = *w->state.top;

	for (size_t a = 0; a < rows; a++) {
		size_t r = w->back ? rows - 1 - a : a;
		float top = key_top(w, r);
		most = top > most ? top : most;
		if (a == 0)
			first = most;
		if (most > first + MAX_RISE)
			return a;
	}
	return rows;
}

/* Queries [i0, i1), each with a key on the diagonal. */
static void diagonal(struct work *w, size_t i0, size_t i1)
{
	while (i0 < i1) {
		size_t most = i1 - i0 < CHUNK ? i1 - i0 : CHUNK, at = w->back ? i1 - most : i0;
		size_t j = (size_t)((ptrdiff_t)at + offset(w));
		load_keys(w, j, most);
		size_t rows = safe_rows(w, most), first = w->back ? most - rows : 0;
		exponentiate(w, first, rows);
		load_queries(w, at + first, rows);
		read_state(w, rows);
		read_near(w, first, j + first, rows);
		write(w, at + first, rows);
		absorb(w, first, j + first, rows);
		if (w->back)
			i1 -= rows;
		else
			i0 += rows;
	}
}

/* Queries [i0, i1) that see just what the state holds. */
static void plain(struct work *w, size_t i0, size_t i1)
{
	for (size_t i = i0; i < i1; i += CHUNK) {
		size_t rows = i1 - i < CHUNK ? i1 - i : CHUNK;
		load_queries(w, i, rows);
		read_state(w, rows);
		write(w, i, rows);
	}
}

/* ---- a direction, over a team ---- */

/* Keys that the ranks before this one (behind it, going back) have to sum. */
static void stretch(const struct work *w, size_t rank, size_t size, size_t *j0, size_t *j1)
{
	size_t n_q = w->c->shape->n_q, n_k = w->c->shape->n_k;
	ptrdiff_t a = (ptrdiff_t)(n_q * rank / size), b = (ptrdiff_t)(n_q * (rank + 1) / size);

	*j0 = rank == 0 && !w->back ? 0 : (size_t)clamp(a + offset(w), n_k);
	*j1 = rank + 1 == size && w->back ? n_k : (size_t)clamp(b + offset(w), n_k);
}

static struct state shared_sum(const struct work *w, size_t rank, size_t size)
{
	float *s = w->sums + ((w->back ? size : 0) + rank) * sum_floats(w->c->shape, w->o);
	float *z = s + w->o->dim * w->ld_v;

	return (struct state){ s, z, z + w->ld };
}

static void share_sum(const struct work *w, struct attn_team *team)
{
	struct work mine = *w;
	size_t j0, j1;

	mine.state = shared_sum(w, team->rank, team->size);
	reset(&mine);
	stretch(w, team->rank, team->size, &j0, &j1);
	absorb_range(&mine, j0, j1);
}

/* The state absorbs what another rank has summed. */
static void take_sum(struct work *w, size_t rank, size_t size)
{
	const struct kern *kern = w->c->kern;
	struct state sum = shared_sum(w, rank, size);

	lift(w, *sum.top);
	float a = expf(*sum.top - *w->state.top);
	kern->axpy(w->state.s, a, sum.s, w->o->dim * w->ld_v);
	kern->axpy(w->state.z, a, sum.z, w->o->dim);
}

/* The rank's queries [a, b), forward: each has a key on the diagonal, or nothing. */
static void forward(struct work *w, struct attn_team *team, size_t a, size_t b)
{
	size_t first = (size_t)clamp(-offset(w), w->c->shape->n_q);

	reset(w);
	for (size_t r = 0; r < team->rank; r++)
		take_sum(w, r, team->size);
	if (team->rank == 0)
		absorb_range(w, 0, (size_t)clamp(offset(w), w->c->shape->n_k));
	diagonal(w, first > a ? first : a, b);
}

/* Back: those whose key would be before the first see all keys. */
static void backward(struct work *w, struct attn_team *team, size_t a, size_t b)
{
	const struct attn_shape *s = w->c->shape;
	size_t first = (size_t)clamp(-offset(w), s->n_q);
	size_t end = (size_t)clamp((ptrdiff_t)s->n_k - offset(w), s->n_q);

	reset(w);
	for (size_t r = team->rank + 1; r < team->size; r++)
		take_sum(w, r, team->size);
	diagonal(w, first > a ? first : a, end < b ? end : b);
	plain(w, a, first < b ? first : b);
}

void outside_run(const struct attn_call *c, struct attn_team *team, const struct outside *o,
                 void *shared, void *scratch, float *lse)
{
	const struct attn_shape *s = c->shape;
	size_t a = s->n_q * team->rank / team->size, b = s->n_q * (team->rank + 1) / team->size;
	struct layout l = { .base = scratch };
	struct work w = { .c = c, .o = o, .lse = lse, .sums = shared };

	lay_out(&w, &l, s, o);
	for (size_t i = 0; i < CHUNK; i++)
		w.ones[i] = 1;
	for (size_t i = a; i < b; i++) {
		memset((float *)c->out + i * c->ldo, 0, s->d_v * sizeof(float));
		lse[i] = -INFINITY;
	}
	for (int back = 0; team->size > 1 && back < (s->causal ? 1 : 2); back++) {
		w.back = back == 1;
		share_sum(&w, team);
	}
	attn_barrier(team);
	w.back = false;
	forward(&w, team, a, b);
	w.back = true;
	if (!s->causal)
		backward(&w, team, a, b);
}

void outside_work(const struct attn_shape *s, const struct outside *o, double *useful, double *executed,
                  double *n_exp)
{
	struct work w = { .c = &(struct attn_call){ .shape = s }, .o = o };
	double dim = (double)o->dim, d_v = (double)s->d_v, n_q = (double)s->n_q;

	*useful = *executed = *n_exp = 0;
	for (size_t back = 0; back < (s->causal ? 1 : 2); back++) {
		w.back = back == 1;
		double first = (double)clamp(-offset(&w), s->n_q);
		double end = w.back ? (double)clamp((ptrdiff_t)s->n_k - offset(&w), s->n_q) : n_q;
		double on = fmax(0, end - first), rest = fmod(on, CHUNK);
		double keys = on + (w.back ? 0 : (double)clamp(offset(&w), s->n_k));
		double queries = on + (w.back && s->n_k > 0 ? first : 0);
		double sums = queries * 2 * dim * (d_v + 1) + keys * dim * (2 * d_v + 1);
		sums += (queries + keys) * o->map_flops;
		*useful += sums;
		*executed += sums + 2 * (dim + d_v) * ((on - rest) * CHUNK + rest * rest);
		*n_exp += (queries + keys) * dim;
	}
}
