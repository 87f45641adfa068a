/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Attention in which a query sees one run of consecutive keys: all of them, the
 * past, a window. Tiles of queries are worked in groups that take each block of
 * keys together while it is in cache; where there are fewer tiles than threads
 * (decoding), each thread takes a stretch of keys and the results are merged.
 */
#ifndef ENGINE_BAND_H
#define ENGINE_BAND_H

#include "tile.h"
#include "work.h"

/* Memory of band_run, for plans. */
size_t band_scratch_bytes(const struct attn_shape *s);
size_t band_shared_bytes(const struct attn_shape *s, size_t ranks);

/* out and lse of every query over the keys that `band` gives it. step: keys a
 * block, 0 for what the kernel takes. */
void band_run(const struct attn_call *call, struct attn_team *team, work_band *band, size_t step);

#endif
