/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What the verbs do, apart from the exit code: results go into a text that
 * main.c prints.
 */
#ifndef HARNESS_VERBS_H
#define HARNESS_VERBS_H

#include "options.h"

/* False: a sentence in error. */
bool list_verb(const struct config *config, struct text *out, char *error);
bool plan_verb(const struct config *config, struct text *out, char *error);
bool show_verb(const struct config *config, struct text *out, char *error);
bool roof_verb(const struct config *config, struct text *out, char *error);
bool doctor_verb(const struct config *config, struct text *out, char *error);

/* As above; *failures counts the properties that do not hold. */
bool verify_verb(const struct config *config, size_t *failures, struct text *out, char *error);

#endif
