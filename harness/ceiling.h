/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The ceilings of this machine: what its cores and memory can do at most, with
 * which results are compared. `attnbench roof` prints them; a run measures them
 * briefly at its start and keeps them in run.json.
 */
#ifndef HARNESS_CEILING_H
#define HARNESS_CEILING_H

#include "../attention/attn.h"
#include "options.h"

struct team;
struct topo_info;

enum ceiling_level { LEVEL_L1, LEVEL_L2, LEVEL_L3, LEVEL_DRAM, LEVELS };
extern const char *const ceiling_level_names[]; /* "l1" ... */

/* Of all threads together. NAN: the machine has no such level. */
struct ceilings {
	unsigned threads;
	double fma_gflops, sgemm_gflops, exp_gexps;
	double read_gbs[LEVELS], triad_gbs[LEVELS];
	size_t level_bytes[LEVELS]; /* the working set of a thread */
};

/* About `seconds` for each number; the best of five. False: out of memory. */
bool ceilings_measure(struct team *team, const struct kern *kern, const struct topo_info *topo,
                      double seconds, struct ceilings *out);

/* The ceilings for these thread counts as JSON, measured in a process of its own,
 * in *json. False and a sentence: the run goes on without. */
bool ceilings_ask(const unsigned *threads, size_t n, const char *isa, double seconds,
                  struct text *json, char *error);

#endif
