/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Blocks of keys for few queries, and the merge over a team. */
#include "single.h"

#include "half.h"
#include "layout.h"
#include "work.h"

#include <string.h>

static void lay_out(struct single *s, struct layout *l, enum attn_type type, size_t d, size_t d_v,
                    size_t queries)
{
	size_t widened = type == ATTN_F32 ? 0 : SINGLE_HALF_BLOCK;

	s->type = type;
	s->block = widened ? widened : SINGLE_BLOCK;
	s->d = d;
	s->d_v = d_v;
	s->ld_v = work_padded(d_v);
	LAYOUT(l, s->q, queries * d);
	LAYOUT(l, s->acc, queries * s->ld_v);
	LAYOUT(l, s->max, queries);
	LAYOUT(l, s->sum, queries);
	LAYOUT(l, s->score, s->block);
	LAYOUT(l, s->k, widened * d);
	LAYOUT(l, s->v, widened * d_v);
}

size_t single_scratch_bytes(enum attn_type type, size_t d, size_t d_v, size_t queries)
{
	struct layout l = { .base = NULL };
	struct single s;

	lay_out(&s, &l, type, d, d_v, queries);
	return l.used;
}

/* A rank's part of the result: acc, max and sum of each query. */
static size_t part_floats(size_t d_v, size_t queries)
{
	return queries * work_padded(d_v) + work_padded(2 * queries);
}

size_t single_shared_bytes(size_t d_v, size_t queries, size_t ranks)
{
	return ranks > 1 ? ranks * part_floats(d_v, queries) * sizeof(float) : 0;
}

void single_init(struct single *s, const struct attn_decode_call *c, void *mem, enum attn_type type,
                 size_t d, size_t d_v)
{
	struct layout l = { .base = mem };

	*s = (struct single){ .call = c };
	lay_out(s, &l, type, d, d_v, c->queries);
}

static void begin(struct single *s, float scale)
{
	size_t n = s->call->queries;

	s->queries = s->to = n;
	s->from = 0;
	s->call->kern->scale(s->q, scale, n * s->d);
	memset(s->acc, 0, n * s->ld_v * sizeof *s->acc);
	for (size_t r = 0; r < n; r++) {
		s->max[r] = KERN_NO_MAX;
		s->sum[r] = 0;
	}
}

void single_load(struct single *s, float scale)
{
	const struct attn_decode_call *c = s->call;

	half_widen(c->kern, c->shape->type, s->q, s->d, c->q, c->ldq, c->queries, s->d);
	begin(s, scale);
}

void single_load_from(struct single *s, const float *q, size_t ldq, float scale)
{
	half_widen(s->call->kern, ATTN_F32, s->q, s->d, q, ldq, s->call->queries, s->d);
	begin(s, scale);
}

static void count(const struct single *s, size_t n, size_t channels)
{
	struct attn_stats *stats = s->call->stats;

	if (stats)
		stats->flops_executed += 2.0 * (double)(n * channels);
}

/* Query r absorbs the values of n keys whose logits are in score. */
static void absorb(struct single *s, size_t r, float *score, const float *v, size_t ldv, size_t n)
{
	const struct kern *kern = s->call->kern;
	float *acc = s->acc + r * s->ld_v, top = kern->max(score, n);

	if (top > s->max[r]) {
		float a = expf(s->max[r] - top); /* 0 from the initial, finite maximum */
		kern->scale(acc, a, s->d_v);
		s->sum[r] *= a;
		s->max[r] = top;
	}
	s->sum[r] += kern->exp_shift(score, score, s->max[r], n);
	kern->mm(acc, s->ld_v, score, n, 1, v, ldv, 1, s->d_v, n, true);
	if (s->call->stats)
		s->call->stats->pairs += (double)n;
	count(s, n, s->d_v);
}

/* n rows as f32, in place or in a buffer. */
static const float *rows(const struct single *s, const void *x, size_t *ld, size_t n, size_t cols,
                         float *buffer)
{
	if (s->type == ATTN_F32)
		return x;
	half_widen(s->call->kern, s->type, buffer, cols, x, *ld, n, cols);
	*ld = cols;
	return buffer;
}

static void block(struct single *s, const void *k, size_t ldk, const void *v, size_t ldv, size_t n,
                  float bias)
{
	const struct kern *kern = s->call->kern;
	const float *key = rows(s, k, &ldk, n, s->d, s->k), *value = NULL;

	for (size_t r = s->from; r < s->to; r++) {
		kern->rows_dot(s->score, key, ldk, n, s->q + r * s->d, s->d);
		for (size_t j = 0; bias != 0 && j < n; j++)
			s->score[j] += bias;
		if (!value)
			value = rows(s, v, &ldv, n, s->d_v, s->v);
		absorb(s, r, s->score, value, ldv, n);
	}
	count(s, (s->to - s->from) * n, s->d);
}

void single_keys(struct single *s, const void *k, size_t ldk, const void *v, size_t ldv, size_t n,
                 float bias)
{
	for (size_t j = 0; j < n; j += s->block)
		block(s, half_row(s->type, k, ldk, j), ldk, half_row(s->type, v, ldv, j), ldv,
		      n - j < s->block ? n - j : s->block, bias);
}

void single_scores(struct single *s, size_t query, float *score, const void *v, size_t ldv, size_t n)
{
	for (size_t j = 0, here; j < n; j += here) {
		size_t ld = ldv;
		here = n - j < s->block ? n - j : s->block;
		const float *value = rows(s, half_row(s->type, v, ldv, j), &ld, here, s->d_v, s->v);
		absorb(s, query, score + j, value, ld, here);
	}
}

void single_resume(struct single *s, size_t query, const float *out, float lse)
{
	const struct kern *kern = s->call->kern;
	float *acc = s->acc + query * s->ld_v;

	if (!(lse > -INFINITY))
		return;
	float top = lse > s->max[query] ? lse : s->max[query], a = expf(s->max[query] - top), b = expf(lse - top);
	kern->scale(acc, a, s->d_v);
	kern->axpy(acc, b, out, s->d_v);
	s->sum[query] = a * s->sum[query] + b;
	s->max[query] = top;
}

/* Query r of all parts, into the first, whose limits become those of all. */
static void merge(const struct single *s, size_t r, float *parts, size_t ranks)
{
	const struct kern *kern = s->call->kern;
	size_t stride = part_floats(s->d_v, s->queries), limits = s->queries * s->ld_v;
	float top = KERN_NO_MAX, sum = 0;

	for (size_t p = 0; p < ranks; p++)
		top = fmaxf(top, parts[p * stride + limits + r]);
	for (size_t p = 0; p < ranks; p++) {
		float *part = parts + p * stride, a = expf(part[limits + r] - top);
		sum += a * part[limits + s->queries + r];
		if (p == 0)
			kern->scale(part + r * s->ld_v, a, s->d_v);
		else
			kern->axpy(parts + r * s->ld_v, a, part + r * s->ld_v, s->d_v);
	}
	parts[limits + r] = top;
	parts[limits + s->queries + r] = sum;
}

/* acc, max and sum of each query hold the result of all ranks, on rank 0. */
static void gather(struct single *s, struct attn_team *team, void *shared)
{
	size_t cells = s->queries * s->ld_v;
	float *parts = shared, *mine = parts + team->rank * part_floats(s->d_v, s->queries);

	if (team->size == 1)
		return;
	memcpy(mine, s->acc, cells * sizeof *mine);
	memcpy(mine + cells, s->max, s->queries * sizeof *mine);
	memcpy(mine + cells + s->queries, s->sum, s->queries * sizeof *mine);
	attn_barrier(team);
	if (team->rank > 0)
		return;
	for (size_t r = 0; r < s->queries; r++)
		merge(s, r, parts, team->size);
	s->acc = parts;
	s->max = parts + cells;
	s->sum = s->max + s->queries;
}

/* acc of query r becomes its row. */
static float *divide(const struct single *s, size_t r)
{
	float *acc = s->acc + r * s->ld_v;

	s->call->kern->scale(acc, s->sum[r] > 0 ? 1 / s->sum[r] : 0, s->d_v);
	return acc;
}

void single_finish(struct single *s, struct attn_team *team, void *shared)
{
	const struct attn_decode_call *c = s->call;
	enum attn_type type = c->shape->type;

	gather(s, team, shared);
	for (size_t r = 0; team->rank == 0 && r < s->queries; r++)
		half_narrow(c->kern, type, (char *)c->out + r * c->ldo * half_element_bytes(type), c->ldo,
		            divide(s, r), s->ld_v, 1, s->d_v);
}

void single_finish_to(struct single *s, struct attn_team *team, void *shared, float *out, size_t ldo,
                      float *lse)
{
	gather(s, team, shared);
	for (size_t r = 0; team->rank == 0 && r < s->queries; r++) {
		memcpy(out + r * ldo, divide(s, r), s->d_v * sizeof *out);
		if (lse)
			lse[r] = s->sum[r] > 0 ? s->max[r] + logf(s->sum[r]) : -INFINITY;
	}
}
