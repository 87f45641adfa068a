/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Samples and rounds before anything was measured. */
#include "sample.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const char *const names[DISTURBANCES] = { "preempted", "moved", "stolen", "throttled", "hot" };

const char *disturbance_text(unsigned bits)
{
	static char all[1 << DISTURBANCES][64];
	char *text = all[bits & ((1 << DISTURBANCES) - 1)];

	if (text[0])
		return text;
	for (size_t i = 0, at = 0; i < DISTURBANCES; i++)
		if (bits & 1u << i)
			at += (size_t)snprintf(text + at, sizeof *all - at, "%s%s", at ? ";" : "", names[i]);
	return text;
}

unsigned disturbance_bits(const char *text)
{
	unsigned bits = 0;

	while (*text) {
		size_t len = strcspn(text, ";");
		for (size_t i = 0; i < DISTURBANCES; i++)
			if (strlen(names[i]) == len && !strncmp(text, names[i], len))
				bits |= 1u << i;
		text += len + (text[len] == ';');
	}
	return bits;
}

void sample_clear(struct sample *s)
{
	*s = (struct sample){ .wall_ns = -1, .t_start_ns = -1, .cpu_ns = -1, .nivcsw = -1, .run_delay_ns = -1,
	                      .minflt = -1, .majflt = -1, .cpu_before = -1, .cpu_after = -1, .cycles = -1,
	                      .instructions = -1, .llc_misses = -1, .perf_scale = (double)NAN,
	                      .energy_uj = -1 };
}

void round_evidence_clear(struct round_evidence *round)
{
	*round = (struct round_evidence){ .steal_ticks = -1, .throttled = -1, .pressure_us = -1,
	                                  .runnable = -1, .freq_khz = -1, .temperature_mdegc = -1,
	                                  .core_throttles = -1, .cal_before_ns = -1, .cal_after_ns = -1 };
}
