/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Variants of engines: asking, and keeping what was said. */
#include "engine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "axes.h"
#include "cell.h"
#include "registry.h"

/* A variant and all that its pointers point to. Lives as long as the process. */
struct external {
	struct attn_variant variant;
	struct engine_info info;
	struct attn_param param[ATTN_MAX_PARAMS + 1];
	char name[ENGINE_NAME + 64], title[160];
	const struct entry *entry;
	struct external *next;
};

static struct external *first, **end = &first;

const struct attn_variant *engine_variant_at(size_t i)
{
	struct external *e = first;

	while (e && i-- > 0)
		e = e->next;
	return e ? &e->variant : NULL;
}

static struct external *find(const char *name)
{
	for (struct external *e = first; e; e = e->next)
		if (!strcmp(e->name, name))
			return e;
	return NULL;
}

static const struct external *external_of(const struct attn_variant *variant)
{
	for (const struct external *e = first; e; e = e->next)
		if (&e->variant == variant)
			return e;
	return NULL;
}

const struct engine_info *engine_info(const struct attn_variant *variant)
{
	const struct external *e = external_of(variant);

	return e ? &e->info : NULL;
}

const char *engine_registry(const struct attn_variant *variant)
{
	const struct external *e = external_of(variant);

	return e ? e->entry->registry : NULL;
}

static const unsigned FORMS = ATTN_CAUSAL | ATTN_BIDIRECTIONAL | ATTN_CROSS;
static const unsigned TYPES = ATTN_BF16_OK | ATTN_F16_OK;

/* Our variant and its arguments from a text like "performer:eps=0.0001". */
static bool parse_base(const char *text, struct variant_choice *base)
{
	const struct where where = { .name = "engine" };
	struct variant_choices choices = { 0 };
	char error[ERROR_MAX];
	bool ok = !strchr(text, '/') && variants_parse(text, &where, &choices, error) && choices.n == 1;

	if (ok)
		*base = choices.v[0];
	free(choices.v);
	return ok;
}

/* NULL: no memory, or there is no such base. */
static struct external *add(const struct engine_info *info, const struct entry *entry, const char *name)
{
	struct variant_choice choice;
	struct external *e = parse_base(info->base, &choice) ? calloc(1, sizeof *e) : NULL;

	if (!e)
		return NULL;
	const struct attn_variant *base = choice.variant;
	e->info = *info;
	e->entry = entry;
	snprintf(e->name, sizeof e->name, "%s", name);
	snprintf(e->title, sizeof e->title, "%s of %s", strchr(e->name, '/') + 1, info->impl);
	e->variant = *base;
	e->variant.name = e->name;
	e->variant.title = e->title;
	e->variant.summary = info->defined ? "Computes what our variant of that definition computes."
	                                   : "Has no definition here: only the error against exact "
	                                     "attention is measured.";
	e->variant.flags = (base->flags & ~(FORMS | TYPES)) | (info->flags & (FORMS | TYPES));
	for (size_t i = 0, n = cell_n_params(base); i < n; i++) {
		e->param[i] = base->params[i];
		e->param[i].def = choice.arg[i];
	}
	if (base->params)
		e->variant.params = e->param;
	e->variant.forward = NULL;
	e->variant.cases = NULL;
	if (!info->defined) {
		e->variant.oracle = NULL;
		e->variant.prepare = NULL;
		e->variant.impl_bound = 0;
	}
	*end = e;
	end = &e->next;
	return e;
}

/* ---- what an engine says of a variant ---------------------------------------- */

/* The bit of a word of the list "causal,bidirectional", 0 if it is none. */
static unsigned bit_of(const char *word, size_t len)
{
	static const struct {
		const char *word;
		unsigned bit;
	} bits[] = {
		{ "causal", ATTN_CAUSAL },   { "bidirectional", ATTN_BIDIRECTIONAL },
		{ "cross", ATTN_CROSS },     { "bf16", ATTN_BF16_OK },
		{ "f16", ATTN_F16_OK },
	};

	for (size_t i = 0; i < sizeof bits / sizeof *bits; i++)
		if (strlen(bits[i].word) == len && !strncmp(bits[i].word, word, len))
			return bits[i].bit;
	return 0;
}

/* Words of other versions of the protocol are passed over: they name what this
 * one does not ask for. */
static unsigned bits_of(const char *list)
{
	unsigned bits = 0;

	while (*list) {
		size_t len = strcspn(list, ",");
		bits |= bit_of(list, len);
		list += len + (list[len] == ',');
	}
	return bits;
}

/* NULL, or what is wrong with the list. */
static const char *params_of(const char *list, const struct attn_variant *base, unsigned *params)
{
	while (*list) {
		size_t len = strcspn(list, ","), i = 0, n = cell_n_params(base);
		while (i < n && !(strlen(base->params[i].name) == len && !strncmp(base->params[i].name, list, len)))
			i++;
		if (i == n)
			return "claims a parameter that our variant does not have";
		*params |= 1u << i;
		list += len + (list[len] == ',');
	}
	return NULL;
}

/* "variant NAME key=value ...": NULL and the variant is known, or what is wrong. */
static const char *take_variant(const struct entry *entry, char *line)
{
	struct engine_info info = { .flags = 0 };
	char *save = NULL, *word = strtok_r(line, " ", &save), name[ENGINE_NAME + 64];
	const char *package = NULL, *version = NULL, *params = "";

	if (!word || strlen(word) >= 64 || !registry_good_name(word))
		return "names a variant that is not of lower-case letters, digits and dashes";
	snprintf(name, sizeof name, "%s/%s", entry->name, word);
	snprintf(info.engine, sizeof info.engine, "%s", entry->name);
	while ((word = strtok_r(NULL, " ", &save))) {
		char *value = strchr(word, '=');
		if (!value)
			continue;
		*value++ = '\0';
		if (!strcmp(word, "same") || !strcmp(word, "like")) {
			snprintf(info.base, sizeof info.base, "%s", value);
			info.defined = word[0] == 's';
		} else if (!strcmp(word, "forms") || !strcmp(word, "types")) {
			info.flags |= bits_of(value);
		} else if (!strcmp(word, "params")) {
			params = value;
		} else if (!strcmp(word, "package")) {
			package = value;
		} else if (!strcmp(word, "version")) {
			version = value;
		}
	}
	struct variant_choice base;
	if (!parse_base(info.base, &base))
		return "has a variant that is neither the same as nor like one of ours";
	if (!(info.flags & (ATTN_CAUSAL | ATTN_BIDIRECTIONAL)))
		return "has a variant that is neither causal nor bidirectional";
	const char *wrong = params_of(params, base.variant, &info.params);
	if (wrong)
		return wrong;
	if (package)
		snprintf(info.impl, sizeof info.impl, "%s %s (%s)", package, version ? version : "?",
		         entry->program);
	else
		snprintf(info.impl, sizeof info.impl, "%s", entry->program);
	if (find(name))
		return "names a variant twice";
	return add(&info, entry, name) ? NULL : "left no memory";
}

const char *engine_ask(const char *name)
{
	enum { LIMIT_MS = 60000, GRACE_MS = 2000 };
	struct entry *entry = registry_find(name);
	struct dialog d;
	char *line = NULL;
	const char *wrong = NULL;
	int status;

	if (!entry)
		return "is in no registry";
	if (entry->state != ENTRY_UNASKED)
		return entry->state == ENTRY_READY ? NULL : entry->why;
	if (!registry_greet(entry, 0, NULL, -1, LIMIT_MS, &d))
		return entry->why;
	while (!wrong && (line = dialog_hear(&d, LIMIT_MS)) && strcmp(line, "end"))
		wrong = strncmp(line, "variant ", 8) ? "said what is no line of a greeting"
		                                     : take_variant(entry, line + 8);
	if (!wrong && !line)
		wrong = d.state == DIALOG_LATE ? "took more than a minute for its greeting"
		                               : "ended within its greeting";
	dialog_say(&d, "bye");
	dialog_end(&d, wrong ? 0 : GRACE_MS, &status);
	entry->state = wrong ? ENTRY_BROKEN : ENTRY_READY;
	if (wrong)
		snprintf(entry->why, sizeof entry->why, "engine %s %s", entry->name, wrong);
	return wrong ? entry->why : NULL;
}

/* ---- lookups ------------------------------------------------------------------- */

const char *engine_name(size_t i)
{
	const struct entry *entry = registry_at(i);

	return entry ? entry->name : NULL;
}

const char *engine_command(const char *name)
{
	const struct entry *entry = registry_find(name);

	return entry ? entry->command : "";
}

const struct attn_variant *engine_variant(const char *name)
{
	char engine[ENGINE_NAME];
	size_t len = strcspn(name, "/");
	struct external *e = find(name);

	if (e)
		return &e->variant;
	if (name[len] != '/' || len >= sizeof engine || !registry_good_name(name + len + 1))
		return NULL;
	snprintf(engine, sizeof engine, "%.*s", (int)len, name);
	struct entry *entry = registry_find(engine);
	if (!entry)
		return NULL;
	if (engine_ask(engine)) {
		/* A stand-in: what the engine would say is not known. */
		struct engine_info info = { .base = "null", .flags = FORMS | TYPES };
		snprintf(info.engine, sizeof info.engine, "%s", engine);
		snprintf(info.impl, sizeof info.impl, "%s", engine);
		e = strlen(name) < sizeof e->name ? add(&info, entry, name) : NULL;
	} else {
		e = find(name);
	}
	return e ? &e->variant : NULL;
}

const char *engine_refusal(const struct attn_variant *variant, const double *arg, bool *broken)
{
	static char text[256];
	const struct external *e = external_of(variant);

	*broken = false;
	if (!e)
		return NULL;
	if (e->entry->state == ENTRY_MISSING || e->entry->state == ENTRY_BROKEN) {
		*broken = e->entry->state == ENTRY_BROKEN;
		return e->entry->why;
	}
	for (size_t i = 0, n = cell_n_params(variant); i < n; i++) {
		double def = variant->params[i].def;
		if ((e->info.params >> i & 1) || arg[i] == def || (isnan(arg[i]) && isnan(def)))
			continue;
		snprintf(text, sizeof text, "%s has no parameter %s: leave it out", variant->name,
		         variant->params[i].name);
		return text;
	}
	return NULL;
}

/* ---- in a worker ---------------------------------------------------------------- */

const struct attn_variant *engine_adopt(const struct engine_info *info, const char *name,
                                        const char *registry, char *error)
{
	struct external *e = find(name);

	if (e)
		return &e->variant;
	if (!engines_read(registry, error))
		return NULL;
	struct entry *entry = registry_find(info->engine);
	if (!entry || !strchr(name, '/')) {
		fail(error, "%s: there is no engine %s any more", registry, info->engine);
		return NULL;
	}
	e = add(info, entry, name);
	if (!e)
		fail(error, "%s: there is no variant %s", name, info->base);
	return e ? &e->variant : NULL;
}

const char *engine_start(const char *name, unsigned threads, const unsigned *cpus, int file,
                         struct dialog *d)
{
	static char why[256];
	struct entry *entry = registry_find(name);
	char *line;
	int status;

	if (!entry)
		return "is in no registry";
	if (!registry_greet(entry, threads, cpus, file, -1, d))
		return entry->why;
	while ((line = dialog_hear(d, -1)) && strcmp(line, "end"))
		;
	if (!line) {
		snprintf(why, sizeof why, "engine %s ended within its greeting", name);
		dialog_end(d, 0, &status);
		return why;
	}
	return NULL;
}
