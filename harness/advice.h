/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Why samples were set aside, and what to do about it, in words.
 */
#ifndef HARNESS_ADVICE_H
#define HARNESS_ADVICE_H

#include "results.h"

/* A paragraph on the causes, the most frequent first; nothing where they are
 * few. */
void advise(const struct results *results, struct text *out);

#endif
