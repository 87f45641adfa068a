/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Axes and labels of tables. */
#include "varying.h"
#include "engine.h"
#include "plugin.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

/* Columns of the key that have a column of their own when they differ. */
static const struct {
	const char *name;
	size_t at; /* in struct row_key */
	enum column_type type;
} axes[] = {
	{ "mode", offsetof(struct row_key, mode), COLUMN_STR },
	{ "input", offsetof(struct row_key, input_kind), COLUMN_STR },
	{ ">batch", offsetof(struct row_key, batch), COLUMN_INT },
	{ "lengths", offsetof(struct row_key, lengths), COLUMN_STR },
	{ ">heads", offsetof(struct row_key, heads), COLUMN_INT },
	{ ">kv_heads", offsetof(struct row_key, kv_heads), COLUMN_INT },
	{ ">d", offsetof(struct row_key, d_head), COLUMN_INT },
	{ ">d_v", offsetof(struct row_key, d_value), COLUMN_INT },
	{ ">causal", offsetof(struct row_key, causal), COLUMN_INT },
	{ "dtype", offsetof(struct row_key, dtype), COLUMN_STR },
	{ ">threads", offsetof(struct row_key, threads), COLUMN_INT },
	{ "cache", offsetof(struct row_key, cache), COLUMN_STR },
	{ "isa", offsetof(struct row_key, isa), COLUMN_STR },
	{ ">seed", offsetof(struct row_key, seed), COLUMN_INT },
	{ ">n_q", offsetof(struct row_key, n_q), COLUMN_INT },
	{ ">n", offsetof(struct row_key, n_k), COLUMN_INT },
};
enum { AXIS_OF_N = VARYING_AXES - 1, AXIS_OF_NQ = VARYING_AXES - 2, AXIS_OF_SEED = VARYING_AXES - 3, AXIS_OF_DV = 7 };
static_assert(sizeof axes / sizeof *axes == VARYING_AXES, "one flag an axis");

static void axis_text(const struct row_key *key, size_t a, char *out, size_t size)
{
	const char *at = (const char *)key + axes[a].at;

	if (axes[a].type == COLUMN_STR)
		snprintf(out, size, "%s", *(const char *const *)at);
	else
		snprintf(out, size, "%lld", (long long)*(const int64_t *)at);
}

void varying_find(const struct results *results, struct varying *varying)
{
	char first[256], here[256];
	bool *shown = varying->shown;

	for (size_t a = 0; a < VARYING_AXES; a++) {
		shown[a] = a == AXIS_OF_N;
		for (size_t i = 1; i < results->n && !shown[a]; i++) {
			axis_text(&results->v[0].key, a, first, sizeof first);
			axis_text(&results->v[i].key, a, here, sizeof here);
			shown[a] = strcmp(first, here) != 0;
		}
	}
	/* Of two sizes that are usually one, the second only where it differs; a decode
	 * step has one query. */
	shown[AXIS_OF_NQ] = shown[AXIS_OF_DV] = false;
	varying->tokens = results->n > 0;
	for (size_t i = 0; i < results->n; i++) {
		bool decode = !strcmp(results->v[i].key.mode, cell_mode_names[MODE_DECODE]);
		varying->tokens &= decode;
		shown[AXIS_OF_NQ] |= !decode && results->v[i].key.n_q != results->v[i].key.n_k;
		shown[AXIS_OF_DV] |= results->v[i].key.d_value != results->v[i].key.d_head;
	}
}

void varying_over_seeds(struct varying *varying)
{
	varying->over_seeds = true;
	varying->shown[AXIS_OF_SEED] = false;
}

void varying_headings(const struct varying *varying, struct grid *grid)
{
	for (size_t a = 0; a < VARYING_AXES; a++)
		if (varying->shown[a])
			grid_column(grid, a == AXIS_OF_N && varying->tokens ? ">context" : axes[a].name);
}

void varying_cells(const struct varying *varying, const struct row_key *key, struct grid *grid)
{
	char text[256];

	for (size_t a = 0; a < VARYING_AXES; a++) {
		if (!varying->shown[a])
			continue;
		axis_text(key, a, text, sizeof text);
		grid_cell(grid, "%s", text);
	}
}

void varying_common(const struct varying *varying, const struct row_key *key, struct text *out)
{
	char value[256];

	for (size_t a = 0; a < VARYING_AXES; a++) {
		if (varying->shown[a] || a == AXIS_OF_NQ || a == AXIS_OF_DV ||
		    (a == AXIS_OF_SEED && varying->over_seeds))
			continue;
		axis_text(key, a, value, sizeof value);
		text_printf(out, " %s=%s", axes[a].name + (axes[a].name[0] == '>'), value);
	}
}

bool varying_same(const struct row_key *a, const struct row_key *b)
{
	char x[256], y[256];

	for (size_t i = 0; i < VARYING_AXES; i++) {
		axis_text(a, i, x, sizeof x);
		axis_text(b, i, y, sizeof y);
		if (strcmp(x, y))
			return false;
	}
	return true;
}

/* "name", and the parameters that are not at their defaults. */
void varying_label(const struct row_key *key, char *out, size_t size)
{
	const struct attn_variant *v = variant_find(key->variant);
	for (size_t i = 0; !v && engine_variant_at(i); i++) /* of those that were asked */
		if (!strcmp(engine_variant_at(i)->name, key->variant))
			v = engine_variant_at(i);
	char value[64];
	size_t at = (size_t)snprintf(out, size, "%s", key->variant);

	for (const char *from = key->params; *from && at < size;) {
		size_t len = strcspn(from, ":"), name = strcspn(from, "=:");
		bool usual = false;
		for (size_t i = 0; v && i < cell_n_params(v); i++) {
			const struct attn_param *p = &v->params[i];
			if (strlen(p->name) == name && !strncmp(p->name, from, name) && from[name] == '=') {
				cell_value(p, p->def, value, sizeof value);
				usual = strlen(value) == len - name - 1 && !strncmp(value, from + name + 1, strlen(value));
			}
		}
		if (!usual)
			at += (size_t)snprintf(out + at, size - at, ":%.*s", (int)len, from);
		from += len + (from[len] == ':');
	}
}
