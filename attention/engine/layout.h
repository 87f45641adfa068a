/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Laying arrays into the memory of a call. The same function that lays them out
 * in forward() counts their bytes in plan(), where there is no memory yet. */
#ifndef ENGINE_LAYOUT_H
#define ENGINE_LAYOUT_H

#include "../attn.h"

struct layout {
	char *base;  /* ATTN_ALIGN-aligned, or NULL: count only */
	size_t used;
};

/* The next `bytes`, aligned; NULL when only counting. */
static inline void *layout_take(struct layout *l, size_t bytes)
{
	char *at = l->base ? l->base + l->used : NULL;

	l->used += (bytes + ATTN_ALIGN - 1) / ATTN_ALIGN * ATTN_ALIGN;
	return at;
}

/* n elements of the array p. */
#define LAYOUT(l, p, n) ((p) = layout_take((l), (n) * sizeof *(p)))

#endif
