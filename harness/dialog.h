/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A program that answers line by line: started with pipes as its standard input
 * and output, asked, and ended. What it prints on stderr goes where ours goes.
 */
#ifndef HARNESS_DIALOG_H
#define HARNESS_DIALOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum { DIALOG_LINE = 4096, DIALOG_WHY = 256, DIALOG_FILE_FD = 3 };

struct dialog_start {
	char *const *argv;       /* ended by NULL; argv[0] with a slash, or searched for */
	const char *dir;         /* where it runs */
	const char *const *set;  /* NAME=VALUE, ended by NULL, over our environment */
	const char *const *drop; /* names that it does not inherit, ended by NULL */
	int file;                /* becomes its descriptor DIALOG_FILE_FD; -1: none */
};

enum dialog_state {
	DIALOG_OPEN,
	DIALOG_ENDED,   /* its output has ended: it has, or will not say more */
	DIALOG_FOREIGN, /* what it said is no line of text */
	DIALOG_LATE,    /* nothing came in time */
};

struct dialog {
	pid_t pid;
	int to, from;
	enum dialog_state state;
	size_t have, used; /* bytes in buf; of these, the line that was given out */
	char buf[DIALOG_LINE];
	char why[DIALOG_WHY]; /* dialog_start() failed so */
};

/* False: there is no such program, or none can be started; why says it. */
bool dialog_start(struct dialog *dialog, const struct dialog_start *start);

/* Sends a line; false if nobody reads any more. */
__attribute__((format(printf, 2, 3)))
bool dialog_say(struct dialog *dialog, const char *format, ...);

/* The next line without its end, valid until the next call; NULL: state says
 * why. limit_ms < 0: waits for ever. */
char *dialog_hear(struct dialog *dialog, int64_t limit_ms);

/* Closes the pipes, gives it grace_ms to end, then kills it. True: it ended by
 * itself, and *status is that of waitpid(). */
bool dialog_end(struct dialog *dialog, int64_t grace_ms, int *status);

#endif
