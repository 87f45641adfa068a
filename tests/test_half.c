/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Half precision. Conversions on every kernel table, over every pattern and every
 * halfway case; the tiles on bf16 against double; and what goes wrong where sums,
 * masks or scores are kept in half precision. */
#include "../attention/attn.h"
#include "../attention/kernels/kern.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { PATTERNS = 65536 };

/* What tells the two formats apart. */
struct format {
	enum attn_type type;
	int fraction, bias; /* bits of the fraction; of the exponent's excess */
	uint16_t infinity;
};

static const struct format formats[] = {
	{ ATTN_BF16, 7, 127, 0x7f80 },
	{ ATTN_F16, 10, 15, 0x7c00 },
};

struct table {
	const struct kern *kern;
	const struct format *format;
};

/* The value of a pattern, by the definition of the format. */
static double value_of(const struct format *f, uint16_t x)
{
	int exponent = (x & 0x7fff) >> f->fraction;
	double fraction = ldexp(x & ((1 << f->fraction) - 1), -f->fraction), sign = x & 0x8000 ? -1 : 1;

	if ((x & 0x7fff) >= f->infinity)
		return (x & 0x7fff) > f->infinity ? NAN : sign * INFINITY;
	return sign * (exponent ? ldexp(1 + fraction, exponent - f->bias) : ldexp(fraction, 1 - f->bias));
}

static uint16_t narrow_one(const struct table *t, float x)
{
	uint16_t y;

	attn_narrow(t->kern, t->format->type, &y, &x, 1);
	return y;
}

static void test_patterns(void **state)
{
	const struct table *t = *state;
	uint16_t *x = malloc(PATTERNS * sizeof *x), *back = malloc(PATTERNS * sizeof *back);
	float *y = malloc(PATTERNS * sizeof *y);

	for (size_t i = 0; i < PATTERNS; i++)
		x[i] = (uint16_t)i;
	attn_widen(t->kern, t->format->type, y, x, PATTERNS);
	attn_narrow(t->kern, t->format->type, back, y, PATTERNS);
	for (size_t i = 0; i < PATTERNS; i++) {
		double want = value_of(t->format, x[i]);
		if (isnan(want)) {
			/* Quiet, of the same sign, the same payload. */
			assert_true(isnan(y[i]));
			assert_int_equal(back[i], x[i] | 1 << (t->format->fraction - 1));
			continue;
		}
		assert_true((double)y[i] == want && !signbit(y[i]) == !(x[i] & 0x8000));
		if (back[i] != x[i])
			fail_msg("%04zx is %g, and that is %04x again", i, want, back[i]);
	}
	free(x);
	free(y);
	free(back);
}

/* Between two neighbours: the middle goes to the even one, a bit less down, a bit
 * more up. The neighbour of the largest is infinity, as if it were one step on. */
static void test_halfway(void **state)
{
	const struct table *t = *state;
	const struct format *f = t->format;

	for (uint16_t x = 0; x < f->infinity; x++) {
		double low = value_of(f, x), step = low - value_of(f, x ? (uint16_t)(x - 1) : 1);
		double high = x + 1 == f->infinity ? low + step : value_of(f, (uint16_t)(x + 1));
		float middle = (float)((low + high) / 2);
		uint16_t even = x & 1 ? (uint16_t)(x + 1) : x, up = (uint16_t)(x + 1);
		if ((double)middle != (low + high) / 2)
			continue; /* no f32: below its smallest subnormal */
		uint16_t got = narrow_one(t, middle);
		if (got != even)
			fail_msg("%g, halfway between %04x and %04x, is %04x", (double)middle, x, up, got);
		assert_int_equal(narrow_one(t, -middle), even | 0x8000);
		assert_int_equal(narrow_one(t, nextafterf(middle, 0)), x);
		assert_int_equal(narrow_one(t, nextafterf(middle, INFINITY)), up);
	}
	assert_int_equal(narrow_one(t, INFINITY), f->infinity);
	assert_int_equal(narrow_one(t, -INFINITY), f->infinity | 0x8000);
	if (f->type == ATTN_F16) {
		assert_int_equal(narrow_one(t, 65519.996f), 0x7bff);
		assert_int_equal(narrow_one(t, 65520), 0x7c00);
		assert_int_equal(narrow_one(t, 1e9f), 0x7c00);
		assert_int_equal(narrow_one(t, 0x1p-25f), 0);
		assert_int_equal(narrow_one(t, 0x1.000002p-25f), 1);
	}
}

/* Every length has its tail, every start its alignment, and nothing else is touched. */
static void test_lengths(void **state)
{
	const struct table *t = *state;
	enum { MAX = 131, CANARY = 0x1234 };
	float x[MAX + 8], y[MAX + 8];
	uint16_t half[MAX + 8];

	for (size_t n = 0; n < MAX; n++) {
		for (size_t offset = 0; offset < 3; offset++) {
			for (size_t i = 0; i < MAX + 8; i++) {
				x[i] = (float)attn_random_normal(n, offset, i);
				y[i] = CANARY;
				half[i] = CANARY;
			}
			attn_narrow(t->kern, t->format->type, half + offset, x + 2 - offset, n);
			attn_widen(t->kern, t->format->type, y + 1, half + offset, n);
			for (size_t i = 0; i < n; i++) {
				uint16_t want = narrow_one(t, x[2 - offset + i]);
				assert_int_equal(half[offset + i], want);
				assert_true((double)y[1 + i] == value_of(t->format, want));
			}
			assert_true(y[0] == CANARY && y[n + 1] == CANARY && half[offset + n] == CANARY);
		}
	}
}

static void test_flush(void **state)
{
	(void)state;
	attn_flush_subnormals();
}

/* ---- the tiles on bf16 ---- */

enum { STEP = 10 };

/* One tile of `rows` queries over n keys; logits of order 1. */
static void check_tile(const struct kern *kern, size_t rows, size_t n, size_t d, size_t d_v, bool masked)
{
	size_t lanes = kern->lanes, ldq = d + 1, ldk = d + 3, ldv = d_v + 1, ldo = d_v + 2;
	float *x = malloc((rows * ldq + n * (ldk + ldv)) * sizeof *x), *k = x + rows * ldq, *v = k + n * ldk;
	uint16_t *half = malloc((rows * ldq + n * (ldk + ldv)) * sizeof *half);
	uint32_t *pairs = malloc((STEP / 2 + 1) * d_v * sizeof *pairs);
	float *work = aligned_alloc(64, (d + 1 + d_v + 2 + kern->block + 16) * lanes * sizeof *work);
	float *out = malloc(rows * ldo * sizeof *out), lse[KERN_MAX_LANES];
	float factor = KERN_LOG2E / sqrtf((float)d);
	int32_t hi[KERN_MAX_LANES], lo[KERN_MAX_LANES];

	for (size_t i = 0; i < rows * ldq + n * (ldk + ldv); i++)
		x[i] = (float)attn_random_normal(d * 1000 + n, d_v, i);
	kern->to_bf16(half, x, rows * ldq + n * (ldk + ldv));
	kern->from_bf16(x, half, rows * ldq + n * (ldk + ldv));
	struct kern_tile t = { .d = d, .d_v = d_v, .turns = 1, .q = work };
	t.acc = t.q + (d + 1) * lanes;
	t.max = t.acc + d_v * lanes;
	t.sum = t.max + lanes;
	t.p = t.sum + lanes;
	kern->bf16->load(&t, half, ldq, rows);
	for (size_t j = 0; j < n; j += STEP) {
		size_t count = n - j < STEP ? n - j : STEP;
		const uint16_t *hk = half + rows * ldq + j * ldk, *hv = half + rows * ldq + n * ldk + j * ldv;
		for (size_t r = 0; r < lanes; r++) {
			lo[r] = (int32_t)(r % 3) - (int32_t)j;
			hi[r] = (int32_t)(n - r % 2) - (int32_t)j;
		}
		struct kern_mask mask = { lo, hi, NULL };
		kern->bf16->pack(pairs, hv, ldv, count, d_v);
		kern->bf16->step(&t, hk, ldk, pairs, d_v, count, factor, masked ? &mask : NULL, NULL);
	}
	kern->tile_store(&t, out, ldo, lse, rows);
	for (size_t r = 0; r < rows; r++) {
		double sum = 0, *p = calloc(n, sizeof *p);
		for (size_t j = masked ? r % 3 : 0; j < n - (masked ? r % 2 : 0); j++) {
			double dot = 0;
			for (size_t e = 0; e < d; e++)
				dot += (double)x[r * ldq + e] * (double)k[j * ldk + e];
			sum += p[j] = exp(dot * (double)factor / (double)KERN_LOG2E);
		}
		for (size_t e = 0; e < d_v; e++) {
			double want = 0, size = 0;
			for (size_t j = 0; sum > 0 && j < n; j++) {
				want += p[j] / sum * (double)v[j * ldv + e];
				size += p[j] / sum * fabs((double)v[j * ldv + e]);
			}
			/* A weight is rounded to 8 bits, by up to 2^-8 of it; f32 does the rest. */
			if (!(fabs((double)out[r * ldo + e] - want) <= 0x1.01p-8 * size + 1e-6))
				fail_msg("rows %zu n %zu d %zu d_v %zu masked %d: row %zu channel %zu is %g, not %g", rows, n,
				         d, d_v, masked, r, e, (double)out[r * ldo + e], want);
		}
		if (sum > 0) /* scores and their sum are f32 */
			assert_true(fabs((double)lse[r] - log(sum)) < 1e-5);
		else
			assert_true(lse[r] == -INFINITY);
		free(p);
	}
	free(x);
	free(half);
	free(pairs);
	free(work);
	free(out);
}

static void test_tile(void **state)
{
	const struct table *t = *state;
	static const size_t dims[] = { 1, 2, 3, 15, 16, 17, 32, 37, 64, 67, 128 };

	if (!t->kern->bf16)
		skip();
	for (size_t a = 0; a < 11; a++)
		for (size_t n = 1; n <= 47; n += 1 + n / 3)
			check_tile(t->kern, 1 + (a * 5 + n) % t->kern->lanes, n, dims[a], dims[(a * 7 + n) % 11], n % 2);
}

/* ---- what goes wrong where half precision is kept ---- */

/* ones are added until nothing changes: at 2^(fraction + 1) the step is 2. */
static void test_stall(void **state)
{
	const struct table *t = *state;
	float sum = 0, last = -1;
	uint16_t half;

	while (sum != last) {
		last = sum;
		half = narrow_one(t, sum + 1);
		attn_widen(t->kern, t->format->type, &sum, &half, 1);
	}
	assert_true(sum == ldexpf(1, t->format->fraction + 1));
	/* 16384 terms of mean 1 */
	double want = 0;
	sum = 0;
	for (size_t i = 0; i < 16384; i++) {
		float term = (float)(0.5 + attn_random_uniform(1, 2, i));
		want += (double)term;
		half = narrow_one(t, sum + term);
		attn_widen(t->kern, t->format->type, &sum, &half, 1);
	}
	assert_true(want > 16000 && sum == (t->format->type == ATTN_BF16 ? 512 : 4096));
}

/* A large negative number instead of a mask is no number at all in f16, and a
 * coarse one in both; and a product of f16 overflows before it is scaled. */
static void test_constants(void **state)
{
	const struct table *t = *state;
	bool f16 = t->format->type == ATTN_F16;
	float spacing[2];
	uint16_t half = narrow_one(t, -1e4f), pair[2] = { half, (uint16_t)(half + 1) };

	assert_int_equal(narrow_one(t, -1e9f) == 0xfc00, f16);
	attn_widen(t->kern, t->format->type, spacing, pair, 2);
	assert_true(spacing[0] - spacing[1] == (f16 ? 8 : 64));
	assert_int_equal(narrow_one(t, 64 * 32.0f * 32.0f) == 0x7c00, f16);
}

/* ---- the studies of roundings ---- */

/* err_impl of a study on n normal queries, keys and values of 64 channels. */
static double study(const char *name, const double *arg, size_t n, bool causal)
{
	const struct attn_variant *v = attn_find(name);
	struct attn_shape s = { .n_q = n, .n_k = n, .d = 64, .d_v = 64, .causal = causal,
		                .scale = attn_default_scale(64), .heads = 1, .type = ATTN_F32 };
	size_t floats = n * 64, rows[16];
	float *x = malloc(4 * floats * sizeof *x);
	double *wide = malloc(3 * floats * sizeof *wide), want[16 * 64], error = 0, size = 0;
	struct attn_plan plan = { 0 };
	struct attn_team alone = { .size = 1 };

	assert_null(attn_plan(v, &s, arg, 1, &plan));
	attn_random_normals(5, 6, 0, 3 * floats, x);
	struct attn_call call = { .shape = &s, .arg = arg, .kern = attn_kern_best(), .q = x, .k = x + floats,
		                  .v = x + 2 * floats, .out = x + 3 * floats, .ldq = 64, .ldk = 64, .ldv = 64,
		                  .ldo = 64, .shared = aligned_alloc(64, plan.shared + 64),
		                  .scratch = aligned_alloc(64, plan.scratch + 64) };
	attn_forward(v, &call, &alone);
	for (size_t i = 0; i < 3 * floats; i++)
		wide[i] = (double)x[i];
	for (size_t r = 0; r < 16; r++)
		rows[r] = n - 1 - r * (n / 16);
	/* The definitions, written out. */
	for (size_t r = 0; r < 16; r++) {
		double sum = 0, *out = want + r * 64;
		const double *q = wide + rows[r] * 64;
		memset(out, 0, 64 * sizeof *out);
		for (size_t j = 0; j < (causal ? rows[r] + 1 : n); j++) {
			const double *k = wide + floats + j * 64;
			double w = 0;
			for (size_t e = 0; e < 64; e++)
				w += strstr(name, "linear") ? (q[e] > 0 ? q[e] + 1 : exp(q[e])) * (k[e] > 0 ? k[e] + 1 : exp(k[e]))
				                            : q[e] * k[e] / 8;
			w = strstr(name, "linear") ? w : exp(w);
			sum += w;
			for (size_t e = 0; e < 64; e++)
				out[e] += w * wide[2 * floats + j * 64 + e];
		}
		for (size_t e = 0; e < 64; e++) {
			double off = (double)x[3 * floats + rows[r] * 64 + e] - out[e] / sum;
			error += off * off;
			size += out[e] / sum * out[e] / sum;
		}
	}
	free(call.shared);
	free(call.scratch);
	free(x);
	free(wide);
	return sqrt(error / size);
}

/* n = 1024, d = 64, logits of order 1: what each place costs, within 30 %. */
static void test_places(void **state)
{
	static const struct {
		double arg[5]; /* format, inputs, scores, weights, sums */
		double want;
	} places[] = {
		{ { ATTN_F16, 1, 0, 0, 0 }, 3.8e-4 }, { { ATTN_BF16, 1, 0, 0, 0 }, 3.1e-3 },
		{ { ATTN_F16, 1, 1, 0, 0 }, 6.2e-4 }, { { ATTN_BF16, 1, 1, 0, 0 }, 5.0e-3 },
		{ { ATTN_F16, 1, 0, 1, 0 }, 4.3e-4 }, { { ATTN_BF16, 1, 0, 1, 0 }, 3.5e-3 },
		{ { ATTN_F16, 0, 0, 0, 1 }, 7.9e-3 }, { { ATTN_BF16, 0, 0, 0, 1 }, 0.37 },
		{ { ATTN_F32, 0, 0, 0, 1 }, 5e-7 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
		double got = study("emulated-softmax", places[i].arg, 1024, false);
		if (!(got > 0.7 * places[i].want && got < 1.3 * places[i].want))
			fail_msg("place %zu: %.2e, not %.2e within 30 %%", i, got, places[i].want);
	}
}

/* The state of linear attention in f32 keeps its accuracy over any length; in
 * half precision it stops growing, and the result is of another scale. */
static void test_state(void **state)
{
	const double f32[] = { 0, ATTN_F32, 0, 1 }, bf16[] = { 0, ATTN_BF16, 0, 1 }, exact[] = { 0, ATTN_F32, 0, 0 };

	(void)state;
	assert_true(study("emulated-linear", exact, 4096, true) < 1e-7);
	assert_true(study("emulated-linear", f32, 4096, true) < 1e-6);
	assert_true(study("emulated-linear", bf16, 256, true) < 0.02);
	assert_true(study("emulated-linear", bf16, 4096, true) > 0.2);
}

int main(void)
{
	static const struct {
		const char *name;
		CMUnitTestFunction run;
	} walk[] = {
		{ "patterns", test_patterns }, { "halfway", test_halfway },     { "lengths", test_lengths },
		{ "stall", test_stall },       { "constants", test_constants }, { "tile", test_tile },
	};
	enum { WALK = sizeof walk / sizeof *walk, MOST = 8 * 2 * WALK + 3 };
	struct CMUnitTest tests[MOST];
	static struct table tables[MOST];
	static char names[MOST][64];
	size_t n = 0;

	for (size_t f = 0; f < 2; f++) {
		/* As in every timed call. Subnormals of f16 are normal in f32: not flushed. */
		if (formats[f].type == ATTN_F16)
			tests[n++] = (struct CMUnitTest){ .name = "flush subnormals", .test_func = test_flush };
		for (const char *const *isa = attn_isa_names(); *isa; isa++) {
			for (size_t i = 0; attn_kern(*isa) && i < WALK; i++) {
				if (walk[i].run == test_tile && (f || !attn_kern(*isa)->bf16))
					continue;
				tables[n] = (struct table){ attn_kern(*isa), &formats[f] };
				snprintf(names[n], sizeof names[n], "%s %s: %s", *isa, f ? "f16" : "bf16", walk[i].name);
				tests[n] = (struct CMUnitTest){ .name = names[n], .test_func = walk[i].run,
					                        .initial_state = &tables[n] };
				n++;
			}
		}
	}
	tests[n++] = (struct CMUnitTest){ .name = "places", .test_func = test_places };
	tests[n++] = (struct CMUnitTest){ .name = "state", .test_func = test_state };
	return _cmocka_run_group_tests("half precision", tests, n, NULL, NULL);
}
