/* SPDX-License-Identifier: BSD-3-Clause
 *
 * uniform: a control, the mean of the visible values.
 *
 *     O_i = (1 / c_i) sum_{j < c_i} v_j,  c_i the number of keys that query i sees
 *
 * Time n d_v. What attention gives when it does not attend: an error above that
 * of this row is worse than no weights at all. Values are added in blocks, whose
 * sums are then added, so that rounding grows with the number of blocks.
 */
#include "../engine/tile.h"
#include "../engine/work.h"
#include "../oracle/oracle.h"

#include <string.h>

enum { BLOCK = 64 };

static const char *plan(const struct attn_shape *s, const double *arg, size_t ranks,
                        struct attn_plan *p)
{
	(void)arg;
	p->shared = ranks * work_padded(s->d_v) * sizeof(float);
	p->scratch = 2 * work_padded(s->d_v) * sizeof(float);
	p->flops_useful = (double)(s->n_q + s->n_k) * (double)s->d_v; /* sums, divisions */
	p->flops_executed = p->flops_useful + (s->causal && ranks > 1 ? (double)(s->n_k * s->d_v) : 0);
	p->pairs = work_visible_pairs(s);
	p->bytes = work_io_bytes(s);
	return NULL;
}

/* The sum of the first `keys` values of a stretch: whole blocks, and the rest. */
struct sum {
	float *whole, *rest;
	size_t in_rest;
};

static void sum_reset(struct sum *sum, size_t d_v)
{
	memset(sum->whole, 0, d_v * sizeof(float));
	memset(sum->rest, 0, d_v * sizeof(float));
	sum->in_rest = 0;
}

static void close_block(const struct attn_call *c, struct sum *sum)
{
	c->kern->axpy(sum->whole, 1, sum->rest, c->shape->d_v);
	memset(sum->rest, 0, c->shape->d_v * sizeof(float));
	sum->in_rest = 0;
}

static void add(const struct attn_call *c, struct sum *sum, size_t j0, size_t j1)
{
	size_t d_v = c->shape->d_v;

	for (size_t j = j0; j < j1; j++) {
		c->kern->axpy(sum->rest, 1, (const float *)c->v + j * c->ldv, d_v);
		if (++sum->in_rest == BLOCK)
			close_block(c, sum);
	}
	if (c->stats && j1 > j0)
		c->stats->flops_executed += (double)((j1 - j0) * d_v);
}

/* Keys seen by the queries before i. */
static size_t seen_before(const struct attn_shape *s, size_t i)
{
	return i == 0 ? 0 : tile_visible(s, i - 1);
}

static void store(const struct attn_call *c, const struct sum *sum, size_t i, size_t keys)
{
	size_t d_v = c->shape->d_v;
	float *out = (float *)c->out + i * c->ldo;

	memcpy(out, sum->whole, d_v * sizeof *out);
	c->kern->axpy(out, 1, sum->rest, d_v);
	c->kern->scale(out, keys ? 1 / (float)keys : 0, d_v);
	if (c->stats)
		c->stats->flops_executed += (double)d_v;
}

/* Each rank owns a stretch of queries, and of the keys: a share of all, or those
 * that its queries see first. It adds up its keys, then starts from the sums of
 * the ranks before it, or of all. */
static void forward(const struct attn_call *c, struct attn_team *team)
{
	const struct attn_shape *s = c->shape;
	size_t size = team->size, rank = team->rank, ld = work_padded(s->d_v);
	size_t i0 = s->n_q * rank / size, i1 = s->n_q * (rank + 1) / size;
	size_t j0 = s->causal ? seen_before(s, i0) : s->n_k * rank / size;
	size_t j1 = s->causal ? seen_before(s, i1) : s->n_k * (rank + 1) / size;
	float *shared = c->shared, *scratch = c->scratch;
	struct sum sum = { shared + rank * ld, scratch, 0 };

	sum_reset(&sum, s->d_v);
	if (!s->causal || size > 1)
		add(c, &sum, j0, j1);
	close_block(c, &sum);
	attn_barrier(team);
	sum.whole = scratch + ld;
	sum_reset(&sum, s->d_v);
	for (size_t r = 0; r < (s->causal ? rank : size); r++)
		c->kern->axpy(sum.whole, 1, shared + r * ld, s->d_v);
	for (size_t i = i0; i < i1; i++) {
		if (s->causal)
			add(c, &sum, seen_before(s, i), tile_visible(s, i));
		store(c, &sum, i, tile_visible(s, i));
	}
}

/* ---- decoding: the running sum ---- */

static const char *decode_plan(const struct attn_decode *slot, const struct attn_shape *s, const double *arg,
                               size_t queries, size_t ranks, struct attn_decode_plan *p)
{
	(void)slot;
	(void)arg;
	(void)ranks;
	p->past = p->changed = 2 * work_padded(s->d_v) * sizeof(float);
	p->step.flops_useful = p->step.flops_executed = (double)((1 + queries) * s->d_v);
	p->step.pairs = (double)queries * (double)s->n_k;
	p->step.bytes = 2 * (double)p->past + (double)((1 + queries) * s->d_v * sizeof(float));
	return NULL;
}

static struct sum past_of(const struct attn_decode_call *c)
{
	float *past = c->past;

	return (struct sum){ past, past + work_padded(c->shape->d_v), c->length % BLOCK };
}

static void decode_start(const struct attn_decode_call *c)
{
	struct sum sum = past_of(c);

	sum_reset(&sum, c->shape->d_v);
}

static void decode_append(const struct attn_decode_call *c)
{
	const struct attn_call call = { .shape = c->shape, .kern = c->kern, .v = c->v, .ldv = c->ldv, .stats = c->stats };
	struct sum sum = past_of(c);

	add(&call, &sum, 0, c->tokens);
}

static void decode_step(const struct attn_decode_call *c, struct attn_team *team)
{
	const struct attn_call call = { .shape = c->shape, .kern = c->kern, .out = c->out, .ldo = c->ldo, .stats = c->stats };
	struct sum sum = past_of(c);

	(void)team;
	decode_append(c);
	for (size_t r = 0; r < c->queries; r++)
		store(&call, &sum, r, c->length + 1);
}

static const struct attn_decode decode = {
	.keeps = "sum: d_v",
	.shares = true,
	.plan = decode_plan,
	.start = decode_start,
	.append = decode_append,
	.step = decode_step,
};

const struct attn_variant attn_uniform = {
	.abi = ATTN_ABI,
	.name = "uniform",
	.family = "control",
	.title = "the mean of the visible values",
	.paper = "none: a control",
	.formula = "O_i = mean of v_j over visible j",
	.complexity = "n d",
	.target = "softmax attention as logits go to 0",
	.summary = "The control of every error column: a variant that is not better does not attend. "
	           "Queries and keys are not read.",
	.flags = ATTN_CAUSAL | ATTN_BIDIRECTIONAL | ATTN_CROSS | ATTN_PARALLEL | ATTN_ROWSUM |
	         ATTN_NONNEG | ATTN_QPERM | ATTN_KPERM | ATTN_KSHIFT | ATTN_QSCALE | ATTN_KSCALE,
	.impl_bound = 2e-6f,
	.plan = plan,
	.forward = forward,
	.decode = &decode,
	.oracle = oracle_uniform,
};
