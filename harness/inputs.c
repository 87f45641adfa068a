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
	atomic_flag failed; /* the first to fail writes error */
	char *error;
};

/* What is asked of the data for head g: a sequence of its length. A decode step is the
 * last one of a whole sequence. */
static struct data_shape data_shape(const struct cell *c, size_t g)
{
	struct attn_shape s = cell_shape(c, g);

	return (struct data_shape){ c->batch, c->heads, s.n_q, s.n_k, s.d, s.d_v };
}

/* Behind the last token: bytes that are a NaN in every type. */
static void fill_padding(struct layer *l, size_t g)
{
	const struct cell *c = &l->cell;
	size_t n_q = layer_sequence(l, g)->n_q, n_k = layer_sequence(l, g)->shape.n_k;
	char *q = layer_q(l, g, n_q), *k = layer_k(l, g, n_k), *v = layer_v(l, g, n_k);

	memset(q, 0xff, (size_t)((char *)layer_q(l, g, c->n_q) - q));
	if (g % (c->heads / c->kv_heads))
		return;
	memset(k, 0xff, (size_t)((char *)layer_k(l, g, c->n_k) - k));
	memset(v, 0xff, (size_t)((char *)layer_v(l, g, c->n_k) - v));
}

/* One head in its type. A key and value head is that of its first query head. Of the
 * queries a decode step wants the last. */
static bool fill_head(const struct filling *f, size_t g, char *error)
{
	struct layer *l = f->layer;
	const struct cell *c = &l->cell;
	const struct data_shape shape = data_shape(c, g);
	size_t q = shape.n_q * c->d, k = shape.n_k * c->d, v = shape.n_k * c->d_v;
	size_t wanted = layer_sequence(l, g)->n_q * c->d;
	bool wide = c->type == ATTN_F32 && c->kv_heads == c->heads, direct = wide && c->mode == MODE_FORWARD;
	float *buffer = direct ? NULL : malloc((q + (wide ? 0 : k + v)) * sizeof *buffer);

	if (!direct && !buffer) {
		snprintf(error, DATA_ERROR_MAX, "no memory for a head of the input as f32");
		return false;
	}
	float *to_q = direct ? layer_q(l, g, 0) : buffer;
	float *to_k = wide ? layer_k(l, g, 0) : to_q + q, *to_v = wide ? layer_v(l, g, 0) : to_k + k;
	bool ok = data_fill(&f->data, &shape, c->seed, g / c->heads, g % c->heads, to_q, to_k, to_v, error);
	if (ok && !direct)
		attn_narrow(l->kern, c->type, layer_q(l, g, 0), to_q + q - wanted, wanted);
	if (ok && !wide && g % (c->heads / c->kv_heads) == 0) {
		attn_narrow(l->kern, c->type, layer_k(l, g, 0), to_k, k);
		attn_narrow(l->kern, c->type, layer_v(l, g, 0), to_v, v);
	}
	if (ok && c->lengths == LENGTHS_PADDED)
		fill_padding(l, g);
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

/* What is stored for the longest sequence is enough for all; a task may want a length. */
static bool check(const struct cell *c, const struct data *data, char *error)
{
	size_t sequences = c->lengths != LENGTHS_FULL && data->kind->task ? c->batch : 1;

	for (size_t b = 0; b < sequences; b++) {
		const struct data_shape shape = data_shape(c, b * c->heads);
		char why[DATA_ERROR_MAX];
		if (data_check(data, &shape, why))
			continue;
		if (b > 0)
			snprintf(error, INPUTS_ERROR_MAX, "sequence %zu, of %zu tokens: %.400s", b, shape.n_k, why);
		else
			snprintf(error, INPUTS_ERROR_MAX, "%s", why);
		return false;
	}
	return true;
}

bool inputs_check(const struct cell *c, char error[INPUTS_ERROR_MAX])
{
	struct data data;

	return data_parse(c->input, &data, error) && check(c, &data, error);
}

bool inputs_score(const struct layer *l, struct data_score *score, char error[INPUTS_ERROR_MAX])
{
	const struct cell *c = &l->cell;
	struct data_score one;
	struct data data;
	double guessed = 0;

	*score = (struct data_score){ 0 };
	if (!data_parse(c->input, &data, error))
		return false;
	for (size_t g = 0; data.kind->task && c->mode == MODE_FORWARD && g < l->plan.total; g++) {
		const struct data_shape shape = data_shape(c, g);
		if (!data_score(&data, &shape, c->seed, g / c->heads, g % c->heads, layer_out(l, g, 0),
		                &one, error))
			return false;
		score->correct += one.correct;
		score->total += one.total;
		guessed += one.chance * (double)one.total;
	}
	score->chance = score->total > 0 ? guessed / (double)score->total : 0;
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
	if (!data_parse(c->input, &f.data, error) || !check(c, &f.data, error))
		return false;
	if (f.data.kind->task && c->kv_heads != c->heads) {
		snprintf(error, INPUTS_ERROR_MAX, "%s: every head of a task has keys of its own; use --kv-heads %zu",
		         c->input, c->heads);
		return false;
	}
	/* What comes from files is read from them: it may change. */
	bool named = !f.data.path[0] && l->plan.q + l->plan.k + l->plan.v <= cached_max &&
	             cache_key(key,
	                       "input %s mode=%d lengths=%d seed=%" PRIu64 " type=%d batch=%zu heads=%zu kv=%zu n_q=%zu "
	                       "n_k=%zu d=%zu d_v=%zu", c->input, (int)c->mode, (int)c->lengths, c->seed, (int)c->type,
	                       c->batch, c->heads, c->kv_heads, c->n_q, c->n_k, c->d, c->d_v);
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
