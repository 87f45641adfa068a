/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The parent side of a job: watch a worker until it ends or must be ended, and
 * say in words what became of it. Whatever the worker does, this returns, and
 * leaves no process, zombie or descriptor behind. */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clock.h"
#include "frame.h"
#include "launch.h"
#include "memory.h"
#include "spawn.h"
#include "wire.h"

volatile sig_atomic_t *spawn_interrupt;

static const int64_t ms = 1000000;

enum {
	CALLS_S = 30,     /* unless the job gives a limit for calls, */
	OWN_S = 60,       /* and one for what the harness does around them */
	GRACE_MS = 2000,  /* from SIGTERM to SIGKILL */
	REAP_MS = 20000,  /* from SIGKILL until a process counts as unkillable */
	RSS_MS = 50,      /* from look to look at its memory */
	BLIND_MS = 20,    /* from look to look where the kernel has no pidfd */
	RESULT_ROOM = (int)sizeof(struct outcome) + 4096
};

enum reason { ENDED_ITSELF, TIMED_OUT, TOO_LARGE, INTERRUPTED };

struct watch {
	const struct job *job;
	struct child child;
	pid_t engine;         /* what the worker started; 0: nothing */
	int pidfd;            /* readable once the child has ended; -1: none */
	int64_t start, limit; /* when to act next */
	int64_t since, left[2]; /* of the stage; of the time of calls, and of our own */
	int own;              /* whose time runs */
	enum reason reason;
	int sent;             /* the last signal, or 0 */
	int64_t rss;
	bool gone;            /* given up: cannot be killed */

	unsigned char buf[RESULT_ROOM];
	size_t have, foreign; /* bytes that are no message */
	struct wire_stage stage;
	bool whole;           /* the outcome has come */
	struct outcome result;

	char tail[OUTCOME_OUTPUT];
	size_t printed;       /* bytes in all; the tail is a ring */
};

/* ---- what the worker says --------------------------------------------------- */

/* Stops one clock and starts the other, or goes on with the same. */
static void enter_stage(struct watch *w, int own)
{
	int64_t now = clock_now_ns();

	w->left[w->own] -= now - w->since;
	w->since = now;
	w->own = own != 0;
	if (w->sent == 0)
		w->limit = now + w->left[w->own];
}

static void take_frames(struct watch *w)
{
	struct frame f;
	int32_t engine;

	while (w->have > 0 && w->foreign == 0) {
		enum frame_result r = frame_parse(w->buf, w->have, &f);
		if (r == FRAME_TORN && w->have < sizeof w->buf)
			return;
		bool whole = r == FRAME_WHOLE;
		bool outcome = whole && f.kind == WIRE_OUTCOME && f.length == sizeof w->result;
		if (whole && f.kind == WIRE_STAGE && f.length == sizeof w->stage) {
			memcpy(&w->stage, f.payload, sizeof w->stage);
			w->stage.name[sizeof w->stage.name - 1] = '\0';
			enter_stage(w, w->stage.own);
		} else if (whole && f.kind == WIRE_CHILD && f.length == sizeof engine) {
			memcpy(&engine, f.payload, sizeof engine);
			w->engine = engine;
		} else if (outcome && !w->whole) {
			memcpy(&w->result, f.payload, sizeof w->result);
			w->whole = true;
		} else {
			w->foreign = w->have;
			break;
		}
		size_t used = FRAME_HEADER + f.length;
		memmove(w->buf, w->buf + used, w->have - used);
		w->have -= used;
	}
	if (w->foreign > 0)
		w->have = 0;
}

/* Reads what is there; closes the descriptor at its end. */
static void take_results(struct watch *w)
{
	while (w->child.result_fd >= 0) {
		ssize_t n = read(w->child.result_fd, w->buf + w->have, sizeof w->buf - w->have);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return;
		if (n <= 0) {
			close(w->child.result_fd);
			w->child.result_fd = -1;
			return;
		}
		if (w->foreign > 0)
			w->foreign += (size_t)n;
		else
			w->have += (size_t)n;
		take_frames(w);
	}
}

/* At most a pipe full at a time, so that a flood does not keep us here. */
static void take_output(struct watch *w)
{
	char some[4096];

	for (int i = 0; i < 16 && w->child.output_fd >= 0; i++) {
		ssize_t n = read(w->child.output_fd, some, sizeof some);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (n <= 0) {
			close(w->child.output_fd);
			w->child.output_fd = -1;
			return;
		}
		for (ssize_t j = 0; j < n; j++)
			w->tail[w->printed++ % sizeof w->tail] = some[j];
	}
}

/* ---- watching ----------------------------------------------------------------- */

static bool has_ended(const struct watch *w)
{
	siginfo_t info = { .si_pid = 0 };

	/* Without reaping: until then its group cannot be another's. */
	if (waitid(P_PID, (id_t)w->child.pid, &info, WEXITED | WNOHANG | WNOWAIT))
		return errno != EINTR;
	return info.si_pid == w->child.pid;
}

static void send_signal(struct watch *w, int signal, int64_t wait_ms)
{
	kill(-w->child.pid, signal);
	w->sent = signal;
	w->limit = clock_now_ns() + wait_ms * ms;
}

static void act(struct watch *w)
{
	if (spawn_interrupt && *spawn_interrupt && w->sent != SIGKILL) {
		w->reason = INTERRUPTED;
		send_signal(w, SIGKILL, REAP_MS);
	}
	if (w->job->memory_limit > 0 && w->sent == 0) {
		w->rss = memory_resident_of(w->child.pid);
		if (w->rss >= 0 && w->engine > 0)
			w->rss += memory_resident_of(w->engine);
		if (w->rss > 0 && (size_t)w->rss > w->job->memory_limit) {
			w->reason = TOO_LARGE;
			send_signal(w, SIGKILL, REAP_MS);
		}
	}
	if (clock_now_ns() < w->limit)
		return;
	if (w->sent == 0) {
		w->reason = TIMED_OUT;
		send_signal(w, SIGTERM, GRACE_MS);
	} else if (w->sent == SIGTERM) {
		send_signal(w, SIGKILL, REAP_MS);
	} else {
		w->gone = true;
	}
}

static struct timespec until_next(const struct watch *w)
{
	int64_t wait = w->limit - clock_now_ns();

	if (w->job->memory_limit > 0 && w->sent == 0 && wait > RSS_MS * ms)
		wait = RSS_MS * ms;
	if (w->pidfd < 0 && wait > BLIND_MS * ms)
		wait = BLIND_MS * ms;
	wait = wait > 0 ? wait : 0;
	return (struct timespec){ wait / (1000 * ms), (long)(wait % (1000 * ms)) };
}

/* Until the worker has ended, or cannot be made to. `mask` lets the caller's
 * signals in, and only while we sleep: none is missed. */
static void watch_worker(struct watch *w, const sigset_t *mask)
{
	while (!w->gone) {
		struct pollfd fd[] = {
			{ .fd = w->child.result_fd, .events = POLLIN },
			{ .fd = w->child.output_fd, .events = POLLIN },
			{ .fd = w->pidfd, .events = POLLIN },
		};
		act(w);
		struct timespec wait = until_next(w);
		if (ppoll(fd, 3, &wait, mask) < 0 && errno != EINTR)
			return;
		take_results(w);
		take_output(w);
		if (has_ended(w))
			return;
	}
}

/* ---- the verdict --------------------------------------------------------------- */

/* The end of what was printed, as text. */
static void copy_output(const struct watch *w, struct outcome *out)
{
	size_t n = w->printed < sizeof w->tail ? w->printed : sizeof w->tail;

	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)w->tail[(w->printed - n + i) % sizeof w->tail];
		out->output[i] = (char)(c == '\0' ? '?' : c);
	}
	out->output[n] = '\0';
}

/* Adds its last line to the message, as far as that has room. */
static void quote_output(struct outcome *out)
{
	size_t end = strlen(out->output), at = strlen(out->message);

	while (end > 0 && strchr("\r\n\t ", out->output[end - 1]))
		end--;
	size_t from = end;
	while (from > 0 && out->output[from - 1] != '\n')
		from--;
	if (from == end || at + 16 > sizeof out->message)
		return;
	int n = snprintf(out->message + at, sizeof out->message - at, "; it printed: %.*s",
	                 (int)(end - from), out->output + from);
	for (int i = 0; i < n && at + (size_t)i < sizeof out->message - 1; i++)
		if ((unsigned char)out->message[at + (size_t)i] < ' ')
			out->message[at + (size_t)i] = ' ';
}

static void say(struct outcome *out, enum status status, const char *format, ...)
        __attribute__((format(printf, 3, 4)));

static void say(struct outcome *out, enum status status, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	out->status = status;
	vsnprintf(out->message, sizeof out->message, format, args);
	va_end(args);
}

/* The worker was killed, or killed itself, before its outcome came. */
static void judge_death(const struct watch *w, int wait_status, bool oom, struct outcome *out)
{
	const char *stage = w->stage.name[0] ? w->stage.name : "start";
	double seconds = (double)(clock_now_ns() - w->start) / (1000.0 * (double)ms);

	if (w->reason == INTERRUPTED) {
		out->interrupted = true;
		say(out, STATUS_FAILED, "interrupted during %s", stage);
	} else if (w->reason == TIMED_OUT) {
		say(out, STATUS_TIMEOUT, "no result after %.3g s, ended during %s%s%s", seconds, stage,
		    w->sent == SIGKILL ? "; it ignored SIGTERM" : "",
		    w->own ? "" : "; --timeout sets the limit of calls");
	} else if (w->reason == TOO_LARGE) {
		say(out, STATUS_OOM,
		    "resident memory grew to %" PRId64 " bytes during %s, the limit is %zu", w->rss,
		    stage, w->job->memory_limit);
	} else if (WIFSIGNALED(wait_status) && WTERMSIG(wait_status) == SIGKILL && oom) {
		say(out, STATUS_OOM, "killed by the kernel, out of memory, during %s", stage);
	} else if (WIFSIGNALED(wait_status)) {
		say(out, STATUS_CRASH, "killed by signal %d (%s) during %s", WTERMSIG(wait_status),
		    strsignal(WTERMSIG(wait_status)), stage);
	} else if (WIFEXITED(wait_status) && WEXITSTATUS(wait_status) == 127 && !w->stage.name[0]) {
		say(out, STATUS_FAILED, "the worker could not be started");
	} else {
		say(out, STATUS_CRASH, "exit code %d during %s, without a result",
		    WEXITSTATUS(wait_status), stage);
	}
}

static void judge(const struct watch *w, int wait_status, bool oom, struct outcome *out)
{
	bool clean = WIFEXITED(wait_status) && WEXITSTATUS(wait_status) == 0;

	if (w->gone) {
		say(out, STATUS_FAILED, "process %d cannot be killed and was left behind",
		    (int)w->child.pid);
	} else if (w->whole && clean && w->foreign == 0) {
		*out = w->result;
		out->message[sizeof out->message - 1] = '\0';
		if (out->status > STATUS_FAILED || out->n_samples > OUTCOME_SAMPLES)
			say(out, STATUS_FAILED, "the result makes no sense");
	} else if (w->foreign > 0 && w->reason == ENDED_ITSELF) {
		say(out, STATUS_FAILED,
		    "%zu bytes on the result channel are no result: the variant wrote to it, "
		    "after %s", w->foreign, w->stage.name[0] ? w->stage.name : "start");
	} else if (w->have > 0 && w->reason == ENDED_ITSELF && clean) {
		say(out, STATUS_FAILED, "the result is cut off");
	} else {
		judge_death(w, wait_status, oom, out);
	}
	out->exit_code = WIFEXITED(wait_status) ? WEXITSTATUS(wait_status) : -1;
	out->signal = WIFSIGNALED(wait_status) ? WTERMSIG(wait_status) : 0;
	out->life_ns = clock_now_ns() - w->start;
	copy_output(w, out);
	if (out->status != STATUS_OK && out->status != STATUS_UNSUPPORTED &&
	    out->status != STATUS_INACCURATE)
		quote_output(out);
}

static void end_worker(struct watch *w, int *wait_status)
{
	*wait_status = 0;
	/* What it started goes with it; its own zombie still holds the group. */
	kill(-w->child.pid, SIGKILL);
	take_results(w);
	take_output(w);
	if (!w->gone)
		while (waitpid(w->child.pid, wait_status, 0) < 0 && errno == EINTR)
			;
	if (w->child.result_fd >= 0)
		close(w->child.result_fd);
	if (w->child.output_fd >= 0)
		close(w->child.output_fd);
	if (w->pidfd >= 0)
		close(w->pidfd);
}

void spawn_once(const struct job *job, struct outcome *out)
{
	static struct watch w;
	sigset_t all, before;
	int wait_status;

	outcome_clear(out);
	memset(&w, 0, sizeof w);
	w.job = job;
	w.pidfd = -1;
	int64_t kills = memory_oom_kills();
	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, &before);
	w.start = clock_now_ns();
	const char *why = launch(job, &w.child);
	if (why) {
		say(out, STATUS_FAILED, "%s", why);
	} else {
		w.left[0] = (int64_t)(1e9 * (job->timeout_s > 0 ? job->timeout_s : CALLS_S));
		w.left[1] = (int64_t)(1e9 * (job->own_s > 0 ? job->own_s : OWN_S));
		w.own = 1;
		w.since = w.start;
		w.limit = w.start + w.left[1];
#ifdef SYS_pidfd_open
		w.pidfd = (int)syscall(SYS_pidfd_open, w.child.pid, 0);
#endif
		watch_worker(&w, &before);
		end_worker(&w, &wait_status);
		bool killed = WIFSIGNALED(wait_status) && WTERMSIG(wait_status) == SIGKILL;
		judge(&w, wait_status, killed && kills >= 0 && memory_oom_kills() > kills, out);
	}
	sigprocmask(SIG_SETMASK, &before, NULL);
}
