/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The verb, and how its tables are printed: each by itself for people, all as
 * one long table, a row a value, for programs. */
#include "experiment.h"
#include "grid.h"
#include "sqrtd.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
	const char *name, *help;
	bool (*make)(struct tables *, char *error);
} experiments[] = {
	{ "sqrt-d", "logits, entropy and gradient against d, n and the factor of the logits", sqrtd_tables },
};
enum { EXPERIMENTS = sizeof experiments / sizeof *experiments };

struct one_table *tables_add(struct tables *tables, const char *name, const char *title,
                             const char *const *values)
{
	if (!grow(&tables->v, &tables->cap, tables->n + 1, sizeof *tables->v))
		return NULL;
	struct one_table *t = &tables->v[tables->n++];
	*t = (struct one_table){ .name = name, .title = title };
	for (size_t i = 0; i < TABLE_VALUES && values[i]; i++)
		t->values[i] = values[i];
	return t;
}

struct table_row *table_add(struct one_table *table, size_t n, size_t d, const char *logits, double factor)
{
	if (!grow(&table->row, &table->cap, table->n + 1, sizeof *table->row))
		return NULL;
	struct table_row *row = &table->row[table->n++];
	*row = (struct table_row){ .n = n, .d = d, .factor = factor };
	snprintf(row->logits, sizeof row->logits, "%s", logits);
	for (size_t i = 0; i < TABLE_VALUES; i++)
		row->value[i] = NAN;
	return row;
}

void tables_free(struct tables *tables)
{
	for (size_t i = 0; i < tables->n; i++)
		free(tables->v[i].row);
	free(tables->v);
	*tables = (struct tables){ 0 };
}

/* What rows of this table are told apart by. */
struct keys {
	bool n, d, logits, factor;
};

static struct keys keys_of(const struct one_table *t)
{
	struct keys k = { 0 };

	for (size_t i = 0; i < t->n; i++) {
		k.n |= t->row[i].n > 0;
		k.d |= t->row[i].d > 0;
		k.logits |= t->row[i].logits[0] != '\0';
		k.factor |= !isnan(t->row[i].factor);
	}
	return k;
}

static void put_size(struct grid *grid, size_t x)
{
	if (x)
		grid_cell(grid, "%zu", x);
	else
		grid_cell(grid, "%s", "");
}

static void put_value(struct grid *grid, double x, bool people)
{
	if (!people)
		grid_number(grid, x);
	else if (isnan(x))
		grid_cell(grid, "%s", "");
	else
		grid_cell(grid, "%.4g", x);
}

static void put_keys(struct grid *grid, const struct table_row *row, struct keys k, bool people)
{
	if (k.n)
		put_size(grid, row->n);
	if (k.d)
		put_size(grid, row->d);
	if (k.logits)
		grid_cell(grid, "%s", row->logits);
	if (k.factor)
		put_value(grid, row->factor, people);
}

static void key_columns(struct grid *grid, struct keys k)
{
	if (k.n)
		grid_column(grid, ">n");
	if (k.d)
		grid_column(grid, ">d");
	if (k.logits)
		grid_column(grid, "logits");
	if (k.factor)
		grid_column(grid, ">factor");
}

static bool print_for_people(const struct one_table *t, enum format format, struct text *out)
{
	struct grid grid = { 0 };
	struct keys k = keys_of(t);
	char heading[TABLE_VALUES][64];

	key_columns(&grid, k);
	for (size_t i = 0; i < TABLE_VALUES && t->values[i]; i++) {
		snprintf(heading[i], sizeof heading[i], ">%s", t->values[i]);
		grid_column(&grid, heading[i]);
	}
	for (size_t i = 0; i < t->n; i++) {
		put_keys(&grid, &t->row[i], k, true);
		for (size_t v = 0; v < TABLE_VALUES && t->values[v]; v++)
			put_value(&grid, t->row[i].value[v], true);
	}
	text_printf(out, format == FORMAT_MD ? "### %s: %s\n\n" : "%s: %s\n\n", t->name, t->title);
	grid_print(&grid, format, out);
	text_adds(out, "\n");
	bool ok = !grid.failed;
	grid_free(&grid);
	return ok;
}

static bool print_for_programs(const struct tables *tables, enum format format, struct text *out)
{
	static const struct keys all = { true, true, true, true };
	struct grid grid = { 0 };

	grid_column(&grid, "table");
	key_columns(&grid, all);
	grid_column(&grid, "quantity");
	grid_column(&grid, ">value");
	for (size_t t = 0; t < tables->n; t++) {
		const struct one_table *table = &tables->v[t];
		for (size_t i = 0; i < table->n; i++)
			for (size_t v = 0; v < TABLE_VALUES && table->values[v]; v++) {
				if (isnan(table->row[i].value[v]))
					continue;
				grid_cell(&grid, "%s", table->name);
				put_keys(&grid, &table->row[i], all, false);
				grid_cell(&grid, "%s", table->values[v]);
				grid_number(&grid, table->row[i].value[v]);
			}
	}
	grid_print(&grid, format, out);
	bool ok = !grid.failed;
	grid_free(&grid);
	return ok;
}

bool experiment_verb(const struct config *config, struct text *out, char *error)
{
	enum format format = (enum format)config->format;
	bool people = format == FORMAT_TEXT || format == FORMAT_MD, ok;
	const char *name = config->n_positional ? config->positional[0] : "";
	struct nearest nearest = { .word = name };
	struct tables tables = { 0 };
	char hint[HINT_MAX];
	size_t e = 0;

	if (config->n_positional != 1)
		return fail(error, "experiment wants one name: attnbench experiment %s (%s)", experiments[0].name,
		            experiments[0].help);
	while (e < EXPERIMENTS && strcmp(experiments[e].name, name))
		nearest_offer(&nearest, experiments[e++].name);
	if (e == EXPERIMENTS)
		return fail(error, "there is no experiment '%s'%s", name,
		            *nearest_hint(&nearest, hint) ? hint : "; others are sweep files: harness/sweeps");
	ok = experiments[e].make(&tables, error);
	for (size_t t = 0; ok && people && t < tables.n; t++)
		ok = print_for_people(&tables.v[t], format, out) || fail(error, "out of memory");
	if (ok && !people)
		ok = print_for_programs(&tables, format, out) || fail(error, "out of memory");
	tables_free(&tables);
	return ok;
}
