/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The verbs: what there is, and those that need no more than a configuration.
 * Each writes its result to out.
 */
#ifndef HARNESS_VERBS_H
#define HARNESS_VERBS_H

#include "options.h"

typedef bool verb_fn(const struct config *config, struct text *out, char *error);
typedef bool test_fn(const struct config *config, size_t *failures, struct text *out, char *error);

struct verb {
	const char *name, *arguments, *help;
	const char *more; /* further sentences of its --help, or NULL */
	unsigned mask;    /* its options */
	bool plots;       /* of plots/, which reads its own options */
	bool sweep;       /* takes a sweep file */
	verb_fn *call;    /* all NULL: run, or a verb of plots/ */
	test_fn *test;
};

extern const struct verb verb_table[]; /* ended by name == NULL */

const struct verb *verb_find(const char *name); /* or NULL */

/* The option tables, of C and of plots/, ended by NULL. */
extern const struct option_def *const option_tables[];

/* False: a sentence in error. */
verb_fn list_verb, plan_verb, show_verb, roof_verb, doctor_verb, help_verb;

/* As above; *failures counts the properties that do not hold, the claims that do
 * not hold, what is wrong with a run. */
test_fn verify_verb, selftest_verb, check_verb;

/* What `attnbench --help` says, and `attnbench VERB --help`. */
void usage_print(struct text *out);
void verb_help(const struct verb *verb, struct text *out);

/* What may follow a command line that ends where the cursor is, a line each: words
 * in full, or ":file", ":dir" or ":sweep" where files are wanted. */
void complete_line(const char *line, struct text *out);

#endif
