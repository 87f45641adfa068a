/* SPDX-License-Identifier: BSD-3-Clause
 *
 * One worker of a job; spawn_job() of job.h runs as many as the pass takes.
 */
#ifndef HARNESS_SPAWN_H
#define HARNESS_SPAWN_H

#include "job.h"

/* As spawn_job(), but always one fresh process. */
void spawn_once(const struct job *job, struct outcome *out);

#endif
