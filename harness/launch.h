/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Starting a worker: fork and exec of this program, with everything that must
 * hold before main() set up in between.
 */
#ifndef HARNESS_LAUNCH_H
#define HARNESS_LAUNCH_H

#include "job.h"

struct child {
	pid_t pid;     /* leader of a process group of its own */
	int result_fd; /* frames; not blocking */
	int output_fd; /* its stdout and stderr; not blocking */
};

/* NULL and *child, or why there is none; the sentence stays until the next
 * call. The caller closes the descriptors and reaps the process. */
const char *launch(const struct job *job, struct child *child);

#endif
