/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Groups of counters. Few virtual machines have the hardware's; the kernel's
 * own events go the same way and are everywhere that perf_event_open() is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <linux/perf_event.h>
#include <math.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../harness/counters.h"

static const struct counter_event software[COUNTERS] = {
	{ "minor_faults", PERF_TYPE_SOFTWARE, PERF_COUNT_SW_PAGE_FAULTS_MIN },
	{ "faults", PERF_TYPE_SOFTWARE, PERF_COUNT_SW_PAGE_FAULTS },
	{ "migrations", PERF_TYPE_SOFTWARE, PERF_COUNT_SW_CPU_MIGRATIONS },
};

static void touch_pages(size_t n)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	volatile char *p = mmap(NULL, n * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert_true(p != MAP_FAILED);
	madvise((void *)(uintptr_t)p, n * page, MADV_NOHUGEPAGE);
	for (size_t i = 0; i < n; i++)
		p[i * page] = 1;
	munmap((void *)(uintptr_t)p, n * page);
}

static void test_counts(void **state)
{
	struct counters c;
	struct counts before, after;
	const char *why[COUNTERS];
	const pid_t me[] = { gettid() };
	int64_t value[COUNTERS];
	double share;

	(void)state;
	counters_open(&c, software, me, 1, why);
	if (why[0]) { /* a kernel without it, or a filter: that is said, and no more */
		assert_true(strlen(why[0]) > 0 && !c.have[0]);
		counters_close(&c);
		return;
	}
	counters_read(&c, &before);
	touch_pages(50);
	counters_read(&c, &after);
	counters_between(&before, &after, value, &share);
	assert_true(value[0] >= 50 && value[0] < 1000);
	assert_true(value[1] >= value[0]);
	assert_true(value[2] >= 0);
	assert_true(share > 0.999 && share < 1.001); /* the kernel's are never multiplexed */
	counters_close(&c);
	assert_null(c.fd);
}

/* An event that is not there leaves its place empty and the others in theirs. */
static void test_missing_event(void **state)
{
	struct counter_event events[COUNTERS];
	struct counters c;
	struct counts before, after;
	const char *why[COUNTERS];
	const pid_t me[] = { gettid() };
	int64_t value[COUNTERS];
	double share;

	(void)state;
	for (size_t missing = 0; missing < COUNTERS; missing++) {
		memcpy(events, software, sizeof events);
		events[missing].type = 0x7ffffff0;
		counters_open(&c, events, me, 1, why);
		assert_non_null(why[missing]);
		assert_false(c.have[missing]);
		counters_read(&c, &before);
		touch_pages(30);
		counters_read(&c, &after);
		counters_between(&before, &after, value, &share);
		assert_int_equal(value[missing], -1);
		if (missing != 1 && !why[1])
			assert_true(value[1] >= 30 && value[1] < 1000);
		counters_close(&c);
	}
}

static void test_no_thread(void **state)
{
	struct counters c;
	struct counts now;
	const char *why[COUNTERS];
	const pid_t gone[] = { 0x3fffff };
	int64_t value[COUNTERS];
	double share;

	(void)state;
	counters_open(&c, software, gone, 1, why);
	for (size_t e = 0; e < COUNTERS; e++)
		assert_non_null(why[e]);
	counters_read(&c, &now);
	counters_between(&now, &now, value, &share);
	assert_int_equal(value[0], -1);
	assert_true(isnan(share));
	counters_close(&c);
	counters_open(&c, software, NULL, 0, why);
	assert_string_equal(why[0], "the threads are not known");
	counters_close(&c);
}

/* Half of the time counted is scaled to all of it. */
static void test_scaling(void **state)
{
	const struct counts before = { { 100, -1, 0 }, 1000, 500 };
	const struct counts after = { { 400, -1, 50 }, 3000, 1500 };
	int64_t value[COUNTERS];
	double share;

	(void)state;
	counters_between(&before, &after, value, &share);
	assert_int_equal(value[0], 600);
	assert_int_equal(value[1], -1);
	assert_int_equal(value[2], 100);
	assert_true(share == 0.5);
	counters_between(&before, &before, value, &share); /* it did not run at all */
	assert_int_equal(value[0], -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_counts),
		cmocka_unit_test(test_missing_event),
		cmocka_unit_test(test_no_thread),
		cmocka_unit_test(test_scaling),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
