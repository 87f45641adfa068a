/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A job: what one worker process does for one cell, and what comes back. The
 * parent side is spawn.c, the child side worker.c; neither knows CSV.
 */
#ifndef HARNESS_JOB_H
#define HARNESS_JOB_H

#include "cell.h"

enum pass { PASS_TIME, PASS_MEMORY, PASS_ACCURACY };

/* Values of the status column, in the order of enum status. */
enum status {
	STATUS_OK,
	STATUS_UNSUPPORTED,  /* plan() or the input refused, message says why */
	STATUS_SKIPPED_MEM,  /* predicted not to fit; never started */
	STATUS_SKIPPED_TIMEOUT, /* shorter cells of the variant timed out twice */
	STATUS_OOM,          /* an allocation was refused, or the kernel killed it */
	STATUS_TIMEOUT,
	STATUS_CRASH,        /* signal or unexpected exit */
	STATUS_BAD_OUTPUT,   /* NaN or Inf, wrote out of bounds, changed its input */
	STATUS_INACCURATE,   /* further from its own definition than allowed */
	STATUS_FAILED        /* the harness itself: message says what */
};
extern const char *const status_names[];

struct job {
	struct cell cell;
	enum pass pass;
	unsigned round, position;
	uint64_t calls;       /* calls a sample; 0: calibrate and report */
	unsigned samples;     /* wanted samples; 0: choose (method: 5..15, <= 100 ms) */
	double timeout_s;
	size_t memory_limit;  /* kill when RSS grows beyond; 0: none */
	unsigned cpus[256];   /* cpus[0 .. cell.threads): logical CPU of each rank */
	bool pinned;
	size_t scrub_bytes;   /* CACHE_COLD: size of the scrub buffer */
};

/* One timed batch of calls. Negative = not available. */
struct sample {
	int64_t t_start_ns, wall_ns, cpu_ns;
	uint64_t calls;
	int64_t nivcsw, run_delay_ns, minflt, majflt;
	int cpu_before, cpu_after;
	bool disturbed;
};

enum { OUTCOME_SAMPLES = 64, OUTCOME_MESSAGE = 512 };

/* What came back. Numbers that were not measured are NAN or -1. */
struct outcome {
	enum status status;
	int exit_code, signal;
	char message[OUTCOME_MESSAGE];

	/* PASS_TIME */
	unsigned n_samples;
	struct sample samples[OUTCOME_SAMPLES];
	uint64_t calls;
	int64_t first_call_ns, prepare_ns;
	int64_t steal_ticks, cal_before_ns, cal_after_ns, freq_khz;

	/* PASS_MEMORY, bytes */
	int64_t ws_model_bytes, ws_tracked_bytes;
	int64_t rss_base_bytes, rss_peak_bytes, rss_resolution_bytes;

	/* PASS_ACCURACY */
	double err_impl_rel_fro, err_impl_bound;
	double err_exact_rel_fro, err_exact_max_abs, err_exact_cos, err_exact_nmse_u;
	double entropy_ratio; /* mean H / ln(visible keys) of exact attention */
	int64_t err_rows;     /* query rows a head that the errors were taken on */

	/* Any pass: as planned, summed over batch and heads. */
	double flops_useful, flops_executed, pairs_executed, bytes_model;
	int64_t io_bytes;
};

/* Runs one job in a fresh process (fork and exec of this program) and waits.
 * Always fills *out; a fault of the worker is a status, not a failure. */
void spawn_job(const struct job *job, struct outcome *out);

/* The child side: `attnbench worker`, job on in_fd, outcome on out_fd. Returns
 * the exit code. */
int worker_main(int in_fd, int out_fd);

#endif
