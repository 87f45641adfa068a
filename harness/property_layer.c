/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The properties of a whole layer. */
#include "property.h"

#include "finding.h"
#include "layer.h"

#include <string.h>

enum { HEADS = 4, KV_HEADS = 2, BATCH = 2, N = 67, WIDTH = 16 };

static void copy_head(const struct layer *from, const struct layer *to, size_t g)
{
	size_t n_q = layer_sequence(to, g)->n_q, n_k = layer_sequence(to, g)->shape.n_k;
	size_t channel = layer_element(&to->cell), d = to->cell.d * channel, d_v = to->cell.d_v * channel;

	memcpy(layer_q(to, g, 0), layer_q(from, g, 0), n_q * d);
	memcpy(layer_k(to, g, 0), layer_k(from, g, 0), n_k * d);
	memcpy(layer_v(to, g, 0), layer_v(from, g, 0), n_k * d_v);
}

static void normal(const struct subject *s, const struct layer *l, void *to, size_t n, uint64_t stream)
{
	float x[N * WIDTH];

	attn_random_normals(s->seed, stream, 0, n, x);
	attn_narrow(s->kern, l->cell.type, to, x, n);
}

/* Head g, as head `number` of the streams of normal numbers. */
static void fill_head(const struct subject *s, const struct layer *l, size_t g, size_t number)
{
	size_t n_q = layer_sequence(l, g)->n_q * WIDTH, n_k = layer_sequence(l, g)->shape.n_k * WIDTH;

	normal(s, l, layer_q(l, g, 0), n_q, 3 * number);
	normal(s, l, layer_k(l, g, 0), n_k, subject_has(s, ATTN_TIED) ? 3 * number : 3 * number + 1);
	normal(s, l, layer_v(l, g, 0), n_k, 3 * number + 2);
}

/* Runs the cell on the heads of `from`, or on normal ones from number `first` on, with NaN
 * behind them. The layer stays; arena too. */
static bool run_layer(const struct subject *s, const struct cell *cell, const struct layer *from, size_t first,
                      struct layer *layer, struct arena *arena, const char **why)
{
	struct layer_plan plan;

	*why = layer_plan(cell, &plan);
	if (*why)
		return false;
	if (!arena_create(arena, layer_room(&plan, cell)) ||
	    !layer_create(layer, cell, &plan, s->kern, s->teams[cell->threads], arena)) {
		*why = "no memory";
		arena_destroy(arena);
		return false;
	}
	memset(layer->q, 0xff, plan.q);
	memset(layer->k, 0xff, plan.k);
	memset(layer->v, 0xff, plan.v);
	for (size_t g = 0; g < plan.total; g++) {
		if (from)
			copy_head(from, layer, g);
		else
			fill_head(s, layer, g, first + g);
	}
	layer_each_work(layer, arena_poison);
	arena_poison(arena, layer->out);
	layer_prepare(layer);
	layer_run(layer);
	return true;
}

static bool same_output(const struct layer *a, size_t g, const struct layer *b, size_t h)
{
	return !memcmp(layer_out(a, g, 0), layer_out(b, h, 0),
	               layer_sequence(b, h)->n_q * b->cell.d_v * layer_element(&b->cell));
}

static struct finding compare_grouped(const struct subject *s, const struct cell *cell)
{
	struct attn_shape shape = cell_shape(cell, 0);
	struct finding f = finding_pass();
	struct cell own = *cell;
	struct layer shared, copied;
	struct arena arena, other;
	const char *why;

	own.kv_heads = cell->heads;
	if (!run_layer(s, cell, NULL, 0, &shared, &arena, &why))
		return finding_none(why);
	if (!run_layer(s, &own, &shared, 0, &copied, &other, &why)) {
		arena_destroy(&arena);
		return finding_none(why);
	}
	for (size_t g = 0; g < shared.plan.total && f.verdict == VERDICT_PASS; g++)
		if (!same_output(&shared, g, &copied, g))
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
			             .n_q = N, .n_k = N, .d = WIDTH, .d_v = WIDTH, .causal = causal, .threads = 3,
			             .seed = s->seed };
		if (!subject_has(s, causal ? ATTN_CAUSAL : ATTN_BIDIRECTIONAL))
			continue;
		memcpy(cell.arg, s->arg, sizeof cell.arg);
		struct finding here = compare_grouped(s, &cell);
		if (here.verdict != VERDICT_NONE || f.verdict == VERDICT_NONE)
			f = here;
		if (f.verdict == VERDICT_FAIL)
			break;
	}
	return f;
}

/* ---- P19 ---- */

/* Sequence b of a layer, which has run, and the same sequence alone on one thread. */
static struct finding compare_alone(const struct subject *s, const struct layer *l, size_t b)
{
	size_t first = b * l->cell.heads;
	struct attn_shape shape = layer_shape(l, first);
	struct finding f = finding_pass();
	struct cell cell = l->cell;
	struct layer alone;
	struct arena arena;
	const char *why;

	cell.lengths = LENGTHS_FULL;
	cell.batch = cell.threads = 1;
	cell.n_q = shape.n_q;
	cell.n_k = shape.n_k;
	if (!run_layer(s, &cell, NULL, first, &alone, &arena, &why))
		return finding_none(why);
	for (size_t h = 0; h < cell.heads && f.verdict == VERDICT_PASS; h++)
		if (!same_output(l, first + h, &alone, h))
			f = finding_fails(&shape, "%s, %s: head %zu of sequence %zu differs from the sequence alone",
			                  cell_lengths_names[l->cell.lengths], cell_type_names[cell.type], h, b);
	arena_destroy(&arena);
	return f;
}

/* Rows of the output that are padding. */
static struct finding padding_is_zero(const struct layer *l)
{
	static const char zero[WIDTH * sizeof(float)];

	for (size_t g = 0; g < l->plan.total && l->cell.lengths == LENGTHS_PADDED; g++) {
		struct attn_shape shape = layer_shape(l, g);
		for (size_t i = shape.n_q; i < l->cell.n_q; i++)
			if (memcmp(layer_out(l, g, i), zero, WIDTH * layer_element(&l->cell)))
				return finding_fails(&shape, "row %zu is padding and not zero", i);
	}
	return finding_pass();
}

static struct finding check_ragged(const struct subject *s, const struct cell *cell)
{
	struct finding f;
	struct layer layer;
	struct arena arena;
	const char *why;

	if (!run_layer(s, cell, NULL, 0, &layer, &arena, &why))
		return finding_none(why);
	f = padding_is_zero(&layer);
	for (size_t b = 0; b < cell->batch && f.verdict == VERDICT_PASS; b++)
		f = compare_alone(s, &layer, b);
	if (f.verdict == VERDICT_PASS && !arena_check(&arena))
		f = finding_fail(arena.message);
	arena_destroy(&arena);
	return f;
}

struct finding property_ragged(const struct subject *s)
{
	static const struct {
		enum cell_lengths lengths;
		enum attn_type type;
		size_t n_k;
	} cases[] = {
		{ LENGTHS_PADDED, ATTN_F32, N }, { LENGTHS_PACKED, ATTN_F32, N }, { LENGTHS_PACKED, ATTN_BF16, N },
		{ LENGTHS_PADDED, ATTN_F32, 29 }, { LENGTHS_PACKED, ATTN_F32, 29 },
	};
	struct finding f = finding_none("has no such form");

	for (size_t i = 0; i < 2 * sizeof cases / sizeof *cases; i++) {
		bool causal = i % 2;
		/* As many units a thread as there are: each on one thread, as the sequence alone. */
		struct cell cell = { .variant = s->variant, .lengths = cases[i / 2].lengths, .batch = 3, .heads = HEADS,
			             .kv_heads = subject_has(s, ATTN_TIED) ? HEADS : KV_HEADS, .n_q = N,
			             .n_k = cases[i / 2].n_k, .d = WIDTH, .d_v = WIDTH, .causal = causal,
			             .type = cases[i / 2].type, .threads = 3, .seed = s->seed };
		if (!subject_has(s, causal ? ATTN_CAUSAL : ATTN_BIDIRECTIONAL) ||
		    (cell.n_k != N && (!subject_has(s, ATTN_CROSS) || subject_has(s, ATTN_TIED))))
			continue;
		memcpy(cell.arg, s->arg, sizeof cell.arg);
		struct finding here = check_ragged(s, &cell);
		if (here.verdict != VERDICT_NONE || f.verdict == VERDICT_NONE)
			f = here;
		if (f.verdict == VERDICT_FAIL)
			break;
	}
	return f;
}
