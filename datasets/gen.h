/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The generators behind the kinds of data.h: each fills one head.
 */
#ifndef DATASETS_GEN_H
#define DATASETS_GEN_H

#include "data.h"

struct gen {
	const char *name;    /* of the kind: part of the key of its streams */
	const double *param; /* in the order of the kind's table */
	uint64_t seed, item; /* item: which batch and head */
	size_t n_q, n_k, d, d_v;
};

/* q: n_q x d, k: n_k x d, v: n_k x d_v, dense row-major. */
typedef void gen_fn(const struct gen *gen, float *q, float *k, float *v);

gen_fn gen_gauss, gen_ar1, gen_clustered, gen_local, gen_sink, gen_needle, gen_unit;
gen_fn gen_heavy, gen_outlier, gen_lowrank, gen_logits;

enum { GEN_RANK_MAX = 256 };

/* Random streams of one head. */
enum gen_purpose {
	GEN_QUERY, GEN_KEY, GEN_VALUE, GEN_COMMON, GEN_ASSIGN_QUERY, GEN_ASSIGN_KEY, GEN_CENTRE,
	GEN_CENTRE_VALUE, GEN_PLACE, GEN_DISTANCE
};
uint64_t gen_stream(const struct gen *gen, enum gen_purpose purpose);

#endif
