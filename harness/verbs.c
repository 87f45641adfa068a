/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The table of verbs, and the options of those that plots/ implements: it parses
 * them, this table says them in --help, in the manual and to shells. */
#include "experiment.h"
#include "verbs.h"

#include <string.h>

static const char LISTS[] =
	"Lists read 256,512 or 256..4096:x2 or 1..8:+1. A sweep file has the same options as keys; its "
	"sections are groups whose lists are crossed. What is given here wins.";

const struct verb verb_table[] = {
	{ "list", "[VARIANT]", "variants, inputs, instruction sets, columns",
	  "With a VARIANT: everything that is known of it.", VERB_LIST, false, false, list_verb, NULL },
	{ "plan", "[SWEEP.ini]", "the cells, predicted time and memory, what is skipped and why", LISTS, VERB_PLAN,
	  false, true, plan_verb, NULL },
	{ "run", "[SWEEP.ini]", "measure; the same command again goes on where it ended", LISTS, VERB_RUN, false,
	  true, NULL, NULL },
	{ "show", "DIR", "the table of a run", NULL, VERB_SHOW, false, false, show_verb, NULL },
	{ "check", "DIR", "is a run whole and consistent?", NULL, VERB_CHECK, false, false, NULL, check_verb },
	{ "experiment", "NAME", "tables without a variant: sqrt-d", NULL, VERB_EXPERIMENT, false, false,
	  experiment_verb, NULL },
	{ "roof", "", "the ceilings of this machine: arithmetic, memory, exponentials", NULL, VERB_ROOF, false,
	  false, roof_verb, NULL },
	{ "doctor", "", "what disturbs measurements here, and what to do", NULL, VERB_DOCTOR, false, false,
	  doctor_verb, NULL },
	{ "selftest", "", "does the harness measure what it says, here? experiments with their claims", NULL,
	  VERB_SELFTEST, false, false, NULL, selftest_verb },
	{ "verify", "", "does every variant do what its definition says? all properties, all kernels", NULL,
	  VERB_VERIFY, false, false, NULL, verify_verb },
	{ "report", "DIR", "figures, findings and a page from a run",
	  "Writes fits.csv, slopes.csv, crossovers.csv, tables/ and report.html, and prints the findings.",
	  VERB_REPORT, true, false, NULL, NULL },
	{ "figures", "DIR", "figures from a run: PDF, SVG, PNG", NULL, VERB_FIGURES, true, false, NULL, NULL },
	{ "findings", "DIR", "the most interesting findings of a run, in words", NULL, VERB_FINDINGS, true, false,
	  NULL, NULL },
	{ "fit", "DIR", "exponents and crossovers with intervals",
	  "Writes fits.csv, slopes.csv and crossovers.csv, and prints their tables. What they say holds within "
	  "the lengths that were measured.", VERB_FIT, true, false, NULL, NULL },
	{ "compare", "A B", "two runs, or two variants of one: what is faster",
	  "A and B are directories of runs. A directory and two variants in it compares these, round by round. Two "
	  "runs were not interleaved: they are compared as two samples, and the answer says so.",
	  VERB_COMPARE, true, false, NULL, NULL },
	{ "lint", "FILE", "is a table of results plausible? ours or another program's",
	  "FILE is a summary.csv, the directory of a run, or any CSV file. Exits with 1 if something is not.",
	  VERB_LINT, true, false, NULL, NULL },
	{ "peers", "DIR", "our variants beside other programs: figures and tables", NULL, VERB_PEERS, true, false,
	  NULL, NULL },
	{ "help", "[VERB]", "this list, the options of a verb, the manual page", NULL, VERB_HELP, false, false,
	  help_verb, NULL },
	{ 0 },
};

static const char *const paper_formats[] = { "pdf", "svg", "png", NULL };
static const char *const fit_formats[] = { "text", "md", "csv", "tex", NULL };
static const char *const compare_formats[] = { "md", "text", "csv", NULL };
static const char *const regressions[] = { "slower", NULL };
static const char *const roles[] = { "variant", "n", "time", "rate", "memory", "error", "std", "low", "high", "status",
	                             "gflops", "parts", "average", "time_crossover", "memory_crossover", NULL };

#define PLOTS(name, argument, help, verbs, names) \
	{ name, 0, argument, help, OPTION_HERE, verbs, NULL, 0, names, 0, 0 }

static const struct option_def plots_options[] = {
	PLOTS("out", "DIR", "where to write [the directory of the run]",
	      VERB_REPORT | VERB_FIGURES | VERB_FIT | VERB_PEERS, NULL),
	PLOTS("overlay", NULL, "set published exponents, order and crossovers beside those measured",
	      VERB_REPORT | VERB_FIGURES, NULL),
	PLOTS("formats", "F,F", "also write the figures for papers: pdf, svg, png", VERB_REPORT, paper_formats),
	PLOTS("formats", "F,F", "of pdf, svg, png [all]", VERB_FIGURES, paper_formats),
	PLOTS("lengths", "N,N", "lengths of error against time [a telling few]", VERB_FIGURES, NULL),
	PLOTS("only", "NAME,NAME", "only figures whose names begin so, e.g. time,roofline", VERB_FIGURES, NULL),
	PLOTS("no-gnuplot", NULL, "leave out those that gnuplot draws", VERB_FIGURES, NULL),
	PLOTS("flat", NULL, "those of the first input and shape and of the whole run, two columns wide, as DIR/NAME.svg",
	      VERB_FIGURES, NULL),
	PLOTS("format", "FORM", "text, md, csv or tex [text]", VERB_FIT, fit_formats),
	PLOTS("format", "FORM", "md, text or csv [md]", VERB_COMPARE, compare_formats),
	PLOTS("fail-on", "WHAT", "slower: exit with 4 if anything is slower, or is no longer measured", VERB_COMPARE,
	      regressions),
	PLOTS("force", NULL, "compare runs of different machines or builds", VERB_COMPARE, NULL),
	PLOTS("map", "ROLE=COLUMN,...", "which column is what, for files of other programs: variant, n, time, rate, "
	      "memory, error, std, low, high, status, gflops, parts, average, time_crossover, memory_crossover",
	      VERB_LINT, roles),
	PLOTS("baseline", "NAME", "variant that crossovers are against", VERB_LINT, NULL),
	PLOTS("peak", "GFLOPS", "what the machine can do, in GFLOP/s", VERB_LINT, NULL),
	PLOTS("skip", "CHECK,...", "checks to leave out", VERB_LINT, NULL),
	{ 0 },
};

const struct option_def *const option_tables[] = { plots_options, option_table, NULL };

const struct verb *verb_find(const char *name)
{
	for (const struct verb *v = verb_table; v->name; v++)
		if (!strcmp(v->name, name))
			return v;
	return NULL;
}
