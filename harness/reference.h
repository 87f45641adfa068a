/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Exact softmax attention in double, the yardstick of err_exact: online over
 * blocks of keys, eight queries at a time, on all threads. It shares no code
 * with the variants. Work n_rows n_k (d + d_v), memory n_k (d + d_v) a head.
 */
#ifndef HARNESS_REFERENCE_H
#define HARNESS_REFERENCE_H

#include <stddef.h>
#include <stdint.h>

#include "team.h"

struct reference_input {
	size_t heads; /* of all sequences */
	size_t n_q, n_k, d, d_v;
	bool causal;
	float scale;
	const float *q, *k, *v; /* heads x n x d */
	size_t n_rows; /* queries to look at; 0: reference_n_rows(n_q) */
};

struct reference {
	size_t heads, n_rows, d_v;
	size_t *rows;   /* n_rows query indices, ascending, the same for all heads */
	double *out;    /* heads x n_rows x d_v; 0 where no key is visible */
	double entropy_ratio; /* mean of H / ln(visible keys) over rows that see two
	                         or more; NAN if there is none */
	double n_eff;         /* mean of e^H over the same rows */
	double entropy_rows;  /* how many these are, of all heads */
	double logit_max;     /* largest |scale q.k| of a visible pair */
};

/* Query rows to look at: all of them if n_q <= all, else `some`, the first and
 * the last included, one at a pseudo-random place in each equal stretch, so
 * that they keep no step with blocks. rows has room for that many. */
size_t reference_rows(size_t n_q, size_t all, size_t some, size_t *rows);

/* How many that is for err_exact: up to 16384 rows all, else 512. */
size_t reference_n_rows(size_t n_q);

/* Of n queries, where `some` of the n_longest of the longest sequence are looked at: the
 * same share of every sequence. */
size_t reference_share(size_t n, size_t n_longest, size_t some);

/* NULL, or why not. cache_dir "": computed. input_hash names the input. */
const char *reference_get(struct reference *ref, const struct reference_input *in,
                          uint64_t input_hash, const char *cache_dir, struct team *team);
void reference_free(struct reference *ref);

/* Bytes that reference_get() holds while it computes. */
size_t reference_bytes(const struct reference_input *in, size_t threads);

/* Keys that query i sees: bottom-right causal, or all. */
size_t reference_visible(const struct reference_input *in, size_t i);

#endif
