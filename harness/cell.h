/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A cell: one variant with its parameters, on one shape, type, input, thread
 * count and instruction set. Everything measured belongs to a cell.
 */
#ifndef HARNESS_CELL_H
#define HARNESS_CELL_H

#include "../attention/attn.h"

enum cache_mode { CACHE_WARM, CACHE_COLD };

/* What a call is: all queries of a sequence, or one step of decoding with n_k tokens in
 * all, of which n_k - 1 have been taken up before (n_q = 1, causal). */
enum cell_mode { MODE_FORWARD, MODE_DECODE };

/* The sequences of a batch: all of n tokens, or the first of n and the others shorter
 * (cell_length()), each computed as if it were alone. Padded, every sequence has room
 * for n, and its rows behind its last token are no part of it: of q, k and v they are
 * not read, of the output they are 0. Packed, there are no such rows. */
enum cell_lengths { LENGTHS_FULL, LENGTHS_PADDED, LENGTHS_PACKED };

enum { CELL_INPUT_MAX = 256, CELL_ISA_MAX = 16, CELL_PARAMS_MAX = 256 };

/* Names of enum attn_type, cache_mode, cell_mode and cell_lengths, in order, ended by NULL. */
extern const char *const cell_type_names[];
extern const char *const cell_cache_names[];
extern const char *const cell_mode_names[];
extern const char *const cell_lengths_names[];

struct cell {
	const struct attn_variant *variant;
	enum cell_mode mode;
	double arg[ATTN_MAX_PARAMS]; /* as asked for: may hold ATTN_AUTO */
	enum cell_lengths lengths;
	size_t batch, heads;
	size_t kv_heads; /* key and value heads, each of heads / kv_heads query heads */
	size_t n_q, n_k, d, d_v; /* n_q, n_k: of the longest sequence */
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

/* The shape of head g, counted over the batch, scale filled in. Decoding: that of the
 * causal form over all its tokens. */
struct attn_shape cell_shape(const struct cell *cell, size_t g);

/* Tokens of a sequence, of the n (n_q or n_k) that the longest has: n for the first; for
 * the others uniform in n/4 (rounded up) .. n, by a draw that only their number decides,
 * so that queries and keys of a sequence are the same share of n_q and n_k. */
size_t cell_length(const struct cell *cell, size_t n, size_t sequence);

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
