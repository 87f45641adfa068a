/* SPDX-License-Identifier: BSD-3-Clause
 *
 * null: a control, row i of the output is row i + n_k - n_q of V.
 *
 * Time n d_v: what the harness, the call and one pass over the output cost. A
 * time is the variant's own only where it is far above this one. Rows are
 * aligned at the bottom right, as causal masks are; a row without a value is 0.
 */
#include "../engine/work.h"
#include "../oracle/oracle.h"

#include <string.h>

static const char *plan(const struct attn_shape *s, const double *arg, size_t ranks,
                        struct attn_plan *p)
{
	size_t rows = s->n_q < s->n_k ? s->n_q : s->n_k;

	(void)arg;
	(void)ranks;
	p->pairs = (double)rows;
	p->bytes = (double)((rows + s->n_q) * s->d_v * sizeof(float));
	return NULL;
}

static void forward(const struct attn_call *c, struct attn_team *team)
{
	const struct attn_shape *s = c->shape;
	size_t end = s->n_q * (team->rank + 1) / team->size, bytes = s->d_v * sizeof(float);

	for (size_t i = s->n_q * team->rank / team->size; i < end; i++) {
		float *out = (float *)c->out + i * c->ldo;
		if (i + s->n_k < s->n_q)
			memset(out, 0, bytes);
		else
			memcpy(out, (const float *)c->v + (i + s->n_k - s->n_q) * c->ldv, bytes);
	}
}

static const char *decode_plan(const struct attn_decode *slot, const struct attn_shape *s, const double *arg,
                               size_t queries, size_t ranks, struct attn_decode_plan *p)
{
	(void)slot;
	(void)arg;
	(void)ranks;
	p->step.pairs = (double)queries;
	p->step.bytes = (double)((1 + queries) * s->d_v * sizeof(float));
	return NULL;
}

static void decode_append(const struct attn_decode_call *c)
{
	(void)c;
}

static void decode_step(const struct attn_decode_call *c, struct attn_team *team)
{
	(void)team;
	for (size_t r = 0; r < c->queries; r++)
		memcpy((float *)c->out + r * c->ldo, c->v, c->shape->d_v * sizeof(float));
}

static const struct attn_decode decode = {
	.keeps = "nothing",
	.shares = true,
	.plan = decode_plan,
	.append = decode_append,
	.step = decode_step,
};

const struct attn_variant attn_null = {
	.abi = ATTN_ABI,
	.name = "null",
	.family = "control",
	.title = "a copy of V",
	.paper = "none: a control",
	.formula = "O_i = v_(i + n_k - n_q)",
	.complexity = "n d",
	.target = "nothing: a copy of the values",
	.summary = "The cost of a call that computes nothing. Queries and keys are not read.",
	.flags = ATTN_CAUSAL | ATTN_BIDIRECTIONAL | ATTN_CROSS | ATTN_PARALLEL | ATTN_ROWSUM |
	         ATTN_NONNEG | ATTN_KSHIFT | ATTN_QSCALE | ATTN_KSCALE,
	.impl_bound = 1e-7f,
	.plan = plan,
	.forward = forward,
	.decode = &decode,
	.oracle = oracle_null,
};
