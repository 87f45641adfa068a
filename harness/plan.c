/* SPDX-License-Identifier: BSD-3-Clause
 *
 * From axes to a plan. */
#include "plan.h"
#include "cross.h"
#include "engine.h"
#include "inputs.h"
#include "roof.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CELLS_MAX = 1 << 20 };

/* What a worker takes beside its calls: exec, libraries, threads; of an engine,
 * the mean of those of peers/ (numpy 0.2, ONNX Runtime 0.4, JAX 1, PyTorch 1.7).
 * Only for the predicted total. */
static const double START_S = 0.03, ENGINE_S = 1.1;

void policy_make(struct policy *policy, const struct config *config)
{
	static const struct policy of_profile[] = {
		[PROFILE_QUICK] = { .look = { 6 }, .n_looks = 1 },
		[PROFILE_STANDARD] = { .look = { 6, 9, 12, 15, 20 }, .n_looks = 5, .target = 0.02 },
		[PROFILE_REPORT] = { .look = { 9, 12, 15, 20, 30 }, .n_looks = 5, .target = 0.01 },
	};

	*policy = of_profile[config->profile];
	policy->samples = config->samples;
	if (config->target > 0) {
		policy->target = config->target;
		if (policy->n_looks == 1) /* quick, with somewhere to go */
			*policy = (struct policy){ .look = { 6, 9, 12, 15, 20 }, .n_looks = 5,
				                   .target = config->target, .samples = config->samples };
	}
	if (config->rounds)
		*policy = (struct policy){ .look = { config->rounds }, .n_looks = 1,
			                   .samples = config->samples };
	if (config->accuracy_only)
		*policy = (struct policy){ .n_looks = 1 };
}

/* Cells already planned, by id. */
struct seen {
	size_t *slot; /* index + 1 */
	size_t n_slots;
};

struct making {
	struct plan *plan;
	struct seen seen;
};

static size_t seen_slot(const struct making *m, const struct cell *cell)
{
	size_t at = (size_t)strtoull(cell->id, NULL, 16) & (m->seen.n_slots - 1);

	while (m->seen.slot[at] && !cell_equal(&m->plan->cell[m->seen.slot[at] - 1].cell, cell))
		at = (at + 1) & (m->seen.n_slots - 1);
	return at;
}

static bool widen(struct making *m)
{
	size_t n = m->seen.n_slots ? 2 * m->seen.n_slots : 256;
	size_t *slot = calloc(n, sizeof *slot);

	if (!slot)
		return false;
	free(m->seen.slot);
	m->seen = (struct seen){ slot, n };
	for (size_t i = 0; i < m->plan->n; i++)
		m->seen.slot[seen_slot(m, &m->plan->cell[i].cell)] = i + 1;
	return true;
}

static bool add_cell(void *user, const struct cell *cell, char *error)
{
	struct making *m = user;
	struct plan *plan = m->plan;

	if (2 * (plan->n + 1) > m->seen.n_slots && !widen(m))
		return fail(error, "out of memory");
	size_t at = seen_slot(m, cell);
	if (m->seen.slot[at])
		return true;
	if (plan->n >= CELLS_MAX)
		return fail(error, "the sweep has more than %d cells: shorten a list", CELLS_MAX);
	if (!grow(&plan->cell, &plan->cap, plan->n + 1, sizeof *plan->cell))
		return fail(error, "out of memory");
	plan->cell[plan->n] = (struct planned){ .cell = *cell };
	m->seen.slot[at] = ++plan->n;
	return true;
}

/* The shape of a cell is that of a cell before it, most likely of the last. */
static bool find_shapes(struct plan *plan)
{
	for (size_t i = 0; i < plan->n; i++) {
		size_t s = plan->n_shapes;
		while (s > 0 && !cell_same_shape(&plan->cell[plan->shape[s - 1].member[0]].cell,
		                                 &plan->cell[i].cell))
			s--;
		if (s == 0) {
			if (!grow(&plan->shape, &plan->shapes_cap, plan->n_shapes + 1, sizeof *plan->shape))
				return false;
			plan->shape[plan->n_shapes] = (struct shape){ 0 };
			s = ++plan->n_shapes;
		}
		struct shape *shape = &plan->shape[s - 1];
		if (!grow(&shape->member, &shape->cap, shape->n + 1, sizeof *shape->member))
			return false;
		shape->member[shape->n++] = i;
		plan->cell[i].shape = s - 1;
	}
	return true;
}

__attribute__((format(printf, 3, 4)))
static bool skip(struct planned *p, enum status status, const char *format, ...)
{
	va_list args;

	p->skip = status;
	va_start(args, format);
	int n = vasprintf(&p->reason, format, args);
	va_end(args);
	if (n < 0)
		p->reason = NULL;
	return n >= 0;
}

/* False only without memory. */
static bool decide(struct plan *plan, struct planned *p, const struct config *config,
                   const struct topo *topo)
{
	const struct cell *c = &p->cell;
	char why_not[ERROR_MAX], need[HUMAN_MAX], have[HUMAN_MAX];
	unsigned cpus[TOPO_CPUS_MAX];
	const char *why;
	bool broken = false;

	if (!cell_predict(c, &p->cost, &why)) {
		engine_refusal(c->variant, c->arg, &broken);
		return skip(p, broken ? STATUS_FAILED : STATUS_UNSUPPORTED, "%s", why);
	}
	if (!inputs_check(c, why_not))
		return skip(p, STATUS_UNSUPPORTED, "%s", why_not);
	if (!config->no_pin && !topo_choose(topo, c->threads, config->cpus, cpus, why_not))
		return skip(p, STATUS_UNSUPPORTED, "%s", why_not);
	if (plan->memory_limit >= 0 && p->cost.peak_bytes > (size_t)plan->memory_limit)
		return skip(p, STATUS_SKIPPED_MEM,
		            "needs %s (%zu bytes), the limit is %s (%" PRId64 " bytes)",
		            human_bytes((double)p->cost.peak_bytes, need), p->cost.peak_bytes,
		            human_bytes((double)plan->memory_limit, have), plan->memory_limit);
	plan->runnable++;
	return true;
}

/* Warm-up of at least 20 ms and two calls, then samples: up to 100 ms of them,
 * but three calls at least. */
static double worker_seconds(double call, unsigned samples)
{
	double warm = fmax(0.02, 3 * call), least = samples ? samples : 3;
	double timed = samples ? samples * fmax(call, 1e-3) : fmin(0.1, 15 * fmax(call, 1e-3));

	return warm + fmax(timed, least * call);
}

static void predict(struct plan *plan, struct planned *p, double cpus)
{
	if (p->skip != STATUS_OK)
		return;
	p->call_s = roof_call_seconds(&p->cell, &p->cost, cpus);
	double start = engine_info(p->cell.variant) ? ENGINE_S : START_S;
	p->worker_s = start + worker_seconds(p->call_s, plan->policy.samples);
	plan->rounds_s += p->worker_s;
	/* The passes of memory and accuracy: a few calls each, and the exact
	 * reference in double, about as dear as ten calls of a tiled kernel. */
	plan->total_s += 2 * start + 15 * p->call_s;
}

static void hash_plan(const struct config *config, struct plan *plan)
{
	uint64_t h = fnv64(FNV64_START, &plan->order_seed, sizeof plan->order_seed);

	for (size_t i = 0; i < plan->policy.n_looks; i++)
		h = fnv64(h, &plan->policy.look[i], sizeof plan->policy.look[i]);
	h = fnv64(h, &plan->policy.target, sizeof plan->policy.target);
	h = fnv64(h, &plan->policy.samples, sizeof plan->policy.samples);
	h = fnv64(h, &config->small_pages, sizeof config->small_pages);
	for (size_t i = 0; i < plan->n; i++)
		h = fnv64(h, plan->cell[i].cell.id, strlen(plan->cell[i].cell.id));
	snprintf(plan->hash, sizeof plan->hash, "%016" PRIx64, h);
}

bool plan_make(struct plan *plan, const struct config *config, const struct topo *topo,
               const struct machine *machine, char *error)
{
	struct making making = { .plan = plan };
	struct topo_info info;
	bool ok = true;

	*plan = (struct plan){ .order_seed = 1, .memory_limit = machine_memory(machine) };
	policy_make(&plan->policy, config);
	if (config->order_seed > 0)
		plan->order_seed = (uint64_t)config->order_seed;
	if (config->memory_bytes > 0 && (plan->memory_limit < 0 || config->memory_bytes < (double)plan->memory_limit))
		plan->memory_limit = (int64_t)config->memory_bytes;
	topo_info(topo, &info);

	if (config->n_groups == 0)
		ok = cross_group(config, NULL, add_cell, &making, error);
	for (size_t i = 0; i < config->n_groups && ok; i++)
		ok = cross_group(config, &config->groups[i], add_cell, &making, error);
	free(making.seen.slot);
	if (ok && !find_shapes(plan))
		ok = fail(error, "out of memory");
	for (size_t i = 0; i < plan->n && ok; i++) {
		ok = decide(plan, &plan->cell[i], config, topo) || fail(error, "out of memory");
		predict(plan, &plan->cell[i], info.effective_cpus);
	}
	plan->total_s += plan->rounds_s * plan->policy.look[plan->policy.n_looks - 1];
	hash_plan(config, plan);
	return ok;
}

void plan_free(struct plan *plan)
{
	for (size_t i = 0; i < plan->n; i++)
		free(plan->cell[i].reason);
	for (size_t i = 0; i < plan->n_shapes; i++)
		free(plan->shape[i].member);
	free(plan->cell);
	free(plan->shape);
	*plan = (struct plan){ 0 };
}

size_t plan_baseline(const struct plan *plan, const struct shape *shape, const char *wanted)
{
	const char *const names[] = { wanted ? wanted : "full", wanted ? wanted : "flash" };

	for (size_t k = 0; k < 2; k++)
		for (size_t i = 0; i < shape->n; i++) {
			const struct planned *p = &plan->cell[shape->member[i]];
			if (p->skip == STATUS_OK && !strcmp(p->cell.variant->name, names[k]))
				return i;
		}
	for (size_t i = 0; i < shape->n; i++)
		if (plan->cell[shape->member[i]].skip == STATUS_OK)
			return i;
	return 0;
}
