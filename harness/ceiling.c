/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Measuring ceilings, and the verb that prints them. */
#include "ceiling.h"

#include "arena.h"
#include "ask.h"
#include "clock.h"
#include "cross.h"
#include "grid.h"
#include "team.h"
#include "topo.h"
#include "verbs.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Each number is the best of TRIALS tries, a whole turn of all numbers apart: a
 * neighbour that is busy for a while lowers one of them, not all. */
enum { TRIALS = 5, REPEATS = 4, SGEMM_SIDE = 512, EXP_FLOATS = 4096 };
enum { LEAST_PART = 1 << 20, PAGE = 4096 / sizeof(float) }; /* floats */

const char *const ceiling_level_names[] = { "l1", "l2", "l3", "dram", NULL };

/* One timed section of a team: `rounds` rounds over `part` floats, and the next time over those
 * that follow. A part is the whole working set unless a turn is too short for that. */
struct section {
	const struct kern *kern;
	enum attn_ceiling what;
	float **x; /* of each rank */
	size_t floats, rounds, part, at;
	int64_t begin, end;
	double work; /* of one rank */
	double best; /* rate so far */
};

static void run_section(void *arg, struct attn_team *me)
{
	struct section *s = arg;

	attn_barrier(me);
	if (me->rank == 0)
		s->begin = clock_now_ns();
	double work = attn_ceiling(s->kern, s->what, s->x[me->rank] + s->at, s->part, s->rounds);
	attn_barrier(me);
	if (me->rank == 0) {
		s->end = clock_now_ns();
		s->work = work;
	}
}

static double time_section(struct team *team, struct section *s)
{
	team_run(team, TEAM_FAST, run_section, s);
	s->at = s->at + 2 * s->part <= s->floats ? s->at + s->part : 0;
	return (double)(s->end - s->begin);
}

/* What takes a slice of the time: part of a large working set, or rounds of a small one. */
static void choose_rounds(struct team *team, struct section *s, double seconds)
{
	double slice = seconds * 1e9 / (TRIALS * REPEATS + 1), took;

	s->rounds = 1;
	s->part = s->floats < LEAST_PART ? s->floats : LEAST_PART;
	while ((took = time_section(team, s)) < slice / 4) {
		if (s->part == s->floats)
			s->rounds *= 2;
		else
			s->part = 2 * s->part < s->floats ? 2 * s->part : s->floats;
	}
	if (s->part == s->floats)
		s->rounds = (size_t)((double)s->rounds * slice / took) + 1;
}

/* Work a nanosecond of all ranks: 1e9 a second. */
static void try_section(struct team *team, struct section *s)
{
	for (int r = 0; r < REPEATS; r++) {
		double took = time_section(team, s);
		s->best = fmax(s->best, s->work * (double)team_size(team) / took);
	}
}

/* A write a page by the thread that uses it, so that it lies in its memory. What BLAS
 * multiplies is no zeros. */
struct touching {
	float **x;
	size_t floats, square;
};

static void touch(void *arg, struct attn_team *me)
{
	const struct touching *t = arg;
	float *x = t->x[me->rank];

	for (size_t i = 0; i < t->floats; i += PAGE)
		x[i] = 1;
	for (size_t i = 0; i < t->square; i++)
		x[i] = 1.0f / (float)(1 + i % 7);
}

/* Half of a private cache; of the shared last one, its share of a third; four
 * times that for memory, all threads together. 0, not measured, where no memory
 * is sure to be read twice in so little time: taking it would last longer. */
static void working_sets(const struct topo_info *topo, size_t threads, double seconds, size_t bytes[LEVELS])
{
	static const double TWICE = 10e9; /* bytes a second */
	size_t llc = topo->llc_bytes ? topo->llc_bytes : (size_t)32 << 20;

	bytes[LEVEL_L1] = topo->l1d_bytes / 2;
	bytes[LEVEL_L2] = topo->l2_bytes / 2;
	bytes[LEVEL_L3] = topo->l3_bytes / 3 / threads;
	bytes[LEVEL_DRAM] = 4 * llc / threads;
	for (size_t level = LEVEL_L3; level < LEVELS; level++)
		if ((double)bytes[level] > seconds * TWICE)
			bytes[level] = 0;
}

static void measure_sections(struct team *team, const struct kern *kern, float **x, size_t square,
                             double seconds, struct ceilings *out)
{
	enum { FIRST = 4, N = FIRST + 2 * LEVELS };
	struct section s[N] = {
		{ .what = ATTN_CEILING_FMA, .floats = EXP_FLOATS },
		{ .what = ATTN_CEILING_SGEMM, .floats = square },
		{ .what = ATTN_CEILING_EXP, .floats = EXP_FLOATS },
		{ .what = ATTN_CEILING_BF16, .floats = attn_ceiling(kern, ATTN_CEILING_BF16, NULL, 0, 1) > 0 ? EXP_FLOATS : 0 },
	};

	for (size_t level = 0; level < LEVELS; level++)
		for (size_t i = 0; i < 2; i++)
			s[FIRST + 2 * level + i] = (struct section){
				.what = i ? ATTN_CEILING_TRIAD : ATTN_CEILING_READ,
				.floats = out->level_bytes[level] / sizeof(float) / 64 * 64,
			};
	for (size_t i = 0; i < N; i++) {
		s[i].kern = kern;
		s[i].x = x;
		if (s[i].floats)
			choose_rounds(team, &s[i], seconds);
	}
	for (int trial = 0; trial < TRIALS; trial++)
		for (size_t i = 0; i < N; i++)
			if (s[i].floats)
				try_section(team, &s[i]);
	out->fma_gflops = s[0].best;
	out->sgemm_gflops = s[1].best;
	out->exp_gexps = s[2].best;
	out->bf16_gflops = s[3].floats ? s[3].best : (double)NAN;
	for (size_t level = 0; level < LEVELS; level++) {
		const struct section *read = &s[FIRST + 2 * level], *triad = read + 1;
		out->read_gbs[level] = read->floats ? read->best : (double)NAN;
		out->triad_gbs[level] = triad->floats ? triad->best : (double)NAN;
	}
}

bool ceilings_measure(struct team *team, const struct kern *kern, const struct topo_info *topo,
                      double seconds, struct ceilings *out)
{
	size_t threads = team_size(team), square = (size_t)3 * SGEMM_SIDE * SGEMM_SIDE, most = square * sizeof(float);
	float *x[TEAM_MAX] = { NULL };
	struct arena arena;

	*out = (struct ceilings){ .threads = (unsigned)threads };
	working_sets(topo, threads, seconds, out->level_bytes);
	for (size_t level = 0; level < LEVELS; level++)
		most = out->level_bytes[level] > most ? out->level_bytes[level] : most;
	bool ok = arena_create(&arena, threads * arena_room(most));
	if (ok)
		arena_huge_pages(&arena);
	for (size_t r = 0; r < threads; r++)
		ok = ok && (x[r] = arena_alloc(&arena, "ceilings", most));
	if (ok) {
		struct touching t = { x, most / sizeof(float), square };
		team_run(team, TEAM_FAST, touch, &t);
		measure_sections(team, kern, x, square, seconds, out);
	}
	arena_destroy(&arena);
	return ok;
}

/* ---- the verb ---- */

static json_t *levels_json(const double gbs[LEVELS])
{
	json_t *levels = json_object();

	for (size_t i = 0; i < LEVELS; i++)
		if (!isnan(gbs[i]))
			json_object_set_new(levels, ceiling_level_names[i], json_real(gbs[i]));
	return levels;
}

json_t *ceilings_json(const struct ceilings *c, size_t n)
{
	json_t *list = json_array();

	for (size_t i = 0; i < n; i++) {
		json_t *one = json_pack("{s:i s:s s:f s:f s:f s:o s:o}", "threads", (int)c[i].threads,
		                        "isa", c[i].isa, "fma_gflops", c[i].fma_gflops,
		                        "sgemm_gflops", c[i].sgemm_gflops, "exp_gexps",
		                        c[i].exp_gexps, "read_gbs", levels_json(c[i].read_gbs),
		                        "triad_gbs", levels_json(c[i].triad_gbs));
		if (!isnan(c[i].bf16_gflops))
			json_object_set_new(one, "bf16_gflops", json_real(c[i].bf16_gflops));
		json_array_append_new(list, one);
	}
	return list;
}

static void levels_from(const json_t *json, double gbs[LEVELS])
{
	for (size_t i = 0; i < LEVELS; i++) {
		const json_t *x = json_object_get(json, ceiling_level_names[i]);
		gbs[i] = json_is_number(x) ? json_number_value(x) : (double)NAN;
	}
}

static size_t ceilings_parse(const char *text, struct ceilings out[CEILINGS_MAX])
{
	json_t *list = json_loads(text, 0, NULL);
	size_t n = json_array_size(list) < CEILINGS_MAX ? json_array_size(list) : CEILINGS_MAX;

	for (size_t i = 0; i < n; i++) {
		const json_t *one = json_array_get(list, i);
		const char *isa = json_string_value(json_object_get(one, "isa"));
		const json_t *bf16 = json_object_get(one, "bf16_gflops");
		out[i] = (struct ceilings){
			.threads = (unsigned)json_integer_value(json_object_get(one, "threads")),
			.fma_gflops = json_number_value(json_object_get(one, "fma_gflops")),
			.sgemm_gflops = json_number_value(json_object_get(one, "sgemm_gflops")),
			.exp_gexps = json_number_value(json_object_get(one, "exp_gexps")),
			.bf16_gflops = bf16 ? json_number_value(bf16) : (double)NAN,
		};
		snprintf(out[i].isa, sizeof out[i].isa, "%s", isa ? isa : "");
		levels_from(json_object_get(one, "read_gbs"), out[i].read_gbs);
		levels_from(json_object_get(one, "triad_gbs"), out[i].triad_gbs);
	}
	json_decref(list);
	return n;
}

static void add_row(struct grid *grid, const struct ceilings *c)
{
	grid_cell(grid, "%u", c->threads);
	grid_cell(grid, "%s", c->isa);
	grid_cell(grid, "%.1f", c->fma_gflops);
	grid_cell(grid, "%.1f", c->sgemm_gflops);
	grid_cell(grid, "%.2f", c->exp_gexps);
	if (isnan(c->bf16_gflops))
		grid_cell(grid, "%s", "");
	else
		grid_cell(grid, "%.1f", c->bf16_gflops);
	for (size_t i = 0; i < 2 * LEVELS; i++) {
		double gbs = i % 2 ? c->triad_gbs[i / 2] : c->read_gbs[i / 2];
		if (isnan(gbs))
			grid_cell(grid, "%s", "");
		else
			grid_cell(grid, "%.1f", gbs);
	}
}

static void grid_head(struct grid *grid)
{
	static const char *const names[] = {
		">threads", "isa", ">fma_gflops", ">sgemm_gflops", ">exp_gexps", ">bf16_gflops", ">read_l1_gbs",
		">triad_l1_gbs", ">read_l2_gbs", ">triad_l2_gbs", ">read_l3_gbs", ">triad_l3_gbs",
		">read_dram_gbs", ">triad_dram_gbs",
	};

	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		grid_column(grid, names[i]);
}

static bool measure_one(const struct config *config, const struct topo *topo, unsigned threads,
                        const char *isa, struct ceilings *c, char *error)
{
	unsigned cpus[TOPO_CPUS_MAX];
	struct topo_info info;
	const char *why = NULL;

	topo_info(topo, &info);
	if (!topo_choose(topo, threads, config->cpus, cpus, error))
		return false;
	struct team *team = team_create(threads, config->no_pin ? NULL : cpus, &why);
	if (!team)
		return fail(error, "cannot start %u threads: %s", threads, why);
	attn_blas_threads(1); /* each thread multiplies its own matrices */
	bool ok = ceilings_measure(team, attn_kern(isa), &info, config->seconds > 0 ? config->seconds : 1, c);
	team_destroy(team);
	snprintf(c->isa, sizeof c->isa, "%s", isa);
	return ok || fail(error, "not enough memory for %u threads", threads);
}

/* Every thread count on every instruction set that was asked for. */
static bool measure_all(const struct config *config, struct ceilings out[CEILINGS_MAX], size_t *n,
                        char *error)
{
	struct topo *topo = topo_load(error);
	struct numbers threads = { 0 };
	struct names isas = { 0 };
	bool ok = topo && cross_threads(config, &threads, error) && cross_isas(config, "auto", &isas, error);

	*n = 0;
	if (ok && isas.n * threads.n > CEILINGS_MAX)
		ok = fail(error, "--threads: %zu combinations with --isa are too many, at most %d", isas.n * threads.n,
		          CEILINGS_MAX);
	for (size_t i = 0; ok && i < isas.n; i++)
		for (size_t t = 0; ok && t < threads.n; t++)
			ok = measure_one(config, topo, (unsigned)threads.v[t], isas.v[i], &out[(*n)++], error);
	free(threads.v);
	names_free(&isas);
	if (topo)
		topo_free(topo);
	return ok;
}

bool roof_verb(const struct config *config, struct text *out, char *error)
{
	struct ceilings ceilings[CEILINGS_MAX];
	struct grid grid = { 0 };
	size_t n;

	if (!measure_all(config, ceilings, &n, error))
		return false;
	if (config->format == FORMAT_JSON) {
		json_t *json = ceilings_json(ceilings, n);
		char *text = json_dumps(json, JSON_INDENT(2) | JSON_REAL_PRECISION(5));
		text_adds(out, text ? text : "[]");
		text_adds(out, "\n");
		free(text);
		json_decref(json);
		return true;
	}
	grid_head(&grid);
	for (size_t i = 0; i < n; i++)
		add_row(&grid, &ceilings[i]);
	grid_print(&grid, config->format, out);
	grid_free(&grid);
	if (config->format == FORMAT_TEXT)
		text_adds(out, "\nGFLOP/s of fused multiply-adds in registers and of a 512^3 product by OpenBLAS, 1e9 "
		               "exponentials/s,\nGB/s read and of y += a x by cache level; all threads together, the "
		               "best of twenty, spread over the whole time.\n");
	return true;
}

/* ---- asked by a run ---- */

size_t ceilings_ask(const char *threads, const char *isas, const struct config *config,
                    struct ceilings out[CEILINGS_MAX], char *error)
{
	static const double LIMIT_S = 15;
	double each_s = config->seconds > 0 ? config->seconds : 0.1;
	char seconds[32];
	const char *argv[16] = { "attnbench", "roof", "--threads", threads, "--isa", isas, "--seconds", seconds,
		                 "--format", "json" };
	size_t argc = 10, n = 0;
	struct text json = { 0 };

	snprintf(seconds, sizeof seconds, "%.6g", each_s);
	if (config->no_pin)
		argv[argc++] = "--no-pin";
	if (config->cpus) {
		argv[argc++] = "--cpus";
		argv[argc++] = config->cpus;
	}
	/* Twice the eleven numbers of each combination. */
	if (ask_self(argv, LIMIT_S + 22 * CEILINGS_MAX * each_s, &json) && json.s)
		n = ceilings_parse(json.s, out);
	text_free(&json);
	if (!n)
		fail(error, "the ceilings of the machine were not measured: `attnbench roof` says why");
	return n;
}
