/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Threads, barriers and the run of heads over them, also with more threads
 * than CPUs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <float.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "../harness/layer.h"
#include "../harness/support.h"

enum { MANY = 9, ROUNDS = 100 };

struct shared {
	size_t slot[MANY];
	size_t wrong[MANY];
	_Atomic size_t entered;
};

/* Each rank writes its slot, and after the barrier sees everyone's. */
static void exchange(void *arg, struct attn_team *me)
{
	struct shared *s = arg;

	atomic_fetch_add(&s->entered, 1);
	for (size_t i = 1; i <= ROUNDS; i++) {
		s->slot[me->rank] = i;
		attn_barrier(me);
		for (size_t r = 0; r < me->size; r++)
			s->wrong[me->rank] += s->slot[r] != i;
		attn_barrier(me);
	}
}

static void test_barrier(void **state)
{
	(void)state;
	static const size_t sizes[] = { 1, 2, 3, MANY };
	static const unsigned same_cpu[MANY] = { 0 };

	for (size_t t = 0; t < 2 * sizeof sizes / sizeof *sizes; t++) {
		size_t size = sizes[t / 2];
		const char *why = NULL;
		cpu_set_t before;
		assert_int_equal(sched_getaffinity(0, sizeof before, &before), 0);
		struct team *team = team_create(size, t % 2 ? same_cpu : NULL, &why);
		assert_non_null(team);
		assert_int_equal(team_size(team), size);
		for (size_t run = 0; run < 20; run++) {
			struct shared s = { .entered = 0 };
			team_run(team, run % 2 ? TEAM_FAST : TEAM_EXACT, exchange, &s);
			assert_int_equal(s.entered, size);
			for (size_t r = 0; r < size; r++)
				assert_int_equal(s.wrong[r], 0);
		}
		team_destroy(team);
		sched_setaffinity(0, sizeof before, &before);
	}
}

static void subnormal(void *arg, struct attn_team *me)
{
	volatile float least = FLT_MIN, *half = arg;

	half[me->rank] = least / 2;
}

static void test_modes(void **state)
{
	(void)state;
	const char *why;
	float half[3];
	struct team *team = team_create(3, NULL, &why);
	volatile float least = FLT_MIN;

	assert_non_null(team);
	for (int i = 0; i < 4; i++) {
		team_run(team, i % 2 ? TEAM_FAST : TEAM_EXACT, subnormal, half);
		for (size_t r = 0; r < 3; r++)
			assert_true(i % 2 ? half[r] == 0 : half[r] == FLT_MIN / 2);
		/* The caller computes as before. */
		assert_true(least / 2 > 0);
	}
	team_destroy(team);
}

static void where(void *arg, struct attn_team *me)
{
	((int *)arg)[me->rank] = sched_getcpu();
}

static void test_pinning(void **state)
{
	(void)state;
	cpu_set_t allowed;
	unsigned cpus[2] = { 0, 0 }, n = 0;
	const char *why;
	int at[2];

	assert_int_equal(sched_getaffinity(0, sizeof allowed, &allowed), 0);
	for (unsigned c = 0; c < CPU_SETSIZE && n < 2; c++)
		if (CPU_ISSET(c, &allowed))
			cpus[n++] = c;
	struct team *team = team_create(n, cpus, &why);
	assert_non_null(team);
	assert_int_equal(team_unpinned(team), 0);
	for (int i = 0; i < 10; i++) {
		team_run(team, TEAM_FAST, where, at);
		for (size_t r = 0; r < n; r++)
			assert_int_equal(at[r], cpus[r]);
	}
	team_destroy(team);
	sched_setaffinity(0, sizeof allowed, &allowed);

	/* A CPU that does not exist: the team works, and says so. */
	cpus[n - 1] = 5000;
	team = team_create(n, cpus, &why);
	assert_non_null(team);
	assert_int_equal(team_unpinned(team), 1);
	team_run(team, TEAM_FAST, where, at);
	team_destroy(team);
	sched_setaffinity(0, sizeof allowed, &allowed);
	assert_null(team_create(0, NULL, &why));
	assert_null(team_create(TEAM_MAX + 1, NULL, &why));
	assert_non_null(strstr(why, "256"));
}

/* ---- heads over threads -------------------------------------------------------
 * The probe notes who works on which head, and that memory is its own. */

static struct {
	_Atomic size_t ranks[64];  /* members that ran this head */
	_Atomic size_t size[64];
	_Atomic size_t busy_shared; /* heads in flight on one piece of memory */
	_Atomic size_t wrong;
} seen;

static const char *probe_plan(const struct attn_shape *s, const double *arg, size_t ranks,
                              struct attn_plan *p)
{
	(void)arg;
	if (s->n_k == 13)
		return "13 keys bring bad luck";
	*p = (struct attn_plan){ .state = 8, .shared = 100 + ranks, .scratch = 200 * ranks,
	                         .flops_useful = 1, .flops_executed = 2, .pairs = 3, .bytes = 4,
	                         .n_exp = 5 };
	return NULL;
}

static void probe_prepare(const struct attn_shape *s, const double *arg, uint64_t seed, void *state)
{
	(void)arg;
	*(uint64_t *)state = seed + s->head;
}

static void probe_forward(const struct attn_call *c, struct attn_team *team)
{
	const struct attn_shape *s = c->shape;
	float *out = c->out;
	const float *q = c->q;
	size_t g = (size_t)q[0];
	_Atomic size_t *shared = c->shared;

	seen.ranks[g]++;
	seen.size[g] = team->size;
	seen.wrong += *(const uint64_t *)c->state != 5 + s->head;
	seen.wrong += c->ldq != s->d || c->ldo != s->d_v || (size_t)c->shared % 64 || (size_t)c->scratch % 64;
	memset(c->scratch, (int)g, 200 * team->size);
	attn_barrier(team);
	if (team->rank == 0)
		atomic_store(shared, g);
	attn_barrier(team);
	for (int i = 0; i < 1000; i++)
		seen.wrong += atomic_load(shared) != g;
	attn_barrier(team);
	for (size_t i = 0; i < 200 * team->size; i++)
		seen.wrong += ((unsigned char *)c->scratch)[i] != g;
	for (size_t i = team->rank; i < s->n_q * s->d_v; i += team->size)
		out[i] = (float)g;
	if (c->stats)
		c->stats->pairs++;
}

static struct attn_variant probe = {
	.abi = ATTN_ABI, .name = "probe", .family = "test", .title = "probe",
	.flags = ATTN_BIDIRECTIONAL | ATTN_CROSS,
	.plan = probe_plan, .prepare = probe_prepare, .forward = probe_forward,
};

static void run_layer(size_t batch, size_t heads, unsigned threads, bool parallel)
{
	struct cell cell = { .variant = &probe, .batch = batch, .heads = heads, .kv_heads = heads, .n_q = 5, .n_k = 7,
	                     .d = 3, .d_v = 2, .threads = threads, .seed = 5 };
	size_t total = batch * heads, team_heads = parallel ? total % threads : 0;
	struct layer_plan plan;
	struct layer layer;
	struct arena arena;
	const char *why = NULL;

	memset(&seen, 0, sizeof seen);
	probe.flags = ATTN_BIDIRECTIONAL | ATTN_CROSS | (parallel ? ATTN_PARALLEL : 0);
	assert_null(layer_plan(&cell, &plan));
	assert_int_equal(plan.total, total);
	assert_int_equal(plan.solo, total - team_heads);
	assert_true(plan.flops_executed == 2.0 * (double)total && plan.n_exp == 5.0 * (double)total);
	struct team *team = team_create(threads, NULL, &why);
	assert_non_null(team);
	assert_true(arena_create(&arena, layer_room(&plan, &cell)));
	assert_true(layer_create(&layer, &cell, &plan, attn_kern_best(), team, &arena));
	/* What was planned is what was taken, to the byte. */
	assert_int_equal(arena.peak, plan.io + plan.work);
	struct cell_cost cost;
	assert_true(cell_predict(&cell, &cost, &why));
	assert_int_equal(cost.ws_bytes, plan.work);
	assert_int_equal(cost.io_bytes, plan.q + plan.k + plan.v + plan.out);

	layer_prepare(&layer);
	struct attn_stats stats[MANY] = { { 0 } };
	for (size_t r = 0; r < MANY; r++)
		layer.stats[r] = &stats[r];
	for (size_t g = 0; g < total; g++)
		*(float *)layer_q(&layer, g, 0) = (float)g;
	uint64_t inputs = layer_hash_inputs(&layer);
	layer_run(&layer);
	assert_true(arena_check(&arena));
	assert_int_equal(layer_hash_inputs(&layer), inputs);
	assert_int_equal(seen.wrong, 0);
	double pairs = 0;
	for (size_t g = 0; g < total; g++) {
		size_t members = g < plan.solo ? 1 : threads;
		assert_int_equal(seen.ranks[g], members);
		assert_int_equal(seen.size[g], members);
		for (size_t i = 0; i < 10; i++)
			assert_true(((float *)layer_out(&layer, g, 0))[i] == (float)g);
		pairs += (double)members;
	}
	for (size_t r = 0; r < threads; r++)
		pairs -= stats[r].pairs;
	assert_true(pairs == 0);
	team_destroy(team);
	arena_destroy(&arena);
}

static void test_heads(void **state)
{
	(void)state;
	for (unsigned threads = 1; threads <= 4; threads++)
		for (size_t heads = 1; heads <= 5; heads++)
			for (size_t batch = 1; batch <= 3; batch++)
				for (int parallel = 0; parallel < 2; parallel++)
					run_layer(batch, heads, threads, parallel);
	run_layer(1, 2, MANY, true);
	run_layer(1, 1, MANY, false);
}

static void test_allocations_refused(void **state)
{
	(void)state;
	struct cell cell = { .variant = &probe, .batch = 1, .heads = 3, .kv_heads = 3, .n_q = 5, .n_k = 7, .d = 3,
	                     .d_v = 2, .threads = 2, .seed = 5 };
	struct layer_plan plan;
	struct layer layer;
	const char *why;
	struct team *team = team_create(2, NULL, &why);
	size_t k = 1;

	assert_non_null(team);
	probe.flags = ATTN_BIDIRECTIONAL | ATTN_CROSS | ATTN_PARALLEL;
	assert_null(layer_plan(&cell, &plan));
	for (bool done = false; !done; k++) {
		struct arena arena;
		assert_true(arena_create(&arena, layer_room(&plan, &cell)));
		arena.fail_at = k;
		done = layer_create(&layer, &cell, &plan, attn_kern_best(), team, &arena);
		assert_true(done || strstr(arena.message, "refused"));
		arena_destroy(&arena);
	}
	assert_int_equal(k - 1, 5 + 1 + 4 + 1); /* io and its table, state, 2 x (shared, scratch), then none */
	team_destroy(team);
}

static void refused(struct cell cell, const char *reason)
{
	const char *why = cell_refusal(&cell);

	if (!reason) {
		assert_null(why);
		return;
	}
	assert_non_null(why);
	assert_non_null(strstr(why, reason));
	struct cell_cost cost;
	assert_false(cell_predict(&cell, &cost, &why));
	assert_non_null(strstr(why, reason));
}

static void test_refusals(void **state)
{
	(void)state;
	const struct cell good = { .variant = &probe, .batch = 1, .heads = 1, .kv_heads = 1, .n_q = 5, .n_k = 7, .d = 3,
	                           .d_v = 2, .threads = 1 };
	struct cell c = good;

	probe.flags = ATTN_BIDIRECTIONAL | ATTN_CROSS;
	refused(c, NULL);
	c.causal = true;
	refused(c, "probe has no causal form");
	c = good;
	c.heads = 6;
	c.kv_heads = 4;
	refused(c, "kv_heads");
	c.kv_heads = 2;
	refused(c, NULL);
	probe.flags |= ATTN_TIED;
	refused(c, "cannot be shared");
	probe.flags = ATTN_BIDIRECTIONAL | ATTN_CROSS;
	c = good;
	c.n_k = 13;
	refused(c, "bad luck");
	c = good;
	c.threads = 257;
	refused(c, "1 to 256");
	c = good;
	c.d = 0;
	refused(c, "at least 1");
	c = good;
	strcpy(c.isa, "mmx");
	refused(c, "mmx");
	c = good;
	c.n_q = SIZE_MAX / 2;
	refused(c, "too large");
	c.n_q = 5;
	c.batch = c.heads = c.kv_heads = SIZE_MAX / 2;
	refused(c, "too large");
	c = good;
	probe.flags = ATTN_CAUSAL | ATTN_CROSS;
	refused(c, "probe has only a causal form");
	probe.flags = ATTN_BIDIRECTIONAL;
	refused(c, "as many keys as queries, not 7 and 5");
	probe.flags = ATTN_BIDIRECTIONAL | ATTN_CROSS | ATTN_TIED;
	refused(c, "takes its keys from the queries");
	c.n_k = 5;
	refused(c, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_barrier),
		cmocka_unit_test(test_modes),
		cmocka_unit_test(test_pinning),
		cmocka_unit_test(test_heads),
		cmocka_unit_test(test_allocations_refused),
		cmocka_unit_test(test_refusals),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
