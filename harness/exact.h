/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The errors of a layer's output against exact softmax attention in double.
 */
#ifndef HARNESS_EXACT_H
#define HARNESS_EXACT_H

#include "worker.h"

/* Fills the err_exact_* of the outcome and what goes with them, from a layer that
 * layer_widen() made. *logit_max: the largest |scale q.k| of a visible pair. */
bool exact_measure(struct worker *w, double *logit_max);

/* Bytes that it takes for a cell, at most. */
size_t exact_bytes(const struct cell *cell);

#endif
