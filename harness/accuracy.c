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

#include "inputs.h"
#include "metrics.h"
#include "reference.h"
#include "remote.h"
#include "weights.h"

/* Rows on which the definition is evaluated: all of up to ALL, else SOME. */
enum { ALL = 256, SOME = 128 };

static struct reference_input reference_input(const struct cell *c)
{
	struct attn_shape s = cell_shape(c, 0);

	return (struct reference_input){
		.heads = c->batch * c->heads,
		.n_q = c->n_q, .n_k = c->n_k, .d = c->d, .d_v = c->d_v,
		.causal = c->causal, .scale = s.scale,
	};
}

size_t accuracy_bytes(const struct cell *c)
{
	struct reference_input in = reference_input(c);
	size_t exact = reference_bytes(&in, c->threads), sum;
	double queries = (double)cell_shape(c, 0).n_q;
	double head = queries * (double)c->d + (double)c->n_k * (double)(c->d + c->d_v);
	double doubles = head * c->threads + ALL * (double)in.heads * (double)c->d_v;

	doubles += (double)reference_n_rows(c->n_q) * ((double)in.heads + 2);
	if (doubles * sizeof(double) >= 0x1p62)
		return SIZE_MAX;
	size_t own = (size_t)doubles * sizeof(double) + weights_bytes(c);
	return __builtin_add_overflow(exact, own, &sum) ? SIZE_MAX : sum;
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
	size_t rows[ALL], n_rows;
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

/* A function of its own: what is live across setjmp() does not change in it. */
static bool define_head(struct owner *o, const struct definition *def, size_t g)
{
	const struct layer *l = def->layer;
	const struct cell *c = &l->cell;
	struct attn_shape shape = cell_shape(c, g % c->heads);
	const size_t newest = c->n_k - 1;

	if (setjmp(o->refused))
		return false;
	struct attn_oracle_call call = {
		.shape = &shape,
		.arg = l->plan.arg,
		.state = l->state ? l->state + g % c->heads * l->plan.state : NULL,
		.q = widen_queries(o, l, g, shape.n_q),
		.k = widen(o, layer_k(l, g, 0), c->n_k * c->d),
		.v = widen(o, layer_v(l, g, 0), c->n_k * c->d_v),
		.rows = c->mode == MODE_DECODE ? &newest : def->rows,
		.n_rows = def->n_rows,
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
	def.n_rows = reference_rows(c->n_q, ALL, SOME, def.rows);
	size_t row_doubles = l->plan.total * def.n_rows * c->d_v;
	def.out = malloc((row_doubles + 1) * sizeof *def.out);
	if (!def.out)
		return worker_end(w, STATUS_OOM, "no memory for the definition in double");
	team_run(w->team, TEAM_EXACT, define, &def);
	for (size_t g = 0; g < l->plan.total; g++)
		for (size_t r = 0; r < def.n_rows; r++)
			errors_add(&sums, layer_out(l, g, def.rows[r]), def.out + (g * def.n_rows + r) * c->d_v, NULL, c->d_v);
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

/* ---- against exact attention ------------------------------------------------ */

static bool measure_exact(struct worker *w, const struct reference_input *in,
                          const struct reference *ref)
{
	size_t d_v = in->d_v, n = ref->n_rows;
	struct error_sums sums = { 0 };
	double *work = calloc(2 * d_v + (2 + ref->heads) * n, sizeof *work);

	if (!work)
		return worker_end(w, STATUS_OOM, "no memory for the uniform average");
	double *sum = work, *mean = sum + d_v, *error2 = mean + d_v, *norm2 = error2 + n;
	sums.rel_row = norm2 + n;
	for (size_t g = 0; g < ref->heads; g++) {
		size_t seen = 0;
		for (size_t c = 0; c < d_v; c++)
			sum[c] = 0;
		for (size_t r = 0; r < n; r++) {
			size_t i = ref->rows[r];
			double error_before = sums.error2, norm_before = sums.norm2;
			uniform_row(in->v + g * in->n_k * d_v, d_v, reference_visible(in, i), &seen,
			            sum, mean);
			errors_add(&sums, layer_out(&w->layer, g, i), ref->out + (g * n + r) * d_v, mean,
			           d_v);
			error2[r] += sums.error2 - error_before;
			norm2[r] += sums.norm2 - norm_before;
		}
	}
	struct errors e = errors_of(&sums);
	w->out->err_exact_rel_fro = e.rel_fro;
	w->out->err_exact_max_abs = e.max_abs;
	w->out->err_exact_max_rel_row = e.max_rel_row;
	w->out->err_exact_med_rel_row = e.med_rel_row;
	w->out->err_exact_cos = e.cos;
	w->out->err_cos_left_out = (int64_t)(sums.rows - sums.cos_rows);
	w->out->err_exact_nmse_u = e.nmse_u;
	w->out->err_uniform_rel_fro = e.rel_u;
	w->out->entropy_ratio = ref->entropy_ratio;
	w->out->n_eff = ref->n_eff;
	w->out->err_rows = (int64_t)n;
	w->out->err_sampling = errors_sampling(error2, norm2, n, in->n_q);
	free(work);
	return true;
}

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
	if (!worker_count(w))
		return false;
	layer_each_work(l, arena_poison);
	arena_poison(&w->arena, l->out);
	worker_stage(w, "the call");
	layer_prepare(l);
	layer_fill(l);
	layer_run(l);
	worker_counted(w);
	worker_own_stage(w, "checks");
	return worker_check(w);
}

/* Looks at the layer as f32 with keys and values of its own for every head. */
static bool look(struct worker *w)
{
	struct layer *l = &w->layer;
	struct reference_input in = reference_input(&l->cell);
	struct reference ref;

	in.q = l->q;
	in.k = l->k;
	in.v = l->v;
	worker_own_stage(w, "exact attention in double");
	const char *why = reference_get(&ref, &in, w->input_hash, w->job->cache_dir, w->team);
	if (why)
		return worker_end(w, STATUS_OOM, "%s", why);
	bool ok = measure_exact(w, &in, &ref) && measure_task(w);
	worker_own_stage(w, "the weights that it implies");
	if (ok && !w->remote)
		weights_measure(w);
	worker_own_stage(w, "its definition in double");
	ok = ok && measure_impl(w, ref.logit_max);
	reference_free(&ref);
	return ok;
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
