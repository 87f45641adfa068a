/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Counting causes. */
#include "advice.h"

static const double WORTH_SHARE = 0.2; /* below it the estimates hardly notice */

static const struct {
	unsigned bit;
	const char *what, *advice;
} causes[DISTURBANCES] = {
	{ DISTURBED_PREEMPTED, "preempted", "other processes use these CPUs: try --cpus or fewer threads" },
	{ DISTURBED_MOVED, "moved to another CPU", "something rebinds these threads: see taskset and cpusets" },
	{ DISTURBED_STOLEN, "in rounds with steal",
	  "other virtual machines use the CPUs: another time of day, or a machine of your own" },
	{ DISTURBED_THROTTLED, "in rounds that were throttled",
	  "the CPU quota of the control group is used up: fewer threads, or raise it" },
	{ DISTURBED_HOT, "in rounds with hot cores", "the CPU slows down when it is hot: cool it, or use fewer threads" },
};

void advise(const struct results *results, struct text *out)
{
	size_t all = 0, aside = 0, of[DISTURBANCES] = { 0 };
	bool said[DISTURBANCES] = { false };

	for (size_t i = 0; i < results->n; i++) {
		const struct result *r = &results->v[i];
		all += r->n_samples;
		for (size_t k = 0; k < r->n_samples; k++) {
			aside += r->sample[k].disturbed != 0;
			for (size_t c = 0; c < DISTURBANCES; c++)
				of[c] += (r->sample[k].disturbed & causes[c].bit) != 0;
		}
	}
	if (!all || (double)aside <= WORTH_SHARE * (double)all)
		return;
	text_printf(out, "%.0f %% of the samples were set aside.", 100 * (double)aside / (double)all);
	for (size_t n = 0; n < DISTURBANCES; n++) {
		size_t most = DISTURBANCES;
		for (size_t c = 0; c < DISTURBANCES; c++)
			if (!said[c] && of[c] && (most == DISTURBANCES || of[c] > of[most]))
				most = c;
		if (most == DISTURBANCES)
			break;
		said[most] = true;
		text_printf(out, " %.0f %% %s: %s.", 100 * (double)of[most] / (double)all, causes[most].what,
		            causes[most].advice);
	}
	text_adds(out, " See `attnbench doctor`.\n");
}
