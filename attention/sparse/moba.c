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
 * the chunk's queries are sorted by the blocks that they chose, and each block
 * meets its queries in whole tiles, which resume from what they have seen.
 */
#include "../engine/bucket.h"
#include "../engine/pick.h"
#include "../engine/rows.h"
#include "../engine/work.h"
#include "../oracle/oracle.h"

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

/* Queries a chunk: some 128 for each block, but no fewer chunks than ranks. */
static size_t chunk(const struct attn_shape *s, const double *arg, size_t ranks)
{
	size_t lanes = KERN_MAX_LANES, size = 512;

	if (choices(s, arg) > 1 && 128 * blocks(s, arg) / (choices(s, arg) - 1) > size)
		size = 128 * blocks(s, arg) / (choices(s, arg) - 1);
	return least(size, (s->n_q + ranks - 1) / ranks) / lanes * lanes + lanes;
}

/* What the team shares, and what a rank works with. */
struct work {
	double *exact; /* block means, nb x d */
	float *mean;   /* the same, rounded */
	float *lse;    /* n_q */
	float longest; /* length of the longest mean */
	struct rows rows;
	struct pick pick;
	float *gate;     /* nb x lanes */
	uint32_t *chosen; /* chunk x choices */
	uint32_t *order;  /* the same, sorted by block */
	uint32_t *start;  /* nb + 1 */
	size_t i0;        /* the chunk's first query; with lane, for exact_gate */
	const struct attn_call *call;
};

static struct work work_at(const struct attn_call *c, size_t ranks)
{
	const struct attn_shape *s = c->shape;
	size_t nb = blocks(s, c->arg), choose = choices(s, c->arg), size = chunk(s, c->arg, ranks);
	char *mem = (char *)c->scratch + rows_scratch_bytes(s->d, s->d_v);
	struct work w = { .exact = c->shared, .call = c };

	w.mean = (float *)(w.exact + nb * s->d);
	w.lse = c->lse ? c->lse : w.mean + nb * s->d;
	rows_init(&w.rows, c, c->scratch);
	pick_init(&w.pick, mem, nb, choose);
	w.gate = (float *)(mem + pick_bytes(nb, choose));
	w.chosen = (uint32_t *)(w.gate + nb * KERN_MAX_LANES);
	w.order = w.chosen + size * choose;
	w.start = w.order + size * choose;
	return w;
}

static const char *const cases[] = { "b=8:k=2", "b=16:k=1", "b=5:k=4", "b=1:k=3", NULL };

static const char *plan(const struct attn_shape *s, const double *arg, size_t ranks,
                        struct attn_plan *p)
{
	size_t nb = blocks(s, arg), choose = choices(s, arg), b = (size_t)arg[B], size = chunk(s, arg, ranks);
	double pairs, executed, chosen = 0, gates = 0, lanes = KERN_MAX_LANES;

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
	work_softmax(s, pairs + chosen, executed + chosen, p);
	/* Half a tile is lost for each block and chunk. */
	if (chosen > 0)
		p->flops_executed += (double)((s->n_q + size - 1) / size * nb * b * (s->d + s->d_v)) * lanes;
	p->flops_useful += (2 * gates + (double)s->n_k) * (double)s->d;
	p->flops_executed += (2 * gates + (double)s->n_k) * (double)s->d;
	p->shared = nb * s->d * (sizeof(double) + sizeof(float)) + s->n_q * sizeof(float);
	p->scratch = rows_scratch_bytes(s->d, s->d_v) + pick_bytes(nb, choose) +
	             (nb * KERN_MAX_LANES + 2 * size * choose + nb + 1) * sizeof(float);
	return NULL;
}

/* Means of blocks rank, rank + size, ... in double: gates must be comparable. */
static void block_means(const struct work *w, struct attn_team *team)
{
	const struct attn_call *c = w->call;
	size_t d = c->shape->d, n = c->shape->n_k, b = (size_t)c->arg[B];

	for (size_t u = team->rank; u * b < n; u += team->size) {
		size_t count = least(b, n - u * b);
		double *mean = w->exact + u * d;
		for (size_t e = 0; e < d; e++)
			mean[e] = 0;
		for (size_t j = u * b; j < u * b + count; j++)
			for (size_t e = 0; e < d; e++)
				mean[e] += (double)((const float *)c->k)[j * c->ldk + e];
		for (size_t e = 0; e < d; e++) {
			mean[e] /= (double)count;
			w->mean[u * d + e] = (float)mean[e];
		}
	}
}

/* pick_exact: the gate of the tile's query `lane` and block u. */
static double exact_gate(const void *ctx, size_t lane, size_t u)
{
	const struct work *w = ctx;
	const struct attn_call *c = w->call;
	const float *q = (const float *)c->q + (w->rows.t.q0 + lane) * c->ldq;
	double sum = 0;

	for (size_t e = 0; e < c->shape->d; e++)
		sum += (double)q[e] * w->exact[u * c->shape->d + e];
	return sum;
}

/* What a tile's queries choose beside their own block, which always wins. */
static void choose_blocks(struct work *w, size_t rows)
{
	const struct attn_call *c = w->call;
	const struct attn_shape *s = c->shape;
	struct tile *t = &w->rows.t;
	size_t lanes = c->kern->lanes, d = s->d, nb = blocks(s, c->arg), choose = choices(s, c->arg);
	const float *q = (const float *)c->q + t->q0 * c->ldq;
	uint32_t *chosen = w->chosen + (t->q0 - w->i0) * choose;
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
	struct tile *t = &w->rows.t;
	size_t lo[KERN_MAX_LANES], hi[KERN_MAX_LANES];

	for (size_t r = 0; r < rows; r++)
		own_band(c->shape, c->arg, t->q0 + r, &lo[r], &hi[r]);
	tile_load(t, (const float *)c->q + t->q0 * c->ldq, c->ldq, rows);
	tile_band(t, lo, hi);
	tile_store(t, (float *)c->out + t->q0 * c->ldo, c->ldo, w->lse + t->q0);
}

/* Each block meets the queries of the chunk that chose it. */
static void chosen_blocks(struct work *w, size_t count)
{
	const struct attn_call *c = w->call;
	size_t lanes = c->kern->lanes, b = (size_t)c->arg[B], nb = blocks(c->shape, c->arg);

	bucket_sort(w->chosen, count, choices(c->shape, c->arg), nb, w->start, w->order);
	for (size_t u = 0; u < nb; u++) {
		const float *k = (const float *)c->k + u * b * c->ldk, *v = (const float *)c->v + u * b * c->ldv;
		for (size_t a = w->start[u]; a < w->start[u + 1]; a += lanes) {
			uint32_t index[KERN_MAX_LANES];
			size_t rows = least(lanes, w->start[u + 1] - a);
			for (size_t r = 0; r < rows; r++)
				index[r] = (uint32_t)w->i0 + w->order[a + r];
			rows_load(&w->rows, index, rows);
			rows_resume(&w->rows, index, w->lse);
			tile_keys(&w->rows.t, k, c->ldk, v, c->ldv, least(b, c->shape->n_k - u * b), NULL);
			rows_store(&w->rows, index, w->lse);
		}
	}
}

static void forward(const struct attn_call *c, struct attn_team *team)
{
	const struct attn_shape *s = c->shape;
	size_t size = chunk(s, c->arg, team->size), lanes = c->kern->lanes;
	struct work w = work_at(c, team->size);

	block_means(&w, team);
	attn_barrier(team);
	for (size_t u = 0; u < blocks(s, c->arg); u++)
		w.longest = fmaxf(w.longest, sqrtf(c->kern->dot(w.mean + u * s->d, w.mean + u * s->d, s->d)));
	for (w.i0 = team->rank * size; w.i0 < s->n_q; w.i0 += team->size * size) {
		size_t count = least(size, s->n_q - w.i0);
		for (size_t i = 0; i < count; i += lanes) {
			w.rows.t.q0 = w.i0 + i;
			choose_blocks(&w, least(lanes, count - i));
			own_blocks(&w, least(lanes, count - i));
		}
		chosen_blocks(&w, count);
	}
	if (c->stats && team->rank == 0)
		c->stats->flops_executed += (double)(s->n_k * s->d);
}

const struct attn_variant attn_moba = {
	.abi = ATTN_ABI,
	.name = "moba",
	.family = "sparse",
	.title = "mixture of block attention (MoBA)",
	.paper = "Lu et al. 2025, arXiv 2502.13189",
	.formula = "softmax over the own block and the k - 1 past blocks with the largest q . mean(keys)",
	.complexity = "n (n/b + k b) d",
	.summary = "The gates stay quadratic with a factor 1/b. k counts the own block: k = 1 is "
	           "block-local. A block's mean says little where keys in it differ.",
	.flags = ATTN_CAUSAL | ATTN_BIDIRECTIONAL | ATTN_CROSS | ATTN_PARALLEL | ATTN_ROWSUM |
	         ATTN_NONNEG | ATTN_KSHIFT | ATTN_LSE | ATTN_LOGITS,
	.impl_bound = 2e-6f,
	.limit = "b=8:k=n",
	.cases = cases,
	.params = params,
	.plan = plan,
	.forward = forward,
	.oracle = oracle_moba,
};
