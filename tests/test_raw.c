/* SPDX-License-Identifier: BSD-3-Clause
 *
 * raw.csv: whole groups or nothing. Cut at every byte, it opens again with the
 * groups that were whole, and can be appended to. */
#include "../harness/csv.h"
#include "../harness/raw.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static char dir[64], path[80];

static int setup(void **state)
{
	(void)state;
	/* In memory, if there is such a place: thousands of files are cut here. */
	snprintf(dir, sizeof dir, "%s/test-raw-XXXXXX", access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm");
	if (!mkdtemp(dir))
		return -1;
	snprintf(path, sizeof path, "%s/raw.csv", dir);
	return 0;
}

static int teardown(void **state)
{
	char command[128];

	(void)state;
	snprintf(command, sizeof command, "rm -rf '%s'", dir);
	return system(command);
}

static void make_rows(struct raw_row *rows, size_t n, const char *cell, int64_t round)
{
	for (size_t i = 0; i < n; i++) {
		row_clear(&raw_table, &rows[i]);
		rows[i].key.cell_id = cell;
		rows[i].key.variant = "full";
		rows[i].pass = n > 1 ? "time" : "memory";
		rows[i].status = "ok";
		rows[i].round = round;
		if (n > 1) {
			rows[i].sample = (int64_t)i;
			rows[i].samples_in_round = (int64_t)n;
			rows[i].calls = 1;
			rows[i].wall_ns = 1000;
		}
		rows[i].message = "a, \"quoted\"\nmessage";
	}
}

static bool count_rows(void *user, const struct raw_row *row, char *error)
{
	(void)row;
	(void)error;
	++*(size_t *)user;
	return true;
}

static char *slurp(size_t *len)
{
	struct stat st;
	int fd = open(path, O_RDONLY);

	assert_true(fd >= 0 && fstat(fd, &st) == 0);
	*len = (size_t)st.st_size;
	char *data = malloc(*len + 1);
	assert_true(read(fd, data, *len) == (ssize_t)*len);
	close(fd);
	return data;
}

static void spill(const char *data, size_t len)
{
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	assert_int_equal(fwrite(data, 1, len, file), len);
	fclose(file);
}

/* Three groups: 1, 4 and 3 rows. ends: the size after each. */
static char *three_groups(size_t ends[4], size_t *len)
{
	struct raw_row rows[4];
	struct raw raw;
	char error[ERROR_MAX];
	size_t n = 0;

	unlink(path);
	assert_int_equal(raw_open(&raw, dir, false, count_rows, &n, error), RAW_OK);
	ends[0] = raw.size;
	const size_t sizes[] = { 1, 4, 3 };
	for (size_t g = 0; g < 3; g++) {
		make_rows(rows, sizes[g], "0123456789abcdef", (int64_t)g);
		assert_true(raw_append(&raw, rows, sizes[g], error));
		ends[g + 1] = raw.size;
	}
	assert_true(raw_sync(&raw, error));
	raw_close(&raw);
	return slurp(len);
}

static void test_cut_at_every_byte(void **state)
{
	static const size_t rows_until[] = { 0, 1, 5, 8 };
	size_t ends[4], len;
	char *whole = three_groups(ends, &len), error[ERROR_MAX];

	(void)state;
	assert_int_equal(ends[3], len);
	for (size_t cut = 0; cut <= len; cut++) {
		struct raw raw;
		struct raw_row row;
		size_t n = 0, good = 0, groups = 0;
		spill(whole, cut);
		for (size_t g = 0; g < 4; g++)
			if (ends[g] <= cut) {
				good = ends[g];
				groups = g;
			}
		if (raw_open(&raw, dir, false, count_rows, &n, error) != RAW_OK)
			fail_msg("cut at %zu: %s", cut, error);
		assert_int_equal(n, good ? rows_until[groups] : 0);
		assert_int_equal(raw.torn, cut - good);
		/* What follows is in the file once, behind what was whole. */
		make_rows(&row, 1, "fedcba9876543210", 9);
		assert_true(raw_append(&raw, &row, 1, error));
		raw_close(&raw);
		n = 0;
		assert_true(raw_read(dir, count_rows, &n, error));
		assert_int_equal(n, (good ? rows_until[groups] : 0) + 1);
	}
	free(whole);
}

/* A file system may leave zeros where data was to be. */
static void test_zeros_at_the_end(void **state)
{
	size_t ends[4], len, n = 0;
	char *whole = three_groups(ends, &len), error[ERROR_MAX];
	struct raw raw;

	(void)state;
	char *longer = calloc(1, len + 5000);
	memcpy(longer, whole, ends[2] + 10);
	spill(longer, len + 5000);
	assert_int_equal(raw_open(&raw, dir, false, count_rows, &n, error), RAW_OK);
	assert_int_equal(n, 5);
	assert_int_equal(raw.size, ends[2]);
	raw_close(&raw);
	free(longer);
	free(whole);
}

/* Damage before the end is not repaired but reported, and nothing is cut. */
static void test_damage(void **state)
{
	size_t ends[4], len, n = 0;
	char *whole = three_groups(ends, &len), error[ERROR_MAX];
	struct raw raw;
	struct stat st;

	(void)state;
	char *at = strstr(whole + ends[1], ",time,");
	assert_non_null(at);
	memcpy(at, ",tame,", 6);
	spill(whole, len);
	assert_int_equal(raw_open(&raw, dir, false, count_rows, &n, error), RAW_ERROR);
	assert_non_null(strstr(error, "row 3"));
	assert_non_null(strstr(error, "'tame' is none of"));
	assert_true(stat(path, &st) == 0 && (size_t)st.st_size == len);
	free(whole);

	/* A file of somebody else stays as it is. */
	spill("hello", 5);
	assert_int_equal(raw_open(&raw, dir, false, count_rows, &n, error), RAW_ERROR);
	assert_true(stat(path, &st) == 0 && st.st_size == 5);
	spill("variant,n_q\nfull,7\n", 19);
	assert_int_equal(raw_open(&raw, dir, false, count_rows, &n, error), RAW_ERROR);
	assert_non_null(strstr(error, "another version"));
}

static void test_missing_sample(void **state)
{
	size_t ends[4], len, n = 0;
	char *whole = three_groups(ends, &len), error[ERROR_MAX];
	struct raw raw;

	(void)state;
	/* The second group loses its third row. */
	char *row = whole + ends[1];
	for (int i = 0; i < 2; i++) /* a row is two lines: its message has a newline */
		row = strchr(strchr(row, '\n') + 1, '\n') + 1;
	char *next = strchr(strchr(row, '\n') + 1, '\n') + 1;
	memmove(row, next, len - (size_t)(next - whole));
	spill(whole, len - (size_t)(next - row));
	assert_int_equal(raw_open(&raw, dir, false, count_rows, &n, error), RAW_ERROR);
	assert_non_null(strstr(error, "sample 2"));
	free(whole);
}

static void test_two_processes(void **state)
{
	struct raw raw, second;
	char error[ERROR_MAX], pid[32];
	size_t n = 0;

	(void)state;
	unlink(path);
	assert_int_equal(raw_open(&raw, dir, false, count_rows, &n, error), RAW_OK);
	assert_int_equal(raw_open(&second, dir, false, count_rows, &n, error), RAW_BUSY);
	snprintf(pid, sizeof pid, "process %ld ", (long)getpid());
	if (access("/proc/locks", R_OK) == 0 && !strstr(error, pid) && !strstr(error, "another process"))
		fail_msg("%s", error);
	assert_non_null(strstr(error, "--out"));
	/* Not even --fresh takes it away from the other. */
	assert_int_equal(raw_open(&second, dir, true, count_rows, &n, error), RAW_BUSY);
	raw_close(&raw);
	assert_int_equal(raw_open(&second, dir, false, count_rows, &n, error), RAW_OK);
	raw_close(&second);
}

static void test_fresh(void **state)
{
	size_t ends[4], len, n = 0;
	char *whole = three_groups(ends, &len), error[ERROR_MAX], command[200];
	struct raw raw;

	(void)state;
	assert_int_equal(raw_open(&raw, dir, true, count_rows, &n, error), RAW_OK);
	assert_int_equal(n, 0);
	assert_int_equal(raw.size, ends[0]);
	raw_close(&raw);
	/* The old rows are there under another name, byte for byte. */
	spill(whole, len);
	snprintf(command, sizeof command, "cmp -s '%s' '%s'.2*", path, path);
	assert_int_equal(system(command), 0);
	free(whole);
}

/* A full disk: the group that did not fit is not there at all. */
static void test_full_disk(void **state)
{
	size_t ends[4], len;
	char *whole = three_groups(ends, &len);
	int status;

	(void)state;
	free(whole);
	pid_t pid = fork();
	if (pid == 0) {
		struct raw raw;
		struct raw_row rows[4];
		char error[ERROR_MAX] = "";
		size_t n = 0;
		const struct rlimit limit = { len + 100, len + 100 };
		signal(SIGXFSZ, SIG_IGN);
		if (raw_open(&raw, dir, false, count_rows, &n, error) != RAW_OK || n != 8)
			_exit(1);
		setrlimit(RLIMIT_FSIZE, &limit);
		make_rows(rows, 4, "fedcba9876543210", 9);
		if (raw_append(&raw, rows, 4, error) || !strstr(error, "cannot write raw.csv"))
			_exit(2);
		_exit(0);
	}
	assert_true(waitpid(pid, &status, 0) == pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	struct stat st;
	assert_true(stat(path, &st) == 0 && (size_t)st.st_size == len);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cut_at_every_byte), cmocka_unit_test(test_zeros_at_the_end),
		cmocka_unit_test(test_damage),            cmocka_unit_test(test_missing_sample),
		cmocka_unit_test(test_two_processes),     cmocka_unit_test(test_fresh),
		cmocka_unit_test(test_full_disk),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
