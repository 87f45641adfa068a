/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The table that `attnbench run` ends with and `attnbench show` prints.
 */
#ifndef HARNESS_SHOW_H
#define HARNESS_SHOW_H

#include "options.h"
#include "results.h"

/* Time with interval, ratio to the baseline of the shape with interval and
 * verdict, work space, errors and flags of each cell; then what holds for all. */
bool show_results(const struct results *results, const struct config *config, struct text *out,
                  char *error);

#endif
