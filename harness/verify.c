/* SPDX-License-Identifier: BSD-3-Clause
 *
 * `attnbench verify`: every property of every variant, with its defaults and
 * with the arguments that it names for tests, on every kernel table. */
#include "cell.h"
#include "cross.h"
#include "engine.h"
#include "grid.h"
#include "property.h"
#include "team.h"
#include "verbs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { RANKS = 3, PROPERTIES = 20, SEED = 20260101 };

/* One row of the table: a variant with arguments on an instruction set. */
struct row {
	struct variant_choice choice;
	char isa[CELL_ISA_MAX], arguments[CELL_PARAMS_MAX];
	struct finding finding[PROPERTIES];
};

struct rows {
	struct row *v;
	size_t n, cap;
};

static const char *mark(enum verdict verdict)
{
	static const char *const marks[] = { "ok", "-", "leak", "FAIL" };

	return marks[verdict];
}

static const char *word(enum verdict verdict)
{
	static const char *const words[] = { "pass", "not applicable", "known leak", "fail" };

	return words[verdict];
}

static bool check(const struct variant_choice *choice, const char *isa, const char *arguments,
                  struct team *const *teams, struct rows *rows, char *error)
{
	struct subject subject = { .variant = choice->variant, .arg = choice->arg, .kern = attn_kern(isa),
		                   .teams = teams, .seed = SEED };
	struct row *row;

	if (!grow(&rows->v, &rows->cap, rows->n + 1, sizeof *rows->v))
		return fail(error, "out of memory");
	row = &rows->v[rows->n++];
	row->choice = *choice;
	snprintf(row->isa, sizeof row->isa, "%s", isa);
	snprintf(row->arguments, sizeof row->arguments, "%s", arguments);
	for (size_t i = 0; i < PROPERTIES; i++)
		row->finding[i] = properties[i].check(&subject);
	return true;
}

/* The arguments that the variant names for tests. */
static bool check_cases(const struct attn_variant *variant, const char *isa, struct team *const *teams,
                        struct rows *rows, char *error)
{
	const struct where where = { .name = variant->name };

	for (size_t i = 0; variant->cases && variant->cases[i]; i++) {
		struct variant_choices choices = { 0 };
		char text[256];
		snprintf(text, sizeof text, "%s:%s", variant->name, variant->cases[i]);
		bool ok = variants_parse(text, &where, &choices, error) &&
		          check(&choices.v[0], isa, variant->cases[i], teams, rows, error);
		free(choices.v);
		if (!ok)
			return false;
	}
	return true;
}

/* True if every argument is the default: then the test cases run as well. */
static bool all_defaults(const struct variant_choice *choice)
{
	const struct attn_param *param = choice->variant->params;

	for (size_t i = 0; param && param[i].name; i++)
		if (choice->arg[i] != param[i].def && !(isnan(choice->arg[i]) && isnan(param[i].def)))
			return false;
	return true;
}

static bool check_all(const struct variant_choices *variants, const struct names *isas,
                      struct team *const *teams, struct rows *rows, char *error)
{
	for (size_t i = 0; i < isas->n; i++) {
		for (size_t j = 0; j < variants->n; j++) {
			const struct variant_choice *choice = &variants->v[j];
			struct cell cell = { .variant = choice->variant };
			char arguments[CELL_PARAMS_MAX] = "";
			bool plain = all_defaults(choice);
			memcpy(cell.arg, choice->arg, sizeof cell.arg);
			if (!plain)
				cell_params(&cell, arguments);
			if (!check(choice, isas->v[i], arguments, teams, rows, error))
				return false;
			if (plain && !check_cases(choice->variant, isas->v[i], teams, rows, error))
				return false;
		}
	}
	return true;
}

/* One line a variant, its arguments and an instruction set. */
static void print_marks(const struct rows *rows, enum format format, struct text *out)
{
	struct grid grid = { 0 };

	grid_column(&grid, "variant");
	grid_column(&grid, "arguments");
	grid_column(&grid, "isa");
	for (size_t i = 0; i < PROPERTIES; i++)
		grid_column(&grid, properties[i].code);
	for (size_t r = 0; r < rows->n; r++) {
		const struct row *row = &rows->v[r];
		grid_cell(&grid, "%s", row->choice.variant->name);
		grid_cell(&grid, "%s", row->arguments);
		grid_cell(&grid, "%s", row->isa);
		for (size_t i = 0; i < PROPERTIES; i++)
			grid_cell(&grid, "%s", mark(row->finding[i].verdict));
	}
	grid_print(&grid, format, out);
	grid_free(&grid);
}

/* One line a property of each of them, with the reason. */
static void print_all(const struct rows *rows, enum format format, struct text *out)
{
	static const char *const names[] = { "variant", "arguments", "isa", "code", "property", "verdict", "reason" };
	struct grid grid = { 0 };

	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		grid_column(&grid, names[i]);
	for (size_t r = 0; r < rows->n; r++) {
		for (size_t i = 0; i < PROPERTIES; i++) {
			const struct row *row = &rows->v[r];
			grid_cell(&grid, "%s", row->choice.variant->name);
			grid_cell(&grid, "%s", row->arguments);
			grid_cell(&grid, "%s", row->isa);
			grid_cell(&grid, "%s", properties[i].code);
			grid_cell(&grid, "%s", properties[i].name);
			grid_cell(&grid, "%s", word(row->finding[i].verdict));
			grid_cell(&grid, "%s", row->finding[i].why);
		}
	}
	grid_print(&grid, format, out);
	grid_free(&grid);
}

static bool same_finding(const struct row *a, const struct row *b, size_t property)
{
	const struct finding *f = &a->finding[property], *g = &b->finding[property];

	return f->verdict == g->verdict && !strcmp(f->why, g->why);
}

/* Each reason once, with the variants it is given for. */
static void print_reasons(const struct rows *rows, size_t property, enum verdict verdict,
                          struct text *out)
{
	for (size_t r = 0; r < rows->n; r++) {
		const struct row *first = &rows->v[r];
		bool seen = first->finding[property].verdict != verdict;
		for (size_t b = 0; b < r && !seen; b++)
			seen = same_finding(&rows->v[b], first, property);
		if (seen)
			continue;
		text_printf(out, "  %-4s %s, %s:", properties[property].code, mark(verdict),
		            first->finding[property].why);
		for (size_t b = r; b < rows->n; b++) {
			bool listed = !same_finding(&rows->v[b], first, property);
			for (size_t e = r; e < b && !listed; e++)
				listed = rows->v[e].choice.variant == rows->v[b].choice.variant &&
				         same_finding(&rows->v[e], first, property);
			if (!listed)
				text_printf(out, "%s %s", b == r ? "" : ",", rows->v[b].choice.variant->name);
		}
		text_adds(out, "\n");
	}
}

static size_t count(const struct rows *rows, enum verdict verdict)
{
	size_t n = 0;

	for (size_t r = 0; r < rows->n; r++)
		for (size_t i = 0; i < PROPERTIES; i++)
			n += rows->v[r].finding[i].verdict == verdict;
	return n;
}

static void print(const struct rows *rows, enum format format, struct text *out)
{
	if (format == FORMAT_CSV || format == FORMAT_JSON) {
		print_all(rows, format, out);
		return;
	}
	print_marks(rows, format, out);
	text_adds(out, "\n");
	for (size_t i = 0; i < PROPERTIES; i++)
		text_printf(out, "  %-4s %s\n", properties[i].code, properties[i].name);
	text_adds(out, "\nReasons:\n");
	for (enum verdict v = VERDICT_NONE; v <= VERDICT_FAIL; v++)
		for (size_t i = 0; i < PROPERTIES; i++)
			print_reasons(rows, i, v, out);
	text_printf(out, "\n%zu passed, %zu failed, %zu known leaks, %zu not applicable\n",
	            count(rows, VERDICT_PASS), count(rows, VERDICT_FAIL), count(rows, VERDICT_LEAK),
	            count(rows, VERDICT_NONE));
}

bool verify_verb(const struct config *config, size_t *failures, struct text *out, char *error)
{
	struct variant_choices variants = { 0 };
	struct names isas = { 0 };
	struct team *teams[RANKS + 1] = { NULL };
	struct rows rows = { 0 };
	const char *why = NULL;
	bool ok = cross_variants(config, "all,family/emulated", &variants, error) && cross_isas(config, "all", &isas, error);

	for (size_t i = 0; ok && i < variants.n; i++)
		if (engine_info(variants.v[i].variant))
			ok = fail(error, "%s runs in a process of its own, which verify does not start: a run compares "
			          "it with our definition (err_impl_rel_fro)", variants.v[i].variant->name);
	for (size_t ranks = 1; ok && ranks <= RANKS; ranks++)
		if (!(teams[ranks] = team_create(ranks, NULL, &why)))
			ok = fail(error, "cannot start %zu threads: %s", ranks, why);
	ok = ok && check_all(&variants, &isas, teams, &rows, error);
	if (ok) {
		print(&rows, config->format, out);
		*failures = count(&rows, VERDICT_FAIL);
	}
	for (size_t ranks = 1; ranks <= RANKS; ranks++)
		if (teams[ranks])
			team_destroy(teams[ranks]);
	free(rows.v);
	free(variants.v);
	names_free(&isas);
	return ok;
}
