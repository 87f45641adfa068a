/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Parts of run.json that describe the process: sensors, environment, limits.
 */
#ifndef HARNESS_RECORD_H
#define HARNESS_RECORD_H

#include <jansson.h>

/* Each sensor: is it there, and if not, why. */
json_t *record_sensors(void);
/* Variables that change how libraries compute, allocate or place threads. */
json_t *record_environment(void);
json_t *record_limits(void);

#endif
