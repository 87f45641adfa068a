/* SPDX-License-Identifier: BSD-3-Clause
 *
 * `attnbench doctor`: what disturbs measurements on this machine, and what to
 * do about it. It looks, and changes nothing. */
#include "band.h"
#include "machine.h"
#include "sensors.h"
#include "stats.h"
#include "ask.h"
#include "sysroot.h"
#include "topo.h"
#include "verbs.h"

#include "../attention/attn.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A finding: what, the evidence, and what to do; good ones need no advice. */
static void finding(struct text *out, bool good, const char *what, const char *evidence,
                    const char *advice)
{
	text_printf(out, "%s %-13s %s\n", good ? "  ok  " : "  !!  ", what, evidence);
	if (!good)
		text_printf(out, "%21s-> %s\n", "", advice);
}

static void look_at_clock_rate(const struct machine *m, struct text *out)
{
	char text[256];

	if (!m->governor[0])
		finding(out, true, "clock rate", "the system does not say or set it (no cpufreq)", "");
	else if (!strcmp(m->governor, "performance"))
		finding(out, true, "clock rate", "governor performance", "");
	else {
		snprintf(text, sizeof text, "governor %s (%s): the clock rate follows the load", m->governor,
		         m->driver[0] ? m->driver : "unknown driver");
		finding(out, false, "clock rate", text, "as root: cpupower frequency-set -g performance");
	}
	if (!strcmp(m->boost, "on"))
		finding(out, false, "boost", "on: the clock rate depends on temperature and on other cores",
		        "as root: echo 0 > /sys/devices/system/cpu/cpufreq/boost (or intel_pstate/no_turbo = 1)");
	if (strcmp(m->clocksource, "tsc") && strcmp(m->clocksource, "arch_sys_counter") &&
	    strcmp(m->clocksource, "kvm-clock") && m->clocksource[0]) {
		snprintf(text, sizeof text, "%s: reading the time may be slow", m->clocksource);
		finding(out, false, "clock source", text, "boot with tsc=reliable if the CPU's counter is sound");
	}
}

static void look_at_cpus(const struct machine *m, const struct topo *topo, struct text *out)
{
	struct topo_info t;
	char allowed[256], text[512];

	topo_info(topo, &t);
	topo_allowed(topo, allowed, sizeof allowed);
	snprintf(text, sizeof text, "%u cores, %u hardware threads, %u NUMA nodes; CPUs %s", t.cores, t.pus,
	         t.numa_nodes, allowed);
	finding(out, true, "CPUs", text, "");
	if (t.smt > 1 && strcmp(m->smt, "off"))
		finding(out, false, "SMT", "cores run two threads: a neighbour on the same core slows both",
		        "keep the siblings idle; attnbench takes one thread of each core");
	if (t.quota > 0) {
		snprintf(text, sizeof text, "the control group grants %.3g CPUs", t.quota);
		finding(out, t.quota >= t.pus, "quota", text,
		        "use fewer threads than that, or raise cpu.max: above it every thread is stopped");
	}
	if (m->hypervisor[0]) {
		snprintf(text, sizeof text, "this is a virtual machine (%s): others share its CPUs", m->hypervisor);
		finding(out, false, "hypervisor", text,
		        "use a machine of your own for final numbers; watch the steal column and disturbed flags");
	}
	if (!t.llc_bytes)
		finding(out, false, "caches", "their sizes are not known", "cold runs and working_set_over_llc need them");
}

/* A chain of integer operations again and again: its spread shows others at
 * work, and the clock rate moving. */
static void look_at_noise(const struct machine *m, struct text *out)
{
	enum { RUNS = 40 };
	double ns[RUNS];
	char text[256];

	for (size_t i = 0; i < RUNS; i++)
		ns[i] = (double)sensors_calibrate();
	stats_sort(ns, RUNS);
	double median = stats_median(ns, RUNS), p95 = stats_quantile(ns, RUNS, 0.95);
	double spread = 100 * (p95 / median - 1);
	snprintf(text, sizeof text, "of %d runs of a fixed loop, one in twenty took %.1f %% longer than the median",
	         RUNS, spread);
	finding(out, spread < 3, "noise", text, "stop other programs, or choose quiet CPUs with --cpus");
	if (m->runnable > 1) {
		snprintf(text, sizeof text, "threads of others that want to run: %d; load average %.2f", m->runnable - 1,
		         m->load1);
		finding(out, false, "load", text, "wait until they are done");
	} else if (m->runnable >= 0) {
		finding(out, true, "load", "nothing else wants to run", "");
	}
}

/* Since the machine started, and in the last ten seconds. */
static void look_at_others(struct text *out)
{
	char text[1024];
	double ticks[8] = { 0 }, all = 0, waiting;
	enum { STEAL = 7 };

	if (!sysroot_read(text, sizeof text, "/proc/stat") && !strncmp(text, "cpu ", 4)) {
		char *at = text + 4;
		for (size_t i = 0; i < 8; i++)
			all += ticks[i] = strtod(at, &at);
		double share = all > 0 ? 100 * ticks[STEAL] / all : 0;
		snprintf(text, sizeof text, "%.2f %% of the time since start went to other virtual machines", share);
		finding(out, share < 0.5, "steal", text, "another time of day, another machine, or more rounds");
	}
	if (!sysroot_read(text, sizeof text, "/proc/pressure/cpu") &&
	    sscanf(text, "some avg10=%lf", &waiting) == 1) {
		snprintf(text, sizeof text, "in the last 10 s some thread waited for a CPU %.1f %% of the time", waiting);
		finding(out, waiting < 5, "pressure", text, "stop other programs, or use fewer threads");
	}
}

static void look_at_memory(const struct machine *m, struct text *out)
{
	char text[256], a[HUMAN_MAX], b[HUMAN_MAX];
	int64_t available = machine_memory(m);

	if (available >= 0) {
		snprintf(text, sizeof text, "%s available of %s%s", human_bytes((double)available, a),
		         human_bytes((double)m->memory_total, b),
		         m->cgroup_memory_limit >= 0 ? ", limited by the control group" : "");
		finding(out, available > (int64_t)1 << 30, "memory", text,
		        "longer sequences of quadratic variants will be skipped");
	}
	if (m->thp[0]) {
		snprintf(text, sizeof text, "transparent huge pages: %s", m->thp);
		finding(out, true, "pages", text, "");
	}
}

static void look_at_blas(struct text *out)
{
	const char *config = attn_blas_config(), *core = attn_blas_core();
	char text[ERROR_MAX];
	double off;

	snprintf(text, sizeof text, "%s; core %s", config ? config : "unknown", core ? core : "unknown");
	bool openmp = config && strstr(config, "USE_OPENMP");
	finding(out, !openmp, "BLAS", text, "install the pthread flavour (libopenblas0-pthread)");
	if (!ask_blas(&off, text)) {
		finding(out, false, "BLAS result", text, "");
		return;
	}
	snprintf(text, sizeof text, "a small product is off by %.2g of the allowed error", off);
	finding(out, off <= 1, "BLAS result", text,
	        "it computes wrong results on this CPU: set OPENBLAS_CORETYPE to another core, or update it");
}

static void look_at_band(const struct machine *m, struct text *out)
{
	struct band band;
	char text[256];

	band_load(&band, m);
	if (isnan(band.share)) {
		finding(out, false, "A/A band", "how far a kernel seems to differ from itself here is not known",
		        "`attnbench selftest --aa`, some minutes: verdicts then rest on it");
		return;
	}
	snprintf(text, sizeof text, "%.2f %%, %.1f %% false verdicts of %u (%s, %s)", 100 * band.share,
	         100 * band.false_share, band.comparisons, band.cell, band.date);
	finding(out, band.share < 0.03 && band.false_share <= 0.1, "A/A band", text,
	        "small differences cannot be told here: a quieter machine, then `attnbench selftest --aa` again");
}

static void look_at_sensors(struct text *out)
{
	struct sensor report[SENSORS];

	sensors_report(report);
	text_adds(out, "\nSensors; each is optional, a missing one leaves its columns empty:\n");
	for (size_t i = 0; i < SENSORS; i++)
		if (report[i].name)
			text_printf(out, "  %s %-13s %s%s%s\n", report[i].available ? "  ok" : "  --", report[i].name,
			            report[i].measures ? report[i].measures : "", report[i].available ? "" : ": ",
			            report[i].available ? "" : report[i].reason);
}

bool doctor_verb(const struct config *config, struct text *out, char *error)
{
	struct topo *topo = topo_load(error);
	struct machine m;
	double resolution, cost;
	unsigned cpu;
	char text[256];

	if (!topo)
		return false;
	if (config->cpus && !topo_choose(topo, 1, config->cpus, &cpu, error)) {
		topo_free(topo);
		return false;
	}
	machine_read(&m);
	text_printf(out, "%s\n%s, %s\n\n", m.cpu_model[0] ? m.cpu_model : "unknown CPU",
	            m.os[0] ? m.os : "unknown system", m.kernel);
	look_at_cpus(&m, topo, out);
	look_at_clock_rate(&m, out);
	look_at_noise(&m, out);
	look_at_others(out);
	look_at_memory(&m, out);
	look_at_blas(out);
	machine_clock(&resolution, &cost);
	snprintf(text, sizeof text, "steps of %.0f ns, %.0f ns a reading", resolution, cost);
	finding(out, cost < 200, "timer", text, "samples are made longer; very short calls stay uncertain");
	look_at_band(&m, out);
	look_at_sensors(out);
	topo_free(topo);
	return true;
}
