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

#include <jansson.h>

struct team;
struct topo_info;

enum ceiling_level { LEVEL_L1, LEVEL_L2, LEVEL_L3, LEVEL_DRAM, LEVELS };
extern const char *const ceiling_level_names[]; /* "l1" ... */

/* Of all threads together. NAN: the machine has no such level. */
struct ceilings {
	unsigned threads;
	char isa[16];
	double fma_gflops, sgemm_gflops, exp_gexps;
	double bf16_gflops; /* NAN: bf16 is converted to f32 */
	double read_gbs[LEVELS], triad_gbs[LEVELS];
	size_t level_bytes[LEVELS]; /* the working set of a thread */
};

/* About `seconds` for each number; the best of twenty slices. False: out of memory. */
bool ceilings_measure(struct team *team, const struct kern *kern, const struct topo_info *topo,
                      double seconds, struct ceilings *out);

/* A list of objects, for run.json. */
json_t *ceilings_json(const struct ceilings *c, size_t n);

enum { CEILINGS_MAX = 32 };

/* The ceilings of lists of thread counts and instruction sets ("1,2"), measured in
 * a process of its own: how many, at most CEILINGS_MAX. 0 and a sentence: they
 * could not be measured. */
size_t ceilings_ask(const char *threads, const char *isas, const struct config *config,
                    struct ceilings out[CEILINGS_MAX], char *error);

#endif
