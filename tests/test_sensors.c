/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Sensors on a made-up machine: a directory of files in place of /proc and
 * /sys; and on this one, whatever it has. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../harness/memory.h"
#include "../harness/sensors.h"
#include "../harness/sysroot.h"

static char root[64];

static void put(const char *path, const char *text)
{
	char full[512];

	snprintf(full, sizeof full, "%s%s", root, path);
	for (char *p = full + strlen(root) + 1; (p = strchr(p, '/')); p++) {
		*p = '\0';
		mkdir(full, 0700);
		*p = '/';
	}
	FILE *f = fopen(full, "w");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static int set_up(void **state)
{
	(void)state;
	strcpy(root, "/tmp/attnbench-root-XXXXXX");
	return mkdtemp(root) && sysroot_set(root) ? 0 : -1;
}

static int tear_down(void **state)
{
	char command[128];

	(void)state;
	sysroot_set(NULL);
	snprintf(command, sizeof command, "rm -rf %s", root);
	return system(command);
}

static void put_stat(int steal0, int steal1)
{
	char text[512];

	snprintf(text, sizeof text,
	         "cpu  1 2 3 4 5 6 7 %d 0 0\ncpu0 1 2 3 4 5 6 7 %d 0 0\n"
	         "cpu1 1 2 3 4 5 6 7 %d 0 0\ncpu11 1 2 3 4 5 6 7 9999 0 0\nintr 5 0\n",
	         steal0 + steal1, steal0, steal1);
	put("/proc/stat", text);
}

static const struct sensor *named(const struct sensor *report, const char *name)
{
	for (size_t i = 0; i < SENSORS; i++)
		if (!strcmp(report[i].name, name))
			return &report[i];
	fail_msg("no sensor %s", name);
	return NULL;
}

static void test_round(void **state)
{
	(void)state;
	static const unsigned cpus[] = { 1 };
	struct sensors s;
	struct round_evidence round;

	put_stat(100, 7);
	put("/proc/self/cgroup", "12:memory:/a\n3:cpu,cpuacct:/jobs/one\n0::/\n");
	put("/sys/fs/cgroup/cpu,cpuacct/jobs/one/cpu.stat", "nr_periods 9\nnr_throttled 4\n");
	put("/sys/devices/system/cpu/cpu1/cpufreq/scaling_cur_freq", "2450000\n");
	sensors_open(&s, cpus, 1);
	sensors_round_begin(&s, &round);
	put_stat(500, 9);
	put("/sys/fs/cgroup/cpu,cpuacct/jobs/one/cpu.stat", "nr_periods 9\nnr_throttled 5\n");
	sensors_round_end(&s, &round);
	sensors_close(&s);
	assert_int_equal(round.steal_ticks, 2); /* of CPU 1 alone */
	assert_int_equal(round.throttled, 1);
	assert_int_equal(round.freq_khz, 2450000);
	assert_true(round.cal_before_ns > 0 && round.cal_after_ns > 0);

	/* Version 2, and CPUs that are not known: all of them. */
	put("/proc/self/cgroup", "0::/user/x\n");
	put("/sys/fs/cgroup/user/x/cpu.stat", "usage_usec 1\nnr_throttled 70\n");
	put_stat(100, 7);
	sensors_open(&s, NULL, 2);
	sensors_round_begin(&s, &round);
	put_stat(101, 9);
	sensors_round_end(&s, &round);
	sensors_close(&s);
	assert_int_equal(round.steal_ticks, 3);
	assert_int_equal(round.throttled, 0);
}

static void test_samples(void **state)
{
	(void)state;
	struct sensors s;
	struct sample sample = { 0 };

	put("/proc/self/task/17/schedstat", "5000 1000 3\n");
	put("/proc/self/task/18/schedstat", "6000 200 3\n");
	sensors_open(&s, NULL, 2);
	assert_int_equal(s.tasks, 2);
	sensors_before(&s);
	put("/proc/self/task/18/schedstat", "7000 950 4\n");
	sensors_after(&s, &sample);
	sensors_close(&s);
	assert_int_equal(sample.run_delay_ns, 750);
	assert_true(sample.cpu_ns >= 0 && sample.nivcsw >= 0 && sample.minflt >= 0 && sample.majflt >= 0);
	assert_true(sample.cpu_before >= 0 && sample.cpu_after >= 0);
}

static void test_absent(void **state)
{
	(void)state;
	struct sensors s;
	struct sample sample = { 0 };
	struct round_evidence round;
	struct sensor report[SENSORS];

	sensors_open(&s, NULL, 1);
	sensors_before(&s);
	sensors_after(&s, &sample);
	sensors_round_begin(&s, &round);
	sensors_round_end(&s, &round);
	sensors_close(&s);
	assert_int_equal(sample.run_delay_ns, -1);
	assert_int_equal(round.steal_ticks, -1);
	assert_int_equal(round.throttled, -1);
	assert_int_equal(round.freq_khz, -1);
	sensors_report(report);
	assert_false(named(report, "steal")->available);
	assert_string_equal(named(report, "steal")->reason, "No such file or directory");
	assert_false(named(report, "run_delay")->available);
	assert_false(named(report, "throttled")->available);
	assert_false(named(report, "freq")->available);
	assert_true(named(report, "nivcsw")->available);
	assert_true(named(report, "calibration")->available);
	assert_string_equal(named(report, "calibration")->reason, "");

	/* Files that are there and hold something else. */
	put("/proc/stat", "what is this\n");
	put("/proc/self/cgroup", "nonsense\n:::\n0::/\n");
	put("/proc/self/task/1/schedstat", "x\n");
	sensors_report(report);
	assert_string_equal(named(report, "steal")->reason, "no steal column in /proc/stat");
	assert_string_equal(named(report, "run_delay")->reason, "schedstat has no run delay");
	assert_string_equal(named(report, "throttled")->reason,
	                    "no cpu.stat with nr_throttled in the control group");
}

static void test_here(void **state)
{
	(void)state;
	struct sensor report[SENSORS];

	sysroot_set(NULL);
	sensors_report(report);
	for (size_t i = 0; i < SENSORS; i++) {
		assert_non_null(report[i].name);
		assert_non_null(report[i].measures);
		assert_int_equal(report[i].available, report[i].reason[0] == '\0');
	}
}

static void test_judge(void **state)
{
	(void)state;
	const struct round_evidence quiet = { .steal_ticks = 0, .throttled = -1 };
	struct round_evidence noisy = quiet;
	const struct sample clean = { .wall_ns = 1000000, .calls = 1, .cpu_before = 1, .cpu_after = 1 };
	static const struct {
		int64_t nivcsw, run_delay_ns;
		int cpu_after;
		bool pinned, disturbed;
	} table[] = {
		{ 0, 0, 1, true, false },
		{ 1, 10000, 1, true, false },  /* 1 % of a millisecond, not more */
		{ 1, 10001, 1, true, true },
		{ 0, 900000, 1, true, false }, /* waited, but was not preempted */
		{ 1, -1, 1, true, true },      /* how long is not known */
		{ -1, -1, 1, true, false },
		{ 0, 0, 2, true, true },
		{ 0, 0, 2, false, false },     /* free to move */
		{ 0, 0, -1, true, false },
	};

	for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
		struct sample s = clean;
		s.nivcsw = table[i].nivcsw;
		s.run_delay_ns = table[i].run_delay_ns;
		s.cpu_after = table[i].cpu_after;
		sensors_judge(&s, 1, &quiet, 1, table[i].pinned);
		assert_int_equal(s.disturbed, table[i].disturbed);
	}
	struct sample s = clean;
	s.nivcsw = 1;
	s.run_delay_ns = 19000; /* 0.95 % of two threads */
	sensors_judge(&s, 1, &quiet, 2, true);
	assert_false(s.disturbed);
	s = clean;
	noisy.steal_ticks = 1;
	sensors_judge(&s, 1, &noisy, 1, true);
	assert_true(s.disturbed);
	noisy = quiet;
	noisy.throttled = 1;
	sensors_judge(&s, 1, &noisy, 1, true);
	assert_true(s.disturbed);
}

static void test_memory(void **state)
{
	(void)state;
	assert_int_equal(memory_resident(), -1);
	assert_int_equal(memory_high_water(), -1);
	assert_false(memory_reset_high_water());
	put("/proc/self/status", "Name:\tx\nVmPeak:\t 999 kB\nVmHWM:\t    2048 kB\nVmRSS:\t 1024 kB\n");
	assert_int_equal(memory_high_water(), 2048 * 1024);
	assert_int_equal(memory_resident(), 1024 * 1024);
	put("/proc/self/smaps_rollup", "0-1 ---p 0 00:00 0 [rollup]\nRss:     1028 kB\nPss: 3 kB\n");
	assert_int_equal(memory_resident(), 1028 * 1024);
	put("/proc/42/statm", "100 25 3 1 0 2 0\n");
	assert_int_equal(memory_resident_of(42), 25 * sysconf(_SC_PAGESIZE));
	assert_int_equal(memory_resident_of(43), -1);
	assert_int_equal(memory_oom_kills(), -1);
	put("/proc/vmstat", "nr_free_pages 1\noom_kill 12\nnr_x 3\n");
	assert_int_equal(memory_oom_kills(), 12);
	put("/proc/self/clear_refs", "");
	assert_true(memory_reset_high_water());
	assert_true(memory_resolution(1) >= 32 * sysconf(_SC_PAGESIZE));
	assert_int_equal(memory_resolution(3), 3 * memory_resolution(1));

	sysroot_set(NULL);
	int64_t now = memory_resident();
	assert_true(now == -1 || now > 100 * 1024);
}

static void test_paths(void **state)
{
	(void)state;
	char path[SYSROOT_PATH_MAX], text[8], long_root[SYSROOT_MAX + 1];

	assert_true(sysroot_path(path, "/proc/%d/stat", 7));
	assert_true(!strncmp(path, root, strlen(root)) && strstr(path, "/proc/7/stat"));
	assert_false(sysroot_path(path, "/%2000d", 7));
	memset(long_root, 'x', SYSROOT_MAX);
	long_root[SYSROOT_MAX] = '\0';
	assert_false(sysroot_set(long_root));
	assert_string_equal(sysroot(), root);
	put("/proc/file", "0123456789");
	assert_null(sysroot_read(text, sizeof text, "/proc/file"));
	assert_string_equal(text, "0123456"); /* cut, and ended */
	assert_non_null(sysroot_read(text, sizeof text, "/proc"));
	assert_non_null(sysroot_read(text, sizeof text, "/proc/none"));
}

int main(void)
{
#define WITH_ROOT(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		WITH_ROOT(test_round),
		WITH_ROOT(test_samples),
		WITH_ROOT(test_absent),
		WITH_ROOT(test_here),
		WITH_ROOT(test_judge),
		WITH_ROOT(test_memory),
		WITH_ROOT(test_paths),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
