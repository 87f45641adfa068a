/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The worker's side of the protocol of peers/PROTOCOL.md. */
#include "remote.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "clock.h"
#include "engine.h"
#include "frame.h"
#include "memory.h"
#include "wire.h"

/* Around a batch the harness sees more than the engine reports: waking up, the
 * copy into the shared file, the sum over it. What a batch of no calls takes is
 * known; beyond it, so much is allowed before the clocks count as different. */
static const int64_t beyond_ns = 3000000;
static const double beyond_share = 0.10, copy_ns_per_byte = 2;

enum { IDLE_RUNS = 3, GRACE_MS = 2000 };

static bool end(struct worker *w, enum status status, const char *format, ...)
        __attribute__((format(printf, 3, 4)));

static bool end(struct worker *w, enum status status, const char *format, ...)
{
	char text[OUTCOME_MESSAGE];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof text, format, args);
	va_end(args);
	w->remote->ended = true;
	return worker_end(w, status, "engine %s %s", w->remote->engine, text);
}

/* It said nothing more: why, from how it ended. */
static bool end_silent(struct worker *w, const char *asked)
{
	struct remote *r = w->remote;

	if (r->dialog.state == DIALOG_FOREIGN)
		return end(w, STATUS_FAILED, "answered %s with bytes that are no line of text", asked);
	int status;
	if (!dialog_end(&r->dialog, GRACE_MS, &status))
		return end(w, STATUS_CRASH, "closed its output during %s", asked);
	bool killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
	if (killed && r->oom_kills >= 0 && memory_oom_kills() > r->oom_kills)
		return end(w, STATUS_OOM, "was killed by the kernel, out of memory, during %s", asked);
	if (WIFSIGNALED(status))
		return end(w, STATUS_CRASH, "was killed by signal %d (%s) during %s", WTERMSIG(status),
		           strsignal(WTERMSIG(status)), asked);
	return end(w, STATUS_CRASH, "ended with exit code %d during %s", WEXITSTATUS(status), asked);
}

/* What follows the word in the answer, or NULL: the outcome says why. */
static const char *answer(struct worker *w, const char *asked, const char *word)
{
	char *line = dialog_hear(&w->remote->dialog, -1);
	size_t len = strlen(word);

	if (!line) {
		end_silent(w, asked);
		return NULL;
	}
	if (!strncmp(line, word, len) && (line[len] == ' ' || line[len] == '\0'))
		return line + len;
	if (!strncmp(line, "oom ", 4))
		end(w, STATUS_OOM, "has no memory for %s: %s", asked, line + 4);
	else if (!strncmp(line, "error ", 6))
		end(w, STATUS_CRASH, "failed at %s: %s", asked, line + 6);
	else if (!strncmp(line, "no ", 3) && !strcmp(asked, "plan"))
		end(w, STATUS_UNSUPPORTED, "refuses: %s", line + 3);
	else
		end(w, STATUS_FAILED, "answered %s with '%.120s'", asked, line);
	return NULL;
}

static bool ask(struct worker *w, const char *what)
{
	char stage[WIRE_STAGE_MAX];

	snprintf(stage, sizeof stage, "%s of the engine", what);
	worker_stage(w, stage);
	/* Whoever does not listen has ended, which the answer tells. */
	dialog_say(&w->remote->dialog, "%s", what);
	return answer(w, what, "ok") != NULL;
}

static size_t offset(const struct worker *w, const void *block)
{
	return block ? (size_t)((const unsigned char *)block - w->arena.map) : 0;
}

/* " arg.left=256 arg.proj=gauss" for each parameter. */
static void put_arguments(const struct layer *l, struct text *out)
{
	const struct attn_variant *v = l->cell.variant;
	char value[64];

	for (size_t i = 0, n = cell_n_params(v); i < n; i++)
		text_printf(out, " arg.%s=%s", v->params[i].name,
		            cell_value(&v->params[i], l->plan.arg[i], value, sizeof value));
}

static void put_plan(const struct worker *w, struct text *out)
{
	const struct layer *l = &w->layer;
	const struct cell *c = &l->cell;

	text_printf(out, "plan variant=%s batch=%zu heads=%zu kv_heads=%zu n_q=%zu n_k=%zu d=%zu d_v=%zu causal=%d "
	            "scale=%.9g type=%s seed=%" PRIu64 " threads=%u cpus=", strchr(c->variant->name, '/') + 1,
	            c->batch, c->heads, c->kv_heads, c->n_q, c->n_k, c->d, c->d_v, c->causal, (double)cell_scale(c),
	            cell_type_names[c->type], c->seed, c->threads);
	for (unsigned i = 0; w->job->pinned && i < c->threads; i++)
		text_printf(out, "%s%u", i ? "," : "", w->job->cpus[i]);
	text_printf(out, " file=/proc/self/fd/%d bytes=%zu q=%zu k=%zu v=%zu out=%zu state=%zu "
	            "state_bytes=%zu", DIALOG_FILE_FD, w->arena.map_bytes, offset(w, l->q), offset(w, l->k),
	            offset(w, l->v), offset(w, l->out), offset(w, l->state),
	            c->variant->prepare ? l->plan.state : 0);
	put_arguments(l, out);
}

bool remote_open(struct worker *w, struct remote *r)
{
	const struct job *job = w->job;
	struct text plan = { 0 };

	*r = (struct remote){
		.dialog = { .pid = -1, .to = -1, .from = -1 },
		.engine = engine_info(job->cell.variant)->engine,
		.oom_kills = memory_oom_kills(), .idle_ns = INT64_MAX, .beyond_ns = INT64_MAX,
	};
	w->remote = r;
	worker_stage(w, "start of the engine");
	/* What random objects our definition uses is handed over with the inputs. */
	layer_prepare(&w->layer);
	const char *why = engine_start(r->engine, job->cell.threads, job->pinned ? job->cpus : NULL,
	                               w->arena.fd, &r->dialog);
	if (why) {
		r->ended = true;
		return worker_end(w, STATUS_CRASH, "%s", why);
	}
	int32_t pid = (int32_t)r->dialog.pid;
	frame_write(w->out_fd, WIRE_CHILD, &pid, sizeof pid);
	worker_stage(w, "plan of the engine");
	put_plan(w, &plan);
	if (plan.failed || plan.len >= DIALOG_LINE)
		end(w, STATUS_FAILED, "cannot be told a plan of %zu characters", plan.len);
	else
		dialog_say(&r->dialog, "%s", plan.s);
	text_free(&plan);
	return !r->ended && answer(w, "plan", "ok");
}

bool remote_prepare(struct worker *w, int64_t *ns)
{
	int64_t start = clock_now_ns();

	if (!ask(w, "prepare"))
		return false;
	*ns = clock_now_ns() - start;
	for (int i = 0; i < IDLE_RUNS; i++)
		if (remote_batch(w, 0) < 0)
			return false;
	worker_stage(w, "the call");
	return true;
}

/* The sum of the 16-bit words of the output, which the engine reports too. */
static uint64_t sum_output(const struct layer *l)
{
	const uint16_t *word = l->out;
	size_t words = l->plan.out / sizeof *word;
	uint64_t sum = 0;

	for (size_t i = 0; i < words; i++)
		sum += word[i];
	return sum;
}

/* Takes "START END CPU SUM"; the batch lay in [from, to] on our clock. */
static int64_t take_times(struct worker *w, const char *text, uint64_t calls, int64_t from, int64_t to)
{
	struct remote *r = w->remote;
	int64_t start, stop, cpu, around = to - from;
	uint64_t sum;
	char beyond;

	if (sscanf(text, " %" SCNd64 " %" SCNd64 " %" SCNd64 " %" SCNu64 " %c", &start, &stop, &cpu, &sum,
	           &beyond) != 4) {
		end(w, STATUS_FAILED, "answered run with '%.80s', not with four numbers", text);
		return -1;
	}
	if (start < from || stop < start || stop > to) {
		end(w, STATUS_FAILED, "says that it ran from %" PRId64 " to %" PRId64 " ns, but was asked at %"
		    PRId64 " and answered at %" PRId64 ": its clock is not CLOCK_MONOTONIC", start, stop, from, to);
		return -1;
	}
	if (calls > 0 && sum != sum_output(&w->layer)) {
		end(w, STATUS_BAD_OUTPUT, "reports the sum %" PRIu64 " over its output, but %" PRIu64
		    " is in the file", sum, sum_output(&w->layer));
		return -1;
	}
	r->start = start;
	r->cpu_ns = cpu;
	int64_t took = stop - start, excess = around - took;
	if (calls == 0)
		r->idle_ns = around < r->idle_ns ? around : r->idle_ns;
	excess -= (int64_t)(beyond_share * (double)took);
	if (calls > 0 && excess < r->beyond_ns)
		r->beyond_ns = excess;
	return took;
}

int64_t remote_batch(void *worker, uint64_t calls)
{
	struct worker *w = worker;
	char what[48];

	if (w->remote->ended)
		return -1;
	snprintf(what, sizeof what, "run %" PRIu64, calls);
	int64_t from = clock_now_ns();
	dialog_say(&w->remote->dialog, "%s", what);
	const char *text = answer(w, "run", "ran");
	return text ? take_times(w, text, calls, from, clock_now_ns()) : -1;
}

void remote_sense_before(void *worker)
{
	struct worker *w = worker;

	observe(w->remote->dialog.pid, &w->remote->before);
}

void remote_sense_after(void *worker, struct sample *sample)
{
	struct worker *w = worker;
	struct observed after;

	observe(w->remote->dialog.pid, &after);
	observe_difference(&w->remote->before, &after, sample);
	sample->t_start_ns = w->remote->start;
	/* Its own count leaves out what it does between the calls. */
	if (w->remote->cpu_ns >= 0)
		sample->cpu_ns = w->remote->cpu_ns;
}

bool remote_verify(struct worker *w)
{
	const struct remote *r = w->remote;
	const struct job *job = w->job;
	double copy = copy_ns_per_byte * (double)w->layer.plan.out;

	if (r->ended)
		return false;
	/* One answer may be late for any reason, not each of many. */
	int64_t allowed = r->idle_ns + beyond_ns + (int64_t)copy;
	if (job->pass == PASS_TIME && r->beyond_ns > allowed)
		return end(w, STATUS_FAILED, "leaves at least %.3g ms of every answer out of its time, where "
		           "%.3g ms are allowed: its times cannot be trusted", (double)r->beyond_ns * 1e-6,
		           (double)allowed * 1e-6);
	if (job->pinned && observe_unpinned(r->dialog.pid, job->cpus, job->cell.threads) > 0)
		w->out->unpinned = true;
	return true;
}

bool remote_peak(struct worker *w, int64_t *peak)
{
	worker_stage(w, "memory of the engine");
	dialog_say(&w->remote->dialog, "memory");
	const char *text = answer(w, "memory", "memory");
	if (text && sscanf(text, " %" SCNd64, peak) != 1)
		*peak = -1;
	return text != NULL;
}

void remote_close(struct worker *w)
{
	struct remote *r = w->remote;
	int status;

	if (!r)
		return;
	if (!r->ended)
		dialog_say(&r->dialog, "bye");
	dialog_end(&r->dialog, r->ended ? 0 : GRACE_MS, &status);
}
