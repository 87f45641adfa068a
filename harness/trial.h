/* SPDX-License-Identifier: BSD-3-Clause
 *
 * One cell measured as in a run, worker by worker, but in memory and under
 * names of one's own: for experiments on the harness itself.
 */
#ifndef HARNESS_TRIAL_H
#define HARNESS_TRIAL_H

#include "options.h"
#include "results.h"
#include "topo.h"

struct trial {
	struct job job; /* of the time pass; may be changed between rounds */
	bool split;     /* take each sample for a round: what not to do */
	struct topo *topo;
	struct topo_info topology;
	struct results results;
	char scratch[256];
};

/* Takes the cell that the options name; what they leave open is this variant
 * at this n. False: a sentence in error; trial_end() in any case. */
bool trial_begin(struct trial *trial, const struct config *config, const char *variant,
                 const char *n, char *error);
void trial_end(struct trial *trial);

/* One worker, whose samples become this round of the result of that name. The
 * calls a sample are those of its first round. */
bool trial_round(struct trial *trial, const char *name, unsigned round, char *error);

/* What has been measured under this name; NULL: nothing. */
const struct result *trial_result(const struct trial *trial, const char *name);

/* Drops all results. */
void trial_forget(struct trial *trial);

#endif
