/* SPDX-License-Identifier: BSD-3-Clause
 *
 * P10: decoding. */
#include "property.h"

#include "finding.h"
#include "team.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { GUARD = 64, QUERIES = 2, RANKS_MAX = 3 };

/* A head that is being decoded, in memory with canaries behind it. */
struct decoder {
	const struct subject *subject;
	const struct probe *probe;
	struct attn_decode_plan plan;
	size_t queries, ranks, element; /* bytes of an element of q, k, v and out */
	char *past, *saved, *shared, *scratch[RANKS_MAX];
	char *q, *k, *v, *out; /* queries x d, capacity x ldk, x ldv, queries x d_v */
	struct attn_decode_call call;
};

__attribute__((format(printf, 2, 3)))
static struct finding decode_fails(const struct decoder *d, const char *format, ...)
{
	char text[160];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof text, format, args);
	va_end(args);
	return finding_fails(&d->probe->shape, "%zu threads, %zu queries: %s", d->ranks, d->queries, text);
}

static void *checked(void *p)
{
	if (!p)
		abort(); /* a check of a few KiB: no memory is no environment */
	return p;
}

static char *guarded(size_t bytes)
{
	size_t room = (bytes + GUARD + ATTN_ALIGN) / ATTN_ALIGN * ATTN_ALIGN;
	char *x = checked(aligned_alloc(ATTN_ALIGN, room));

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
	bool ok = whole(d->past, d->plan.past) && whole(d->shared, d->plan.step.shared) &&
	          whole(d->out, d->queries * d->probe->shape.d_v * d->element);

	for (size_t r = 0; r < d->ranks; r++)
		ok = ok && whole(d->scratch[r], d->plan.step.scratch);
	return ok;
}

static void decoder_free(struct decoder *d)
{
	char *const all[] = { d->past, d->saved, d->shared, d->q, d->k, d->v, d->out };

	for (size_t i = 0; i < sizeof all / sizeof *all; i++)
		free(all[i]);
	for (size_t r = 0; r < d->ranks; r++)
		free(d->scratch[r]);
}

/* Numbers of the probe in its type, whatever lies between rows included. */
static void put(const struct decoder *d, char *to, const float *x, size_t n)
{
	if (d->element == sizeof *x)
		memcpy(to, x, n * sizeof *x);
	else
		attn_narrow(attn_kern("scalar"), d->probe->shape.type, to, x, n);
}

/* NULL and an empty past, or why the variant refuses. */
static const char *decoder_open(struct decoder *d, const struct subject *s, const struct probe *p,
                                size_t queries, size_t ranks)
{
	size_t k = p->shape.n_k * p->ldk, v = p->shape.n_k * p->ldv;

	*d = (struct decoder){ .subject = s, .probe = p, .queries = queries, .ranks = ranks };
	d->element = p->shape.type == ATTN_F32 ? sizeof(float) : sizeof(uint16_t);
	const char *why = attn_decode_plan(s->variant, &p->shape, p->arg, queries, ranks, &d->plan);
	if (why)
		return why;
	d->past = guarded(d->plan.past);
	d->saved = guarded(d->plan.changed);
	d->shared = guarded(d->plan.step.shared);
	for (size_t r = 0; r < ranks; r++)
		d->scratch[r] = guarded(d->plan.step.scratch);
	d->q = guarded(queries * p->shape.d * d->element);
	d->k = guarded(k * d->element);
	d->v = guarded(v * d->element);
	d->out = guarded(queries * p->shape.d_v * d->element);
	put(d, d->k, p->k, k);
	put(d, d->v, p->v, v);
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
	memset(d->out, 0xff, d->queries * d->probe->shape.d_v * d->element);
}

static void take_tokens(struct decoder *d, size_t n)
{
	d->call.k = d->k + d->call.length * d->probe->ldk * d->element;
	d->call.v = d->v + d->call.length * d->probe->ldv * d->element;
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

/* The same step twice, what it changes put back: both must agree, to the bit on one
 * thread. The token's query stands for every head. out: queries x d_v. */
static bool step(struct decoder *d, float *out)
{
	const struct attn_shape *s = &d->probe->shape;
	size_t n = d->queries * s->d_v, bytes = n * d->element;
	char *first = checked(malloc(bytes));

	for (size_t r = 0; r < d->queries; r++)
		put(d, d->q + r * s->d * d->element, d->probe->q + d->call.length * d->probe->ldq, s->d);
	take_tokens(d, 1);
	memcpy(d->saved, d->past, d->plan.changed);
	step_once(d);
	memcpy(first, d->out, bytes);
	memcpy(d->past, d->saved, d->plan.changed);
	step_once(d);
	bool same = d->ranks > 1 || !memcmp(first, d->out, bytes);
	attn_widen(attn_kern("scalar"), s->type, out, d->out, n);
	free(first);
	d->call.length++;
	return same;
}

/* `bulk` tokens at once, in two pieces, then one at a time up to n; want: rows of the
 * causal form (capacity x d_v), of the probe's head and of the next one. */
static struct finding decode(struct decoder *d, size_t n, size_t bulk, const float *want)
{
	const struct attn_shape *s = &d->probe->shape;
	double allowed = SLACK * (double)attn_bound(d->subject->variant, d->probe->arg, s->type);
	float *got = checked(malloc((d->queries * n + d->queries) * s->d_v * sizeof *got));
	float *rows = got + d->queries * n * s->d_v;
	struct finding f = finding_pass();

	if (bulk > 0) {
		append(d, bulk / 3);
		append(d, bulk - bulk / 3);
	}
	for (size_t t = bulk; t < n && f.verdict == VERDICT_PASS; t++) {
		if (!step(d, rows))
			f = decode_fails(d, "step %zu taken again gives another result", t);
		for (size_t r = 0; r < d->queries; r++)
			memcpy(got + (r * n + t) * s->d_v, rows + r * s->d_v, s->d_v * sizeof *got);
	}
	if (f.verdict == VERDICT_PASS && !decoder_whole(d))
		f = decode_fails(d, "wrote outside its memory");
	for (size_t r = 0; r < d->queries && f.verdict == VERDICT_PASS; r++) {
		double error = probe_distance(got + (r * n + bulk) * s->d_v, want + (r * s->n_q + bulk) * s->d_v,
		                              (n - bulk) * s->d_v);
		if (!(error <= allowed))
			f = decode_fails(d, "after %zu tokens at once, steps to %zu are %.2e from the causal form", bulk, n,
			                 error);
	}
	free(got);
	return f;
}

/* One length: alone and on three threads, from several starts, for one query and for
 * those of two heads where they share the past. */
static struct finding check_length(const struct subject *s, const struct probe *p, size_t n, const float *want)
{
	const size_t bulks[] = { 0, 1, n / 2, n - 1 };
	const struct attn_decode *slot = s->variant->decode;
	struct finding f = finding_pass();

	for (size_t ranks = 1; ranks <= RANKS_MAX; ranks += RANKS_MAX - 1) {
		for (size_t queries = 1; queries <= QUERIES; queries++) {
			for (size_t i = 0; i < sizeof bulks / sizeof *bulks; i++) {
				struct decoder d;
				bool skip = (ranks > 1 && !slot->splits) || (queries > 1 && !slot->shares);
				if (skip || bulks[i] >= n || (i > 0 && bulks[i] == bulks[i - 1]) || (ranks > 1 && i % 2))
					continue;
				const char *why = decoder_open(&d, s, p, queries, ranks);
				f = why ? finding_none(why) : decode(&d, n, bulks[i], want);
				decoder_free(&d);
				if (f.verdict != VERDICT_PASS)
					return f;
			}
		}
	}
	return f;
}

/* n tokens, decoded where there is room for `capacity`. */
static struct finding check_form(const struct subject *s, size_t n, size_t capacity, enum attn_type type)
{
	size_t d = 16, d_v = 24;
	struct attn_shape shape = probe_shape(capacity, capacity, d, d_v, true);
	float *want = checked(malloc(QUERIES * capacity * d_v * sizeof *want));
	struct finding f;
	struct probe p;
	const char *why;

	if (!subject_probe(s, &shape, &p, &why)) {
		free(want);
		return finding_none(why);
	}
	probe_set_type(&p, type);
	for (size_t r = 0; r < QUERIES; r++, p.shape.head++)
		subject_run(s, &p, want + r * capacity * d_v);
	p.shape.head = 0;
	f = check_length(s, &p, n, want);
	probe_destroy(&p);
	free(want);
	return f;
}

struct finding property_decode(const struct subject *s)
{
	static const struct {
		size_t n, capacity;
		enum attn_type type;
	} cases[] = {
		{ 1, 1, ATTN_F32 }, { 3, 5, ATTN_F32 }, { 67, 67, ATTN_F32 }, { 67, 101, ATTN_F32 },
		{ 127, 127, ATTN_F32 }, { 127, 130, ATTN_F32 }, { 67, 70, ATTN_BF16 }, { 67, 70, ATTN_F16 },
	};
	struct finding f = finding_pass();

	if (!subject_has(s, ATTN_CAUSAL))
		return finding_none("has no causal form");
	if (!s->variant->decode)
		return finding_none("has no decode step");
	for (size_t i = 0; i < sizeof cases / sizeof *cases && f.verdict == VERDICT_PASS; i++)
		f = check_form(s, cases[i].n, cases[i].capacity, cases[i].type);
	return f;
}
