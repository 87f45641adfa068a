/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Tiles of scattered queries: those that meet the same keys because a gate, a
 * hash or a cluster says so. Their rows are copied together, attend as any
 * tile, and go back to where they came from. */
#ifndef ENGINE_ROWS_H
#define ENGINE_ROWS_H

#include "tile.h"

struct rows {
	struct tile t;
	float *buffer; /* 2 lanes x max(d, d_v) */
};

/* Bytes of scratch, those of the tile engine included; a multiple of ATTN_ALIGN. */
size_t rows_scratch_bytes(size_t d, size_t d_v);
void rows_init(struct rows *s, const struct attn_call *call, void *mem);

/* to (n x cols) = rows index[0 .. n) of x, each asked for ahead of its use:
 * scattered rows are a latency each. */
void rows_gather(float *to, const float *x, size_t ldx, size_t cols, const uint32_t *index, size_t n);

/* Asks for those rows, to be used a tile later: brings them towards L2. */
void rows_ask(const float *x, size_t ldx, size_t cols, const uint32_t *index, size_t n);

/* Takes up queries index[0 .. n), n <= 2 lanes, of the call. */
void rows_load(struct rows *s, const uint32_t *index, size_t n);

/* Lets the loaded queries resume from rows at[0 .. n) of the call's out and of lse. */
void rows_resume(struct rows *s, const uint32_t *at, const float *lse);

/* Writes rows at[0 .. n) of the call's out and, unless NULL, of lse. */
void rows_store(struct rows *s, const uint32_t *at, float *lse);

#endif
