/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What is behind each kind of input of data.h.
 */
#ifndef DATASETS_CATALOGUE_H
#define DATASETS_CATALOGUE_H

#include "gen.h"
#include "task.h"

/* A kind and what makes it; no generator: it is stored in files. */
struct source {
	struct data_kind kind; /* first: a kind is found again in its source */
	gen_fn *generate;
	/* Optional: does it exist in this shape? Else a sentence in
	 * error[DATA_ERROR_MAX]. */
	bool (*fits)(const struct gen *gen, char *error);
	const struct task *task; /* or NULL */
};

/* The two kinds that are stored. */
extern const struct data_kind *const real_kind, *const file_kind;

#endif
