/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A clock behind the counters of a call. */
#include "phases.h"

#include "clock.h"

/* Counters of a rank, which are what the variant sees of it, and its time. */
struct clocked {
	struct attn_stats stats; /* first */
	enum attn_phase now;
	int64_t since, ns[ATTN_PHASES];
};

static void go_over(struct attn_stats *stats, enum attn_phase to)
{
	struct clocked *c = (struct clocked *)stats;
	int64_t now = clock_now_ns();

	c->ns[c->now] += now - c->since;
	c->since = now;
	c->now = to;
}

double phases_selection(struct layer *layer)
{
	struct clocked clocked[TEAM_MAX];
	size_t threads = layer->cell.threads;
	int64_t all = 0, selection = 0;

	if (layer->cell.mode != MODE_FORWARD || !(layer->plan.flags & ATTN_CHOOSES))
		return (double)NAN;
	int64_t start = clock_now_ns();
	for (size_t r = 0; r < threads; r++) {
		clocked[r] = (struct clocked){ .stats.phase = go_over, .since = start };
		layer->stats[r] = &clocked[r].stats;
	}
	layer_run(layer);
	for (size_t r = 0; r < threads; r++) {
		go_over(&clocked[r].stats, ATTN_ATTENDS);
		layer->stats[r] = NULL;
		selection += clocked[r].ns[ATTN_SELECTS];
		all += clocked[r].ns[ATTN_SELECTS] + clocked[r].ns[ATTN_ATTENDS];
	}
	return selection > 0 ? (double)selection / (double)all : (double)NAN;
}
