/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A plug-in whose one variant, `faulty`, does what it is told not to. Between
 * faults it is the uniform average, O_i = (1/n) sum_j v_j, computed correctly:
 *
 *     --plugin build/.../tests/faulty.so --variant faulty:how=segv:at=512
 *
 * how names the fault; at is the length n_k at which it happens, 0 for any.
 */
#include "../attention/attn.h"

#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { HOW, AT };

enum fault {
	NONE, SEGV, ILL, ABORT, KILL, EXIT, SPIN, STUBBORN, STUBBORN_THREAD, STOP, HOG, NAN_OUT,
	INF_OUT, OOB, UNDER, SCRATCH, MUTATE, FLOOD, GARBAGE, CLOSE, CHILD, WRONG, RANDOM,
	UNWRITTEN, STALE, ENDLESS, REFUSE
};

static const char *const faults[] = {
	"none", "segv", "ill", "abort", "kill", "exit", "spin", "stubborn", "stubborn-thread",
	"stop", "hog", "nan", "inf", "oob", "under", "scratch", "mutate", "flood", "garbage",
	"close", "child", "wrong", "random", "unwritten", "stale", "endless", "refuse", NULL
};

static const struct attn_param params[] = {
	{ "how", "the fault", ATTN_NAME, NONE, NONE, REFUSE, faults },
	{ "at", "n_k at which it happens, 0: any", ATTN_INT, 0, 0, 1e9, NULL },
	{ 0 },
};

static enum fault fault_of(const struct attn_shape *s, const double *arg)
{
	bool now = arg[AT] == 0 || (size_t)arg[AT] == s->n_k;

	return now ? (enum fault)(int)arg[HOW] : NONE;
}

static const char *plan(const struct attn_shape *s, const double *arg, size_t ranks,
                        struct attn_plan *p)
{
	(void)ranks;
	if (fault_of(s, arg) == REFUSE)
		return "refused, as told";
	p->scratch = s->d_v * sizeof(float);
	p->pairs = (double)s->n_q * (double)s->n_k;
	p->flops_useful = p->flops_executed = (double)s->n_k * (double)s->d_v;
	p->bytes = 4 * (double)s->d_v * (double)(s->n_k + s->n_q);
	return NULL;
}

static void average(const struct attn_call *c)
{
	const struct attn_shape *s = c->shape;
	const float *v = c->v;
	float *mean = c->scratch, *out = c->out;

	memset(mean, 0, s->d_v * sizeof *mean);
	for (size_t j = 0; j < s->n_k; j++)
		for (size_t i = 0; i < s->d_v; i++)
			mean[i] += v[j * c->ldv + i];
	for (size_t r = 0; r < s->n_q; r++)
		for (size_t i = 0; i < s->d_v; i++)
			out[r * c->ldo + i] = mean[i] / (float)s->n_k;
}

static void *spin(void *nothing)
{
	volatile unsigned long turns = 0;

	for (;;)
		turns++;
	return nothing;
}

/* 16 MiB at a time, so that a watcher sees it grow before the machine does. */
static void hog(void)
{
	enum { STEP = 16 << 20 };

	for (int i = 0; i < 256; i++) {
		volatile char *p = malloc(STEP); /* or a compiler would leave it out */
		for (size_t at = 0; p && at < STEP; at += 4096)
			p[at] = 1;
		usleep(10000);
	}
	_exit(9);
}

static void put(int fd, const char *text)
{
	ssize_t n = write(fd, text, strlen(text));
	(void)n;
}

/* Writes to every pipe this process has, its result channel included. */
static void garbage(void)
{
	struct stat s;

	for (int fd = 0; fd < 1024; fd++)
		if (fd != 1 && fd != 2 && fstat(fd, &s) == 0 && S_ISFIFO(s.st_mode))
			put(fd, "this is not a result");
}

static void flood(void)
{
	char line[128];

	for (int i = 0; i < 40000; i++) {
		snprintf(line, sizeof line, "line %d of a flood that nobody asked for, on and on\n", i);
		put(i % 2 + 1, line);
	}
}

static void leave_child(void)
{
	if (fork() == 0) {
		signal(SIGTERM, SIG_IGN);
		for (;;)
			pause();
	}
}

static int *volatile nowhere;

static void misbehave(enum fault fault)
{
	pthread_t thread;

	switch (fault) {
	case SEGV:
		put(2, "about to dereference\n");
		*nowhere = 1;
		break;
	case ILL:
		raise(SIGILL);
		break;
	case ABORT:
		put(2, "something is wrong\n");
		abort();
	case KILL:
		raise(SIGKILL);
		break;
	case EXIT:
		_exit(3);
	case STUBBORN_THREAD:
		signal(SIGTERM, SIG_IGN);
		pthread_create(&thread, NULL, spin, NULL);
		pthread_join(thread, NULL);
		break;
	case STUBBORN:
		signal(SIGTERM, SIG_IGN);
		spin(NULL);
		break;
	case SPIN:
		spin(NULL);
		break;
	case STOP:
		raise(SIGSTOP);
		break;
	case HOG:
		hog();
		break;
	case FLOOD:
		flood();
		break;
	case GARBAGE:
		garbage();
		break;
	case CLOSE:
		for (int fd = 0; fd < 1024; fd++)
			close(fd);
		break;
	case CHILD:
		leave_child();
		break;
	default:
		break;
	}
}

/* Damage to the memory of the call, after a correct result. */
static void damage(enum fault fault, const struct attn_call *c)
{
	const struct attn_shape *s = c->shape;
	static unsigned turns;
	float *out = c->out;

	switch (fault) {
	case NAN_OUT:
		out[c->ldo * (s->n_q - 1) + 1] = NAN;
		break;
	case INF_OUT:
		out[0] = INFINITY;
		break;
	case OOB:
		out[s->n_q * c->ldo] = 1;
		break;
	case UNDER:
		out[-3] = 1;
		break;
	case SCRATCH:
		((char *)c->scratch)[s->d_v * sizeof(float)] = 1;
		break;
	case MUTATE:
		((float *)(uintptr_t)c->k)[s->n_k / 2] += 1;
		break;
	case WRONG:
		out[0] *= 1.5f;
		break;
	case RANDOM:
		out[0] += 1e-3f * (float)++turns;
		break;
	default:
		break;
	}
}

static void forward(const struct attn_call *c, struct attn_team *team)
{
	enum fault fault = fault_of(c->shape, c->arg);
	const float *stale = c->scratch;

	(void)team;
	misbehave(fault);
	if (fault == UNWRITTEN)
		return;
	float left = stale[0];
	average(c);
	if (fault == STALE) /* reads scratch before it was written */
		((float *)c->out)[0] += 0 * left;
	damage(fault, c);
}

static void oracle(const struct attn_oracle_call *c)
{
	const struct attn_shape *s = c->shape;

	if (fault_of(s, c->arg) == ENDLESS)
		misbehave(SPIN);
	for (size_t r = 0; r < c->n_rows; r++) {
		for (size_t i = 0; i < s->d_v; i++) {
			double sum = 0;
			for (size_t j = 0; j < s->n_k; j++)
				sum += c->v[j * s->d_v + i];
			c->out[r * s->d_v + i] = sum / (double)s->n_k;
		}
	}
}

static const struct attn_variant faulty = {
	.abi = ATTN_ABI,
	.name = "faulty",
	.family = "faulty",
	.title = "uniform average with faults on demand",
	.paper = "none",
	.formula = "O_i = mean of v",
	.complexity = "n d",
	.summary = "For tests of the harness.",
	.flags = ATTN_BIDIRECTIONAL | ATTN_CROSS | ATTN_ROWSUM | ATTN_NONNEG,
	.impl_bound = 5e-5f,
	.params = params,
	.plan = plan,
	.forward = forward,
	.oracle = oracle,
};

extern const struct attn_variant *const attn_plugin[];
const struct attn_variant *const attn_plugin[] = { &faulty, NULL };
