/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Errors over seeds: `attnbench show --by-seed`.
 */
#ifndef HARNESS_SEEDS_H
#define HARNESS_SEEDS_H

#include "options.h"
#include "results.h"

/* One row for the cells that differ in their seed alone: how many there are,
 * and the median of each error with its interval from order statistics, which
 * takes six seeds. A seed makes the input and the variant's random objects. */
bool seeds_table(const struct results *results, const struct config *config, struct text *out,
                 char *error);

#endif
