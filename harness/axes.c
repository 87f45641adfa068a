/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Lists of numbers and names, sizes and durations. */
#include "axes.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ITEM_MAX = 256, LIST_MAX = 4096 };

/* One item of a list, blanks around it removed, and where it starts. */
struct item {
	char text[ITEM_MAX];
	size_t offset;
};

/* Takes the next item from *rest; false at the end, or with an error. An empty
 * item ("1,,2", "1,") is an error unless the whole text is empty. */
static bool next_item(const char **rest, char separator, const char *text,
                      const struct where *where, size_t offset, struct item *item, char *error)
{
	const char *from = *rest;

	error[0] = '\0';
	if (!from)
		return false;
	const char *to = strchr(from, separator);
	*rest = to ? to + 1 : NULL;
	if (!to)
		to = from + strlen(from);
	while (from < to && isspace((unsigned char)*from))
		from++;
	while (to > from && isspace((unsigned char)to[-1]))
		to--;
	item->offset = offset + (size_t)(from - text);
	if (to == from)
		return fail_at(where, item->offset, error, "a value is missing");
	if ((size_t)(to - from) >= sizeof item->text)
		return fail_at(where, item->offset, error, "this value is longer than %d characters",
		               ITEM_MAX - 1);
	memcpy(item->text, from, (size_t)(to - from));
	item->text[to - from] = '\0';
	return true;
}

static bool add_number(const struct axis_rule *rule, double x, const struct where *where,
                       size_t offset, struct numbers *out, char *error)
{
	if (rule->integer)
		x = nearbyint(x);
	if (!(x >= rule->min && x <= rule->max))
		return fail_at(where, offset, error, "%.17g is out of range: from %.17g to %.17g", x,
		               rule->min, rule->max);
	for (size_t i = 0; i < out->n; i++)
		if (out->v[i] == x)
			return true;
	if (out->n >= LIST_MAX)
		return fail_at(where, offset, error, "more than %d values", LIST_MAX);
	if (!grow(&out->v, &out->cap, out->n + 1, sizeof *out->v))
		return fail(error, "out of memory");
	out->v[out->n++] = x;
	return true;
}

static bool read_number(const struct axis_rule *rule, const char *text, const struct where *where,
                        size_t offset, double *x, char *error)
{
	char *end;

	*x = strtod(text, &end);
	if (end == text || *end || !isfinite(*x))
		return fail_at(where, offset, error,
		               "'%s' is not a number; a list reads 256,512 or 256..4096:x2 or 1..8:+1", text);
	if (rule->integer && *x != nearbyint(*x))
		return fail_at(where, offset, error, "'%s' is not a whole number", text);
	return true;
}

/* lo..hi:xF multiplies, lo..hi:+S adds. A factor that reaches hi within 2 % is
 * trimmed to reach it: 256..16384:x1.414 means half octaves. */
static bool add_range(const struct axis_rule *rule, char *text, const struct where *where,
                      size_t offset, struct numbers *out, char *error)
{
	char *dots = strstr(text, ".."), *step = strchr(dots, ':');
	size_t to_offset = offset + (size_t)(dots - text) + 2;
	double lo, hi, by;
	char *end;

	if (!step || (step[1] != 'x' && step[1] != '+'))
		return fail_at(where, offset, error,
		               "'%s' does not say how to step: write :x2 to double, :+1 to count", text);
	*dots = *step = '\0';
	if (!read_number(rule, text, where, offset, &lo, error) ||
	    !read_number(rule, dots + 2, where, to_offset, &hi, error))
		return false;
	bool times = step[1] == 'x';
	by = strtod(step + 2, &end);
	size_t step_offset = offset + (size_t)(step - text) + 1;
	if (end == step + 2 || *end || !isfinite(by) || (times ? by <= 1 : by <= 0))
		return fail_at(where, step_offset, error, "the step '%s' must be %s", step + 1,
		               times ? "x and a factor above 1" : "+ and a number above 0");
	if (lo > hi)
		return fail_at(where, offset, error, "the range %s..%s is empty", text, dots + 2);
	if (times && lo <= 0)
		return fail_at(where, offset, error, "a range that multiplies must start above 0");
	if (times && hi > lo) {
		double steps = nearbyint(log(hi / lo) / log(by));
		if (steps >= 1 && fabs(lo * pow(by, steps) / hi - 1) < 0.02)
			by = pow(hi / lo, 1 / steps);
	}
	for (size_t k = 0; k <= LIST_MAX; k++) {
		double x = times ? lo * pow(by, (double)k) : lo + by * (double)k;
		if (x > hi * (hi > 0 ? 1 + 1e-9 : 1 - 1e-9) + (times ? 0 : by * 1e-9))
			return true;
		if (!add_number(rule, x, where, offset, out, error))
			return false;
	}
	return fail_at(where, offset, error, "more than %d values", LIST_MAX);
}

static bool add_name(const struct axis_rule *rule, const struct item *item,
                     const struct where *where, struct numbers *out, char *error)
{
	struct nearest nearest = { .word = item->text };
	char hint[HINT_MAX], known[256] = "";
	size_t i;

	for (i = 0; rule->names[i]; i++) {
		if (!strcmp(item->text, rule->names[i])) {
			const struct axis_rule any = { .min = 0, .max = HUGE_VAL };
			return add_number(&any, (double)i, where, item->offset, out, error);
		}
		nearest_offer(&nearest, rule->names[i]);
		size_t at = strlen(known);
		snprintf(known + at, sizeof known - at, "%s%s", i ? ", " : "", rule->names[i]);
	}
	return fail_at(where, item->offset, error, "'%s' is none of %s%s", item->text, known,
	               nearest_hint(&nearest, hint));
}

bool numbers_parse(const struct axis_rule *rule, char separator, const char *text,
                   const struct where *where, size_t offset, struct numbers *out, char *error)
{
	const char *rest = text;
	struct item item;

	while (next_item(&rest, separator, text, where, offset, &item, error)) {
		double x;
		bool ok;

		if (rule->names)
			ok = add_name(rule, &item, where, out, error);
		else if (strstr(item.text, ".."))
			ok = add_range(rule, item.text, where, item.offset, out, error);
		else
			ok = read_number(rule, item.text, where, item.offset, &x, error) &&
			     add_number(rule, x, where, item.offset, out, error);
		if (!ok)
			return false;
	}
	return !error[0];
}

bool names_add(struct names *names, const char *name)
{
	for (size_t i = 0; i < names->n; i++)
		if (!strcmp(names->v[i], name))
			return true;
	char *copy = strdup(name);
	if (!copy || !grow(&names->v, &names->cap, names->n + 1, sizeof *names->v)) {
		free(copy);
		return false;
	}
	names->v[names->n++] = copy;
	return true;
}

void names_free(struct names *names)
{
	for (size_t i = 0; i < names->n; i++)
		free(names->v[i]);
	free(names->v);
	*names = (struct names){ 0 };
}

static bool add_isa(const struct item *item, const struct where *where, struct names *out,
                    char *error)
{
	const char *const *isa = attn_isa_names();
	struct nearest nearest = { .word = item->text };
	struct text here = { 0 };
	char hint[HINT_MAX];
	bool compiled = false, all = !strcmp(item->text, "all"), found = all, added = true;

	if (!strcmp(item->text, "auto"))
		return names_add(out, attn_kern_isa(attn_kern_best())) || fail(error, "out of memory");
	for (; *isa; isa++) {
		bool match = !strcmp(*isa, item->text);
		compiled |= match;
		nearest_offer(&nearest, *isa);
		if (!attn_kern(*isa))
			continue;
		text_printf(&here, "%s%s", here.len ? ", " : "", *isa);
		found |= match;
		if (match || all)
			added &= names_add(out, *isa);
	}
	if (!added)
		fail(error, "out of memory");
	else if (!found)
		fail_at(where, item->offset, error, "%s '%s'; here are %s%s",
		        compiled ? "this CPU does not have" : "there is no instruction set", item->text,
		        here.s ? here.s : "none", compiled ? "" : nearest_hint(&nearest, hint));
	text_free(&here);
	return found && added;
}

bool isas_parse(const char *text, const struct where *where, struct names *out, char *error)
{
	const char *rest = text;
	struct item item;

	while (next_item(&rest, ',', text, where, 0, &item, error))
		if (!add_isa(&item, where, out, error))
			return false;
	return !error[0];
}

struct suffix {
	const char *name;
	double factor;
};

static bool parse_scaled(const char *text, const struct where *where, const struct suffix *suffix,
                         const char *example, double *x, char *error)
{
	char *end;

	*x = strtod(text, &end);
	if (end == text || !isfinite(*x) || *x < 0)
		return fail_at(where, 0, error, "'%s' is not a size or time; write it as %s", text, example);
	while (isspace((unsigned char)*end))
		end++;
	for (; suffix->name; suffix++)
		if (!strcmp(end, suffix->name)) {
			*x *= suffix->factor;
			return true;
		}
	return fail_at(where, (size_t)(end - text), error, "unknown unit '%s'; write it as %s", end,
	               example);
}

bool parse_bytes(const char *text, const struct where *where, double *bytes, char *error)
{
	static const struct suffix suffix[] = {
		{ "", 1 },         { "B", 1 },           { "kB", 1e3 },
		{ "MB", 1e6 },     { "GB", 1e9 },        { "KiB", 1024 },
		{ "MiB", 1 << 20 }, { "GiB", 1 << 30 },  { "TiB", 1099511627776.0 },
		{ NULL, 0 },
	};
	return parse_scaled(text, where, suffix, "8GiB, 512MiB or bytes", bytes, error);
}

bool parse_seconds(const char *text, const struct where *where, double *seconds, char *error)
{
	static const struct suffix suffix[] = {
		{ "", 1 }, { "s", 1 }, { "ms", 1e-3 }, { "m", 60 }, { "min", 60 }, { "h", 3600 }, { NULL, 0 },
	};
	return parse_scaled(text, where, suffix, "90, 90s, 5m or 2h", seconds, error);
}
