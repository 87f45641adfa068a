/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Sensors on a made-up machine: a directory of files in place of /proc and
 * /sys; and on this one, whatever it has. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
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
	put("/sys/fs/cgroup/cpu/jobs/one/cpu.stat", "nr_periods 9\nnr_throttled 4\n");
	put("/sys/devices/system/cpu/cpu1/cpufreq/scaling_cur_freq", "2450000\n");
	sensors_open(&s, cpus, 1);
	sensors_round_begin(&s, &round);
	put_stat(500, 9);
	put("/sys/fs/cgroup/cpu/jobs/one/cpu.stat", "nr_periods 9\nnr_throttled 5\n");
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
	assert_int_equal(s.tasks.n, 2);
	assert_true(s.tasks.id[0] + s.tasks.id[1] == 17 + 18);
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
	assert_int_equal(round.pressure_us, -1);
	assert_int_equal(round.runnable, -1);
	assert_int_equal(round.temperature_mdegc, -1);
	assert_int_equal(round.core_throttles, -1);
	assert_int_equal(sample.energy_uj, -1);
	assert_int_equal(sample.cycles, -1);
	assert_true(isnan(sample.perf_scale));
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
	                    "No such file or directory");
	put("/sys/fs/cgroup/cpu.stat", "usage_usec 5\n");
	put("/proc/pressure/cpu", "full avg10=0.00 total=7\n");
	put("/proc/loadavg", "x\n");
	put("/sys/class/thermal/thermal_zone0/temp", "warm\n");
	sensors_report(report);
	assert_string_equal(named(report, "throttled")->reason,
	                    "no cpu.stat with nr_throttled in the control group");
	assert_string_equal(named(report, "pressure")->reason, "no total in /proc/pressure/cpu");
	assert_string_equal(named(report, "runnable")->reason, "no count in /proc/loadavg");
	assert_string_equal(named(report, "temperature")->reason, "not a number");
}

/* Readings that only some machines have. */
static void test_more_evidence(void **state)
{
	(void)state;
	static const unsigned cpus[] = { 2, 3 };
	struct sensors s;
	struct round_evidence round;
	int64_t bytes;

	put("/proc/pressure/cpu", "some avg10=1.00 avg60=0 avg300=0 total=1000\nfull avg10=0 total=9\n");
	put("/proc/loadavg", "1.50 1.00 0.50 4/321 999\n");
	put("/sys/class/thermal/thermal_zone0/temp", "41000\n");
	put("/sys/class/thermal/thermal_zone1/temp", "57500\n");
	put("/sys/devices/system/cpu/cpu2/thermal_throttle/core_throttle_count", "10\n");
	put("/sys/devices/system/cpu/cpu3/thermal_throttle/core_throttle_count", "1\n");
	sensors_open(&s, cpus, 2);
	sensors_round_begin(&s, &round);
	put("/proc/pressure/cpu", "some avg10=1.00 avg60=0 avg300=0 total=1250\n");
	put("/sys/devices/system/cpu/cpu3/thermal_throttle/core_throttle_count", "4\n");
	sensors_round_end(&s, &round);
	sensors_close(&s);
	assert_int_equal(round.pressure_us, 250);
	assert_int_equal(round.runnable, 4);
	assert_int_equal(round.temperature_mdegc, 57500);
	assert_int_equal(round.core_throttles, 3);

	assert_non_null(read_group_peak(&bytes)); /* in no group that is known */
	put("/proc/self/cgroup", "4:memory:/jobs\n0::/\n");
	put("/sys/fs/cgroup/memory/memory.max_usage_in_bytes", "111\n"); /* mounted as the root */
	assert_null(read_group_peak(&bytes));
	assert_int_equal(bytes, 111);
	put("/sys/fs/cgroup/memory/jobs/memory.max_usage_in_bytes", "4096000\n");
	assert_null(read_group_peak(&bytes));
	assert_int_equal(bytes, 4096000);
	put("/proc/self/cgroup", "0::/user/x\n");
	put("/sys/fs/cgroup/user/x/memory.peak", "12345\n");
	assert_null(read_group_peak(&bytes));
	assert_int_equal(bytes, 12345);
}

/* Two packages, one of which wraps; parts of a package are not counted twice. */
static void test_energy(void **state)
{
	(void)state;
	struct energy e;
	struct sensors s;
	struct sample sample = { .wall_ns = 2000000000 };
	int64_t uj;

	assert_non_null(energy_open(&e));
	put("/sys/class/powercap/intel-rapl:0/name", "package-0\n");
	put("/sys/class/powercap/intel-rapl:0/energy_uj", "9000\n");
	put("/sys/class/powercap/intel-rapl:0/max_energy_range_uj", "10000\n");
	put("/sys/class/powercap/intel-rapl:1/name", "package-1\n");
	put("/sys/class/powercap/intel-rapl:1/energy_uj", "50\n");
	put("/sys/class/powercap/intel-rapl:0:0/name", "package-core\n");
	put("/sys/class/powercap/intel-rapl:0:0/energy_uj", "1\n");
	put("/sys/class/powercap/intel-rapl:2/name", "psys\n");
	assert_null(energy_open(&e));
	assert_int_equal(e.zones, 2);
	put("/sys/class/powercap/intel-rapl:0/energy_uj", "500\n");
	put("/sys/class/powercap/intel-rapl:1/energy_uj", "80\n");
	assert_null(energy_read(&e, &uj));
	assert_int_equal(uj, 1500 + 30);
	put("/sys/class/powercap/intel-rapl:1/energy_uj", "10\n"); /* its range is not known */
	assert_string_equal(energy_read(&e, &uj), "an energy counter went back");

	sensors_open(&s, NULL, 1);
	for (int i = 0; i < 2; i++) {
		sensors_before(&s);
		put("/sys/class/powercap/intel-rapl:0/energy_uj", i ? "900\n" : "700\n");
		sensors_after(&s, &sample);
		assert_int_equal(sample.energy_uj, i ? -1 : 200);
		sample.wall_ns = 900000000; /* too short to say */
	}
	sensors_close(&s);
}

static void test_words(void **state)
{
	(void)state;
	assert_string_equal(disturbance_text(0), "");
	assert_string_equal(disturbance_text(DISTURBED_PREEMPTED | DISTURBED_HOT), "preempted;hot");
	for (unsigned bits = 0; bits < 1u << DISTURBANCES; bits++)
		assert_int_equal(disturbance_bits(disturbance_text(bits)), bits);
	assert_int_equal(disturbance_bits("stolen;of another version"), DISTURBED_STOLEN);
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
		assert_int_equal(s.disturbed != 0, table[i].disturbed);
	}
	struct sample s = clean;
	s.nivcsw = 1;
	s.run_delay_ns = 19000; /* 0.95 % of two threads */
	sensors_judge(&s, 1, &quiet, 2, true);
	assert_false(s.disturbed);
	s = clean;
	noisy.steal_ticks = 1;
	sensors_judge(&s, 1, &noisy, 1, true);
	assert_int_equal(s.disturbed, DISTURBED_STOLEN);
	noisy = quiet;
	noisy.throttled = 1;
	noisy.core_throttles = 2;
	sensors_judge(&s, 1, &noisy, 1, true);
	assert_int_equal(s.disturbed, DISTURBED_THROTTLED | DISTURBED_HOT);
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
		WITH_ROOT(test_more_evidence),
		WITH_ROOT(test_energy),
		cmocka_unit_test(test_words),
		WITH_ROOT(test_here),
		WITH_ROOT(test_judge),
		WITH_ROOT(test_memory),
		WITH_ROOT(test_paths),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
