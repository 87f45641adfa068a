/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What plans declare, held to what calls do: every variant, with its defaults
 * and with the arguments that it names for tests, in each form.
 *
 *     pairs           counted by the kernel; and the weights that it gives are those
 *                     of the definition, so that none falls back to another pattern
 *     flops_executed  counted where the matrix work is done
 *     n_exp           one a pair where weights are a softmax over the pairs
 *     state, shared, scratch   most of it is written; what lies behind never is
 *                     (P0 of test_variants.c) */
#include "head.h"

#include "../attention/kernels/kern.h"

static const double TIGHT = 0.02;    /* of declared FLOP, where data do not matter */
static const double EXPECTED = 0.35; /* where they do: the plan is an expectation */

static const double LEAST = 0.2;     /* of the declared bytes that a call writes */

enum { LONG = 512, SHORT = 130 };

typedef void check_fn(struct head *h, const char *what);

static bool is_family(const struct head *h, const char *names)
{
	return strstr(names, h->variant->family) != NULL;
}

/* A head whose output is the matrix of its weights, where it has one. False: it
 * refuses these arguments in this form. */
static bool head_of_weights(const char *name, const char *args, size_t n, bool causal, struct head *h)
{
	const struct attn_variant *v = attn_find(name);
	struct attn_shape s = { .n_q = n, .n_k = n, .d = 16, .d_v = n, .causal = causal,
		                .scale = attn_default_scale(16), .heads = 1, .type = ATTN_F32 };
	double arg[ATTN_MAX_PARAMS];
	struct attn_plan plan;

	arguments(v, args, arg);
	if (v->resolve)
		v->resolve(&s, arg);
	bool square = !v->plan(&s, arg, 1, &plan);
	s.d_v = 16;
	if (!square && v->plan(&s, arg, 1, &plan))
		return false;
	*h = head_of(name, args, n, n, 16, square ? n : 16, causal, 1);
	if (v->flags & ATTN_TIED)
		memcpy(h->k, h->q, n * 16 * sizeof *h->k);
	for (size_t i = 0; square && i < n * n; i++) /* aft has d_v = d only */
		h->v[i] = i % (n + 1) == 0;
	return true;
}

static void each(const struct attn_variant *v, size_t n, check_fn *check)
{
	char what[128];

	for (int causal = 0; causal < 2; causal++) {
		if (!(v->flags & (causal ? ATTN_CAUSAL : ATTN_BIDIRECTIONAL)))
			continue;
		for (size_t c = 0; c == 0 || (v->cases && v->cases[c - 1]); c++) {
			const char *args = c ? v->cases[c - 1] : "";
			struct head h;
			if (!head_of_weights(v->name, args, c ? SHORT : n, causal, &h))
				continue;
			snprintf(what, sizeof what, "%s:%s n = %zu causal %d", v->name, args, h.shape.n_q, causal);
			run(&h);
			check(&h, what);
			head_free(&h);
		}
	}
}

static void walk(size_t n, check_fn *check)
{
	for (size_t i = 0; attn_variants[i]; i++)
		each(attn_variants[i], n, check);
}

/* ---- pairs ---- */

/* Where the definition gives no weight, the kernel gives none. */
static void weights_check(struct head *h, const char *what)
{
	const struct attn_shape *s = &h->shape;
	double *want = definition(h, h->variant), bound = 0;

	for (size_t i = 0; i < elements(h); i++) /* fnet's are of size n^1/2 */
		bound = fmax(bound, fabs(want[i]) * (double)attn_bound(h->variant, h->arg, ATTN_F32));
	for (size_t i = 0; s->d_v == s->n_k && i < elements(h); i++)
		if (want[i] == 0 && !(fabs((double)h->out[i]) <= bound))
			fail_msg("%s: weight (%zu, %zu) is %.3g, by definition 0", what, i / s->d_v, i % s->d_v,
			         (double)h->out[i]);
	free(want);
}

static void test_no_other_weights(void **state)
{
	(void)state;
	walk(SHORT, weights_check);
}

/* Keys that a query gives weight are as many as the kernel counts: exactly, where a
 * variant is one softmax over a set; a pair may be in several branches or clusters. */
static void pairs_check(struct head *h, const char *what)
{
	double support = 0, counted = h->stats.pairs, declared = h->plan.pairs;
	bool several = !strcmp(h->variant->name, "nsa") || is_family(h, "clustering") || strstr(what, "dedup=0");

	for (size_t i = 0; i < elements(h); i++)
		support += h->out[i] != 0;
	if (is_family(h, "exact sparse hashing") || !strcmp(h->variant->name, "routing")) {
		assert_true(counted > 0);
		if (several ? counted < support && strcmp(h->variant->name, "nsa") : counted != support)
			fail_msg("%s: counts %.0f pairs, weighs %.0f", what, counted, support);
	}
	assert_below(counted / declared, 1 + EXPECTED, what);
	assert_true(declared > 0);
}

static void test_pairs(void **state)
{
	(void)state;
	walk(SHORT, pairs_check);
}

/* At a length well beyond its pattern a sparse variant counts few pairs. */
static void test_sparse_is_sparse(void **state)
{
	static const char *const sparse[][2] = {
		{ "sliding-window", "left=16:right=16" }, { "block-local", "b=32" },   { "dilated-window", "w=32" },
		{ "sparse-strided", "l=0" },              { "sparse-fixed", "l=0:c=4" }, { "longformer", "w=32" },
		{ "bigbird", "b=16" },                    { "sink-window", "w=32" },   { "moba", "b=16:k=2" },
		{ "nsa", "l=8:st=4:block=8:ns=4:w=16" },  { "topk", "k=16" },          { "lsh", "chunk=16:rounds=2" },
		{ "routing", "" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof sparse / sizeof *sparse; i++) {
		bool causal = !(attn_find(sparse[i][0])->flags & ATTN_BIDIRECTIONAL);
		struct head h;
		assert_true(head_of_weights(sparse[i][0], sparse[i][1], LONG, causal, &h));
		run(&h);
		double all = causal ? LONG * (LONG + 1) / 2.0 : (double)LONG * LONG;
		assert_below(h.stats.pairs / all, 0.45, sparse[i][0]);
		head_free(&h);
	}
}

/* ---- FLOP and exponentials ---- */

/* Do the counts move with the inputs? */
static bool depends_on_data(struct head *h)
{
	double before = h->stats.flops_executed, pairs = h->stats.pairs;

	for (size_t i = 0; i < h->shape.n_q * h->shape.d; i++)
		h->q[i] = (float)attn_random_normal(99, 1, i);
	for (size_t i = 0; i < h->shape.n_k * h->shape.d; i++)
		h->k[i] = (h->variant->flags & ATTN_TIED) ? h->q[i] : (float)attn_random_normal(99, 2, i);
	run(h);
	return h->stats.flops_executed != before || h->stats.pairs != pairs;
}

/* A plan counts whole tiles of the widest table. */
static void flops_check(struct head *h, const char *what)
{
	double counted = h->stats.flops_executed, declared = h->plan.flops_executed, useful = h->plan.flops_useful;

	if (!strcmp(h->variant->name, "null")) {
		assert_true(counted == 0 && declared == 0);
		return;
	}
	assert_true(counted > 0 && useful > 0);
	bool expected = depends_on_data(h);
	double slack = expected ? EXPECTED : TIGHT;
	if (h->shape.n_q < LONG && (expected || is_family(h, "hashing clustering")))
		return; /* tiles of few queries: the expectation is for many */
	if (h->shape.n_q < LONG)
		slack *= 10; /* corners of a pattern that a formula leaves out */
	assert_below(counted / declared, 1 + slack, what);
	if (attn_kern_best()->lanes == KERN_MAX_LANES && h->shape.n_q >= LONG) /* strong gates make short chunks */
		assert_below(declared / counted, 1 + slack, what);
	assert_below(useful / declared, 1 + slack, what);
}

static void test_flops(void **state)
{
	(void)state;
	walk(LONG, flops_check);
}

static void exp_check(struct head *h, const char *what)
{
	double each = h->plan.n_exp / h->plan.pairs;

	if (is_family(h, "exact sparse hashing") && strcmp(h->variant->name, "nsa"))
		assert_between(each, 1, 1.5, what);
	assert_true(h->plan.n_exp >= 0);
}

static void test_exponentials(void **state)
{
	(void)state;
	walk(SHORT, exp_check);
}

/* ---- bytes ---- */

/* Lines of 64 bytes that a call wrote, of memory that was all ones before. */
static size_t written(const unsigned char *x, size_t bytes)
{
	size_t lines = 0;

	for (size_t at = 0; at < bytes; at += 64) {
		bool touched = false;
		for (size_t k = at; k < bytes && k < at + 64; k++)
			touched |= x[k] != 0xff;
		lines += touched;
	}
	return lines;
}

static void bytes_check(struct head *h, const char *what)
{
	const struct attn_shape *s = &h->shape;
	struct attn_team alone = { .size = 1 };
	struct attn_call call = { .shape = s, .arg = h->arg, .kern = attn_kern_best(), .state = h->state,
		                  .q = h->q, .k = h->k, .v = h->v, .out = h->out, .ldq = s->d, .ldk = s->d,
		                  .ldv = s->d_v, .ldo = s->d_v, .stats = &h->stats };
	size_t bytes = h->plan.shared + h->plan.scratch;

	call.shared = take(h->plan.shared);
	call.scratch = take(h->plan.scratch);
	memset(call.shared, 0xff, h->plan.shared);
	memset(call.scratch, 0xff, h->plan.scratch);
	h->variant->forward(&call, &alone);
	double share = 64 * (double)(written(call.shared, h->plan.shared) + written(call.scratch, h->plan.scratch)) /
	               (double)(bytes + 1);
	free(call.shared);
	free(call.scratch);
	if (s->n_q >= LONG && bytes > 0 && share < LEAST)
		fail_msg("%s: writes %.0f %% of the %zu bytes that it declares", what, 100 * share, bytes);
}

static void test_bytes(void **state)
{
	(void)state;
	walk(LONG, bytes_check);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_no_other_weights),
		cmocka_unit_test(test_pairs),
		cmocka_unit_test(test_sparse_is_sparse),
		cmocka_unit_test(test_flops),
		cmocka_unit_test(test_exponentials),
		cmocka_unit_test(test_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
