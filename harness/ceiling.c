/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Measuring ceilings, and the verb that prints them. */
#include "ceiling.h"

#include "clock.h"
#include "cross.h"
#include "grid.h"
#include "team.h"
#include "topo.h"
#include "verbs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { REPEATS = 5, THREAD_COUNTS_MAX = 16, SGEMM_SIDE = 512, EXP_FLOATS = 4096 };

const char *const ceiling_level_names[] = { "l1", "l2", "l3", "dram", NULL };

/* One timed section of a team. */
struct section {
	const struct kern *kern;
	enum attn_ceiling what;
	float **x; /* of each rank */
	size_t floats, rounds;
	int64_t begin, end;
	double work; /* of one rank */
};

static void run_section(void *arg, struct attn_team *me)
{
	struct section *s = arg;

	attn_barrier(me);
	if (me->rank == 0)
		s->begin = clock_now_ns();
	double work = attn_ceiling(s->kern, s->what, s->x[me->rank], s->floats, s->rounds);
	attn_barrier(me);
	if (me->rank == 0) {
		s->end = clock_now_ns();
		s->work = work;
	}
}

/* Work a nanosecond of all ranks: 1e9 a second. */
static double best_rate(struct team *team, struct section *s, double seconds)
{
	double best = 0, slice = seconds * 1e9 / (REPEATS + 1);

	s->rounds = 1;
	for (;;) {
		team_run(team, TEAM_FAST, run_section, s);
		double took = (double)(s->end - s->begin);
		if (took >= slice / 4) {
			s->rounds = (size_t)((double)s->rounds * slice / took) + 1;
			break;
		}
		s->rounds *= 2;
	}
	for (int r = 0; r < REPEATS; r++) {
		team_run(team, TEAM_FAST, run_section, s);
		double rate = s->work * (double)team_size(team) / (double)(s->end - s->begin);
		best = rate > best ? rate : best;
	}
	return best;
}

/* Touched by the thread that uses it, so that it lies in its memory. */
struct touching {
	float **x;
	size_t floats;
};

static void touch(void *arg, struct attn_team *me)
{
	const struct touching *t = arg;

	for (size_t i = 0; i < t->floats; i++)
		t->x[me->rank][i] = 1.0f / (float)(1 + i % 7);
}

/* Half of a private cache; of the shared last one, its share of a third; four
 * times that for memory, all threads together. */
static void working_sets(const struct topo_info *topo, size_t threads, size_t bytes[LEVELS])
{
	size_t llc = topo->llc_bytes ? topo->llc_bytes : (size_t)32 << 20;

	bytes[LEVEL_L1] = topo->l1d_bytes / 2;
	bytes[LEVEL_L2] = topo->l2_bytes / 2;
	bytes[LEVEL_L3] = topo->l3_bytes / 3 / threads;
	bytes[LEVEL_DRAM] = 4 * llc / threads;
}

bool ceilings_measure(struct team *team, const struct kern *kern, const struct topo_info *topo,
                      double seconds, struct ceilings *out)
{
	size_t threads = team_size(team);
	float *x[TEAM_MAX] = { NULL };
	struct section s = { .kern = kern, .x = x };
	bool ok = true;

	*out = (struct ceilings){ .threads = (unsigned)threads };
	working_sets(topo, threads, out->level_bytes);
	size_t most = out->level_bytes[LEVEL_DRAM], square = sizeof(float) * 3 * SGEMM_SIDE * SGEMM_SIDE;
	most = (most > square ? most : square) / ATTN_ALIGN * ATTN_ALIGN;
	for (size_t r = 0; r < threads; r++)
		ok = (x[r] = aligned_alloc(ATTN_ALIGN, most)) && ok;
	if (ok) {
		struct touching t = { x, most / sizeof(float) };
		team_run(team, TEAM_FAST, touch, &t);
		s.what = ATTN_CEILING_FMA;
		out->fma_gflops = best_rate(team, &s, seconds);
		s.what = ATTN_CEILING_SGEMM;
		s.floats = square / sizeof(float);
		out->sgemm_gflops = best_rate(team, &s, seconds);
		s.what = ATTN_CEILING_EXP;
		s.floats = EXP_FLOATS;
		out->exp_gexps = best_rate(team, &s, seconds);
		for (size_t level = 0; level < LEVELS; level++) {
			s.floats = out->level_bytes[level] / sizeof(float) / 64 * 64;
			s.what = ATTN_CEILING_READ;
			out->read_gbs[level] = s.floats ? best_rate(team, &s, seconds) : (double)NAN;
			s.what = ATTN_CEILING_TRIAD;
			out->triad_gbs[level] = s.floats ? best_rate(team, &s, seconds) : (double)NAN;
		}
	}
	for (size_t r = 0; r < threads; r++)
		free(x[r]);
	return ok;
}

/* ---- the verb ---- */

static void print_levels(const char *name, const double gbs[LEVELS], struct text *out)
{
	text_printf(out, "\"%s\": {", name);
	for (size_t i = 0, n = 0; i < LEVELS; i++)
		if (!isnan(gbs[i]))
			text_printf(out, "%s\"%s\": %.4g", n++ ? ", " : "", ceiling_level_names[i], gbs[i]);
	text_adds(out, "}");
}

static void print_json(const struct ceilings *c, const char *isa, bool first, struct text *out)
{
	text_printf(out, "%s\"%u\": {\"isa\": \"%s\", \"fma_gflops\": %.5g, \"sgemm_gflops\": %.5g, "
	            "\"exp_gexps\": %.4g, ", first ? "" : ",\n ", c->threads, isa, c->fma_gflops,
	            c->sgemm_gflops, c->exp_gexps);
	print_levels("read_gbs", c->read_gbs, out);
	text_adds(out, ", ");
	print_levels("triad_gbs", c->triad_gbs, out);
	text_adds(out, "}");
}

static void add_row(struct grid *grid, const struct ceilings *c, const char *isa)
{
	grid_cell(grid, "%u", c->threads);
	grid_cell(grid, "%s", isa);
	grid_cell(grid, "%.1f", c->fma_gflops);
	grid_cell(grid, "%.1f", c->sgemm_gflops);
	grid_cell(grid, "%.2f", c->exp_gexps);
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
		">threads", "isa", ">fma_gflops", ">sgemm_gflops", ">exp_gexps", ">read_l1_gbs",
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
	return ok || fail(error, "not enough memory for %u threads", threads);
}

bool roof_verb(const struct config *config, struct text *out, char *error)
{
	struct topo *topo = topo_load(error);
	struct numbers threads = { 0 };
	struct names isas = { 0 };
	struct grid grid = { 0 };
	bool json = config->format == FORMAT_JSON, first = true;
	bool ok = topo && cross_threads(config, &threads, error) && cross_isas(config, "auto", &isas, error);

	grid_head(&grid);
	if (json)
		text_adds(out, "{");
	for (size_t i = 0; ok && i < isas.n; i++) {
		for (size_t t = 0; ok && t < threads.n; t++) {
			struct ceilings c;
			ok = measure_one(config, topo, (unsigned)threads.v[t], isas.v[i], &c, error);
			if (ok && json)
				print_json(&c, isas.v[i], first, out);
			else if (ok)
				add_row(&grid, &c, isas.v[i]);
			first = false;
		}
	}
	if (ok && json)
		text_adds(out, "}\n");
	else if (ok)
		grid_print(&grid, config->format, out);
	if (ok && config->format == FORMAT_TEXT)
		text_adds(out, "\nGFLOP/s of fused multiply-adds in registers and of a 512^3 product by OpenBLAS, 1e9 "
		               "exponentials/s,\nGB/s read and of y += a x by cache level; all threads together, the "
		               "best of five.\n");
	grid_free(&grid);
	free(threads.v);
	names_free(&isas);
	topo_free(topo);
	return ok;
}

/* ---- asked by a run ---- */

static void exec_roof(int to, const char *threads, const char *isa, const char *seconds)
{
	if (dup2(to, STDOUT_FILENO) < 0)
		_exit(127);
	execl("/proc/self/exe", "attnbench", "roof", "--threads", threads, "--isa", isa, "--seconds",
	      seconds, "--format", "json", (char *)NULL);
	_exit(127);
}

bool ceilings_ask(const unsigned *threads, size_t n, const char *isa, double seconds, struct text *json,
                  char *error)
{
	struct text list = { 0 };
	char time[32], chunk[4096];
	int ends[2], status = 0;
	ssize_t got;

	for (size_t i = 0; i < n; i++)
		text_printf(&list, "%s%u", i ? "," : "", threads[i]);
	snprintf(time, sizeof time, "%.6g", seconds);
	if (list.failed || pipe(ends)) {
		text_free(&list);
		return fail(error, "the ceilings of the machine were not measured: no pipe");
	}
	pid_t child = fork();
	if (child == 0) {
		close(ends[0]);
		exec_roof(ends[1], list.s, isa, time);
	}
	close(ends[1]);
	while (child > 0 && (got = read(ends[0], chunk, sizeof chunk)) > 0)
		text_add(json, chunk, (size_t)got);
	close(ends[0]);
	text_free(&list);
	if (child < 0 || waitpid(child, &status, 0) < 0 || status != 0)
		return fail(error, "the ceilings of the machine were not measured: `attnbench roof` failed");
	return true;
}
