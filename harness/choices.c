/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Lists of variants and of inputs: names with parameters, each parameter with
 * alternatives, expanded to every combination. */
#include "../datasets/data.h"
#include "axes.h"
#include "cell.h"
#include "plugin.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SPEC_MAX = 512, COMBINATIONS_MAX = 65536 };

/* The next entry of a comma-separated list; blanks around it are dropped. */
static bool next_entry(const char **rest, const char *text, const struct where *where,
                       char entry[SPEC_MAX], size_t *offset, char *error)
{
	const char *from = *rest;

	error[0] = '\0';
	if (!from)
		return false;
	size_t len = strcspn(from, ",");
	*rest = from[len] ? from + len + 1 : NULL;
	while (len && isspace((unsigned char)*from)) {
		from++;
		len--;
	}
	while (len && isspace((unsigned char)from[len - 1]))
		len--;
	*offset = (size_t)(from - text);
	if (!len)
		return fail_at(where, *offset, error, "a name is missing");
	if (len >= SPEC_MAX)
		return fail_at(where, *offset, error, "this entry is longer than %d characters",
		               SPEC_MAX - 1);
	memcpy(entry, from, len);
	entry[len] = '\0';
	return true;
}

static const struct attn_param *find_param(const struct attn_variant *variant, const char *name,
                                           size_t *index)
{
	for (size_t i = 0, n = cell_n_params(variant); i < n; i++)
		if (!strcmp(variant->params[i].name, name)) {
			*index = i;
			return &variant->params[i];
		}
	return NULL;
}

static bool no_such_param(const struct attn_variant *variant, const char *name,
                          const struct where *where, size_t offset, char *error)
{
	struct nearest nearest = { .word = name };
	char hint[HINT_MAX];
	struct text known = { 0 };

	for (size_t i = 0, n = cell_n_params(variant); i < n; i++) {
		nearest_offer(&nearest, variant->params[i].name);
		text_printf(&known, "%s%s", i ? ", " : "", variant->params[i].name);
	}
	if (known.s)
		fail_at(where, offset, error, "%s has no parameter '%s', only %s%s", variant->name, name,
		        known.s, nearest_hint(&nearest, hint));
	else
		fail_at(where, offset, error, "%s has no parameters, but '%s' was given", variant->name,
		        name);
	text_free(&known);
	return false;
}

/* "auto" among the alternatives is taken out and reported apart. */
static bool param_values(const struct attn_variant *variant, const struct attn_param *param,
                         char *text, const struct where *where, size_t offset,
                         struct numbers *values, char *error)
{
	static const char *const flags[] = { "0", "1", NULL };
	const struct axis_rule rule = {
		.min = param->min,
		.max = param->max,
		.integer = param->kind == ATTN_INT,
		.names = param->kind == ATTN_NAME ? param->names : param->kind == ATTN_FLAG ? flags : NULL,
	};

	for (char *from = text; from;) {
		char *bar = strchr(from, '|');
		if (bar)
			*bar = '\0';
		if (strcmp(from, "auto")) {
			if (!numbers_parse(&rule, '|', from, where, offset + (size_t)(from - text), values, error))
				return false;
		} else if (!isnan(param->def)) {
			return fail_at(where, offset + (size_t)(from - text), error,
			               "parameter %s of %s cannot be auto: give a number", param->name,
			               variant->name);
		} else {
			if (!grow(&values->v, &values->cap, values->n + 1, sizeof *values->v))
				return fail(error, "out of memory");
			values->v[values->n++] = ATTN_AUTO;
		}
		from = bar ? bar + 1 : NULL;
	}
	return true;
}

/* Every combination of the values, last parameter fastest; an empty list of
 * values stands for the default. */
static bool add_combinations(const struct attn_variant *variant, const struct numbers *values,
                             struct variant_choices *out, char *error)
{
	size_t n = cell_n_params(variant), at[ATTN_MAX_PARAMS] = { 0 };

	for (;;) {
		struct variant_choice choice = { .variant = variant };
		for (size_t i = 0; i < n; i++)
			choice.arg[i] = values[i].n ? values[i].v[at[i]] : variant->params[i].def;
		if (out->n >= COMBINATIONS_MAX)
			return fail(error, "more than %d combinations of variants and parameters",
			            COMBINATIONS_MAX);
		if (!grow(&out->v, &out->cap, out->n + 1, sizeof *out->v))
			return fail(error, "out of memory");
		out->v[out->n++] = choice;
		size_t i = n;
		while (i > 0 && (values[i - 1].n == 0 || ++at[i - 1] == values[i - 1].n))
			at[--i] = 0;
		if (i == 0)
			return true;
	}
}

/* "m=64..512:x2" holds a colon of its own: a part that is only a step belongs
 * to the part before it. */
static char *next_param(char *from)
{
	char *colon = strchr(from, ':');

	while (colon && (colon[1] == '+' || (colon[1] == 'x' && isdigit((unsigned char)colon[2]))))
		colon = strchr(colon + 1, ':');
	if (!colon)
		return NULL;
	*colon = '\0';
	return colon + 1;
}

static bool add_variant(const struct attn_variant *variant, const char *params,
                        const struct where *where, size_t offset, struct variant_choices *out,
                        char *error)
{
	struct numbers values[ATTN_MAX_PARAMS] = { 0 };
	char copy[SPEC_MAX];
	bool ok = true;

	snprintf(copy, sizeof copy, "%s", params ? params : "");
	for (char *part = params ? copy : NULL, *next; part && ok; part = next) {
		size_t index = 0, at = offset + (size_t)(part - copy);
		next = next_param(part);
		char *equals = strchr(part, '=');
		if (!equals) {
			ok = fail_at(where, at, error, "'%s' should read parameter=value", part);
			break;
		}
		*equals = '\0';
		const struct attn_param *param = find_param(variant, part, &index);
		if (!param)
			ok = no_such_param(variant, part, where, at, error);
		else if (values[index].n)
			ok = fail_at(where, at, error, "parameter %s is given twice; alternatives read %s=1|2",
			             part, part);
		else
			ok = param_values(variant, param, equals + 1, where,
			                  offset + (size_t)(equals + 1 - copy), &values[index], error);
	}
	ok = ok && add_combinations(variant, values, out, error);
	for (size_t i = 0; i < ATTN_MAX_PARAMS; i++)
		free(values[i].v);
	return ok;
}

/* "family/linear", or "all" but what emulates: every variant that matches, in table order. */
static bool add_many(const char *name, const char *params, const struct where *where,
                     size_t offset, size_t params_offset, struct variant_choices *out, char *error)
{
	const char *family = strcmp(name, "all") ? name + strlen("family/") : NULL;
	struct nearest nearest = { .word = family ? family : "" };
	char hint[HINT_MAX];
	bool any = false;

	for (size_t i = 0; variant_at(i); i++) {
		const struct attn_variant *variant = variant_at(i);
		if (family && strcmp(variant->family, family)) {
			nearest_offer(&nearest, variant->family);
			continue;
		}
		if (!family && (variant->flags & ATTN_EMULATED))
			continue;
		any = true;
		if (!add_variant(variant, params, where, params_offset, out, error))
			return false;
	}
	return any || fail_at(where, offset, error, "there is no family '%s'%s", family ? family : "",
	                      nearest_hint(&nearest, hint));
}

bool variants_parse(const char *text, const struct where *where, struct variant_choices *out,
                    char *error)
{
	const char *rest = text;
	char entry[SPEC_MAX], hint[HINT_MAX];
	size_t offset;

	while (next_entry(&rest, text, where, entry, &offset, error)) {
		char *colon = strchr(entry, ':'), *params = colon ? colon + 1 : NULL;
		size_t params_offset = offset + (params ? (size_t)(params - entry) : 0);
		bool ok;

		if (colon)
			*colon = '\0';
		const struct attn_variant *variant = variant_find(entry);
		if (variant) {
			ok = add_variant(variant, params, where, params_offset, out, error);
		} else if (!strcmp(entry, "all") || !strncmp(entry, "family/", 7)) {
			ok = add_many(entry, params, where, offset, params_offset, out, error);
		} else {
			struct nearest nearest = { .word = entry };
			for (size_t i = 0; variant_at(i); i++)
				nearest_offer(&nearest, variant_at(i)->name);
			ok = fail_at(where, offset, error,
			             "there is no variant '%s'%s `attnbench list` shows them all", entry,
			             *nearest_hint(&nearest, hint) ? hint : ";");
		}
		if (!ok)
			return false;
	}
	return !error[0];
}

static bool add_input(const char *spec, const struct where *where, size_t offset,
                      struct names *out, char *error)
{
	char why[DATA_ERROR_MAX], full[CELL_INPUT_MAX];
	struct data data;

	if (!data_parse(spec, &data, why))
		return fail_at(where, offset, error, "%s", why);
	if (!data_format(&data, full, sizeof full))
		return fail_at(where, offset, error, "the input '%s' is longer than %d characters", spec,
		               CELL_INPUT_MAX - 1);
	return names_add(out, full) || fail(error, "out of memory");
}

/* Puts each alternative of the first "name=a|b" (or "a|b") in its place, and
 * goes on with the rest of the text. */
static bool expand_input(const char *done, const char *rest, const struct where *where,
                         size_t offset, struct names *out, char *error)
{
	char spec[SPEC_MAX];
	size_t part = strcspn(rest, ":"), prefix = strcspn(rest, "=:");

	if (!*rest)
		return add_input(done, where, offset, out, error);
	prefix = prefix < part ? prefix + 1 : 0;
	for (size_t from = prefix;; from++) {
		size_t len = strcspn(rest + from, "|:");
		if (from + len > part)
			len = part - from;
		int n = snprintf(spec, sizeof spec, "%s%s%.*s%.*s", done, *done ? ":" : "", (int)prefix, rest,
		                 (int)len, rest + from);
		if (n < 0 || n >= SPEC_MAX)
			return fail_at(where, offset, error, "this input is too long");
		if (!expand_input(spec, rest + part + (rest[part] == ':'), where, offset, out, error))
			return false;
		from += len;
		if (from >= part)
			return true;
	}
}

bool inputs_parse(const char *text, const struct where *where, struct names *out, char *error)
{
	const char *rest = text;
	char entry[SPEC_MAX];
	size_t offset;

	while (next_entry(&rest, text, where, entry, &offset, error))
		if (!expand_input("", entry, where, offset, out, error))
			return false;
	return !error[0];
}
