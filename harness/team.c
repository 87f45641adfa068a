/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A thread pool with a low-latency barrier. */
#include "team.h"

#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Turns of the spin loop before a waiter sleeps: some 100 us, longer than two
 * wake-ups through the kernel, shorter than a scheduler's slice. */
enum { SPIN_TURNS = 4000 };

/* A place to wait until `turn` moves on. */
struct gate {
	alignas(64) _Atomic uint32_t turn;
	_Atomic uint32_t sleepers;
};

struct barrier {
	struct gate gate;
	alignas(64) _Atomic size_t arrived;
};

struct member {
	alignas(64) struct attn_team me;
	pthread_t thread;
	struct team *team;
	unsigned fast, exact; /* control words */
	unsigned cpu;
	bool pinned;
};

struct team {
	size_t size, started;
	unsigned spin;
	bool want_pinned, quit;
	enum team_mode mode;
	team_fn *fn;
	void *arg;
	struct gate start;
	struct barrier barrier; /* of the ranks within fn, and for their return */
	struct member member[];
};

static inline void relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("isb" ::: "memory");
#endif
}

/* The word that attn_flush_subnormals() changes. fesetenv() would do as well,
 * at ten times the cost, which is that of a short call. */
static inline unsigned control_read(void)
{
#if defined(__x86_64__)
	return __builtin_ia32_stmxcsr();
#elif defined(__aarch64__)
	uint64_t word;
	__asm__ volatile("mrs %0, fpcr" : "=r"(word));
	return (unsigned)word;
#else
	return 0;
#endif
}

static inline void control_write(unsigned word)
{
#if defined(__x86_64__)
	__builtin_ia32_ldmxcsr(word);
#elif defined(__aarch64__)
	__asm__ volatile("msr fpcr, %0" ::"r"((uint64_t)word));
#else
	(void)word;
#endif
}

static void futex_wait(_Atomic uint32_t *word, uint32_t value)
{
	syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
}

static void futex_wake_all(_Atomic uint32_t *word)
{
	syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT32_MAX, NULL, NULL, 0);
}

static void gate_wait(struct gate *gate, uint32_t turn, unsigned spin)
{
	for (unsigned i = 0; i < spin; i++) {
		if (atomic_load_explicit(&gate->turn, memory_order_acquire) != turn)
			return;
		relax();
	}
	/* The sleeper counts itself before the kernel compares the word, the
	 * waker moves the word before it reads the count: neither can miss. */
	atomic_fetch_add(&gate->sleepers, 1);
	while (atomic_load(&gate->turn) == turn)
		futex_wait(&gate->turn, turn);
	atomic_fetch_sub(&gate->sleepers, 1);
}

static void gate_open(struct gate *gate)
{
	atomic_fetch_add(&gate->turn, 1);
	if (atomic_load(&gate->sleepers) > 0)
		futex_wake_all(&gate->turn);
}

static void barrier_wait(struct team *team)
{
	struct barrier *b = &team->barrier;
	uint32_t turn = atomic_load_explicit(&b->gate.turn, memory_order_acquire);

	if (atomic_fetch_add(&b->arrived, 1) + 1 == team->size) {
		atomic_store_explicit(&b->arrived, 0, memory_order_relaxed);
		gate_open(&b->gate);
	} else {
		gate_wait(&b->gate, turn, team->spin);
	}
}

static void team_barrier(struct attn_team *me)
{
	barrier_wait(me->impl);
}

static bool pin(unsigned cpu)
{
	size_t bytes = CPU_ALLOC_SIZE(cpu + 1);
	cpu_set_t *set = CPU_ALLOC(cpu + 1);
	bool ok = false;

	if (set) {
		CPU_ZERO_S(bytes, set);
		CPU_SET_S(cpu, bytes, set);
		ok = pthread_setaffinity_np(pthread_self(), bytes, set) == 0;
		CPU_FREE(set);
	}
	return ok;
}

/* Binds the calling thread and notes the two words it computes under. */
static void settle(struct member *m)
{
	m->pinned = m->team->want_pinned && pin(m->cpu) && sched_getcpu() == (int)m->cpu;
	m->exact = control_read();
	attn_flush_subnormals();
	m->fast = control_read();
}

static void work(struct member *m)
{
	struct team *team = m->team;

	control_write(team->mode == TEAM_EXACT ? m->exact : m->fast);
	team->fn(team->arg, &m->me);
}

static void *thread_main(void *arg)
{
	struct member *m = arg;
	struct team *team = m->team;
	uint32_t turn = 0;

	settle(m);
	for (;;) {
		gate_wait(&team->start, turn++, team->spin);
		if (team->quit)
			return NULL;
		work(m);
		barrier_wait(team);
	}
}

void team_run(struct team *team, enum team_mode mode, team_fn *fn, void *arg)
{
	unsigned caller = control_read();

	team->mode = mode;
	team->fn = fn;
	team->arg = arg;
	if (team->size > 1)
		gate_open(&team->start);
	work(&team->member[0]);
	if (team->size > 1)
		barrier_wait(team);
	control_write(caller);
}

static void nothing(void *arg, struct attn_team *me)
{
	(void)arg;
	(void)me;
}

/* Spinning helps only while every rank has a CPU of its own. */
static unsigned spin_turns(size_t size, const unsigned *cpus)
{
	cpu_set_t allowed;

	if (sched_getaffinity(0, sizeof allowed, &allowed) == 0 &&
	    (size_t)CPU_COUNT(&allowed) < size)
		return 0;
	for (size_t i = 0; cpus && i < size; i++)
		for (size_t j = 0; j < i; j++)
			if (cpus[i] == cpus[j])
				return 0;
	return SPIN_TURNS;
}

struct team *team_create(size_t size, const unsigned *cpus, const char **why)
{
	struct team *team = NULL;
	size_t bytes = sizeof *team + size * sizeof team->member[0];

	if (size < 1 || size > TEAM_MAX) {
		*why = "a team has 1 to 256 threads";
		return NULL;
	}
	if (posix_memalign((void **)&team, 64, bytes)) {
		*why = strerror(ENOMEM);
		return NULL;
	}
	memset(team, 0, bytes);
	team->size = size;
	team->spin = spin_turns(size, cpus);
	team->want_pinned = cpus != NULL;
	for (size_t r = 0; r < size; r++) {
		struct member *m = &team->member[r];
		m->me = (struct attn_team){ r, size, team_barrier, team };
		m->team = team;
		m->cpu = cpus ? cpus[r] : 0;
	}
	unsigned caller = control_read();
	settle(&team->member[0]);
	control_write(caller);
	for (size_t r = 1; r < size; r++) {
		struct member *m = &team->member[r];
		int error = pthread_create(&m->thread, NULL, thread_main, m);
		if (error) {
			*why = strerror(error);
			team_destroy(team);
			return NULL;
		}
		team->started = r;
	}
	team_run(team, TEAM_FAST, nothing, NULL); /* all have settled */
	return team;
}

void team_destroy(struct team *team)
{
	if (!team)
		return;
	team->quit = true;
	gate_open(&team->start);
	for (size_t r = 1; r <= team->started; r++)
		pthread_join(team->member[r].thread, NULL);
	free(team);
}

size_t team_size(const struct team *team)
{
	return team->size;
}

size_t team_unpinned(const struct team *team)
{
	size_t n = 0;

	for (size_t r = 0; r < team->size; r++)
		n += team->want_pinned && !team->member[r].pinned;
	return n;
}
