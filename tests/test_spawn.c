/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Workers from end to end. This program is its own worker: spawn_job() starts
 * /proc/self/exe with the argument "worker". The faults come from faulty.so
 * beside it. Limits of time are generous: they bound hangs, nothing else.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../harness/frame.h"
#include "../harness/job.h"
#include "../harness/plugin.h"
#include "../harness/support.h"
#include "../harness/sysroot.h"
#include "../harness/wire.h"

/* After them: fail() is a function of the harness and a macro of cmocka. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#if defined(__SANITIZE_ADDRESS__)
#define ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ASAN 1
#endif
#endif
#ifndef ASAN
#define ASAN 0
#endif

static char here[256]; /* the directory of this program */
static struct outcome out;

static struct job job_for(const char *variant, enum pass pass)
{
	struct job job = { .pass = pass, .timeout_s = 60 };
	struct cell *c = &job.cell;

	c->variant = variant_find(variant);
	assert_non_null(c->variant);
	for (size_t i = 0; c->variant->params && c->variant->params[i].name; i++)
		c->arg[i] = c->variant->params[i].def;
	c->batch = 1;
	c->heads = c->kv_heads = 2;
	c->n_q = c->n_k = 96;
	c->d = c->d_v = 16;
	c->threads = 1;
	c->seed = 1;
	strcpy(c->input, "gauss:sigma=1");
	return job;
}

static struct job fault(const char *how, enum pass pass)
{
	struct job job = job_for("faulty", pass);
	const struct attn_param *p = &job.cell.variant->params[0];

	for (size_t i = 0;; i++) {
		assert_non_null(p->names[i]);
		if (!strcmp(p->names[i], how)) {
			job.cell.arg[0] = (double)i;
			return job;
		}
	}
}

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

/* Runs it, and finds no descriptor and no child left. */
static void run(const struct job *job)
{
	size_t fds = count_fds();

	spawn_job(job, &out);
	assert_int_equal(count_fds(), fds);
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	assert_int_equal(errno, ECHILD);
	assert_true(out.life_ns > 0 || out.exit_code == 0);
}

static void expect(enum status status, const char *message)
{
	if (out.status != status || !strstr(out.message, message))
		fail_msg("%s: '%s', not %s with '%s'; it printed '%s'", status_names[out.status],
		         out.message, status_names[status], message, out.output);
}

/* ---- a good worker ---------------------------------------------------------------- */

static void test_time(void **state)
{
	(void)state;
	struct job job = job_for("flash", PASS_TIME);

	run(&job);
	expect(STATUS_OK, "");
	assert_int_equal(out.exit_code, 0);
	assert_int_equal(out.signal, 0);
	assert_true(out.n_samples >= 3 && out.n_samples <= 15);
	assert_true(out.calls >= 1 && out.first_call_ns > 0 && out.prepare_ns == 0);
	assert_true(out.round.cal_before_ns > 0 && out.round.cal_after_ns > 0);
	for (unsigned i = 0; i < out.n_samples; i++) {
		const struct sample *s = &out.samples[i];
		assert_true(s->wall_ns > 0 && s->cpu_ns > 0 && s->calls >= out.calls);
		assert_true(s->calls <= out.calls + out.calls / 10);
		assert_true(s->nivcsw >= 0 && s->minflt >= 0 && s->cpu_before >= 0);
	}
	assert_int_equal(out.io_bytes, 4 * 2 * 96 * 16 * 4);
	assert_int_equal(out.ws_tracked_bytes, out.ws_model_bytes);
	assert_true(out.flops_useful > 0 && out.bytes_model > 0);
	assert_true(isnan(out.err_exact_rel_fro) != 0);
	assert_int_equal(out.rss_peak_bytes, -1);

	/* What a round before found out is taken as it is. */
	job.calls = out.calls + 7;
	job.samples = 4;
	run(&job);
	expect(STATUS_OK, "");
	assert_int_equal(out.calls, job.calls);
	assert_int_equal(out.n_samples, 4);

	job.cell.cache = CACHE_COLD;
	run(&job);
	expect(STATUS_FAILED, "scrub");
	job.scrub_bytes = 1 << 20;
	run(&job);
	expect(STATUS_OK, "");
	assert_int_equal(out.calls, 1);
}

static void test_threads(void **state)
{
	(void)state;
	for (unsigned threads = 1; threads <= 5; threads++) {
		struct job job = job_for("flash", PASS_ACCURACY);
		job.cell.threads = threads;
		job.cell.heads = job.cell.kv_heads = 3;
		run(&job);
		expect(STATUS_OK, "");
		job.pass = PASS_TIME;
		run(&job);
		expect(STATUS_OK, "");
	}
}

static void test_pinned(void **state)
{
	(void)state;
	cpu_set_t allowed;
	struct job job = job_for("full", PASS_TIME);

	assert_int_equal(sched_getaffinity(0, sizeof allowed, &allowed), 0);
	for (unsigned c = 0; c < CPU_SETSIZE; c++)
		if (CPU_ISSET(c, &allowed))
			job.cpus[0] = c;
	job.pinned = true;
	run(&job);
	expect(STATUS_OK, "");
	assert_false(out.unpinned);
	for (unsigned i = 0; i < out.n_samples; i++)
		assert_int_equal(out.samples[i].cpu_before, job.cpus[0]);
	job.cpus[0] = 5000; /* it has gone: run all the same, and say so */
	run(&job);
	expect(STATUS_OK, "");
	assert_true(out.unpinned);
}

static void test_memory(void **state)
{
	(void)state;
	struct job job = job_for("full", PASS_MEMORY);

	job.cell.n_q = job.cell.n_k = 2048;
	job.cell.heads = job.cell.kv_heads = 1;
	run(&job);
	expect(STATUS_OK, "");
	int64_t scores = 4 * 2048 * 2048;
	assert_true(out.ws_model_bytes >= scores && out.ws_model_bytes < scores + 64 * 1024);
	assert_int_equal(out.ws_tracked_bytes, out.ws_model_bytes);
	assert_true(out.rss_resolution_bytes > 0);
	if (out.rss_base_bytes < 0 || out.rss_peak_bytes < 0)
		return; /* this kernel does not tell */
	int64_t grown = out.rss_peak_bytes - out.rss_base_bytes;
	int64_t slack = out.rss_resolution_bytes + (2 << 20);
	assert_true(grown >= scores - slack);
	/* The kernel sees what the arena knows, and the packing buffers of BLAS. */
	if (!ASAN && !out.rss_is_bound)
		assert_true(grown <= scores + slack + (32 << 20));
	assert_true(out.rss_spread_bytes >= 0);
	job.repeats = 1;
	run(&job);
	expect(STATUS_OK, "");
	assert_int_equal(out.rss_spread_bytes, -1);
}

static void test_accuracy(void **state)
{
	(void)state;
	char cache[] = "/tmp/attnbench-spawn-XXXXXX";

	assert_non_null(mkdtemp(cache));
	for (int causal = 0; causal < 2; causal++) {
		struct job job = job_for("full", PASS_ACCURACY);
		job.cell.causal = causal;
		run(&job);
		expect(STATUS_OK, "");
		assert_true(out.err_impl_rel_fro > 0 && out.err_impl_rel_fro < 2e-6);
		assert_true(out.err_exact_rel_fro > 0 && out.err_exact_rel_fro < 5e-6);
		assert_true(out.err_exact_cos > 0.999999 && out.err_exact_nmse_u < 1e-9);
		assert_true(out.entropy_ratio > 0.5 && out.entropy_ratio < 1);
		assert_int_equal(out.err_rows, 96);
		assert_true(out.pairs_executed == 2 * (causal ? 96 * 97 / 2 : 96 * 96));
		/* With the cache, first filled and then used: the same to the bit. */
		struct outcome plain = out;
		strcpy(job.cache_dir, cache);
		for (int i = 0; i < 2; i++) {
			run(&job);
			expect(STATUS_OK, "");
			assert_true(out.err_exact_rel_fro == plain.err_exact_rel_fro);
			assert_true(out.err_exact_nmse_u == plain.err_exact_nmse_u);
			assert_true(out.entropy_ratio == plain.entropy_ratio);
		}
		job.cell.seed = 2;
		run(&job);
		assert_true(out.err_exact_rel_fro != plain.err_exact_rel_fro);
	}
	/* The uniform average is as good as the uniform average. */
	struct job job = fault("none", PASS_ACCURACY);
	run(&job);
	expect(STATUS_OK, "");
	assert_true(fabs(out.err_exact_nmse_u - 1) < 1e-5);

	char command[300];
	snprintf(command, sizeof command, "rm -rf %s", cache);
	assert_int_equal(system(command), 0);
}

static void test_unsupported(void **state)
{
	(void)state;
	struct job job = fault("refuse", PASS_TIME);

	run(&job);
	expect(STATUS_UNSUPPORTED, "refused, as told");
	job = fault("none", PASS_TIME);
	job.cell.causal = true;
	run(&job);
	expect(STATUS_UNSUPPORTED, "faulty has no causal form");
	job = job_for("full", PASS_TIME);
	job.cell.kv_heads = 3;
	run(&job);
	expect(STATUS_UNSUPPORTED, "kv_heads");
	job = job_for("full", PASS_TIME);
	strcpy(job.cell.input, "gaus:sigma=1");
	run(&job);
	expect(STATUS_UNSUPPORTED, "gaus");
	strcpy(job.cell.input, "file:/nonexistent");
	run(&job);
	expect(STATUS_UNSUPPORTED, "/nonexistent");
}

static void test_allocation_refused(void **state)
{
	(void)state;
	struct job job = job_for("full", PASS_ACCURACY);

	for (job.fail_alloc = 1;; job.fail_alloc++) {
		assert_true(job.fail_alloc < 100);
		run(&job);
		if (out.status == STATUS_OK)
			break;
		expect(STATUS_OOM, "refused");
	}
	assert_true(job.fail_alloc > 4);
	/* More than there is: q alone takes 4 TiB, or the system says no before. */
	job.fail_alloc = 0;
	job.cell.n_k = (size_t)1 << 45;
	run(&job);
	expect(STATUS_OOM, "refused");
}

/* ---- faults ------------------------------------------------------------------------ */

static void test_crashes(void **state)
{
	(void)state;
	static const struct {
		const char *how;
		int signal;
	} table[] = { { "segv", SIGSEGV }, { "ill", SIGILL }, { "abort", SIGABRT } };

	for (size_t i = 0; i < 3; i++) {
		for (enum pass pass = PASS_TIME; pass <= PASS_ACCURACY; pass++) {
			struct job job = fault(table[i].how, pass);
			run(&job);
			expect(STATUS_CRASH, pass == PASS_TIME ? "during the first call" : "during the call");
			if (!ASAN) {
				assert_int_equal(out.signal, table[i].signal);
				assert_int_equal(out.exit_code, -1);
			}
		}
	}
	if (!ASAN)
		assert_non_null(strstr(out.message, "it printed: something is wrong"));
	struct job job = fault("kill", PASS_TIME);
	run(&job);
	expect(STATUS_CRASH, "killed by signal 9");
	assert_int_equal(out.signal, SIGKILL);
	job = fault("exit", PASS_TIME);
	run(&job);
	expect(STATUS_CRASH, "exit code 3 during the first call, without a result");
	assert_int_equal(out.exit_code, 3);

	/* At one length only: the others are measured. */
	job = fault("segv", PASS_TIME);
	job.cell.arg[1] = 96;
	run(&job);
	expect(STATUS_CRASH, "");
	job.cell.n_q = job.cell.n_k = 97;
	run(&job);
	expect(STATUS_OK, "");
}

static void test_timeouts(void **state)
{
	(void)state;
	static const struct {
		const char *how, *message;
		int signal;
	} table[] = {
		{ "spin", "no result after", SIGTERM },
		{ "stop", "no result after", SIGKILL },
		{ "stubborn", "it ignored SIGTERM", SIGKILL },
		{ "stubborn-thread", "it ignored SIGTERM", SIGKILL },
	};

	for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
		struct job job = fault(table[i].how, PASS_TIME);
		job.timeout_s = 1;
		run(&job);
		expect(STATUS_TIMEOUT, table[i].message);
		assert_int_equal(out.signal, table[i].signal);
		assert_true(out.life_ns >= 1000000000);
	}
}

/* Calls and the harness's own work each have a limit. */
static void test_own_limit(void **state)
{
	(void)state;
	struct job job = fault("endless", PASS_ACCURACY);

	job.own_s = 1;
	run(&job);
	expect(STATUS_TIMEOUT, "during its definition in double");
	assert_true(!strstr(out.message, "--timeout"));
	assert_true(out.life_ns >= 1000000000);
	job = fault("spin", PASS_TIME);
	job.timeout_s = 1;
	job.own_s = 50;
	run(&job);
	expect(STATUS_TIMEOUT, "--timeout sets the limit of calls");
}

static void test_memory_limit(void **state)
{
	(void)state;
	struct job job = fault("hog", PASS_TIME);

	job.memory_limit = (size_t)(ASAN ? 600 : 200) << 20;
	run(&job);
	expect(STATUS_OOM, "resident memory grew to");
	assert_int_equal(out.signal, SIGKILL);
	job = fault("none", PASS_TIME);
	job.memory_limit = (size_t)4 << 30;
	run(&job);
	expect(STATUS_OK, "");
}

static void test_bad_output(void **state)
{
	(void)state;
	static const struct {
		const char *how, *message;
		bool accuracy_only;
	} table[] = {
		{ "nan", "nan at batch 0, head 0, query 95, channel 1", false },
		{ "inf", "the output is inf at batch 0, head 0, query 0, channel 0", false },
		{ "oob", "faulty wrote 4 bytes past the end of the output, the first at offset +", false },
		{ "under", "faulty wrote 4 bytes before the start of the output, the first at offset -12", false },
		{ "scratch", "faulty wrote 1 bytes past the end of scratch memory, the first at offset +0", false },
		{ "mutate", "faulty changed its inputs", false },
		{ "unwritten", "nan at batch 0, head 0, query 0, channel 0", true },
		{ "stale", "nan at batch 0, head 0, query 0, channel 0", true },
	};

	for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
		for (enum pass pass = PASS_TIME; pass <= PASS_ACCURACY; pass++) {
			struct job job = fault(table[i].how, pass);
			if (table[i].accuracy_only && pass != PASS_ACCURACY)
				continue;
			/* One head: the one past its end is past the end of all. */
			job.cell.heads = job.cell.kv_heads = 1;
			run(&job);
			expect(STATUS_BAD_OUTPUT, table[i].message);
			assert_int_equal(out.exit_code, 0);
		}
	}
	struct job job = fault("random", PASS_TIME);
	run(&job);
	expect(STATUS_BAD_OUTPUT, "differ");
}

static void test_inaccurate(void **state)
{
	(void)state;
	struct job job = fault("wrong", PASS_ACCURACY);

	run(&job);
	expect(STATUS_INACCURATE, "against its own definition, allowed is 5e-05");
	assert_true(out.err_impl_rel_fro > out.err_impl_bound);
	assert_true(out.err_exact_rel_fro > 0); /* the other error is there all the same */
	job.pass = PASS_TIME;
	run(&job);
	expect(STATUS_OK, "");
}

static void test_noise_on_descriptors(void **state)
{
	(void)state;
	struct job job = fault("flood", PASS_ACCURACY);

	run(&job); /* megabytes of it, and the result comes through */
	expect(STATUS_OK, "");
	assert_int_equal(strlen(out.output), OUTCOME_OUTPUT);
	assert_non_null(strstr(out.output, "line 39999 of a flood"));
	job = fault("garbage", PASS_ACCURACY);
	run(&job);
	expect(STATUS_FAILED, "on the result channel are no result");
	job = fault("close", PASS_ACCURACY);
	run(&job);
	expect(STATUS_CRASH, "exit code 1");
	/* A child of the worker that holds all its pipes open, and stays. */
	job = fault("child", PASS_ACCURACY);
	run(&job);
	expect(STATUS_OK, "");
}

/* ---- around it ----------------------------------------------------------------------- */

static volatile sig_atomic_t flag;

static void raise_flag(int signal)
{
	(void)signal;
	flag = 1;
}

static void test_interrupt(void **state)
{
	(void)state;
	struct sigaction action = { .sa_handler = raise_flag }, before;
	struct itimerval soon = { { 0, 0 }, { 0, 300000 } };

	sigaction(SIGALRM, &action, &before);
	spawn_interrupt = &flag;
	for (int i = 0; i < 2; i++) {
		struct job job = fault(i ? "stubborn" : "spin", PASS_TIME);
		flag = 0;
		setitimer(ITIMER_REAL, &soon, NULL);
		run(&job);
		expect(STATUS_FAILED, "interrupted during the first call");
		assert_true(out.interrupted);
		assert_true(out.life_ns < (int64_t)50 * 1000000000);
	}
	/* A signal that does not set the flag disturbs nothing. */
	struct job job = fault("none", PASS_TIME);
	flag = 0;
	action.sa_handler = SIG_IGN;
	sigaction(SIGALRM, &action, NULL);
	run(&job);
	expect(STATUS_OK, "");
	assert_false(out.interrupted);
	spawn_interrupt = NULL;
	sigaction(SIGALRM, &before, NULL);
}

/* Under few descriptors: a sentence, and nothing leaks. */
static void test_no_descriptors(void **state)
{
	(void)state;
	struct job job = fault("none", PASS_TIME);
	struct rlimit limit, few;
	int highest = dup(0);

	close(highest);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	for (int more = 0; more < 14; more++) {
		few = limit;
		few.rlim_cur = (rlim_t)(highest + more);
		assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
		spawn_job(&job, &out);
		assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
		assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
		int again = dup(0);
		close(again);
		assert_int_equal(again, highest);
		if (out.status != STATUS_OK)
			expect(STATUS_FAILED, "cannot be started");
	}
}

/* Without /proc and /sys nothing is known, and everything still runs. */
static void test_without_proc(void **state)
{
	(void)state;
	struct job job = job_for("full", PASS_TIME);

	assert_true(sysroot_set("/nonexistent"));
	run(&job);
	expect(STATUS_OK, "");
	assert_int_equal(out.samples[0].run_delay_ns, -1);
	assert_int_equal(out.round.steal_ticks, -1);
	assert_int_equal(out.round.freq_khz, -1);
	assert_true(out.samples[0].nivcsw >= 0); /* asked of the kernel itself */
	job.pass = PASS_MEMORY;
	run(&job);
	expect(STATUS_OK, "");
	assert_int_equal(out.rss_base_bytes, -1);
	assert_int_equal(out.rss_spread_bytes, -1);
	assert_true(out.rss_is_bound);
	assert_true(sysroot_set(""));
}

static void test_plugins(void **state)
{
	(void)state;
	char error[PLUGIN_ERROR_MAX], path[300];
	size_t n = 0, built_in = 0;

	while (attn_variants[built_in])
		built_in++;
	while (variant_at(n))
		n++;
	assert_int_equal(n, built_in + 1);
	assert_string_equal(variant_at(n - 1)->name, "faulty");
	assert_ptr_equal(variant_find("faulty"), variant_at(n - 1));
	assert_ptr_equal(variant_find("full"), attn_find("full"));
	assert_null(variant_find("no such"));
	assert_null(variant_plugin(attn_find("full")));
	assert_non_null(strstr(variant_plugin(variant_at(n - 1)), "/faulty.so"));
	snprintf(path, sizeof path, "%s/faulty.so", here);
	assert_true(plugin_load(path, error)); /* once more does nothing */
	assert_null(variant_at(n));
	assert_false(plugin_load("/nonexistent.so", error));
	assert_non_null(strstr(error, "/nonexistent.so"));
	assert_false(plugin_load("/proc/self/exe", error));
	assert_false(plugin_load("/dev/null", error));
	assert_null(variant_at(n));
}

/* What a worker says to nonsense. */
static void test_worker_without_job(void **state)
{
	(void)state;
	int in[2], result[2];
	struct wire_job wire;
	struct job job = job_for("full", PASS_TIME);

	assert_true(wire_pack(&job, &wire));
	for (int i = 0; i < 4; i++) {
		assert_int_equal(pipe(in), 0);
		assert_int_equal(pipe(result), 0);
		wire.abi = ATTN_ABI + (i == 1);
		strcpy(wire.variant, i == 2 ? "gone" : "full");
		strcpy(wire.plugin, i == 3 ? "/gone.so" : "");
		if (i > 0)
			assert_true(frame_write(in[1], WIRE_JOB, &wire, sizeof wire));
		close(in[1]);
		assert_int_equal(worker_main(in[0], result[1]), 0);
		assert_null(frame_read(result[0], WIRE_OUTCOME, &out, sizeof out));
		close(result[0]);
		expect(STATUS_FAILED, "did not get its job");
	}
	signal(SIGPIPE, SIG_DFL);
}

int main(int argc, char **argv)
{
	char path[300], error[PLUGIN_ERROR_MAX];

	if (argc == 2 && !strcmp(argv[1], "worker"))
		return worker_main(WORKER_IN_FD, WORKER_OUT_FD);
	ssize_t n = readlink("/proc/self/exe", here, sizeof here - 1);
	here[n > 0 ? n : 0] = '\0';
	*strrchr(here, '/') = '\0';
	snprintf(path, sizeof path, "%s/faulty.so", here);
	if (!plugin_load(path, error)) {
		fprintf(stderr, "%s\n", error);
		return 1;
	}
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_plugins),
		cmocka_unit_test(test_time),
		cmocka_unit_test(test_threads),
		cmocka_unit_test(test_pinned),
		cmocka_unit_test(test_memory),
		cmocka_unit_test(test_accuracy),
		cmocka_unit_test(test_unsupported),
		cmocka_unit_test(test_allocation_refused),
		cmocka_unit_test(test_crashes),
		cmocka_unit_test(test_timeouts),
		cmocka_unit_test(test_own_limit),
		cmocka_unit_test(test_memory_limit),
		cmocka_unit_test(test_bad_output),
		cmocka_unit_test(test_inaccurate),
		cmocka_unit_test(test_noise_on_descriptors),
		cmocka_unit_test(test_interrupt),
		cmocka_unit_test(test_no_descriptors),
		cmocka_unit_test(test_without_proc),
		cmocka_unit_test(test_worker_without_job),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
