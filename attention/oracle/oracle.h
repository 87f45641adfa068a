/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The definitions in double precision, one file a family. They see attn.h
 * alone and share nothing with the kernels but the variant's random objects,
 * so that a bug in an engine cannot hide here. Written to be compared with
 * the formula on paper, not to be fast.
 */
#ifndef ORACLE_ORACLE_H
#define ORACLE_ORACLE_H

#include "../attn.h"

attn_oracle_fn oracle_full, oracle_exact; /* exact: flash, chunked */
attn_oracle_fn oracle_sliding_window, oracle_block_local, oracle_dilated_window;
attn_oracle_fn oracle_sparse_strided, oracle_sparse_fixed, oracle_longformer, oracle_bigbird;
attn_oracle_fn oracle_sink_window, oracle_moba, oracle_nsa, oracle_topk;
attn_oracle_fn oracle_lsh, oracle_routing, oracle_clustered;
attn_oracle_fn oracle_linear_elu, oracle_efficient, oracle_taylor1, oracle_taylor2;
attn_oracle_fn oracle_performer, oracle_performer_relu, oracle_rfa, oracle_cosformer;
attn_oracle_fn oracle_hedgehog, oracle_aft_simple, oracle_aft_full;
attn_oracle_fn oracle_linformer, oracle_nystrom, oracle_pooled, oracle_skyformer;
attn_oracle_fn oracle_retention, oracle_lightning, oracle_gla, oracle_deltanet;
attn_oracle_fn oracle_scatterbrain, oracle_sinkhorn;
attn_oracle_fn oracle_synthesizer_random, oracle_synthesizer_dense, oracle_fnet;
attn_oracle_fn oracle_uniform, oracle_null;

/* ---- for the definitions themselves ---- */

/* True if query i may see key j: the set that a pattern is defined by. */
typedef bool oracle_allowed(const struct attn_oracle_call *c, size_t i, size_t j);

/* Softmax over the allowed and causally visible keys. NULL: all visible. */
void oracle_softmax(const struct attn_oracle_call *c, oracle_allowed *allowed);

bool oracle_visible(const struct attn_shape *s, size_t i, size_t j); /* the causal rule */
double oracle_dot(const double *x, const double *y, size_t n);

/* The features (n x dim) of the rows of x (n x d) under a map. */
typedef void oracle_map(const struct attn_oracle_call *c, const double *x, double *y);
double *oracle_features(const struct attn_oracle_call *c, const double *x, size_t n, size_t dim,
                        oracle_map *map);

/* O_i = sum_j (phi_i . psi_j) v_j / (eps + sum_j phi_i . psi_j) over visible j. */
void oracle_kernel(const struct attn_oracle_call *c, const double *phi, const double *psi, size_t dim,
                   double eps);

/* out[c] = sum_j weight[j] v[j][c] / denominator, 0 if denominator is 0. */
void oracle_combine(const struct attn_oracle_call *c, const double *weight, double denominator,
                    double *out);

#endif
