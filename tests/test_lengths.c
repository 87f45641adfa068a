/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Batches of sequences of different lengths: the draw, where rows lie, what is planned,
 * and that a sequence is computed as if it were alone, decoding and on a team too.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../harness/layer.h"
#include "../harness/probe.h"
#include "../harness/reference.h"
#include "../harness/support.h"

/* After them: fail() is a function of the harness and a macro of cmocka. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

static struct cell cell_of(const char *variant, enum cell_lengths lengths)
{
	struct cell c = { .variant = attn_find(variant), .lengths = lengths, .batch = 4, .heads = 4, .kv_heads = 2,
	                  .n_q = 100, .n_k = 100, .d = 16, .d_v = 16, .threads = 1, .seed = 3 };

	assert_non_null(c.variant);
	for (size_t i = 0; i < cell_n_params(c.variant); i++)
		c.arg[i] = c.variant->params[i].def;
	return c;
}

/* Fixed for good: runs of different versions are of the same batches. */
static void test_draw(void **state)
{
	static const size_t wanted[] = { 100, 40, 31, 34, 95, 34, 69, 68 };
	struct cell c = cell_of("flash", LENGTHS_PACKED), other = cell_of("full", LENGTHS_PADDED);
	double sum = 0;

	(void)state;
	other.seed = 99;
	other.threads = 2;
	for (size_t b = 0; b < sizeof wanted / sizeof *wanted; b++) {
		assert_int_equal(cell_length(&c, 100, b), wanted[b]);
		assert_int_equal(cell_length(&other, 100, b), wanted[b]);
	}
	for (size_t n = 1; n < 70; n++)
		for (size_t b = 0; b < 200; b++) {
			assert_in_range(cell_length(&c, n, b), (n + 3) / 4, n);
			assert_true(fabs((double)cell_length(&c, n, b) / (double)n -
			                 (double)cell_length(&c, 4096, b) / 4096) < 1 / (double)n + 1e-3);
		}
	for (size_t b = 1; b <= 10000; b++)
		sum += (double)cell_length(&c, 1000, b);
	assert_true(fabs(sum / 1e4 - 625) < 10); /* deviation of the mean: 2.2 */
	assert_int_equal(cell_length(&c, 1000, 0), 1000);
	c.lengths = LENGTHS_FULL;
	assert_int_equal(cell_length(&c, 1000, 5), 1000);
}

struct made {
	struct layer_plan plan;
	struct layer layer;
	struct arena arena;
	struct team *team;
};

static void fill(struct layer *l, size_t number)
{
	for (size_t g = 0; g < l->plan.total; g++) {
		const struct layer_sequence *s = layer_sequence(l, g);
		attn_random_normals(1, 3 * (number + g), 0, s->n_q * l->cell.d, layer_q(l, g, 0));
		attn_random_normals(1, 3 * (number + g) + 1, 0, s->shape.n_k * l->cell.d, layer_k(l, g, 0));
		attn_random_normals(1, 3 * (number + g) + 2, 0, s->shape.n_k * l->cell.d_v, layer_v(l, g, 0));
	}
}

/* A layer with NaN where no token is, run on heads from `number` on. */
static void make(struct made *m, const struct cell *c, size_t number)
{
	const char *why = NULL;

	assert_null(cell_refusal(c));
	assert_null(layer_plan(c, &m->plan));
	m->team = team_create(c->threads, NULL, &why);
	assert_non_null(m->team);
	assert_true(arena_create(&m->arena, layer_room(&m->plan, c)));
	assert_true(layer_create(&m->layer, c, &m->plan, attn_kern_best(), m->team, &m->arena));
	assert_int_equal(m->arena.peak, m->plan.io + m->plan.work);
	memset(m->layer.q, 0xff, m->plan.q);
	memset(m->layer.k, 0xff, m->plan.k);
	memset(m->layer.v, 0xff, m->plan.v);
	arena_poison(&m->arena, m->layer.out);
	fill(&m->layer, number);
	uint64_t inputs = layer_hash_inputs(&m->layer);
	layer_prepare(&m->layer);
	layer_fill(&m->layer);
	layer_run(&m->layer);
	assert_int_equal(layer_hash_inputs(&m->layer), inputs);
	assert_true(arena_check(&m->arena));
}

static void unmake(struct made *m)
{
	team_destroy(m->team);
	arena_destroy(&m->arena);
}

static struct cell alone(const struct cell *c, size_t b)
{
	struct cell one = *c;

	one.lengths = LENGTHS_FULL;
	one.batch = 1;
	one.n_q = cell_length(c, c->n_q, b);
	one.n_k = cell_length(c, c->n_k, b);
	return one;
}

/* Packed, rows follow each other without a gap; padded, each head has its 100. */
static void test_places(void **state)
{
	(void)state;
	for (enum cell_lengths lengths = LENGTHS_PADDED; lengths <= LENGTHS_PACKED; lengths++) {
		struct cell c = cell_of("flash", lengths);
		struct made m;
		size_t query = 0, key = 0;

		c.n_k = 60;
		c.d_v = 8;
		make(&m, &c, 0);
		const struct layer *l = &m.layer;
		for (size_t g = 0; g < m.plan.total; g++) {
			const struct layer_sequence *s = layer_sequence(l, g);
			struct attn_shape shape = layer_shape(l, g);
			assert_int_equal(s->n_q, cell_length(&c, 100, g / 4));
			assert_int_equal(shape.n_k, cell_length(&c, 60, g / 4));
			assert_int_equal(shape.head, g % 4);
			assert_ptr_equal(layer_q(l, g, 0), (float *)l->q + query * 16);
			assert_ptr_equal(layer_out(l, g, 3), (float *)l->out + (query + 3) * 8);
			assert_ptr_equal(layer_k(l, g, 0), (float *)l->k + key * 16);
			assert_ptr_equal(layer_v(l, g, 2), (float *)l->v + (key + 2) * 8);
			query += lengths == LENGTHS_PACKED ? s->n_q : 100;
			if (g % 2)
				key += lengths == LENGTHS_PACKED ? shape.n_k : 60;
		}
		assert_int_equal(m.plan.q, query * 16 * sizeof(float));
		assert_int_equal(m.plan.out, query * 8 * sizeof(float));
		assert_int_equal(m.plan.k, key * 16 * sizeof(float));
		assert_int_equal(m.plan.v, key * 8 * sizeof(float));
		assert_int_equal(m.plan.tokens_q, 100 + 40 + 31 + 34);
		unmake(&m);
	}
}

/* The work of a batch is that of its sequences. */
static void test_plan(void **state)
{
	static const char *const names[] = { "full", "performer", "nystrom", "sliding-window", "retention", "clustered" };

	(void)state;
	for (size_t i = 0; i < 2 * sizeof names / sizeof *names; i++) {
		struct cell c = cell_of(names[i / 2], i % 2 ? LENGTHS_PACKED : LENGTHS_PADDED);
		struct layer_plan plan, one, sum = { 0 };

		c.causal = c.variant->flags & ATTN_CAUSAL;
		assert_null(layer_plan(&c, &plan));
		for (size_t b = 0; b < c.batch; b++) {
			const struct cell own = alone(&c, b);
			assert_null(layer_plan(&own, &one));
			sum.flops_useful += one.flops_useful;
			sum.flops_executed += one.flops_executed;
			sum.n_exp += one.n_exp;
			sum.pairs += one.pairs;
			sum.bytes += one.bytes;
			sum.call_io += one.call_io;
			assert_in_range(one.state, 0, plan.state);
			assert_in_range(one.scratch_solo, 0, plan.scratch_solo);
			assert_in_range(one.shared_solo, 0, plan.shared_solo);
		}
		const double got[] = { plan.flops_useful, plan.flops_executed, plan.n_exp, plan.pairs, plan.bytes };
		const double want[] = { sum.flops_useful, sum.flops_executed, sum.n_exp, sum.pairs, sum.bytes };
		for (size_t k = 0; k < sizeof got / sizeof *got; k++)
			assert_true(fabs(got[k] - want[k]) <= 1e-12 * want[k]);
		assert_int_equal(plan.states, 16);
		if (i % 2)
			assert_int_equal(plan.call_io, sum.call_io);
		else
			assert_int_equal(plan.call_io, 2 * (16 + 8) * 100 * 16 * sizeof(float));
		if (i / 2 == 0)
			assert_true(plan.pairs == 4 * (5050 + 820 + 496 + 595)); /* n (n + 1) / 2 */
	}
}

static void test_decode(void **state)
{
	static const char *const names[] = { "flash", "retention", "performer", "sliding-window" };

	(void)state;
	for (size_t i = 0; i < 2 * sizeof names / sizeof *names; i++) {
		struct cell c = cell_of(names[i / 2], i % 2 ? LENGTHS_PACKED : LENGTHS_PADDED);
		struct made m, one;
		size_t kept = 0;

		c.mode = MODE_DECODE;
		c.n_q = 1;
		c.causal = true;
		make(&m, &c, 0);
		assert_int_equal(m.plan.tokens_q, 4);
		for (size_t b = 0; b < c.batch; b++) {
			const struct cell own = alone(&c, b);
			make(&one, &own, b * c.heads);
			for (size_t h = 0; h < c.heads; h++)
				assert_memory_equal(layer_out(&m.layer, b * c.heads + h, 0), layer_out(&one.layer, h, 0),
				                    c.d_v * sizeof(float));
			kept += one.plan.kept;
			unmake(&one);
		}
		assert_int_equal(m.plan.kept, kept);
		unmake(&m);
	}
}

/* 8 heads on 3 threads: of a variant that splits heads, two are worked on together. */
static void test_team(void **state)
{
	static const char *const names[] = { "flash", "linear-elu", "nystrom" };

	(void)state;
	for (size_t i = 0; i < 2 * sizeof names / sizeof *names; i++) {
		struct cell c = cell_of(names[i / 2], i % 2 ? LENGTHS_PACKED : LENGTHS_PADDED);
		struct made m, one;

		c.batch = 2;
		c.threads = 3;
		make(&m, &c, 0);
		if (m.plan.flags & ATTN_PARALLEL)
			assert_int_equal(m.plan.solo, 6);
		for (size_t b = 0; b < c.batch; b++) {
			struct cell own = alone(&c, b);
			own.threads = 1;
			make(&one, &own, b * c.heads);
			for (size_t h = 0; h < c.heads; h++)
				assert_true(probe_distance(layer_out(&m.layer, b * c.heads + h, 0), layer_out(&one.layer, h, 0),
				                           own.n_q * c.d_v) <= 8 * (double)c.variant->impl_bound);
			unmake(&one);
		}
		unmake(&m);
	}
}

static void expect_wide(const struct layer *l, const struct layer *wide)
{
	assert_int_equal(wide->cell.lengths, LENGTHS_PACKED);
	for (size_t g = 0; g < l->plan.total; g++) {
		size_t n_q = layer_sequence(l, g)->n_q * 16, n_k = layer_sequence(l, g)->shape.n_k * 16;
		assert_memory_equal(layer_q(wide, g, 0), layer_q(l, g, 0), n_q * sizeof(float));
		assert_memory_equal(layer_k(wide, g, 0), layer_k(l, g, 0), n_k * sizeof(float));
		assert_memory_equal(layer_v(wide, g, 0), layer_v(l, g, 0), n_k * sizeof(float));
		assert_memory_equal(layer_out(wide, g, 0), layer_out(l, g, 0), n_q * sizeof(float));
	}
}

static void test_widen(void **state)
{
	(void)state;
	for (size_t kv_heads = 2; kv_heads <= 4; kv_heads += 2)
		for (enum cell_lengths lengths = LENGTHS_PADDED; lengths <= LENGTHS_PACKED; lengths++) {
			struct cell c = cell_of("flash", lengths);
			struct layer wide;
			struct made m;

			c.kv_heads = kv_heads;
			make(&m, &c, 0);
			assert_true(layer_widen(&m.layer, &wide));
			assert_true((wide.q == m.layer.q) == layer_is_wide(&c));
			expect_wide(&m.layer, &wide);
			layer_free_wide(&m.layer, &wide);
			unmake(&m);
		}
}

static void test_shares(void **state)
{
	(void)state;
	assert_int_equal(reference_share(40, 100, 100), 40);
	assert_int_equal(reference_share(1 << 20, 1 << 20, 512), 512);
	assert_int_equal(reference_share(1 << 19, 1 << 20, 512), 256);
	assert_int_equal(reference_share((1 << 19) + 1, 1 << 20, 512), 257);
	assert_int_equal(reference_share(1, 1, 1), 1);
}

static const char *no_forty(const struct attn_shape *s, const double *arg, size_t ranks, struct attn_plan *p)
{
	(void)arg;
	(void)ranks;
	*p = (struct attn_plan){ .scratch = 8 };
	return s->n_k == 40 ? "not forty" : NULL;
}

static void test_refusals(void **state)
{
	static const struct attn_variant picky = { .name = "picky", .flags = ATTN_BIDIRECTIONAL, .plan = no_forty };
	struct cell c = cell_of("flash", LENGTHS_PADDED);

	(void)state;
	assert_null(cell_refusal(&c));
	c.batch = 1;
	assert_non_null(strstr(cell_refusal(&c), "a batch of 2 or more"));
	c.batch = 4;
	c.variant = &picky;
	assert_string_equal(cell_refusal(&c), "sequence 1, of 40 tokens: not forty");
	c.lengths = LENGTHS_FULL;
	assert_null(cell_refusal(&c));
	c.n_q = c.n_k = 40;
	assert_string_equal(cell_refusal(&c), "not forty");
}

static void test_identity(void **state)
{
	struct cell full = cell_of("flash", LENGTHS_FULL), padded = cell_of("flash", LENGTHS_PADDED);
	struct cell packed = cell_of("flash", LENGTHS_PACKED);

	(void)state;
	cell_identify(&full);
	cell_identify(&padded);
	cell_identify(&packed);
	assert_string_not_equal(full.id, padded.id);
	assert_string_not_equal(packed.id, padded.id);
	assert_false(cell_same_shape(&full, &padded));
	assert_false(cell_equal(&packed, &padded));
	assert_true(cell_equal(&packed, &packed));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_draw),
		cmocka_unit_test(test_places),
		cmocka_unit_test(test_plan),
		cmocka_unit_test(test_decode),
		cmocka_unit_test(test_team),
		cmocka_unit_test(test_widen),
		cmocka_unit_test(test_shares),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_identity),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
