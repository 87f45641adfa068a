/* SPDX-License-Identifier: BSD-3-Clause
 *
 * attnbench: one program, many verbs. The one file that prints errors and
 * exits. Results go to stdout, all else to stderr. */
#include "experiment.h"
#include "ask.h"
#include "engine.h"
#include "machine.h"
#include "plugin.h"
#include "run.h"
#include "sweep.h"
#include "sysroot.h"
#include "verbs.h"
#include "version.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int complain(int code, const char *error)
{
	fprintf(stderr, "attnbench: %s\n", error);
	return code;
}

static int usage(FILE *to)
{
	struct text text = { 0 };

	usage_print(&text);
	fputs(text.s ? text.s : "", to);
	text_free(&text);
	return to == stdout ? CODE_OK : CODE_USAGE;
}

static int unknown_verb(const char *name)
{
	struct nearest nearest = { .word = name };
	char hint[HINT_MAX], error[ERROR_MAX];

	for (const struct verb *v = verb_table; v->name; v++)
		nearest_offer(&nearest, v->name);
	fail(error, "there is no verb '%s'%s", name,
	     *nearest_hint(&nearest, hint) ? hint : "; `attnbench --help` lists them");
	return complain(CODE_USAGE, error);
}

/* Verbs of analysis are Python, called as git calls its sub-commands. */
static int run_python(char **argv)
{
	char root[RUN_PATH_MAX], python[RUN_PATH_MAX + 32], path[2 * RUN_PATH_MAX], error[ERROR_MAX];
	const char *before = getenv("PYTHONPATH");
	size_t n = 0;

	if (!machine_root("plots/__main__.py", root, sizeof root))
		return complain(CODE_ENVIRONMENT, "the figures and analyses (plots/) are neither above this "
		                "program nor in ../share/attnbench: install them, or run from the sources");
	snprintf(python, sizeof python, "%s/.venv/bin/python", root);
	if (access(python, X_OK)) {
		snprintf(path, sizeof path, "%s/Makefile", root);
		if (access(path, F_OK) == 0)
			fail(error, "the Python environment %.600s/.venv is missing: run `make deps` in %.200s", root, root);
		else
			fail(error, "the Python environment is missing: python3 -m venv %.250s/.venv && "
			            "%.250s/.venv/bin/pip install -r %.250s/plots/requirements.txt", root, root, root);
		return complain(CODE_ENVIRONMENT, error);
	}
	snprintf(path, sizeof path, "%s%s%s", root, before && *before ? ":" : "", before ? before : "");
	setenv("PYTHONPATH", path, 1);
	while (argv[n])
		n++;
	char **args = calloc(n + 4, sizeof *args);
	if (!args)
		return complain(CODE_ENVIRONMENT, "out of memory");
	args[0] = python;
	args[1] = "-m";
	args[2] = "plots";
	memcpy(args + 3, argv, (n + 1) * sizeof *args);
	fflush(NULL);
	execv(python, args);
	free(args);
	fail(error, "cannot start %.900s: %s", python, strerror(errno));
	return complain(CODE_ENVIRONMENT, error);
}

/* Options, sweep file, plug-ins: all that verbs of C share. */
static bool prepare(struct config *config, const struct verb *verb, int argc, char **argv, char *error)
{
	char plugin_error[PLUGIN_ERROR_MAX];

	if (!options_parse(config, verb->mask, argc, argv, error))
		return false;
	if (config->help)
		return true;
	if (config->sysroot && !sysroot_set(config->sysroot))
		return fail(error, "--sysroot: the path is too long");
	if (verb->sweep) {
		if (config->n_positional > 1)
			return fail(error, "%s takes one sweep file, not %zu; '%s' is too many", verb->name,
			            config->n_positional, config->positional[1]);
		if (config->n_positional == 1 && !sweep_read(config, config->positional[0], error))
			return false;
	} else if (!*verb->arguments && config->n_positional) {
		return fail(error, "%s takes no argument: '%s'", verb->name, config->positional[0]);
	}
	for (size_t i = 0; i < config->n_plugins; i++)
		if (!plugin_load(config->plugin[i], plugin_error))
			return fail(error, "--plugin: %.*s", ERROR_MAX - 16, plugin_error);
	for (size_t i = 0; i < config->n_registries; i++)
		if (!engines_read(config->registry[i], error))
			return false;
	return true;
}

/* True if the text reached stdout. */
static bool print(const struct text *text)
{
	if (text->s)
		fputs(text->s, stdout);
	return fflush(stdout) == 0 && !ferror(stdout);
}

static int test(test_fn *fn, const struct config *config, struct text *out, char *error)
{
	size_t failures;

	if (!fn(config, &failures, out, error))
		return CODE_USAGE;
	return failures ? CODE_FAILED_CELLS : CODE_OK;
}

/* The answer of a shell's completion. */
static int complete(const char *line)
{
	struct text out = { 0 };

	complete_line(line, &out);
	bool ok = print(&out);
	text_free(&out);
	return ok ? CODE_OK : CODE_ENVIRONMENT;
}

static bool asks_for_help(int argc, char **argv)
{
	return argc == 3 && (!strcmp(argv[2], "--help") || !strcmp(argv[2], "-h"));
}

static int call(const struct verb *verb, int argc, char **argv, char **all)
{
	struct config config = { 0 };
	struct text out = { 0 };
	char error[ERROR_MAX] = "";
	int code = CODE_USAGE;

	if (!prepare(&config, verb, argc, argv, error)) {
		complain(code, error);
	} else if (config.help) {
		verb_help(verb, &out);
		code = CODE_OK;
	} else {
		if (verb->call)
			code = verb->call(&config, &out, error) ? CODE_OK : CODE_USAGE;
		else if (verb->test)
			code = test(verb->test, &config, &out, error);
		else
			code = run_verb(&config, all, &out, error);
		if (error[0] && code != CODE_OK && code != CODE_FAILED_CELLS && code != CODE_INTERRUPTED)
			complain(code, error);
	}
	if (!print(&out) && code == CODE_OK)
		code = complain(CODE_ENVIRONMENT, "stdout cannot be written to");
	text_free(&out);
	config_free(&config);
	return code;
}

/* Closed standard streams would be the first files opened, and what is meant
 * for the terminal would be written into raw.csv. */
static bool open_streams(void)
{
	int fd;

	while ((fd = open("/dev/null", O_RDWR)) >= 0 && fd <= STDERR_FILENO)
		;
	return fd >= 0 && close(fd) == 0;
}

static int answer(int argc, char **argv)
{
	if (!open_streams())
		return CODE_ENVIRONMENT;
	if (argc < 2)
		return usage(stderr);
	if (!strcmp(argv[1], "worker"))
		return worker_main(WORKER_IN_FD, WORKER_OUT_FD);
	if (!strcmp(argv[1], "blas"))
		return answer_blas();
	if (!strcmp(argv[1], "--version") || !strcmp(argv[1], "version")) {
		printf("attnbench %s\n", ATTNBENCH_VERSION);
		return CODE_OK;
	}
	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h"))
		return usage(stdout);
	if (!strcmp(argv[1], "complete"))
		return complete(argc > 2 ? argv[2] : "");
	const struct verb *verb = verb_find(argv[1]);
	if (!verb)
		return unknown_verb(argv[1]);
	return verb->plots && !asks_for_help(argc, argv) ? run_python(argv + 1)
	                                                 : call(verb, argc - 1, argv + 1, argv);
}

/* Past the destructors: that of OpenBLAS joins a thread which, where memory is
 * limited, has been seen to never end. */
int main(int argc, char **argv)
{
	int code = answer(argc, argv);

	fflush(NULL);
	_exit(code);
}
