/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The weights that an output implies. A variant whose weights do not depend on
 * the values has a matrix A with out = A V; with V = I its own kernel gives A,
 * which is compared, row by row, with the weights P of exact attention:
 *
 *     tv        mean of sum_j |P_j - A_j| / 2
 *     kl        mean of sum_j P_j ln(P_j / A_j)
 *     kl_rev    mean of sum_j A_j ln(A_j / P_j)
 *     dropped   mean of the sum of P_j over keys with A_j = 0
 *
 * On request both matrices of the first head are kept: the worker leaves them
 * with what it has for the next worker, from where the parent takes them.
 */
#ifndef HARNESS_WEIGHTS_H
#define HARNESS_WEIGHTS_H

#include "worker.h"

/* Fills the weights_* of the outcome, or leaves them unknown: too many keys, no
 * such matrix, no memory. Where sequences differ in length, the first is looked at.
 * Called after the output of the layer is there. False: what there is to keep could
 * not be kept, and the pass ended. */
bool weights_measure(struct worker *w);

/* Where they are kept: NumPy's format, float32, 2 x n_q x n_k, P before A. */
enum { WEIGHTS_PATH = JOB_PATH + 32 };
void weights_path(const struct job *job, char path[WEIGHTS_PATH]);

/* Bytes that it takes for a cell. */
size_t weights_bytes(const struct cell *cell);

/* One row of n keys, P by its logarithm (-INFINITY: not visible). A sum of
 * weights that is not 1 makes the divergences NAN; so does a negative weight. A
 * key that has weight, but none in A, makes kl INFINITY. */
struct weights_row {
	double tv, kl, kl_rev, dropped;
};
struct weights_row weights_compare(const double *log_p, const float *a, size_t n);

#endif
