/* SPDX-License-Identifier: BSD-3-Clause
 *
 * pooled: memory-compressed attention, softmax over blocks of c keys.
 *
 *     O = softmax(scale Q K~^T + ln size) V~,  K~, V~: one row a block of c tokens
 *
 * Time n (n / c) (d + d_v): quadratic, divided by c. Liu et al. 2018, ICLR, arXiv
 * 1801.10198, where the blocks are a learned convolution of width and stride 3.
 *
 *     pool=avg  means of keys and of values; ln(size) makes a short last block
 *               right, so that piecewise constant K, V give the exact result
 *     pool=max  the largest key of each channel; values stay means, as a maximum
 *               of them would not be linear in V
 *
 * Causal, at the grain of a block: a query sees the blocks that end before it or
 * with it, and the tokens of its own unfinished block one by one, where the paper
 * adds a null token for the first rows. Finished blocks all have c tokens: their
 * ln c is taken from the single tokens instead.
 */
#include "../engine/cache.h"
#include "../engine/tile.h"
#include "../engine/work.h"
#include "../oracle/oracle.h"

#include <string.h>

enum { BLOCK, POOL };
enum { AVG, MAX };

static const char *const pools[] = { "avg", "max", NULL };

static const struct attn_param params[] = {
	{ "c", "tokens a block", ATTN_INT, 3, 1, 1 << 20, NULL },
	{ "pool", "of keys", ATTN_NAME, 0, 0, 1, pools },
	{ 0 },
};

static size_t block_of(const double *arg)
{
	return (size_t)arg[BLOCK];
}

/* Blocks that some query sees as such. */
static size_t blocks_of(const struct attn_shape *s, const double *arg)
{
	return s->causal ? s->n_k / block_of(arg) : (s->n_k + block_of(arg) - 1) / block_of(arg);
}

/* Blocks, and single keys, of query i. */
static void band_blocks(const struct attn_shape *s, const double *arg, size_t i, size_t *lo, size_t *hi)
{
	*lo = 0;
	*hi = s->causal ? tile_visible(s, i) / block_of(arg) : blocks_of(s, arg);
}

static void band_single(const struct attn_shape *s, const double *arg, size_t i, size_t *lo, size_t *hi)
{
	size_t seen = tile_visible(s, i);

	*lo = s->causal ? seen - seen % block_of(arg) : 0;
	*hi = s->causal ? seen : 0;
}

static const char *const cases[] = { "c=1", "c=7", "c=5:pool=max", "c=200", NULL };

static const char *plan(const struct attn_shape *s, const double *arg, size_t ranks,
                        struct attn_plan *p)
{
	size_t blocks = blocks_of(s, arg), both = s->d + s->d_v;
	double pairs, executed, single_pairs, single_executed, pooling = (double)(s->n_k * both);

	(void)ranks;
	work_band_pairs(s, arg, band_blocks, &pairs, &executed);
	work_band_pairs(s, arg, band_single, &single_pairs, &single_executed);
	work_softmax(s, pairs + single_pairs, executed + single_executed, p);
	p->flops_useful += pooling;
	p->flops_executed += pooling;
	p->shared = TILE_SHARED_BYTES + (blocks * both + TILE_ROWS + block_of(arg)) * sizeof(float);
	p->scratch = tile_scratch_bytes(s->d, s->d_v);
	return NULL;
}

struct pooled {
	float *k, *v;
	float *bias; /* -ln c for single keys; its first element for a short block */
};

static struct pooled pooled_at(const struct attn_call *c)
{
	const struct attn_shape *s = c->shape;
	size_t blocks = blocks_of(s, c->arg);
	struct pooled p = { .k = (float *)((char *)c->shared + TILE_SHARED_BYTES) };

	p.v = p.k + blocks * s->d;
	p.bias = p.v + blocks * s->d_v;
	return p;
}

/* to (d) = the pool of rows [j0, j1) of x. */
static void pool_rows(const struct attn_call *c, const float *x, size_t ldx, size_t d, size_t j0,
                      size_t j1, bool largest, float *to)
{
	memcpy(to, x + j0 * ldx, d * sizeof *to);
	for (size_t j = j0 + 1; j < j1; j++) {
		if (largest)
			c->kern->raise(to, x + j * ldx, d);
		else
			c->kern->axpy(to, 1, x + j * ldx, d);
	}
	if (!largest)
		c->kern->scale(to, 1 / (float)(j1 - j0), d);
}

static void compress(const struct attn_call *c, const struct pooled *p, size_t b0, size_t b1)
{
	const struct attn_shape *s = c->shape;
	size_t block = block_of(c->arg), tokens = 0;

	for (size_t b = b0; b < b1; b++) {
		size_t j0 = b * block, j1 = s->n_k - j0 < block ? s->n_k : j0 + block;
		pool_rows(c, c->k, c->ldk, s->d, j0, j1, c->arg[POOL] == MAX, p->k + b * s->d);
		pool_rows(c, c->v, c->ldv, s->d_v, j0, j1, false, p->v + b * s->d_v);
		tokens += j1 - j0;
	}
	if (c->stats)
		c->stats->flops_executed += (double)(tokens * (s->d + s->d_v));
}

static void pattern(struct tile *t, const void *ctx)
{
	const struct attn_call *c = t->call;
	const struct attn_shape *s = c->shape;
	const struct pooled *p = ctx;
	size_t lo[TILE_ROWS], hi[TILE_ROWS], whole = s->n_k / block_of(c->arg);

	if (!s->causal) {
		tile_keys(t, p->k, s->d, p->v, s->d_v, whole, NULL);
		tile_keys(t, p->k + whole * s->d, s->d, p->v + whole * s->d_v, s->d_v,
		          blocks_of(s, c->arg) - whole, p->bias);
		return;
	}
	for (size_t r = 0; r < t->rows; r++)
		band_blocks(s, c->arg, t->q0 + r, &lo[r], &hi[r]);
	tile_band_of(t, p->k, s->d, p->v, s->d_v, lo, hi, NULL);
	for (size_t r = 0; r < t->rows; r++)
		band_single(s, c->arg, t->q0 + r, &lo[r], &hi[r]);
	size_t first = lo[0];
	for (size_t r = 0; r < t->rows; r++) {
		lo[r] -= first;
		hi[r] -= first;
	}
	tile_band_of(t, (const float *)c->k + first * c->ldk, c->ldk, (const float *)c->v + first * c->ldv,
	             c->ldv, lo, hi, p->bias);
}

static void forward(const struct attn_call *c, struct attn_team *team)
{
	const struct attn_shape *s = c->shape;
	struct pooled p = pooled_at(c);
	struct attn_call inner = *c;
	size_t blocks = blocks_of(s, c->arg), block = block_of(c->arg), last = s->n_k % block;

	compress(c, &p, blocks * team->rank / team->size, blocks * (team->rank + 1) / team->size);
	for (size_t i = 0; team->rank == 0 && i < TILE_ROWS + block; i++)
		p.bias[i] = s->causal ? -logf((float)block) : logf((float)last / (float)block);
	attn_barrier(team);
	inner.lse = NULL;
	tile_run(&inner, team, pattern, &p, false);
}

/* ---- decoding: pooled blocks, and a ring for the unfinished one ---- */

struct kept {
	struct cache blocks, single;
};

static struct kept kept_at(const struct attn_shape *s, const double *arg, struct layout *past)
{
	return (struct kept){ .blocks = cache_at(past, s, blocks_of(s, arg), 0),
		              .single = cache_at(past, s, 0, block_of(arg)) };
}

static const char *decode_plan(const struct attn_decode *slot, const struct attn_shape *s, const double *arg,
                               size_t queries, size_t ranks, struct attn_decode_plan *p)
{
	struct layout past = { .base = NULL };
	double seen = (double)(s->n_k / block_of(arg) + s->n_k % block_of(arg)), both = (double)(s->d + s->d_v);

	(void)slot;
	cache_work(s, queries, seen * (double)queries, seen, p);
	p->step.flops_useful += both;
	p->step.flops_executed += both;
	kept_at(s, arg, &past);
	p->past = past.used;
	p->step.shared = single_shared_bytes(s->d_v, queries, ranks);
	p->step.scratch = single_scratch_bytes(s->type, s->d, s->d_v, queries);
	return NULL;
}

/* The last token of a block pools it. */
static void decode_append(const struct attn_decode_call *c)
{
	const struct attn_shape *s = c->shape;
	const struct attn_call call = { .kern = c->kern };
	struct layout past = { .base = c->past };
	struct kept kept = kept_at(s, c->arg, &past);
	size_t block = block_of(c->arg);

	for (size_t i = 0; i < c->tokens; i++) {
		size_t seen = c->length + i + 1, b = (seen - 1) / block;
		cache_put(&kept.single, cache_row(&kept.single, seen - 1), (const float *)c->k + i * c->ldk,
		          (const float *)c->v + i * c->ldv);
		if (seen % block)
			continue;
		pool_rows(&call, cache_key(&kept.single, 0), s->d, s->d, 0, block, c->arg[POOL] == MAX,
		          cache_key(&kept.blocks, b));
		pool_rows(&call, cache_value(&kept.single, 0), s->d_v, s->d_v, 0, block, false,
		          cache_value(&kept.blocks, b));
	}
	if (c->stats)
		c->stats->flops_executed += (double)(c->tokens * (s->d + s->d_v));
}

static void decode_step(const struct attn_decode_call *c, struct attn_team *team)
{
	const struct attn_shape *s = c->shape;
	struct layout past = { .base = c->past };
	struct kept kept = kept_at(s, c->arg, &past);
	size_t block = block_of(c->arg), seen = c->length + 1;
	const struct cache_run blocks = cache_band(0, seen / block), single = cache_band(seen - seen % block, seen);
	struct single one;

	if (team->rank == 0)
		decode_append(c);
	single_init(&one, c, c->scratch, s->type, s->d, s->d_v);
	single_load(&one, s->scale);
	attn_barrier(team);
	cache_look(&one, &kept.blocks, &blocks, 1, 0, team);
	cache_look(&one, &kept.single, &single, 1, -logf((float)block), team);
	single_finish(&one, team, c->shared);
}

static const struct attn_decode decode = {
	.keeps = "blocks and ring: (n/c + c) (d + d_v)",
	.shares = true,
	.splits = true,
	.plan = decode_plan,
	.append = decode_append,
	.step = decode_step,
};

const struct attn_variant attn_pooled = {
	.abi = ATTN_ABI,
	.name = "pooled",
	.family = "low-rank",
	.title = "memory-compressed attention",
	.paper = "Liu et al. 2018, ICLR, arXiv 1801.10198",
	.formula = "O = softmax(scale Q K~^T + ln size) V~, K~ and V~ pooled over blocks of c tokens",
	.complexity = "n^2 d / c",
	.target = "softmax attention at c = 1",
	.summary = "Still quadratic. Good on smooth tokens. The paper's learned convolution is replaced "
	           "by a mean or a maximum.",
	.flags = ATTN_CAUSAL | ATTN_BIDIRECTIONAL | ATTN_CROSS | ATTN_PARALLEL | ATTN_ROWSUM |
	         ATTN_NONNEG | ATTN_QPERM | ATTN_KSHIFT | ATTN_LOGITS,
	.impl_bound = 2e-6f,
	.limit = "c=1",
	.cases = cases,
	.params = params,
	.plan = plan,
	.forward = forward,
	.decode = &decode,
	.oracle = oracle_pooled,
};
