/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Arguments into a configuration: one option at a time, a whole command line,
 * and back into text. */
#include "options.h"

#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const struct option_def *option_find(const char *name, unsigned verbs)
{
	for (const struct option_def *o = option_table; o->name; o++)
		if ((o->verbs & verbs) && !strcmp(o->name, name))
			return o;
	return NULL;
}

static bool add_piece(struct axis_text *axis, const char *value, const struct where *where,
                      char *error)
{
	char *copy = strdup(value);

	if (!copy || !grow(&axis->piece, &axis->cap, axis->n + 1, sizeof *axis->piece)) {
		free(copy);
		return fail(error, "out of memory");
	}
	axis->piece[axis->n++] = (struct piece){ copy, *where };
	return true;
}

bool option_set(struct config *config, struct group *group, const struct option_def *option,
                const char *value, const struct where *where, char *error)
{
	unsigned char *given = &config->given[option - option_table];
	unsigned char source = where->file ? GIVEN_FILE : GIVEN_HERE;

	if (option->kind == OPTION_AXIS)
		return add_piece(&group->axis[option->at], value, where, error);
	if (*given > source)
		return true;
	if (*given == source && option->argument && strcmp(option->name, "plugin"))
		return fail_at(where, 0, error, "given twice");
	if (!option->apply(config, option, value, where, error))
		return false;
	*given = source;
	return true;
}

/* getopt says only that something is wrong; argv says what. */
static bool bad_option(const char *argument, unsigned verb, const char *verb_name, bool missing,
                       char *error)
{
	char name[64], hint[HINT_MAX];
	bool is_long = !strncmp(argument, "--", 2);

	snprintf(name, sizeof name, "%.*s", (int)strcspn(argument + 2 * is_long, "="),
	         argument + 2 * is_long);
	if (missing)
		return fail(error, "%s needs a value", argument);
	if (is_long && option_find(name, verb))
		return fail(error, "--%s takes no value", name);
	struct nearest nearest = { .word = name };
	size_t prefixes = 0;
	for (const struct option_def *o = option_table; is_long && o->name; o++)
		if (o->verbs & verb) {
			nearest_offer(&nearest, o->name);
			prefixes += !strncmp(o->name, name, strlen(name));
		}
	if (prefixes > 1)
		return fail(error, "'--%s' could be several options; write it in full", name);
	if (nearest.best && *nearest_hint(&nearest, hint))
		return fail(error, "%s has no option '--%s'; did you mean '--%s'?", verb_name, name,
		            nearest.best);
	return fail(error, "%s has no option '%s'; `attnbench %s --help` lists them", verb_name,
	            argument, verb_name);
}

bool options_parse(struct config *config, unsigned verb, int argc, char **argv, char *error)
{
	struct option longs[OPTIONS_MAX] = { 0 };
	/* A letter, or LONG + index: equal codes would make getopt take the first
	 * of several options that a short form could mean. */
	enum { LONG = UCHAR_MAX + 1 };
	const struct option_def *by_code[LONG + OPTIONS_MAX] = { 0 };
	char letters[2 * OPTIONS_MAX + 2] = ":";
	int n = 0, got;
	size_t at = 1;

	for (const struct option_def *o = option_table; o->name; o++) {
		if (!(o->verbs & verb))
			continue;
		by_code[LONG + n] = o;
		longs[n] = (struct option){ o->name, o->argument ? required_argument : no_argument, NULL,
			                    LONG + n };
		n++;
		if (o->letter) {
			by_code[(unsigned char)o->letter] = o;
			letters[at++] = o->letter;
			if (o->argument)
				letters[at++] = ':';
		}
	}
	opterr = 0;
	optind = 0; /* glibc: scan from the start, whatever was scanned before */
	while ((got = getopt_long(argc, argv, letters, longs, NULL)) != -1) {
		if (got == '?' || got == ':')
			return bad_option(argv[optind - 1], verb, argv[0], got == ':', error);
		const struct option_def *o = by_code[got];
		/* No value begins so: it is the next option, and this one's was forgotten. */
		if (o->argument && optarg == argv[optind - 1] && !strncmp(optarg, "--", 2))
			return fail(error, "--%s needs a value, and %s is the next option", o->name, optarg);
		const struct where where = { .name = o->name };
		if (!option_set(config, &config->command_line, o, optarg, &where, error))
			return false;
	}
	config->positional = argv + optind;
	config->n_positional = (size_t)(argc - optind);
	return true;
}

const struct axis_text *config_axis(const struct config *config, const struct group *group,
                                    enum axis_id axis)
{
	if (config->command_line.axis[axis].n)
		return &config->command_line.axis[axis];
	if (group && group->axis[axis].n)
		return &group->axis[axis];
	return config->defaults.axis[axis].n ? &config->defaults.axis[axis] : NULL;
}

static void show_scalar(const struct config *config, const struct option_def *option,
                        struct text *out)
{
	const char *base = (const char *)config + option->at;

	if (!strcmp(option->name, "plugin")) {
		for (size_t i = 0; i < config->n_plugins; i++)
			text_printf(out, "%s%s", i ? "," : "", config->plugin[i]);
	} else if (!strcmp(option->name, "registry")) {
		for (size_t i = 0; i < config->n_registries; i++)
			text_printf(out, "%s%s", i ? "," : "", config->registry[i]);
	} else if (!option->argument) {
		text_adds(out, *(const bool *)base ? "1" : "0");
	} else if (option->names) {
		text_adds(out, option->names[*(const unsigned *)base]);
	} else {
		option_print(option, base, out);
	}
}

void option_show(const struct config *config, const struct group *group,
                 const struct option_def *option, struct text *out)
{
	if (option->kind != OPTION_AXIS) {
		if (config->given[option - option_table])
			show_scalar(config, option, out);
		return;
	}
	const struct axis_text *axis = config_axis(config, group, (enum axis_id)option->at);
	for (size_t i = 0; axis && i < axis->n; i++)
		text_printf(out, "%s%s", i ? "," : "", axis->piece[i].text);
}

static void group_free(struct group *group)
{
	for (size_t a = 0; a < AXIS_COUNT; a++) {
		for (size_t i = 0; i < group->axis[a].n; i++)
			free(group->axis[a].piece[i].text);
		free(group->axis[a].piece);
	}
	free(group->name);
}

void config_free(struct config *config)
{
	group_free(&config->command_line);
	group_free(&config->defaults);
	for (size_t i = 0; i < config->n_groups; i++)
		group_free(&config->groups[i]);
	free(config->groups);
	free(config->sweep_path);
	text_free(&config->sweep_text);
	for (size_t i = 0; i < config->n_plugins; i++)
		free(config->plugin[i]);
	for (size_t i = 0; i < config->n_registries; i++)
		free(config->registry[i]);
	char *const strings[] = { config->cpus, config->baseline, config->name,
		                  config->out, config->rerun, config->sysroot };
	for (size_t i = 0; i < sizeof strings / sizeof *strings; i++)
		free(strings[i]);
	*config = (struct config){ 0 };
}
