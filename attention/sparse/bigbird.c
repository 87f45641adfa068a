/* SPDX-License-Identifier: BSD-3-Clause
 *
 * bigbird: window, global and random blocks.
 *
 *     block row I sees block J:  |I - J| <= 1,  J = 0,  J = nb - 1,  J random;
 *     block rows 0 and nb - 1 see everything
 *
 * with nb = ceil(n/b) and r random blocks a row, drawn without replacement from
 * those that no other rule gives (all of them if fewer). Time n b (5 + r)
 * (d + d_v). Zaheer et al. 2020, NeurIPS, arXiv 2007.14062, the form without
 * extra global tokens. The causal form intersects with j <= i and draws among
 * past blocks.
 *
 * The published code draws from the first 1024 tokens only and may draw a block
 * that is seen already, which its softmax then counts twice; other codes run
 * full attention on short inputs. Here a block is seen once at any length.
 */
#include "../engine/sample.h"
#include "../engine/tile.h"
#include "../engine/work.h"
#include "../oracle/oracle.h"

enum { B, R };

static const struct attn_param params[] = {
	{ "b", "tokens a block", ATTN_INT, 64, 1, 1 << 30, NULL },
	{ "r", "random blocks a block row", ATTN_INT, 3, 0, 1 << 20, NULL },
	{ 0 },
};

#define NO_BLOCK UINT32_MAX /* ends a row of the table short of r blocks */

static size_t blocks(const struct attn_shape *s, const double *arg)
{
	size_t b = (size_t)arg[B];

	return (s->n_k + b - 1) / b;
}

/* Columns of the table. */
static size_t columns(const struct attn_shape *s, const double *arg)
{
	size_t nb = blocks(s, arg), r = (size_t)arg[R];

	return r < nb ? r : nb;
}

static bool is_global(size_t block, size_t nb)
{
	return block == 0 || block == nb - 1;
}

/* Blocks that a random one of block row I may be: `before` of them from 1 on,
 * `after` of them from I + 2 on. */
static void candidates(const struct attn_shape *s, size_t nb, size_t row, size_t *before,
                       size_t *after)
{
	*before = !is_global(row, nb) && row > 2 ? row - 2 : 0;
	*after = !is_global(row, nb) && !s->causal && row + 3 < nb ? nb - 3 - row : 0;
}

static size_t random_blocks(const struct attn_shape *s, const double *arg, size_t row)
{
	size_t before, after, r = (size_t)arg[R];

	candidates(s, blocks(s, arg), row, &before, &after);
	return before + after < r ? before + after : r;
}

/* The table, nb x columns, rows ascending. */
static void prepare(const struct attn_shape *s, const double *arg, uint64_t seed, void *state)
{
	uint64_t stream = attn_random_stream("bigbird", s->head, 0);
	size_t nb = blocks(s, arg), width = columns(s, arg);

	for (size_t row = 0; row < nb; row++) {
		uint32_t *t = (uint32_t *)state + row * width;
		size_t before, after, count = random_blocks(s, arg, row);
		candidates(s, nb, row, &before, &after);
		sample_distinct(seed, stream, (uint64_t)row << 20, before + after, count, t);
		for (size_t i = 0; i < width; i++)
			t[i] = i >= count ? NO_BLOCK : t[i] < before ? t[i] + 1
			                             : (uint32_t)(t[i] - before + row + 2);
	}
}

/* Keys that queries [i0, i1) of one block row see: the union, and the sum of
 * each one's count. */
static size_t row_keys(const struct attn_shape *s, const double *arg, size_t i0, size_t i1, double *sum)
{
	size_t b = (size_t)arg[B], nb = blocks(s, arg), row = i0 / b, last = s->n_k - (nb - 1) * b;
	size_t drawn = random_blocks(s, arg, row), all; /* all but, if causal, the own block */

	if (is_global(row, nb))
		all = s->causal ? row * b : s->n_k;
	else if (s->causal)
		all = (drawn + (row > 1 ? 2 : 1)) * b;
	else
		all = (drawn + (row > 1 ? 3 : 2) + (row + 2 < nb ? 1u : 0u)) * b + last;
	*sum = (double)((i1 - i0) * all);
	if (!s->causal)
		return all;
	for (size_t i = i0; i < i1; i++)
		*sum += (double)(i - row * b + 1);
	return all + i1 - row * b;
}

static size_t least(size_t a, size_t b)
{
	return a < b ? a : b;
}

static const char *const cases[] = { "b=4:r=2", "b=7:r=1", "b=16:r=0", "b=1:r=5", NULL };

static const char *plan(const struct attn_shape *s, const double *arg, size_t ranks,
                        struct attn_plan *p)
{
	double pairs = 0, executed = 0;
	size_t b = (size_t)arg[B];

	(void)ranks;
	for (size_t i0 = 0, i1; i0 < s->n_q; i0 = i1) {
		double sum;
		i1 = least(s->n_q, least((i0 / b + 1) * b, (i0 / KERN_MAX_LANES + 1) * KERN_MAX_LANES));
		executed += (double)(KERN_MAX_LANES * row_keys(s, arg, i0, i1, &sum));
		pairs += sum;
	}
	work_softmax(s, pairs, executed, p);
	p->state = blocks(s, arg) * columns(s, arg) * sizeof(uint32_t);
	p->shared = TILE_SHARED_BYTES;
	p->scratch = tile_scratch_bytes(s->d, s->d_v);
	return NULL;
}

/* The first block from `at` on that block row `row` sees; nb if none. */
static size_t next_block(const struct attn_call *c, size_t row, size_t at)
{
	size_t nb = blocks(c->shape, c->arg), width = columns(c->shape, c->arg);
	const uint32_t *t = (const uint32_t *)c->state + row * width;
	size_t next = nb - 1;

	if (is_global(row, nb) || at == 0 || at + 1 >= nb)
		return at;
	if (at <= row + 1)
		next = at + 1 < row ? row - 1 : at;
	for (size_t i = 0; i < width && t[i] != NO_BLOCK; i++)
		if (t[i] >= at)
			return least(next, t[i]);
	return next;
}

/* The queries of the tile that block row `row` holds, run by run of blocks. */
static void block_row(struct tile *t, size_t row)
{
	const struct attn_call *c = t->call;
	size_t lo[TILE_ROWS], hi[TILE_ROWS], b = (size_t)c->arg[B];
	size_t nb = c->shape->causal ? row + 1 : blocks(c->shape, c->arg);

	for (size_t first = 0, last; (first = next_block(c, row, first)) < nb; first = last) {
		for (last = first + 1; last < nb && next_block(c, row, last) == last;)
			last++;
		for (size_t r = 0; r < t->rows; r++) {
			bool mine = (t->q0 + r) / b == row;
			lo[r] = first * b;
			hi[r] = mine ? least(last * b, tile_visible(c->shape, t->q0 + r)) : lo[r];
		}
		tile_band(t, lo, hi);
	}
}

static void pattern(struct tile *t, const void *ctx)
{
	size_t b = (size_t)t->call->arg[B];

	(void)ctx;
	for (size_t row = t->q0 / b; row <= (t->q0 + t->rows - 1) / b; row++)
		block_row(t, row);
}

static void forward(const struct attn_call *c, struct attn_team *team)
{
	tile_run(c, team, pattern, NULL, false);
}

static const char *decode_plan(const struct attn_decode *slot, const struct attn_shape *s, const double *arg,
                               size_t queries, size_t ranks, struct attn_decode_plan *p)
{
	(void)slot;
	(void)s;
	(void)arg;
	(void)queries;
	(void)ranks;
	(void)p;
	return "has no decode step: the last block is global, and which block that is changes as tokens come";
}

static const struct attn_decode decode = { .plan = decode_plan };

const struct attn_variant attn_bigbird = {
	.abi = ATTN_ABI,
	.name = "bigbird",
	.family = "sparse",
	.title = "BigBird (window, global and random blocks)",
	.paper = "Zaheer et al. 2020, NeurIPS, arXiv 2007.14062",
	.formula = "softmax over blocks |I - J| <= 1, the first, the last and r random ones",
	.complexity = "n b (5 + r) d",
	.target = "softmax attention as (5 + r) b reaches n",
	.summary = "Exact while n <= (5 + r) b, or nearly so: not sparse at short lengths. A block "
	           "that two rules give counts once.",
	.flags = ATTN_CAUSAL | ATTN_BIDIRECTIONAL | ATTN_PARALLEL | ATTN_ROWSUM | ATTN_NONNEG |
	         ATTN_KSHIFT | ATTN_LSE | ATTN_LOGITS | ATTN_RANDOM,
	.impl_bound = 2e-6f,
	.limit = "b=1:r=n",
	.cases = cases,
	.params = params,
	.plan = plan,
	.prepare = prepare,
	.forward = forward,
	.decode = &decode,
	.oracle = oracle_bigbird,
};
