/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Filling q, k and v. */
#include "inputs.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../datasets/data.h"
#include "cache.h"

/* Larger inputs are generated again: writing them would fill the cache. */
static const size_t cached_max = (size_t)256 << 20;

struct filling {
	struct layer *layer;
	struct data data;
	struct data_shape shape;
	atomic_flag failed; /* the first to fail writes error */
	char *error;
};

/* One head in its type. A key and value head is that of its first query head. */
static bool fill_head(const struct filling *f, size_t g, char *error)
{
	struct layer *l = f->layer;
	const struct cell *c = &l->cell;
	size_t q = c->n_q * c->d, k = c->n_k * c->d, v = c->n_k * c->d_v;
	bool direct = c->type == ATTN_F32 && c->kv_heads == c->heads;
	float *buffer = direct ? NULL : malloc((q + k + v) * sizeof *buffer);

	if (!direct && !buffer) {
		snprintf(error, DATA_ERROR_MAX, "no memory for a head of the input as f32");
		return false;
	}
	float *to_q = direct ? layer_q(l, g, 0) : buffer;
	float *to_k = direct ? layer_k(l, g, 0) : to_q + q, *to_v = direct ? layer_v(l, g, 0) : to_k + k;
	bool ok = data_fill(&f->data, &f->shape, c->seed, g / c->heads, g % c->heads, to_q, to_k, to_v, error);
	if (ok && !direct) {
		attn_narrow(l->kern, c->type, layer_q(l, g, 0), to_q, q);
		if (g % (c->heads / c->kv_heads) == 0) {
			attn_narrow(l->kern, c->type, layer_k(l, g, 0), to_k, k);
			attn_narrow(l->kern, c->type, layer_v(l, g, 0), to_v, v);
		}
	}
	free(buffer);
	return ok;
}

static void fill(void *arg, struct attn_team *me)
{
	struct filling *f = arg;
	struct layer *l = f->layer;
	char error[DATA_ERROR_MAX];

	for (size_t g = me->rank; g < l->plan.total; g += me->size) {
		if (fill_head(f, g, error))
			continue;
		if (!atomic_flag_test_and_set(&f->failed))
			snprintf(f->error, INPUTS_ERROR_MAX, "%s", error);
		return;
	}
}

static struct data_shape data_shape_of(const struct cell *c)
{
	return (struct data_shape){ c->batch, c->heads, c->n_q, c->n_k, c->d, c->d_v };
}

bool inputs_score(const struct layer *l, struct data_score *score, char error[INPUTS_ERROR_MAX])
{
	const struct cell *c = &l->cell;
	struct data_shape shape = data_shape_of(c);
	struct data_score one;
	struct data data;

	*score = (struct data_score){ 0 };
	if (!data_parse(c->input, &data, error))
		return false;
	for (size_t g = 0; data.kind->task && g < l->plan.total; g++) {
		if (!data_score(&data, &shape, c->seed, g / c->heads, g % c->heads, layer_out(l, g, 0),
		                &one, error))
			return false;
		score->correct += one.correct;
		score->total += one.total;
		score->chance = one.chance;
	}
	return true;
}

bool inputs_fill(struct layer *l, const char *cache_dir, char error[INPUTS_ERROR_MAX])
{
	const struct cell *c = &l->cell;
	struct filling f = { .layer = l, .failed = ATOMIC_FLAG_INIT, .error = error };
	char key[CACHE_KEY_MAX];
	struct cache_piece piece[] = {
		{ l->q, l->plan.q }, { l->k, l->plan.k }, { l->v, l->plan.v },
	};

	error[0] = '\0';
	f.shape = data_shape_of(c);
	if (!data_parse(c->input, &f.data, error) || !data_check(&f.data, &f.shape, error))
		return false;
	if (f.data.kind->task && c->kv_heads != c->heads) {
		snprintf(error, INPUTS_ERROR_MAX, "%s: every head of a task has keys of its own; use --kv-heads %zu",
		         c->input, c->heads);
		return false;
	}
	/* What comes from files is read from them: it may change. */
	bool named = !f.data.path[0] && l->plan.q + l->plan.k + l->plan.v <= cached_max &&
	             cache_key(key,
	                       "input %s seed=%" PRIu64 " type=%d batch=%zu heads=%zu kv=%zu n_q=%zu n_k=%zu d=%zu "
	                       "d_v=%zu", c->input, c->seed, (int)c->type, c->batch, c->heads, c->kv_heads, c->n_q, c->n_k, c->d, c->d_v);
	if (!named || !cache_load(cache_dir, key, piece, 3)) {
		team_run(l->team, TEAM_EXACT, fill, &f);
		if (error[0])
			return false;
		if (named)
			cache_store(cache_dir, key, piece, 3);
	}
	if (l->plan.flags & ATTN_TIED)
		memcpy(l->k, l->q, l->plan.k);
	return true;
}
