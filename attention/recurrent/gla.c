/* SPDX-License-Identifier: BSD-3-Clause
 *
 * gla: gated linear attention, a decay of its own for every channel and token.
 *
 *     S_t = diag(alpha_t) S_{t-1} + k_t v_t^T,  o_t = scale q_t S_t
 *
 * Time n d d_v, state d d_v. Yang, Wang, Shen, Panda, Kim 2023, ICML 2024, arXiv
 * 2312.06635. Input "log_gate" (n x d, ln alpha <= 0); by default logsigmoid(N(0,1)) /
 * tau. Norm and output gate are outside. Causal only.
 *
 * By chunks: with a_t >= 0 the sum of -ln alpha since the first token of the chunk,
 *
 *     o_t = (scale q_t e^-a_t) S' + sum_{s<=t} ((scale q_t e^-a_t) . (k_s e^a_s)) v_s
 *
 * where S' is S as the first token finds it. e^a must not overflow, so a chunk
 * ends before a exceeds MAX_RISE in any channel: gates that close at once make
 * chunks of one token, and no exponent is ever cut off.
 */
#include "../engine/cache.h"
#include "../engine/work.h"
#include "../kernels/kern.h"
#include "../oracle/oracle.h"

#include <string.h>

enum { TAU, CHUNK };
enum { DEFAULT_CHUNK = 32, MAX_CHUNK = 256 };

/* e^40 = 2e17: room for inputs and sums below the largest float, 3e38. */
#define MAX_RISE 40.0f

static const struct attn_param params[] = {
	{ "tau", "default gates are logsigmoid(N(0,1)) / tau", ATTN_REAL, 16, 1e-3, 1e6, NULL },
	{ "chunk", "tokens a chunk at most; 0: measured best", ATTN_INT, 0, 0, MAX_CHUNK, NULL },
	{ 0 },
};

static size_t chunk_of(const double *arg)
{
	return arg[CHUNK] > 0 ? (size_t)arg[CHUNK] : DEFAULT_CHUNK;
}

struct work {
	const struct attn_call *c;
	const float *gate; /* n x d */
	size_t chunk, ld, ld_v;
	float *s;          /* d x ld_v; the state is diag(e^-lag) s */
	float *lag;        /* ld */
	float *q, *k, *e;  /* chunk x ld: q e^-a, k e^a, e^a */
	float *k_t, *near; /* ld x chunk, chunk x chunk */
	float *factor;     /* ld */
};

static size_t sum_floats(const struct attn_shape *s)
{
	return s->d * work_padded(s->d_v) + work_padded(s->d);
}

static size_t scratch_floats(const struct attn_shape *s, size_t chunk)
{
	size_t ld = work_padded(s->d);

	return sum_floats(s) + 3 * chunk * ld + ld * work_padded(chunk) + chunk * work_padded(chunk) + ld;
}

static struct work work_init(const struct attn_call *c)
{
	const struct attn_shape *s = c->shape;
	struct work w = { .c = c, .chunk = chunk_of(c->arg), .ld = work_padded(s->d), .ld_v = work_padded(s->d_v) };

	w.gate = attn_aux_find(c->aux, "log_gate", s->n_k, s->d);
	if (!w.gate)
		w.gate = c->state;
	w.s = c->scratch;
	w.lag = w.s + s->d * w.ld_v;
	w.q = w.lag + w.ld;
	w.k = w.q + w.chunk * w.ld;
	w.e = w.k + w.chunk * w.ld;
	w.k_t = w.e + w.chunk * w.ld;
	w.near = w.k_t + w.ld * work_padded(w.chunk);
	w.factor = w.near + w.chunk * work_padded(w.chunk);
	return w;
}

static void count(const struct work *w, size_t flops)
{
	if (w->c->stats)
		w->c->stats->flops_executed += (double)flops;
}

/* Rows [t, t + rows) of two inputs, to be fetched beside a product; what lies
 * behind the end is never touched, only named. */
static struct kern_fetch rows_of(const float *x, size_t ldx, const float *y, size_t ldy, size_t t,
                                 size_t rows)
{
	return (struct kern_fetch){ .from = { x + t * ldx, y + t * ldy },
		                    .bytes = { rows * ldx * sizeof *x, rows * ldy * sizeof *y } };
}

static void reset(const struct work *w)
{
	memset(w->s, 0, sum_floats(w->c->shape) * sizeof(float));
}

/* s = diag(e^-lag) s, lag = 0. */
static void settle(const struct work *w)
{
	const struct attn_call *c = w->c;
	size_t d = c->shape->d;

	c->kern->scale(w->lag, -1, d);
	c->kern->exp_shift(w->factor, w->lag, 0, d);
	for (size_t f = 0; f < d; f++)
		c->kern->scale(w->s + f * w->ld_v, w->factor[f], c->shape->d_v);
	memset(w->lag, 0, d * sizeof(float));
}

/* Takes up a chunk of at most `limit` tokens from t on: brings s to where token t
 * finds it, fills e and k, and lag for after the chunk. Returns its tokens. */
static size_t open_chunk(const struct work *w, size_t t, size_t limit)
{
	const struct attn_call *c = w->c;
	const struct kern *kern = c->kern;
	size_t d = c->shape->d, rows = 1;

	kern->axpy(w->lag, -1, w->gate + t * d, d);
	settle(w);
	memset(w->e, 0, d * sizeof(float));
	for (; rows < limit; rows++) {
		float *a = w->e + rows * w->ld;
		memcpy(a, a - w->ld, d * sizeof(float));
		kern->axpy(a, -1, w->gate + (t + rows) * d, d);
		if (kern->max(a, d) > MAX_RISE)
			break;
	}
	memcpy(w->lag, w->e + (rows - 1) * w->ld, d * sizeof(float));
	for (size_t r = 0; r < rows; r++) {
		float *e = w->e + r * w->ld;
		kern->exp_shift(e, e, 0, d);
		kern->mul(w->k + r * w->ld, (const float *)c->k + (t + r) * c->ldk, e, d);
	}
	return rows;
}

/* s += k^T v */
static void absorb(const struct work *w, size_t t, size_t rows)
{
	const struct attn_call *c = w->c;
	size_t d = c->shape->d, d_v = c->shape->d_v;
	const struct kern_fetch next = rows_of(c->k, c->ldk, c->v, c->ldv, t + 2 * rows, rows);

	c->kern->mm_fetch(w->s, w->ld_v, w->k, 1, w->ld, (const float *)c->v + t * c->ldv, c->ldv, d, d_v,
	                  rows, true, &next);
	count(w, 2 * rows * d * d_v);
}

/* The outputs of a chunk that open_chunk took up. */
static void emit(const struct work *w, size_t t, size_t rows)
{
	const struct attn_call *c = w->c;
	const struct kern *kern = c->kern;
	size_t d = c->shape->d, d_v = c->shape->d_v, ld_c = work_padded(w->chunk);
	float *out = (float *)c->out + t * c->ldo;
	const struct kern_fetch next = rows_of(c->q, c->ldq, c->out, c->ldo, t + rows, rows);
	const struct kern_fetch gates = rows_of(w->gate, d, w->gate, d, t + 2 * rows, rows / 2);

	for (size_t r = 0; r < rows; r++) {
		float *q = w->q + r * w->ld;
		kern->div(q, (const float *)c->q + (t + r) * c->ldq, w->e + r * w->ld, d);
		kern->scale(q, c->shape->scale, d);
	}
	kern->transpose(w->k_t, ld_c, w->k, w->ld, rows, d);
	kern->mm(w->near, ld_c, w->q, w->ld, 1, w->k_t, ld_c, rows, rows, d, false);
	for (size_t r = 0; r < rows; r++)
		memset(w->near + r * ld_c + r + 1, 0, (rows - r - 1) * sizeof(float));
	kern->mm_fetch(out, c->ldo, w->q, w->ld, 1, w->s, w->ld_v, rows, d_v, d, false, &next);
	kern->mm_fetch(out, c->ldo, w->near, ld_c, 1, (const float *)c->v + t * c->ldv, c->ldv, rows, d_v,
	               rows, true, &gates);
	count(w, 2 * rows * (rows * (d + d_v) + d * d_v));
}

/* Tokens [t0, t1), with their outputs or only into s. */
static void run(const struct work *w, size_t t0, size_t t1, bool outputs)
{
	for (size_t t = t0, rows; t < t1; t += rows) {
		rows = open_chunk(w, t, t1 - t < w->chunk ? t1 - t : w->chunk);
		if (outputs)
			emit(w, t, rows);
		absorb(w, t, rows);
	}
}

/* s, settled, takes up the sums of later tokens t0 .. t1. */
static void combine(const struct work *w, const float *later, size_t t0, size_t t1)
{
	const struct attn_call *c = w->c;
	size_t d = c->shape->d;

	for (size_t t = t0; t < t1; t++)
		c->kern->axpy(w->lag, -1, w->gate + t * d, d);
	settle(w);
	for (size_t f = 0; f < d; f++)
		c->kern->axpy(w->s + f * w->ld_v, 1, later + f * w->ld_v, c->shape->d_v);
}

/* Each rank sums its stretch of tokens into shared memory, then starts its
 * outputs from the sums of the ranks before it. */
static void forward(const struct attn_call *c, struct attn_team *team)
{
	const struct attn_shape *s = c->shape;
	size_t n = s->n_k, rank = team->rank, size = team->size;
	size_t t0 = work_part(n, rank, size), t1 = work_part(n, rank + 1, size);
	float *sums = c->shared;
	struct work w = work_init(c);

	if (rank + 1 < size) {
		struct work mine = w;
		mine.s = sums + rank * sum_floats(s);
		mine.lag = mine.s + s->d * w.ld_v;
		reset(&mine);
		run(&mine, t0, t1, false);
		settle(&mine);
	}
	attn_barrier(team);
	reset(&w);
	for (size_t r = 0; r < rank; r++)
		combine(&w, sums + r * sum_floats(s), work_part(n, r, size), work_part(n, r + 1, size));
	run(&w, t0, t1, true);
}

static const char *const cases[] = { "tau=1", "tau=0.02", "chunk=5", NULL };

static const char *plan(const struct attn_shape *s, const double *arg, size_t ranks,
                        struct attn_plan *p)
{
	double n = (double)s->n_k, d = (double)s->d, d_v = (double)s->d_v;
	size_t chunk = chunk_of(arg), last = s->n_k % chunk;
	/* Rows times their chunk's rows, for whole chunks and the last. */
	double near = (double)((s->n_k - last) * chunk + last * last);

	if (!s->causal)
		return "has no bidirectional form: the gates order the tokens";
	p->state = s->n_k * s->d * sizeof(float);
	p->shared = (ranks - 1) * sum_floats(s) * sizeof(float);
	p->scratch = scratch_floats(s, chunk) * sizeof(float);
	p->flops_useful = 4 * n * d * d_v;
	p->flops_executed = p->flops_useful + 2 * near * (d + d_v);
	p->n_exp = n * d;
	p->pairs = work_visible_pairs(s);
	p->bytes = work_io_bytes(s) + (double)p->state;
	return NULL;
}

/* ln sigmoid(z) / tau, z ~ N(0, 1) */
static void prepare(const struct attn_shape *s, const double *arg, uint64_t seed, void *state)
{
	uint64_t stream = attn_random_stream("gla", s->head, 0);
	float *gate = state;

	for (size_t i = 0; i < s->n_k * s->d; i++)
		gate[i] = (float)(-log1p(exp(-attn_random_normal(seed, stream, i))) / arg[TAU]);
}

/* ---- decoding: S is the past ---- */

static const char *decode_plan(const struct attn_decode *slot, const struct attn_shape *s, const double *arg,
                               size_t queries, size_t ranks, struct attn_decode_plan *p)
{
	double d = (double)s->d, d_v = (double)s->d_v;

	(void)slot;
	(void)ranks;
	p->past = p->changed = sum_floats(s) * sizeof(float);
	p->step.scratch = scratch_floats(s, chunk_of(arg)) * sizeof(float);
	p->step.flops_useful = p->step.flops_executed = 2 * (1 + (double)queries) * d * d_v;
	p->step.n_exp = d;
	p->step.pairs = (double)queries * (double)s->n_k;
	p->step.bytes = 2 * (double)p->past + d * sizeof(float) + cache_io_bytes(s, queries);
	return NULL;
}

static struct attn_call call_of(const struct attn_decode_call *c)
{
	return (struct attn_call){
		.shape = c->shape, .arg = c->arg, .kern = c->kern, .state = c->state, .q = c->q, .k = c->k,
		.v = c->v, .out = c->out, .ldq = c->ldq, .ldk = c->ldk, .ldv = c->ldv, .ldo = c->ldo,
		.aux = c->aux, .scratch = c->scratch, .stats = c->stats,
	};
}

/* The past as s, which is settled between calls; gates from the first token on. */
static struct work past_of(const struct attn_decode_call *c, const struct attn_call *call)
{
	struct work w = work_init(call);

	w.s = c->past;
	w.lag = w.s + c->shape->d * w.ld_v;
	w.gate += c->length * c->shape->d;
	return w;
}

static void decode_start(const struct attn_decode_call *c)
{
	const struct attn_call call = call_of(c);
	struct work w = past_of(c, &call);

	reset(&w);
}

static void decode_append(const struct attn_decode_call *c)
{
	const struct attn_call call = call_of(c);
	struct work w = past_of(c, &call);

	run(&w, 0, c->tokens, false);
	settle(&w);
}

static void decode_step(const struct attn_decode_call *c, struct attn_team *team)
{
	const struct attn_call call = call_of(c);
	const struct kern *kern = c->kern;
	struct work w = past_of(c, &call);
	size_t d = c->shape->d, d_v = c->shape->d_v;

	(void)team;
	kern->exp_shift(w.factor, w.gate, 0, d);
	for (size_t f = 0; f < d; f++)
		kern->scale(w.s + f * w.ld_v, w.factor[f], d_v);
	kern->mm(w.s, w.ld_v, c->k, 1, c->ldk, c->v, c->ldv, d, d_v, 1, true);
	for (size_t r = 0; r < c->queries; r++) {
		float *out = (float *)c->out + r * c->ldo;
		kern->mm(out, c->ldo, (const float *)c->q + r * c->ldq, c->ldq, 1, w.s, w.ld_v, 1, d_v, d, false);
		kern->scale(out, c->shape->scale, d_v);
	}
	count(&w, 2 * (1 + c->queries) * d * d_v);
}

static const struct attn_decode decode = {
	.keeps = "state: d d_v",
	.plan = decode_plan,
	.start = decode_start,
	.append = decode_append,
	.step = decode_step,
};

const struct attn_variant attn_gla = {
	.abi = ATTN_ABI,
	.name = "gla",
	.family = "recurrent",
	.title = "gated linear attention",
	.paper = "Yang, Wang, Shen, Panda, Kim 2023, ICML 2024, arXiv 2312.06635",
	.formula = "S_t = diag(alpha_t) S_{t-1} + k_t v_t^T, o_t = scale q_t S_t",
	.complexity = "n d^2",
	.target = "its own gated sum; retention where all gates are gamma",
	.summary = "No normaliser: compare directions (cosine), not magnitudes, with softmax. Gates are "
	           "random unless the input log_gate gives them; strong gates make short chunks.",
	.flags = ATTN_CAUSAL | ATTN_PARALLEL | ATTN_RANDOM | ATTN_LOGITS,
	.impl_bound = 5e-6f,
	.cases = cases,
	.params = params,
	.plan = plan,
	.prepare = prepare,
	.forward = forward,
	.decode = &decode,
	.oracle = oracle_gla,
};
