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

typedef bool verb_fn(const struct config *config, struct text *out, char *error);
typedef bool test_fn(const struct config *config, size_t *failures, struct text *out, char *error);

struct verb {
	const char *name, *arguments, *help;
	unsigned mask;        /* its options; 0: it reads its own */
	bool sweep;           /* takes a sweep file */
	verb_fn *call;        /* all NULL: run, or a verb of plots/ */
	test_fn *test;
};

static const struct verb verbs[] = {
	{ "list", "[VARIANT]", "variants, inputs, instruction sets, columns", VERB_LIST, false, list_verb, NULL },
	{ "plan", "[SWEEP.ini]", "the cells, predicted time and memory, what is skipped and why", VERB_PLAN,
	  true, plan_verb, NULL },
	{ "run", "[SWEEP.ini]", "measure; the same command again goes on where it ended", VERB_RUN, true,
	  NULL, NULL },
	{ "show", "DIR", "the table of a run", VERB_SHOW, false, show_verb, NULL },
	{ "check", "DIR", "is a run whole and consistent?", VERB_CHECK, false, NULL, check_verb },
	{ "experiment", "NAME", "tables without a variant: sqrt-d", VERB_EXPERIMENT, false, experiment_verb, NULL },
	{ "roof", "", "the ceilings of this machine: arithmetic, memory, exponentials", VERB_ROOF, false,
	  roof_verb, NULL },
	{ "doctor", "", "what disturbs measurements here, and what to do", VERB_DOCTOR, false, doctor_verb, NULL },
	{ "selftest", "", "does the harness measure what it says, here? experiments with their claims",
	  VERB_SELFTEST, false, NULL, selftest_verb },
	{ "verify", "", "does every variant do what its definition says? all properties, all kernels",
	  VERB_VERIFY, false, NULL, verify_verb },
	/* Verbs of plots/, which reads its own options. */
	{ "report", "DIR", "figures, findings and a page from a run", 0, false, NULL, NULL },
	{ "figures", "DIR", "figures from a run: PDF, SVG, PNG", 0, false, NULL, NULL },
	{ "findings", "DIR", "the most interesting findings of a run, in words", 0, false, NULL, NULL },
	{ "fit", "DIR", "exponents and crossovers with intervals", 0, false, NULL, NULL },
	{ "compare", "A B", "two runs, or two variants of one: what is faster", 0, false, NULL, NULL },
	{ "lint", "FILE", "is a table of results plausible? ours or another program's", 0, false, NULL, NULL },
	{ "peers", "DIR", "our variants beside other programs: figures and tables", 0, false, NULL, NULL },
	{ 0 },
};

static int complain(int code, const char *error)
{
	fprintf(stderr, "attnbench: %s\n", error);
	return code;
}

static int usage(FILE *to)
{
	fputs("attnbench measures time, memory and error of attention variants.\n\n"
	      "usage: attnbench VERB [OPTION]... [ARGUMENT]\n\n", to);
	for (const struct verb *v = verbs; v->name; v++)
		fprintf(to, "  %-9s %-12s %s\n", v->name, v->arguments, v->help);
	fputs("\n`attnbench VERB --help` lists the options of a verb.\n"
	      "Exit codes: 0 ok, 1 some cells failed, 2 wrong use, 3 environment, 4 regression,\n"
	      "130 interrupted.\n", to);
	return to == stdout ? CODE_OK : CODE_USAGE;
}

static int help(const struct verb *verb)
{
	struct text text = { 0 };

	options_help(verb->mask, &text);
	printf("attnbench %s%s%s: %s\n\n%s", verb->name, *verb->arguments ? " " : "", verb->arguments,
	       verb->help, text.s ? text.s : "");
	if (verb->sweep)
		fputs("\nLists read 256,512 or 256..4096:x2 or 1..8:+1. A sweep file has the same options as\n"
		      "keys; its sections are groups whose lists are crossed. What is given here wins.\n", stdout);
	text_free(&text);
	return CODE_OK;
}

static int unknown_verb(const char *name)
{
	struct nearest nearest = { .word = name };
	char hint[HINT_MAX], error[ERROR_MAX];

	for (const struct verb *v = verbs; v->name; v++)
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
		fail(error, "the Python environment %.600s/.venv is missing: run `make deps` in %.200s", root, root);
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

static int call(const struct verb *verb, int argc, char **argv, char **all)
{
	struct config config = { 0 };
	struct text out = { 0 };
	char error[ERROR_MAX] = "";
	int code = CODE_USAGE;

	if (!prepare(&config, verb, argc, argv, error)) {
		complain(code, error);
	} else if (config.help) {
		code = help(verb);
	} else {
		if (verb->call)
			code = verb->call(&config, &out, error) ? CODE_OK : CODE_USAGE;
		else if (verb->test)
			code = test(verb->test, &config, &out, error);
		else
			code = run_verb(&config, all, &out, error);
		if (error[0] && code != CODE_OK && code != CODE_FAILED_CELLS && code != CODE_INTERRUPTED)
			complain(code, error);
		if (!print(&out) && code == CODE_OK)
			code = complain(CODE_ENVIRONMENT, "stdout cannot be written to");
	}
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
	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") || !strcmp(argv[1], "help"))
		return usage(stdout);
	for (const struct verb *v = verbs; v->name; v++)
		if (!strcmp(v->name, argv[1]))
			return v->mask ? call(v, argc - 1, argv + 1, argv) : run_python(argv + 1);
	return unknown_verb(argv[1]);
}

/* Past the destructors: that of OpenBLAS joins a thread which, where memory is
 * limited, has been seen to never end. */
int main(int argc, char **argv)
{
	int code = answer(argc, argv);

	fflush(NULL);
	_exit(code);
}
