/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Asking a child. */
#include "ask.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../attention/attn.h"
#include "clock.h"

static const double BLAS_S = 20;

/* In the child of a vfork(): nothing but exec. */
static void become(int to, char *const *argv)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (dup2(to, STDOUT_FILENO) >= 0)
		execv("/proc/self/exe", argv);
	_exit(127);
}

/* False: time was up before it ended. */
static bool read_until(int from, int64_t deadline, struct text *out)
{
	char chunk[4096];

	for (;;) {
		struct pollfd fd = { .fd = from, .events = POLLIN };
		int64_t left = (deadline - clock_now_ns()) / 1000000;
		if (left <= 0 || (poll(&fd, 1, (int)left) < 0 && errno != EINTR))
			return false;
		ssize_t got = fd.revents ? read(from, chunk, sizeof chunk) : -1;
		if (got == 0)
			return true;
		if (got < 0 && fd.revents && errno != EINTR)
			return false;
		if (got > 0)
			text_add(out, chunk, (size_t)got);
	}
}

bool ask_self(const char *const *argv, double seconds, struct text *out)
{
	int ends[2], status = -1;

	if (pipe2(ends, O_CLOEXEC))
		return false;
	pid_t child = vfork();
	if (child == 0)
		become(ends[1], (char *const *)(uintptr_t)argv);
	close(ends[1]);
	bool ended = child > 0 && read_until(ends[0], clock_now_ns() + (int64_t)(1e9 * seconds), out);
	close(ends[0]);
	if (child > 0 && !ended)
		kill(child, SIGKILL);
	while (child > 0 && waitpid(child, &status, 0) < 0 && errno == EINTR)
		continue;
	return ended && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

int answer_blas(void)
{
	static float work[ATTN_BLAS_SELFTEST_FLOATS];

	return printf("%.9g\n", attn_blas_selftest(work)) > 0 ? 0 : 1;
}

bool ask_blas(double *off, char *error)
{
	static const char *const argv[] = { "attnbench", "blas", NULL };
	struct text answer = { 0 };
	char *end = NULL;
	bool ok = ask_self(argv, BLAS_S, &answer) && answer.s;

	if (ok)
		*off = strtod(answer.s, &end);
	ok = ok && end != answer.s;
	text_free(&answer);
	return ok || fail(error, "OpenBLAS gave no product: it waits for ever or ends where memory is limited; raise "
	                         "the limit (`ulimit -v`, `ulimit -d`) or install another build");
}
