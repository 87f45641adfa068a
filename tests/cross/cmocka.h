/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The few words of cmocka that the kernel tests use, for cross builds, where the
 * library is not at hand: a failure ends the program. */
#ifndef CROSS_CMOCKA_H
#define CROSS_CMOCKA_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef void (*CMUnitTestFunction)(void **state);

struct CMUnitTest {
	const char *name;
	CMUnitTestFunction test_func;
	int (*setup_func)(void **), (*teardown_func)(void **);
	void *initial_state;
};

#define fail_msg(...) (printf(__VA_ARGS__), printf("\n%s:%d\n", __FILE__, __LINE__), exit(1))
#define assert_true(c) ((c) ? (void)0 : fail_msg("not true: %s", #c))
#define assert_null(p) assert_true((p) == NULL)
#define assert_non_null(p) assert_true((p) != NULL)
#define assert_int_equal(a, b) assert_true((uint64_t)(a) == (uint64_t)(b))
#define assert_memory_equal(a, b, n) assert_true(!memcmp((a), (b), (n)))
#define assert_ptr_equal(a, b) assert_true((const void *)(a) == (const void *)(b))

static inline int _cmocka_run_group_tests(const char *group, const struct CMUnitTest *tests, size_t n,
                                          void *setup, void *teardown)
{
	(void)setup;
	(void)teardown;
	for (size_t i = 0; i < n; i++) {
		void *state = tests[i].initial_state;
		tests[i].test_func(&state);
		printf("[       OK ] %s\n", tests[i].name);
	}
	printf("%s: %zu tests passed\n", group, n);
	return 0;
}

#endif
