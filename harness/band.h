/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The A/A band of a machine: by how much intervals of the ratio of a kernel to
 * itself miss 1, 19 times in 20. `attnbench selftest --aa` measures it; a run
 * takes it as the margin of its verdicts and keeps it in run.json. Between the
 * two it lies in the user's cache, one file a machine:
 *
 *     $XDG_CACHE_HOME/attnbench/aa-HOST.json, or ~/.cache/attnbench/...
 */
#ifndef HARNESS_BAND_H
#define HARNESS_BAND_H

#include <jansson.h>

#include "machine.h"
#include "text.h"

struct band {
	double share;       /* 0.01: 1 %. NAN: never measured */
	double false_share; /* of verdicts that were wrong, at the default margin */
	unsigned comparisons;
	char date[UTC_MAX], cell[128];
};

/* "" and a sentence: there is no place for it. */
enum { BAND_PATH_MAX = 1024 };
bool band_path(const struct machine *machine, char path[BAND_PATH_MAX], char *error);

bool band_store(const struct band *band, const struct machine *machine, char *error);

/* share NAN if there is none. */
void band_load(struct band *band, const struct machine *machine);

/* As in run.json; null if it was never measured. */
json_t *band_json(const struct band *band);
void band_from_json(const json_t *json, struct band *band);

/* Ratios within this of 1 count as the same: what was asked for, else the band,
 * at least 1 %. */
double band_margin(const struct band *band, double asked);

#endif
