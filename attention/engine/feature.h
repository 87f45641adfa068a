/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The feature engine: attention whose weights are products of features,
 *
 *     w_ij = phi(q_i) . psi(k_j),   S = sum_j psi(k_j) v_j^T,   z = sum_j psi(k_j),
 *     O_i = phi(q_i)^T S / (phi(q_i) . z),
 *
 * in time n D d_v instead of n^2 (Katharopoulos et al. 2020, arXiv 2006.16236).
 * A linear variant is its feature map; sums, the chunked causal form, decay,
 * the safe handling of exponentials and the team are here.
 *
 * Causal form by chunks of C tokens: out = tril(phi psi^T) V + phi S, then
 * S += psi^T V; 2 C (D + d_v) / 2 + 4 D d_v FLOP a token.
 */
#ifndef ENGINE_FEATURE_H
#define ENGINE_FEATURE_H

#include "../attn.h"
#include "../kernels/kern.h"

/* Features of `rows` consecutive tokens x (rows x d, ldx), the first at
 * position pos of its sequence: y (rows x dim, ldy). */
typedef void feature_fn(const struct attn_call *c, const float *x, size_t ldx, size_t rows,
                        size_t pos, float *y, size_t ldy);

enum feature_kind {
	FEATURE_PLAIN,   /* key() gives psi */
	FEATURE_EXP,     /* key() gives exponents u: psi = exp(u - m), one running
	                    maximum m a head, which cancels in the quotient */
	FEATURE_CHANNEL, /* exponents; each channel has its own maximum and is
	                    divided by its own sum: softmax over the sequence */
};

/* What the row of query i is divided by, den = phi_i . z. */
typedef float feature_divisor_fn(const struct attn_call *c, size_t i, float den);

/* near (rows x rows, ld) = the weights of queries i0, i0 + 1, ... and keys j0, j0 + 1, ...
 * by their own formula; work: D x the chunk rounded up to 16. */
typedef void feature_near_fn(const struct attn_call *c, size_t i0, size_t j0, size_t rows, float *near,
                             size_t ld, float *work);

struct feature_map {
	size_t dim; /* D */
	enum feature_kind kind;
	size_t plain; /* FEATURE_EXP: so many of the last features are no exponents */
	feature_fn *query, *key;
	feature_near_fn *near; /* or NULL: products of features. Pays where D is large */
	double near_flops;     /* of near, a pair */
	bool normalise; /* divide by phi . z (not for FEATURE_CHANNEL) */
	float eps;      /* is added to the denominator */
	float den_min;  /* a denominator is at least so far from 0, with its sign */
	feature_divisor_fn *divisor; /* or NULL: by the two rules above */
	double decay;   /* gamma: w_ij *= gamma^|i - j|; 1: none. Needs n_q == n_k,
	                   and !normalise unless causal */
	size_t chunk;   /* tokens a causal chunk, 0: the engine's choice */
	double map_flops, map_exp; /* FLOP and exponentials for one token's features */
};

/* The parameters that variants of the engine offer. */
#define FEATURE_EPS_PARAM                                                          \
	{ "eps", "is added to the denominator", ATTN_REAL, 0, 0, 1, NULL }
#define FEATURE_CHUNK_PARAM                                                        \
	{ "chunk", "tokens a causal chunk; 0: the engine's choice", ATTN_INT, 0, 0, \
	  FEATURE_MAX_CHUNK, NULL }
enum { FEATURE_MAX_CHUNK = 256 };

/* Fills every field of the plan but state. */
void feature_plan(const struct attn_shape *s, const struct feature_map *map, size_t ranks,
                  struct attn_plan *plan);

void feature_forward(const struct attn_call *c, struct attn_team *team,
                     const struct feature_map *map);

/* Decoding with S, z and the maxima as the past. One thread. */
struct feature_decode {
	struct attn_decode slot;
	struct feature_map (*map)(const struct attn_shape *s, const double *arg);
};

/* The functions of the slot. */
#define FEATURE_DECODE                                                             \
	.plan = feature_decode_plan, .start = feature_decode_start,                \
	.append = feature_decode_append, .step = feature_decode_step

const char *feature_decode_plan(const struct attn_decode *slot, const struct attn_shape *s, const double *arg,
                                size_t queries, size_t ranks, struct attn_decode_plan *plan);
void feature_decode_start(const struct attn_decode_call *c);
void feature_decode_append(const struct attn_decode_call *c);
void feature_decode_step(const struct attn_decode_call *c, struct attn_team *team);

/* Of FEATURE_EXP, without a step: out (d_v) = phi S / (phi . z). Returns ln (phi . z)
 * with the factor that psi was divided by; -inf, and no out, where nothing is kept. */
float feature_decode_read(const struct attn_decode_call *c, const float *phi, float *out);

#endif
