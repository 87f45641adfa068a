/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Tasks with exact labels: inputs in which some queries ask for something that
 * one key, or one group of keys, holds. Nothing is trained. A token has a key,
 * which is one of a set of random codes of one length, and a value, which is
 * one of `classes` orthogonal codes; tokens that hold nothing have a key and a
 * value of their own kind, the blank ones. The last tokens ask.
 *
 * Exact attention finds every answer. A query is the code that it asks for, at
 * a size at which its logit is beta(d) for the right key, and at most beta t
 * for any other but for a chance of 1e-3 in 2^26 pairs, since two random codes
 * of d - 1 dimensions have a cosine above t with probability (1 - t^2)^((d - 2)
 * / 2) / 2 at most. With beta (1 - t) = ln(2^20) + 5 all wrong keys of 2^20
 * together weigh e^-5 at most, so the output is the right value to within 1 %,
 * and its largest product with a value code is with the right one.
 */
#ifndef DATASETS_TASK_H
#define DATASETS_TASK_H

#include "gen.h"

struct task; /* what distinguishes one task from the others */

extern const struct task task_mqar, task_induction, task_haystack, task_majority;

/* The generator and the check of one shape, for struct source. */
void task_fill(const struct task *task, const struct gen *gen, float *q, float *k, float *v);
bool task_fits(const struct task *task, const struct gen *gen, char *error);

/* Decodes the rows that ask from out (n_q x d_v). */
void task_score(const struct task *task, const struct gen *gen, const float *out, struct data_score *score);

/* The logit of a query with the key that it asks for. */
double task_logit(size_t d);

#endif
