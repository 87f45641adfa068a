/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Experiments on the harness itself, each with what it claims.
 */
#ifndef HARNESS_SELFTEST_H
#define HARNESS_SELFTEST_H

#include "claims.h"
#include "options.h"

/* The same kernel under two names: how often does it differ from itself? */
bool selftest_aa(const struct config *config, struct claims *claims, struct text *out, char *error);

/* How often do 95 % intervals hold the long-run median? */
bool selftest_coverage(const struct config *config, struct claims *claims, struct text *out,
                       char *error);

#endif
