/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What must hold for a variant by its definition and its flags, checked on the
 * real kernels at n of about 100. The tests and `attnbench verify` walk the
 * table for every variant, so a new one needs no test code.
 *
 * Weights are read by the probe V = I: the output then is the implied
 * attention matrix. Inputs are Gaussian with unit logits.
 */
#ifndef HARNESS_PROPERTY_H
#define HARNESS_PROPERTY_H

#include "../attention/attn.h"

enum verdict {
	VERDICT_PASS,
	VERDICT_NONE, /* does not apply; why says so */
	VERDICT_LEAK, /* a known structure leak, flagged in the table */
	VERDICT_FAIL,
};

struct finding {
	enum verdict verdict;
	char why[256];
};

struct team;

/* What a property is checked on. */
struct subject {
	const struct attn_variant *variant;
	const double *arg; /* as asked, may hold ATTN_AUTO */
	const struct kern *kern;
	struct team *const *teams; /* teams[r]: r ranks, r = 1 .. 3 */
	uint64_t seed;
};

struct property {
	const char *code, *name;
	struct finding (*check)(const struct subject *);
};

extern const struct property properties[]; /* ended by code == NULL */

/* P10, in property_decode.c: tokens taken up one at a time, or some of them at once and
 * the rest one at a time, give the rows of the causal form. */
struct finding property_decode(const struct subject *s);

/* P15, in property_layer.c: heads that share keys and values are as heads that have
 * copies of them. */
struct finding property_grouped(const struct subject *s);

/* P19, in property_layer.c: in a batch of sequences of different lengths, padded or packed,
 * each gives to the bit what it gives alone, and rows of padding are 0. */
struct finding property_ragged(const struct subject *s);

#endif
