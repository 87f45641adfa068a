/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The time pass: the timer of bench.h around the layer, with sensors. */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "bench.h"
#include "clock.h"
#include "hash.h"
#include "remote.h"
#include "sensors.h"

/* Long enough to be compared with our own clock around it. */
static const int64_t engine_sample_ns = 5000000;

struct timed {
	struct worker *w;
	unsigned char *scrub; /* scrub_bytes, or NULL */
	size_t scrub_bytes;
	bool called;
	uint64_t first_output;
};

static void call(void *payload)
{
	layer_run(&((struct timed *)payload)->w->layer);
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

bool pass_time(struct worker *w)
{
	const struct job *job = w->job;
	struct outcome *out = w->out;
	struct timed t = { .w = w };
	struct bench_policy policy = bench_default;
	struct bench_result result;
	struct sensors sensors;
	struct round_evidence round;

	if (!map_scrub(&t))
		return false;
	if (w->remote) {
		if (!remote_prepare(w, &out->prepare_ns))
			return false;
	} else {
		worker_stage(w, "prepare");
		int64_t start = clock_now_ns();
		layer_prepare(&w->layer);
		out->prepare_ns = job->cell.variant->prepare ? clock_now_ns() - start : 0;
	}

	policy.calls = job->calls;
	policy.samples = job->samples < OUTCOME_SAMPLES ? job->samples : OUTCOME_SAMPLES;
	policy.seed = hash_memory(job->cell.seed + job->round, job->cell.id, sizeof job->cell.id);
	struct bench_job bench = {
		.call = call, .scrub = t.scrub ? scrub : NULL,
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
	sensors_round_begin(&sensors, &round);
	bench_run(&bench, &policy, out->samples, &result);
	sensors_round_end(&sensors, &round);
	sensors_close(&sensors);
	/* Of an engine with many threads, any may be the first. */
	sensors_judge(out->samples, result.n_samples, &round, job->cell.threads,
	              pinned && (!w->remote || job->cell.threads == 1));

	out->n_samples = result.n_samples;
	out->calls = result.calls;
	out->first_call_ns = result.first_call_ns;
	out->steal_ticks = round.steal_ticks;
	out->throttled = round.throttled;
	out->freq_khz = round.freq_khz;
	out->cal_before_ns = round.cal_before_ns;
	out->cal_after_ns = round.cal_after_ns;
	if (t.scrub)
		munmap(t.scrub, t.scrub_bytes);
	if ((w->remote && !remote_verify(w)) || !worker_check(w))
		return false;
	/* Threads may sum in any order; one thread has only one. An engine may draw
	 * its random objects in each call. */
	if (!w->remote && job->cell.threads == 1 && layer_hash_output(&w->layer) != t.first_output)
		return worker_end(w, STATUS_BAD_OUTPUT,
		                  "the first and the last call on the same input differ");
	return true;
}
