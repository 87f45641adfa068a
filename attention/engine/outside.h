/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Exponential features over all keys outside a window:
 *
 *     w_ij = sum_f e^(u_if + u_jf) for j <= i' - before or j >= i' + after
 *
 * with i' = i + n_k - n_q. Keys before and keys after the window are two sums that
 * grow with the query in opposite directions; nothing is subtracted, so weights
 * stay positive and an empty outside is empty. Chunks of queries meet the running
 * sum and, on the diagonal of the window's edge, the keys of their own chunk.
 *
 * Exponents of a query are relative to their maximum, those of keys to one running
 * maximum a direction. */
#ifndef ENGINE_OUTSIDE_H
#define ENGINE_OUTSIDE_H

#include "../attn.h"

/* Exponents of `rows` tokens x (rows x d, ldx): u (rows x dim, ldu), less shift[row]. */
typedef void outside_exponents(const struct attn_call *c, const float *x, size_t ldx, size_t rows,
                               float *u, size_t ldu, float *shift);

struct outside {
	size_t dim;
	outside_exponents *exponents;
	double map_flops;     /* of one token's exponents */
	double log_weight;    /* is added to ln w_ij */
	size_t before, after; /* >= 1; after is not used if causal */
};

size_t outside_scratch_bytes(const struct attn_shape *s, const struct outside *o);
size_t outside_shared_bytes(const struct attn_shape *s, const struct outside *o, size_t ranks);

/* FLOPs by definition and as run on one thread; exponentials. */
void outside_work(const struct attn_shape *s, const struct outside *o, double *useful,
                  double *executed, double *n_exp);

/* Writes every row of out and lse (n_q), normalised: 0 and -inf where there is
 * nothing outside. Ends without a barrier: a rank writes rows
 * [n_q rank / size, n_q (rank + 1) / size). */
void outside_run(const struct attn_call *call, struct attn_team *team, const struct outside *o,
                 void *shared, void *scratch, float *lse);

#endif
