/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The experiment sqrt-d: what the factor 1/sqrt(d) does to the logits of
 * attention, to the entropy of its weights and to the gradient through them.
 * No variant is run; all is double arithmetic on what the generators give.
 */
#ifndef HARNESS_SQRTD_H
#define HARNESS_SQRTD_H

#include <math.h>

#include "experiment.h"

/* softmax(a s): largest weight, entropy in nats, sum of squared weights. */
struct softmax {
	double max, entropy, squares;
};

static inline struct softmax softmax_of(const double *s, size_t n, double a)
{
	double top = -INFINITY, sum = 0, moment = 0, squares = 0;

	for (size_t j = 0; j < n; j++)
		top = fmax(top, a * s[j]);
	for (size_t j = 0; j < n; j++) {
		double x = a * s[j] - top, w = exp(x);
		sum += w;
		moment += w * x;
		squares += w * w;
	}
	return (struct softmax){ 1 / sum, log(sum) - moment / sum, squares / (sum * sum) };
}

static inline double gradient(const struct softmax *p, double a)
{
	return a * (1 - p->squares);
}

/* How that gradient depends on a, and where it is largest, for rows of logits
 * from N(0, 1). */
bool sqrtd_gradient(struct one_table *table, char *error);
bool sqrtd_best(struct one_table *table, char *error);

/* The tables of the experiment, in order. False: a sentence in error. */
bool sqrtd_tables(struct tables *tables, char *error);

#endif
