/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Crossing the axes of a group of a sweep into cells.
 */
#ifndef HARNESS_CROSS_H
#define HARNESS_CROSS_H

#include "cell.h"
#include "options.h"

/* Called for each cell, variants fastest; the cell has its id. */
typedef bool cross_fn(void *user, const struct cell *cell, char *error);

/* Every combination of the group's values (NULL: no sections). */
bool cross_group(const struct config *config, const struct group *group, cross_fn *fn, void *user,
                 char *error);

/* The variants, thread counts and instruction sets that were asked for, else
 * `otherwise`. */
bool cross_variants(const struct config *config, const char *otherwise, struct variant_choices *out,
                    char *error);
bool cross_threads(const struct config *config, struct numbers *out, char *error);
bool cross_isas(const struct config *config, const char *otherwise, struct names *out, char *error);

/* What an axis is when nothing is given; NULL: it follows another. */
const char *axis_default(enum axis_id axis);

#endif
