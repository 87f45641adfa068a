/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Inside the feature engine: the sums over keys, and what a rank works with to
 * make and to read them. */
#ifndef ENGINE_FEATURE_WORK_H
#define ENGINE_FEATURE_WORK_H

#include "feature.h"
#include "work.h"

/* Sums over keys: s (D x ld), z (D), top (D; top[0] for one a head). */
struct feature_state {
	float *s, *z, *top;
};

struct feature_work {
	const struct attn_call *c;
	const struct feature_map *map;
	size_t first; /* position of the call's first query and key in the sequence */
	size_t dim, ld, ld_v; /* D, its row length, the row length of s */
	size_t chunk;
	struct feature_state state;
	float *phi, *psi, *psi_t, *near; /* chunk x D, same, D x chunk, chunk x chunk */
	float *den, *near_den, *ones;    /* chunk each */
	float *power;                    /* decay^0 .. decay^chunk */
	float *x, *v, *o; /* half precision: a chunk of q or k, of v, of out as f32 */
};

/* Rows as f32, in place or in a buffer. */
struct feature_rows {
	float *x;
	size_t ld;
};

/* Tokens a chunk. */
size_t feature_chunk(const struct attn_shape *s, const struct feature_map *map);

size_t feature_state_floats(const struct attn_shape *s, const struct feature_map *map);
struct feature_state feature_state_at(const struct attn_shape *s, const struct feature_map *map, float *mem);

/* Lays the arrays but for the state into mem. */
size_t feature_work_floats(const struct attn_shape *s, const struct feature_map *map);
struct feature_work feature_begin(const struct attn_call *c, const struct feature_map *map, float *mem);

void feature_count(const struct feature_work *w, double flops);

/* Features, or exponents of features, of queries into phi, of keys into psi; the
 * values of the keys are then at hand, whose first is j0. */
void feature_load_queries(const struct feature_work *w, size_t i0, size_t rows);
void feature_load_keys(const struct feature_work *w, size_t j0, size_t rows);
struct feature_rows feature_values(const struct feature_work *w, size_t j0);

/* Where the output of the queries loaded last, from i0 on, is made, and goes from
 * there. */
struct feature_rows feature_output(const struct feature_work *w, size_t i0);
void feature_finish(const struct feature_work *w, size_t i0, size_t rows);

void feature_reset(const struct feature_work *w);

/* All of the state times a. */
void feature_rescale_all(const struct feature_work *w, float a);

/* How many of the features are exponents; they come first. */
size_t feature_exponents(const struct feature_map *map);

/* psi = exp(u - m) for `rows` rows of exponents in psi, m lifted before. */
void feature_exponentiate(const struct feature_work *w, size_t rows);

/* s += psi^T v, z += column sums, for keys j0 .. j0 + rows in psi. */
void feature_absorb(const struct feature_work *w, size_t j0, size_t rows);

/* Absorbs keys [j0, j1) without reading their queries. With decay, the state is kept
 * relative to the last key absorbed. */
void feature_absorb_range(const struct feature_work *w, size_t j0, size_t j1);

/* The state of w absorbs the sums of a later stretch of `keys` keys. */
void feature_combine(const struct feature_work *w, struct feature_state later, size_t keys);

/* out = phi s (+=), den = phi . z for the queries in phi. */
void feature_read_state(const struct feature_work *w, size_t i0, size_t rows, bool accumulate);

/* Divides the rows by den. */
void feature_divide(const struct feature_work *w, size_t i0, size_t rows);

/* FEATURE_CHANNEL: row r of psi, exponents of key j, joins the sums; and row r of the
 * output of query i, O = sum_f (phi[f] / z_f) s_f. */
void feature_channel_absorb(const struct feature_work *w, size_t j, size_t r);
void feature_channel_read(const struct feature_work *w, size_t i, size_t r);

#endif
