/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Warm-up, calibration, samples. */
#include "bench.h"

#include <math.h>
#include <stdbool.h>

#include "clock.h"

enum { MS = 1000000, AGREEING = 3, CONFIRM = 2, CALIBRATIONS = 60 };

/* More calls than this in a batch: the function does nothing. */
static const uint64_t calls_max = UINT64_C(1) << 32;

/* A clock step of 20-50 ns is below 0.01 % of a batch of 2 ms; a batch of at
 * most a few ms mostly fits between two preemptions. */
const struct bench_policy bench_default = {
	.warm_calls = 2,
	.warm_ns = 20 * MS,
	.warm_agree = 0.05,
	.warm_limit_ns = 500 * MS,
	.slow_call_ns = INT64_C(1000) * MS,
	.sample_ns = 2 * MS,
	.budget_ns = 100 * MS,
	.samples_min = 3,
	.samples_max = 15,
	.very_slow_call_ns = INT64_C(10000) * MS,
	.jitter = 0.10,
};

struct run {
	const struct bench_job *job;
	const struct bench_policy *policy;
	int64_t (*now)(void);
	uint64_t random;
};

static int64_t batch(const struct run *r, uint64_t calls)
{
	if (r->job->batch) {
		int64_t took = r->job->batch(r->job->payload, calls);
		return took > 0 ? took : 0;
	}
	int64_t start = r->now();
	for (uint64_t i = 0; i < calls; i++)
		r->job->call(r->job->payload);
	return r->now() - start;
}

static void tell(const struct run *r, const char *step)
{
	if (r->job->progress)
		r->job->progress(r->job->payload, step);
}

static void make_ready(const struct run *r)
{
	if (r->job->reset)
		r->job->reset(r->job->payload);
	if (r->job->scrub)
		r->job->scrub(r->job->payload);
}

static bool agree(const int64_t last[AGREEING], double share)
{
	int64_t lo = last[0], hi = last[0];

	for (int i = 1; i < AGREEING; i++) {
		lo = last[i] < lo ? last[i] : lo;
		hi = last[i] > hi ? last[i] : hi;
	}
	return (double)(hi - lo) <= share * (double)lo;
}

/* Returns the time of a call: the least of the last few. */
static int64_t warm_up(const struct run *r, struct bench_result *result)
{
	const struct bench_policy *p = r->policy;
	int64_t last[AGREEING], start = r->now(), spent = 0;
	unsigned n = 0;

	if (result->first_call_ns > p->slow_call_ns) {
		make_ready(r);
		last[0] = batch(r, 1);
		n = 1;
	}
	while (n == 0 || result->first_call_ns <= p->slow_call_ns) {
		make_ready(r);
		last[n % AGREEING] = batch(r, 1);
		n++;
		spent = r->now() - start;
		if (n < p->warm_calls || spent < p->warm_ns)
			continue;
		if (spent >= p->warm_limit_ns || (n >= AGREEING && agree(last, p->warm_agree)))
			break;
	}
	int64_t least = last[0];
	for (unsigned i = 1; i < n && i < AGREEING; i++)
		least = last[i] < least ? last[i] : least;
	result->warm_calls = n;
	result->warm_ns = r->now() - start;
	return least;
}

/* The smallest count whose batch lasts sample_ns, from the time of one call.
 * One long reading may be a preemption, so two in a row must agree; a short
 * one raises the count. */
static uint64_t calibrate(const struct run *r, int64_t call_ns)
{
	int64_t want = r->policy->sample_ns;
	uint64_t calls = 1;
	int confirmed = 0;

	if (call_ns >= want)
		return 1;
	if (call_ns > 0)
		calls = (uint64_t)((want + call_ns - 1) / call_ns);
	for (int i = 0; i < CALIBRATIONS && confirmed < CONFIRM; i++) {
		make_ready(r);
		int64_t took = batch(r, calls);
		if (took >= want) {
			confirmed++;
			continue;
		}
		confirmed = 0;
		double more = took > 0 ? ceil((double)calls * (double)want / (double)took)
		                       : 10 * (double)calls;
		/* A clock that hardly moved says little of the factor. */
		more = fmin(more, 10 * (double)calls);
		if (more >= (double)calls_max)
			return calls_max;
		calls = (uint64_t)more > calls ? (uint64_t)more : calls + 1;
	}
	return calls;
}

static unsigned choose_samples(const struct bench_policy *p, int64_t call_ns, uint64_t calls)
{
	if (p->samples > 0)
		return p->samples;
	if (call_ns > p->very_slow_call_ns)
		return 1;
	double fit = (double)p->budget_ns / fmax((double)call_ns * (double)calls, 1);
	if (fit < p->samples_min)
		return p->samples_min;
	return fit > p->samples_max ? p->samples_max : (unsigned)fit;
}

/* 0 .. jitter * calls more calls, uniformly: splitmix64. */
static uint64_t with_jitter(struct run *r, uint64_t calls)
{
	uint64_t z = r->random += UINT64_C(0x9e3779b97f4a7c15);
	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	double uniform = (double)((z ^ z >> 31) >> 11) * 0x1p-53;
	double most = floor(r->policy->jitter * (double)calls);
	return calls + (uint64_t)(uniform * (most + 1));
}

static void take_sample(struct run *r, uint64_t calls, struct sample *s)
{
	const struct bench_job *job = r->job;

	sample_clear(s);
	s->calls = with_jitter(r, calls);
	make_ready(r);
	if (job->sense_before)
		job->sense_before(job->sensor);
	s->t_start_ns = r->now();
	s->wall_ns = batch(r, s->calls);
	if (job->sense_after)
		job->sense_after(job->sensor, s);
}

void bench_run(const struct bench_job *job, const struct bench_policy *policy,
               struct sample *samples, struct bench_result *result)
{
	struct run r = { job, policy, job->now ? job->now : clock_now_ns, policy->seed };

	*result = (struct bench_result){ 0 };
	tell(&r, "the first call");
	make_ready(&r);
	result->first_call_ns = batch(&r, 1);
	tell(&r, "warm-up");
	int64_t call_ns = warm_up(&r, result);
	tell(&r, "calibration");
	int64_t start = r.now();
	if (job->scrub)
		result->calls = 1;
	else if (policy->calls > 0)
		result->calls = policy->calls;
	else
		result->calls = calibrate(&r, call_ns);
	result->calibrate_ns = r.now() - start;
	tell(&r, "sampling");
	result->n_samples = choose_samples(policy, call_ns, result->calls);
	for (unsigned i = 0; i < result->n_samples; i++)
		take_sample(&r, result->calls, &samples[i]);
}
