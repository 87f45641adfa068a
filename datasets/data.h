/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Inputs: where q, k and v come from. An input is named by a spec such as
 *
 *     gauss:sigma=1   ar1:rho=0.99   clustered:C=16:r=0.3
 *     real:minilm     file:DIR
 *
 * Generated inputs are counter-based: an element depends on the spec, the
 * seed, batch, head and its own index, never on n, on order or on threads.
 */
#ifndef DATASETS_DATA_H
#define DATASETS_DATA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { DATA_MAX_PARAMS = 4, DATA_PATH_MAX = 256, DATA_ERROR_MAX = 512 };

struct data_shape {
	size_t batch, heads;
	size_t n_q, n_k, d, d_v;
};

struct data_param {
	const char *name, *help;
	double def, min, max;
};

/* A kind of input: the catalogue of `attnbench list --inputs`. */
struct data_kind {
	const char *name, *summary; /* what it stresses and whom it flatters */
	struct data_param params[DATA_MAX_PARAMS]; /* ended by name == NULL */
};

extern const struct data_kind *const data_kinds[]; /* ended by NULL */

struct data {
	const struct data_kind *kind;
	double param[DATA_MAX_PARAMS];
	char path[DATA_PATH_MAX]; /* real:NAME and file:PATH */
};

/* All return true, or false with a sentence in error[DATA_ERROR_MAX] that says
 * what is wrong and what would be right. */
bool data_parse(const char *spec, struct data *data, char *error);

/* Can this input give this shape? Cheap: files are opened, not read. */
bool data_check(const struct data *data, const struct data_shape *shape, char *error);

/* Fills q (n_q x d), k (n_k x d), v (n_k x d_v) of one head, dense row-major. */
bool data_fill(const struct data *data, const struct data_shape *shape, uint64_t seed,
               size_t batch, size_t head, float *q, float *k, float *v, char *error);

/* Directory of the samples that ship: $ATTNBENCH_DATA, or datasets/real beside
 * the running program, or under its installation prefix. */
const char *data_real_dir(void);

#endif
