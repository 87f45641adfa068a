/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Refusals that hold for every variant, from its flags. */
#include "support.h"

#include <stdio.h>

#include "accuracy.h"
#include "engine.h"
#include "layer.h"

/* What the layer says, and of which sequence if not of the longest. */
static const char *plan_layer(const struct cell *c, struct layer_plan *plan, char *text, size_t size)
{
	const char *why = layer_plan(c, plan);

	if (!why || plan->sequence == 0)
		return why;
	struct attn_shape shape = cell_shape(c, plan->sequence * c->heads);
	snprintf(text, size, "sequence %zu, of %zu tokens: %s", plan->sequence, shape.n_k, why);
	return text;
}

static const char *check(const struct cell *c, struct layer_plan *plan)
{
	static char text[512];
	const struct attn_variant *v = c->variant;
	double arg[ATTN_MAX_PARAMS];
	const char *why;

	*plan = (struct layer_plan){ 0 };
	if (c->kv_heads < 1 || c->heads % c->kv_heads) {
		snprintf(text, sizeof text, "kv_heads must divide heads, and %zu does not divide %zu",
		         c->kv_heads, c->heads);
		return text;
	}
	if (c->batch < 1 || c->heads < 1 || c->n_q < 1 || c->n_k < 1 || c->d < 1 || c->d_v < 1)
		return "batch, heads, lengths and head sizes must be at least 1";
	if (c->threads < 1 || c->threads > TEAM_MAX)
		return "threads must be 1 to 256";
	bool broken, engine = engine_info(v) != NULL;
	const char *refusal = engine_refusal(v, c->arg, &broken);
	if (refusal)
		return refusal;
	layer_resolve(c, 0, arg);
	unsigned flags = attn_flags(v, arg), of_type[] = { ~0u, ATTN_BF16_OK, ATTN_F16_OK };
	if (c->isa[0] && !attn_kern(c->isa))
		snprintf(text, sizeof text, "this CPU or this build has no instruction set %s",
		         c->isa);
	else if (engine && c->isa[0] && attn_kern(c->isa) != attn_kern_best())
		snprintf(text, sizeof text, "%s chooses its instruction set itself: ask for auto", v->name);
	else if (engine && !(flags & of_type[c->type]))
		snprintf(text, sizeof text, "%s is not supported by %s", cell_type_names[c->type], v->name);
	else if (c->lengths != LENGTHS_FULL && engine)
		snprintf(text, sizeof text, "%s takes batches of one length: ask for full lengths", v->name);
	else if (c->lengths != LENGTHS_FULL && c->batch == 1)
		return "one sequence alone is never shorter than n: lengths need a batch of 2 or more";
	else if (c->kv_heads != c->heads && (flags & ATTN_TIED))
		snprintf(text, sizeof text, "%s takes its keys from the queries: they cannot be shared",
		         v->name);
	else if (!(flags & (c->causal ? ATTN_CAUSAL : ATTN_BIDIRECTIONAL))) {
		/* The variant itself may know why there is none. */
		if ((why = plan_layer(c, plan, text, sizeof text)))
			return why;
		snprintf(text, sizeof text, "%s has %s causal form", v->name, c->causal ? "no" : "only a");
	} else if (c->mode == MODE_FORWARD && c->n_q != c->n_k && !(flags & ATTN_CROSS))
		snprintf(text, sizeof text, "%s needs as many keys as queries, not %zu and %zu",
		         v->name, c->n_k, c->n_q);
	else if (c->mode == MODE_FORWARD && c->n_q != c->n_k && (flags & ATTN_TIED))
		snprintf(text, sizeof text, "%s takes its keys from the queries: n_k must be n_q",
		         v->name);
	else
		return plan_layer(c, plan, text, sizeof text);
	return text;
}

const char *cell_refusal(const struct cell *cell)
{
	struct layer_plan plan;

	return check(cell, &plan);
}

bool cell_predict(const struct cell *cell, struct cell_cost *cost, const char **why)
{
	struct layer_plan p;

	*cost = (struct cell_cost){ 0 };
	*why = check(cell, &p);
	if (*why)
		return false;
	size_t extra = accuracy_bytes(cell);
	*cost = (struct cell_cost){
		.io_bytes = p.call_io,
		.ws_bytes = p.work,
		.flops_useful = p.flops_useful,
		.flops_executed = p.flops_executed,
		.n_exp = p.n_exp,
		.pairs = p.pairs,
		.bytes = p.bytes,
	};
	if (__builtin_add_overflow(p.io, p.work, &cost->peak_bytes) ||
	    __builtin_add_overflow(cost->peak_bytes, extra, &cost->peak_bytes))
		cost->peak_bytes = SIZE_MAX;
	return true;
}

int64_t cell_state_bytes(const struct cell *cell)
{
	struct cell decode = *cell;
	struct layer_plan p;

	if (cell->mode == MODE_FORWARD && (!cell->causal || cell->n_q != cell->n_k || engine_info(cell->variant)))
		return -1;
	decode.mode = MODE_DECODE;
	decode.n_q = 1;
	return layer_plan(&decode, &p) ? -1 : (int64_t)p.kept;
}
