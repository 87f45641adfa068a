/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The time pass: the timer of bench.h around the layer, with sensors. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "bench.h"
#include "clock.h"
#include "decode.h"
#include "hash.h"
#include "phases.h"
#include "remote.h"
#include "sensors.h"

/* Long enough to be compared with our own clock around it. */
static const int64_t engine_sample_ns = 5000000;

struct timed {
	struct worker *w;
	unsigned char *scrub; /* scrub_bytes, or NULL */
	size_t scrub_bytes;
	unsigned char *saved; /* decoding: what a step changes, before it */
	bool called;
	uint64_t first_output;
};

static void call(void *payload)
{
	layer_run(&((struct timed *)payload)->w->layer);
}

static void reset(void *payload)
{
	struct timed *t = payload;

	decode_restore(&t->w->layer, t->saved);
}

static int64_t remote_calls(void *payload, uint64_t calls)
{
	return remote_batch(((struct timed *)payload)->w, calls);
}

/* Each CPU reads and writes its part of a buffer several times the size of the
 * last-level cache, line by line. */
static void scrub_rank(void *arg, struct attn_team *me)
{
	struct timed *t = arg;
	unsigned char *end = t->scrub + t->scrub_bytes * (me->rank + 1) / me->size;

	for (unsigned char *p = t->scrub + t->scrub_bytes * me->rank / me->size; p < end; p += 64)
		*(volatile unsigned char *)p = (unsigned char)(*(volatile unsigned char *)p + 1);
}

static void scrub(void *payload)
{
	struct timed *t = payload;

	team_run(t->w->team, TEAM_FAST, scrub_rank, t);
}

static void progress(void *payload, const char *step)
{
	struct timed *t = payload;

	if (t->called && t->first_output == 0)
		t->first_output = layer_hash_output(&t->w->layer);
	t->called = true;
	worker_stage(t->w, step);
}

static void nothing(const struct attn_call *call, struct attn_team *team)
{
	(void)call;
	(void)team;
}

static void no_step(const struct attn_decode_call *call, struct attn_team *team)
{
	(void)call;
	(void)team;
}

/* What a call of the harness costs around the variant: the same heads on the
 * same team, with nothing to do. The least of a few batches, as a mean. */
static double overhead(struct layer *layer)
{
	enum { BATCHES = 3, CALLS = 200 };
	static const struct attn_decode idle_decode = { .step = no_step };
	static const struct attn_variant idle = { .forward = nothing, .decode = &idle_decode,
		                                  .flags = ATTN_BF16_OK | ATTN_F16_OK };
	const struct attn_variant *variant = layer->cell.variant;
	int64_t least = INT64_MAX;

	layer->cell.variant = &idle;
	for (int i = 0; i < BATCHES; i++) {
		int64_t start = clock_now_ns();
		for (int call = 0; call < CALLS; call++)
			layer_run(layer);
		int64_t took = clock_now_ns() - start;
		least = took < least ? took : least;
	}
	layer->cell.variant = variant;
	return (double)least / CALLS;
}

static bool map_scrub(struct timed *t)
{
	const struct job *job = t->w->job;

	if (job->cell.cache != CACHE_COLD)
		return true;
	if (job->scrub_bytes == 0)
		return worker_end(t->w, STATUS_FAILED,
		                  "a cold cache needs the size of the scrub buffer");
	void *p = mmap(NULL, job->scrub_bytes, PROT_READ | PROT_WRITE,
	               MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED)
		return worker_end(t->w, STATUS_OOM,
		                  "the system refused %zu bytes to scrub the cache with",
		                  job->scrub_bytes);
	t->scrub = p;
	t->scrub_bytes = job->scrub_bytes;
	return true;
}

/* Prepares, and takes up the tokens before a decode step. */
static bool make_past(struct timed *t)
{
	struct worker *w = t->w;
	const struct cell *cell = &w->job->cell;
	bool ok = true;

	worker_stage(w, "prepare");
	int64_t start = clock_now_ns();
	layer_prepare(&w->layer);
	w->out->prepare_ns = cell->variant->prepare ? clock_now_ns() - start : 0;
	if (cell->mode != MODE_DECODE)
		return true;
	worker_stage(w, "taking up tokens");
	start = clock_now_ns();
	layer_fill(&w->layer);
	w->out->prefill_ns = clock_now_ns() - start;
	t->saved = decode_save(&w->layer, &ok);
	return ok || worker_end(w, STATUS_OOM, "no memory for a copy of what a step changes");
}

/* Threads may sum in any order; one thread has only one. */
static bool check_repeat(struct timed *t)
{
	struct layer *l = &t->w->layer;

	if (l->cell.threads > 1)
		return true;
	if (t->saved) { /* sums have moved on with every call */
		reset(t);
		layer_run(l);
	}
	return layer_hash_output(l) == t->first_output ||
	       worker_end(t->w, STATUS_BAD_OUTPUT, "the first and the last call on the same input differ");
}

bool pass_time(struct worker *w)
{
	const struct job *job = w->job;
	struct outcome *out = w->out;
	struct timed t = { .w = w };
	struct bench_policy policy = bench_default;
	struct bench_result result;
	struct sensors sensors;

	if (!map_scrub(&t))
		return false;
	if (w->remote ? !remote_prepare(w, &out->prepare_ns) : !make_past(&t))
		return false;
	policy.calls = job->calls;
	policy.samples = job->samples < OUTCOME_SAMPLES ? job->samples : OUTCOME_SAMPLES;
	policy.seed = hash_memory(job->cell.seed + job->round, job->cell.id, sizeof job->cell.id);
	struct bench_job bench = {
		.call = call, .reset = t.saved ? reset : NULL, .scrub = t.scrub ? scrub : NULL,
		.sense_before = sensors_before, .sense_after = sensors_after,
		.progress = progress, .payload = &t, .sensor = &sensors,
	};
	if (w->remote) {
		bench.batch = remote_calls;
		bench.sense_before = remote_sense_before;
		bench.sense_after = remote_sense_after;
		bench.sensor = w;
		policy.sample_ns = engine_sample_ns;
	}
	bool pinned = job->pinned && !out->unpinned;
	sensors_open(&sensors, pinned ? job->cpus : NULL, job->cell.threads);
	sensors_round_begin(&sensors, &out->round);
	bench_run(&bench, &policy, out->samples, &result);
	sensors_round_end(&sensors, &out->round);
	sensors_close(&sensors);
	/* Of an engine with many threads, any may be the first. */
	sensors_judge(out->samples, result.n_samples, &out->round, job->cell.threads,
	              pinned && (!w->remote || job->cell.threads == 1));

	worker_own_stage(w, "checks");
	out->n_samples = result.n_samples;
	out->calls = result.calls;
	out->first_call_ns = result.first_call_ns;
	out->warm_ns = result.warm_ns + result.calibrate_ns;
	out->overhead_ns = w->remote ? NAN : overhead(&w->layer);
	out->selection_share = w->remote ? NAN : phases_selection(&w->layer);
	if (t.scrub)
		munmap(t.scrub, t.scrub_bytes);
	/* An engine may draw its random objects in each call. */
	bool ok = w->remote ? remote_verify(w) && worker_check(w) : worker_check(w) && check_repeat(&t);
	free(t.saved);
	return ok;
}
