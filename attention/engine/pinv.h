/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Pseudo-inverse of a small square matrix. */
#ifndef ENGINE_PINV_H
#define ENGINE_PINV_H

#include "../attn.h"

/* Floats of work space for pinv_iterate. */
size_t pinv_work_floats(size_t m);

/* z (m x m) = `iterations` steps from Z_0 = A^T / (|A|_1 |A|_inf) of
 *
 *     Z <- Z/4 (13 I - A Z (15 I - A Z (7 I - A Z)))
 *
 * (Razavi et al. 2014; Xiong et al. 2021, arXiv 2102.03902, eq. 14): four products
 * a step, 8 m^3 FLOP. Rows are split over the team; every rank calls it. */
void pinv_iterate(const float *a, size_t m, size_t iterations, float *z, float *work,
                  struct attn_team *team);

/* Doubles of work space for pinv_exact. */
size_t pinv_exact_doubles(size_t m);

/* z = the pseudo-inverse by singular values (one-sided Jacobi in double), those
 * below m eps |A|_2 dropped. Slow: for tests and small m. One caller. */
void pinv_exact(const float *a, size_t m, float *z, double *work);

#endif
