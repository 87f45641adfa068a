/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The timer against a clock of our own: a call takes as long as the test says,
 * so nothing here depends on the speed of the machine. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "../harness/bench.h"

enum { MS = 1000000, MAX = 64 };

static struct {
	int64_t now, call_ns;
	int64_t first_extra; /* the first call takes longer */
	int64_t slow_at, slow_ns; /* one reading is disturbed */
	uint64_t calls, scrubs, before, after;
	double wander;       /* share by which calls alternate */
	char steps[128];
} fake;

static int64_t fake_now(void)
{
	return fake.now;
}

static void fake_call(void *payload)
{
	assert_ptr_equal(payload, &fake);
	int64_t ns = fake.call_ns;
	if (fake.calls == 0)
		ns += fake.first_extra;
	if (fake.calls % 2)
		ns += (int64_t)(fake.wander * (double)ns);
	if (fake.slow_at > 0 && (int64_t)fake.calls == fake.slow_at)
		ns += fake.slow_ns;
	fake.now += ns;
	fake.calls++;
}

static void fake_scrub(void *payload)
{
	(void)payload;
	fake.scrubs++;
	fake.now += 5 * MS; /* outside the timer: must not show */
}

static void fake_before(void *sensor)
{
	(void)sensor;
	fake.before++;
	fake.now += 12345;
}

static void fake_after(void *sensor, struct sample *s)
{
	(void)sensor;
	assert_int_equal(++fake.after, fake.before);
	s->nivcsw = (int64_t)fake.after;
	fake.now += 12345;
}

static void fake_progress(void *payload, const char *step)
{
	(void)payload;
	strncat(fake.steps, step, sizeof fake.steps - strlen(fake.steps) - 2);
	strcat(fake.steps, "|");
}

static struct sample samples[MAX];
static struct bench_result result;

static void run(const struct bench_policy *policy, int64_t call_ns)
{
	struct bench_job job = {
		.call = fake_call, .sense_before = fake_before, .sense_after = fake_after,
		.progress = fake_progress, .payload = &fake, .now = fake_now,
	};
	fake.call_ns = call_ns;
	bench_run(&job, policy, samples, &result);
}

static void reset(void)
{
	memset(&fake, 0, sizeof fake);
}

static void test_short_call(void **state)
{
	(void)state;
	reset();
	fake.first_extra = 700000;
	run(&bench_default, 3000);
	assert_int_equal(result.first_call_ns, 703000);
	/* 2 ms / 3 us, and not one call more. */
	assert_int_equal(result.calls, 667);
	assert_int_equal(result.n_samples, 15);
	assert_true(result.warm_ns >= 20 * MS && result.warm_ns < 21 * MS);
	assert_string_equal(fake.steps, "the first call|warm-up|calibration|sampling|");
	uint64_t least = UINT64_MAX, most = 0;
	int64_t last = 0;
	for (unsigned i = 0; i < result.n_samples; i++) {
		const struct sample *s = &samples[i];
		assert_int_equal(s->wall_ns, 3000 * (int64_t)s->calls);
		assert_true(s->calls >= 667 && s->calls <= 667 + 66);
		assert_int_equal(s->nivcsw, i + 1);
		assert_int_equal(s->run_delay_ns, -1);
		assert_false(s->disturbed);
		assert_true(s->t_start_ns > last);
		last = s->t_start_ns;
		least = s->calls < least ? s->calls : least;
		most = s->calls > most ? s->calls : most;
	}
	assert_true(most > least);
}

/* A reading that was preempted must not end the calibration too early. */
static void test_disturbed_calibration(void **state)
{
	(void)state;
	for (int64_t at = 5000; at < 9000; at += 97) {
		reset();
		fake.slow_at = at;
		fake.slow_ns = 7 * MS;
		run(&bench_default, 3000);
		assert_true(result.calls >= 666 && result.calls <= 669);
	}
}

static void test_jitter_is_seeded(void **state)
{
	(void)state;
	struct bench_policy p = bench_default;
	struct sample first[MAX];

	p.seed = 42;
	reset();
	run(&p, 2000);
	memcpy(first, samples, sizeof first);
	reset();
	run(&p, 2000);
	assert_memory_equal(first, samples, result.n_samples * sizeof *first);
	p.seed = 43;
	reset();
	run(&p, 2000);
	assert_memory_not_equal(first, samples, result.n_samples * sizeof *first);
}

static void test_sample_count(void **state)
{
	(void)state;
	static const struct {
		int64_t call_ns;
		unsigned samples, warm;
	} table[] = {
		{ 2 * MS, 15, 10 },
		{ 10 * MS, 10, 3 },
		{ 20 * MS, 5, 3 },
		{ 50 * MS, 3, 3 },
		{ INT64_C(999) * MS, 3, 2 },  /* the limit of 500 ms comes first */
		{ INT64_C(2000) * MS, 3, 1 },
		{ INT64_C(11000) * MS, 1, 1 },
	};

	for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
		reset();
		run(&bench_default, table[i].call_ns);
		assert_int_equal(result.n_samples, table[i].samples);
		assert_int_equal(result.warm_calls, table[i].warm);
		assert_int_equal(result.calls, 1);
		assert_int_equal(samples[0].wall_ns, table[i].call_ns);
	}
}

static void test_warm_up_limit(void **state)
{
	(void)state;
	reset();
	fake.wander = 0.2; /* never within 5 % */
	run(&bench_default, 1 * MS);
	assert_true(result.warm_ns >= 500 * MS && result.warm_ns < 502 * MS);
	reset();
	fake.wander = 0.04;
	run(&bench_default, 1 * MS);
	assert_true(result.warm_ns < 22 * MS);
}

static void test_given(void **state)
{
	(void)state;
	struct bench_policy p = bench_default;

	p.calls = 77;
	p.samples = 21;
	p.jitter = 0;
	reset();
	run(&p, 1000);
	assert_int_equal(result.calls, 77);
	assert_int_equal(result.n_samples, 21);
	for (unsigned i = 0; i < 21; i++)
		assert_int_equal(samples[i].calls, 77);
}

static void test_cold(void **state)
{
	(void)state;
	struct bench_job job = { .call = fake_call, .scrub = fake_scrub, .payload = &fake,
	                         .now = fake_now };

	reset();
	fake.call_ns = 3000;
	bench_run(&job, &bench_default, samples, &result);
	assert_int_equal(result.calls, 1);
	assert_int_equal(fake.scrubs, fake.calls); /* before every call, the first too */
	assert_int_equal(result.first_call_ns, 3000);
	for (unsigned i = 0; i < result.n_samples; i++) {
		assert_int_equal(samples[i].calls, 1);
		assert_int_equal(samples[i].wall_ns, 3000);
	}
}

/* A clock with a step of 1 us says nothing of a call of 10 ns: the count grows
 * until it does. */
static int64_t coarse_now(void)
{
	return fake.now / 1000 * 1000;
}

static void test_coarse_clock(void **state)
{
	(void)state;
	struct bench_job job = { .call = fake_call, .payload = &fake, .now = coarse_now };

	reset();
	fake.call_ns = 10;
	bench_run(&job, &bench_default, samples, &result);
	assert_true(result.calls >= 200000 && result.calls <= 220000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_short_call),
		cmocka_unit_test(test_disturbed_calibration),
		cmocka_unit_test(test_jitter_is_seeded),
		cmocka_unit_test(test_sample_count),
		cmocka_unit_test(test_warm_up_limit),
		cmocka_unit_test(test_given),
		cmocka_unit_test(test_cold),
		cmocka_unit_test(test_coarse_clock),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
