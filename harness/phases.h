/* SPDX-License-Identifier: BSD-3-Clause
 *
 * How much of its time a variant spends on choosing keys. */
#ifndef HARNESS_PHASES_H
#define HARNESS_PHASES_H

#include "layer.h"

/* Runs one call more, in which each thread reads the clock as it goes from
 * attention to selection and back, and returns the share of selection, 0 to 1.
 * NAN where the variant does not choose keys by the data, or does not tell. */
double phases_selection(struct layer *layer);

#endif
