/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The table that `attnbench run` ends with and `attnbench show` prints.
 */
#ifndef HARNESS_SHOW_H
#define HARNESS_SHOW_H

#include "band.h"
#include "options.h"
#include "results.h"

/* band: of the machine that was measured, the margin of verdicts unless the
 * options say another.
 *
 * Time with interval, ratio to the baseline of the shape with interval and
 * verdict, work space, errors and flags of each cell; then what holds for all. */
bool show_results(const struct results *results, const struct config *config,
                  const struct band *band, struct text *out, char *error);

#endif
