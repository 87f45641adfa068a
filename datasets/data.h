/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Inputs: where q, k and v come from. An input is named by a spec such as
 *
 *     gauss:sigma=1   ar1:rho=0.99   clustered:C=16:r=0.3
 *     mqar:pairs=64   real:minilm    file:DIR    file:FILE.safetensors
 *
 * Generated inputs are counter-based: an element depends on the spec, the
 * seed, batch, head and its own index (token, channel), never on order or on
 * threads. But for logits, whose size suits n, and for tasks, which end with
 * the last token, it does not depend on n either: a shorter sequence is a
 * prefix of a longer one.
 *
 * Some inputs are tasks: some queries have an answer, and an output can be
 * scored.
 */
#ifndef DATASETS_DATA_H
#define DATASETS_DATA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { DATA_MAX_PARAMS = 4, DATA_PATH_MAX = 1024, DATA_ERROR_MAX = 512 };

struct data_shape {
	size_t batch, heads;
	size_t n_q, n_k, d, d_v;
};

struct data_param {
	const char *name, *help;
	double def, min, max; /* inclusive range */
	bool integer;
};

/* A kind of input: the catalogue of `attnbench list --inputs`. */
struct data_kind {
	const char *name, *summary; /* what it stresses and whom it flatters */
	bool task;                  /* outputs can be scored */
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

/* Reads a spec. Names and values are checked, and for real: and file: also
 * that the files are there and agree with each other. */
bool data_parse(const char *spec, struct data *data, char *error);

/* The spec with every parameter in the order of its kind, "gauss:sigma=1": two
 * inputs are equal if these are. False if it does not fit in out[0..size). */
bool data_format(const struct data *data, char *out, size_t size);

/* Can this input give this shape? Cheap: files are opened, not read. */
bool data_check(const struct data *data, const struct data_shape *shape, char *error);

/* Fills q (n_q x d), k (n_k x d), v (n_k x d_v) of one query head, dense
 * row-major. Stored inputs give their first tokens; where they hold fewer
 * key/value heads than query heads, consecutive query heads share one. */
bool data_fill(const struct data *data, const struct data_shape *shape, uint64_t seed,
               size_t batch, size_t head, float *q, float *k, float *v, char *error);

/* Of one head: answers that are right, questions, and the share that a guess
 * without looking gets right. */
struct data_score {
	size_t correct, total;
	double chance;
};

/* Scores out (n_q x d_v, dense) of one query head of a task: each question is
 * answered by the class whose value has the largest product with the row.
 * False: this input is no task, or not in this shape. */
bool data_score(const struct data *data, const struct data_shape *shape, uint64_t seed, size_t batch,
                size_t head, const float *out, struct data_score *score, char *error);

/* Directory of the samples that ship: $ATTNBENCH_DATA, or datasets/real beside
 * the running program or in a directory above it, or ../share/attnbench/real
 * from it. Never NULL: when none exists, the first place looked at. The
 * string is the calling thread's, until its next call. */
const char *data_real_dir(void);

#endif
