/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Sweep files. libinih splits lines into sections, names and values; lines are
 * handed to it one by one, so that every value is known by line and column. */
#include "sweep.h"

#include <errno.h>
#include <ini.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What the reader and the handler of libinih share. */
struct reading {
	struct config *config;
	size_t at;           /* of the next line in the text */
	const char *line;    /* the current one */
	size_t line_len;
	unsigned number;
	char *error;
	bool failed;
};

/* fgets() over the text in memory. libinih cuts lines at the size of its
 * buffer, which is its own business at run time: a longer line is an error
 * here, not two lines. */
static char *read_line(char *buf, int size, void *stream)
{
	struct reading *r = stream;
	const struct text *text = &r->config->sweep_text;

	if (r->failed || r->at >= text->len)
		return NULL;
	r->line = text->s + r->at;
	const char *end = memchr(r->line, '\n', text->len - r->at);
	r->line_len = end ? (size_t)(end - r->line) + 1 : text->len - r->at;
	r->at += r->line_len;
	r->number++;
	size_t start = strspn(r->line, " \t");
	bool comment = r->line[start] == '#' || r->line[start] == ';';
	if (r->line_len >= (size_t)size && !comment) {
		r->failed = true;
		fail(r->error, "%s:%u: the line is longer than %d characters; break it after a comma and "
		     "indent the rest, or repeat the key", r->config->sweep_path, r->number, size - 1);
		return NULL;
	}
	size_t len = r->line_len < (size_t)size ? r->line_len : (size_t)size - 1;
	memcpy(buf, r->line, len);
	buf[len] = '\0';
	return buf;
}

/* Where the value stands in its line: after the '=', or after the indent of a
 * line that goes on. */
static unsigned value_column(const struct reading *r)
{
	size_t at = strspn(r->line, " \t");
	size_t key_end = strcspn(r->line, "=:\n");

	if (at == 0 && key_end < r->line_len && r->line[key_end] != '\n') {
		at = key_end + 1;
		at += strspn(r->line + at, " \t");
	}
	return (unsigned)at + 1;
}

static struct group *find_group(struct config *config, const char *section, char *error)
{
	if (!*section || !strcmp(section, "sweep"))
		return &config->defaults;
	for (size_t i = 0; i < config->n_groups; i++)
		if (!strcmp(config->groups[i].name, section))
			return &config->groups[i];
	char *name = strdup(section);
	if (!name || !grow(&config->groups, &config->groups_cap, config->n_groups + 1,
	                   sizeof *config->groups)) {
		free(name);
		fail(error, "out of memory");
		return NULL;
	}
	config->groups[config->n_groups] = (struct group){ .name = name };
	return &config->groups[config->n_groups++];
}

static bool unknown_key(const struct where *where, const char *key, char *error)
{
	struct nearest nearest = { .word = key };
	char hint[HINT_MAX];

	for (const struct option_def *o = option_table; o->name; o++)
		if ((o->verbs & (VERB_PLAN | VERB_RUN)) && o->kind != OPTION_HERE)
			nearest_offer(&nearest, o->name);
	return fail_at(where, 0, error, "'%s' is not an option%s; `attnbench run --help` lists them", key,
	               nearest_hint(&nearest, hint));
}

static bool handle(struct reading *r, const char *section, const char *key, const char *value)
{
	struct where where = { r->config->sweep_path, r->number, 1, NULL };
	struct group *group = find_group(r->config, section, r->error);
	const struct option_def *option = option_find(key, VERB_PLAN | VERB_RUN);

	if (!group)
		return false;
	if (!option)
		return unknown_key(&where, key, r->error);
	if (option->kind == OPTION_HERE)
		return fail_at(&where, 0, r->error, "%s belongs on the command line, not into a sweep file",
		               key);
	if (option->kind == OPTION_RUN && group != &r->config->defaults)
		return fail_at(&where, 0, r->error,
		               "%s holds for the whole run: move it to the top of the file or to [sweep]", key);
	where.column = value_column(r);
	where.name = option->name;

	/* A list may end its line with the comma that announces the next line. */
	char *copy = strdup(value);
	if (!copy)
		return fail(r->error, "out of memory");
	size_t len = strlen(copy);
	while (option->kind == OPTION_AXIS && len && strchr(", \t", copy[len - 1]))
		copy[--len] = '\0';
	bool ok = len ? option_set(r->config, group, option, copy, &where, r->error)
	              : fail_at(&where, 0, r->error, "a value is missing");
	free(copy);
	return ok;
}

static int on_entry(void *user, const char *section, const char *key, const char *value)
{
	struct reading *r = user;

	if (!r->failed && !handle(r, section, key, value))
		r->failed = true;
	return 1;
}

bool sweep_parse(struct config *config, char *error)
{
	struct reading r = { .config = config, .error = error };

	if (memchr(config->sweep_text.s ? config->sweep_text.s : "", '\0', config->sweep_text.len))
		return fail(error, "%s: this is not a text file", config->sweep_path);
	int line = ini_parse_stream(read_line, &r, on_entry, &r);
	if (r.failed)
		return false;
	if (line > 0)
		return fail(error, "%s:%d: this line is neither [section] nor key = value",
		            config->sweep_path, line);
	return line == 0 || fail(error, "out of memory");
}

bool sweep_read(struct config *config, const char *path, char *error)
{
	char block[4096];
	size_t n;
	FILE *file = fopen(path, "re");

	if (!file)
		return fail(error, "cannot open the sweep file %s: %s", path, strerror(errno));
	while ((n = fread(block, 1, sizeof block, file)) > 0 && config->sweep_text.len <= SWEEP_FILE_MAX)
		text_add(&config->sweep_text, block, n);
	bool bad = ferror(file);
	fclose(file);
	if (bad)
		return fail(error, "cannot read the sweep file %s", path);
	if (config->sweep_text.len > SWEEP_FILE_MAX)
		return fail(error, "the sweep file %s is longer than %d bytes", path, SWEEP_FILE_MAX);
	config->sweep_path = strdup(path);
	if (!config->sweep_path || config->sweep_text.failed)
		return fail(error, "out of memory");
	return sweep_parse(config, error);
}
