/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The properties. Each walks the forms (causal, bidirectional) that the variant
 * has. Two runs that must agree may differ by what each may be off from the
 * definition, and by rounding of changed inputs: that is `slack` bounds. */
#include "property.h"

#include "axes.h"
#include "probe.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const double slack = 8;

static struct finding pass(void)
{
	return (struct finding){ .verdict = VERDICT_PASS };
}

static struct finding none(const char *why)
{
	struct finding f = { .verdict = VERDICT_NONE };

	snprintf(f.why, sizeof f.why, "%.*s", (int)sizeof f.why - 1, why);
	return f;
}

__attribute__((format(printf, 2, 3))) static struct finding fails(const struct attn_shape *s,
                                                                  const char *format, ...)
{
	struct finding f = { .verdict = VERDICT_FAIL };
	va_list args;
	int at = snprintf(f.why, sizeof f.why, "n_q=%zu n_k=%zu d=%zu d_v=%zu causal=%d: ", s->n_q, s->n_k,
	                  s->d, s->d_v, s->causal);

	va_start(args, format);
	vsnprintf(f.why + at, sizeof f.why - (size_t)at, format, args);
	va_end(args);
	return f;
}

static struct finding fail_words(const char *why)
{
	struct finding f = none(why);

	f.verdict = VERDICT_FAIL;
	return f;
}

static bool has(const struct subject *s, unsigned flag)
{
	return (attn_flags(s->variant, s->arg) & flag) != 0;
}

static struct attn_shape shape_of(size_t n_q, size_t n_k, size_t d, size_t d_v, bool causal)
{
	return (struct attn_shape){ .n_q = n_q, .n_k = n_k, .d = d, .d_v = d_v, .causal = causal,
		                    .scale = attn_default_scale(d), .heads = 2, .type = ATTN_F32 };
}

static double bound_of(const struct subject *s)
{
	return (double)attn_bound(s->variant, s->arg);
}

/* One check on one probe: NULL verdict FAIL stops the walk. */
typedef struct finding probe_check(const struct subject *, struct probe *, float *out, float *other);

/* A probe of the shape, or, for a variant that needs d = d_v, with d_v for d. */
static bool fitting_probe(const struct subject *s, struct attn_shape *shape, struct probe *p, const char **why)
{
	if (probe_create(p, s->variant, s->arg, shape, 1, s->seed, why))
		return true;
	*shape = shape_of(shape->n_q, shape->n_k, shape->d_v, shape->d_v, shape->causal);
	return probe_create(p, s->variant, s->arg, shape, 1, s->seed, why);
}

/* Runs `check` for each form of the variant on the shape. */
static struct finding each_form(const struct subject *s, size_t n_q, size_t n_k, size_t d, size_t d_v,
                                unsigned forms, probe_check *check)
{
	struct finding result = none("has no such form");

	for (int causal = 0; causal < 2; causal++) {
		unsigned form = causal ? ATTN_CAUSAL : ATTN_BIDIRECTIONAL;
		struct attn_shape shape = shape_of(n_q, n_k, d, d_v, causal);
		struct probe p;
		const char *why;
		if (!(form & forms) || !has(s, form))
			continue;
		if (!fitting_probe(s, &shape, &p, &why)) {
			result = none(why);
			continue;
		}
		float *out = calloc(2 * (n_q * d_v + 1), sizeof *out);
		result = check(s, &p, out, out + n_q * d_v);
		free(out);
		probe_destroy(&p);
		if (result.verdict == VERDICT_FAIL)
			return result;
	}
	return result;
}

static const unsigned any_form = ATTN_CAUSAL | ATTN_BIDIRECTIONAL;

static size_t elements(const struct probe *p)
{
	return p->shape.n_q * p->shape.d_v;
}

static bool run(const struct subject *s, struct probe *p, float *out)
{
	return probe_run(p, s->kern, s->teams[1], out);
}

/* ---- P0: the kernel equals the definition, on shapes nobody would choose ---- */

static struct finding oracle_check(const struct subject *s, struct probe *p, float *out, float *other)
{
	double *want = calloc(elements(p) + 1, sizeof *want);
	bool whole = run(s, p, out);

	(void)other;
	probe_oracle(p, want);
	double error = probe_error(out, want, elements(p));
	free(want);
	if (!whole)
		return fails(&p->shape, "wrote outside its output or scratch");
	if (!(error <= bound_of(s)))
		return fails(&p->shape, "error %.2e against its definition, allowed %.2e", error, bound_of(s));
	return pass();
}

static struct finding check_oracle(const struct subject *s)
{
	static const size_t shapes[][4] = {
		{ 1, 1, 1, 1 },     { 2, 2, 3, 5 },     { 15, 15, 8, 16 },  { 16, 16, 16, 8 },
		{ 17, 17, 37, 19 }, { 67, 67, 16, 33 }, { 127, 127, 64, 64 }, { 130, 130, 17, 70 },
		{ 1, 67, 16, 16 },  { 33, 127, 24, 40 }, { 67, 20, 16, 17 }, { 5, 1, 8, 8 }, { 4, 300, 32, 32 },
	};
	struct finding result = pass();

	for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
		const size_t *n = shapes[i];
		if (n[0] != n[1] && !has(s, ATTN_CROSS))
			continue;
		struct finding f = each_form(s, n[0], n[1], n[2], n[3], any_form, oracle_check);
		if (f.verdict == VERDICT_FAIL)
			return f;
	}
	return result;
}

/* ---- P1, P2: rows of the attention matrix ---- */

static struct finding rowsum_check(const struct subject *s, struct probe *p, float *out, float *other)
{
	size_t n = p->shape.n_k;

	(void)other;
	probe_identity(p);
	run(s, p, out);
	for (size_t i = 0; i < p->shape.n_q; i++) {
		double sum = 0;
		for (size_t j = 0; j < n; j++)
			sum += (double)out[i * n + j];
		if (!(fabs(sum - 1) <= slack * bound_of(s)))
			return fails(&p->shape, "weights of row %zu sum to %.9g", i, sum);
	}
	return pass();
}

static struct finding check_rowsum(const struct subject *s)
{
	if (!has(s, ATTN_ROWSUM))
		return none("weights need not sum to 1");
	return each_form(s, 67, 67, 16, 67, any_form, rowsum_check);
}

static struct finding hull_check(const struct subject *s, struct probe *p, float *out, float *other)
{
	size_t n = p->shape.n_k;

	(void)other;
	probe_identity(p);
	run(s, p, out);
	for (size_t i = 0; i < p->shape.n_q * n; i++)
		if (!(out[i] >= -(float)(slack * bound_of(s))))
			return fails(&p->shape, "weight (%zu, %zu) is %.3g", i / n, i % n, (double)out[i]);
	return pass();
}

static struct finding check_hull(const struct subject *s)
{
	if (!has(s, ATTN_NONNEG))
		return none("weights may be negative");
	return each_form(s, 67, 67, 16, 67, any_form, hull_check);
}

/* ---- P3, P4: linear in V ---- */

static struct finding linear_check(const struct subject *s, struct probe *p, float *out, float *other)
{
	size_t n = elements(p), cells = p->shape.n_k * p->ldv;
	float *v = malloc(cells * sizeof *v), *sum = calloc(n, sizeof *sum);

	memcpy(v, p->v, cells * sizeof *v);
	run(s, p, out); /* O(V1) */
	for (size_t i = 0; i < cells; i++)
		p->v[i] = (float)attn_random_normal(s->seed, 7, i);
	run(s, p, other); /* O(V2) */
	for (size_t i = 0; i < n; i++)
		sum[i] = 2 * out[i] - 3 * other[i];
	for (size_t i = 0; i < cells; i++)
		p->v[i] = 2 * v[i] - 3 * p->v[i];
	run(s, p, out);
	double error = probe_distance(out, sum, n);
	free(v);
	free(sum);
	if (!(error <= slack * bound_of(s)))
		return fails(&p->shape, "O(2 V1 - 3 V2) is off by %.2e", error);
	return pass();
}

static struct finding check_linear(const struct subject *s)
{
	return each_form(s, 67, 67, 16, 24, any_form, linear_check);
}

static struct finding vshift_check(const struct subject *s, struct probe *p, float *out, float *other)
{
	size_t d_v = p->shape.d_v;

	run(s, p, out);
	for (size_t j = 0; j < p->shape.n_k; j++)
		for (size_t e = 0; e < d_v; e++)
			p->v[j * p->ldv + e] += (float)e / 4;
	run(s, p, other);
	for (size_t i = 0; i < elements(p); i++)
		out[i] += (float)(i % d_v) / 4;
	double error = probe_distance(other, out, elements(p));
	if (!(error <= slack * bound_of(s)))
		return fails(&p->shape, "V + 1 c^T does not shift O by c: %.2e", error);
	return pass();
}

static struct finding check_vshift(const struct subject *s)
{
	if (!has(s, ATTN_ROWSUM))
		return none("weights need not sum to 1");
	return each_form(s, 67, 67, 16, 24, any_form, vshift_check);
}

/* ---- P5, P6: order of queries and keys ---- */

/* Row i of the result was row (5 i + 3) mod n: n must not divide by 5. */
static size_t permuted(size_t i, size_t n)
{
	return (5 * i + 3) % n;
}

static void permute(float *x, size_t n, size_t ld)
{
	float *copy = malloc(n * ld * sizeof *copy);

	memcpy(copy, x, n * ld * sizeof *copy);
	for (size_t i = 0; i < n; i++)
		memcpy(x + i * ld, copy + permuted(i, n) * ld, ld * sizeof *x);
	free(copy);
}

static struct finding qperm_check(const struct subject *s, struct probe *p, float *out, float *other)
{
	run(s, p, out);
	permute(out, p->shape.n_q, p->shape.d_v);
	permute(p->q, p->shape.n_q, p->ldq);
	run(s, p, other);
	double error = probe_distance(other, out, elements(p));
	if (!(error <= slack * bound_of(s)))
		return fails(&p->shape, "permuting queries does not permute rows: %.2e", error);
	return pass();
}

static struct finding check_qperm(const struct subject *s)
{
	if (!has(s, ATTN_QPERM))
		return none("depends on positions of queries");
	return each_form(s, 67, 67, 16, 24, ATTN_BIDIRECTIONAL, qperm_check);
}

static struct finding kperm_check(const struct subject *s, struct probe *p, float *out, float *other)
{
	run(s, p, out);
	permute(p->k, p->shape.n_k, p->ldk);
	permute(p->v, p->shape.n_k, p->ldv);
	run(s, p, other);
	double error = probe_distance(other, out, elements(p));
	if (!(error <= slack * bound_of(s)))
		return fails(&p->shape, "permuting keys with values changes the result: %.2e", error);
	return pass();
}

static struct finding check_kperm(const struct subject *s)
{
	if (!has(s, ATTN_KPERM))
		return none("depends on positions of keys");
	return each_form(s, 67, 67, 16, 24, ATTN_BIDIRECTIONAL, kperm_check);
}

/* ---- P7, P8: shifts and scales ---- */

static struct finding kshift_check(const struct subject *s, struct probe *p, float *out, float *other)
{
	run(s, p, out);
	for (size_t j = 0; j < p->shape.n_k; j++)
		for (size_t e = 0; e < p->shape.d; e++)
			p->k[j * p->ldk + e] += 0.5f - (float)(e % 3) / 4;
	run(s, p, other);
	double error = probe_distance(other, out, elements(p));
	if (!(error <= slack * bound_of(s)))
		return fails(&p->shape, "one vector added to all keys changes the result: %.2e", error);
	return pass();
}

static struct finding check_kshift(const struct subject *s)
{
	if (!has(s, ATTN_KSHIFT))
		return none("not invariant by definition");
	return each_form(s, 67, 67, 16, 24, any_form, kshift_check);
}

static void scale_rows(float *x, size_t rows, size_t cols, size_t ld, float step)
{
	for (size_t i = 0; i < rows; i++)
		for (size_t e = 0; e < cols; e++)
			x[i * ld + e] *= 0.7f + step * (float)(i % 5);
}

static struct finding homogeneous_check(const struct subject *s, struct probe *p, float *out, float *other)
{
	run(s, p, out);
	if (has(s, ATTN_QSCALE))
		scale_rows(p->q, p->shape.n_q, p->shape.d, p->ldq, 0.3f);
	if (has(s, ATTN_KSCALE))
		scale_rows(p->k, p->shape.n_k, p->shape.d, p->ldk, 0);
	run(s, p, other);
	double error = probe_distance(other, out, elements(p));
	if (!(error <= slack * bound_of(s)))
		return fails(&p->shape, "scaling queries or keys changes the result: %.2e", error);
	return pass();
}

static struct finding check_homogeneous(const struct subject *s)
{
	if (!has(s, ATTN_QSCALE | ATTN_KSCALE))
		return none("not invariant by definition");
	return each_form(s, 67, 67, 16, 24, any_form, homogeneous_check);
}

/* ---- P9: causality ---- */

/* Tokens after t change; outputs up to t must not move, nor be touched by what
 * is now 1e6 in the future. */
static struct finding causal_check(const struct subject *s, struct probe *p, float *out, float *other)
{
	size_t n_q = p->shape.n_q, n_k = p->shape.n_k, d_v = p->shape.d_v, t = n_q / 2 + 3;
	size_t keep = t + 1 + n_k - n_q; /* keys that query t sees */

	run(s, p, out);
	for (size_t j = keep; j < n_k; j++) {
		for (size_t e = 0; e < p->shape.d; e++)
			p->k[j * p->ldk + e] = 3 * (float)attn_random_normal(s->seed, 8, j * 64 + e);
		for (size_t e = 0; e < d_v; e++)
			p->v[j * p->ldv + e] = 1e6f;
	}
	for (size_t i = t + 1; i < n_q; i++)
		for (size_t e = 0; e < p->shape.d; e++)
			p->q[i * p->ldq + e] = has(s, ATTN_TIED) ? p->k[(i + n_k - n_q) * p->ldk + e] : -1;
	run(s, p, other);
	double error = probe_distance(other, out, (t + 1) * d_v);
	if (error == 0 || error <= bound_of(s))
		return pass();
	struct finding f = fails(&p->shape, "outputs up to token %zu move by %.2e with later tokens", t, error);
	if (has(s, ATTN_LEAKS)) {
		f = none("which earlier keys a token sees depends on later tokens");
		f.verdict = VERDICT_LEAK;
	}
	return f;
}

static struct finding check_causal(const struct subject *s)
{
	if (!has(s, ATTN_CAUSAL))
		return none("has no causal form");
	struct finding f = each_form(s, 67, 67, 16, 24, ATTN_CAUSAL, causal_check);
	if (f.verdict == VERDICT_PASS && has(s, ATTN_CROSS))
		f = each_form(s, 40, 67, 16, 24, ATTN_CAUSAL, causal_check);
	return f;
}

/* ---- P10 ---- */

static struct finding check_decode(const struct subject *s)
{
	(void)s;
	return none("has no decode step");
}

/* ---- P11: the stated limit equals exact attention ---- */

/* The limit with n for n_k, as a variant is written: "topk:k=67". */
static bool limit_arguments(const struct attn_variant *v, size_t n, struct variant_choices *out,
                            char *error)
{
	const struct where where = { .name = "limit" };
	char text[256];
	size_t at = (size_t)snprintf(text, sizeof text, "%s%s", v->name, *v->limit ? ":" : "");

	for (const char *from = v->limit; *from && at + 24 < sizeof text; from++) {
		bool length = *from == 'n' && from > v->limit && from[-1] == '=' && (from[1] == ':' || !from[1]);
		if (length)
			at += (size_t)snprintf(text + at, sizeof text - at, "%zu", n);
		else
			text[at++] = *from;
	}
	text[at] = '\0';
	return variants_parse(text, &where, out, error);
}

static struct finding limit_check(const struct subject *s, struct probe *p, float *out, float *other)
{
	const struct attn_variant *exact = attn_find("full");
	double *want = calloc(elements(p) + 1, sizeof *want);
	struct probe same = *p;

	(void)other;
	run(s, p, out);
	same.variant = exact;
	same.arg[0] = 0;
	probe_oracle(&same, want);
	double error = probe_error(out, want, elements(p));
	free(want);
	if (!(error <= slack * bound_of(s)))
		return fails(&p->shape, "at %s it is %.2e from exact attention", s->variant->limit, error);
	return pass();
}

static struct finding check_limit(const struct subject *s)
{
	struct variant_choices choices = { 0 };
	struct subject at_limit = *s;
	char error[ERROR_MAX];
	const size_t n = 67;
	struct finding f;

	if (!s->variant->limit)
		return none("states no limit");
	if (!limit_arguments(s->variant, n, &choices, error)) {
		f = fail_words(error);
	} else {
		at_limit.arg = choices.v[0].arg;
		f = each_form(&at_limit, n, n, 16, 24, any_form, limit_check);
	}
	free(choices.v);
	return f;
}

/* ---- P12, P16: other tables, other teams, the same seed ---- */

static struct finding tables_check(const struct subject *s, struct probe *p, float *out, float *other)
{
	run(s, p, out);
	for (size_t ranks = 2; ranks <= 3 && has(s, ATTN_PARALLEL); ranks++) {
		if (!probe_run(p, s->kern, s->teams[ranks], other))
			return fails(&p->shape, "%zu threads write out of bounds", ranks);
		double error = probe_distance(other, out, elements(p));
		if (!(error <= slack * bound_of(s)))
			return fails(&p->shape, "%zu threads differ from one by %.2e", ranks, error);
	}
	probe_run(p, attn_kern("scalar"), s->teams[1], other);
	double error = probe_distance(other, out, elements(p));
	if (!(error <= slack * bound_of(s)))
		return fails(&p->shape, "the scalar table differs by %.2e", error);
	return pass();
}

static struct finding check_tables(const struct subject *s)
{
	struct finding f = each_form(s, 127, 127, 16, 24, any_form, tables_check);

	if (f.verdict != VERDICT_FAIL && has(s, ATTN_CROSS))
		f = each_form(s, 1, 67, 16, 24, any_form, tables_check);
	if (f.verdict != VERDICT_FAIL && has(s, ATTN_CROSS))
		f = each_form(s, 130, 3, 16, 24, any_form, tables_check);
	return f;
}

static struct finding seed_check(const struct subject *s, struct probe *p, float *out, float *other)
{
	struct probe again;
	const char *why;

	run(s, p, out);
	probe_create(&again, s->variant, s->arg, &p->shape, 1, s->seed, &why);
	run(s, &again, other);
	bool same = !memcmp(out, other, elements(p) * sizeof *out);
	/* The same inputs, another seed for the variant's own objects. */
	if (s->variant->prepare)
		s->variant->prepare(&again.shape, again.arg, s->seed + 1, again.state);
	run(s, &again, other);
	bool moved = memcmp(out, other, elements(p) * sizeof *out) != 0;
	probe_destroy(&again);
	if (!same)
		return fails(&p->shape, "the same seed gives another result");
	if (moved && !has(s, ATTN_RANDOM))
		return fails(&p->shape, "depends on the seed but is not flagged random");
	return pass();
}

static struct finding check_seed(const struct subject *s)
{
	return each_form(s, 67, 67, 16, 24, any_form, seed_check);
}

/* ---- P13: keys behind n_k are never touched ---- */

static struct finding pad_check(const struct subject *s, struct probe *p, float *out, float *other)
{
	/* The probe's arrays are surrounded by NaN: a key, a value or a padding
	 * element that is read shows in the output. */
	(void)other;
	run(s, p, out);
	for (size_t i = 0; i < elements(p); i++)
		if (!isfinite(out[i]))
			return fails(&p->shape, "reads outside its inputs: element %zu is %g", i, (double)out[i]);
	return pass();
}

static struct finding check_pad(const struct subject *s)
{
	struct finding f = each_form(s, 67, 67, 19, 21, any_form, pad_check);

	if (f.verdict != VERDICT_FAIL && has(s, ATTN_CROSS))
		f = each_form(s, 67, 33, 19, 21, any_form, pad_check);
	return f;
}

/* ---- P14, P15: other sequences, other heads ---- */

static struct finding batch_check(const struct subject *s, struct probe *p, float *out, float *other)
{
	struct attn_shape shape = p->shape;
	struct probe neighbour;
	const char *why;

	run(s, p, out);
	if (!probe_create(&neighbour, s->variant, s->arg, &shape, 3, s->seed + 9, &why))
		return none(why);
	run(s, &neighbour, other);
	probe_destroy(&neighbour);
	run(s, p, other);
	if (memcmp(out, other, elements(p) * sizeof *out))
		return fails(&p->shape, "another sequence in between changes the result");
	return pass();
}

static struct finding check_batch(const struct subject *s)
{
	return each_form(s, 67, 67, 16, 24, any_form, batch_check);
}

static struct finding check_grouped(const struct subject *s)
{
	(void)s;
	return none("one call is one head: grouping is the caller's");
}

/* ---- P17: rows that see nothing ---- */

static struct finding empty_check(const struct subject *s, struct probe *p, float *out, float *other)
{
	size_t n_k = p->shape.n_k, empty = p->shape.causal && p->shape.n_q > n_k ? p->shape.n_q - n_k : 0;

	(void)other;
	if (n_k == 0)
		empty = p->shape.n_q;
	run(s, p, out);
	for (size_t i = 0; i < empty * p->shape.d_v; i++)
		if (out[i] != 0)
			return fails(&p->shape, "row %zu sees no key and is not zero", i / p->shape.d_v);
	for (size_t i = 0; has(s, ATTN_LSE) && i < empty; i++)
		if (p->lse[i] != -INFINITY)
			return fails(&p->shape, "row %zu sees no key and its lse is %g", i, (double)p->lse[i]);
	for (size_t i = 0; i < elements(p); i++)
		if (!isfinite(out[i]))
			return fails(&p->shape, "element %zu is %g", i, (double)out[i]);
	return pass();
}

static struct finding check_empty(const struct subject *s)
{
	if (!has(s, ATTN_CROSS))
		return none("n_q = n_k: every row sees a key");
	struct finding f = each_form(s, 40, 7, 16, 24, any_form, empty_check);
	return f.verdict == VERDICT_FAIL ? f : each_form(s, 5, 0, 16, 24, any_form, empty_check);
}

const struct property properties[] = {
	{ "P0", "equals its definition", check_oracle },
	{ "P1", "weights sum to 1", check_rowsum },
	{ "P2", "weights are not negative", check_hull },
	{ "P3", "linear in V", check_linear },
	{ "P4", "a shift of V shifts O", check_vshift },
	{ "P5", "queries permute", check_qperm },
	{ "P6", "keys permute", check_kperm },
	{ "P7", "keys shift", check_kshift },
	{ "P8", "queries or keys scale", check_homogeneous },
	{ "P9", "causal", check_causal },
	{ "P10", "decode equals forward", check_decode },
	{ "P11", "exact in its limit", check_limit },
	{ "P12", "same on any table and team", check_tables },
	{ "P13", "never touches padding", check_pad },
	{ "P14", "sequences are independent", check_batch },
	{ "P15", "grouped heads", check_grouped },
	{ "P16", "the seed decides", check_seed },
	{ "P17", "empty rows are zero", check_empty },
	{ NULL, NULL, NULL },
};
