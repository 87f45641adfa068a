/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A job: what one worker process does for one cell, and what comes back. The
 * parent side is spawn.c, the child side worker.c; neither knows CSV.
 */
#ifndef HARNESS_JOB_H
#define HARNESS_JOB_H

#include <signal.h>

#include "cell.h"
#include "sample.h"

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

enum { JOB_THREADS = 256, JOB_PATH = 256 };
/* STREAM's rule for a buffer that evicts everything else: times the last-level cache. */
enum { JOB_SCRUB_FACTOR = 4 };

struct job {
	struct cell cell;
	enum pass pass;
	unsigned round, position;
	uint64_t calls;       /* calls a sample; 0: calibrate and report */
	unsigned samples;     /* wanted samples; 0: choose (method: 5..15, <= 100 ms) */
	unsigned repeats;     /* PASS_MEMORY: fresh workers, of which the median; 0: 3 */
	double timeout_s;     /* for calls and what prepares them; 0: 30 s */
	double own_s;         /* for what the harness does around them; 0: 60 s */
	size_t memory_limit;  /* kill when RSS grows beyond; 0: none */
	unsigned cpus[JOB_THREADS]; /* cpus[0 .. cell.threads): logical CPU of each rank */
	bool pinned;
	bool huge_pages;      /* PASS_TIME: tensors and work space in huge pages where the kernel has them */
	size_t scrub_bytes;   /* CACHE_COLD: size of the scrub buffer */
	/* Where generated inputs and exact results are kept for the next worker; a
	 * directory that exists, best in memory, the caller's to remove. "": none. */
	char cache_dir[JOB_PATH];
	bool keep_weights;    /* PASS_ACCURACY: leave them in cache_dir, see weights.h */
	size_t fail_alloc;    /* tests: the block of the arena to refuse, from 1 */
};

enum { OUTCOME_SAMPLES = 64, OUTCOME_MESSAGE = 512, OUTCOME_OUTPUT = 4096 };

/* What came back. Numbers that were not measured are NAN or -1. */
struct outcome {
	enum status status;
	int exit_code, signal; /* of the worker; -1: it ended by a signal, 0: it did not */
	bool interrupted;      /* by spawn_interrupt: not a result, run it again */
	char message[OUTCOME_MESSAGE];
	char output[OUTCOME_OUTPUT + 1]; /* end of what the worker printed */
	int64_t life_ns;       /* from fork to the end, of all workers of the job */
	bool unpinned;         /* a thread could not be put on its CPU */

	/* PASS_TIME */
	unsigned n_samples;
	struct sample samples[OUTCOME_SAMPLES];
	uint64_t calls;
	int64_t first_call_ns, warm_ns, prepare_ns;
	double overhead_ns; /* of a call that does nothing */
	double selection_share; /* of a call's time; NAN: the variant does not choose keys */
	struct round_evidence round;
	int64_t prefill_ns;   /* decoding: to take up the tokens before the last */

	/* PASS_MEMORY, bytes */
	int64_t ws_model_bytes, ws_tracked_bytes;
	int64_t rss_base_bytes, rss_peak_bytes, rss_resolution_bytes;
	int64_t ws_touched_bytes; /* of the work space: resident after the call */
	int64_t blas_bytes;       /* growth when BLAS took its buffers, before the call */
	int64_t group_peak_bytes;
	int64_t rss_spread_bytes; /* of the growth, over the repeats: they should agree */
	bool rss_is_bound;        /* the mark could not be reset: peak is an upper bound */

	/* PASS_ACCURACY */
	double err_impl_rel_fro, err_impl_bound;
	double err_exact_rel_fro, err_exact_max_abs, err_exact_cos, err_exact_nmse_u;
	double entropy_ratio; /* mean H / ln(visible keys) of exact attention */
	int64_t err_rows;     /* query rows a head that the errors were taken on */
	double clamped_rows;  /* rows whose denominator was not positive */
	double err_exact_max_rel_row, err_exact_med_rel_row;
	int64_t err_cos_left_out; /* rows */
	double err_sampling;  /* of err_exact_rel_fro; 0 if all rows were looked at */
	double err_uniform_rel_fro, n_eff;
	int64_t weights_rows; /* that the next were taken on */
	double weights_tv, weights_kl, weights_kl_rev, weights_dropped;
	double task_accuracy, task_chance; /* NAN: the input is no task */
	int64_t task_answers;

	/* Any pass: as planned, summed over batch and heads. */
	double flops_useful, flops_executed, pairs_executed, bytes_model;
	int64_t io_bytes;
	int64_t tokens;       /* queries of a head, in all sequences */
	int64_t state_bytes;  /* what decoding keeps of the tokens, all heads; -1: nothing known */
};

/* Runs one job in a fresh process (fork and exec of this program; several, one
 * after another, for PASS_MEMORY) and waits. A job that is not pinned runs on
 * the CPUs that the caller may use.
 * Always fills *out; a fault of the worker is a status, not a failure. The
 * worker loads the plug-in that its variant came from. */
void spawn_job(const struct job *job, struct outcome *out);

/* The caller's flag, or NULL: once it is not 0, the running worker is killed
 * and spawn_job() returns. Signals that set it are noticed at once. */
extern volatile sig_atomic_t *spawn_interrupt;

/* The child side: `attnbench worker`, started with the job on WORKER_IN_FD and
 * the outcome expected on WORKER_OUT_FD. Returns the exit code. */
enum { WORKER_IN_FD = 3, WORKER_OUT_FD = 4 };
int worker_main(int in_fd, int out_fd);

#endif
