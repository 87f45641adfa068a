/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Attention within residue classes: the tokens r, r + l, r + 2 l, ... attend to
 * each other by a band of class positions t (token r + t l). Their keys are
 * gathered, a stretch at a time, since rows a multiple of 4 KiB apart would
 * share one set of the cache. */
#ifndef ENGINE_RESIDUE_H
#define ENGINE_RESIDUE_H

#include "../attn.h"

/* Class positions [lo, hi), hi <= size, that the token at position t sees in a
 * class of `size` tokens. */
typedef void residue_band(const struct attn_shape *s, const double *arg, size_t t, size_t size,
                          size_t *lo, size_t *hi);

/* Bytes of scratch, those of the tile engine included. n_q == n_k. */
size_t residue_scratch_bytes(const struct attn_shape *s, const double *arg, size_t l,
                             residue_band *band);

/* Pairs of all classes, and those that whole tiles touch. */
void residue_pairs(const struct attn_shape *s, const double *arg, size_t l, residue_band *band,
                   double *pairs, double *executed);

/* Writes every row of out and, unless NULL, lse. Ranks take classes in turn,
 * or stretches of them where classes are too few; ends without a barrier. */
void residue_run(const struct attn_call *call, struct attn_team *team, size_t l,
                 residue_band *band, float *lse);

#endif
