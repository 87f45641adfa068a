/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Tasks: exact attention finds every answer in every shape, what cannot see it
 * guesses, and where tokens are is what the parameters say.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../attention/attn.h"
#include "../datasets/data.h"
#include "../datasets/task.h"

enum { SEED = 20240607 };

struct problem {
	struct data data;
	struct data_shape shape;
	uint64_t seed;
	size_t head;
	float *q, *k, *v, *out;
};

static struct problem make(const char *spec, size_t n_q, size_t n_k, size_t d, size_t d_v, uint64_t seed, size_t head)
{
	struct problem p = { .shape = { 1, head + 1, n_q, n_k, d, d_v }, .seed = seed, .head = head };
	char error[DATA_ERROR_MAX] = "";

	p.q = malloc(n_q * d * sizeof(float));
	p.k = malloc(n_k * d * sizeof(float));
	p.v = malloc(n_k * d_v * sizeof(float));
	p.out = calloc(n_q * d_v, sizeof(float));
	assert_true(p.q && p.k && p.v && p.out);
	if (!data_parse(spec, &p.data, error) || !data_check(&p.data, &p.shape, error) ||
	    !data_fill(&p.data, &p.shape, seed, 0, head, p.q, p.k, p.v, error))
		fail_msg("%s: %s", spec, error);
	assert_true(p.data.kind->task);
	return p;
}

static void release(struct problem *p)
{
	free(p->q);
	free(p->k);
	free(p->v);
	free(p->out);
}

static struct data_score score(const struct problem *p)
{
	char error[DATA_ERROR_MAX];
	struct data_score s;

	assert_true(data_score(&p->data, &p->shape, p->seed, 0, p->head, p->out, &s, error));
	return s;
}

/* Softmax attention in double into p->out; query i sees keys first(i) .. last(i)
 * by a window of `left` keys before its own, and of those after it none if
 * causal. k NULL: the task's own keys. */
static void attend(struct problem *p, const float *k, bool causal, size_t left)
{
	size_t n_q = p->shape.n_q, n_k = p->shape.n_k, d = p->shape.d, d_v = p->shape.d_v;
	double *w = malloc((n_k + 1) * sizeof(*w));

	assert_non_null(w);
	k = k ? k : p->k;
	for (size_t i = 0; i < n_q; i++) {
		size_t own = i + n_k - n_q, last = causal ? own + 1 : n_k, first = own > left ? own - left : 0;
		double top = -INFINITY, sum = 0;

		for (size_t j = first; j < last; j++) {
			w[j] = 0;
			for (size_t c = 0; c < d; c++)
				w[j] += (double)p->q[i * d + c] * (double)k[j * d + c] / sqrt((double)d);
			top = fmax(top, w[j]);
		}
		for (size_t j = first; j < last; j++)
			sum += w[j] = exp(w[j] - top);
		for (size_t c = 0; c < d_v; c++) {
			double x = 0;

			for (size_t j = first; j < last; j++)
				x += w[j] / sum * (double)p->v[j * d_v + c];
			p->out[i * d_v + c] = (float)x;
		}
	}
	free(w);
}

static const size_t everything = SIZE_MAX / 2;

static void exact_attention_knows(void **state)
{
	static const struct {
		const char *spec;
		size_t n_q, n_k, d, d_v, answers;
	} cases[] = {
		{ "mqar", 160, 160, 64, 64, 64 },
		{ "mqar:pairs=500:classes=31", 700, 700, 64, 32, 64 },
		{ "mqar:pairs=300:queries=100:gap=0:classes=15", 400, 400, 16, 16, 100 },
		{ "mqar:pairs=1:queries=1:gap=5", 20, 20, 128, 64, 1 },
		{ "mqar:pairs=64:queries=8", 8, 300, 32, 17, 8 }, /* a step of decoding */
		{ "mqar:pairs=20:queries=8:gap=8", 100, 40, 32, 17, 8 }, /* more queries than keys */
		{ "induction", 192, 192, 64, 64, 64 },
		{ "induction:span=100:distance=250:classes=2", 400, 400, 16, 8, 100 },
		{ "haystack", 600, 600, 64, 64, 16 },
		{ "haystack:depth=0", 600, 600, 32, 64, 16 },
		{ "haystack:depth=1:needles=5:classes=7", 1000, 1000, 16, 8, 5 },
		{ "majority", 200, 200, 64, 64, 16 },
		{ "majority:groups=7:members=31:share=0.51:classes=5", 300, 300, 16, 8, 7 },
		{ "majority:groups=3:members=1", 50, 50, 24, 24, 3 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		for (uint64_t seed = 1; seed <= 3; seed++)
			for (int causal = 0; causal < (cases[i].n_q <= cases[i].n_k ? 2 : 1); causal++) {
				struct problem p = make(cases[i].spec, cases[i].n_q, cases[i].n_k, cases[i].d, cases[i].d_v, seed,
				                        (size_t)seed);
				struct data_score s;

				attend(&p, NULL, causal, everything);
				s = score(&p);
				assert_int_equal(s.total, cases[i].answers);
				if (s.correct != s.total)
					fail_msg("%s, seed %d: %zu of %zu", cases[i].spec, (int)seed, s.correct, s.total);
				/* Only the direction of the output counts. */
				for (size_t x = 0; x < p.shape.n_q * p.shape.d_v; x++)
					p.out[x] *= 1e-3f;
				assert_int_equal(score(&p).correct, s.total);
				release(&p);
			}
}

/* Variants that take their keys from the queries find the answers too: but for
 * its own token, a query is like no key but the one it asks for. */
static void keys_from_queries(void **state)
{
	static const char *const specs[] = { "mqar:pairs=40:queries=20", "induction:span=40:distance=60", "haystack" };

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		struct problem p = make(specs[i], 200, 200, 64, 64, SEED, 0);
		size_t n = 200, d = 64;

		for (size_t t = 0; t < n - score(&p).total; t++)
			assert_memory_equal(p.q + t * d, p.k + t * d, d * sizeof(float));
		attend(&p, p.q, true, everything);
		assert_int_equal(score(&p).correct, score(&p).total);
		release(&p);
	}
}

static double share(const char *spec, size_t left, size_t heads)
{
	double correct = 0, total = 0;

	for (size_t head = 0; head < heads; head++) {
		struct problem p = make(spec, 512, 512, 64, 64, SEED, head);
		struct data_score s;

		attend(&p, NULL, true, left);
		s = score(&p);
		correct += (double)s.correct;
		total += (double)s.total;
		release(&p);
	}
	return correct / total;
}

/* A window that ends before the answers guesses, one that holds them knows. */
static void windows(void **state)
{
	double chance = 1.0 / 16, error = sqrt(chance * (1 - chance) / (8 * 64.0));

	(void)state;
	/* The last pair is 101 tokens before the first query, the first pair 32
	 * and 63 more before the last one. */
	assert_true(fabs(share("mqar:gap=100", 100, 8) - chance) < 5 * error);
	assert_true(share("mqar:gap=100", 100 + 64 + 32, 8) == 1);
	assert_true(fabs(share("induction:distance=200", 199, 8) - chance) < 5 * error);
	assert_true(share("induction:distance=200", 200, 8) == 1);
	/* The first token but 16 ends 512 - 16 before the first query. */
	assert_true(share("haystack:depth=0", 512 - 17, 8) < 0.9);
	assert_true(share("haystack:depth=0", 512 - 16, 8) == 1);
	assert_true(share("haystack:depth=1", 16, 8) == 1);
}

/* The chance of a guess, and what an output of zeros and one of noise score. */
static void guesses(void **state)
{
	double noise = 0, zeros = 0, total = 0;

	(void)state;
	for (size_t head = 0; head < 32; head++) {
		struct problem p = make("mqar:pairs=256:classes=8", 512, 512, 64, 64, SEED, head);
		struct data_score s = score(&p);

		assert_true(s.chance == 0.125);
		zeros += (double)s.correct;
		for (size_t i = 0; i < 512 * 64; i++)
			p.out[i] = (float)attn_random_normal(7, head, i);
		noise += (double)score(&p).correct;
		total += (double)s.total;
		release(&p);
	}
	assert_true(fabs(zeros / total - 0.125) < 5 * sqrt(0.125 * 0.875 / total));
	assert_true(fabs(noise / total - 0.125) < 5 * sqrt(0.125 * 0.875 / total));
}

/* One right key a query; another seed or head asks something else. */
static void answers_differ(void **state)
{
	struct problem p = make("mqar", 256, 256, 64, 64, SEED, 0);
	struct problem others[] = { make("mqar", 256, 256, 64, 64, SEED + 1, 0), make("mqar", 256, 256, 64, 64, SEED, 1) };

	(void)state;
	attend(&p, NULL, true, everything);
	for (size_t i = 0; i < 2; i++) {
		memcpy(others[i].out, p.out, 256 * 64 * sizeof(float));
		assert_true(score(&others[i]).correct < 32);
		release(&others[i]);
	}
	release(&p);
}

/* The share of a group that has the answer, where all members are seen. */
static void majorities(void **state)
{
	struct problem p = make("majority:groups=10:members=20:share=0.6:classes=4", 210, 210, 32, 32, SEED, 0);

	(void)state;
	attend(&p, NULL, false, everything);
	/* The product of the mean value with the right code is its share. */
	for (size_t i = 0; i < 10; i++) {
		double best = 0, length = 32;

		for (size_t t = 0; t < 200; t++) {
			double product = 0;

			for (size_t c = 0; c < 32; c++)
				product += (double)p.out[(200 + i) * 32 + c] * (double)p.v[t * 32 + c];
			best = fmax(best, product / length);
		}
		assert_true(fabs(best - 0.6) < 1e-6);
	}
	release(&p);
}

static void logits_of_answers(void **state)
{
	struct problem p = make("haystack", 300, 300, 64, 64, SEED, 0);
	double beta = task_logit(64), most = 0;

	(void)state;
	for (size_t i = 284; i < 300; i++)
		for (size_t j = 0; j < 300; j++) {
			double s = 0;

			for (size_t c = 0; c < 64; c++)
				s += (double)p.q[i * 64 + c] * (double)p.k[j * 64 + c] / 8;
			assert_true(s < beta * (1 + 1e-5));
			if (fabs(s - beta) > 1e-3 * beta)
				most = fmax(most, s);
		}
	assert_true(most < beta - log(300) - 5);
	assert_true(task_logit(32) > beta && task_logit(128) < beta);
	release(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(exact_attention_knows),
		cmocka_unit_test(keys_from_queries),
		cmocka_unit_test(windows),
		cmocka_unit_test(guesses),
		cmocka_unit_test(answers_differ),
		cmocka_unit_test(majorities),
		cmocka_unit_test(logits_of_answers),
	};

	return cmocka_run_group_tests_name("task", tests, NULL, NULL);
}
