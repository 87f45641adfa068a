/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A child and exec. A bare fork would inherit the thread pool of OpenBLAS
 * without its threads, and the CPU mask and thread count that OpenBLAS reads
 * when it is loaded can only be set before exec. */
#include "launch.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "frame.h"
#include "wire.h"

extern char **environ;

/* Both ends are made above these numbers, so that dup2() to 0 .. 4 in the
 * child cannot overwrite one that is still needed. */
enum { ABOVE_FD = 10, CPUS = 8192 };

/* The job is written before there is a reader: the smallest pipe that Linux
 * makes, of two pages, must hold it. */
_Static_assert(sizeof(struct wire_job) + FRAME_HEADER <= 8192, "a job fits a pipe");

/* What the child needs, made before it starts: until exec it runs in the memory
 * of its parent, and may call only functions that are safe in a signal handler. */
struct start {
	int job_fd, result_fd, output_fd, null_fd;
	pid_t parent;
	char **env;
	cpu_set_t *mask; /* or NULL */
	size_t mask_bytes;
};

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static bool lift(int *fd)
{
	int above = *fd < 0 ? -1 : fcntl(*fd, F_DUPFD_CLOEXEC, ABOVE_FD);

	close_fd(fd);
	*fd = above;
	return above >= 0;
}

static bool make_pipe(int *from, int *to)
{
	int end[2];

	if (pipe2(end, O_CLOEXEC))
		return false;
	*from = end[0];
	*to = end[1];
	return lift(from) && lift(to);
}

static void put(const char *text)
{
	ssize_t n = write(STDERR_FILENO, text, strlen(text));
	(void)n;
}

static void close_from(unsigned first)
{
#ifdef SYS_close_range
	if (syscall(SYS_close_range, first, ~0u, 0) == 0)
		return;
#endif
	for (long fd = first, end = sysconf(_SC_OPEN_MAX); fd < (end > 0 ? end : 1024); fd++)
		close((int)fd);
}

static void become_worker(const struct start *s)
{
	char *argv[] = { (char *)"attnbench", (char *)"worker", NULL };
	struct rlimit core;
	sigset_t none;

	setpgid(0, 0);
	prctl(PR_SET_PDEATHSIG, SIGKILL); /* a killed harness leaves none behind */
	if (getppid() != s->parent)
		_exit(127);
	if (dup2(s->null_fd, 0) < 0 || dup2(s->output_fd, 1) < 0 || dup2(s->output_fd, 2) < 0 ||
	    dup2(s->job_fd, WORKER_IN_FD) < 0 || dup2(s->result_fd, WORKER_OUT_FD) < 0)
		_exit(127);
	close_from(WORKER_OUT_FD + 1);
	int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
	if (fd >= 0) { /* if memory runs out, the worker is the one to go */
		ssize_t n = write(fd, "1000", 4);
		(void)n;
		close(fd);
	}
	if (getrlimit(RLIMIT_CORE, &core) == 0) { /* crashes are results here */
		core.rlim_cur = 0;
		setrlimit(RLIMIT_CORE, &core);
	}
	/* If a CPU has gone, its thread reports it. */
	if (s->mask)
		sched_setaffinity(0, s->mask_bytes, s->mask);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	execve("/proc/self/exe", argv, s->env);
	put("exec of /proc/self/exe: ");
	put(strerrorname_np(errno));
	_exit(127);
}

/* The environment with OpenBLAS at one thread: variants split their work
 * themselves, and each thread calls BLAS for its own part. Only the array and
 * nothing in it is new. */
static char **worker_env(void)
{
	static char *const set[] = { (char *)"OPENBLAS_NUM_THREADS=1",
	                             (char *)"OMP_NUM_THREADS=1" };
	enum { SET = sizeof set / sizeof *set };
	size_t n = 0, m = 0;

	while (environ && environ[n])
		n++;
	char **env = malloc((n + SET + 1) * sizeof *env);
	if (!env)
		return NULL;
	for (size_t i = 0; i < n; i++) {
		bool replaced = false;
		for (size_t j = 0; j < SET; j++) {
			size_t name = (size_t)(strchr(set[j], '=') - set[j]) + 1;
			replaced |= !strncmp(environ[i], set[j], name);
		}
		if (!replaced)
			env[m++] = environ[i];
	}
	for (size_t j = 0; j < SET; j++)
		env[m++] = set[j];
	env[m] = NULL;
	return env;
}

static bool make_mask(const struct job *job, struct start *s)
{
	if (!job->pinned)
		return true;
	s->mask = CPU_ALLOC(CPUS);
	s->mask_bytes = CPU_ALLOC_SIZE(CPUS);
	if (!s->mask)
		return false;
	CPU_ZERO_S(s->mask_bytes, s->mask);
	for (unsigned i = 0; i < job->cell.threads && i < JOB_THREADS; i++)
		if (job->cpus[i] < CPUS)
			CPU_SET_S(job->cpus[i], s->mask_bytes, s->mask);
	return true;
}

static bool not_blocking(int fd)
{
	int flags = fcntl(fd, F_GETFL);
	return flags >= 0 && fcntl(fd, F_SETFL, flags | O_NONBLOCK) == 0;
}

const char *launch(const struct job *job, struct child *child)
{
	static struct wire_job wire;
	static char why[256];
	struct start s = { .job_fd = -1, .result_fd = -1, .output_fd = -1, .null_fd = -1,
	                   .parent = getpid() };
	int job_end = -1;
	bool ok = false;

	*child = (struct child){ .pid = -1, .result_fd = -1, .output_fd = -1 };
	if (!wire_pack(job, &wire))
		return "the name of the variant is too long";
	errno = ENOMEM;
	s.env = worker_env();
	if (!s.env || !make_mask(job, &s))
		goto out;
	s.null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	if (!lift(&s.null_fd) || !make_pipe(&s.job_fd, &job_end) ||
	    !make_pipe(&child->result_fd, &s.result_fd) ||
	    !make_pipe(&child->output_fd, &s.output_fd) || !not_blocking(job_end) ||
	    !not_blocking(child->result_fd) || !not_blocking(child->output_fd) ||
	    !frame_write(job_end, WIRE_JOB, &wire, sizeof wire))
		goto out;
	/* Not fork(): its handlers are OpenBLAS's, which end and join a thread pool,
	 * and that has been seen to wait for ever when memory is short. */
	child->pid = vfork();
	if (child->pid == 0)
		become_worker(&s);
	ok = child->pid > 0;
	if (ok)
		setpgid(child->pid, child->pid); /* whoever comes first */
out:
	if (!ok)
		snprintf(why, sizeof why, "a worker cannot be started: %s", strerror(errno));
	close_fd(&job_end);
	close_fd(&s.job_fd);
	close_fd(&s.result_fd);
	close_fd(&s.output_fd);
	close_fd(&s.null_fd);
	if (!ok) {
		close_fd(&child->result_fd);
		close_fd(&child->output_fd);
	}
	free(s.env);
	if (s.mask)
		CPU_FREE(s.mask);
	return ok ? NULL : why;
}
