/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The arena: addresses, exact counts, guards to the byte, refusals, residency. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../harness/arena.h"

static void test_blocks(void **state)
{
	(void)state;
	static const size_t size[] = { 1, 0, 63, 64, 65, 4096, 100000 };
	enum { N = sizeof size / sizeof *size };
	unsigned char *p[N];
	size_t room = 0, live = 0;
	struct arena a;

	for (size_t i = 0; i < N; i++)
		room += arena_room(size[i]);
	assert_true(arena_create(&a, room));
	for (size_t i = 0; i < N; i++) {
		p[i] = arena_alloc(&a, "block", size[i]);
		assert_non_null(p[i]);
		assert_int_equal((uintptr_t)p[i] % ARENA_ALIGN, 0);
		live += (size[i] + 63) / 64 * 64;
		assert_int_equal(a.live, live);
		assert_int_equal(a.peak, live);
		memset(p[i], 0xee, size[i]);
	}
	assert_int_equal(a.count, N);
	assert_int_equal(a.filled, a.capacity);
	assert_true(arena_check(&a));
	/* One byte more than the region was made for. */
	assert_null(arena_alloc(&a, "the drop", 1));
	assert_non_null(strstr(a.message, "1 bytes for the drop refused"));

	/* Freed in the middle: live falls, peak stays, space waits for its turn. */
	arena_free(&a, p[5]);
	assert_int_equal(a.live, live - 4096);
	assert_int_equal(a.peak, live);
	assert_null(arena_alloc(&a, "block", 4096));
	arena_free(&a, p[6]);
	arena_free(&a, p[6]); /* twice does nothing */
	assert_int_equal(a.live, live - 4096 - 100032);
	assert_ptr_equal(arena_alloc(&a, "block", 4096), p[5]);
	assert_true(arena_check(&a));
	assert_int_equal(a.peak, live);
	arena_destroy(&a);
}

static void expect(struct arena *a, unsigned char *p, ptrdiff_t at, const char *message)
{
	unsigned char kept = p[at];

	p[at] ^= 1;
	assert_false(arena_check(a));
	assert_non_null(strstr(a->message, message));
	p[at] = kept;
	assert_true(arena_check(a));
}

static void test_guards(void **state)
{
	(void)state;
	struct arena a;

	assert_true(arena_create(&a, 2 * arena_room(100)));
	unsigned char *p = arena_alloc(&a, "p", 100), *q = arena_alloc(&a, "q", 100);
	assert_true(arena_check(&a));
	/* From the very first byte: also in the 28 that round 100 up. */
	expect(&a, p, 100, "wrote 1 bytes past the end of p, the first at offset +0");
	expect(&a, p, 127, "past the end of p, the first at offset +27");
	expect(&a, p, 128 + ARENA_GUARD - 1, "past the end of p");
	expect(&a, q, -1, "wrote 1 bytes before the start of q, the first at offset -1");
	expect(&a, q, -(ptrdiff_t)ARENA_GUARD, "before the start of q");
	expect(&a, p, -(ptrdiff_t)ARENA_GUARD, "before the start of p");
	p[0] = p[99] = 1;
	assert_true(arena_check(&a));
	memset(p + 96, 0, 12);
	assert_false(arena_check(&a));
	assert_non_null(strstr(a.message, "wrote 8 bytes past the end of p"));
	arena_destroy(&a);
}

static void test_poison_is_nan(void **state)
{
	(void)state;
	struct arena a;

	assert_true(arena_create(&a, arena_room(64)));
	float *x = arena_alloc(&a, "x", 64);
	double y;
	assert_true(isnan(x[-1]) && isnan(x[16]) && x[3] == 0);
	arena_poison(&a, x);
	for (size_t i = 0; i < 16; i++)
		assert_true(isnan(x[i]) != 0);
	memcpy(&y, x, sizeof y);
	assert_true(isnan(y) != 0);
	/* bf16 and f16: all ones in the exponent, not all zero in the fraction. */
	assert_int_equal(ARENA_POISON & 0x7f80, 0x7f80);
	assert_int_not_equal(ARENA_POISON & 0x007f, 0);
	assert_int_equal(ARENA_POISON & 0x7c00, 0x7c00);
	assert_int_not_equal(ARENA_POISON & 0x03ff, 0);
	assert_true(arena_check(&a));
	arena_destroy(&a);
}

static void test_refusals(void **state)
{
	(void)state;
	struct arena a;

	assert_int_equal(arena_room(SIZE_MAX), SIZE_MAX);
	assert_false(arena_create(&a, SIZE_MAX));
	assert_non_null(strstr(a.message, "18446744073709551615"));
	arena_destroy(&a);
	assert_false(arena_create(&a, SIZE_MAX / 4));
	assert_non_null(strstr(a.message, "refused"));
	arena_destroy(&a);

	/* The k-th block and no other. */
	for (size_t k = 1; k <= 5; k++) {
		size_t given = 0;
		assert_true(arena_create(&a, 4 * arena_room(10)));
		a.fail_at = k;
		for (size_t i = 1; i <= 4; i++) {
			void *p = arena_alloc(&a, "scratch", 10);
			assert_int_equal(p == NULL, i == k);
			given += p != NULL;
		}
		assert_int_equal(given, k <= 4 ? 3 : 4);
		assert_int_equal(a.live, given * 64);
		arena_destroy(&a);
	}
	assert_true(arena_create(&a, 1000));
	assert_null(arena_alloc(&a, "too much", SIZE_MAX));
	arena_destroy(&a);
}

static size_t resident(unsigned char *p, size_t bytes)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE), n = 0;
	unsigned char *from = p - (uintptr_t)p % page;
	size_t pages = (bytes + (uintptr_t)p % page + page - 1) / page;
	unsigned char *vec = calloc(pages, 1);

	assert_non_null(vec);
	assert_int_equal(mincore(from, pages * page, vec), 0);
	for (size_t i = 0; i < pages; i++)
		n += vec[i] & 1;
	free(vec);
	return n;
}

static void test_untouched(void **state)
{
	(void)state;
	size_t page = (size_t)sysconf(_SC_PAGESIZE), bytes = 1000 * page;
	struct arena a;

	assert_true(arena_create(&a, arena_room(bytes)));
	madvise(a.map, a.map_bytes, MADV_NOHUGEPAGE);
	unsigned char *p = arena_alloc(&a, "large", bytes);
	assert_non_null(p);
	assert_true(resident(p, bytes) <= 2); /* what guards share */
	memset(p, 1, bytes);
	assert_true(resident(p, bytes) >= 1000);
	arena_discard(&a, p);
	assert_true(resident(p, bytes) <= 2);
	assert_int_equal(p[bytes / 2], 0);
	assert_true(arena_check(&a));
	arena_destroy(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_blocks),
		cmocka_unit_test(test_guards),
		cmocka_unit_test(test_poison_is_nan),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_untouched),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
