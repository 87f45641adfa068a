/* SPDX-License-Identifier: BSD-3-Clause
 *
 * One job, by as many workers as its pass takes. */
#include "spawn.h"
#include "stats.h"

enum { REPEATS = 3 };

/* Memory: the median by growth of an odd number of fresh workers, as only the
 * first call of a process takes all the memory that a call takes. */
void spawn_job(const struct job *job, struct outcome *out)
{
	enum { MOST = 9 };
	static struct outcome each[MOST];
	double growth[MOST], sorted[MOST];
	size_t n = job->repeats > 0 ? job->repeats : REPEATS;

	n = n > MOST ? MOST : n - (n % 2 == 0);
	if (job->pass != PASS_MEMORY)
		n = 1;
	int64_t life_ns = 0;
	for (size_t i = 0; i < n; i++) {
		spawn_once(job, &each[i]);
		life_ns += each[i].life_ns;
		each[i].life_ns = life_ns;
		if (each[i].status != STATUS_OK || n == 1) {
			*out = each[i];
			return;
		}
		growth[i] = sorted[i] = (double)(each[i].rss_peak_bytes - each[i].rss_base_bytes);
	}
	stats_sort(sorted, n);
	size_t middle = 0;
	while (growth[middle] != sorted[n / 2])
		middle++;
	*out = each[middle];
	out->life_ns = life_ns;
	if (out->rss_base_bytes >= 0 && out->rss_peak_bytes >= 0)
		out->rss_spread_bytes = (int64_t)(sorted[n - 1] - sorted[0]);
}
