/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Progress on stderr: on a terminal one line that is redrawn between workers,
 * never while one is measuring; elsewhere one line a round.
 */
#ifndef HARNESS_PROGRESS_H
#define HARNESS_PROGRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "options.h"

struct progress {
	bool live;   /* a terminal */
	bool quiet, drawn;
	size_t done, total; /* workers */
	int64_t start_ns, drawn_ns;
	double done_s, left_s; /* predicted for what is done and what is left */
	size_t samples, disturbed;
};

void progress_start(struct progress *progress, bool quiet);

/* After a worker: what it was, e.g. "round 4/12 full n=4096 ok 1.84 s". */
void progress_step(struct progress *progress, const char *what);

/* A line of its own, above the progress line: warnings, ends of rounds. */
__attribute__((format(printf, 2, 3)))
void progress_note(struct progress *progress, const char *format, ...);

/* At the end of a round, where nothing is drawn live. */
void progress_round(struct progress *progress, const char *what);

/* Takes the line away and shows the cursor. Also safe to call twice. */
void progress_stop(struct progress *progress);

/* Should this stream be coloured? */
bool use_color(enum color_mode mode, int fd);

#endif
