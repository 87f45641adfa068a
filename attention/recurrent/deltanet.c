/* SPDX-License-Identifier: BSD-3-Clause
 *
 * deltanet: the delta rule, a memory that corrects what it holds under a key.
 *
 *     u_t = beta_t (v_t - S_{t-1}^T k_t),  S_t = S_{t-1} + k_t u_t^T,  o_t = scale q_t S_t
 *
 * Time n d d_v, state d d_v. Schlag, Irie, Schmidhuber 2021, ICML, arXiv 2102.11174;
 * chunks: Yang et al. 2024, NeurIPS, arXiv 2406.06484. Keys are brought to length 1
 * (l2norm), without which beta |k|^2 > 2 explodes. Input "beta" (n x 1, in (0, 1], or
 * up to 2); by default sigmoid(N(0,1)). Feature maps, convolution and norm are
 * outside. Causal only.
 *
 * A chunk, K (C x d): U solves (I + strictly lower(diag(beta) K K^T)) U = diag(beta) (V - K S),
 * then O = scale (Q S + lower(Q K^T) U), S += K^T U. Columns of V do not meet: a
 * team divides them, each rank forming K K^T and Q K^T for itself.
 */
#include "../engine/cache.h"
#include "../engine/work.h"
#include "../kernels/kern.h"
#include "../oracle/oracle.h"

#include <string.h>

enum { L2NORM, CHUNK };
enum { DEFAULT_CHUNK = 16, MAX_CHUNK = 256, SOLVE_ROWS = 8 };

static const struct attn_param params[] = {
	{ "l2norm", "keys are divided by their length", ATTN_FLAG, 1, 0, 1, NULL },
	{ "chunk", "tokens a chunk; 0: measured best", ATTN_INT, 0, 0, MAX_CHUNK, NULL },
	{ 0 },
};

static size_t chunk_of(const double *arg)
{
	return arg[CHUNK] > 0 ? (size_t)arg[CHUNK] : DEFAULT_CHUNK;
}

struct work {
	const struct attn_call *c;
	const float *beta; /* n */
	size_t v0, d_v;    /* this rank's columns of v */
	size_t chunk, ld, ld_v, ld_c;
	float *s;             /* d x ld_v */
	float *q, *k, *k_t;   /* chunk x ld: scale q, k / |k|; its transpose */
	float *near, *lower;  /* chunk x ld_c: lower(q k^T), -strictly lower(beta k k^T) */
	float *u;             /* chunk x ld_v */
};

static size_t scratch_floats(const struct attn_shape *s, size_t chunk)
{
	size_t ld = work_padded(s->d), ld_v = work_padded(s->d_v), ld_c = work_padded(chunk);

	return s->d * ld_v + 2 * chunk * ld + ld * ld_c + 2 * chunk * ld_c + chunk * ld_v;
}

/* Columns of a rank, in whole vectors. */
static size_t first_column(size_t d_v, size_t rank, size_t size)
{
	size_t at = work_padded(d_v) / 16 * rank / size * 16;

	return at < d_v ? at : d_v;
}

static struct work work_init(const struct attn_call *c, const struct attn_team *team)
{
	const struct attn_shape *s = c->shape;
	struct work w = { .c = c, .chunk = chunk_of(c->arg), .ld = work_padded(s->d) };

	w.beta = attn_aux_find(c->aux, "beta", s->n_k, 1);
	if (!w.beta)
		w.beta = c->state;
	w.v0 = first_column(s->d_v, team->rank, team->size);
	w.d_v = first_column(s->d_v, team->rank + 1, team->size) - w.v0;
	w.ld_v = work_padded(w.d_v);
	w.ld_c = work_padded(w.chunk);
	w.s = c->scratch;
	w.q = w.s + s->d * w.ld_v;
	w.k = w.q + w.chunk * w.ld;
	w.k_t = w.k + w.chunk * w.ld;
	w.near = w.k_t + w.ld * w.ld_c;
	w.lower = w.near + w.chunk * w.ld_c;
	w.u = w.lower + w.chunk * w.ld_c;
	return w;
}

static void load_keys(const struct work *w, size_t t, size_t rows)
{
	const struct attn_call *c = w->c;
	const struct kern *kern = c->kern;
	size_t d = c->shape->d;

	for (size_t r = 0; r < rows; r++) {
		float *k = w->k + r * w->ld;
		memcpy(k, (const float *)c->k + (t + r) * c->ldk, d * sizeof *k);
		if (c->arg[L2NORM] != 0)
			kern->scale(k, 1 / fmaxf(sqrtf(kern->dot(k, k, d)), 1e-12f), d);
	}
}

/* lower, of the keys loaded last. */
static void weigh_keys(const struct work *w, size_t t, size_t rows)
{
	const struct kern *kern = w->c->kern;
	size_t d = w->c->shape->d, ld_c = w->ld_c;

	kern->transpose(w->k_t, ld_c, w->k, w->ld, rows, d);
	kern->mm(w->lower, ld_c, w->k, w->ld, 1, w->k_t, ld_c, rows, rows, d, false);
	for (size_t r = 0; r < rows; r++)
		kern->scale(w->lower + r * ld_c, -w->beta[t + r], r);
}

/* near, of the queries and the keys loaded last. */
static void weigh_queries(const struct work *w, size_t t, size_t rows)
{
	const struct attn_call *c = w->c;
	const struct kern *kern = c->kern;
	size_t d = c->shape->d, ld_c = w->ld_c;

	for (size_t r = 0; r < rows; r++) {
		float *q = w->q + r * w->ld;
		memcpy(q, (const float *)c->q + (t + r) * c->ldq, d * sizeof *q);
		kern->scale(q, c->shape->scale, d);
	}
	kern->mm(w->near, ld_c, w->q, w->ld, 1, w->k_t, ld_c, rows, rows, d, false);
	for (size_t r = 0; r < rows; r++)
		memset(w->near + r * ld_c + r + 1, 0, (rows - r - 1) * sizeof(float));
}

/* u = diag(beta) (v - k s), then the solution: forward substitution, blocks of
 * SOLVE_ROWS rows taking up all earlier blocks at once. */
static void solve(const struct work *w, size_t t, size_t rows)
{
	const struct attn_call *c = w->c;
	const struct kern *kern = c->kern;
	size_t d = c->shape->d, ld_c = w->ld_c, ld_v = w->ld_v;

	kern->mm(w->u, ld_v, w->k, w->ld, 1, w->s, ld_v, rows, w->d_v, d, false);
	for (size_t r = 0; r < rows; r++) {
		float *u = w->u + r * ld_v, beta = w->beta[t + r];
		kern->scale(u, -beta, w->d_v);
		kern->axpy(u, beta, (const float *)c->v + (t + r) * c->ldv + w->v0, w->d_v);
	}
	for (size_t r0 = 0; r0 < rows; r0 += SOLVE_ROWS) {
		size_t r1 = rows - r0 < SOLVE_ROWS ? rows : r0 + SOLVE_ROWS;
		kern->mm(w->u + r0 * ld_v, ld_v, w->lower + r0 * ld_c, ld_c, 1, w->u, ld_v, r1 - r0, w->d_v,
		         r0, true);
		for (size_t r = r0 + 1; r < r1; r++)
			kern->mm(w->u + r * ld_v, ld_v, w->lower + r * ld_c + r0, ld_c, 1, w->u + r0 * ld_v, ld_v,
			         1, w->d_v, r - r0, true);
	}
}

/* Rows [t, t + rows) of two inputs, to be fetched beside a product; what lies
 * behind the end is never touched, only named. */
static struct kern_fetch rows_of(const float *x, size_t ldx, const float *y, size_t ldy, size_t t,
                                 size_t rows)
{
	return (struct kern_fetch){ .from = { x + t * ldx, y + t * ldy },
		                    .bytes = { rows * ldx * sizeof *x, rows * ldy * sizeof *y } };
}

/* Tokens [t, t + rows) into s, and their outputs if these are wanted. */
static void chunk(const struct work *w, size_t t, size_t rows, bool outputs)
{
	const struct attn_call *c = w->c;
	const struct kern *kern = c->kern;
	size_t d = c->shape->d, d_v = w->d_v;
	const struct kern_fetch q_k = rows_of(c->q, c->ldq, c->k, c->ldk, t + rows, rows);
	const struct kern_fetch v_out = rows_of(c->v, c->ldv, c->out, c->ldo, t + rows, rows);

	load_keys(w, t, rows);
	weigh_keys(w, t, rows);
	solve(w, t, rows);
	if (outputs) {
		weigh_queries(w, t, rows);
		float *out = (float *)c->out + t * c->ldo + w->v0;
		kern->mm_fetch(out, c->ldo, w->q, w->ld, 1, w->s, w->ld_v, rows, d_v, d, false, &q_k);
		kern->mm(out, c->ldo, w->near, w->ld_c, 1, w->u, w->ld_v, rows, d_v, rows, true);
	}
	kern->mm_fetch(w->s, w->ld_v, w->k, 1, w->ld, w->u, w->ld_v, d, d_v, rows, true, &v_out);
	if (c->stats)
		c->stats->flops_executed += (double)(rows * (rows * (4 * d + 2 * d_v) + (rows - 1) * d_v +
		                                             6 * d * d_v));
}

static void forward(const struct attn_call *c, struct attn_team *team)
{
	struct work w = work_init(c, team);
	size_t n = c->shape->n_k;

	if (w.d_v == 0)
		return;
	memset(w.s, 0, c->shape->d * w.ld_v * sizeof(float));
	for (size_t t = 0; t < n; t += w.chunk)
		chunk(&w, t, n - t < w.chunk ? n - t : w.chunk, true);
}

static const char *const cases[] = { "chunk=1", "chunk=20", NULL };

static void refine(const double *arg, unsigned *flags, float *impl_bound)
{
	(void)impl_bound;
	if (arg[L2NORM] == 0)
		*flags &= ~(unsigned)ATTN_KSCALE;
}

static const char *plan(const struct attn_shape *s, const double *arg, size_t ranks,
                        struct attn_plan *p)
{
	double n = (double)s->n_k, d = (double)s->d, d_v = (double)s->d_v;
	size_t chunk = chunk_of(arg), last = s->n_k % chunk, vectors = work_padded(s->d_v) / 16;
	double near = (double)((s->n_k - last) * chunk + last * last);
	double busy = (double)(ranks < vectors ? ranks : vectors);

	if (!s->causal)
		return "has no bidirectional form: each token corrects what earlier ones wrote";
	p->state = s->n_k * sizeof(float);
	p->scratch = scratch_floats(s, chunk) * sizeof(float);
	p->flops_useful = 6 * n * d * d_v;
	p->flops_executed = p->flops_useful + near * (4 * d * busy + 3 * d_v) - n * d_v;
	p->pairs = work_visible_pairs(s);
	p->bytes = work_io_bytes(s) + (double)p->state;
	return NULL;
}

/* sigmoid(z), z ~ N(0, 1) */
static void prepare(const struct attn_shape *s, const double *arg, uint64_t seed, void *state)
{
	uint64_t stream = attn_random_stream("deltanet", s->head, 0);
	float *beta = state;

	(void)arg;
	for (size_t t = 0; t < s->n_k; t++)
		beta[t] = (float)(1 / (1 + exp(-attn_random_normal(seed, stream, t))));
}

/* ---- decoding: S is the past ---- */

static const char *decode_plan(const struct attn_decode *slot, const struct attn_shape *s, const double *arg,
                               size_t queries, size_t ranks, struct attn_decode_plan *p)
{
	double d = (double)s->d, d_v = (double)s->d_v;

	(void)slot;
	(void)ranks;
	p->past = p->changed = s->d * work_padded(s->d_v) * sizeof(float);
	p->step.scratch = scratch_floats(s, chunk_of(arg)) * sizeof(float);
	p->step.flops_useful = p->step.flops_executed = 2 * (2 + (double)queries) * d * d_v;
	p->step.pairs = (double)queries * (double)s->n_k;
	p->step.bytes = 2 * (double)p->past + cache_io_bytes(s, queries);
	return NULL;
}

static struct attn_call call_of(const struct attn_decode_call *c)
{
	return (struct attn_call){
		.shape = c->shape, .arg = c->arg, .kern = c->kern, .state = c->state, .q = c->q, .k = c->k,
		.v = c->v, .out = c->out, .ldq = c->ldq, .ldk = c->ldk, .ldv = c->ldv, .ldo = c->ldo,
		.aux = c->aux, .scratch = c->scratch,
	};
}

static struct work past_of(const struct attn_decode_call *c, const struct attn_call *call)
{
	const struct attn_team alone = { .size = 1 };
	struct work w = work_init(call, &alone);

	w.s = c->past;
	w.beta += c->length;
	return w;
}

static void decode_start(const struct attn_decode_call *c)
{
	memset(c->past, 0, c->shape->d * work_padded(c->shape->d_v) * sizeof(float));
}

static void decode_append(const struct attn_decode_call *c)
{
	const struct attn_call call = call_of(c);
	struct work w = past_of(c, &call);

	for (size_t t = 0; t < c->tokens; t += w.chunk)
		chunk(&w, t, c->tokens - t < w.chunk ? c->tokens - t : w.chunk, false);
}

static void decode_step(const struct attn_decode_call *c, struct attn_team *team)
{
	const struct attn_call call = call_of(c);
	const struct kern *kern = c->kern;
	struct work w = past_of(c, &call);
	size_t d = c->shape->d, d_v = c->shape->d_v;

	(void)team;
	load_keys(&w, 0, 1);
	solve(&w, 0, 1);
	kern->mm(w.s, w.ld_v, w.k, 1, w.ld, w.u, w.ld_v, d, d_v, 1, true);
	for (size_t r = 0; r < c->queries; r++) {
		float *out = (float *)c->out + r * c->ldo;
		kern->mm(out, c->ldo, (const float *)c->q + r * c->ldq, c->ldq, 1, w.s, w.ld_v, 1, d_v, d, false);
		kern->scale(out, c->shape->scale, d_v);
	}
	if (c->stats)
		c->stats->flops_executed += 2 * (double)((2 + c->queries) * d * d_v);
}

static const struct attn_decode decode = {
	.keeps = "state: d d_v",
	.plan = decode_plan,
	.start = decode_start,
	.append = decode_append,
	.step = decode_step,
};

const struct attn_variant attn_deltanet = {
	.abi = ATTN_ABI,
	.name = "deltanet",
	.family = "recurrent",
	.title = "DeltaNet",
	.paper = "Schlag, Irie, Schmidhuber 2021, ICML, arXiv 2102.11174; Yang et al. 2024, NeurIPS, "
	         "arXiv 2406.06484",
	.formula = "S_t = S_{t-1} + beta_t k_t (v_t - S_{t-1}^T k_t)^T, o_t = scale q_t S_t",
	.complexity = "n d^2",
	.target = "its own memory: with orthonormal keys and beta = 1 a key recalls its value exactly",
	.summary = "Writing a key again replaces its value. Keys must have length 1. No normaliser: "
	           "compare directions (cosine) with softmax. beta is random unless given.",
	.flags = ATTN_CAUSAL | ATTN_PARALLEL | ATTN_RANDOM | ATTN_KSCALE | ATTN_LOGITS,
	.impl_bound = 5e-6f,
	.cases = cases,
	.params = params,
	.refine = refine,
	.plan = plan,
	.prepare = prepare,
	.forward = forward,
	.decode = &decode,
	.oracle = oracle_deltanet,
};
