/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Completion of command lines: what may follow, from the tables of verbs, options,
 * variants and inputs. Shells call it through `attnbench complete LINE`. */
#include "../datasets/data.h"
#include "cell.h"
#include "plugin.h"
#include "verbs.h"

#include <stdio.h>
#include <string.h>

enum { WORD_MAX = 1024 };

/* Offers "head + name + tail" if it goes on where `typed` ends. */
struct offer {
	const char *head, *typed;
	size_t head_len;
	struct text *out;
};

static void offer(const struct offer *o, const char *name, const char *tail)
{
	if (strncmp(name, o->typed, strlen(o->typed)))
		return;
	text_add(o->out, o->head, o->head_len);
	text_printf(o->out, "%s%s\n", name, tail);
}

static void offer_all(const struct offer *o, const char *const *names)
{
	for (; *names; names++)
		if (strcmp(*names, "none"))
			offer(o, *names, "");
}

static void variants(const struct offer *o)
{
	char family[64];

	for (size_t i = 0; variant_at(i); i++) {
		const struct attn_variant *v = variant_at(i);
		bool seen = false;
		offer(o, v->name, "");
		for (size_t k = 0; k < i && !seen; k++)
			seen = !strcmp(variant_at(k)->family, v->family);
		snprintf(family, sizeof family, "family/%s", v->family);
		if (!seen)
			offer(o, family, "");
	}
	offer(o, "all", "");
}

/* "map=" or, behind that, its names. `typed` begins after the last ':'. */
static void params(const struct offer *o, const char *variant)
{
	const struct attn_variant *v = variant_find(variant);
	char named[128];

	for (size_t i = 0, n = v ? cell_n_params(v) : 0; i < n; i++) {
		const struct attn_param *p = &v->params[i];
		size_t len = strlen(p->name);
		if (strncmp(o->typed, p->name, len) || o->typed[len] != '=') {
			offer(o, p->name, "=");
			continue;
		}
		static const char *const flags[] = { "0", "1", NULL };
		const char *const *names = p->kind == ATTN_NAME ? p->names : p->kind == ATTN_FLAG ? flags : NULL;
		for (; names && *names; names++) {
			snprintf(named, sizeof named, "%s=%s", p->name, *names);
			offer(o, named, "");
		}
	}
}

static const struct data_kind *find_kind(const char *name)
{
	for (size_t i = 0; data_kinds[i]; i++)
		if (!strcmp(data_kinds[i]->name, name))
			return data_kinds[i];
	return NULL;
}

static void data_params(const struct offer *o, const char *kind)
{
	const struct data_kind *k = find_kind(kind);

	for (size_t i = 0; k && i < DATA_MAX_PARAMS && k->params[i].name; i++)
		offer(o, k->params[i].name, "=");
	if (!strcmp(kind, "real"))
		offer(o, "minilm", "");
}

/* Lists of variants or inputs: what follows the last comma, or within an entry
 * the last colon. */
static void specs(struct offer o, bool inputs)
{
	char entry[WORD_MAX];
	const char *comma = strrchr(o.typed, ','), *begin = comma ? comma + 1 : o.typed, *colon = strrchr(begin, ':');

	snprintf(entry, sizeof entry, "%.*s", (int)strcspn(begin, ":"), begin);
	const char *from = colon ? colon + 1 : begin;
	o.head_len += (size_t)(from - o.typed);
	o.typed = from;
	if (colon && inputs)
		data_params(&o, entry);
	else if (colon)
		params(&o, entry);
	else if (!inputs)
		variants(&o);
	else
		for (size_t i = 0; data_kinds[i]; i++)
			offer(&o, data_kinds[i]->name, "");
}

static void isas(const struct offer *o)
{
	offer_all(o, attn_isa_names());
	offer(o, "auto", "");
	offer(o, "all", "");
}

/* The words that an axis takes; false: it takes numbers. */
static bool axis_values(const struct offer *o, enum axis_id axis)
{
	static const char *const flags[] = { "0", "1", NULL };

	switch (axis) {
	case AXIS_VARIANT: specs(*o, false); return true;
	case AXIS_DATA: specs(*o, true); return true;
	case AXIS_MODE: offer_all(o, cell_mode_names); return true;
	case AXIS_DTYPE: offer_all(o, cell_type_names); return true;
	case AXIS_CACHE: offer_all(o, cell_cache_names); return true;
	case AXIS_CAUSAL: offer_all(o, flags); return true;
	case AXIS_ISA: isas(o); return true;
	default: return false;
	}
}

/* What an option takes, typed so far at o; a list goes on behind its commas. */
static void values(struct offer o, const struct option_def *option)
{
	const char *comma = strrchr(o.typed, ',');
	bool axis = option->kind == OPTION_AXIS, whole = axis && (option->at == AXIS_VARIANT || option->at == AXIS_DATA);

	if (comma && !whole && (axis || strchr(option->argument, ','))) {
		o.head_len += (size_t)(comma + 1 - o.typed);
		o.typed = comma + 1;
	}
	if (axis)
		axis_values(&o, (enum axis_id)option->at);
	else if (option->names)
		offer_all(&o, option->names);
	else if (!strcmp(option->name, "rerun") || !strcmp(option->name, "baseline"))
		specs(o, false);
	else if (!strncmp(option->argument, "FILE", 4))
		text_adds(o.out, ":file\n");
	else if (!strcmp(option->argument, "DIR"))
		text_adds(o.out, ":dir\n");
}

static const struct option_def *find(const struct verb *verb, const char *word, size_t len)
{
	for (const struct option_def *const *table = option_tables; *table; table++)
		for (const struct option_def *o = *table; o->name; o++) {
			bool is_long = len > 2 && !strncmp(word, "--", 2) && strlen(o->name) == len - 2 &&
			               !strncmp(word + 2, o->name, len - 2);
			if ((o->verbs & verb->mask) && (is_long || (len == 2 && word[0] == '-' && word[1] == o->letter && o->letter)))
				return o;
		}
	return NULL;
}

static void options(const struct offer *o, const struct verb *verb)
{
	char name[96];

	for (const struct option_def *const *table = option_tables; *table; table++)
		for (const struct option_def *d = *table; d->name; d++)
			if (d->verbs & verb->mask) {
				snprintf(name, sizeof name, "--%s", d->name);
				offer(o, name, "");
			}
}

static void arguments(const struct offer *o, const struct verb *verb)
{
	if (verb->sweep)
		text_adds(o->out, ":sweep\n");
	else if (!strcmp(verb->arguments, "[VARIANT]"))
		variants(o);
	else if (!strcmp(verb->arguments, "[VERB]"))
		for (const struct verb *v = verb_table; v->name; v++)
			offer(o, v->name, "");
	else if (!strcmp(verb->arguments, "NAME"))
		offer(o, "sqrt-d", "");
	else if (!strcmp(verb->arguments, "FILE"))
		text_adds(o->out, ":file\n");
	else if (*verb->arguments)
		text_adds(o->out, ":dir\n");
}

/* The next word of a line, cut at WORD_MAX; false: there is none. A line that
 * ends in a blank ends in an empty word. */
static bool next_word(const char **rest, char word[WORD_MAX])
{
	const char *from = *rest;

	if (!from)
		return false;
	from += strspn(from, " \t");
	size_t len = strcspn(from, " \t");
	snprintf(word, WORD_MAX, "%.*s", (int)len, from);
	*rest = from[len] ? from + len + 1 : NULL;
	return true;
}

void complete_line(const char *line, struct text *out)
{
	char word[WORD_MAX], before[WORD_MAX] = "";
	const struct verb *verb = NULL;
	const char *rest = line;
	size_t n = 0;

	while (next_word(&rest, word)) {
		if (n == 1)
			verb = verb_find(word);
		if (!rest)
			break;
		snprintf(before, sizeof before, "%s", word);
		n++;
	}
	struct offer o = { .head = word, .typed = word, .out = out };
	if (n == 1) {
		for (const struct verb *v = verb_table; v->name; v++)
			offer(&o, v->name, "");
		offer(&o, "--help", "");
		offer(&o, "--version", "");
	}
	if (n < 2 || !verb)
		return;
	const struct option_def *option = find(verb, before, strlen(before));
	size_t equals = strcspn(word, "=");
	if (option && option->argument) {
		values(o, option);
	} else if (word[0] == '-' && word[equals] == '=' && (option = find(verb, word, equals)) && option->argument) {
		o.head_len = equals + 1;
		o.typed = word + equals + 1;
		values(o, option);
	} else if (word[0] == '-') {
		options(&o, verb);
	} else {
		arguments(&o, verb);
	}
}
