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
#include "../engine/chosen.h"
#include "../engine/pick.h"
#include "../engine/weights.h"
#include "../engine/work.h"
#include "../oracle/oracle.h"

#include <string.h>

enum { L, ST, BLOCK, NS, W, GCMP, GSLC, GSWA };

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

static size_t least(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* Compressed keys complete within the first n tokens. */
static size_t compressed(const double *arg, size_t n)
{
	size_t l = (size_t)arg[L];

	return n >= l ? (n - l) / (size_t)arg[ST] + 1 : 0;
}

static size_t blocks(const struct attn_shape *s, const double *arg)
{
	return (s->n_k + (size_t)arg[BLOCK] - 1) / (size_t)arg[BLOCK];
}

/* Blocks chosen by importance: a query of the first three blocks has none to choose. */
static size_t choices(const struct attn_shape *s, const double *arg)
{
	size_t nb = blocks(s, arg);

	return least((size_t)arg[NS] - 3, nb > 3 ? nb - 3 : 0);
}

static void compressed_band(const struct attn_shape *s, const double *arg, size_t i, size_t *lo,
                            size_t *hi)
{
	(void)s;
	*lo = 0;
	*hi = compressed(arg, i + 1);
}

static void window(const struct attn_shape *s, const double *arg, size_t i, size_t *lo, size_t *hi)
{
	size_t w = (size_t)arg[W];

	(void)s;
	*lo = i + 1 > w ? i + 1 - w : 0;
	*hi = i + 1;
}

/* The own block and the one before it; the first block, where it is neither. */
static void latest_blocks(const struct attn_shape *s, const double *arg, size_t i, size_t *lo, size_t *hi)
{
	size_t b = (size_t)arg[BLOCK], own = i / b;

	(void)s;
	*lo = own > 0 ? (own - 1) * b : 0;
	*hi = i + 1;
}

static void first_block(const struct attn_shape *s, const double *arg, size_t i, size_t *lo, size_t *hi)
{
	size_t b = (size_t)arg[BLOCK];

	(void)s;
	*lo = 0;
	*hi = i / b > 1 ? b : 0;
}

struct work {
	const struct attn_call *call;
	double *exact;  /* shared: means of keys, compressed x d */
	float *k, *v;   /* shared: compressed keys, rounded, and values */
	float longest;  /* of k */
	float gate[3];
	float *weight;  /* compressed x lanes */
	float *best;    /* WEIGHTS_STRETCH x lanes */
	float *branch;  /* lanes x d_v: result of one branch */
	float *score;   /* blocks x lanes: importance */
	struct pick pick;
	struct chosen chosen;
	float *selected, *lse; /* chunk x d_v, chunk: the selected branch */
	size_t i0;             /* the chunk's first query */
};

static void lay_out(struct work *w, const struct attn_call *c, const struct attn_shape *s,
                    const double *arg, size_t ranks, struct layout *shared, struct layout *scratch)
{
	size_t n = compressed(arg, s->n_k), nb = blocks(s, arg), choose = choices(s, arg);
	size_t chunk = chosen_chunk(s, ranks, nb, choose), lanes = KERN_MAX_LANES;

	LAYOUT(shared, w->exact, n * s->d);
	LAYOUT(shared, w->k, n * s->d);
	LAYOUT(shared, w->v, n * s->d_v);
	LAYOUT(scratch, w->weight, n * lanes);
	LAYOUT(scratch, w->best, WEIGHTS_STRETCH * lanes);
	LAYOUT(scratch, w->branch, lanes * s->d_v);
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
	static work_band *const bands[] = { compressed_band, window, latest_blocks, first_block };
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
		size_t count = least((size_t)arg[NS], i / b + 1);
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
	size_t d_v = c->shape->d_v, l = (size_t)c->arg[L], st = (size_t)c->arg[ST];
	size_t n = compressed(c->arg, c->shape->n_k);

	chosen_means(c->k, c->ldk, c->shape->n_k, c->shape->d, l, st, n, team->rank, team->size, w->exact, w->k);
	for (size_t u = team->rank; u < n; u += team->size) {
		float *v = w->v + u * d_v;
		memset(v, 0, d_v * sizeof *v);
		for (size_t j = u * st; j < u * st + l; j++)
			c->kern->axpy(v, 1, (const float *)c->v + j * c->ldv, d_v);
		c->kern->scale(v, 1 / (float)l, d_v);
	}
}

/* Tokens that compressed key u and block b share, over st. */
static float shared_units(const double *arg, size_t u, size_t b)
{
	size_t st = (size_t)arg[ST], size = (size_t)arg[BLOCK];
	size_t first = u * st > b * size ? u * st : b * size;
	size_t end = least(u * st + (size_t)arg[L], (b + 1) * size);

	return (float)(end - first) / (float)st; /* they do overlap */
}

/* Compressed keys [*u0, *u1) that overlap block b, of n. */
static void overlapping(const double *arg, size_t b, size_t n, size_t *u0, size_t *u1)
{
	size_t l = (size_t)arg[L], st = (size_t)arg[ST], first = b * (size_t)arg[BLOCK];

	*u0 = first + 1 > l ? (first - l) / st + 1 : 0;
	*u1 = least((first + (size_t)arg[BLOCK] - 1) / st + 1, n);
	*u0 = least(*u0, *u1);
}

/* ---- selection ---- */

/* pick_exact: ln of the importance of block b, up to the query's constant. */
static double exact_importance(const void *ctx, size_t lane, size_t b)
{
	const struct work *w = ctx;
	const struct attn_call *c = w->call;
	size_t i = w->chosen.rows.t.q0 + lane, d = c->shape->d, u0, u1;
	const float *q = (const float *)c->q + i * c->ldq;
	double most = -INFINITY, sum = 0;

	overlapping(c->arg, b, compressed(c->arg, i + 1), &u0, &u1);
	for (int pass = 0; pass < 2; pass++) {
		for (size_t u = u0; u < u1; u++) {
			double dot = 0;
			for (size_t e = 0; e < d; e++)
				dot += (double)q[e] * w->exact[u * d + e];
			double s = (double)c->shape->scale * dot;
			if (pass == 0)
				most = fmax(most, s);
			else
				sum += (double)shared_units(c->arg, u, b) * exp(s - most);
		}
	}
	return most + log(sum);
}

/* A number that grows as log2 x, good to twice the relative error of x and 1e-5:
 * its bits. Comparing logarithms keeps small importances apart. */
static float log_bits(float x)
{
	int32_t bits;

	memcpy(&bits, &x, sizeof bits);
	return (float)bits * 0x1p-23f;
}

/* What the tile's queries choose beside the first, the previous and the own block;
 * n compressed keys are seen by the last. */
static void choose_blocks(struct work *w, size_t n)
{
	const struct attn_call *c = w->call;
	const struct kern *kern = c->kern;
	const struct tile *t = &w->chosen.rows.t;
	size_t lanes = kern->lanes, d = c->shape->d, b = (size_t)c->arg[BLOCK];
	size_t choose = choices(c->shape, c->arg), nb = (t->q0 + t->rows - 1) / b;
	float error[KERN_MAX_LANES];

	nb = nb > 1 ? nb - 1 : 0; /* up to the block before the previous one */
	memset(w->score, 0, nb * lanes * sizeof *w->score);
	for (size_t u = 0; u < nb; u++) {
		size_t u0, u1;
		overlapping(c->arg, u, n, &u0, &u1);
		for (size_t a = u0; a < u1; a++)
			kern->axpy(w->score + u * lanes, shared_units(c->arg, a, u),
			           w->weight + a * lanes, lanes);
	}
	for (size_t i = 0; i < nb * lanes; i++)
		w->score[i] = log_bits(w->score[i]);
	for (size_t r = 0; r < t->rows; r++) {
		const float *q = (const float *)c->q + (t->q0 + r) * c->ldq;
		size_t own = (t->q0 + r) / b;
		/* Twice the error of a weight, e^s and a few roundings; and that of the bits. */
		error[r] = 2 * c->shape->scale * pick_dot_error(d, sqrtf(kern->dot(q, q, d)), w->longest) + 2e-5f;
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
	size_t lo[KERN_MAX_LANES], hi[KERN_MAX_LANES];

	for (size_t r = 0; r < t->rows; r++)
		band(c->shape, c->arg, t->q0 + r, &lo[r], &hi[r]);
	tile_band(t, lo, hi);
}

/* The other branches as far as they go in order; out += gate O_swa. */
static void tile_branches(struct work *w)
{
	const struct attn_call *c = w->call;
	struct tile *t = &w->chosen.rows.t;
	const float *q = (const float *)c->q + t->q0 * c->ldq;
	size_t d_v = c->shape->d_v, at = t->q0 - w->i0;

	tile_load(t, q, c->ldq, t->rows);
	take_band(t, first_block);
	take_band(t, latest_blocks);
	tile_store(t, w->selected + at * d_v, d_v, w->lse + at);
	tile_load(t, q, c->ldq, t->rows);
	take_band(t, window);
	tile_store(t, w->branch, d_v, NULL);
	for (size_t r = 0; r < t->rows; r++)
		c->kern->axpy((float *)c->out + (t->q0 + r) * c->ldo, w->gate[2], w->branch + r * d_v, d_v);
}

/* The tile of queries from q0 on: all but the chosen blocks. */
static void run_tile(struct work *w, size_t q0, size_t rows)
{
	const struct attn_call *c = w->call;
	struct tile *t = &w->chosen.rows.t;
	size_t n = compressed(c->arg, q0 + rows), seen[KERN_MAX_LANES];
	float sum[KERN_MAX_LANES];

	t->q0 = q0;
	t->rows = rows;
	for (size_t r = 0; r < rows; r++) {
		seen[r] = compressed(c->arg, q0 + r + 1);
		if (c->stats)
			c->stats->pairs += (double)seen[r];
	}
	weights_of_tile(t, w->k, n, seen, w->weight, w->best, sum);
	weights_apply(t, w->weight, sum, w->gate[0], w->v, n, (float *)c->out + q0 * c->ldo, c->ldo);
	if (w->chosen.per_query > 0)
		choose_blocks(w, n);
	tile_branches(w);
}

static void forward(const struct attn_call *c, struct attn_team *team)
{
	const struct attn_shape *s = c->shape;
	struct layout shared = { .base = c->shared }, scratch = { .base = c->scratch };
	const float *given = attn_aux_find(c->aux, "gates3", 1, 3);
	size_t lanes = c->kern->lanes, d_v = s->d_v;
	struct work w = { .call = c };

	lay_out(&w, c, s, c->arg, team->size, &shared, &scratch);
	for (size_t g = 0; g < 3; g++)
		w.gate[g] = given ? given[g] : (float)c->arg[GCMP + g];
	compress(&w, team);
	attn_barrier(team);
	w.longest = chosen_longest(c->kern, w.k, compressed(c->arg, s->n_k), s->d);
	for (size_t turn = 0; turn * team->size * w.chosen.chunk < s->n_q; turn++) {
		w.i0 = chosen_first(&w.chosen, team, turn);
		if (w.i0 >= s->n_q)
			continue;
		size_t count = least(w.chosen.chunk, s->n_q - w.i0);
		for (size_t i = 0; i < count; i += lanes)
			run_tile(&w, w.i0 + i, least(lanes, count - i));
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
	.summary = "Means and constant gates in place of what the paper learns. The compressed branch "
	           "stays quadratic with a factor 1/st; it is empty for the first l - 1 rows.",
	.flags = ATTN_CAUSAL | ATTN_PARALLEL | ATTN_NONNEG | ATTN_KSHIFT | ATTN_LOGITS,
	.impl_bound = 2e-6f,
	.limit = "ns=n:block=1:gcmp=0:gslc=1:gswa=0",
	.cases = cases,
	.params = params,
	.plan = plan,
	.forward = forward,
	.oracle = oracle_nsa,
};
