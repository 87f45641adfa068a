/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Predicted times. Good to a small factor: they set timeouts, which have a
 * wide margin, and tell a user what to expect before anything has been run. */
#include "roof.h"
#include "clock.h"
#include "plugin.h"

#include <stdlib.h>
#include <string.h>

enum { PROBE_N = 256, PROBE_D = 64, PROBE_RUNS = 4, COPY_BYTES = 16 << 20 };

/* Where nothing could be measured: slow enough for any machine of today. */
static const double FLOPS_UNKNOWN = 1e9, BYTES_UNKNOWN = 1e9;

static void *aligned(size_t bytes)
{
	size_t rounded = (bytes + ATTN_ALIGN) / ATTN_ALIGN * ATTN_ALIGN;
	void *p = aligned_alloc(ATTN_ALIGN, rounded);

	if (p)
		memset(p, 0, rounded);
	return p;
}

/* FLOP per second of exact tiled attention, one thread, caches warm. */
static double probe_flops(const char *isa)
{
	const struct attn_variant *v = variant_find("flash");
	struct attn_shape shape = { PROBE_N, PROBE_N, PROBE_D, PROBE_D, false,
		                    attn_default_scale(PROBE_D), 1, 0, ATTN_F32 };
	double arg[ATTN_MAX_PARAMS] = { 0 };
	struct attn_plan plan = { 0 };
	struct attn_team team = { .size = 1 };
	double rate = FLOPS_UNKNOWN;

	if (!v)
		return rate;
	for (size_t i = 0, n = cell_n_params(v); i < n; i++)
		arg[i] = v->params[i].def;
	if (v->resolve)
		v->resolve(&shape, arg);
	if (v->plan(&shape, arg, 1, &plan))
		return rate;
	float *qkv = aligned(3 * sizeof(float) * PROBE_N * PROBE_D);
	float *out = aligned(sizeof(float) * PROBE_N * PROBE_D);
	void *shared = aligned(plan.shared), *scratch = aligned(plan.scratch);
	void *state = aligned(plan.state);
	if (qkv && out && shared && scratch && state) {
		attn_random_normals(1, 1, 0, 3 * PROBE_N * PROBE_D, qkv);
		if (v->prepare)
			v->prepare(&shape, arg, 1, state);
		const struct attn_call call = {
			.shape = &shape, .arg = arg, .kern = attn_kern(isa), .state = state,
			.q = qkv, .k = qkv + PROBE_N * PROBE_D, .v = qkv + 2 * PROBE_N * PROBE_D, .out = out,
			.ldq = PROBE_D, .ldk = PROBE_D, .ldv = PROBE_D, .ldo = PROBE_D,
			.shared = shared, .scratch = scratch,
		};
		int64_t best = INT64_MAX;
		for (int run = 0; run < PROBE_RUNS; run++) {
			int64_t start = clock_now_ns();
			v->forward(&call, &team);
			int64_t took = clock_now_ns() - start;
			best = took > 0 && took < best ? took : best;
		}
		rate = plan.flops_executed / ((double)best * 1e-9);
	}
	free(qkv);
	free(out);
	free(shared);
	free(scratch);
	free(state);
	return rate;
}

/* Bytes read and written per second by a copy that no cache of a core holds. */
static double probe_bytes(void)
{
	char *from = malloc(COPY_BYTES), *to = malloc(COPY_BYTES);
	double rate = BYTES_UNKNOWN;

	if (from && to) {
		memset(from, 1, COPY_BYTES);
		memset(to, 1, COPY_BYTES);
		int64_t start = clock_now_ns();
		memcpy(to, from, COPY_BYTES);
		int64_t took = clock_now_ns() - start;
		/* Reading it back keeps the copy from being left out. */
		if (took > 0 && to[COPY_BYTES - 1] == 1)
			rate = 2.0 * COPY_BYTES / ((double)took * 1e-9);
	}
	free(from);
	free(to);
	return rate;
}

double roof_call_seconds(const struct cell *cell, const struct cell_cost *cost, double cpus)
{
	static struct {
		char isa[CELL_ISA_MAX];
		double flops;
	} known[8];
	static double bytes;
	size_t i = 0;

	while (i < 7 && known[i].isa[0] && strcmp(known[i].isa, cell->isa))
		i++;
	if (strcmp(known[i].isa, cell->isa)) {
		memcpy(known[i].isa, cell->isa, sizeof known[i].isa);
		known[i].flops = probe_flops(cell->isa);
	}
	if (bytes == 0)
		bytes = probe_bytes();

	double heads = (double)cell->batch * (double)cell->heads;
	double busy = cell->threads < cpus ? cell->threads : cpus;
	if (!(cell->variant->flags & ATTN_PARALLEL) && heads < busy)
		busy = heads;
	return fmax(cost->flops_executed / known[i].flops / busy, cost->bytes / bytes);
}
