/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Starting a program, and lines to and from it. */
#include "dialog.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clock.h"

extern char **environ;

/* Ends of pipes are made above these numbers, so that dup2() to 0 .. 3 in the
 * child overwrites none that is still needed. */
enum { ABOVE_FD = 10 };

static const int64_t ms = 1000000;

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static bool make_pipe(int *from, int *to)
{
	int end[2];

	if (pipe2(end, O_CLOEXEC))
		return false;
	*from = fcntl(end[0], F_DUPFD_CLOEXEC, ABOVE_FD);
	*to = fcntl(end[1], F_DUPFD_CLOEXEC, ABOVE_FD);
	close(end[0]);
	close(end[1]);
	return *from >= 0 && *to >= 0;
}

static bool has_name(const char *variable, const char *const *names)
{
	for (; names && *names; names++) {
		size_t len = strcspn(*names, "=");
		if (!strncmp(variable, *names, len) && variable[len] == '=')
			return true;
	}
	return false;
}

/* Our environment without `drop`, with `set`. Only the array is new. */
static char **make_env(const struct dialog_start *s)
{
	size_t n = 0, m = 0, more = 0;

	while (environ && environ[n])
		n++;
	while (s->set && s->set[more])
		more++;
	char **env = malloc((n + more + 1) * sizeof *env);
	for (size_t i = 0; env && i < n; i++)
		if (!has_name(environ[i], s->drop) && !has_name(environ[i], s->set))
			env[m++] = environ[i];
	for (size_t i = 0; env && i < more; i++)
		env[m++] = (char *)(uintptr_t)s->set[i];
	if (env)
		env[m] = NULL;
	return env;
}

/* What we have open is none of its business. */
static void close_on_exec_from(unsigned first)
{
#if defined(SYS_close_range)
	enum { SET_CLOEXEC = 4 };
	if (syscall(SYS_close_range, first, ~0u, SET_CLOEXEC) == 0)
		return;
#endif
	for (int fd = (int)first; fd < 4096; fd++)
		fcntl(fd, F_SETFD, FD_CLOEXEC);
}

/* Between fork and exec. What fails is told through `report` by its errno. */
static void become(const struct dialog_start *s, char **env, int in, int out, int file, int report,
                   pid_t parent)
{
	sigset_t none;

	prctl(PR_SET_PDEATHSIG, SIGKILL); /* it does not outlive who asks it */
	if (getppid() != parent)
		_exit(127);
	if (dup2(in, 0) >= 0 && dup2(out, 1) >= 0 && (file < 0 || dup2(file, DIALOG_FILE_FD) >= 0) &&
	    (!s->dir || chdir(s->dir) == 0)) {
		close_on_exec_from(file < 0 ? DIALOG_FILE_FD : DIALOG_FILE_FD + 1);
		signal(SIGPIPE, SIG_DFL);
		sigemptyset(&none);
		sigprocmask(SIG_SETMASK, &none, NULL);
		execvpe(s->argv[0], s->argv, env);
	}
	int code = errno;
	ssize_t n = write(report, &code, sizeof code);
	(void)n;
	_exit(127);
}

bool dialog_start(struct dialog *d, const struct dialog_start *s)
{
	int in = -1, out = -1, report_from = -1, report_to = -1, file = -1, code = 0;
	pid_t parent = getpid();
	char **env = make_env(s);

	*d = (struct dialog){ .pid = -1, .to = -1, .from = -1, .state = DIALOG_ENDED };
	errno = ENOMEM;
	bool ok = env && (s->file < 0 || (file = fcntl(s->file, F_DUPFD_CLOEXEC, ABOVE_FD)) >= 0) &&
	          make_pipe(&in, &d->to) && make_pipe(&d->from, &out) &&
	          make_pipe(&report_from, &report_to);
	if (ok) {
		d->pid = fork();
		if (d->pid == 0)
			become(s, env, in, out, file, report_to, parent);
		ok = d->pid > 0;
	}
	if (!ok)
		code = errno;
	close_fd(&in);
	close_fd(&out);
	close_fd(&file);
	close_fd(&report_to);
	/* Closed by a successful exec: then there is nothing to read. */
	if (ok && read(report_from, &code, sizeof code) == (ssize_t)sizeof code) {
		while (waitpid(d->pid, NULL, 0) < 0 && errno == EINTR)
			;
		d->pid = -1;
		ok = false;
	}
	close_fd(&report_from);
	free(env);
	if (!ok) {
		snprintf(d->why, sizeof d->why, "%s: %s", s->argv[0], strerror(code));
		close_fd(&d->to);
		close_fd(&d->from);
		return false;
	}
	d->state = DIALOG_OPEN;
	return true;
}

bool dialog_say(struct dialog *d, const char *format, ...)
{
	struct sigaction ignore = { .sa_handler = SIG_IGN }, before;
	char line[DIALOG_LINE];
	va_list args;

	va_start(args, format);
	int n = vsnprintf(line, sizeof line - 1, format, args);
	va_end(args);
	if (d->to < 0 || n < 0 || n >= (int)sizeof line - 1)
		return false;
	line[n] = '\n';
	size_t at = 0, len = (size_t)n + 1;
	sigaction(SIGPIPE, &ignore, &before);
	while (at < len) {
		ssize_t wrote = write(d->to, line + at, len - at);
		if (wrote < 0 && errno == EINTR)
			continue;
		if (wrote < 0)
			break;
		at += (size_t)wrote;
	}
	sigaction(SIGPIPE, &before, NULL);
	return at == len;
}

static char *stop(struct dialog *d, enum dialog_state state)
{
	d->state = state;
	return NULL;
}

/* True: there is something to read, or nothing will ever be. */
static bool wait_for_input(const struct dialog *d, int64_t until)
{
	for (;;) {
		struct pollfd fd = { .fd = d->from, .events = POLLIN };
		int64_t left = until < 0 ? -1 : (until - clock_now_ns()) / ms;
		if (until >= 0 && left < 0)
			return false;
		int n = poll(&fd, 1, left > 60000 ? 60000 : (int)left);
		if (n > 0)
			return true;
		if (n < 0 && errno != EINTR)
			return true;
	}
}

char *dialog_hear(struct dialog *d, int64_t limit_ms)
{
	int64_t until = limit_ms < 0 ? -1 : clock_now_ns() + limit_ms * ms;

	if (d->state != DIALOG_OPEN)
		return NULL;
	memmove(d->buf, d->buf + d->used, d->have - d->used);
	d->have -= d->used;
	d->used = 0;
	for (;;) {
		char *end = memchr(d->buf, '\n', d->have);
		if (memchr(d->buf, '\0', end ? (size_t)(end - d->buf) : d->have) ||
		    (!end && d->have == sizeof d->buf))
			return stop(d, DIALOG_FOREIGN);
		if (end) {
			*end = '\0';
			d->used = (size_t)(end - d->buf) + 1;
			return d->buf;
		}
		if (!wait_for_input(d, until))
			return stop(d, DIALOG_LATE);
		ssize_t n = read(d->from, d->buf + d->have, sizeof d->buf - d->have);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return stop(d, DIALOG_ENDED);
		d->have += (size_t)n;
	}
}

bool dialog_end(struct dialog *d, int64_t grace_ms, int *status)
{
	*status = 0;
	close_fd(&d->to);
	close_fd(&d->from);
	d->state = DIALOG_ENDED;
	if (d->pid <= 0)
		return true;
	int64_t until = clock_now_ns() + grace_ms * ms;
	struct timespec step = { 0, ms };
	pid_t got;
	while ((got = waitpid(d->pid, status, WNOHANG)) == 0 && clock_now_ns() < until)
		nanosleep(&step, NULL);
	if (got == 0) {
		kill(d->pid, SIGKILL);
		while (waitpid(d->pid, status, 0) < 0 && errno == EINTR)
			;
	}
	d->pid = -1;
	return got != 0;
}
