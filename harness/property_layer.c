/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The properties of a whole layer. */
#include "property.h"

#include "finding.h"
#include "layer.h"

#include <string.h>

enum { HEADS = 4, KV_HEADS = 2, BATCH = 2, N = 67 };

static void normal(float *x, size_t n, uint64_t seed, uint64_t stream)
{
	attn_random_normals(seed, stream, 0, n, x);
}

/* Runs the cell on `from`'s heads, or on normal ones. The layer stays; arena too. */
static bool run_layer(const struct subject *s, const struct cell *cell, const struct layer *from,
                      struct layer *layer, struct arena *arena, const char **why)
{
	struct layer_plan plan;
	size_t n = N * cell->d;

	*why = layer_plan(cell, &plan);
	if (*why || !arena_create(arena, layer_room(&plan, cell)))
		return false;
	if (!layer_create(layer, cell, &plan, s->kern, s->teams[cell->threads], arena)) {
		*why = "no memory";
		arena_destroy(arena);
		return false;
	}
	for (size_t g = 0; g < plan.total; g++) {
		if (from) {
			memcpy(layer_q(layer, g, 0), layer_q(from, g, 0), n * sizeof(float));
			memcpy(layer_k(layer, g, 0), layer_k(from, g, 0), n * sizeof(float));
			memcpy(layer_v(layer, g, 0), layer_v(from, g, 0), n * sizeof(float));
		} else {
			normal(layer_q(layer, g, 0), n, s->seed, 3 * g);
			normal(layer_k(layer, g, 0), n, s->seed, 3 * g + 1);
			normal(layer_v(layer, g, 0), n, s->seed, 3 * g + 2);
		}
	}
	layer_prepare(layer);
	layer_run(layer);
	return true;
}

static struct finding compare(const struct subject *s, const struct cell *cell)
{
	struct attn_shape shape = cell_shape(cell, 0);
	struct finding f = finding_pass();
	struct cell own = *cell;
	struct layer shared, copied;
	struct arena arena, other;
	const char *why;

	own.kv_heads = cell->heads;
	if (!run_layer(s, cell, NULL, &shared, &arena, &why))
		return finding_none(why);
	if (!run_layer(s, &own, &shared, &copied, &other, &why)) {
		arena_destroy(&arena);
		return finding_none(why);
	}
	for (size_t g = 0; g < shared.plan.total && f.verdict == VERDICT_PASS; g++)
		if (memcmp(layer_out(&shared, g, 0), layer_out(&copied, g, 0), N * cell->d_v * sizeof(float)))
			f = finding_fails(&shape, "head %zu of a group differs from one with keys of its own", g);
	arena_destroy(&other);
	arena_destroy(&arena);
	return f;
}

struct finding property_grouped(const struct subject *s)
{
	struct finding f = finding_none("has no such form");

	if (subject_has(s, ATTN_TIED))
		return finding_none("takes its keys from the queries: they cannot be shared");
	for (int causal = 0; causal < 2; causal++) {
		struct cell cell = { .variant = s->variant, .batch = BATCH, .heads = HEADS, .kv_heads = KV_HEADS,
			             .n_q = N, .n_k = N, .d = 16, .d_v = 16, .causal = causal, .threads = 3,
			             .seed = s->seed };
		if (!subject_has(s, causal ? ATTN_CAUSAL : ATTN_BIDIRECTIONAL))
			continue;
		memcpy(cell.arg, s->arg, sizeof cell.arg);
		struct finding here = compare(s, &cell);
		if (here.verdict != VERDICT_NONE || f.verdict == VERDICT_NONE)
			f = here;
		if (f.verdict == VERDICT_FAIL)
			break;
	}
	return f;
}
