/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The memory of every variant, with its defaults and with the arguments that it
 * names for tests: what it is given is what it declared; nobody allocates
 * during a call, BLAS included; each block that is refused is reported.
 *
 * The functions of malloc() are defined here, so that every library of this
 * process calls them, and counted between the start and the end of a call.
 */
#include "../harness/axes.h"
#include "../harness/layer.h"
#include "../harness/support.h"

#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#if defined(__SANITIZE_ADDRESS__)
#define ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ASAN 1
#endif
#endif

static atomic_bool counting;
static _Atomic size_t allocations;

static void note(void)
{
	if (atomic_load_explicit(&counting, memory_order_relaxed))
		atomic_fetch_add(&allocations, 1);
}

#ifdef ASAN
/* The sanitizer's own malloc() tells. */
int __sanitizer_install_malloc_and_free_hooks(void (*on_malloc)(const volatile void *, size_t),
                                              void (*on_free)(const volatile void *));

static void on_malloc(const volatile void *p, size_t n)
{
	(void)p;
	(void)n;
	note();
}

static void on_free(const volatile void *p)
{
	(void)p;
}

static void count_mallocs(void)
{
	assert_true(__sanitizer_install_malloc_and_free_hooks(on_malloc, on_free) > 0);
}
#else
/* What glibc calls its own. */
void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t n);
void *__libc_memalign(size_t align, size_t n);
void __libc_free(void *p);

void *malloc(size_t n)
{
	note();
	return __libc_malloc(n);
}

void *calloc(size_t n, size_t size)
{
	note();
	return __libc_calloc(n, size);
}

void *realloc(void *p, size_t n)
{
	note();
	return __libc_realloc(p, n);
}

void free(void *p)
{
	__libc_free(p);
}

void *aligned_alloc(size_t align, size_t n)
{
	note();
	return __libc_memalign(align, n);
}

int posix_memalign(void **p, size_t align, size_t n)
{
	note();
	*p = __libc_memalign(align, n);
	return *p ? 0 : ENOMEM;
}

static void count_mallocs(void)
{
}
#endif

/* The counting counts. */
static void test_counting(void **state)
{
	void *volatile p; /* or a compiler leaves calls out in pairs */

	(void)state;
	count_mallocs();
	atomic_store(&allocations, 0);
	atomic_store(&counting, true);
	p = malloc(10);
	free(p);
	p = calloc(3, 5);
	free(p);
	if (posix_memalign((void **)(uintptr_t)&p, 64, 100) == 0)
		free(p);
	p = strdup("in libc"); /* a library calls ours as well */
	free(p);
	atomic_store(&counting, false);
	assert_int_equal(allocations, 4);
}

static void warm(void *arg, struct attn_team *me)
{
	float *x = calloc(ATTN_BLAS_WARM_FLOATS, sizeof *x);

	(void)arg;
	assert_non_null(x);
	for (int i = 0; i < 3; i++) {
		attn_barrier(me);
		attn_blas_warm(x);
	}
	free(x);
}

/* The declaration, not rounded: the state of every head, and for each rank what
 * the head that needs most asks for, alone or with the team. */
static size_t declared(const struct cell *c, const struct layer_plan *plan)
{
	struct attn_plan most = { 0 };
	size_t sum = 0;
	bool team = plan->solo < plan->total;

	for (size_t h = 0; h < c->heads; h++) {
		struct attn_shape shape = cell_shape(c, h);
		struct attn_plan p = { 0 };
		assert_null(attn_plan(c->variant, &shape, plan->arg, team ? c->threads : 1, &p));
		most.state = p.state > most.state ? p.state : most.state;
		most.shared = p.shared > most.shared ? p.shared : most.shared;
		most.scratch = p.scratch > most.scratch ? p.scratch : most.scratch;
	}
	sum += c->heads * most.state;
	for (size_t r = 0; r < c->threads; r++) {
		sum += team || r < plan->solo ? most.scratch : 0;
		sum += team ? (r == 0 ? most.shared : 0) : r < plan->solo ? most.shared : 0;
	}
	return sum;
}

/* Normal numbers, or a few small ones of 16 bits. */
static void fill(void *x, size_t bytes, enum attn_type type, uint64_t stream)
{
	static const uint16_t some[] = { 0x3c00, 0xbc00, 0x3800, 0x0000 };
	uint16_t *half = x;

	if (type == ATTN_F32)
		attn_random_normals(1, stream, 0, bytes / sizeof(float), x);
	else
		for (size_t i = 0; i < bytes / sizeof *half; i++)
			half[i] = some[(i * stream + i / 7) % 4];
}

/* All heads alone, or the one head on the team: what is declared is simple. */
static void check_cell(const struct cell *cell)
{
	struct layer_plan plan;
	struct layer layer;
	struct arena arena;
	const char *why = NULL;

	if (cell_refusal(cell))
		return;
	assert_null(layer_plan(cell, &plan));
	struct team *team = team_create(cell->threads, NULL, &why);
	assert_non_null(team);

	/* Each block refused in turn: a sentence, and what was given is given back. */
	size_t blocks = 0;
	for (size_t refuse = 1;; refuse++) {
		assert_true(arena_create(&arena, layer_room(&plan, cell)));
		arena.fail_at = refuse;
		bool ok = layer_create(&layer, cell, &plan, attn_kern_best(), team, &arena);
		if (!ok)
			assert_non_null(strstr(arena.message, " refused: "));
		blocks = arena.count;
		if (ok)
			break;
		arena_destroy(&arena);
		assert_true(refuse < 100);
	}

	/* 64 bytes an allocation is all that tracking may add. */
	size_t tracked = arena.peak - plan.io, said = declared(cell, &plan);
	if (tracked < said || tracked > said + ARENA_ALIGN * blocks)
		fail_msg("%s at n = %zu on %u threads: %zu bytes tracked, %zu declared", cell->variant->name,
		         cell->n_k, cell->threads, tracked, said);

	fill(layer.q, plan.q, cell->type, 1);
	fill(layer.k, plan.k, cell->type, 2);
	fill(layer.v, plan.v, cell->type, 3);
	layer_prepare(&layer);
	atomic_store(&allocations, 0);
	atomic_store(&counting, true);
	layer_run(&layer);
	atomic_store(&counting, false);
	if (allocations)
		fail_msg("%s at n = %zu on %u threads: %zu allocations during the call", cell->variant->name,
		         cell->n_k, cell->threads, allocations);
	assert_true(arena_check(&arena));
	team_destroy(team);
	arena_destroy(&arena);
}

static void check_choice(const struct variant_choice *choice)
{
	static const struct {
		size_t n, heads;
		unsigned threads;
	} shapes[] = { { 96, 1, 1 }, { 130, 2, 1 }, { 128, 1, 3 }, { 96, 3, 3 } };

	for (size_t i = 0; i < 2 * 3 * sizeof shapes / sizeof *shapes; i++) {
		struct cell cell = { .variant = choice->variant, .batch = 1, .heads = shapes[i / 6].heads,
			             .kv_heads = 1, .n_q = shapes[i / 6].n, .n_k = shapes[i / 6].n,
			             .d = 16, .d_v = 16, .causal = i % 2, .type = (enum attn_type)(i / 2 % 3),
			             .threads = shapes[i / 6].threads, .seed = 1 };
		memcpy(cell.arg, choice->arg, sizeof cell.arg);
		check_cell(&cell);
	}
}

static void test_every_variant(void **state)
{
	const struct where where = { .name = "variant" };
	char spec[512], error[ERROR_MAX];
	const char *why;
	struct team *team = team_create(3, NULL, &why);

	(void)state;
	assert_non_null(team);
	attn_blas_threads(1);
	team_run(team, TEAM_FAST, warm, NULL);
	team_destroy(team);
	for (size_t v = 0; attn_variants[v]; v++)
		for (size_t c = 0;; c++) {
			const char *const *cases = attn_variants[v]->cases;
			const char *arguments = c == 0 ? "" : cases ? cases[c - 1] : NULL;
			struct variant_choices choices = { 0 };
			if (!arguments)
				break;
			snprintf(spec, sizeof spec, "%s%s%s", attn_variants[v]->name, *arguments ? ":" : "", arguments);
			if (!variants_parse(spec, &where, &choices, error))
				fail_msg("%s: %s", spec, error);
			for (size_t i = 0; i < choices.n; i++)
				check_choice(&choices.v[i]);
			free(choices.v);
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_counting),
		cmocka_unit_test(test_every_variant),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
