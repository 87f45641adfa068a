/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Choice of CPUs on machines that are not here: hwloc builds them from a line
 * of text. */
#include "../harness/sysroot.h"
#include "../harness/topo.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static struct topo *load(const char *synthetic)
{
	char error[ERROR_MAX];

	setenv("HWLOC_SYNTHETIC", synthetic, 1);
	struct topo *topo = topo_load(error);
	if (!topo)
		fail_msg("%s: %s", synthetic, error);
	unsetenv("HWLOC_SYNTHETIC");
	return topo;
}

static void choose(const struct topo *topo, unsigned threads, const char *wanted, unsigned *cpus)
{
	char error[ERROR_MAX];

	if (!topo_choose(topo, threads, wanted, cpus, error))
		fail_msg("%s", error);
	for (unsigned i = 0; i < threads; i++)
		for (unsigned k = 0; k < i; k++)
			assert_int_not_equal(cpus[i], cpus[k]);
}

static void refuse(const struct topo *topo, unsigned threads, const char *wanted, const char *part)
{
	unsigned cpus[TOPO_CPUS_MAX];
	char error[ERROR_MAX];

	assert_false(topo_choose(topo, threads, wanted, cpus, error));
	if (!strstr(error, part))
		fail_msg("'%s' does not say '%s'", error, part);
}

static void test_one_cpu(void **state)
{
	struct topo *topo = load("core:1 pu:1");
	struct topo_info info;
	unsigned cpus[2];

	(void)state;
	topo_info(topo, &info);
	assert_true(info.pus == 1 && info.cores == 1 && info.smt == 1 && info.synthetic);
	choose(topo, 1, NULL, cpus);
	assert_int_equal(cpus[0], 0); /* there is no other */
	refuse(topo, 2, NULL, "2 threads are more than the 1 CPUs");
	topo_free(topo);
}

static void test_two_cpus(void **state)
{
	struct topo *topo = load("l3:1(size=32MB) l2:2(size=1MB) core:1 pu:1");
	struct topo_info info;
	unsigned cpus[2];

	(void)state;
	topo_info(topo, &info);
	assert_true(info.pus == 2 && info.cores == 2);
	assert_int_equal(info.llc_bytes, 32000000); /* hwloc's MB is 10^6 */
	assert_int_equal(info.effective_cpus, 2);
	choose(topo, 1, NULL, cpus);
	assert_int_equal(cpus[0], 1); /* CPU 0 has the interrupts */
	choose(topo, 2, NULL, cpus);
	assert_true(cpus[0] == 1 && cpus[1] == 0);
	topo_free(topo);
}

/* Two threads a core: one of each core first. */
static void test_smt(void **state)
{
	struct topo *topo = load("core:4 pu:2");
	struct topo_info info;
	unsigned cpus[8], of_core[4] = { 0 };

	(void)state;
	topo_info(topo, &info);
	assert_true(info.smt == 2 && info.cores == 4 && info.pus == 8);
	choose(topo, 3, NULL, cpus);
	for (unsigned i = 0; i < 3; i++)
		assert_true(cpus[i] >= 2 && cpus[i] % 2 == 0); /* not the core of CPU 0 */
	choose(topo, 4, NULL, cpus);
	for (unsigned i = 0; i < 4; i++)
		of_core[cpus[i] / 2]++;
	for (unsigned core = 0; core < 4; core++)
		assert_int_equal(of_core[core], 1);
	choose(topo, 8, NULL, cpus);
	topo_free(topo);
}

/* One NUMA node if it can hold all, CPU 0's last. */
static void test_numa(void **state)
{
	struct topo *topo = load("numa:2 core:32 pu:1");
	struct topo_info info;
	unsigned cpus[64];

	(void)state;
	topo_info(topo, &info);
	assert_true(info.numa_nodes == 2 && info.pus == 64);
	choose(topo, 31, NULL, cpus);
	for (unsigned i = 1; i < 31; i++)
		assert_int_equal(cpus[i] / 32, cpus[0] / 32);
	choose(topo, 32, NULL, cpus); /* 31 without CPU 0, so the other node */
	for (unsigned i = 0; i < 32; i++)
		assert_int_equal(cpus[i] / 32, 1);
	choose(topo, 40, NULL, cpus);
	unsigned second = 0;
	for (unsigned i = 0; i < 40; i++)
		second += cpus[i] / 32 == 1;
	assert_int_equal(second, 32); /* a whole node and part of the other */
	choose(topo, 64, NULL, cpus);
	topo_free(topo);
}

static void test_large(void **state)
{
	struct topo *topo = load("pack:2 numa:4 core:8 pu:2");
	struct topo_info info;
	unsigned cpus[128], nodes = 0;
	bool used[8] = { false };

	(void)state;
	topo_info(topo, &info);
	assert_true(info.packages == 2 && info.numa_nodes == 8 && info.cores == 64 && info.pus == 128);
	choose(topo, 8, NULL, cpus);
	for (unsigned i = 0; i < 8; i++) {
		assert_int_equal(cpus[i] % 2, 0);
		assert_int_equal(cpus[i] / 16, cpus[0] / 16);
	}
	choose(topo, 20, NULL, cpus);
	for (unsigned i = 0; i < 20; i++)
		used[cpus[i] / 16] = true;
	for (unsigned i = 0; i < 8; i++)
		nodes += used[i];
	assert_int_equal(nodes, 3);
	choose(topo, 64, NULL, cpus);
	for (unsigned i = 0; i < 64; i++)
		assert_int_equal(cpus[i] % 2, 0);
	choose(topo, 128, NULL, cpus);
	topo_free(topo);
}

static void test_wanted(void **state)
{
	struct topo *topo = load("core:8 pu:1");
	unsigned cpus[8];
	char allowed[64];

	(void)state;
	topo_allowed(topo, allowed, sizeof allowed);
	assert_string_equal(allowed, "0-7");
	choose(topo, 2, "3,5", cpus);
	assert_true(cpus[0] == 3 && cpus[1] == 5);
	choose(topo, 1, "0", cpus);
	assert_int_equal(cpus[0], 0); /* asked for, so given */
	choose(topo, 3, "4-6", cpus);
	refuse(topo, 3, "3,5", "more than the 2 CPUs of --cpus");
	refuse(topo, 1, "9", "more than this process may use: 0-7");
	refuse(topo, 1, "a-b", "is not a list of CPUs");
	refuse(topo, 1, "", "is not a list of CPUs");
	refuse(topo, 1, "3-", "--cpus");
	topo_free(topo);
}

static void test_export(void **state)
{
	struct topo *topo = load("core:2 pu:1");
	char dir[] = "/tmp/attnbench-topo-XXXXXX", path[64], error[ERROR_MAX];
	struct stat st;

	(void)state;
	assert_non_null(mkdtemp(dir));
	assert_true(topo_export(topo, dir, error));
	snprintf(path, sizeof path, "%s/topology.xml", dir);
	assert_true(stat(path, &st) == 0 && st.st_size > 100);
	assert_false(topo_export(topo, "/nowhere", error));
	assert_non_null(strstr(error, "/nowhere/topology.xml"));
	unlink(path);
	rmdir(dir);
	topo_free(topo);
}

/* This machine, whatever it is. */
static void test_here(void **state)
{
	char error[ERROR_MAX];
	struct topo *topo = topo_load(error);
	struct topo_info info;
	unsigned cpu;

	(void)state;
	assert_non_null(topo);
	topo_info(topo, &info);
	assert_true(info.pus >= 1 && info.effective_cpus > 0 && !info.synthetic);
	choose(topo, 1, NULL, &cpu);
	topo_free(topo);
}

static void put(const char *root, const char *path, const char *text)
{
	char full[512];

	snprintf(full, sizeof full, "%s%s", root, path);
	for (char *slash = full + strlen(root) + 1; (slash = strchr(slash, '/')); slash++) {
		*slash = '\0';
		mkdir(full, 0777);
		*slash = '/';
	}
	FILE *file = fopen(full, "w");
	assert_non_null(file);
	fputs(text, file);
	fclose(file);
}

/* Quotas of both versions of control groups; the least on the way up counts. */
static void test_quota(void **state)
{
	char root[] = "/tmp/attnbench-root-XXXXXX", command[64];

	(void)state;
	assert_non_null(mkdtemp(root));
	assert_true(sysroot_set(root));
	assert_true(topo_quota() == 0); /* no /proc at all */
	put(root, "/proc/self/cgroup", "0::/a/b\n");
	assert_true(topo_quota() == 0);
	put(root, "/sys/fs/cgroup/a/b/cpu.max", "max 100000\n");
	assert_true(topo_quota() == 0);
	put(root, "/sys/fs/cgroup/a/b/cpu.max", "400000 100000\n");
	assert_true(topo_quota() == 4);
	put(root, "/sys/fs/cgroup/a/cpu.max", "150000 100000\n");
	assert_true(topo_quota() == 1.5);
	put(root, "/proc/self/cgroup", "4:cpuset:/\n2:cpu,cpuacct:/x\n0::/\n");
	put(root, "/sys/fs/cgroup/cpu/x/cpu.cfs_quota_us", "50000\n");
	put(root, "/sys/fs/cgroup/cpu/x/cpu.cfs_period_us", "100000\n");
	assert_true(topo_quota() == 0.5);
	put(root, "/sys/fs/cgroup/cpu/x/cpu.cfs_quota_us", "-1\n");
	assert_true(topo_quota() == 0);
	sysroot_set(NULL);
	snprintf(command, sizeof command, "rm -rf '%s'", root);
	assert_int_equal(system(command), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one_cpu), cmocka_unit_test(test_two_cpus),
		cmocka_unit_test(test_smt),     cmocka_unit_test(test_numa),
		cmocka_unit_test(test_large),   cmocka_unit_test(test_wanted),
		cmocka_unit_test(test_export),  cmocka_unit_test(test_here),
		cmocka_unit_test(test_quota),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
