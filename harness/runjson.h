/* SPDX-License-Identifier: BSD-3-Clause
 *
 * run.json: what was measured, where, with what and how it ended.
 */
#ifndef HARNESS_RUNJSON_H
#define HARNESS_RUNJSON_H

#include "band.h"
#include "build.h"
#include "ceiling.h"
#include "machine.h"
#include "options.h"
#include "plan.h"
#include "results.h"
#include "topo.h"

enum { RUN_ID_MAX = 40, SESSIONS_MAX = 1000 };

/* One start of the program on this directory. */
struct session {
	char start[UTC_MAX], end[UTC_MAX]; /* end "": still running, or killed */
	char status[16]; /* running, complete, interrupted, failed */
};

/* The life of a run, and what a resumed run must agree with. */
struct run_record {
	char run_id[RUN_ID_MAX];
	char plan_hash[17], program_hash[17], host_id[24], cpu_model[128];
	struct band band; /* of the machine when it was measured */
	json_t *roof;     /* the ceilings that an earlier session measured, or NULL */
	struct session *session;
	size_t n_sessions, cap;
};

struct run_facts {
	const struct config *config;
	const struct plan *plan;
	const struct topo *topo;
	const struct machine *machine;
	const struct build *build;
	const struct results *results;
	const struct ceilings *ceilings;
	size_t n_ceilings;
	char *const *argv; /* ended by NULL */
	double calibration_start_ns, calibration_end_ns; /* NAN: not measured */
	/* Of this session: its length, the life of its workers, and of that in calls
	 * that were timed or warmed up. */
	double wall_s, workers_s, calls_s;
	double blas_off; /* of a small product, over the rounding bound */
};

/* Writes DIR/run.json, whole or not at all. */
bool runjson_write(const char *dir, const struct run_record *record, const struct run_facts *facts,
                   char *error);

enum runjson_result { RUNJSON_FOUND, RUNJSON_NONE, RUNJSON_BAD };
enum runjson_result runjson_read(const char *dir, struct run_record *record, char *error);

/* True if rows of the record may be continued here. */
bool runjson_agrees(const struct run_record *record, const struct plan *plan,
                    const struct build *build, const struct machine *machine, char *error);

bool record_begin(struct run_record *record); /* adds a session; false: no memory */
void record_end(struct run_record *record, const char *status);
void record_free(struct run_record *record);

#endif
