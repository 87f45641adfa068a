/* SPDX-License-Identifier: BSD-3-Clause
 *
 * moba: mixture of block attention.
 *
 *     kbar_b = mean of the keys of block b,  g_ib = q_i . kbar_b,  c = floor(i' / b)
 *     allowed(i, j): block(j) = c, or block(j) among the k - 1 largest g_ib, b < c
 *
 * with i' = i + n_k - n_q, and j <= i'. Ties go to the lowest block. Time
 * 2 n (n/b) d for the gates and 2 n k b (d + d_v). Lu et al. 2025, arXiv
 * 2502.13189. k counts the own block, as in the paper; one published path takes
 * k = 1 as full attention. The bidirectional form chooses among all other
 * blocks; queries before the first key, which own no block, choose k.
 *
 * Queries are taken a chunk at a time: each tile sees its own block in order, then
 * the chosen blocks meet the queries of the chunk.
 */
#include "../engine/cache.h"
#include "../engine/chosen.h"
#include "../engine/pick.h"
#include "../engine/work.h"
#include "../oracle/oracle.h"

#include <string.h>

enum { B, K };

static const struct attn_param params[] = {
	{ "b", "keys a block", ATTN_INT, 512, 1, 1 << 30, NULL },
	{ "k", "blocks a query, its own included", ATTN_INT, 3, 1, 1 << 20, NULL },
	{ 0 },
};

static size_t least(size_t a, size_t b)
{
	return a < b ? a : b;
}

static size_t blocks(const struct attn_shape *s, const double *arg)
{
	return (s->n_k + (size_t)arg[B] - 1) / (size_t)arg[B];
}

/* Blocks that a query chooses, its own among them. */
static size_t choices(const struct attn_shape *s, const double *arg)
{
	return least((size_t)arg[K], blocks(s, arg));
}

/* The own block of query i; no block if it is before the first key. */
static size_t own(const struct attn_shape *s, const double *arg, size_t i)
{
	size_t at = i + s->n_k;

	return at >= s->n_q ? (at - s->n_q) / (size_t)arg[B] : SIZE_MAX;
}

static void own_band(const struct attn_shape *s, const double *arg, size_t i, size_t *lo, size_t *hi)
{
	size_t b = (size_t)arg[B], block = own(s, arg, i);

	*lo = block == SIZE_MAX ? 0 : block * b;
	*hi = block == SIZE_MAX ? 0 : least(tile_visible(s, i), (block + 1) * b);
}

struct work {
	const struct attn_call *call;
	double *exact; /* shared: block means, nb x d */
	float *mean;   /* shared: the same, rounded */
	float longest; /* of them */
	float *lse;    /* n_q */
	float *gate;   /* nb x lanes */
	struct pick pick;
	struct chosen chosen;
};

static void lay_out(struct work *w, const struct attn_call *c, const struct attn_shape *s,
                    const double *arg, size_t ranks, struct layout *shared, struct layout *scratch)
{
	size_t nb = blocks(s, arg), choose = choices(s, arg);

	LAYOUT(shared, w->exact, nb * s->d);
	LAYOUT(shared, w->mean, nb * s->d);
	LAYOUT(shared, w->lse, s->n_q);
	LAYOUT(scratch, w->gate, nb * KERN_MAX_LANES);
	void *pick = layout_take(scratch, pick_bytes(nb, choose));
	w->chosen.size = (size_t)arg[B];
	w->chosen.blocks = nb;
	w->chosen.per_query = choose;
	w->chosen.chunk = chosen_chunk(s, ranks, nb, choose > 1 ? choose - 1 : 0);
	chosen_lay_out(&w->chosen, c, s, scratch);
	if (!c)
		return;
	pick_init(&w->pick, pick, nb, choose);
	if (c->lse)
		w->lse = c->lse;
}

static const char *const cases[] = { "b=8:k=2", "b=16:k=1", "b=5:k=4", "b=1:k=3", NULL };

static const char *plan(const struct attn_shape *s, const double *arg, size_t ranks,
                        struct attn_plan *p)
{
	struct layout shared = { .base = NULL }, scratch = { .base = NULL };
	size_t nb = blocks(s, arg), b = (size_t)arg[B];
	double pairs, executed, chosen = 0, gates = 0;
	struct work w;

	work_band_pairs(s, arg, own_band, &pairs, &executed);
	for (size_t i = 0; i < s->n_q; i++) {
		size_t block = own(s, arg, i), others = s->causal ? block : nb - (block < nb);
		if (s->causal && block == SIZE_MAX)
			continue;
		size_t count = least((size_t)arg[K] - (block < nb), others);
		/* The last block may be short, any other has b keys. */
		chosen += (double)count * (s->causal ? (double)b : (double)s->n_k / (double)nb);
		gates += (double)(s->causal ? block + 1 : nb);
	}
	lay_out(&w, NULL, s, arg, ranks, &shared, &scratch);
	if (chosen > 0)
		executed += chosen + chosen_waste(s, w.chosen.chunk, nb, b);
	work_softmax(s, pairs + chosen, executed, p);
	p->flops_useful += (2 * gates + (double)s->n_k) * (double)s->d;
	p->flops_executed += (2 * gates + (double)s->n_k) * (double)s->d;
	p->shared = shared.used;
	p->scratch = scratch.used;
	return NULL;
}

/* pick_exact: the gate of the tile's query `lane` and block u. */
static double exact_gate(const void *ctx, size_t lane, size_t u)
{
	const struct work *w = ctx;
	const struct attn_call *c = w->call;
	const float *q = (const float *)c->q + (w->chosen.rows.t.q0 + lane) * c->ldq;
	double sum = 0;

	for (size_t e = 0; e < c->shape->d; e++)
		sum += (double)q[e] * w->exact[u * c->shape->d + e];
	return sum;
}

/* What a tile's queries choose beside their own block, which always wins. i0: the
 * chunk's first query. */
static void choose_blocks(struct work *w, size_t i0, size_t rows)
{
	const struct attn_call *c = w->call;
	const struct attn_shape *s = c->shape;
	struct tile *t = &w->chosen.rows.t;
	size_t lanes = c->kern->lanes, d = s->d, nb = blocks(s, c->arg), choose = choices(s, c->arg);
	const float *q = (const float *)c->q + t->q0 * c->ldq;
	uint32_t *chosen = w->chosen.block + (t->q0 - i0) * choose;
	float error[KERN_MAX_LANES];

	if (s->causal) /* up to the own block of the last query */
		nb = own(s, c->arg, t->q0 + rows - 1) + 1;
	c->kern->tile_load(&t->k, q, c->ldq, rows, 1); /* gates have no scale */
	c->kern->tile_scores(&t->k, w->mean, d, nb, w->gate);
	for (size_t r = 0; r < rows; r++) {
		size_t block = own(s, c->arg, t->q0 + r);
		error[r] = pick_dot_error(d, sqrtf(c->kern->dot(q + r * c->ldq, q + r * c->ldq, d)), w->longest);
		for (size_t u = block + 1; s->causal && u < nb; u++)
			w->gate[u * lanes + r] = KERN_MASKED;
		if (block < nb)
			w->gate[block * lanes + r] = INFINITY;
	}
	pick_scan(&w->pick, c->kern, w->gate, nb, rows, error);
	for (size_t r = 0; r < rows; r++) {
		uint32_t *mine = chosen + r * choose;
		size_t count = pick_lane(&w->pick, r, exact_gate, w, mine);
		for (size_t a = 0; a < choose; a++)
			if (a >= count || mine[a] == own(s, c->arg, t->q0 + r))
				mine[a] = BUCKET_NONE;
	}
	if (c->stats)
		c->stats->flops_executed += 2.0 * (double)(lanes * nb * d);
}

static void own_blocks(struct work *w, size_t rows)
{
	const struct attn_call *c = w->call;
	struct tile *t = &w->chosen.rows.t;
	size_t lo[TILE_ROWS], hi[TILE_ROWS];

	for (size_t r = 0; r < rows; r++)
		own_band(c->shape, c->arg, t->q0 + r, &lo[r], &hi[r]);
	tile_load(t, (const float *)c->q + t->q0 * c->ldq, c->ldq, rows);
	tile_band(t, lo, hi);
	tile_store(t, (float *)c->out + t->q0 * c->ldo, c->ldo, w->lse + t->q0);
}

static void forward(const struct attn_call *c, struct attn_team *team)
{
	const struct attn_shape *s = c->shape;
	struct layout shared = { .base = c->shared }, scratch = { .base = c->scratch };
	size_t nb = blocks(s, c->arg), lanes = c->kern->lanes;
	struct work w = { .call = c };

	lay_out(&w, c, s, c->arg, team->size, &shared, &scratch);
	attn_phase(c->stats, ATTN_SELECTS);
	chosen_means(c->k, c->ldk, s->n_k, s->d, w.chosen.size, w.chosen.size, nb, team->rank, team->size,
	             w.exact, w.mean);
	attn_barrier(team);
	w.longest = chosen_longest(c->kern, w.mean, nb, s->d);
	for (size_t turn = 0; turn * team->size * w.chosen.chunk < s->n_q; turn++) {
		size_t i0 = chosen_first(&w.chosen, team, turn);
		if (i0 >= s->n_q)
			continue;
		size_t count = least(w.chosen.chunk, s->n_q - i0);
		attn_phase(c->stats, ATTN_SELECTS);
		for (size_t i = 0; i < count; i += lanes) {
			w.chosen.rows.t.q0 = i0 + i;
			choose_blocks(&w, i0, least(lanes, count - i));
		}
		attn_phase(c->stats, ATTN_ATTENDS);
		for (size_t i = 0; i < count; i += 2 * lanes) {
			w.chosen.rows.t.q0 = i0 + i;
			own_blocks(&w, least(2 * lanes, count - i));
		}
		w.chosen.into.out = (float *)c->out + i0 * c->ldo;
		chosen_attend(&w.chosen, i0, count, w.lse + i0);
	}
	if (c->stats && team->rank == 0)
		c->stats->flops_executed += (double)(s->n_k * s->d);
}

/* ---- decoding: a cache and the means of whole blocks ---- */

struct past {
	double *sum; /* d: keys of the unfinished block; first, as it is changed */
	float *longest; /* 1: of the means */
	double *exact; /* block means, nb x d */
	float *mean;   /* the same, rounded */
	struct cache cache;
};

static struct past past_at(const struct attn_shape *s, const double *arg, struct layout *l)
{
	struct past past;

	LAYOUT(l, past.sum, s->d);
	LAYOUT(l, past.longest, 1);
	LAYOUT(l, past.exact, blocks(s, arg) * s->d);
	LAYOUT(l, past.mean, blocks(s, arg) * s->d);
	past.cache = cache_at(l, s, s->n_k, 0);
	return past;
}

/* What a rank chooses with, and what it has chosen. */
struct choice {
	float *gate;           /* nb */
	uint32_t *block;       /* choices */
	struct cache_run *run; /* choices */
	struct pick pick;
};

static struct choice choice_at(const struct attn_shape *s, const double *arg, struct layout *l)
{
	size_t nb = blocks(s, arg), choose = choices(s, arg);
	struct choice ch;

	LAYOUT(l, ch.gate, nb);
	LAYOUT(l, ch.block, choose);
	LAYOUT(l, ch.run, choose);
	void *pick = layout_take(l, pick_row_bytes(nb, choose - 1));
	if (pick)
		pick_row_init(&ch.pick, pick, nb, choose - 1);
	return ch;
}

static const char *decode_plan(const struct attn_decode *slot, const struct attn_shape *s, const double *arg,
                               size_t queries, size_t ranks, struct attn_decode_plan *p)
{
	struct layout past = { .base = NULL }, scratch = { .base = NULL };
	size_t b = (size_t)arg[B], whole = (s->n_k - 1) / b, chosen = least(choices(s, arg) - 1, whole);
	double seen = (double)(chosen * b + s->n_k - whole * b), rows = (double)queries, d = (double)s->d;

	(void)slot;
	cache_work(s, queries, rows * seen, rows * seen, p);
	p->step.flops_useful += (2 * rows * (double)whole + 1) * d;
	p->step.flops_executed = p->step.flops_useful;
	p->step.bytes += (double)whole * d * sizeof(float);
	layout_take(&scratch, single_scratch_bytes(s->type, s->d, s->d_v, queries));
	choice_at(s, arg, &scratch);
	past_at(s, arg, &past);
	p->past = past.used;
	p->changed = s->d * sizeof(double);
	p->step.shared = single_shared_bytes(s->d_v, queries, ranks);
	p->step.scratch = scratch.used;
	return NULL;
}

static void decode_start(const struct attn_decode_call *c)
{
	struct layout l = { .base = c->past };
	struct past past = past_at(c->shape, c->arg, &l);

	memset(past.sum, 0, c->shape->d * sizeof *past.sum);
	*past.longest = 0;
}

static void decode_append(const struct attn_decode_call *c)
{
	struct layout l = { .base = c->past };
	struct past past = past_at(c->shape, c->arg, &l);
	size_t d = c->shape->d, b = (size_t)c->arg[B];

	cache_append(&past.cache, c);
	for (size_t i = 0; i < c->tokens; i++) {
		size_t seen = c->length + i + 1, u = (seen - 1) / b;
		for (size_t e = 0; e < d; e++)
			past.sum[e] += (double)((const float *)c->k)[i * c->ldk + e];
		if (seen % b)
			continue;
		for (size_t e = 0; e < d; e++) {
			past.exact[u * d + e] = past.sum[e] / (double)b;
			past.mean[u * d + e] = (float)past.exact[u * d + e];
			past.sum[e] = 0;
		}
		*past.longest = fmaxf(*past.longest, chosen_longest(c->kern, past.mean + u * d, 1, d));
	}
}

/* The runs of query r: its own block, and those it chooses. Returns how many. */
static size_t choose_runs(const struct attn_decode_call *c, const struct past *past, struct choice *ch, size_t r)
{
	size_t d = c->shape->d, b = (size_t)c->arg[B], whole = c->length / b, n;
	const float *q = (const float *)c->q + r * c->ldq;
	const struct pick_rows means = { .q = q, .exact = past->exact, .d = d };

	c->kern->rows_dot(ch->gate, past->mean, d, whole, q, d);
	pick_row_scan(&ch->pick, c->kern, ch->gate, whole,
	              pick_dot_error(d, sqrtf(c->kern->dot(q, q, d)), *past->longest));
	n = pick_lane(&ch->pick, 0, pick_rows_exact, &means, ch->block);
	for (size_t a = 0; a < n; a++)
		ch->run[a] = cache_band(ch->block[a] * b, (ch->block[a] + 1) * b);
	ch->run[n] = cache_band(whole * b, c->length + 1);
	return n + 1;
}

/* Every rank chooses; the runs are divided. */
static void decode_step(const struct attn_decode_call *c, struct attn_team *team)
{
	const struct attn_shape *s = c->shape;
	struct layout l = { .base = c->past }, scratch = { .base = c->scratch };
	struct past past = past_at(s, c->arg, &l);
	void *mem = layout_take(&scratch, single_scratch_bytes(s->type, s->d, s->d_v, c->queries));
	struct choice ch = choice_at(s, c->arg, &scratch);
	struct single one;

	if (team->rank == 0)
		decode_append(c);
	single_init(&one, c, mem, s->type, s->d, s->d_v);
	single_load(&one, s->scale);
	attn_barrier(team);
	for (size_t r = 0; r < c->queries; r++) {
		size_t n = choose_runs(c, &past, &ch, r);
		single_only(&one, r);
		cache_look(&one, &past.cache, ch.run, n, 0, team);
	}
	if (c->stats && team->rank == 0)
		c->stats->flops_executed +=
		        (double)((2 * c->queries * (c->length / (size_t)c->arg[B]) + 1) * s->d);
	single_finish(&one, team, c->shared);
}

static const struct attn_decode decode = {
	.keeps = "cache and block means: n (d + d_v) + (n/b) d",
	.shares = true,
	.splits = true,
	.plan = decode_plan,
	.start = decode_start,
	.append = decode_append,
	.step = decode_step,
};

const struct attn_variant attn_moba = {
	.abi = ATTN_ABI,
	.name = "moba",
	.family = "sparse",
	.title = "mixture of block attention (MoBA)",
	.paper = "Lu et al. 2025, arXiv 2502.13189",
	.formula = "softmax over the own block and the k - 1 past blocks with the largest q . mean(keys)",
	.complexity = "n (n/b + k b) d",
	.target = "softmax attention as k b reaches n",
	.summary = "The gates stay quadratic with a factor 1/b. k counts the own block: k = 1 is "
	           "block-local. A block's mean says little where keys in it differ.",
	.flags = ATTN_CAUSAL | ATTN_BIDIRECTIONAL | ATTN_CROSS | ATTN_PARALLEL | ATTN_ROWSUM |
	         ATTN_NONNEG | ATTN_KSHIFT | ATTN_LSE | ATTN_LOGITS | ATTN_CHOOSES,
	.impl_bound = 2e-6f,
	.limit = "b=8:k=n",
	.cases = cases,
	.params = params,
	.plan = plan,
	.forward = forward,
	.decode = &decode,
	.oracle = oracle_moba,
};
