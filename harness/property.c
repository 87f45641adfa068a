/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The properties of one head. Each walks the forms (causal, bidirectional) that
 * the variant has. */
#include "property.h"

#include "axes.h"
#include "finding.h"
#include "probe.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- P0: the kernel equals the definition, on shapes nobody would choose ---- */

static struct finding oracle_check(const struct subject *s, struct probe *p, float *out, float *other)
{
	double *want = calloc(probe_elements(p) + 1, sizeof *want);
	bool whole = subject_run(s, p, out);

	(void)other;
	probe_oracle(p, want);
	double error = probe_error(out, want, probe_elements(p));
	free(want);
	if (!whole)
		return finding_fails(&p->shape, "wrote outside its output or scratch");
	double bound = (double)attn_bound(s->variant, s->arg, p->shape.type);
	if (!(error <= bound))
		return finding_fails(&p->shape, "error %.2e against its definition, allowed %.2e", error, bound);
	return finding_pass();
}

/* The shapes of P0; a variant without cross-attention skips those that are. */
static struct finding each_shape(const struct subject *s, probe_check *check)
{
	static const size_t shapes[][4] = {
		{ 1, 1, 1, 1 },     { 2, 2, 3, 5 },     { 15, 15, 8, 16 },  { 16, 16, 16, 8 },
		{ 17, 17, 37, 19 }, { 67, 67, 16, 33 }, { 127, 127, 64, 64 }, { 130, 130, 17, 70 },
		{ 1, 67, 16, 16 },  { 33, 127, 24, 40 }, { 67, 20, 16, 17 }, { 5, 1, 8, 8 }, { 4, 300, 32, 32 },
	};

	for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
		const size_t *n = shapes[i];
		if (n[0] != n[1] && !subject_has(s, ATTN_CROSS))
			continue;
		struct finding f = subject_each_form(s, n[0], n[1], n[2], n[3], ANY_FORM, check);
		if (f.verdict == VERDICT_FAIL)
			return f;
	}
	return finding_pass();
}

static struct finding check_oracle(const struct subject *s)
{
	return each_shape(s, oracle_check);
}

/* ---- P18: the same in half precision, of inputs that it holds exactly ---- */

static struct finding type_check(const struct subject *s, struct probe *p, float *out, float *other)
{
	struct finding f;

	probe_set_type(p, ATTN_F16);
	f = oracle_check(s, p, out, other);
	if (f.verdict == VERDICT_FAIL)
		return f;
	probe_set_type(p, ATTN_BF16); /* coarser: what it holds of them f16 held too */
	return oracle_check(s, p, out, other);
}

static struct finding check_types(const struct subject *s)
{
	return each_shape(s, type_check);
}

/* ---- P1, P2: rows of the attention matrix ---- */

static struct finding rowsum_check(const struct subject *s, struct probe *p, float *out, float *other)
{
	size_t n = p->shape.n_k;

	(void)other;
	probe_identity(p);
	subject_run(s, p, out);
	for (size_t i = 0; i < p->shape.n_q; i++) {
		double sum = 0;
		for (size_t j = 0; j < n; j++)
			sum += (double)out[i * n + j];
		if (!(fabs(sum - 1) <= SLACK * subject_bound(s)))
			return finding_fails(&p->shape, "weights of row %zu sum to %.9g", i, sum);
	}
	return finding_pass();
}

static struct finding check_rowsum(const struct subject *s)
{
	if (!subject_has(s, ATTN_ROWSUM))
		return finding_none("weights need not sum to 1");
	return subject_each_form(s, 67, 67, 16, 67, ANY_FORM, rowsum_check);
}

static struct finding hull_check(const struct subject *s, struct probe *p, float *out, float *other)
{
	size_t n = p->shape.n_k;

	(void)other;
	probe_identity(p);
	subject_run(s, p, out);
	for (size_t i = 0; i < p->shape.n_q * n; i++)
		if (!(out[i] >= -(float)(SLACK * subject_bound(s))))
			return finding_fails(&p->shape, "weight (%zu, %zu) is %.3g", i / n, i % n, (double)out[i]);
	return finding_pass();
}

static struct finding check_hull(const struct subject *s)
{
	if (!subject_has(s, ATTN_NONNEG))
		return finding_none("weights may be negative");
	return subject_each_form(s, 67, 67, 16, 67, ANY_FORM, hull_check);
}

/* ---- P3, P4: linear in V ---- */

static struct finding linear_check(const struct subject *s, struct probe *p, float *out, float *other)
{
	size_t n = probe_elements(p), cells = p->shape.n_k * p->ldv;
	float *v = malloc(cells * sizeof *v), *sum = calloc(n, sizeof *sum);

	memcpy(v, p->v, cells * sizeof *v);
	subject_run(s, p, out); /* O(V1) */
	for (size_t i = 0; i < cells; i++)
		p->v[i] = (float)attn_random_normal(s->seed, 7, i);
	subject_run(s, p, other); /* O(V2) */
	for (size_t i = 0; i < n; i++)
		sum[i] = 2 * out[i] - 3 * other[i];
	for (size_t i = 0; i < cells; i++)
		p->v[i] = 2 * v[i] - 3 * p->v[i];
	subject_run(s, p, out);
	double error = probe_distance(out, sum, n);
	free(v);
	free(sum);
	if (!(error <= SLACK * subject_bound(s)))
		return finding_fails(&p->shape, "O(2 V1 - 3 V2) is off by %.2e", error);
	return finding_pass();
}

static struct finding check_linear(const struct subject *s)
{
	return subject_each_form(s, 67, 67, 16, 24, ANY_FORM, linear_check);
}

static struct finding vshift_check(const struct subject *s, struct probe *p, float *out, float *other)
{
	size_t d_v = p->shape.d_v;

	subject_run(s, p, out);
	for (size_t j = 0; j < p->shape.n_k; j++)
		for (size_t e = 0; e < d_v; e++)
			p->v[j * p->ldv + e] += (float)e / 4;
	subject_run(s, p, other);
	for (size_t i = 0; i < probe_elements(p); i++)
		out[i] += (float)(i % d_v) / 4;
	double error = probe_distance(other, out, probe_elements(p));
	if (!(error <= SLACK * subject_bound(s)))
		return finding_fails(&p->shape, "V + 1 c^T does not shift O by c: %.2e", error);
	return finding_pass();
}

static struct finding check_vshift(const struct subject *s)
{
	if (!subject_has(s, ATTN_ROWSUM))
		return finding_none("weights need not sum to 1");
	return subject_each_form(s, 67, 67, 16, 24, ANY_FORM, vshift_check);
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
	subject_run(s, p, out);
	permute(out, p->shape.n_q, p->shape.d_v);
	permute(p->q, p->shape.n_q, p->ldq);
	subject_run(s, p, other);
	double error = probe_distance(other, out, probe_elements(p));
	if (!(error <= SLACK * subject_bound(s)))
		return finding_fails(&p->shape, "permuting queries does not permute rows: %.2e", error);
	return finding_pass();
}

static struct finding check_qperm(const struct subject *s)
{
	if (!subject_has(s, ATTN_QPERM))
		return finding_none("depends on positions of queries");
	return subject_each_form(s, 67, 67, 16, 24, ATTN_BIDIRECTIONAL, qperm_check);
}

static struct finding kperm_check(const struct subject *s, struct probe *p, float *out, float *other)
{
	subject_run(s, p, out);
	permute(p->k, p->shape.n_k, p->ldk);
	permute(p->v, p->shape.n_k, p->ldv);
	subject_run(s, p, other);
	double error = probe_distance(other, out, probe_elements(p));
	if (!(error <= SLACK * subject_bound(s)))
		return finding_fails(&p->shape, "permuting keys with values changes the result: %.2e", error);
	return finding_pass();
}

static struct finding check_kperm(const struct subject *s)
{
	if (!subject_has(s, ATTN_KPERM))
		return finding_none("depends on positions of keys");
	return subject_each_form(s, 67, 67, 16, 24, ATTN_BIDIRECTIONAL, kperm_check);
}

/* ---- P7, P8: shifts and scales ---- */

static struct finding kshift_check(const struct subject *s, struct probe *p, float *out, float *other)
{
	subject_run(s, p, out);
	for (size_t j = 0; j < p->shape.n_k; j++)
		for (size_t e = 0; e < p->shape.d; e++)
			p->k[j * p->ldk + e] += 0.5f - (float)(e % 3) / 4;
	subject_run(s, p, other);
	double error = probe_distance(other, out, probe_elements(p));
	if (!(error <= SLACK * subject_bound(s)))
		return finding_fails(&p->shape, "one vector added to all keys changes the result: %.2e", error);
	return finding_pass();
}

static struct finding check_kshift(const struct subject *s)
{
	if (!subject_has(s, ATTN_KSHIFT))
		return finding_none("not invariant by definition");
	return subject_each_form(s, 67, 67, 16, 24, ANY_FORM, kshift_check);
}

static void scale_rows(float *x, size_t rows, size_t cols, size_t ld, float step)
{
	for (size_t i = 0; i < rows; i++)
		for (size_t e = 0; e < cols; e++)
			x[i * ld + e] *= 0.7f + step * (float)(i % 5);
}

static struct finding homogeneous_check(const struct subject *s, struct probe *p, float *out, float *other)
{
	subject_run(s, p, out);
	if (subject_has(s, ATTN_QSCALE))
		scale_rows(p->q, p->shape.n_q, p->shape.d, p->ldq, 0.3f);
	if (subject_has(s, ATTN_KSCALE))
		scale_rows(p->k, p->shape.n_k, p->shape.d, p->ldk, 0);
	subject_run(s, p, other);
	double error = probe_distance(other, out, probe_elements(p));
	if (!(error <= SLACK * subject_bound(s)))
		return finding_fails(&p->shape, "scaling queries or keys changes the result: %.2e", error);
	return finding_pass();
}

static struct finding check_homogeneous(const struct subject *s)
{
	if (!subject_has(s, ATTN_QSCALE | ATTN_KSCALE))
		return finding_none("not invariant by definition");
	return subject_each_form(s, 67, 67, 16, 24, ANY_FORM, homogeneous_check);
}

/* ---- P9: causality ---- */

/* Tokens after t change; outputs up to t must not move, nor be touched by what
 * is now 1e6 in the future. */
static struct finding causal_check(const struct subject *s, struct probe *p, float *out, float *other)
{
	size_t n_q = p->shape.n_q, n_k = p->shape.n_k, d_v = p->shape.d_v, t = n_q / 2 + 3;
	size_t keep = t + 1 + n_k - n_q; /* keys that query t sees */

	subject_run(s, p, out);
	for (size_t j = keep; j < n_k; j++) {
		for (size_t e = 0; e < p->shape.d; e++)
			p->k[j * p->ldk + e] = 3 * (float)attn_random_normal(s->seed, 8, j * 64 + e);
		for (size_t e = 0; e < d_v; e++)
			p->v[j * p->ldv + e] = 1e6f;
	}
	for (size_t i = t + 1; i < n_q; i++)
		for (size_t e = 0; e < p->shape.d; e++)
			p->q[i * p->ldq + e] = subject_has(s, ATTN_TIED) ? p->k[(i + n_k - n_q) * p->ldk + e] : -1;
	subject_run(s, p, other);
	double error = probe_distance(other, out, (t + 1) * d_v);
	if (error == 0 || error <= subject_bound(s))
		return finding_pass();
	struct finding f = finding_fails(&p->shape, "outputs up to token %zu move by %.2e with later tokens", t, error);
	if (subject_has(s, ATTN_LEAKS)) {
		f = finding_none("which earlier keys a token sees depends on later tokens");
		f.verdict = VERDICT_LEAK;
	}
	return f;
}

static struct finding check_causal(const struct subject *s)
{
	if (!subject_has(s, ATTN_CAUSAL))
		return finding_none("has no causal form");
	struct finding f = subject_each_form(s, 67, 67, 16, 24, ATTN_CAUSAL, causal_check);
	if (f.verdict == VERDICT_PASS && subject_has(s, ATTN_CROSS))
		f = subject_each_form(s, 40, 67, 16, 24, ATTN_CAUSAL, causal_check);
	return f;
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
	double *want = calloc(probe_elements(p) + 1, sizeof *want);
	struct probe same = *p;

	(void)other;
	subject_run(s, p, out);
	same.variant = exact;
	same.arg[0] = 0;
	probe_oracle(&same, want);
	double error = probe_error(out, want, probe_elements(p));
	free(want);
	if (!(error <= SLACK * subject_bound(s)))
		return finding_fails(&p->shape, "at %s it is %.2e from exact attention", s->variant->limit, error);
	return finding_pass();
}

static struct finding check_limit(const struct subject *s)
{
	struct variant_choices choices = { 0 };
	struct subject at_limit = *s;
	char error[ERROR_MAX];
	const size_t n = 67;
	struct finding f;

	if (!s->variant->limit)
		return finding_none("states no limit");
	if (!limit_arguments(s->variant, n, &choices, error)) {
		f = finding_fail(error);
	} else {
		at_limit.arg = choices.v[0].arg;
		f = subject_each_form(&at_limit, n, n, 16, 24, ANY_FORM, limit_check);
	}
	free(choices.v);
	return f;
}

/* ---- P12, P16: other tables, other teams, the same seed ---- */

static struct finding tables_check(const struct subject *s, struct probe *p, float *out, float *other)
{
	subject_run(s, p, out);
	for (size_t ranks = 2; ranks <= 3 && subject_has(s, ATTN_PARALLEL); ranks++) {
		if (!probe_run(p, s->kern, s->teams[ranks], other))
			return finding_fails(&p->shape, "%zu threads write out of bounds", ranks);
		double error = probe_distance(other, out, probe_elements(p));
		if (!(error <= SLACK * subject_bound(s)))
			return finding_fails(&p->shape, "%zu threads differ from one by %.2e", ranks, error);
	}
	probe_run(p, attn_kern("scalar"), s->teams[1], other);
	double error = probe_distance(other, out, probe_elements(p));
	if (!(error <= SLACK * subject_bound(s)))
		return finding_fails(&p->shape, "the scalar table differs by %.2e", error);
	return finding_pass();
}

static struct finding check_tables(const struct subject *s)
{
	struct finding f = subject_each_form(s, 127, 127, 16, 24, ANY_FORM, tables_check);

	if (f.verdict != VERDICT_FAIL && subject_has(s, ATTN_CROSS))
		f = subject_each_form(s, 1, 67, 16, 24, ANY_FORM, tables_check);
	if (f.verdict != VERDICT_FAIL && subject_has(s, ATTN_CROSS))
		f = subject_each_form(s, 130, 3, 16, 24, ANY_FORM, tables_check);
	return f;
}

static struct finding seed_check(const struct subject *s, struct probe *p, float *out, float *other)
{
	struct probe again;
	const char *why;

	subject_run(s, p, out);
	probe_create(&again, s->variant, s->arg, &p->shape, 1, s->seed, &why);
	subject_run(s, &again, other);
	bool same = !memcmp(out, other, probe_elements(p) * sizeof *out);
	/* The same inputs, another seed for the variant's own objects. */
	if (s->variant->prepare)
		s->variant->prepare(&again.shape, again.arg, s->seed + 1, again.state);
	subject_run(s, &again, other);
	bool moved = memcmp(out, other, probe_elements(p) * sizeof *out) != 0;
	probe_destroy(&again);
	if (!same)
		return finding_fails(&p->shape, "the same seed gives another result");
	if (moved && !subject_has(s, ATTN_RANDOM))
		return finding_fails(&p->shape, "depends on the seed but is not flagged random");
	return finding_pass();
}

static struct finding check_seed(const struct subject *s)
{
	return subject_each_form(s, 67, 67, 16, 24, ANY_FORM, seed_check);
}

/* ---- P13: keys behind n_k are never touched ---- */

static struct finding pad_check(const struct subject *s, struct probe *p, float *out, float *other)
{
	/* The probe's arrays are surrounded by NaN: a key, a value or a padding
	 * element that is read shows in the output. */
	(void)other;
	subject_run(s, p, out);
	for (size_t i = 0; i < probe_elements(p); i++)
		if (!isfinite(out[i]))
			return finding_fails(&p->shape, "reads outside its inputs: element %zu is %g", i, (double)out[i]);
	return finding_pass();
}

static struct finding check_pad(const struct subject *s)
{
	struct finding f = subject_each_form(s, 67, 67, 19, 21, ANY_FORM, pad_check);

	if (f.verdict != VERDICT_FAIL && subject_has(s, ATTN_CROSS))
		f = subject_each_form(s, 67, 33, 19, 21, ANY_FORM, pad_check);
	return f;
}

/* ---- P14: other sequences ---- */

static struct finding batch_check(const struct subject *s, struct probe *p, float *out, float *other)
{
	struct attn_shape shape = p->shape;
	struct probe neighbour;
	const char *why;

	subject_run(s, p, out);
	if (!probe_create(&neighbour, s->variant, s->arg, &shape, 3, s->seed + 9, &why))
		return finding_none(why);
	subject_run(s, &neighbour, other);
	probe_destroy(&neighbour);
	subject_run(s, p, other);
	if (memcmp(out, other, probe_elements(p) * sizeof *out))
		return finding_fails(&p->shape, "another sequence in between changes the result");
	return finding_pass();
}

static struct finding check_batch(const struct subject *s)
{
	return subject_each_form(s, 67, 67, 16, 24, ANY_FORM, batch_check);
}

/* ---- P17: rows that see nothing ---- */

static struct finding empty_check(const struct subject *s, struct probe *p, float *out, float *other)
{
	size_t n_k = p->shape.n_k, empty = p->shape.causal && p->shape.n_q > n_k ? p->shape.n_q - n_k : 0;

	(void)other;
	if (n_k == 0)
		empty = p->shape.n_q;
	subject_run(s, p, out);
	for (size_t i = 0; i < empty * p->shape.d_v; i++)
		if (out[i] != 0)
			return finding_fails(&p->shape, "row %zu sees no key and is not zero", i / p->shape.d_v);
	for (size_t i = 0; subject_has(s, ATTN_LSE) && i < empty; i++)
		if (p->lse[i] != -INFINITY)
			return finding_fails(&p->shape, "row %zu sees no key and its lse is %g", i, (double)p->lse[i]);
	for (size_t i = 0; i < probe_elements(p); i++)
		if (!isfinite(out[i]))
			return finding_fails(&p->shape, "element %zu is %g", i, (double)out[i]);
	return finding_pass();
}

static struct finding check_empty(const struct subject *s)
{
	if (!subject_has(s, ATTN_CROSS))
		return finding_none("n_q = n_k: every row sees a key");
	struct finding f = subject_each_form(s, 40, 7, 16, 24, ANY_FORM, empty_check);
	return f.verdict == VERDICT_FAIL ? f : subject_each_form(s, 5, 0, 16, 24, ANY_FORM, empty_check);
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
	{ "P10", "decode equals forward", property_decode },
	{ "P11", "exact in its limit", check_limit },
	{ "P12", "same on any table and team", check_tables },
	{ "P13", "never touches padding", check_pad },
	{ "P14", "sequences are independent", check_batch },
	{ "P15", "grouped heads", property_grouped },
	{ "P16", "the seed decides", check_seed },
	{ "P17", "empty rows are zero", check_empty },
	{ "P18", "half precision", check_types },
	{ "P19", "padded and packed batches", property_ragged },
	{ NULL, NULL, NULL },
};
