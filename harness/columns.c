/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The tables of columns, and what is said about them. */
#include "columns.h"
#include "grid.h"

#include <stdio.h>
#include <string.h>

static const struct column raw_columns[] = {
#define KEY(type, name, unit, values, description) \
	{ #name, unit, values, description, COLUMN_##type, true, offsetof(struct raw_row, key.name) },
#define RAW(type, name, unit, values, description) \
	{ #name, unit, values, description, COLUMN_##type, false, offsetof(struct raw_row, name) },
#include "columns.def"
};

static const struct column summary_columns[] = {
#define KEY(type, name, unit, values, description) \
	{ #name, unit, values, description, COLUMN_##type, true, offsetof(struct summary_row, key.name) },
#define SUMMARY(type, name, unit, values, description) \
	{ #name, unit, values, description, COLUMN_##type, false, offsetof(struct summary_row, name) },
#include "columns.def"
};

const struct table raw_table = {
	"raw.csv", raw_columns, sizeof raw_columns / sizeof *raw_columns, sizeof(struct raw_row),
};
const struct table summary_table = {
	"summary.csv", summary_columns, sizeof summary_columns / sizeof *summary_columns,
	sizeof(struct summary_row),
};

void row_clear(const struct table *table, void *row)
{
	for (size_t i = 0; i < table->n; i++) {
		char *at = (char *)row + table->column[i].at;
		switch (table->column[i].type) {
		case COLUMN_STR:
			*(const char **)at = "";
			break;
		case COLUMN_NUM:
			*(double *)at = NAN;
			break;
		default:
			*(int64_t *)at = NA_INT;
		}
	}
}

bool column_accepts(const char *values, const char *text, size_t len)
{
	for (const char *from = values; *values; from++) {
		size_t n = strcspn(from, "|");
		if (n == len && !strncmp(from, text, len))
			return true;
		from += n;
		if (!*from)
			return false;
	}
	return true;
}

static const char *const type_names[] = { "text", "integer", "number", "0 or 1" };

void columns_text(struct text *out)
{
	const struct table *const tables[] = { &raw_table, &summary_table };

	for (size_t t = 0; t < 2; t++) {
		text_printf(out, "%s%s\n", t ? "\n" : "", tables[t]->file);
		for (size_t i = 0; i < tables[t]->n; i++) {
			const struct column *c = &tables[t]->column[i];
			text_printf(out, "  %-24s %-8s %-8s %s%s%s%s\n", c->name, type_names[c->type], c->unit,
			            c->description, *c->values ? " (" : "", c->values, *c->values ? ")" : "");
		}
	}
}

/* A '|' would end the cell of a Markdown table. */
static void markdown_values(const char *values, struct text *out)
{
	while (*values) {
		size_t n = strcspn(values, "|");
		text_printf(out, "`%.*s`", (int)n, values);
		values += n;
		if (*values) {
			text_adds(out, ", ");
			values++;
		}
	}
}

static void markdown_rows(const struct table *table, bool key, struct text *out)
{
	text_adds(out, "| column | type | unit | meaning |\n|---|---|---|---|\n");
	for (size_t i = 0; i < table->n; i++) {
		const struct column *c = &table->column[i];
		if (c->key != key)
			continue;
		text_printf(out, "| `%s` | %s | %s | %s", c->name, type_names[c->type], c->unit,
		            c->description);
		if (*c->values) {
			text_adds(out, "; one of ");
			markdown_values(c->values, out);
		}
		text_adds(out, " |\n");
	}
}

void columns_markdown(struct text *out)
{
	text_adds(out, "### Key columns, in both files\n\n");
	markdown_rows(&raw_table, true, out);
	text_adds(out, "\n### summary.csv: one row a cell\n\n");
	markdown_rows(&summary_table, false, out);
	text_adds(out, "\n### raw.csv: one row a sample, or a worker without samples\n\n");
	markdown_rows(&raw_table, false, out);
}

void columns_schema(const struct table *table, struct text *out)
{
	static const char *const types[] = { "string", "integer", "number", "boolean" };

	text_adds(out, "{\n  \"fields\": [\n");
	for (size_t i = 0; i < table->n; i++) {
		const struct column *c = &table->column[i];
		text_printf(out, "    {\"name\": \"%s\", \"type\": \"%s\"", c->name, types[c->type]);
		if (*c->unit) {
			text_adds(out, ", \"unit\": ");
			json_quote(c->unit, out);
		}
		text_adds(out, ", \"description\": ");
		json_quote(c->description, out);
		if (c->type == COLUMN_BOOL)
			text_adds(out, ", \"trueValues\": [\"1\"], \"falseValues\": [\"0\"]");
		for (const char *v = c->values; *v;) {
			size_t n = strcspn(v, "|");
			text_printf(out, "%s\"%.*s\"", v == c->values ? ", \"constraints\": {\"enum\": [" : ", ",
			            (int)n, v);
			v += n + (v[n] == '|');
			if (!*v)
				text_adds(out, "]}");
		}
		text_printf(out, "}%s\n", i + 1 < table->n ? "," : "");
	}
	text_printf(out, "  ],\n  \"missingValues\": [\"\"],\n  \"schemaVersion\": %d\n}\n", SCHEMA_VERSION);
}
