/* SPDX-License-Identifier: BSD-3-Clause
 *
 * One head for checks: memory, runs, the definition. */
#include "probe.h"

#include "team.h"

#include <stdlib.h>
#include <string.h>

enum { PAD = 3, GUARD = 64 };
#define CANARY 1232.0f /* exact in every type */

static void *checked(void *p)
{
	if (!p)
		abort(); /* a check of a few KiB: no memory is no environment */
	return p;
}

static float *fill_nan(float *x, size_t n)
{
	for (size_t i = 0; i < n; i++)
		x[i] = NAN;
	return x;
}

static void *aligned_bytes(size_t bytes)
{
	size_t rounded = (bytes + ATTN_ALIGN) / ATTN_ALIGN * ATTN_ALIGN;

	/* 0xff bytes are NaN as float and as double. */
	return memset(checked(aligned_alloc(ATTN_ALIGN, rounded)), 0xff, rounded);
}

static void gaussian(float *x, size_t rows, size_t cols, size_t ld, double deviation, uint64_t seed,
                     uint64_t stream)
{
	for (size_t i = 0; i < rows; i++)
		for (size_t j = 0; j < cols; j++)
			x[i * ld + j] = (float)(deviation * attn_random_normal(seed, stream, i * cols + j));
}

static size_t block_floats(const struct probe *p)
{
	const struct attn_shape *s = &p->shape;

	return s->n_q * p->ldq + s->n_k * (p->ldk + p->ldv) + s->n_q + 4 * GUARD;
}

bool probe_create(struct probe *p, const struct attn_variant *variant, const double *arg,
                  const struct attn_shape *shape, double sigma, uint64_t seed, const char **why)
{
	size_t nq = shape->n_q, nk = shape->n_k;
	struct attn_plan plan = { 0 };

	*p = (struct probe){ .variant = variant, .shape = *shape };
	for (size_t i = 0; variant->params && variant->params[i].name; i++)
		p->arg[i] = arg[i];
	if (variant->resolve)
		variant->resolve(shape, p->arg);
	if ((*why = variant->plan(shape, p->arg, 1, &plan)))
		return false;
	p->ldq = shape->d + PAD;
	p->ldk = (variant->flags & ATTN_TIED) ? p->ldq : shape->d + PAD + 1;
	p->ldv = shape->d_v + PAD;
	p->ldo = shape->d_v + PAD;
	size_t floats = block_floats(p);
	p->block = fill_nan(checked(malloc(floats * sizeof(float))), floats);
	p->q = p->block + GUARD;
	p->k = p->q + nq * p->ldq + GUARD;
	p->v = p->k + nk * p->ldk + GUARD;
	p->lse = p->v + nk * p->ldv + GUARD;
	gaussian(p->q, nq, shape->d, p->ldq, sqrt(sigma), seed, 101);
	gaussian(p->k, nk, shape->d, p->ldk, sqrt(sigma), seed, (variant->flags & ATTN_TIED) ? 101 : 102);
	gaussian(p->v, nk, shape->d_v, p->ldv, 1, seed, 103);
	p->state = aligned_bytes(plan.state);
	if (variant->prepare)
		variant->prepare(shape, p->arg, seed, p->state);
	return true;
}

void probe_destroy(struct probe *p)
{
	free(p->block);
	free(p->state);
}

void probe_identity(struct probe *p)
{
	for (size_t j = 0; j < p->shape.n_k; j++)
		for (size_t e = 0; e < p->shape.d_v; e++)
			p->v[j * p->ldv + e] = j == e;
}

static void round_rows(enum attn_type type, float *x, size_t rows, size_t cols, size_t ld)
{
	uint16_t *half = checked(malloc((cols + 1) * sizeof *half));

	for (size_t i = 0; i < rows; i++) {
		attn_narrow(attn_kern("scalar"), type, half, x + i * ld, cols);
		attn_widen(attn_kern("scalar"), type, x + i * ld, half, cols);
	}
	free(half);
}

void probe_set_type(struct probe *p, enum attn_type type)
{
	p->shape.type = type;
	if (type == ATTN_F32)
		return;
	round_rows(type, p->q, p->shape.n_q, p->shape.d, p->ldq);
	round_rows(type, p->k, p->shape.n_k, p->shape.d, p->ldk);
	round_rows(type, p->v, p->shape.n_k, p->shape.d_v, p->ldv);
}

/* What every rank of one run needs. */
struct run {
	const struct probe *p;
	struct attn_call call;
	char **scratch;
	uint16_t *half; /* of a half type: the probe's block, its gaps NaN there too */
};

/* The inputs of the call, and n elements of its output, in half precision. */
static void halve(struct run *run, float *padded, size_t n)
{
	const struct probe *p = run->p;
	const struct kern *scalar = attn_kern("scalar");
	uint16_t *out = checked(malloc(n * sizeof *out));

	run->half = checked(malloc(block_floats(p) * sizeof *run->half));
	attn_narrow(scalar, p->shape.type, run->half, p->block, block_floats(p));
	run->call.q = run->half + (p->q - p->block);
	run->call.k = run->half + (p->k - p->block);
	run->call.v = run->half + (p->v - p->block);
	attn_narrow(scalar, p->shape.type, out, padded, n);
	memcpy(padded, out, n * sizeof *out);
	run->call.out = (uint16_t *)(void *)padded + GUARD;
	free(out);
}

/* The output as f32 again, with what was written outside of it. */
static void widen_output(struct run *run, float *padded, size_t n)
{
	uint16_t *out = checked(malloc(n * sizeof *out));

	memcpy(out, padded, n * sizeof *out);
	attn_widen(attn_kern("scalar"), run->p->shape.type, padded, out, n);
	free(out);
	free(run->half);
}

static void rank_main(void *arg, struct attn_team *me)
{
	const struct run *run = arg;
	struct attn_call call = run->call;

	call.scratch = run->scratch[me->rank];
	attn_forward(run->p->variant, &call, me);
}

/* A block with canaries behind the bytes that the variant asked for. */
static char *guarded(size_t bytes)
{
	char *x = aligned_bytes(bytes + GUARD);

	memset(x + bytes, 0x5a, GUARD);
	return x;
}

static bool guard_whole(const char *x, size_t bytes)
{
	for (size_t i = 0; i < GUARD; i++)
		if (x[bytes + i] != 0x5a)
			return false;
	return true;
}

/* Is cell i of the guarded output an element of out? */
static bool inside(const struct probe *p, size_t i)
{
	size_t at = i - GUARD;

	return i >= GUARD && at < p->shape.n_q * p->ldo && at % p->ldo < p->shape.d_v;
}

bool probe_run(struct probe *p, const struct kern *kern, struct team *team, float *out)
{
	const struct attn_shape *s = &p->shape;
	size_t ranks = (p->variant->flags & ATTN_PARALLEL) ? team_size(team) : 1, rows = s->n_q;
	size_t cells = rows * p->ldo + 2 * GUARD;
	float *padded = checked(malloc(cells * sizeof(float)));
	char *scratch[TEAM_MAX];
	struct attn_plan plan = { 0 };
	bool whole = true;

	attn_plan(p->variant, s, p->arg, ranks, &plan);
	char *shared = guarded(plan.shared);
	for (size_t r = 0; r < ranks; r++)
		scratch[r] = guarded(plan.scratch);
	for (size_t i = 0; i < cells; i++)
		padded[i] = inside(p, i) ? NAN : CANARY; /* output is written, not added to */
	float *o = padded + GUARD;
	struct run run = { .p = p, .scratch = scratch };
	run.call = (struct attn_call){
		.shape = s, .arg = p->arg, .kern = kern, .state = p->state, .q = p->q, .k = p->k,
		.v = p->v, .out = o, .lse = (p->variant->flags & ATTN_LSE) ? p->lse : NULL,
		.ldq = p->ldq, .ldk = p->ldk, .ldv = p->ldv, .ldo = p->ldo, .shared = shared,
	};
	if (s->type != ATTN_F32)
		halve(&run, padded, cells);
	struct attn_team alone = { .size = 1 };
	if (ranks == 1)
		rank_main(&run, &alone);
	else
		team_run(team, TEAM_FAST, rank_main, &run);
	if (s->type != ATTN_F32)
		widen_output(&run, padded, cells);
	for (size_t i = 0; i < cells; i++) {
		size_t at = i - GUARD;
		if (inside(p, i))
			out[at / p->ldo * s->d_v + at % p->ldo] = padded[i];
		else
			whole = whole && padded[i] == CANARY;
	}
	whole = whole && guard_whole(shared, plan.shared);
	for (size_t r = 0; r < ranks; r++) {
		whole = whole && guard_whole(scratch[r], plan.scratch);
		free(scratch[r]);
	}
	free(shared);
	free(padded);
	return whole;
}

/* ---- the definition ---- */

enum { MAX_BLOCKS = 64 };

struct owner {
	double *block[MAX_BLOCKS];
	size_t count;
};

static double *owner_alloc(void *arg, size_t doubles)
{
	struct owner *owner = arg;

	if (owner->count == MAX_BLOCKS)
		abort();
	return owner->block[owner->count++] = checked(malloc((doubles + 1) * sizeof(double)));
}

static double *widen(struct owner *owner, const float *x, size_t rows, size_t cols, size_t ld)
{
	double *y = owner_alloc(owner, rows * cols);

	for (size_t i = 0; i < rows; i++)
		for (size_t j = 0; j < cols; j++)
			y[i * cols + j] = (double)x[i * ld + j];
	return y;
}

void probe_oracle(const struct probe *p, double *out)
{
	const struct attn_shape *s = &p->shape;
	struct owner owner = { .count = 0 };
	size_t *rows = checked(malloc((s->n_q + 1) * sizeof *rows));

	for (size_t i = 0; i < s->n_q; i++)
		rows[i] = i;
	struct attn_oracle_call call = {
		.shape = s, .arg = p->arg, .state = p->state, .rows = rows, .n_rows = s->n_q, .out = out,
		.q = widen(&owner, p->q, s->n_q, s->d, p->ldq), .k = widen(&owner, p->k, s->n_k, s->d, p->ldk),
		.v = widen(&owner, p->v, s->n_k, s->d_v, p->ldv), .alloc = owner_alloc, .owner = &owner,
	};
	p->variant->oracle(&call);
	for (size_t i = 0; i < owner.count; i++)
		free(owner.block[i]);
	free(rows);
}

double probe_error(const float *x, const double *y, size_t n)
{
	double difference = 0, size = 0;

	for (size_t i = 0; i < n; i++) {
		difference += ((double)x[i] - y[i]) * ((double)x[i] - y[i]);
		size += y[i] * y[i];
	}
	return difference == 0 ? 0 : sqrt(difference / size);
}

double probe_distance(const float *x, const float *y, size_t n)
{
	double difference = 0, size = 0;

	for (size_t i = 0; i < n; i++) {
		double d = (double)x[i] - (double)y[i];
		difference += d * d;
		size += (double)y[i] * (double)y[i];
	}
	return difference == 0 ? 0 : sqrt(difference / size);
}
