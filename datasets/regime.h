/* SPDX-License-Identifier: BSD-3-Clause
 *
 * From the entropy of attention to the size of its logits.
 */
#ifndef DATASETS_REGIME_H
#define DATASETS_REGIME_H

#include <stddef.h>

/* The expected H / ln n of a row of softmax(q.k / sqrt(d)) over n keys, where
 * entries of q and k are N(0, sigma). */
double regime_ratio(double sigma, size_t n, size_t d);

/* The sigma at which regime_ratio() is this ratio: 0 for 1, and for n < 2. */
double regime_sigma(double ratio, size_t n, size_t d);

#endif
