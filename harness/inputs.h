/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The inputs of a layer, generated or read, or taken from the cache when a
 * worker before this one has generated them.
 */
#ifndef HARNESS_INPUTS_H
#define HARNESS_INPUTS_H

#include "../datasets/data.h"
#include "layer.h"

enum { INPUTS_ERROR_MAX = DATA_ERROR_MAX };

/* Fills q, k and v of every head; k is q for a variant that ties them. Padding is
 * filled with NaN: what is read of it shows. False and a sentence if there is no
 * such input. */
bool inputs_fill(struct layer *layer, const char *cache_dir, char error[INPUTS_ERROR_MAX]);

/* Has the input of the cell a shape like that of each of its sequences? */
bool inputs_check(const struct cell *cell, char error[INPUTS_ERROR_MAX]);

/* The answers of all heads to an input that is a task; score->total is 0 for one
 * that is none, and for a decode step. */
bool inputs_score(const struct layer *layer, struct data_score *score, char error[INPUTS_ERROR_MAX]);

#endif
