/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A quick look at how fast this machine is, for predictions of time: the rate
 * of the tile kernel at one length and of a copy. A few milliseconds.
 */
#ifndef HARNESS_ROOF_H
#define HARNESS_ROOF_H

#include "support.h"

/* Predicted time of one call in seconds: the slower of arithmetic and traffic,
 * over the threads that the cell can keep busy. Rates are measured at the
 * first call and kept. */
double roof_call_seconds(const struct cell *cell, const struct cell_cost *cost, double cpus);

#endif
