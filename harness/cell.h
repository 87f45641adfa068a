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

/* Names of enum attn_type and enum cache_mode, in order, ended by NULL. */
extern const char *const cell_type_names[];
extern const char *const cell_cache_names[];

struct cell {
	const struct attn_variant *variant;
	double arg[ATTN_MAX_PARAMS]; /* as asked for: may hold ATTN_AUTO */
	size_t batch, heads;
	size_t kv_heads; /* key and value heads, each of heads / kv_heads query heads */
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

/* The scale in use. */
float cell_scale(const struct cell *cell);

/* "m=256:ortho=1", every parameter by name, "auto" where not fixed; the same
 * syntax as on the command line. "" for a variant without parameters. */
void cell_params(const struct cell *cell, char out[CELL_PARAMS_MAX]);

/* One value of a parameter: "256", "0.5", a name, or "auto". Returns out. */
const char *cell_value(const struct attn_param *param, double value, char *out, size_t size);

/* Fills cell->id. Call when all other fields are final. */
void cell_identify(struct cell *cell);

/* True if every key field agrees: equality is decided on the fields, never on
 * the hash. */
bool cell_equal(const struct cell *a, const struct cell *b);

/* True if the cells may be compared row by row: all but variant, parameters
 * and instruction set agree. */
bool cell_same_shape(const struct cell *a, const struct cell *b);

/* Number of parameters of a variant. */
size_t cell_n_params(const struct attn_variant *variant);

#endif
