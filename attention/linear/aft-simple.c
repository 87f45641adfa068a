/* SPDX-License-Identifier: BSD-3-Clause
 *
 * aft-simple: the attention free transformer without position biases.
 *
 *     O_t = sigmoid(q_t) (.) sum_j e^(k_j) (.) v_j / sum_j e^(k_j),  channel by channel
 *
 * Time n d: no product of matrices. Zhai et al. 2021, arXiv 2105.14103. Each channel
 * has weights of its own, so d_v = d, and there is no attention matrix.
 *
 * Exponents are relative to the largest key of the channel so far. A block of
 * keys takes its maximum up at once; where that would rise by more than MAX_RISE
 * the block ends earlier, so that no token is flushed to zero by a later one. One
 * published causal code divides inside the running sum, which is another formula.
 * Sums of a block are added to the total at its end: rounding grows with blocks.
 */
#include "../engine/cache.h"
#include "../engine/tile.h"
#include "../engine/work.h"
#include "../oracle/oracle.h"

#include <string.h>

enum { BLOCK = 32 };
#define MAX_RISE 40.0f

/* Sums over keys, one a channel, relative to e^top: of whole blocks, and of the
 * block at hand. */
struct sums {
	float *top, *num, *den; /* ld */
	float *new_num, *new_den;
};
enum { SUMS = 5 };

struct work {
	const struct attn_call *c;
	size_t d, ld;
	struct sums sums;
	float *high, *e; /* ld: a maximum to come; a factor, the weights of a key */
};

static struct sums sums_at(float *mem, size_t ld)
{
	return (struct sums){ mem, mem + ld, mem + 2 * ld, mem + 3 * ld, mem + 4 * ld };
}

static void reset(const struct work *w)
{
	memset(w->sums.num, 0, 4 * w->ld * sizeof(float));
	for (size_t e = 0; e < w->ld; e++)
		w->sums.top[e] = KERN_NO_MAX;
}

static void count(const struct work *w, size_t flops)
{
	if (w->c->stats)
		w->c->stats->flops_executed += (double)flops;
}

/* The block at hand ends. */
static void close_block(const struct work *w)
{
	w->c->kern->axpy(w->sums.num, 1, w->sums.new_num, w->d);
	w->c->kern->axpy(w->sums.den, 1, w->sums.new_den, w->d);
	memset(w->sums.new_num, 0, 2 * w->ld * sizeof(float));
}

/* factor = e^(x - y) */
static void ratio(const struct work *w, float *factor, const float *x, const float *y)
{
	memcpy(factor, x, w->d * sizeof *factor);
	w->c->kern->axpy(factor, -1, y, w->d);
	w->c->kern->exp_shift(factor, factor, 0, w->d);
}

/* top becomes high, which is not below it. */
static void lift(const struct work *w)
{
	const struct kern *kern = w->c->kern;

	ratio(w, w->e, w->sums.top, w->high);
	kern->mul(w->sums.num, w->sums.num, w->e, w->d);
	kern->mul(w->sums.den, w->sums.den, w->e, w->d);
	memcpy(w->sums.top, w->high, w->d * sizeof(float));
}

/* high = the maximum with keys [j, j + keys); how far the keys after the first
 * raise it. */
static float look(const struct work *w, size_t j, size_t keys)
{
	const struct kern *kern = w->c->kern;
	const float *k = (const float *)w->c->k + j * w->c->ldk;

	memcpy(w->high, w->sums.top, w->d * sizeof(float));
	kern->raise(w->high, k, w->d);
	memcpy(w->e, w->high, w->d * sizeof(float));
	for (size_t r = 1; r < keys; r++)
		kern->raise(w->high, k + r * w->c->ldk, w->d);
	kern->scale(w->e, -1, w->d);
	kern->axpy(w->e, 1, w->high, w->d);
	return kern->max(w->e, w->d);
}

/* Makes ready for a block of keys from j on, at most `limit`; returns how many. */
static size_t open_block(const struct work *w, size_t j, size_t limit)
{
	size_t keys = limit < BLOCK ? limit : BLOCK;

	close_block(w);
	while (look(w, j, keys) > MAX_RISE && keys > 1)
		keys /= 2;
	lift(w);
	return keys;
}

/* Key j of the block enters. */
static void absorb(const struct work *w, size_t j)
{
	const struct attn_call *c = w->c;

	ratio(w, w->e, (const float *)c->k + j * c->ldk, w->sums.top);
	c->kern->axpy(w->sums.new_den, 1, w->e, w->d);
	c->kern->mul(w->e, w->e, (const float *)c->v + j * c->ldv, w->d);
	c->kern->axpy(w->sums.new_num, 1, w->e, w->d);
	count(w, 3 * w->d);
}

static void emit(const struct work *w, size_t i, bool empty)
{
	const struct attn_call *c = w->c;
	const struct kern *kern = c->kern;
	float *out = (float *)c->out + i * c->ldo, *by = w->e, *den = w->high;

	if (empty) {
		memset(out, 0, w->d * sizeof *out);
		return;
	}
	/* num / (den (1 + e^-q)) */
	memcpy(by, (const float *)c->q + i * c->ldq, w->d * sizeof *by);
	kern->scale(by, -1, w->d);
	kern->exp_shift(by, by, 0, w->d);
	kern->relu(by, by, 1, 1, w->d);
	memcpy(den, w->sums.den, w->d * sizeof *den);
	kern->axpy(den, 1, w->sums.new_den, w->d);
	kern->mul(by, by, den, w->d);
	memcpy(out, w->sums.num, w->d * sizeof *out);
	kern->axpy(out, 1, w->sums.new_num, w->d);
	kern->div(out, out, by, w->d);
	count(w, 3 * w->d);
}

static void absorb_range(const struct work *w, size_t j0, size_t j1)
{
	for (size_t j = j0, keys; j < j1; j += keys) {
		keys = open_block(w, j, j1 - j);
		for (size_t r = 0; r < keys; r++)
			absorb(w, j + r);
	}
	close_block(w);
}

/* Takes up the sums of other keys, block closed. */
static void combine(const struct work *w, struct sums other)
{
	const struct kern *kern = w->c->kern;

	memcpy(w->high, w->sums.top, w->d * sizeof(float));
	kern->raise(w->high, other.top, w->d);
	lift(w);
	ratio(w, w->e, other.top, w->sums.top);
	kern->mul(w->high, w->e, other.num, w->d);
	kern->axpy(w->sums.num, 1, w->high, w->d);
	kern->mul(w->high, w->e, other.den, w->d);
	kern->axpy(w->sums.den, 1, w->high, w->d);
}

static void causal_range(const struct work *w, size_t i0, size_t i1)
{
	const struct attn_shape *s = w->c->shape;

	for (size_t i = i0, keys; i < i1; i += keys) {
		size_t seen = tile_visible(s, i);
		keys = 1;
		if (seen == 0) {
			emit(w, i, true);
			continue;
		}
		/* From here on each query adds one key, the first is seen - 1. */
		keys = open_block(w, seen - 1, i1 - i);
		for (size_t r = 0; r < keys; r++) {
			absorb(w, seen - 1 + r);
			emit(w, i + r, false);
		}
	}
}

/* Each rank owns a stretch of queries and of keys: all of an equal share, or
 * those that its queries see first. It sums its keys, then starts from the
 * sums of the ranks before it, or of all. */
static void forward(const struct attn_call *c, struct attn_team *team)
{
	const struct attn_shape *s = c->shape;
	size_t rank = team->rank, size = team->size, ld = work_padded(s->d);
	size_t i0 = s->n_q * rank / size, i1 = s->n_q * (rank + 1) / size;
	/* Keys before the first that query i adds. */
	size_t rows = s->n_q < s->n_k ? s->n_q : s->n_k, hidden = s->n_q - rows, old = s->n_k - rows;
	size_t j0 = !s->causal ? s->n_k * rank / size : rank == 0 ? 0 : old + (i0 > hidden ? i0 - hidden : 0);
	size_t j1 = !s->causal ? s->n_k * (rank + 1) / size : old + (i1 > hidden ? i1 - hidden : 0);
	float *shared = c->shared, *scratch = c->scratch;
	struct work w = { c, s->d, ld, sums_at(shared + rank * SUMS * ld, ld), scratch + SUMS * ld,
		          scratch + (SUMS + 1) * ld };

	reset(&w);
	if (!s->causal || rank + 1 < size)
		absorb_range(&w, j0, j1);
	attn_barrier(team);
	w.sums = sums_at(scratch, ld);
	reset(&w);
	for (size_t r = 0; r < (s->causal ? rank : size); r++)
		combine(&w, sums_at(shared + r * SUMS * ld, ld));
	if (s->causal) {
		if (rank == 0)
			absorb_range(&w, 0, old);
		causal_range(&w, i0, i1);
		return;
	}
	for (size_t i = i0; i < i1; i++)
		emit(&w, i, s->n_k == 0);
}

static const char *plan(const struct attn_shape *s, const double *arg, size_t ranks,
                        struct attn_plan *p)
{
	size_t rows = s->causal && s->n_k < s->n_q ? s->n_k : s->n_q;

	(void)arg;
	if (s->d != s->d_v)
		return "weights belong to channels: needs d_v = d";
	p->shared = SUMS * ranks * work_padded(s->d) * sizeof(float);
	p->scratch = (SUMS + 2) * work_padded(s->d) * sizeof(float);
	p->flops_useful = 3 * (double)((s->n_k > 0 ? rows : 0) + s->n_k) * (double)s->d;
	p->flops_executed = p->flops_useful;
	p->n_exp = (double)(rows + s->n_k) * (double)s->d;
	p->pairs = work_visible_pairs(s);
	p->bytes = work_io_bytes(s);
	return NULL;
}

/* ---- decoding: the sums are the past ---- */

static const char *decode_plan(const struct attn_decode *slot, const struct attn_shape *s, const double *arg,
                               size_t queries, size_t ranks, struct attn_decode_plan *p)
{
	size_t ld = work_padded(s->d);
	double d = (double)s->d, rows = (double)queries;

	(void)slot;
	(void)arg;
	(void)ranks;
	p->past = p->changed = SUMS * ld * sizeof(float);
	p->step.scratch = 2 * ld * sizeof(float);
	p->step.flops_useful = p->step.flops_executed = 3 * (rows + 1) * d;
	p->step.n_exp = (rows + 1) * d;
	p->step.pairs = rows * (double)s->n_k;
	p->step.bytes = 2 * (double)p->past + cache_io_bytes(s, queries);
	return NULL;
}

static struct attn_call call_of(const struct attn_decode_call *c)
{
	return (struct attn_call){
		.shape = c->shape, .kern = c->kern, .q = c->q, .k = c->k, .v = c->v, .out = c->out, .ldq = c->ldq,
		.ldk = c->ldk, .ldv = c->ldv, .ldo = c->ldo, .stats = c->stats,
	};
}

static struct work past_of(const struct attn_decode_call *c, const struct attn_call *call)
{
	size_t ld = work_padded(c->shape->d);
	float *scratch = c->scratch;

	return (struct work){ call, c->shape->d, ld, sums_at(c->past, ld), scratch, scratch + ld };
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

	absorb_range(&w, 0, c->tokens);
}

static void decode_step(const struct attn_decode_call *c, struct attn_team *team)
{
	const struct attn_call call = call_of(c);
	struct work w = past_of(c, &call);

	(void)team;
	open_block(&w, 0, 1);
	absorb(&w, 0);
	for (size_t r = 0; r < c->queries; r++)
		emit(&w, r, false);
}

static const struct attn_decode decode = {
	.keeps = "sums: 3 d",
	.shares = true,
	.plan = decode_plan,
	.start = decode_start,
	.append = decode_append,
	.step = decode_step,
};

const struct attn_variant attn_aft_simple = {
	.abi = ATTN_ABI,
	.name = "aft-simple",
	.family = "linear",
	.title = "attention free transformer, simple",
	.paper = "Zhai et al. 2021, arXiv 2105.14103",
	.formula = "O_t = sigmoid(q_t) (.) sum_j e^(k_j) (.) v_j / sum_j e^(k_j)",
	.complexity = "n d",
	.target = "its own weights; no argument makes them softmax",
	.summary = "One weight a channel and key, the same for every query; needs d_v = d. Not an "
	           "estimate of softmax.",
	.flags = ATTN_CAUSAL | ATTN_BIDIRECTIONAL | ATTN_CROSS | ATTN_PARALLEL | ATTN_QPERM |
	         ATTN_KPERM | ATTN_KSHIFT,
	.impl_bound = 5e-6f,
	.plan = plan,
	.forward = forward,
	.decode = &decode,
	.oracle = oracle_aft_simple,
};
