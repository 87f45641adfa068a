/* SPDX-License-Identifier: BSD-3-Clause
 *
 * aft-full: the attention free transformer with a bias for every pair of positions.
 *
 *     O_t = sigmoid(q_t) (.) sum_j e^(k_j + w_tj) (.) v_j / sum_j e^(k_j + w_tj)
 *
 * channel by channel, so d_v = d. Time n^2 d. Zhai et al. 2021, arXiv 2105.14103. Since
 * e^(k_j + w_tj) = e^w_tj e^k_j, tiles of numerators and denominators are products of
 * e^w with [e^k (.) v, e^k]: nothing of n x n x d is ever held. One published code
 * multiplies the keys by w instead.
 *
 * Input "w" (n_q x n_k). By default w = bias u_t . u'_j / sqrt(rank), u and u' of normals,
 * factorised as in the paper; bias=0 gives aft-simple. Exponents are relative to the
 * largest key of a channel and the largest w of a row among those seen: the w of a
 * row must not differ by more than 40, or the smallest weights are lost. Rows whose
 * largest visible key lies more than MAX_RISE apart never share a tile.
 */
#include "../engine/cache.h"
#include "../engine/tile.h"
#include "../engine/work.h"
#include "../oracle/oracle.h"

#include <string.h>

enum { RANK, BIAS };
enum { ROWS = 128, KEYS = 256 }; /* of a tile: measured; factors and result fit L2 */
#define MAX_RISE 40.0f

static const struct attn_param params[] = {
	{ "rank", "of the default w", ATTN_INT, 8, 1, 1024, NULL },
	{ "bias", "standard deviation of the default w", ATTN_REAL, 1, 0, 10, NULL },
	{ 0 },
};

struct work {
	const struct attn_call *c;
	const float *given; /* w, or NULL */
	size_t d, ld, rank;
	float *num, *den;  /* ROWS x ld */
	float *ekv, *ek;   /* KEYS x ld */
	float *w;          /* ROWS x KEYS */
	float *row_top;    /* ROWS */
	float *top, *high; /* ld: largest key of a channel so far, and to come */
	float *seen_top;   /* ld: over the first `seen` keys */
	float *factor;     /* ld */
};

static size_t scratch_floats(const struct attn_shape *s)
{
	return 2 * (ROWS + KEYS) * work_padded(s->d) + ROWS * KEYS + ROWS + 4 * work_padded(s->d);
}

static struct work work_init(const struct attn_call *c)
{
	const struct attn_shape *s = c->shape;
	struct work w = { .c = c, .d = s->d, .ld = work_padded(s->d), .rank = (size_t)c->arg[RANK] };

	w.given = attn_aux_find(c->aux, "w", s->n_q, s->n_k);
	w.num = c->scratch;
	w.den = w.num + ROWS * w.ld;
	w.ekv = w.den + ROWS * w.ld;
	w.ek = w.ekv + KEYS * w.ld;
	w.w = w.ek + KEYS * w.ld;
	w.row_top = w.w + ROWS * KEYS;
	w.top = w.row_top + ROWS;
	w.high = w.top + w.ld;
	w.seen_top = w.high + w.ld;
	w.factor = w.seen_top + w.ld;
	return w;
}

static const float *key_row(const struct work *w, size_t j)
{
	return (const float *)w->c->k + j * w->c->ldk;
}

static void fill(float *x, float value, size_t n)
{
	for (size_t i = 0; i < n; i++)
		x[i] = value;
}

/* The largest element of x - y. */
static float rise(const struct work *w, const float *x, const float *y)
{
	memcpy(w->factor, x, w->d * sizeof(float));
	w->c->kern->axpy(w->factor, -1, y, w->d);
	return w->c->kern->max(w->factor, w->d);
}

/* How many queries from i on, at most `limit`, may share a tile. */
static size_t tile_rows(const struct work *w, size_t i, size_t limit, size_t *seen)
{
	const struct attn_shape *s = w->c->shape;
	size_t rows = 1;

	for (; *seen < tile_visible(s, i); ++*seen)
		w->c->kern->raise(w->seen_top, key_row(w, *seen), w->d);
	memcpy(w->high, w->seen_top, w->d * sizeof(float));
	for (; rows < limit; rows++) {
		for (size_t j = tile_visible(s, i + rows - 1); j < tile_visible(s, i + rows); j++)
			w->c->kern->raise(w->high, key_row(w, j), w->d);
		if (rise(w, w->high, w->seen_top) > MAX_RISE)
			break;
	}
	return rows;
}

/* ek, ekv of keys [j, j + keys), and sums so far, relative to the new top. */
static void load_keys(const struct work *w, size_t j, size_t keys, size_t rows)
{
	const struct attn_call *c = w->c;
	const struct kern *kern = c->kern;

	memcpy(w->high, w->top, w->d * sizeof(float));
	for (size_t r = 0; r < keys; r++)
		kern->raise(w->high, key_row(w, j + r), w->d);
	if (rise(w, w->high, w->top) > 0) {
		kern->scale(w->factor, -1, w->d);
		kern->exp_shift(w->factor, w->factor, 0, w->d);
		for (size_t r = 0; r < rows; r++) {
			kern->mul(w->num + r * w->ld, w->num + r * w->ld, w->factor, w->d);
			kern->mul(w->den + r * w->ld, w->den + r * w->ld, w->factor, w->d);
		}
		memcpy(w->top, w->high, w->d * sizeof(float));
	}
	for (size_t r = 0; r < keys; r++) {
		float *ek = w->ek + r * w->ld;
		memcpy(ek, key_row(w, j + r), w->d * sizeof *ek);
		kern->axpy(ek, -1, w->top, w->d);
		kern->exp_shift(ek, ek, 0, w->d);
		kern->mul(w->ekv + r * w->ld, ek, (const float *)c->v + (j + r) * c->ldv, w->d);
	}
}

/* w of rows [i, i + rows), keys [j, j + keys), as weights of the visible keys. */
static void load_weights(const struct work *w, size_t i, size_t rows, size_t j, size_t keys)
{
	const struct attn_shape *s = w->c->shape;
	const struct kern *kern = w->c->kern;
	const float *u = w->c->state, *u_t = u + s->n_q * w->rank;

	if (!w->given)
		kern->mm(w->w, KEYS, u + i * w->rank, w->rank, 1, u_t + j, s->n_k, rows, keys, w->rank, false);
	for (size_t r = 0; r < rows; r++) {
		float *row = w->w + r * KEYS;
		size_t seen = tile_visible(s, i + r), here = seen > j ? seen - j : 0;
		here = here < keys ? here : keys;
		if (w->given)
			memcpy(row, w->given + (i + r) * s->n_k + j, here * sizeof *row);
		float top = kern->max(row, here);
		if (top > w->row_top[r]) {
			float a = expf(w->row_top[r] - top);
			kern->scale(w->num + r * w->ld, a, w->d);
			kern->scale(w->den + r * w->ld, a, w->d);
			w->row_top[r] = top;
		}
		kern->exp_shift(row, row, w->row_top[r], here);
		memset(row + here, 0, (keys - here) * sizeof *row);
	}
}

/* out = num / (den (1 + e^-q)) */
static void store(const struct work *w, size_t i, size_t rows)
{
	const struct attn_call *c = w->c;
	const struct kern *kern = c->kern;

	for (size_t r = 0; r < rows; r++) {
		float *by = w->factor, *out = (float *)c->out + (i + r) * c->ldo;
		memcpy(by, (const float *)c->q + (i + r) * c->ldq, w->d * sizeof *by);
		kern->scale(by, -1, w->d);
		kern->exp_shift(by, by, 0, w->d);
		kern->relu(by, by, 1, 1, w->d);
		kern->mul(by, by, w->den + r * w->ld, w->d);
		kern->div(out, w->num + r * w->ld, by, w->d);
	}
}

static void run_tile(const struct work *w, size_t i, size_t rows)
{
	const struct attn_call *c = w->c;
	size_t end = tile_visible(c->shape, i + rows - 1);

	memset(w->num, 0, 2 * ROWS * w->ld * sizeof(float));
	fill(w->top, KERN_NO_MAX, w->d);
	fill(w->row_top, KERN_NO_MAX, rows);
	for (size_t j = 0; j < end; j += KEYS) {
		size_t keys = end - j < KEYS ? end - j : KEYS;
		load_keys(w, j, keys, rows);
		load_weights(w, i, rows, j, keys);
		c->kern->mm(w->num, w->ld, w->w, KEYS, 1, w->ekv, w->ld, rows, w->d, keys, true);
		c->kern->mm(w->den, w->ld, w->w, KEYS, 1, w->ek, w->ld, rows, w->d, keys, true);
	}
	store(w, i, rows);
	if (c->stats)
		c->stats->flops_executed += (double)(rows * end * (4 * w->d + (w->given ? 0 : 2 * w->rank)));
}

/* Tiles of ROWS queries, dealt out to the ranks in turn. */
static void forward(const struct attn_call *c, struct attn_team *team)
{
	const struct attn_shape *s = c->shape;
	struct work w = work_init(c);
	size_t seen = 0;

	fill(w.seen_top, KERN_NO_MAX, w.d);
	for (size_t i0 = team->rank * ROWS; i0 < s->n_q; i0 += team->size * ROWS) {
		size_t end = s->n_q - i0 < ROWS ? s->n_q : i0 + ROWS;
		for (size_t i = i0, rows; i < end; i += rows) {
			rows = 1;
			if (tile_visible(s, i) == 0) {
				memset((float *)c->out + i * c->ldo, 0, w.d * sizeof(float));
				continue;
			}
			rows = tile_rows(&w, i, end - i, &seen);
			run_tile(&w, i, rows);
		}
	}
}

static const char *const cases[] = { "bias=0", "rank=3:bias=2", NULL };

static void refine(const double *arg, unsigned *flags, float *impl_bound)
{
	(void)impl_bound;
	if (arg[BIAS] == 0) {
		*flags &= ~(unsigned)ATTN_RANDOM;
		*flags |= ATTN_QPERM | ATTN_KPERM;
	}
}

static const char *plan(const struct attn_shape *s, const double *arg, size_t ranks,
                        struct attn_plan *p)
{
	double d = (double)s->d, visited = 0, keys = 0;

	(void)ranks;
	if (s->d != s->d_v)
		return "weights belong to channels: needs d_v = d";
	for (size_t i0 = 0; i0 < s->n_q; i0 += ROWS) {
		size_t end = s->n_q - i0 < ROWS ? s->n_q : i0 + ROWS, rows = 0;
		double seen = (double)tile_visible(s, end - 1);
		for (size_t i = i0; i < end; i++)
			rows += tile_visible(s, i) > 0;
		visited += (double)rows * seen;
		keys += seen;
	}
	p->state = (s->n_q + s->n_k) * (size_t)arg[RANK] * sizeof(float);
	p->scratch = scratch_floats(s) * sizeof(float);
	p->pairs = work_visible_pairs(s);
	p->flops_useful = 4 * p->pairs * d;
	p->flops_executed = visited * (4 * d + 2 * arg[RANK]);
	p->n_exp = p->pairs + keys * d + (double)s->n_q * d;
	p->bytes = work_io_bytes(s) + (double)p->state;
	return NULL;
}

/* u (n_q x rank) with the factor of w, u' transposed (rank x n_k). Rows belong to
 * positions, the last query standing at the last key. */
static void prepare(const struct attn_shape *s, const double *arg, uint64_t seed, void *state)
{
	size_t rank = (size_t)arg[RANK], shift = s->n_k > s->n_q ? s->n_k - s->n_q : 0;
	double factor = arg[BIAS] / sqrt((double)rank);
	float *u = state, *u_t = u + s->n_q * rank;

	for (size_t i = 0; i < s->n_q; i++)
		for (size_t r = 0; r < rank; r++)
			u[i * rank + r] = (float)(factor * attn_random_normal(
			        seed, attn_random_stream("aft-full", s->head, 0), (i + shift) * rank + r));
	for (size_t j = 0; j < s->n_k; j++)
		for (size_t r = 0; r < rank; r++)
			u_t[r * s->n_k + j] = (float)attn_random_normal(
			        seed, attn_random_stream("aft-full", s->head, 1), j * rank + r);
}

/* ---- decoding: a tile of one row over a cache ---- */

static const char *decode_plan(const struct attn_decode *slot, const struct attn_shape *s, const double *arg,
                               size_t queries, size_t ranks, struct attn_decode_plan *p)
{
	struct layout past = { .base = NULL };
	double n = (double)s->n_k, d = (double)s->d;

	(void)slot;
	(void)ranks;
	cache_at(&past, s, s->n_k, 0);
	p->past = past.used;
	p->step.scratch = scratch_floats(s) * sizeof(float);
	p->step.pairs = n * (double)queries;
	p->step.flops_useful = 4 * p->step.pairs * d;
	p->step.flops_executed = p->step.pairs * (4 * d + 2 * arg[RANK]);
	p->step.n_exp = p->step.pairs * (d + 1) + d;
	p->step.bytes = n * (2 * d + arg[RANK]) * sizeof(float) + cache_io_bytes(s, queries);
	return NULL;
}

static void decode_append(const struct attn_decode_call *c)
{
	struct layout past = { .base = c->past };
	struct cache cache = cache_at(&past, c->shape, c->shape->n_k, 0);

	cache_append(&cache, c);
}

/* Exponentials are made anew for each row: they are relative to the largest key. */
static void decode_step(const struct attn_decode_call *c, struct attn_team *team)
{
	const struct attn_shape *s = c->shape;
	struct layout past = { .base = c->past };
	struct cache cache = cache_at(&past, s, s->n_k, 0);
	struct attn_call call = {
		.shape = s, .arg = c->arg, .kern = c->kern, .state = c->state, .k = cache_key(&cache, 0),
		.v = cache_value(&cache, 0), .ldk = s->d, .ldv = s->d, .aux = c->aux, .scratch = c->scratch,
		.stats = c->stats, /* ldq, ldo = 0: every row of q and out is this one */
	};

	(void)team;
	cache_append(&cache, c);
	for (size_t r = 0; r < c->queries; r++) {
		call.q = (const float *)c->q + r * c->ldq;
		call.out = (float *)c->out + r * c->ldo;
		struct work w = work_init(&call);
		run_tile(&w, c->length, 1);
	}
}

static const struct attn_decode decode = {
	.keeps = "cache: 2 n d",
	.plan = decode_plan,
	.append = decode_append,
	.step = decode_step,
};

const struct attn_variant attn_aft_full = {
	.abi = ATTN_ABI,
	.name = "aft-full",
	.family = "linear",
	.title = "attention free transformer, full",
	.paper = "Zhai et al. 2021, arXiv 2105.14103",
	.formula = "O_t = sigmoid(q_t) (.) sum_j e^(k_j + w_tj) (.) v_j / sum_j e^(k_j + w_tj)",
	.complexity = "n^2 d",
	.target = "its own weights; aft-simple at bias = 0",
	.summary = "Quadratic, in spite of its name's family; weights of positions and of channels; "
	           "needs d_v = d. w is random unless given. Not an estimate of softmax.",
	.flags = ATTN_CAUSAL | ATTN_BIDIRECTIONAL | ATTN_CROSS | ATTN_PARALLEL | ATTN_KSHIFT | ATTN_RANDOM,
	.impl_bound = 5e-6f,
	.cases = cases,
	.params = params,
	.refine = refine,
	.plan = plan,
	.prepare = prepare,
	.forward = forward,
	.decode = &decode,
	.oracle = oracle_aft_full,
};
