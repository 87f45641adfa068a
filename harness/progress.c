/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The progress line. */
#include "progress.h"
#include "clock.h"
#include "grid.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { BAR = 12, REDRAW_NS = 100000000 /* ten times a second */, WIDTH_UNKNOWN = 80 };

static volatile sig_atomic_t resized = 1;

static void on_resize(int signal)
{
	(void)signal;
	resized = 1;
}

static size_t width(void)
{
	static size_t columns;
	struct winsize size;

	if (resized) {
		resized = 0;
		columns = ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col
		                                                                         : WIDTH_UNKNOWN;
	}
	return columns;
}

bool use_color(enum color_mode mode, int fd)
{
	const char *none = getenv("NO_COLOR"), *term = getenv("TERM");

	if (mode != COLOR_AUTO)
		return mode == COLOR_ALWAYS;
	return isatty(fd) && !(none && *none) && !(term && !strcmp(term, "dumb"));
}

void progress_start(struct progress *p, bool quiet)
{
	const char *term = getenv("TERM");

	p->quiet = quiet;
	p->live = !quiet && isatty(STDERR_FILENO) && term && strcmp(term, "dumb");
	p->start_ns = clock_now_ns();
	if (p->live) {
		const struct sigaction action = { .sa_handler = on_resize, .sa_flags = SA_RESTART };
		sigaction(SIGWINCH, &action, NULL);
		fputs("\033[?25l", stderr);
		fflush(stderr);
	}
}

static void clear_line(struct progress *p)
{
	if (p->drawn)
		fputs("\r\033[K", stderr);
	p->drawn = false;
}

/* Time left: what is left by prediction, at the rate seen so far. */
static double seconds_left(const struct progress *p)
{
	double spent = (double)(clock_now_ns() - p->start_ns) * 1e-9;

	return p->done_s > 0 ? p->left_s * spent / p->done_s : p->left_s;
}

static void put_share(const struct progress *p, char *out, size_t size)
{
	out[0] = '\0';
	if (p->samples)
		snprintf(out, size, " | disturbed %.0f %%", 100.0 * (double)p->disturbed / (double)p->samples);
}

void progress_step(struct progress *p, const char *what)
{
	int64_t now = clock_now_ns();
	char bar[BAR + 1], clock[HUMAN_MAX], share[40], line[512];

	p->done++;
	if (!p->live || (p->drawn && now - p->drawn_ns < REDRAW_NS))
		return;
	size_t total = p->total > p->done ? p->total : p->done, filled = BAR * p->done / total;
	for (size_t i = 0; i < BAR; i++)
		bar[i] = i < filled ? '#' : '.';
	bar[BAR] = '\0';
	put_share(p, share, sizeof share);
	snprintf(line, sizeof line, "[%s] %zu/%zu %s | ETA %s%s", bar, p->done, total, what,
	         human_clock(seconds_left(p), clock), share);
	/* One column is left free: a full line would wrap on some terminals. */
	if (width() > 1 && strlen(line) >= width())
		line[width() - 1] = '\0';
	clear_line(p);
	fputs(line, stderr);
	fflush(stderr);
	p->drawn = true;
	p->drawn_ns = now;
}

void progress_note(struct progress *p, const char *format, ...)
{
	va_list args;

	clear_line(p);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputs("\n", stderr);
	fflush(stderr);
}

void progress_round(struct progress *p, const char *what)
{
	char clock[HUMAN_MAX], share[40];

	if (p->live || p->quiet)
		return;
	put_share(p, share, sizeof share);
	progress_note(p, "%s, %zu of %zu workers, ETA %s%s", what, p->done,
	              p->total > p->done ? p->total : p->done, human_clock(seconds_left(p), clock), share);
}

void progress_stop(struct progress *p)
{
	clear_line(p);
	if (p->live) {
		fputs("\033[?25h", stderr);
		fflush(stderr);
	}
	p->live = false;
}
