/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What the tables of verbs and options say to people: --help, for the width of the
 * terminal, and the manual page. Also the scripts with which shells ask
 * `attnbench complete` what may follow. */
#include "verbs.h"
#include "version.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { LEFT = 24, NARROW = 64, NARROWEST = 24, WIDEST = 1000 };

/* Of the terminal, or what COLUMNS says; without either, lines are not broken. */
static size_t line_width(void)
{
	const char *said = getenv("COLUMNS");
	unsigned long width = said ? strtoul(said, NULL, 10) : 0;
	struct winsize size;

	if (!width && isatty(STDOUT_FILENO) && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0)
		width = size.ws_col;
	if (!width || width > WIDEST)
		return WIDEST;
	return width < NARROWEST ? NARROWEST : width;
}

/* Words from column `at` on; further lines begin at column `indent`. */
static void wrap(struct text *out, size_t at, size_t indent, size_t width, const char *words)
{
	bool first = true;

	while (*words) {
		size_t len = strcspn(words, " ");
		if (at > indent && at + !first + len > width) {
			text_printf(out, "\n%*s", (int)indent, "");
			at = indent;
		} else if (!first) {
			text_adds(out, " ");
			at++;
		}
		text_add(out, words, len);
		at += len;
		words += len + strspn(words + len, " ");
		first = false;
	}
	text_adds(out, "\n");
}

/* "  NAME    words", with the words below the name where there is little room. */
static void entry(struct text *out, const char *name, size_t left, const char *words)
{
	size_t width = line_width(), len = strlen(name);

	if (width < NARROW) {
		text_printf(out, "  %s\n      ", name);
		wrap(out, 6, 6, width, words);
	} else {
		text_printf(out, "  %-*s ", (int)left, name);
		wrap(out, 3 + (len > left ? len : left), 3 + left, width, words);
	}
}

void usage_print(struct text *out)
{
	char name[64];

	wrap(out, 0, 0, line_width(), "attnbench measures time, memory and error of attention variants.");
	text_adds(out, "\nusage: attnbench VERB [OPTION]... [ARGUMENT]\n\n");
	for (const struct verb *v = verb_table; v->name; v++) {
		snprintf(name, sizeof name, "%-*s %s", line_width() < NARROW ? 0 : 10, v->name, v->arguments);
		entry(out, name, 22, v->help);
	}
	text_adds(out, "\n");
	wrap(out, 0, 0, line_width(), "`attnbench VERB --help` lists the options of a verb.");
	wrap(out, 0, 0, line_width() < 78 ? line_width() : 78,
	     "Exit codes: 0 ok, 1 some cells failed, 2 wrong use, 3 environment, 4 regression, 130 interrupted.");
}

void verb_help(const struct verb *verb, struct text *out)
{
	char left[96];

	text_printf(out, "attnbench %s%s%s: ", verb->name, *verb->arguments ? " " : "", verb->arguments);
	wrap(out, out->len, 0, line_width(), verb->help);
	if (verb->more) {
		text_adds(out, "\n");
		wrap(out, 0, 0, line_width() < 90 ? line_width() : 90, verb->more);
	}
	text_adds(out, "\n");
	for (const struct option_def *const *table = option_tables; *table; table++)
		for (const struct option_def *o = *table; o->name; o++) {
			const char letter[] = { '-', o->letter, ',', '\0' };
			if (!(o->verbs & verb->mask))
				continue;
			snprintf(left, sizeof left, "%s --%s%s%s", o->letter ? letter : "   ", o->name,
			         o->argument ? " " : "", o->argument ? o->argument : "");
			entry(out, left, LEFT, o->help);
		}
}

/* ---- the manual page ---- */

/* Text as roff: no character of it is a command. */
static void roff(struct text *out, const char *s)
{
	if (*s == '.' || *s == '\'')
		text_adds(out, "\\&");
	for (; *s; s++) {
		if (*s == '\\')
			text_adds(out, "\\e");
		else if (*s == '-')
			text_adds(out, "\\-");
		else
			text_add(out, s, 1);
	}
}

/* "roff", a line of its own, after a request such as ".B ". */
static void roff_line(struct text *out, const char *request, const char *s)
{
	text_adds(out, request);
	roff(out, s);
	text_adds(out, "\n");
}

static void verb_names(const struct option_def *option, struct text *out)
{
	const char *glue = "";

	for (const struct verb *v = verb_table; v->name; v++)
		if (option->verbs & v->mask) {
			text_printf(out, "%s%s", glue, v->name);
			glue = ", ";
		}
}

static void page_verbs(struct text *out)
{
	text_adds(out, ".SH VERBS\n");
	for (const struct verb *v = verb_table; v->name; v++) {
		text_printf(out, ".TP\n.B %s%s%s%s\n", v->name, *v->arguments ? " \\fI" : "", v->arguments,
		            *v->arguments ? "\\fR" : "");
		roff_line(out, "", v->help);
		if (v->more && (v == verb_table || v[-1].more != v->more))
			roff_line(out, ".br\n", v->more);
	}
}

static void page_options(struct text *out)
{
	text_adds(out, ".SH OPTIONS\nBehind each: the verbs that take it.\n");
	for (size_t t = 2; t-- > 0;)
		for (const struct option_def *o = option_tables[t]; o->name; o++) {
			text_adds(out, ".TP\n");
			if (o->letter)
				text_printf(out, "\\fB\\-%c\\fR, ", o->letter);
			text_adds(out, "\\fB\\-\\-");
			roff(out, o->name);
			text_adds(out, "\\fR");
			if (o->argument) {
				text_adds(out, " \\fI");
				roff(out, o->argument);
				text_adds(out, "\\fR");
			}
			text_adds(out, "\n");
			roff_line(out, "", o->help);
			text_adds(out, "\\fI(");
			if (o->verbs == ~0u)
				text_adds(out, "all");
			else
				verb_names(o, out);
			text_adds(out, ")\\fR\n");
		}
}

struct pair {
	const char *name, *words;
};

static void page_pairs(struct text *out, const char *heading, const struct pair *pairs)
{
	text_printf(out, ".SH %s\n", heading);
	for (; pairs->name; pairs++) {
		roff_line(out, ".TP\n.B ", pairs->name);
		roff_line(out, "", pairs->words);
	}
}

static const struct pair codes[] = {
	{ "0", "All is well." },
	{ "1", "Some cells failed, a check found something, or a property does not hold." },
	{ "2", "Wrong use: the message says what, where, and what would be right." },
	{ "3", "The environment lacks something: a file, memory, the Python packages." },
	{ "4", "A regression, where --fail-on asks for this." },
	{ "130", "Interrupted; the same command goes on." },
	{ 0 },
};

static const struct pair files[] = {
	{ "raw.csv", "Every sample, appended as it was measured. All else can be made again from it." },
	{ "summary.csv", "A row a cell: estimates, intervals, memory, errors, flags." },
	{ "run.json", "Machine, build, options, sweep file, sensors, ceilings, how the run ended." },
	{ "report.html", "What `attnbench report` makes of these, in one file." },
	{ 0 },
};

static const struct pair variables[] = {
	{ "NO_COLOR", "Not empty: no colour, where --color does not say otherwise." },
	{ "COLUMNS", "Width of --help, where it is not that of the terminal." },
	{ "ATTNBENCH_DATA", "Directory of the stored inputs, real:NAME." },
	{ "XDG_CACHE_HOME", "Where the margin that selftest measured is kept." },
	{ 0 },
};

static const struct pair examples[] = {
	{ "attnbench run --variant full,flash,performer:m=128|256 --n 256..4096:x2 --out results/first",
	  "Five lengths of four variants on normal input." },
	{ "attnbench report results/first", "Findings, figures and a page from it." },
	{ "attnbench compare results/a results/b --fail-on slower", "Did a change make anything slower?" },
	{ 0 },
};

static void manual_page(struct text *out)
{
	text_printf(out, ".TH ATTNBENCH 1 \"\" \"attnbench %s\" \"User Commands\"\n", ATTNBENCH_VERSION);
	text_adds(out, ".SH NAME\nattnbench \\- time, memory and error of attention variants\n"
	               ".SH SYNOPSIS\n.B attnbench\n.I VERB\n[\\fIOPTION\\fR]... [\\fIARGUMENT\\fR]\n"
	               ".SH DESCRIPTION\nMeasures what efficient attention costs and what it gives up: time, peak memory and "
	               "the error against exact softmax attention, of many variants behind one interface, over sequence "
	               "lengths, shapes and kinds of input. Results go to standard output and into CSV files, progress "
	               "and messages to standard error.\n");
	page_verbs(out);
	page_options(out);
	page_pairs(out, "EXIT STATUS", codes);
	page_pairs(out, "FILES OF A RUN", files);
	page_pairs(out, "ENVIRONMENT", variables);
	page_pairs(out, "EXAMPLES", examples);
}

/* ---- completion ---- */

/* bash splits words at = and : too, and replaces only the last part. */
static const char bash_script[] =
	"# bash completion for attnbench\n"
	"_attnbench() {\n"
	"\tlocal line=${COMP_LINE:0:COMP_POINT} found i word strip\n"
	"\tword=${line##*[[:space:]]}\n"
	"\tstrip=${word%\"${COMP_WORDS[COMP_CWORD]}\"}\n"
	"\t[[ ${COMP_WORDS[COMP_CWORD]} == [=:] ]] && strip=$word\n"
	"\tmapfile -t found < <(\"${COMP_WORDS[0]}\" complete \"$line\" 2>/dev/null)\n"
	"\tCOMPREPLY=()\n"
	"\tfor i in \"${found[@]}\"; do\n"
	"\t\tcase $i in\n"
	"\t\t:dir) compopt -o filenames; mapfile -t COMPREPLY < <(compgen -d -- \"${word#--*=}\") ;;\n"
	"\t\t:file | :sweep) compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- \"${word#--*=}\") ;;\n"
	"\t\t*[=:,]) compopt -o nospace; COMPREPLY+=(\"${i#\"$strip\"}\") ;;\n"
	"\t\t*) COMPREPLY+=(\"${i#\"$strip\"}\") ;;\n"
	"\t\tesac\n"
	"\tdone\n"
	"}\n"
	"complete -F _attnbench attnbench\n";

static const char zsh_script[] =
	"#compdef attnbench\n"
	"_attnbench() {\n"
	"\tlocal -a found open closed\n"
	"\tfound=(\"${(@f)$(${words[1]} complete \"$LBUFFER\" 2>/dev/null)}\")\n"
	"\t[[ -n $found ]] || return 1\n"
	"\tcase $found[1] in\n"
	"\t:dir) compset -P '--*='; _files -/; return ;;\n"
	"\t:file) compset -P '--*='; _files; return ;;\n"
	"\t:sweep) _files -g '*.ini'; return ;;\n"
	"\tesac\n"
	"\topen=(${(M)found:#*[=:,]})\n"
	"\tclosed=(${found:#*[=:,]})\n"
	"\t(( $#open )) && compadd -Q -S '' -- $open\n"
	"\t(( $#closed )) && compadd -Q -- $closed\n"
	"}\n"
	"if [[ $funcstack[1] == _attnbench ]]; then _attnbench \"$@\"; else compdef _attnbench attnbench; fi\n";

bool help_verb(const struct config *config, struct text *out, char *error)
{
	if (config->n_positional > 1)
		return fail(error, "help takes one verb, not %zu", config->n_positional);
	if (config->n_positional) {
		const struct verb *verb = verb_find(config->positional[0]);
		if (!verb)
			return fail(error, "there is no verb '%s'; `attnbench help` lists them", config->positional[0]);
		verb_help(verb, out);
	} else if (config->manual == MANUAL_PAGE) {
		manual_page(out);
	} else if (config->manual != MANUAL_NONE) {
		text_adds(out, config->manual == MANUAL_BASH ? bash_script : zsh_script);
	} else {
		usage_print(out);
	}
	return true;
}
