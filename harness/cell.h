/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A cell: one variant with its parameters, on one shape, type, input, thread
 * count and instruction set. Everything measured belongs to a cell.
 */
#ifndef HARNESS_CELL_H
#define HARNESS_CELL_H

#include "../attention/attn.h"

enum cache_mode { CACHE_WARM, CACHE_COLD };

enum { CELL_INPUT_MAX = 256, CELL_ISA_MAX = 16, CELL_PARAMS_MAX = 256 };

struct cell {
	const struct attn_variant *variant;
	double arg[ATTN_MAX_PARAMS]; /* as asked for: may hold ATTN_AUTO */
	size_t batch, heads;
	size_t n_q, n_k, d, d_v;
	bool causal;
	float scale; /* 0: attn_default_scale(d) */
	enum attn_type type;
	unsigned threads;
	enum cache_mode cache;
	uint64_t seed;
	char isa[CELL_ISA_MAX];
	char input[CELL_INPUT_MAX]; /* as datasets/data.h reads it: "gauss:sigma=1" */
	char id[17]; /* 64-bit hash of the canonical string, in hex */
};

/* The shape of one head of the cell, scale filled in. */
struct attn_shape cell_shape(const struct cell *cell, size_t head);

/* "m=256:ortho=1", every parameter by name, "auto" where not fixed; the same
 * syntax as on the command line. "" for a variant without parameters. */
void cell_params(const struct cell *cell, char out[CELL_PARAMS_MAX]);

/* Fills cell->id. Call when all other fields are final. */
void cell_identify(struct cell *cell);

/* True if every key field agrees: equality is decided on the fields, never on
 * the hash. */
bool cell_equal(const struct cell *a, const struct cell *b);

#endif
