/* SPDX-License-Identifier: BSD-3-Clause
 *
 * nsa: native sparse attention, three causal branches.
 *
 *     compressed   keys and values as means of l tokens every st; seen once complete
 *     selected     blocks of `block` keys: the first, the own and the one before, and
 *                  those of the largest importance, ns in all; importance is the
 *                  weight of the compressed keys that overlap the block, each times
 *                  the tokens shared over st
 *     window       the last w keys, the own included
 *     O = gcmp O_cmp + gslc O_slc + gswa O_swa
 *
 * Time n (n/st) (d + d_v), n ns block (d + d_v), n w (d + d_v). Yuan et al. 2025, arXiv
 * 2502.11089. The paper's compression is learned, here it is the mean; its gates
 * are a function of the input, here constants (parameters, or the auxiliary input
 * gates3, 1 x 3). Rows before the first complete compressed key have O_cmp = 0, so
 * their weights do not sum to 1. Other codes use one block size for both, pool
 * without overlap, or keep the own block out of ns. Ties go to the lowest block.
 *
 * A tile computes the weights of its compressed keys once, for the branch and for
 * the choice; then it takes the blocks in its past that all queries see. The other
 * chosen blocks meet their queries as in moba, a chunk of queries at a time.
 */
#include "nsa.h"

#include "../engine/chosen.h"
#include "../engine/weights.h"
#include "../engine/work.h"
#include "../oracle/oracle.h"

#include <string.h>

static const struct attn_param params[] = {
	{ "l", "tokens of a compressed key", ATTN_INT, 32, 1, 1 << 20, NULL },
	{ "st", "tokens from one compressed key to the next", ATTN_INT, 16, 1, 1 << 20, NULL },
	{ "block", "tokens of a selected block", ATTN_INT, 64, 1, 1 << 20, NULL },
	{ "ns", "blocks selected a query, 3 of them by position", ATTN_INT, 16, 3, 1 << 20, NULL },
	{ "w", "window, the query's own token included", ATTN_INT, 512, 1, 1 << 30, NULL },
	{ "gcmp", "weight of the compressed branch", ATTN_REAL, 1.0 / 3, 0, 1e6, NULL },
	{ "gslc", "weight of the selected branch", ATTN_REAL, 1.0 / 3, 0, 1e6, NULL },
	{ "gswa", "weight of the window", ATTN_REAL, 1.0 / 3, 0, 1e6, NULL },
	{ 0 },
};

struct work {
	const struct attn_call *call;
	double *exact;  /* shared: means of keys, compressed x d */
	float *k, *v;   /* shared: compressed keys, rounded, and values */
	float longest;  /* of k */
	float gate[3];
	float *weight;  /* compressed x lanes */
	float *best;    /* WEIGHTS_STRETCH x lanes */
	float *branch;  /* 2 lanes x d_v: result of one branch */
	float *score;   /* blocks x lanes: importance */
	struct pick pick;
	struct chosen chosen;
	float *selected, *lse; /* chunk x d_v, chunk: the selected branch */
	size_t i0;             /* the chunk's first query */
};

static void lay_out(struct work *w, const struct attn_call *c, const struct attn_shape *s,
                    const double *arg, size_t ranks, struct layout *shared, struct layout *scratch)
{
	size_t n = nsa_compressed(arg, s->n_k), nb = nsa_blocks(s, arg), choose = nsa_choices(s, arg);
	size_t chunk = chosen_chunk(s, ranks, nb, choose), lanes = KERN_MAX_LANES;

	LAYOUT(shared, w->exact, n * s->d);
	LAYOUT(shared, w->k, n * s->d);
	LAYOUT(shared, w->v, n * s->d_v);
	LAYOUT(scratch, w->weight, n * lanes);
	LAYOUT(scratch, w->best, WEIGHTS_STRETCH * lanes);
	LAYOUT(scratch, w->branch, TILE_ROWS * s->d_v);
	LAYOUT(scratch, w->score, nb * lanes);
	LAYOUT(scratch, w->selected, chunk * s->d_v);
	LAYOUT(scratch, w->lse, chunk);
	void *pick = layout_take(scratch, pick_bytes(nb, choose));
	w->chosen = (struct chosen){ .size = (size_t)arg[BLOCK], .blocks = nb, .per_query = choose, .chunk = chunk };
	chosen_lay_out(&w->chosen, c, s, scratch);
	if (!c)
		return;
	pick_init(&w->pick, pick, nb, choose);
	w->chosen.into.out = w->selected;
	w->chosen.into.ldo = s->d_v;
}

static const char *const cases[] = { "l=6:st=3:block=5:ns=4:w=9", "l=5:st=5:block=8:ns=3:w=1",
	                             "l=4:st=3:block=7:ns=5:gcmp=0:gslc=1:gswa=0", NULL };

static const char *plan(const struct attn_shape *s, const double *arg, size_t ranks,
                        struct attn_plan *p)
{
	static work_band *const bands[] = { nsa_compressed_band, nsa_window, nsa_latest_blocks, nsa_first_block };
	struct layout shared = { .base = NULL }, scratch = { .base = NULL };
	size_t b = (size_t)arg[BLOCK];
	double pairs = 0, executed = 0, chosen = 0;
	struct work w;

	if (!s->causal)
		return "bidirectional nsa does not exist: its window and blocks are those of the past";
	for (size_t i = 0; i < sizeof bands / sizeof *bands; i++) {
		double more, more_executed;
		work_band_pairs(s, arg, bands[i], &more, &more_executed);
		pairs += more;
		executed += more_executed;
	}
	for (size_t i = 0; i < s->n_q; i++) {
		size_t count = nsa_least((size_t)arg[NS], i / b + 1);
		chosen += (double)((count > 3 ? count - 3 : 0) * b);
	}
	lay_out(&w, NULL, s, arg, ranks, &shared, &scratch);
	if (chosen > 0)
		executed += chosen + chosen_waste(s, w.chosen.chunk, w.chosen.blocks, b);
	work_softmax(s, pairs + chosen, executed, p);
	p->shared = shared.used;
	p->scratch = scratch.used;
	return NULL;
}

/* ---- compression ---- */

/* Ranks take compressed keys in turn. */
static void compress(const struct work *w, struct attn_team *team)
{
	const struct attn_call *c = w->call;
	const struct compressed shape = nsa_shape_of(c->arg);
	size_t d = c->shape->d, d_v = c->shape->d_v, n = nsa_compressed(c->arg, c->shape->n_k);

	for (size_t u = team->rank; u < n; u += team->size)
		compressed_mean(&shape, c->kern, (const float *)c->k + u * shape.st * c->ldk, c->ldk, d,
		                (const float *)c->v + u * shape.st * c->ldv, c->ldv, d_v, w->exact + u * d,
		                w->k + u * d, w->v + u * d_v);
}

/* ---- selection ---- */

/* pick_exact: ln of the importance of block b, up to the query's constant. */
static double exact_importance(const void *ctx, size_t lane, size_t b)
{
	const struct work *w = ctx;
	const struct attn_call *c = w->call;
	const struct compressed shape = nsa_shape_of(c->arg);
	size_t i = w->chosen.rows.t.q0 + lane;

	return compressed_importance(&shape, (const float *)c->q + i * c->ldq, w->exact, c->shape->d,
	                             (double)c->shape->scale, nsa_compressed(c->arg, i + 1), b);
}

/* What the tile's queries choose beside the first, the previous and the own block;
 * n compressed keys are seen by the last. */
static void choose_blocks(struct work *w, size_t n)
{
	const struct attn_call *c = w->call;
	const struct kern *kern = c->kern;
	const struct tile *t = &w->chosen.rows.t;
	const struct compressed shape = nsa_shape_of(c->arg);
	size_t lanes = kern->lanes, b = shape.block;
	size_t choose = nsa_choices(c->shape, c->arg), nb = (t->q0 + t->rows - 1) / b;
	float error[KERN_MAX_LANES];

	nb = nb > 1 ? nb - 1 : 0; /* up to the block before the previous one */
	compressed_importances(&shape, kern, w->weight, n, lanes, nb, w->score);
	for (size_t r = 0; r < t->rows; r++) {
		const float *q = (const float *)c->q + (t->q0 + r) * c->ldq;
		size_t own = (t->q0 + r) / b;
		error[r] = nsa_importance_error(kern, c->shape, q, w->longest);
		for (size_t u = own > 1 ? own - 1 : 0; u < nb; u++)
			w->score[u * lanes + r] = KERN_MASKED;
		if (nb > 0)
			w->score[r] = KERN_MASKED; /* the first block is seen anyway */
	}
	pick_scan(&w->pick, kern, w->score, nb, t->rows, error);
	for (size_t r = 0; r < t->rows; r++) {
		uint32_t *mine = w->chosen.block + (t->q0 + r - w->i0) * choose;
		for (size_t a = pick_lane(&w->pick, r, exact_importance, w, mine); a < choose; a++)
			mine[a] = BUCKET_NONE;
	}
}

static void take_band(struct tile *t, work_band *band)
{
	const struct attn_call *c = t->call;
	size_t lo[TILE_ROWS], hi[TILE_ROWS];

	for (size_t r = 0; r < t->rows; r++)
		band(c->shape, c->arg, t->q0 + r, &lo[r], &hi[r]);
	tile_band(t, lo, hi);
}

/* The other branches of queries from q0 on, as far as they go in order; out += gate O_swa. */
static void in_order(struct work *w, size_t q0, size_t rows)
{
	const struct attn_call *c = w->call;
	struct tile *t = &w->chosen.rows.t;
	const float *q = (const float *)c->q + q0 * c->ldq;
	size_t d_v = c->shape->d_v, at = q0 - w->i0;

	t->q0 = q0;
	tile_load(t, q, c->ldq, rows);
	take_band(t, nsa_first_block);
	take_band(t, nsa_latest_blocks);
	tile_store(t, w->selected + at * d_v, d_v, w->lse + at);
	tile_load(t, q, c->ldq, rows);
	take_band(t, nsa_window);
	tile_store(t, w->branch, d_v, NULL);
	for (size_t r = 0; r < t->rows; r++)
		c->kern->axpy((float *)c->out + (t->q0 + r) * c->ldo, w->gate[2], w->branch + r * d_v, d_v);
}

/* The compressed branch of queries from q0 on, rows <= lanes, and what they choose. */
static void compressed_tile(struct work *w, size_t q0, size_t rows)
{
	const struct attn_call *c = w->call;
	struct tile *t = &w->chosen.rows.t;
	size_t n = nsa_compressed(c->arg, q0 + rows), seen[KERN_MAX_LANES];
	float sum[KERN_MAX_LANES];

	t->q0 = q0;
	t->rows = rows;
	for (size_t r = 0; r < rows; r++) {
		seen[r] = nsa_compressed(c->arg, q0 + r + 1);
		if (c->stats)
			c->stats->pairs += (double)seen[r];
	}
	weights_of_tile(t, w->k, n, seen, w->weight, w->best, sum);
	weights_apply(t, w->weight, sum, w->gate[0], w->v, n, (float *)c->out + q0 * c->ldo, c->ldo);
	if (w->chosen.per_query > 0) {
		attn_phase(c->stats, ATTN_SELECTS);
		choose_blocks(w, n);
		attn_phase(c->stats, ATTN_ATTENDS);
	}
}

static void forward(const struct attn_call *c, struct attn_team *team)
{
	const struct attn_shape *s = c->shape;
	struct layout shared = { .base = c->shared }, scratch = { .base = c->scratch };
	size_t lanes = c->kern->lanes, d_v = s->d_v;
	struct work w = { .call = c };

	lay_out(&w, c, s, c->arg, team->size, &shared, &scratch);
	nsa_gates(c->aux, c->arg, w.gate);
	compress(&w, team);
	attn_barrier(team);
	w.longest = chosen_longest(c->kern, w.k, nsa_compressed(c->arg, s->n_k), s->d);
	for (size_t turn = 0; turn * team->size * w.chosen.chunk < s->n_q; turn++) {
		w.i0 = chosen_first(&w.chosen, team, turn);
		if (w.i0 >= s->n_q)
			continue;
		size_t count = nsa_least(w.chosen.chunk, s->n_q - w.i0);
		for (size_t i = 0; i < count; i += lanes)
			compressed_tile(&w, w.i0 + i, nsa_least(lanes, count - i));
		for (size_t i = 0; i < count; i += 2 * lanes)
			in_order(&w, w.i0 + i, nsa_least(2 * lanes, count - i));
		chosen_attend(&w.chosen, w.i0, count, w.lse);
		for (size_t i = 0; i < count; i++)
			c->kern->axpy((float *)c->out + (w.i0 + i) * c->ldo, w.gate[1], w.selected + i * d_v, d_v);
	}
}

const struct attn_variant attn_nsa = {
	.abi = ATTN_ABI,
	.name = "nsa",
	.family = "sparse",
	.title = "native sparse attention (NSA)",
	.paper = "Yuan et al. 2025, arXiv 2502.11089",
	.formula = "O = gcmp O_compressed + gslc O_selected + gswa O_window",
	.complexity = "n (n/st + ns block + w) d",
	.target = "causal softmax attention as ns block reaches n, with gslc = 1 and the other gates 0",
	.summary = "Means and constant gates in place of what the paper learns. The compressed branch "
	           "stays quadratic with a factor 1/st; it is empty for the first l - 1 rows.",
	.flags = ATTN_CAUSAL | ATTN_PARALLEL | ATTN_NONNEG | ATTN_KSHIFT | ATTN_LOGITS | ATTN_CHOOSES,
	.impl_bound = 2e-6f,
	.limit = "ns=n:block=1:gcmp=0:gslc=1:gswa=0",
	.cases = cases,
	.params = params,
	.plan = plan,
	.forward = forward,
	.decode = &nsa_decode,
	.oracle = oracle_nsa,
};
