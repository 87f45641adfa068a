/* SPDX-License-Identifier: BSD-3-Clause
 *
 * This program as a child, for what may hang: OpenBLAS has been seen to spin for
 * ever, without a word, where memory is limited.
 */
#ifndef HARNESS_ASK_H
#define HARNESS_ASK_H

#include "text.h"

/* Runs this program with argv (its own name first, ended by NULL) and adds what
 * it prints to *out; kills it after so many seconds. True if it ended well. */
bool ask_self(const char *const *argv, double seconds, struct text *out);

/* By how much a small product is off, over the rounding bound; false: there was no
 * answer, and error says what to do. */
bool ask_blas(double *off, char *error);

/* What the child of ask_blas() does. */
int answer_blas(void);

#endif
