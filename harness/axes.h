/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Lists of values, as they are written on the command line and in sweep files:
 *
 *     256,512,1024       256..16384:x2       1..8:+1       256..16384:x1.414
 *
 * and the two lists with a syntax of their own, variants and inputs:
 *
 *     full,flash,performer:m=128|256:ortho=1     family/linear     all
 *     gauss:sigma=1|2,real:minilm
 */
#ifndef HARNESS_AXES_H
#define HARNESS_AXES_H

#include "../attention/attn.h"
#include "text.h"

/* What a value may be. */
struct axis_rule {
	double min, max; /* inclusive */
	bool integer;
	const char *const *names; /* not NULL: one of these, the value is its index */
};

struct numbers {
	double *v;
	size_t n, cap;
};

/* Appends the values of a list to *out, each once, in the order given. The
 * text is one value list of an option (separator ',') or of a parameter
 * (separator '|'); offset is where it starts in the option's value. */
bool numbers_parse(const struct axis_rule *rule, char separator, const char *text,
                   const struct where *where, size_t offset, struct numbers *out, char *error);

/* A variant with one value for each parameter. */
struct variant_choice {
	const struct attn_variant *variant;
	double arg[ATTN_MAX_PARAMS];
};

struct variant_choices {
	struct variant_choice *v;
	size_t n, cap;
};

bool variants_parse(const char *text, const struct where *where, struct variant_choices *out,
                    char *error);

struct names {
	char **v; /* owned */
	size_t n, cap;
};

/* Inputs in their full form, every parameter by name ("gauss:sigma=1"). */
bool inputs_parse(const char *text, const struct where *where, struct names *out, char *error);

/* Instruction sets: names, "auto" for the best one here, "all". */
bool isas_parse(const char *text, const struct where *where, struct names *out, char *error);

bool names_add(struct names *names, const char *name); /* once; false: no memory */
void names_free(struct names *names);

/* "8GiB", "512MiB", "1000000"; "90", "90s", "5m", "2h". */
bool parse_bytes(const char *text, const struct where *where, double *bytes, char *error);
bool parse_seconds(const char *text, const struct where *where, double *seconds, char *error);

#endif
