/* SPDX-License-Identifier: BSD-3-Clause
 *
 * From the text of the axes to cells. */
#include "cross.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* 2^53: whole numbers up to here are exact as doubles. */
static const double EXACT_MAX = 9007199254740991.0;
enum { LENGTH_MAX = 1 << 30, WIDTH_MAX = 1 << 16, COUNT_MAX = 1 << 20, THREADS_MAX = 256 };

static const char *const flag_names[] = { "0", "1", NULL };

struct numeric_axis {
	enum axis_id axis;
	struct axis_rule rule;
	const char *def; /* NULL: none */
};

static const struct numeric_axis numeric[] = {
	{ AXIS_MODE, { 0, 1, true, cell_mode_names }, "forward" },
	{ AXIS_N, { 1, LENGTH_MAX, true, NULL }, "256..4096:x2" },
	{ AXIS_N_Q, { 1, LENGTH_MAX, true, NULL }, NULL },
	{ AXIS_N_K, { 1, LENGTH_MAX, true, NULL }, NULL },
	{ AXIS_CONTEXT, { 1, LENGTH_MAX, true, NULL }, NULL },
	{ AXIS_D, { 1, WIDTH_MAX, true, NULL }, "64" },
	{ AXIS_D_V, { 1, WIDTH_MAX, true, NULL }, NULL },
	{ AXIS_HEADS, { 1, COUNT_MAX, true, NULL }, "1" },
	{ AXIS_KV_HEADS, { 1, COUNT_MAX, true, NULL }, NULL },
	{ AXIS_BATCH, { 1, COUNT_MAX, true, NULL }, "1" },
	{ AXIS_LENGTHS, { 0, 2, true, cell_lengths_names }, "full" },
	{ AXIS_CAUSAL, { 0, 1, true, flag_names }, "0" },
	{ AXIS_DTYPE, { 0, 2, true, cell_type_names }, "f32" },
	{ AXIS_THREADS, { 1, THREADS_MAX, true, NULL }, "1" },
	{ AXIS_CACHE, { 0, 1, true, cell_cache_names }, "warm" },
	{ AXIS_SEED, { 0, EXACT_MAX, true, NULL }, "1" },
	{ AXIS_SCALE, { 1e-6, 1e6, false, NULL }, NULL },
};
enum { N_NUMERIC = sizeof numeric / sizeof *numeric };

const char *axis_default(enum axis_id axis)
{
	for (size_t i = 0; i < N_NUMERIC; i++)
		if (numeric[i].axis == axis)
			return numeric[i].def;
	return axis == AXIS_ISA ? "auto" : axis == AXIS_DATA ? "gauss:sigma=1" : NULL;
}

/* The parsed axes of a group. */
struct axes {
	struct numbers number[AXIS_COUNT];
	struct variant_choices variants;
	struct names isas, inputs;
};

static void axes_free(struct axes *axes)
{
	for (size_t i = 0; i < AXIS_COUNT; i++)
		free(axes->number[i].v);
	free(axes->variants.v);
	names_free(&axes->isas);
	names_free(&axes->inputs);
}

typedef bool parse_fn(const void *rule, const char *text, const struct where *where, void *out,
                      char *error);

static bool parse_numbers(const void *rule, const char *text, const struct where *where, void *out,
                          char *error)
{
	return numbers_parse(rule, ',', text, where, 0, out, error);
}

static bool parse_variants(const void *rule, const char *text, const struct where *where, void *out,
                           char *error)
{
	(void)rule;
	return variants_parse(text, where, out, error);
}

static bool parse_isas(const void *rule, const char *text, const struct where *where, void *out,
                       char *error)
{
	(void)rule;
	return isas_parse(text, where, out, error);
}

static bool parse_inputs(const void *rule, const char *text, const struct where *where, void *out,
                         char *error)
{
	(void)rule;
	return inputs_parse(text, where, out, error);
}

/* Each piece of the axis that counts, or def; NULL: nothing then. */
static bool parse_pieces(const struct config *config, const struct group *group, enum axis_id axis,
                         const char *def, parse_fn *parse, const void *rule, void *out, char *error)
{
	const struct axis_text *text = config_axis(config, group, axis);
	const struct where built_in = { .name = "default" };

	if (!text)
		return !def || parse(rule, def, &built_in, out, error);
	for (size_t i = 0; i < text->n; i++)
		if (!parse(rule, text->piece[i].text, &text->piece[i].where, out, error))
			return false;
	return true;
}

static bool parse_axis(const struct config *config, const struct group *group, enum axis_id axis,
                       parse_fn *parse, const void *rule, void *out, char *error)
{
	return parse_pieces(config, group, axis, axis_default(axis), parse, rule, out, error);
}

bool cross_variants(const struct config *config, const char *otherwise, struct variant_choices *out,
                    char *error)
{
	return parse_pieces(config, NULL, AXIS_VARIANT, otherwise, parse_variants, NULL, out, error);
}

bool cross_threads(const struct config *config, struct numbers *out, char *error)
{
	for (size_t i = 0; i < N_NUMERIC; i++)
		if (numeric[i].axis == AXIS_THREADS)
			return parse_axis(config, NULL, AXIS_THREADS, parse_numbers, &numeric[i].rule, out, error);
	return false;
}

bool cross_isas(const struct config *config, const char *otherwise, struct names *out, char *error)
{
	return parse_pieces(config, NULL, AXIS_ISA, otherwise, parse_isas, NULL, out, error);
}

static bool parse_axes(const struct config *config, const struct group *group, struct axes *axes,
                       char *error)
{
	for (size_t i = 0; i < N_NUMERIC; i++)
		if (!parse_axis(config, group, numeric[i].axis, parse_numbers,
		                &numeric[i].rule, &axes->number[numeric[i].axis], error))
			return false;
	if (!config_axis(config, group, AXIS_VARIANT)) {
		const char *in = group ? group->name : NULL;
		return fail(error, "%s%s%s no variant is named: give %s, for example full,flash or all",
		            in ? "section [" : "", in ? in : "", in ? "]:" : "nothing to run:",
		            config->sweep_path ? "the key variant" : "--variant");
	}
	return parse_axis(config, group, AXIS_VARIANT, parse_variants, NULL, &axes->variants, error) &&
	       parse_axis(config, group, AXIS_ISA, parse_isas, NULL, &axes->isas, error) &&
	       parse_axis(config, group, AXIS_DATA, parse_inputs, NULL, &axes->inputs, error);
}

/* Counts through all combinations: digit i runs below size[i], the last one
 * fastest. */
static bool next_combination(size_t *digit, const size_t *size, size_t n)
{
	while (n > 0) {
		if (++digit[n - 1] < size[n - 1])
			return true;
		digit[--n] = 0;
	}
	return false;
}

/* The slowest axis first. Lengths come late, so that a plan reads as tables
 * over n; an axis without values has one combination, "as usual". */
enum { BY_BATCH, BY_LENGTHS, BY_HEADS, BY_KV_HEADS, BY_D, BY_D_V, BY_SCALE, BY_CAUSAL, BY_DTYPE, BY_THREADS, BY_CACHE,
       BY_INPUT, BY_SEED, BY_N_Q, BY_N_K, BY_ISA, BY_VARIANT, BY_COUNT };

static const enum axis_id axis_of[BY_COUNT] = {
	AXIS_BATCH, AXIS_LENGTHS, AXIS_HEADS, AXIS_KV_HEADS, AXIS_D, AXIS_D_V, AXIS_SCALE, AXIS_CAUSAL, AXIS_DTYPE, AXIS_THREADS,
	AXIS_CACHE, AXIS_DATA, AXIS_SEED, AXIS_N_Q, AXIS_N_K, AXIS_ISA, AXIS_VARIANT,
};

static double value(const struct axes *axes, size_t by, const size_t *digit, double otherwise)
{
	const struct numbers *numbers = &axes->number[axis_of[by]];

	return numbers->n ? numbers->v[digit[by]] : otherwise;
}

static void make_cell(const struct axes *axes, enum cell_mode mode, const size_t *digit, struct cell *cell)
{
	const struct variant_choice *choice = &axes->variants.v[digit[BY_VARIANT]];
	double n_q = value(axes, BY_N_Q, digit, 0), d = value(axes, BY_D, digit, 0);
	double heads = value(axes, BY_HEADS, digit, 1);

	*cell = (struct cell){
		.variant = choice->variant,
		.mode = mode,
		.lengths = (enum cell_lengths)value(axes, BY_LENGTHS, digit, LENGTHS_FULL),
		.batch = (size_t)value(axes, BY_BATCH, digit, 1),
		.heads = (size_t)heads,
		.kv_heads = (size_t)value(axes, BY_KV_HEADS, digit, heads),
		.n_q = (size_t)n_q,
		.n_k = (size_t)value(axes, BY_N_K, digit, n_q),
		.d = (size_t)d,
		.d_v = (size_t)value(axes, BY_D_V, digit, d),
		.causal = value(axes, BY_CAUSAL, digit, 0) != 0,
		.scale = (float)value(axes, BY_SCALE, digit, 0),
		.type = (enum attn_type)value(axes, BY_DTYPE, digit, 0),
		.threads = (unsigned)value(axes, BY_THREADS, digit, 1),
		.cache = (enum cache_mode)value(axes, BY_CACHE, digit, 0),
		.seed = (uint64_t)value(axes, BY_SEED, digit, 1),
	};
	memcpy(cell->arg, choice->arg, sizeof cell->arg);
	snprintf(cell->isa, sizeof cell->isa, "%s", axes->isas.v[digit[BY_ISA]]);
	snprintf(cell->input, sizeof cell->input, "%s", axes->inputs.v[digit[BY_INPUT]]);
	cell_identify(cell);
}

/* The lengths of a mode. Forward: n stands for both unless n-q or n-k says otherwise.
 * Decoding: one query, which is causal, and as many keys as context says, or n. */
static struct axes axes_of(const struct axes *all, enum cell_mode mode, bool n_given)
{
	static double one = 1;
	const struct numbers single = { .v = &one, .n = 1 }, *context = &all->number[AXIS_CONTEXT];
	struct axes axes = *all;
	struct numbers *n_q = &axes.number[AXIS_N_Q], *n_k = &axes.number[AXIS_N_K];

	if (mode == MODE_DECODE) {
		*n_q = axes.number[AXIS_CAUSAL] = single;
		*n_k = context->n ? *context : all->number[AXIS_N];
	} else if (n_q->n == 0) {
		*n_q = all->number[AXIS_N];
	} else if (n_k->n == 0 && n_given) {
		*n_k = all->number[AXIS_N];
	}
	return axes;
}

static bool cross_mode(const struct axes *axes, enum cell_mode mode, cross_fn *fn, void *user, char *error)
{
	size_t size[BY_COUNT], digit[BY_COUNT] = { 0 };
	struct cell cell;
	bool ok;

	for (size_t by = 0; by < BY_COUNT; by++) {
		size[by] = axes->number[axis_of[by]].n;
		size[by] += size[by] == 0;
	}
	size[BY_INPUT] = axes->inputs.n;
	size[BY_ISA] = axes->isas.n;
	size[BY_VARIANT] = axes->variants.n;
	do {
		make_cell(axes, mode, digit, &cell);
		ok = fn(user, &cell, error);
	} while (ok && next_combination(digit, size, BY_COUNT));
	return ok;
}

/* Axes that no mode asked for would be without effect. */
static bool check_modes(const struct config *config, const struct group *group, const struct axes *axes,
                        char *error)
{
	const struct numbers *modes = &axes->number[AXIS_MODE], *causal = &axes->number[AXIS_CAUSAL];
	bool forward = false, decode = false;

	for (size_t i = 0; i < modes->n; i++) {
		decode |= modes->v[i] == MODE_DECODE;
		forward |= modes->v[i] == MODE_FORWARD;
	}
	if (!decode && axes->number[AXIS_CONTEXT].n)
		return fail(error, "context is the length of a decode step: give --mode decode, or n for a forward pass");
	if (!forward && (axes->number[AXIS_N_Q].n || axes->number[AXIS_N_K].n))
		return fail(error, "a decode step has one query and context keys: leave n-q and n-k out");
	if (!forward && config_axis(config, group, AXIS_CAUSAL) && (causal->n != 1 || causal->v[0] != 1))
		return fail(error, "a decode step is causal: leave causal out, or give 1");
	return true;
}

bool cross_group(const struct config *config, const struct group *group, cross_fn *fn, void *user,
                 char *error)
{
	struct axes axes = { 0 };
	bool ok = parse_axes(config, group, &axes, error) && check_modes(config, group, &axes, error);
	bool n_given = config_axis(config, group, AXIS_N) != NULL;

	for (size_t i = 0; i < axes.number[AXIS_MODE].n && ok; i++) {
		enum cell_mode mode = (enum cell_mode)axes.number[AXIS_MODE].v[i];
		const struct axes lengths = axes_of(&axes, mode, n_given);
		ok = cross_mode(&lengths, mode, fn, user, error);
	}
	axes_free(&axes);
	return ok;
}
