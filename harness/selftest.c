/* SPDX-License-Identifier: BSD-3-Clause
 *
 * `attnbench selftest`: does the harness measure what it says, here? Without an
 * option the short experiments, some seconds; each of the others on demand. */
#include "selftest.h"
#include "../attention/attn.h"
#include "ask.h"
#include "trial.h"
#include "verbs.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const double EMPTY_CALL_NS = 1000;
static const double MEMORY_SHARE = 0.05, MEMORY_BYTES = 2 << 20; /* as the flags of summary.c */
static const double COLD_FACTOR = 1.2;

/* The time of a call of this variant, by one worker. */
static bool call_ns(const struct config *config, const char *variant, const char *n, enum cache_mode cache,
                    double *ns, double *overhead, double *first, char *error)
{
	struct trial trial;
	bool ok = trial_begin(&trial, config, variant, n, error);

	trial.job.cell.cache = cache;
	if (ok && (ok = trial_round(&trial, "x", 0, error))) {
		const struct round *round = &trial_result(&trial, "x")->round[0];
		*ns = round->value;
		*overhead = round->overhead;
		*first = round->first_call;
	}
	trial_end(&trial);
	return ok;
}

static bool empty_call(const struct config *config, struct claims *claims, char *error)
{
	double ns, overhead, first;

	if (!call_ns(config, "null", "16", CACHE_WARM, &ns, &overhead, &first, error))
		return false;
	claim(claims, ns < EMPTY_CALL_NS, "harness",
	      "a call of the variant null takes %.0f ns, a call with nothing to do %.0f ns; below %.0f ns both must be",
	      ns, overhead, EMPTY_CALL_NS);
	return true;
}

/* The mean of V, read once: 1 MiB, which fits into the caches of a core. */
static bool cold_call(const struct config *config, struct claims *claims, char *error)
{
	double warm, cold, overhead, first;
	char a[HUMAN_MAX], b[HUMAN_MAX];

	if (!call_ns(config, "uniform", "2048", CACHE_WARM, &warm, &overhead, &first, error) ||
	    !call_ns(config, "uniform", "2048", CACHE_COLD, &cold, &overhead, &first, error))
		return false;
	claim(claims, cold > COLD_FACTOR * warm, "cold caches", "the same call takes %s warm and %s cold",
	      human_ns(warm, a), human_ns(cold, b));
	return true;
}

static bool memory_account(const struct config *config, struct claims *claims, char *error)
{
	static struct outcome out;
	struct trial trial;
	bool ok = trial_begin(&trial, config, "full", "2048", error);

	trial.job.pass = PASS_MEMORY;
	if (ok) {
		spawn_job(&trial.job, &out);
		ok = out.status == STATUS_OK || fail(error, "a worker ended as %s: %s", status_names[out.status], out.message);
	}
	trial_end(&trial);
	if (!ok)
		return false;
	if (out.rss_base_bytes < 0 || out.rss_peak_bytes < 0) {
		claim(claims, true, "memory", "not tried: the kernel does not tell resident memory");
		return true;
	}
	int64_t delta = out.rss_peak_bytes - out.rss_base_bytes;
	double bar = fmax(MEMORY_BYTES, MEMORY_SHARE * (double)out.ws_tracked_bytes);
	claim(claims, fabs((double)(delta - out.ws_tracked_bytes)) <= fmax(bar, (double)out.rss_resolution_bytes),
	      "memory", "declared %" PRId64 " bytes, given %" PRId64 ", the kernel saw %" PRId64 ", good to %.0f",
	      out.ws_model_bytes, out.ws_tracked_bytes, delta, bar);
	return true;
}

static bool short_experiments(const struct config *config, struct claims *claims, char *error)
{
	double off;

	if (!ask_blas(&off, error))
		return false;
	claim(claims, off <= 1, "BLAS", "a small product is off by %.2g of the rounding bound", off);
	return empty_call(config, claims, error) && memory_account(config, claims, error) &&
	       cold_call(config, claims, error);
}

bool selftest_verb(const struct config *config, size_t *failures, struct text *out, char *error)
{
	struct text detail = { 0 }, list = { 0 };
	struct claims claims;
	bool ok = true;

	claims_begin(&claims);
	if (!config->aa && !config->coverage)
		ok = short_experiments(config, &claims, error);
	if (ok && config->aa)
		ok = selftest_aa(config, &claims, &detail, error);
	if (ok && config->coverage)
		ok = selftest_coverage(config, &claims, &detail, error);
	/* For programs the data of an experiment, else its claims. */
	bool people = config->format == FORMAT_TEXT || config->format == FORMAT_MD;
	*failures = claims.failed;
	claims_end(&claims, (enum format)config->format, &list);
	if (ok && detail.len)
		text_printf(out, "%s%s", detail.s, people ? "\n" : "");
	if (ok && list.s && (people || !detail.len))
		text_adds(out, list.s);
	text_free(&detail);
	text_free(&list);
	return ok;
}
