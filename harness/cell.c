/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Cells: names, canonical text, hash and equality. */
#include "cell.h"
#include "engine.h"
#include "text.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CELL_TEXT_MAX = 1024 };

const char *const cell_type_names[] = { "f32", "bf16", "f16", NULL };
const char *const cell_cache_names[] = { "warm", "cold", NULL };
const char *const cell_mode_names[] = { "forward", "decode", NULL };
const char *const cell_lengths_names[] = { "full", "padded", "packed", NULL };

size_t cell_n_params(const struct attn_variant *variant)
{
	size_t n = 0;

	while (variant->params && n < ATTN_MAX_PARAMS && variant->params[n].name)
		n++;
	return n;
}

float cell_scale(const struct cell *cell)
{
	return cell->scale != 0 ? cell->scale : attn_default_scale(cell->d);
}

size_t cell_length(const struct cell *cell, size_t n, size_t sequence)
{
	size_t most_left_out = n - (n / 4 + (n % 4 != 0));

	if (cell->lengths == LENGTHS_FULL || sequence == 0)
		return n;
	return n - (size_t)(attn_random_uniform(0, attn_random_stream("lengths", 0, 0), sequence) *
	                    (double)(most_left_out + 1));
}

struct attn_shape cell_shape(const struct cell *cell, size_t g)
{
	size_t sequence = g / cell->heads, n_k = cell_length(cell, cell->n_k, sequence);

	return (struct attn_shape){
		.n_q = cell->mode == MODE_DECODE ? n_k : cell_length(cell, cell->n_q, sequence),
		.n_k = n_k,
		.d = cell->d,
		.d_v = cell->d_v,
		.causal = cell->causal,
		.scale = cell_scale(cell),
		.heads = cell->heads,
		.head = g % cell->heads,
		.type = cell->type,
	};
}

const char *cell_value(const struct attn_param *param, double value, char *out, size_t size)
{
	if (isnan(value)) {
		snprintf(out, size, "auto");
	} else if (param->kind == ATTN_NAME) {
		size_t n = 0;
		while (param->names[n])
			n++;
		snprintf(out, size, "%s", value >= 0 && value < (double)n ? param->names[(size_t)value] : "?");
	} else {
		/* The shortest of the usual precisions that reads back the same. */
		for (int digits = 6; digits <= 17; digits++) {
			snprintf(out, size, "%.*g", digits, value);
			if (strtod(out, NULL) == value)
				break;
		}
	}
	return out;
}

void cell_params(const struct cell *cell, char out[CELL_PARAMS_MAX])
{
	const struct engine_info *engine = engine_info(cell->variant);
	size_t n = cell_n_params(cell->variant), at = 0;

	out[0] = '\0';
	for (size_t i = 0; i < n && at < CELL_PARAMS_MAX; i++) {
		const struct attn_param *p = &cell->variant->params[i];
		char value[64];
		if (engine && !(engine->params >> i & 1))
			continue; /* the engine does not have it */
		int len = snprintf(out + at, CELL_PARAMS_MAX - at, "%s%s=%s", at ? ":" : "", p->name,
		                   cell_value(p, cell->arg[i], value, sizeof value));
		at += len > 0 ? (size_t)len : 0;
	}
}

/* All key fields on one line, "variant=flash params=block=0 batch=1 ...". */
static void cell_text(const struct cell *cell, char out[CELL_TEXT_MAX])
{
	char params[CELL_PARAMS_MAX];

	cell_params(cell, params);
	snprintf(out, CELL_TEXT_MAX,
	         "variant=%s params=%s batch=%zu heads=%zu kv_heads=%zu n_q=%zu n_k=%zu d=%zu d_v=%zu causal=%d "
	         "scale=%.9g dtype=%s threads=%u cache=%s isa=%s input=%s seed=%" PRIu64 "%s%s%s",
	         cell->variant->name, params, cell->batch, cell->heads, cell->kv_heads,
	         cell->n_q, cell->n_k, cell->d, cell->d_v, cell->causal, (double)cell_scale(cell), cell_type_names[cell->type],
	         cell->threads, cell_cache_names[cell->cache], cell->isa, cell->input, cell->seed,
	         cell->mode == MODE_DECODE ? " mode=decode" : "", cell->lengths == LENGTHS_FULL ? "" : " lengths=",
	         cell->lengths == LENGTHS_FULL ? "" : cell_lengths_names[cell->lengths]);
}

/* FNV-1a leaves the low bits of similar strings similar; the finaliser of
 * MurmurHash3 spreads them, as ids are often shown by their first digits. */
void cell_identify(struct cell *cell)
{
	char text[CELL_TEXT_MAX];

	cell_text(cell, text);
	uint64_t h = fnv64(FNV64_START, text, strlen(text));
	h = (h ^ (h >> 33)) * 0xff51afd7ed558ccdu;
	h = (h ^ (h >> 33)) * 0xc4ceb9fe1a85ec53u;
	h ^= h >> 33;
	snprintf(cell->id, sizeof cell->id, "%016" PRIx64, h);
}

bool cell_same_shape(const struct cell *a, const struct cell *b)
{
	return a->mode == b->mode && a->lengths == b->lengths && a->batch == b->batch && a->heads == b->heads && a->kv_heads == b->kv_heads && a->n_q == b->n_q &&
	       a->n_k == b->n_k && a->d == b->d && a->d_v == b->d_v && a->causal == b->causal &&
	       cell_scale(a) == cell_scale(b) && a->type == b->type && a->threads == b->threads &&
	       a->cache == b->cache && a->seed == b->seed && !strcmp(a->input, b->input);
}

bool cell_equal(const struct cell *a, const struct cell *b)
{
	if (a->variant != b->variant || strcmp(a->isa, b->isa) || !cell_same_shape(a, b))
		return false;
	for (size_t i = 0, n = cell_n_params(a->variant); i < n; i++)
		if (a->arg[i] != b->arg[i] && !(isnan(a->arg[i]) && isnan(b->arg[i])))
			return false;
	return true;
}
