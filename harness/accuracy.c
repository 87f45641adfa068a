/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The accuracy pass: one call, then two errors that never mix. err_impl is
 * taken against the variant's own definition, on some rows, and has a bound;
 * err_exact against exact softmax attention, and is a result. Where the input
 * is a task, its answers are scored.
 */
#include "accuracy.h"

#include <setjmp.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "exact.h"
#include "inputs.h"
#include "metrics.h"
#include "reference.h"
#include "remote.h"
#include "weights.h"

/* Rows on which the definition is evaluated: all of up to ALL, else SOME. */
enum { ALL = 256, SOME = 64 };

size_t accuracy_bytes(const struct cell *c)
{
	struct attn_shape s = cell_shape(c, 0);
	double queries = (double)s.n_q, keys = (double)s.n_k, heads = (double)(c->batch * c->heads);
	double head = queries * (double)c->d + keys * (double)(c->d + c->d_v);
	double doubles = head * c->threads + ALL * heads * (double)c->d_v;
	double copies = layer_is_wide(c) ? 0 : heads * (head + queries * (double)c->d_v);
	double bytes = doubles * sizeof(double) + copies * sizeof(float);
	size_t sum;

	if (bytes >= 0x1p62 || __builtin_add_overflow(exact_bytes(c), (size_t)bytes, &sum) ||
	    __builtin_add_overflow(sum, weights_bytes(c), &sum))
		return SIZE_MAX;
	return sum;
}

/* ---- the definition, head by head ---------------------------------------- */

/* Work space of one call of an oracle; what it took is freed after the call. */
struct owner {
	jmp_buf refused;
	void **block;
	size_t blocks, room;
};

static double *owner_alloc(void *owner, size_t doubles)
{
	struct owner *o = owner;

	if (o->blocks == o->room) {
		size_t room = o->room ? 2 * o->room : 8;
		void **block = realloc(o->block, room * sizeof *block);
		if (!block)
			longjmp(o->refused, 1);
		o->block = block;
		o->room = room;
	}
	bool fits = doubles < SIZE_MAX / sizeof(double);
	void *p = fits ? malloc((doubles + 1) * sizeof(double)) : NULL;
	if (!p)
		longjmp(o->refused, 1);
	return o->block[o->blocks++] = p;
}

struct definition {
	const struct layer *layer;
	size_t n_rows; /* of the longest sequence: the most */
	double *out; /* heads x n_rows x d_v */
	_Atomic size_t next;
	atomic_bool refused;
};

static double *widen(struct owner *o, const float *x, size_t n)
{
	double *y = owner_alloc(o, n);

	for (size_t i = 0; i < n; i++)
		y[i] = (double)x[i];
	return y;
}

/* The queries of a head. Of a decode step those before the newest are not there: row
 * n_k - 1 of a causal form does not read them. */
static double *widen_queries(struct owner *o, const struct layer *l, size_t g, size_t n)
{
	const struct cell *c = &l->cell;

	if (c->mode != MODE_DECODE)
		return widen(o, layer_q(l, g, 0), n * c->d);
	double *q = owner_alloc(o, n * c->d);
	for (size_t i = 0; i < (n - 1) * c->d; i++)
		q[i] = 0;
	for (size_t i = 0; i < c->d; i++)
		q[(n - 1) * c->d + i] = (double)((const float *)layer_q(l, g, 0))[i];
	return q;
}

/* The rows of head g to look at, at most n_rows; returns how many. */
static size_t definition_rows(const struct definition *def, size_t g, size_t rows[ALL])
{
	const struct layer *l = def->layer;
	size_t n_q = layer_sequence(l, g)->n_q, n = reference_share(n_q, l->cell.n_q, def->n_rows);

	return reference_rows(n_q, n, n, rows);
}

/* A function of its own: what is live across setjmp() does not change in it. */
static bool define_head(struct owner *o, const struct definition *def, size_t g)
{
	const struct layer *l = def->layer;
	const struct cell *c = &l->cell;
	struct attn_shape shape = layer_shape(l, g);
	const size_t newest = shape.n_k - 1;
	size_t rows[ALL], n_rows = definition_rows(def, g, rows);

	if (setjmp(o->refused))
		return false;
	struct attn_oracle_call call = {
		.shape = &shape,
		.arg = layer_sequence(l, g)->arg,
		.state = layer_state(l, g),
		.q = widen_queries(o, l, g, shape.n_q),
		.k = widen(o, layer_k(l, g, 0), shape.n_k * c->d),
		.v = widen(o, layer_v(l, g, 0), shape.n_k * c->d_v),
		.rows = c->mode == MODE_DECODE ? &newest : rows,
		.n_rows = n_rows,
		.out = def->out + g * def->n_rows * c->d_v,
		.alloc = owner_alloc,
		.owner = o,
	};
	c->variant->oracle(&call);
	return true;
}

static void define(void *arg, struct attn_team *me)
{
	struct definition *def = arg;
	size_t g;

	(void)me;
	while ((g = atomic_fetch_add(&def->next, 1)) < def->layer->plan.total) {
		struct owner o = { .blocks = 0 };
		if (!define_head(&o, def, g))
			atomic_store(&def->refused, true);
		for (size_t i = 0; i < o.blocks; i++)
			free(o.block[i]);
		free(o.block);
	}
}

/* The bound holds for logits of order 1. A logit s carries a rounding error of
 * about u |s|, which is the relative error of its weight e^s, so beyond |s| = 8,
 * where this exceeds the other roundings, the bound grows with the largest. */
static double impl_bound(const struct layer *l, enum attn_type type, double logit_max)
{
	double factor = l->plan.flags & ATTN_LOGITS ? fmax(1, logit_max / 8) : 1;
	double exact = (double)attn_bound(l->cell.variant, l->plan.arg, ATTN_F32);
	double half = (double)attn_bound(l->cell.variant, l->plan.arg, type) - exact;

	return exact * factor + half;
}

static bool measure_impl(struct worker *w, double logit_max)
{
	const struct layer *l = &w->layer;
	const struct cell *c = &l->cell;
	struct definition def = { .layer = l };
	struct error_sums sums = { 0 };

	if (!c->variant->oracle)
		return true;
	def.n_rows = c->n_q <= ALL ? c->n_q : SOME;
	size_t row_doubles = l->plan.total * def.n_rows * c->d_v;
	def.out = malloc((row_doubles + 1) * sizeof *def.out);
	if (!def.out)
		return worker_end(w, STATUS_OOM, "no memory for the definition in double");
	team_run(w->team, TEAM_EXACT, define, &def);
	for (size_t g = 0; g < l->plan.total; g++) {
		size_t rows[ALL], n = definition_rows(&def, g, rows);
		for (size_t r = 0; r < n; r++)
			errors_add(&sums, layer_out(l, g, rows[r]), def.out + (g * def.n_rows + r) * c->d_v, NULL, c->d_v);
	}
	free(def.out);
	if (atomic_load(&def.refused))
		return worker_end(w, STATUS_OOM, "no memory for the definition of %s in double",
		                  c->variant->name);
	w->out->err_impl_rel_fro = errors_of(&sums).rel_fro;
	w->out->err_impl_bound = impl_bound(l, w->job->cell.type, logit_max);
	if (!(w->out->err_impl_rel_fro <= w->out->err_impl_bound))
		return worker_end(w, STATUS_INACCURATE,
		                  "relative error %.3g against %s definition, allowed is %.3g",
		                  w->out->err_impl_rel_fro, w->remote ? "our" : "its own",
		                  w->out->err_impl_bound);
	return true;
}

/* ---- the pass -------------------------------------------------------------- */

/* The share of right answers, where the input has questions. */
static bool measure_task(struct worker *w)
{
	struct data_score score;
	char error[INPUTS_ERROR_MAX];

	if (!inputs_score(&w->layer, &score, error))
		return worker_end(w, STATUS_FAILED, "%s", error);
	if (score.total > 0) {
		w->out->task_accuracy = (double)score.correct / (double)score.total;
		w->out->task_chance = score.chance;
		w->out->task_answers = (int64_t)score.total;
	}
	return true;
}

/* One call that counts what it does, in memory full of NAN: what is read
 * before it is written, or not written at all, shows. */
static bool run_once(struct worker *w)
{
	struct layer *l = &w->layer;

	if (w->remote) {
		int64_t ns;
		arena_poison(&w->arena, l->out);
		return remote_prepare(w, &ns) && remote_batch(w, 1) >= 0 && remote_verify(w) &&
		       worker_check(w);
	}
	layer_each_work(l, arena_poison);
	arena_poison(&w->arena, l->out);
	worker_stage(w, "the call");
	layer_prepare(l);
	layer_fill(l);
	if (!worker_count(w))
		return false;
	layer_run(l);
	worker_counted(w);
	worker_own_stage(w, "checks");
	return worker_check(w);
}

/* Looks at the layer as f32 with keys and values of its own for every head. */
static bool look(struct worker *w)
{
	double logit_max;
	bool ok = exact_measure(w, &logit_max) && measure_task(w);

	worker_own_stage(w, "the weights that it implies");
	ok = ok && (w->remote || weights_measure(w));
	worker_own_stage(w, "its definition in double");
	return ok && measure_impl(w, logit_max);
}

bool pass_accuracy(struct worker *w)
{
	struct layer own, wide;

	if (!run_once(w))
		return false;
	own = w->layer;
	if (!layer_widen(&own, &wide))
		return worker_end(w, STATUS_OOM, "no memory for the inputs as f32");
	w->layer = wide;
	bool ok = look(w);
	layer_free_wide(&own, &wide);
	w->layer = own;
	return ok;
}
