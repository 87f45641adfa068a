/* SPDX-License-Identifier: BSD-3-Clause
 *
 * P10: tokens taken up one at a time, or some of them at once and the rest one at
 * a time, give the rows of the causal form. */
#include "property.h"

#include "probe.h"
#include "team.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const double slack = 8; /* as in property.c */

enum { GUARD = 64, QUERIES = 2, RANKS_MAX = 3 };

/* A head that is being decoded, in memory with canaries behind it. */
struct decoder {
	const struct subject *subject;
	const struct probe *probe;
	struct attn_decode_plan plan;
	size_t queries, ranks;
	char *past, *saved, *shared, *scratch[RANKS_MAX];
	float *q, *out; /* queries x d, x d_v */
	struct attn_decode_call call;
};

__attribute__((format(printf, 3, 4))) static struct finding found(enum verdict verdict, const struct decoder *d,
                                                                  const char *format, ...)
{
	struct finding f = { .verdict = verdict };
	int at = 0;
	va_list args;

	if (d)
		at = snprintf(f.why, sizeof f.why, "capacity=%zu d=%zu d_v=%zu threads=%zu queries=%zu: ",
		              d->probe->shape.n_k, d->probe->shape.d, d->probe->shape.d_v, d->ranks, d->queries);
	va_start(args, format);
	vsnprintf(f.why + at, sizeof f.why - (size_t)at, format, args);
	va_end(args);
	return f;
}

static char *guarded(size_t bytes)
{
	size_t room = (bytes + GUARD + ATTN_ALIGN) / ATTN_ALIGN * ATTN_ALIGN;
	char *x = aligned_alloc(ATTN_ALIGN, room);

	if (!x)
		abort(); /* a check of a few KiB: no memory is no environment */
	memset(x, 0xff, bytes); /* NaN as float and as double */
	memset(x + bytes, 0x5a, room - bytes);
	return x;
}

static bool whole(const char *x, size_t bytes)
{
	for (size_t i = 0; i < GUARD; i++)
		if (x[bytes + i] != 0x5a)
			return false;
	return true;
}

static bool decoder_whole(const struct decoder *d)
{
	bool ok = whole(d->past, d->plan.past) && whole(d->shared, d->plan.step.shared);

	for (size_t r = 0; r < d->ranks; r++)
		ok = ok && whole(d->scratch[r], d->plan.step.scratch);
	return ok;
}

static void decoder_free(struct decoder *d)
{
	free(d->past);
	free(d->saved);
	free(d->shared);
	for (size_t r = 0; r < d->ranks; r++)
		free(d->scratch[r]);
	free(d->q);
	free(d->out);
}

/* NULL and an empty past, or why the variant refuses. */
static const char *decoder_open(struct decoder *d, const struct subject *s, const struct probe *p,
                                size_t queries, size_t ranks)
{
	*d = (struct decoder){ .subject = s, .probe = p, .queries = queries, .ranks = ranks };
	const char *why = attn_decode_plan(s->variant, &p->shape, p->arg, queries, ranks, &d->plan);
	if (why)
		return why;
	d->past = guarded(d->plan.past);
	d->saved = guarded(d->plan.changed);
	d->shared = guarded(d->plan.step.shared);
	for (size_t r = 0; r < ranks; r++)
		d->scratch[r] = guarded(d->plan.step.scratch);
	d->q = (float *)(void *)guarded(queries * p->shape.d * sizeof *d->q);
	d->out = (float *)(void *)guarded(queries * p->shape.d_v * sizeof *d->out);
	d->call = (struct attn_decode_call){
		.shape = &p->shape, .arg = p->arg, .kern = s->kern, .state = p->state, .past = d->past,
		.ldk = p->ldk, .ldv = p->ldv, .q = d->q, .out = d->out, .queries = queries, .ldq = p->shape.d,
		.ldo = p->shape.d_v, .shared = d->shared, .scratch = d->scratch[0],
	};
	attn_decode_start(s->variant, &d->call);
	return NULL;
}

/* Nothing may be kept in memory that is not the past. */
static void forget(struct decoder *d)
{
	memset(d->shared, 0xff, d->plan.step.shared);
	for (size_t r = 0; r < d->ranks; r++)
		memset(d->scratch[r], 0xff, d->plan.step.scratch);
	memset(d->out, 0xff, d->queries * d->probe->shape.d_v * sizeof *d->out);
}

static void take_tokens(struct decoder *d, size_t n)
{
	const struct probe *p = d->probe;

	d->call.k = p->k + d->call.length * p->ldk;
	d->call.v = p->v + d->call.length * p->ldv;
	d->call.tokens = n;
}

static void append(struct decoder *d, size_t n)
{
	forget(d);
	take_tokens(d, n);
	attn_decode_append(d->subject->variant, &d->call);
	d->call.length += n;
}

static void rank_main(void *arg, struct attn_team *me)
{
	struct decoder *d = arg;
	struct attn_decode_call call = d->call;

	call.scratch = d->scratch[me->rank];
	attn_decode_step(d->subject->variant, &call, me);
}

static void step_once(struct decoder *d)
{
	struct attn_team alone = { .size = 1 };

	forget(d);
	if (d->ranks == 1)
		rank_main(d, &alone);
	else
		team_run(d->subject->teams[d->ranks], TEAM_FAST, rank_main, d);
}

/* The same step twice, what it changes put back: both must agree to the bit on one
 * thread. The token's query stands for every head. */
static bool step(struct decoder *d)
{
	const struct probe *p = d->probe;
	size_t bytes = d->queries * p->shape.d_v * sizeof *d->out;
	float *first = malloc(bytes);

	if (!first)
		abort();
	for (size_t r = 0; r < d->queries; r++)
		memcpy(d->q + r * p->shape.d, p->q + d->call.length * p->ldq, p->shape.d * sizeof *d->q);
	take_tokens(d, 1);
	if (d->plan.changed)
		memcpy(d->saved, d->past, d->plan.changed);
	step_once(d);
	memcpy(first, d->out, bytes);
	if (d->plan.changed)
		memcpy(d->past, d->saved, d->plan.changed);
	step_once(d);
	bool same = d->ranks > 1 || !memcmp(first, d->out, bytes);
	free(first);
	d->call.length++;
	return same;
}

/* `bulk` tokens at once, in two pieces, then one at a time up to n; want: rows of the
 * causal form, of the probe's head and of the next one. */
static struct finding decode(struct decoder *d, size_t n, size_t bulk, const float *const want[QUERIES])
{
	size_t d_v = d->probe->shape.d_v, row = d_v * sizeof(float);
	double allowed = slack * (double)attn_bound(d->subject->variant, d->probe->arg);
	float *got = malloc(d->queries * n * row);
	struct finding f = { .verdict = VERDICT_PASS };

	if (!got)
		abort();
	if (bulk > 0) {
		append(d, bulk / 3);
		append(d, bulk - bulk / 3);
	}
	for (size_t t = bulk; t < n && f.verdict == VERDICT_PASS; t++) {
		if (!step(d))
			f = found(VERDICT_FAIL, d, "step %zu taken again gives another result", t);
		for (size_t r = 0; r < d->queries; r++)
			memcpy(got + (r * n + t) * d_v, d->out + r * d_v, row);
	}
	if (f.verdict == VERDICT_PASS && !decoder_whole(d))
		f = found(VERDICT_FAIL, d, "wrote outside its memory");
	for (size_t r = 0; r < d->queries && f.verdict == VERDICT_PASS; r++) {
		double error = probe_distance(got + (r * n + bulk) * d_v, want[r] + bulk * d_v, (n - bulk) * d_v);
		if (!(error <= allowed))
			f = found(VERDICT_FAIL, d, "after %zu tokens at once, steps up to %zu differ by %.2e from the causal form",
			          bulk, n, error);
	}
	free(got);
	return f;
}

/* One length: alone and on three threads, from several starts, for one query and for
 * those of two heads where they share the past. */
static struct finding check_length(const struct subject *s, const struct probe *p, size_t n,
                                   const float *const want[QUERIES])
{
	const size_t bulks[] = { 0, 1, n / 2, n - 1 };
	const struct attn_decode *slot = s->variant->decode;
	struct finding f = { .verdict = VERDICT_PASS };

	for (size_t ranks = 1; ranks <= RANKS_MAX; ranks += RANKS_MAX - 1) {
		for (size_t queries = 1; queries <= QUERIES; queries++) {
			for (size_t i = 0; i < sizeof bulks / sizeof *bulks; i++) {
				struct decoder d;
				bool other = (ranks > 1 && !slot->splits) || (queries > 1 && !slot->shares);
				if (other || bulks[i] >= n || (i > 0 && bulks[i] == bulks[i - 1]) || (ranks > 1 && i % 2))
					continue;
				const char *why = decoder_open(&d, s, p, queries, ranks);
				f = why ? found(VERDICT_NONE, NULL, "%s", why) : decode(&d, n, bulks[i], want);
				decoder_free(&d);
				if (f.verdict != VERDICT_PASS)
					return f;
			}
		}
	}
	return f;
}

/* The probe and rows of the causal form of two heads; false: the variant refuses. */
static bool open_probe(const struct subject *s, struct attn_shape *shape, struct probe *p, float *want,
                       const char **why)
{
	struct attn_shape square = *shape;

	if (!probe_create(p, s->variant, s->arg, shape, 1, s->seed, why)) {
		/* Some variants need d = d_v. */
		square.d = square.d_v;
		square.scale = attn_default_scale(square.d);
		if (!probe_create(p, s->variant, s->arg, &square, 1, s->seed, why))
			return false;
		*shape = square;
	}
	for (size_t r = 0; r < QUERIES; r++, p->shape.head++)
		probe_run(p, s->kern, s->teams[1], want + r * shape->n_q * shape->d_v);
	p->shape.head = shape->head;
	return true;
}

struct finding property_decode(const struct subject *s)
{
	/* Tokens, and how many there is room for. */
	static const size_t lengths[][2] = { { 1, 1 }, { 3, 5 }, { 67, 67 }, { 67, 101 }, { 127, 127 }, { 127, 130 } };
	struct finding f = { .verdict = VERDICT_PASS };

	if (!(attn_flags(s->variant, s->arg) & ATTN_CAUSAL))
		return found(VERDICT_NONE, NULL, "has no causal form");
	if (!s->variant->decode)
		return found(VERDICT_NONE, NULL, "has no decode step");
	for (size_t i = 0; i < sizeof lengths / sizeof *lengths && f.verdict == VERDICT_PASS; i++) {
		size_t n = lengths[i][0], capacity = lengths[i][1], d = 16, d_v = 24;
		struct attn_shape shape = { .n_q = capacity, .n_k = capacity, .d = d, .d_v = d_v, .causal = true,
			                    .scale = attn_default_scale(d), .heads = QUERIES, .type = ATTN_F32 };
		float *want = malloc(QUERIES * capacity * d_v * sizeof *want);
		struct probe p;
		const char *why;
		if (!want)
			abort();
		if (open_probe(s, &shape, &p, want, &why)) {
			const float *const rows[QUERIES] = { want, want + capacity * d_v };
			f = check_length(s, &p, n, rows);
			probe_destroy(&p);
		} else {
			f = found(VERDICT_NONE, NULL, "%s", why);
		}
		free(want);
	}
	return f;
}
