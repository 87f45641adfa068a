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
	float *buffer; /* lanes x max(d, d_v) */
};

/* Bytes of scratch, those of the tile engine included; a multiple of ATTN_ALIGN. */
size_t rows_scratch_bytes(size_t d, size_t d_v);
void rows_init(struct rows *s, const struct attn_call *call, void *mem);

/* Asks for a row ahead of its use: scattered rows are a latency each. */
static inline void rows_ahead(const float *row, size_t n)
{
	for (size_t i = 0; i < n; i += 16)
		__builtin_prefetch(row + i);
}

/* Takes up queries index[0 .. n), n <= lanes, of the call. With lse (n_q), they
 * resume from the call's out and lse. */
void rows_load(struct rows *s, const uint32_t *index, size_t n, const float *lse);

/* Writes the call's out and, unless NULL, lse of the loaded queries. */
void rows_store(struct rows *s, const uint32_t *index, float *lse);

#endif
