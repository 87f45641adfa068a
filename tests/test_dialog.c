/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Talking to programs, and looking at them from outside. The programs are lines
 * of shell; limits of time bound hangs, nothing else.
 */
#include "../harness/arena.h"
#include "../harness/dialog.h"
#include "../harness/engine.h"
#include "../harness/memory.h"
#include "../harness/observe.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LIMIT_MS = 60000 };

static size_t count_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	size_t n = 0;

	assert_non_null(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

static void start(struct dialog *d, const char *script, const char *const *set,
                  const char *const *drop, int file)
{
	char *argv[] = { (char *)"sh", (char *)"-c", (char *)(uintptr_t)script, NULL };

	assert_true(dialog_start(d, &(struct dialog_start){ argv, "/", set, drop, file }));
}

static void test_lines(void **state)
{
	(void)state;
	size_t fds = count_fds();
	struct dialog d;
	int status;

	start(&d, "while read x y; do echo \"$y $x\"; done; exit 5", NULL, NULL, -1);
	assert_true(dialog_say(&d, "one %d", 2));
	assert_string_equal(dialog_hear(&d, LIMIT_MS), "2 one");
	assert_true(dialog_say(&d, "a b\nc d"));
	assert_string_equal(dialog_hear(&d, LIMIT_MS), "b a");
	assert_string_equal(dialog_hear(&d, LIMIT_MS), "d c");
	assert_true(dialog_end(&d, LIMIT_MS, &status)); /* the end of its input ends it */
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 5);
	assert_null(dialog_hear(&d, 0));
	assert_int_equal(count_fds(), fds);
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
}

static void test_missing(void **state)
{
	(void)state;
	size_t fds = count_fds();
	struct dialog d;
	char *argv[] = { (char *)"./no such program", NULL };

	assert_false(dialog_start(&d, &(struct dialog_start){ argv, "/", NULL, NULL, -1 }));
	assert_string_equal(d.why, "./no such program: No such file or directory");
	assert_false(dialog_start(&d, &(struct dialog_start){ argv, "/no such directory", NULL, NULL, -1 }));
	assert_int_equal(count_fds(), fds);
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
}

static void test_states(void **state)
{
	(void)state;
	struct dialog d;
	int status;

	start(&d, "printf 'a\\0b\\n'; read x", NULL, NULL, -1);
	assert_null(dialog_hear(&d, LIMIT_MS));
	assert_int_equal(d.state, DIALOG_FOREIGN);
	dialog_end(&d, LIMIT_MS, &status);

	start(&d, "head -c 5000 /dev/zero | tr '\\0' x; read x", NULL, NULL, -1);
	assert_null(dialog_hear(&d, LIMIT_MS));
	assert_int_equal(d.state, DIALOG_FOREIGN);
	dialog_end(&d, LIMIT_MS, &status);

	start(&d, "printf 'half a line'; read x", NULL, NULL, -1);
	assert_null(dialog_hear(&d, 300));
	assert_int_equal(d.state, DIALOG_LATE);
	dialog_end(&d, LIMIT_MS, &status);

	start(&d, "printf 'half a line'", NULL, NULL, -1);
	assert_null(dialog_hear(&d, LIMIT_MS));
	assert_int_equal(d.state, DIALOG_ENDED);
	assert_true(dialog_end(&d, LIMIT_MS, &status));

	start(&d, "kill -9 $$", NULL, NULL, -1);
	assert_null(dialog_hear(&d, LIMIT_MS));
	for (int i = 0; i < 3; i++) /* nobody reads it, and no signal kills us */
		dialog_say(&d, "anybody?");
	assert_true(dialog_end(&d, LIMIT_MS, &status));
	assert_true(WIFSIGNALED(status));

	start(&d, "trap '' TERM; exec sleep 1000", NULL, NULL, -1);
	assert_false(dialog_end(&d, 50, &status)); /* it had to be ended */
}

static void test_environment(void **state)
{
	(void)state;
	const char *const set[] = { "ATTN_TEST_A=new one", "ATTN_TEST_C=3", NULL };
	const char *const drop[] = { "ATTN_TEST_B", NULL };
	struct dialog d;
	int status;

	setenv("ATTN_TEST_A", "old", 1);
	setenv("ATTN_TEST_B", "2", 1);
	setenv("ATTN_TEST_BB", "kept", 1);
	start(&d, "echo $ATTN_TEST_A,$ATTN_TEST_B,$ATTN_TEST_C,$ATTN_TEST_BB,$(pwd)", set, drop, -1);
	assert_string_equal(dialog_hear(&d, LIMIT_MS), "new one,,3,kept,/");
	dialog_end(&d, LIMIT_MS, &status);
	assert_string_equal(getenv("ATTN_TEST_A"), "old");
}

/* What one side writes the other reads; nothing else that is open is passed on. */
static void test_shared_file(void **state)
{
	(void)state;
	struct arena a;
	struct dialog d;
	int status, other = open("/dev/null", O_RDONLY);

	assert_true(other >= 0);
	assert_true(arena_create_shared(&a, 4 * arena_room(64)));
	char *data = arena_alloc(&a, "data", 64);
	assert_non_null(data);
	memcpy(data, "hello", 6);
	long at = (unsigned char *)data - a.map;
	char script[256];
	snprintf(script, sizeof script,
	         "dd if=/proc/self/fd/3 bs=1 skip=%ld count=5 2>/dev/null; echo; "
	         "printf world | dd of=/proc/self/fd/3 bs=1 seek=%ld conv=notrunc 2>/dev/null; ls /proc/$$/fd | tr '\\n' ' '; echo",
	         at, at);
	start(&d, script, NULL, NULL, a.fd);
	assert_string_equal(dialog_hear(&d, LIMIT_MS), "hello");
	const char *fds = dialog_hear(&d, LIMIT_MS);
	assert_non_null(fds);
	char mine[16];
	snprintf(mine, sizeof mine, " %d ", other > 3 ? other : 99);
	assert_null(strstr(fds, mine));
	assert_memory_equal(data, "world", 5);
	assert_true(arena_check(&a));
	data[64] = 1;
	assert_false(arena_check(&a));
	assert_int_equal(ftruncate(a.fd, 0), -1); /* nobody can pull it away from under us */
	dialog_end(&d, LIMIT_MS, &status);
	arena_destroy(&a);
	close(other);
}

static void test_observe(void **state)
{
	(void)state;
	struct dialog d;
	struct observed before, after;
	struct sample s;
	int status;

	start(&d, "read x; i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; echo done; read x", NULL, NULL, -1);
	observe(d.pid, &before);
	assert_true(before.cpu_ns >= 0 && before.minflt > 0 && before.cpu >= 0 && before.nivcsw >= 0);
	dialog_say(&d, "go");
	assert_string_equal(dialog_hear(&d, LIMIT_MS), "done");
	observe(d.pid, &after);
	observe_difference(&before, &after, &s);
	assert_true(s.cpu_ns > 0 && s.minflt >= 0 && s.majflt >= 0 && s.nivcsw >= 0);

	assert_true(memory_resident_exact(d.pid) > 0);
	assert_true(memory_high_water_of(d.pid) >= memory_resident_exact(d.pid) / 2);
	cpu_set_t mask;
	unsigned cpus[CPU_SETSIZE];
	size_t n = 0;
	assert_int_equal(sched_getaffinity(d.pid, sizeof mask, &mask), 0);
	for (unsigned i = 0; i < CPU_SETSIZE; i++)
		if (CPU_ISSET(i, &mask))
			cpus[n++] = i;
	assert_int_equal(observe_unpinned(d.pid, cpus, n), 0);
	assert_int_equal(observe_unpinned(d.pid, cpus + 1, n - 1), 1);
	dialog_end(&d, LIMIT_MS, &status);

	observe(0x400001, &after); /* above the largest there can be: all unknown */
	assert_true(after.cpu_ns == -1 && after.nivcsw == -1 && after.minflt == -1 && after.cpu == -1);
	observe_difference(&before, &after, &s);
	assert_true(s.cpu_ns == -1 && s.minflt == -1);
}

/* Variants of an engine of three lines. */
static void test_variants(void **state)
{
	(void)state;
	char dir[] = "/tmp/attnbench-test-XXXXXX", path[64], error[ERROR_MAX];
	bool broken;

	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof path, "%s/e.ini", dir);
	FILE *f = fopen(path, "w");
	assert_non_null(f);
	fputs("[tiny]\ncommand = /bin/sh tiny.sh\n", f);
	fclose(f);
	snprintf(path, sizeof path, "%s/tiny.sh", dir);
	f = fopen(path, "w");
	assert_non_null(f);
	fputs("read x\necho engine 1 Tiny 2.0 beta\n"
	      "echo variant window same=sliding-window:left=7 forms=causal,later types=bf16 params=right new=key\n"
	      "echo variant odd like=lsh forms=bidirectional,cross package=thing version=3\necho end\n", f);
	fclose(f);
	snprintf(path, sizeof path, "%s/e.ini", dir);
	assert_true(engines_read(path, error));
	const struct attn_variant *v = engine_variant("tiny/window"), *base = attn_find("sliding-window");
	assert_non_null(v);
	const struct engine_info *info = engine_info(v);
	assert_string_equal(v->name, "tiny/window");
	assert_string_equal(info->impl, "Tiny 2.0 beta");
	assert_true(info->defined);
	assert_string_equal(v->family, "sparse");
	assert_ptr_equal(v->oracle, base->oracle);
	assert_ptr_equal(v->plan, base->plan);
	assert_null(v->forward);
	assert_true((v->flags & ATTN_CAUSAL) && (v->flags & ATTN_BF16_OK));
	assert_false(v->flags & (ATTN_BIDIRECTIONAL | ATTN_CROSS | ATTN_F16_OK));
	assert_true(v->params[0].def == 7 && base->params[0].def != 7);
	double arg[ATTN_MAX_PARAMS] = { 7, 3 };
	assert_null(engine_refusal(v, arg, &broken)); /* right is its own to set */
	arg[0] = 8;
	assert_non_null(strstr(engine_refusal(v, arg, &broken), "has no parameter left"));
	assert_false(broken);

	v = engine_variant("tiny/odd");
	assert_non_null(v);
	assert_string_equal(engine_info(v)->impl, "thing 3 (Tiny 2.0 beta)");
	assert_null(v->oracle);
	assert_null(engine_variant("tiny/nothing"));
	assert_null(engine_variant("nobody/odd"));
	assert_null(engine_info(attn_find("flash")));
	assert_null(engine_refusal(attn_find("flash"), arg, &broken));
	snprintf(path, sizeof path, "%s/tiny.sh", dir);
	unlink(path);
	snprintf(path, sizeof path, "%s/e.ini", dir);
	unlink(path);
	rmdir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lines),     cmocka_unit_test(test_missing),
		cmocka_unit_test(test_states),    cmocka_unit_test(test_environment),
		cmocka_unit_test(test_shared_file), cmocka_unit_test(test_observe),
		cmocka_unit_test(test_variants),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
