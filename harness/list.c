/* SPDX-License-Identifier: BSD-3-Clause
 *
 * `attnbench list`: what there is to run. */
#include "cell.h"
#include "columns.h"
#include "engine.h"
#include "grid.h"
#include "plugin.h"
#include "verbs.h"

#include "../datasets/data.h"

#include <stdio.h>
#include <string.h>

enum { DEFAULTS_MAX = 512 };

/* "m=256:ortho=1", as one would write them. */
static void defaults(const struct attn_variant *v, char out[DEFAULTS_MAX])
{
	char value[64];
	size_t at = 0;

	out[0] = '\0';
	for (size_t i = 0, n = cell_n_params(v); i < n && at < DEFAULTS_MAX; i++)
		at += (size_t)snprintf(out + at, DEFAULTS_MAX - at, "%s%s=%s", i ? ":" : "", v->params[i].name,
		                       cell_value(&v->params[i], v->params[i].def, value, sizeof value));
}

static const char *yes(bool flag)
{
	return flag ? "yes" : "no";
}

static bool decodes(const struct attn_variant *v)
{
	return v->decode && v->decode->step;
}

/* Why the variant, with its defaults, has no such form; NULL: it has it. */
static const char *refusal(const struct attn_variant *v, enum cell_mode mode, bool causal)
{
	struct cell cell = { .variant = v, .mode = mode, .heads = 1, .kv_heads = 1, .n_q = 64, .n_k = 64,
		             .d = 64, .d_v = 64, .causal = causal, .threads = 1 };
	struct attn_shape shape = cell_shape(&cell, 0);
	struct attn_decode_plan step;
	struct attn_plan plan;

	for (size_t i = 0, n = cell_n_params(v); i < n; i++)
		cell.arg[i] = v->params[i].def;
	if (v->resolve)
		v->resolve(&shape, cell.arg);
	return mode == MODE_DECODE ? attn_decode_plan(v, &shape, cell.arg, 1, 1, &step)
	                           : attn_plan(v, &shape, cell.arg, 1, &plan);
}

/* "bidirectional, causal, cross, decode": what it accepts. */
static void accepts(const struct attn_variant *v, char *out, size_t size)
{
	snprintf(out, size, "%s%s%s%s%s", v->flags & ATTN_BIDIRECTIONAL ? "bidirectional" : "",
	         (v->flags & ATTN_BIDIRECTIONAL) && (v->flags & ATTN_CAUSAL) ? ", " : "",
	         v->flags & ATTN_CAUSAL ? "causal" : "", v->flags & ATTN_CROSS ? ", cross" : "",
	         decodes(v) ? ", decode" : "");
}

static void variants_for_people(struct grid *grid)
{
	static const char *const names[] = { "variant", "family", "cost", "forms", "parameters", "paper" };
	char text[DEFAULTS_MAX], forms[64];

	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		grid_column(grid, names[i]);
	for (size_t i = 0; variant_at(i); i++) {
		const struct attn_variant *v = variant_at(i);
		defaults(v, text);
		accepts(v, forms, sizeof forms);
		grid_cell(grid, "%s", v->name);
		grid_cell(grid, "%s", v->family);
		grid_cell(grid, "%s", v->complexity ? v->complexity : "");
		grid_cell(grid, "%s", forms);
		grid_cell(grid, "%s", text);
		grid_cell(grid, "%s", v->paper ? v->paper : "");
	}
}

/* The catalogue of attention/README.md. */
static void catalogue(struct grid *grid)
{
	static const char *const names[] = { "variant", "family", "what it computes", "cost", "tends to",
		                             "causal", "keeps to decode", "parameters", "paper" };
	char text[DEFAULTS_MAX];

	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		grid_column(grid, names[i]);
	for (size_t i = 0; variant_at(i); i++) {
		const struct attn_variant *v = variant_at(i);
		bool causal = v->flags & ATTN_CAUSAL, other = v->flags & ATTN_BIDIRECTIONAL;
		defaults(v, text);
		grid_cell(grid, "%s", v->name);
		grid_cell(grid, "%s", v->family);
		grid_cell(grid, "`%s`", v->formula ? v->formula : "");
		grid_cell(grid, "`%s`", v->complexity ? v->complexity : "");
		grid_cell(grid, "%s", v->target ? v->target : "");
		grid_cell(grid, "%s", !causal ? "no" : v->flags & ATTN_LEAKS ? "leaks" : other ? "yes" : "only");
		grid_cell(grid, "%s", decodes(v) ? v->decode->keeps : "");
		grid_cell(grid, "%s", text);
		grid_cell(grid, "%s", v->paper ? v->paper : "");
	}
}

static void variants_for_programs(struct grid *grid)
{
	static const char *const names[] = { "variant", "family", "title", "params", "complexity", "exact",
		                             "causal", "bidirectional", "cross", "random", "parallel", "leaks",
		                             "paper", "formula", "summary", "plugin", "decode", "keeps", "target" };
	char text[DEFAULTS_MAX];

	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		grid_column(grid, names[i]);
	for (size_t i = 0; variant_at(i); i++) {
		const struct attn_variant *v = variant_at(i);
		static const unsigned flags[] = { ATTN_EXACT, ATTN_CAUSAL, ATTN_BIDIRECTIONAL, ATTN_CROSS,
			                          ATTN_RANDOM, ATTN_PARALLEL, ATTN_LEAKS };
		defaults(v, text);
		grid_cell(grid, "%s", v->name);
		grid_cell(grid, "%s", v->family);
		grid_cell(grid, "%s", v->title);
		grid_cell(grid, "%s", text);
		grid_cell(grid, "%s", v->complexity ? v->complexity : "");
		for (size_t k = 0; k < sizeof flags / sizeof *flags; k++)
			grid_cell(grid, "%d", (v->flags & flags[k]) != 0);
		grid_cell(grid, "%s", v->paper ? v->paper : "");
		grid_cell(grid, "%s", v->formula ? v->formula : "");
		grid_cell(grid, "%s", v->summary ? v->summary : "");
		grid_cell(grid, "%s", variant_plugin(v) ? variant_plugin(v) : "");
		grid_cell(grid, "%d", decodes(v));
		grid_cell(grid, "%s", decodes(v) ? v->decode->keeps : "");
		grid_cell(grid, "%s", v->target ? v->target : "");
	}
}

static void range(const struct attn_param *p, char *out, size_t size)
{
	char lo[64], hi[64];

	if (p->kind == ATTN_FLAG) {
		snprintf(out, size, "0 or 1");
	} else if (p->kind == ATTN_NAME) {
		size_t at = 0;
		out[0] = '\0';
		for (size_t i = 0; p->names[i] && at < size; i++)
			at += (size_t)snprintf(out + at, size - at, "%s%s", i ? ", " : "", p->names[i]);
	} else {
		snprintf(out, size, "%s to %s%s", cell_value(p, p->min, lo, sizeof lo),
		         cell_value(p, p->max, hi, sizeof hi), isnan(p->def) ? ", or auto" : "");
	}
}

static void field(struct text *out, const char *name, const char *value)
{
	if (value && *value)
		text_printf(out, "%-14s %s\n", name, value);
}

/* "yes", or "no: E mixes the future". */
static void form(struct text *out, const char *name, const struct attn_variant *v, enum cell_mode mode, bool causal)
{
	const char *why = refusal(v, mode, causal);

	text_printf(out, "%-14s %s%s\n", name, why ? "no: " : mode == MODE_DECODE ? "yes: keeps " : "yes",
	            why ? why : mode == MODE_DECODE ? v->decode->keeps : "");
}

static void parameters(const struct attn_variant *v, struct text *out)
{
	static const char *const names[] = { "parameter", "default", "range", "meaning" };
	struct grid grid = { 0 };
	char text[256], value[64];

	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		grid_column(&grid, names[i]);
	for (size_t i = 0, n = cell_n_params(v); i < n; i++) {
		const struct attn_param *p = &v->params[i];
		range(p, text, sizeof text);
		grid_cell(&grid, "%s", p->name);
		grid_cell(&grid, "%s", cell_value(p, p->def, value, sizeof value));
		grid_cell(&grid, "%s", text);
		grid_cell(&grid, "%s", p->help);
	}
	text_adds(out, "\n");
	grid_print(&grid, FORMAT_TEXT, out);
	grid_free(&grid);
}

/* Everything that is known of one variant. */
static void one_variant(const struct attn_variant *v, struct text *out)
{
	char text[256];

	text_printf(out, "%s: %s\n\n", v->name, v->title);
	field(out, "family", v->family);
	field(out, "paper", v->paper);
	field(out, "formula", v->formula);
	field(out, "cost", v->complexity);
	field(out, "tends to", v->target);
	field(out, "exact when", v->limit);
	form(out, "bidirectional", v, MODE_FORWARD, false);
	form(out, "causal", v, MODE_FORWARD, true);
	form(out, "decode", v, MODE_DECODE, true);
	field(out, "n_q != n_k", yes(v->flags & ATTN_CROSS));
	field(out, "exact", yes(v->flags & ATTN_EXACT));
	field(out, "random", yes(v->flags & ATTN_RANDOM));
	field(out, "splits a head", yes(v->flags & ATTN_PARALLEL));
	if (v->flags & ATTN_LEAKS)
		field(out, "looks ahead", "which keys are seen depends on later tokens");
	if (v->flags & ATTN_TIED)
		field(out, "keys", "are the queries: k is ignored");
	if (v->impl_bound > 0) {
		snprintf(text, sizeof text, "%.1e (err_impl_rel_fro)", (double)v->impl_bound);
		field(out, "bound", text);
	}
	field(out, "plug-in", variant_plugin(v));
	field(out, "pitfalls", v->summary);
	if (cell_n_params(v) > 0)
		parameters(v, out);
	else
		field(out, "parameters", "none");
}

static void inputs(struct grid *grid)
{
	grid_column(grid, "input");
	grid_column(grid, "parameters");
	grid_column(grid, "what it stresses");
	for (size_t i = 0; data_kinds[i]; i++) {
		const struct data_kind *kind = data_kinds[i];
		struct text params = { 0 };
		for (size_t p = 0; p < DATA_MAX_PARAMS && kind->params[p].name; p++) {
			const struct data_param *q = &kind->params[p];
			text_printf(&params, "%s%s=%.9g (%.9g to %.9g)", p ? ", " : "", q->name, q->def, q->min, q->max);
		}
		grid_cell(grid, "%s", kind->name);
		grid->failed |= params.failed;
		grid_cell(grid, "%s", params.s ? params.s : "");
		grid_cell(grid, "%s", kind->summary);
		text_free(&params);
	}
}

static void isas(struct grid *grid)
{
	const char *best = attn_kern_isa(attn_kern_best());

	grid_column(grid, "isa");
	grid_column(grid, "here");
	for (const char *const *isa = attn_isa_names(); *isa; isa++) {
		grid_cell(grid, "%s", *isa);
		grid_cell(grid, "%s", !attn_kern(*isa) ? "no" : strcmp(*isa, best) ? "yes" : "yes, the best");
	}
}

/* "same as flash", "like lsh (left, right)". */
static void made_after(const struct attn_variant *v, const struct engine_info *info, struct text *out)
{
	const char *between = " (";

	text_printf(out, "%s %s", info->defined ? "same as" : "like", info->base);
	for (size_t i = 0, n = cell_n_params(v); i < n; i++) {
		if (!(info->params >> i & 1))
			continue;
		text_printf(out, "%s%s", between, v->params[i].name);
		between = ", ";
	}
	text_adds(out, *between == ',' ? ")" : "");
}

/* A line a variant of each engine, or why there is none. */
static void engines(struct grid *grid)
{
	static const char *const names[] = { "variant", "program", "definition", "forms", "types", "command" };
	char forms[64];

	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		grid_column(grid, names[i]);
	for (size_t e = 0; engine_name(e); e++) {
		const char *missing = engine_ask(engine_name(e));
		if (missing) {
			grid_cell(grid, "%s/", engine_name(e));
			grid_cell(grid, "%s", missing);
			for (size_t k = 2; k + 1 < sizeof names / sizeof *names; k++)
				grid_cell(grid, "%s", "");
			grid_cell(grid, "%s", engine_command(engine_name(e)));
			continue;
		}
		for (size_t i = 0; engine_variant_at(i); i++) {
			const struct attn_variant *v = engine_variant_at(i);
			const struct engine_info *info = engine_info(v);
			struct text after = { 0 };
			if (strcmp(info->engine, engine_name(e)))
				continue;
			made_after(v, info, &after);
			accepts(v, forms, sizeof forms);
			grid_cell(grid, "%s", v->name);
			grid_cell(grid, "%s", info->impl);
			grid_cell(grid, "%s", after.s ? after.s : "");
			grid_cell(grid, "%s", forms);
			grid_cell(grid, "f32%s%s", v->flags & ATTN_BF16_OK ? ", bf16" : "", v->flags & ATTN_F16_OK ? ", f16" : "");
			grid_cell(grid, "%s", engine_command(info->engine));
			text_free(&after);
		}
	}
}

static bool find_one(const char *name, struct text *out, char *error)
{
	const struct attn_variant *v = strchr(name, '/') ? engine_variant(name) : variant_find(name);
	struct nearest nearest = { .word = name };
	char hint[HINT_MAX];

	if (v) {
		one_variant(v, out);
		return true;
	}
	for (size_t i = 0; variant_at(i); i++)
		nearest_offer(&nearest, variant_at(i)->name);
	return fail(error, "there is no variant '%s'%s", name, nearest_hint(&nearest, hint));
}

bool list_verb(const struct config *config, struct text *out, char *error)
{
	struct grid grid = { 0 };

	if (config->n_positional > 1)
		return fail(error, "list takes one variant, or none for all");
	if (config->n_positional == 1)
		return find_one(config->positional[0], out, error);
	switch (config->columns) {
	case COLUMNS_TEXT:
		columns_text(out);
		return true;
	case COLUMNS_MD:
		columns_markdown(out);
		return true;
	case COLUMNS_JSON_RAW:
		columns_schema(&raw_table, out);
		return true;
	case COLUMNS_JSON_SUMMARY:
		columns_schema(&summary_table, out);
		return true;
	}
	if (config->inputs)
		inputs(&grid);
	else if (config->engines)
		engines(&grid);
	else if (config->isas)
		isas(&grid);
	else if (config->format == FORMAT_CSV || config->format == FORMAT_JSON)
		variants_for_programs(&grid);
	else if (config->format == FORMAT_MD)
		catalogue(&grid);
	else
		variants_for_people(&grid);
	grid_print(&grid, (enum format)config->format, out);
	grid_free(&grid);
	return true;
}
