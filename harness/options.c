/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The option table and what reads it. */
#include "options.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const profile_names[] = { "quick", "standard", "report", NULL };
const char *const format_names[] = { "text", "md", "csv", "json", NULL };
static const char *const color_names[] = { "auto", "always", "never", NULL };
static const char *const manual_names[] = { "none", "man", "bash", "zsh", NULL };
static const char *const columns_names[] = { "none", "text", "md", "json-raw", "json-summary", NULL };

static void *field(struct config *config, const struct option_def *option)
{
	return (char *)config + option->at;
}

static bool apply_flag(struct config *config, const struct option_def *option, const char *value,
                       const struct where *where, char *error)
{
	if (value && strcmp(value, "1") && strcmp(value, "0"))
		return fail_at(where, 0, error, "'%s' should be 0 or 1", value);
	*(bool *)field(config, option) = !value || value[0] == '1';
	return true;
}

static bool apply_text(struct config *config, const struct option_def *option, const char *value,
                       const struct where *where, char *error)
{
	char *copy = strdup(value), **to = field(config, option);

	if (!*value) {
		free(copy);
		return fail_at(where, 0, error, "a value is missing");
	}
	if (!copy)
		return fail(error, "out of memory");
	free(*to);
	*to = copy;
	return true;
}

static bool apply_registry(struct config *config, const struct option_def *option, const char *value,
                           const struct where *where, char *error)
{
	(void)option;
	if (config->n_registries == PLUGINS_MAX)
		return fail_at(where, 0, error, "more than %d registries", PLUGINS_MAX);
	config->registry[config->n_registries] = strdup(value);
	if (!config->registry[config->n_registries])
		return fail(error, "out of memory");
	config->n_registries++;
	return true;
}

static bool apply_plugin(struct config *config, const struct option_def *option, const char *value,
                         const struct where *where, char *error)
{
	(void)option;
	if (config->n_plugins == PLUGINS_MAX)
		return fail_at(where, 0, error, "more than %d plug-ins", PLUGINS_MAX);
	config->plugin[config->n_plugins] = strdup(value);
	if (!config->plugin[config->n_plugins])
		return fail(error, "out of memory");
	config->n_plugins++;
	return true;
}

/* Exactly one number or name of the option's range. */
static bool one_number(const struct option_def *option, bool integer, const char *value,
                       const struct where *where, double *x, char *error)
{
	const struct axis_rule rule = {
		.min = option->min, .max = option->max, .integer = integer, .names = option->names,
	};
	struct numbers numbers = { 0 };
	bool ok = numbers_parse(&rule, ',', value, where, 0, &numbers, error);

	if (ok && numbers.n != 1)
		ok = fail_at(where, 0, error, "one value is wanted, not a list");
	if (ok)
		*x = numbers.v[0];
	free(numbers.v);
	return ok;
}

static bool apply_unsigned(struct config *config, const struct option_def *option,
                           const char *value, const struct where *where, char *error)
{
	double x;

	if (!one_number(option, true, value, where, &x, error))
		return false;
	*(unsigned *)field(config, option) = (unsigned)x;
	return true;
}

static bool apply_real(struct config *config, const struct option_def *option, const char *value,
                       const struct where *where, char *error)
{
	return one_number(option, false, value, where, field(config, option), error);
}

static bool apply_percent(struct config *config, const struct option_def *option,
                          const char *value, const struct where *where, char *error)
{
	char plain[32];
	size_t len = strlen(value);
	double x;

	if (len > 1 && len < sizeof plain && value[len - 1] == '%') {
		memcpy(plain, value, len);
		plain[len - 1] = '\0';
		value = plain;
	}
	if (!one_number(option, false, value, where, &x, error))
		return false;
	*(double *)field(config, option) = x / 100;
	return true;
}

static bool apply_seconds(struct config *config, const struct option_def *option,
                          const char *value, const struct where *where, char *error)
{
	double *to = field(config, option);

	if (!parse_seconds(value, where, to, error))
		return false;
	return *to > 0 || fail_at(where, 0, error, "'%s' must be above 0", value);
}

static bool apply_bytes(struct config *config, const struct option_def *option, const char *value,
                        const struct where *where, char *error)
{
	double *to = field(config, option);

	if (!parse_bytes(value, where, to, error))
		return false;
	return *to > 0 || fail_at(where, 0, error, "'%s' must be above 0", value);
}

#define AT(member) offsetof(struct config, member)
#define MEASURE (VERB_PLAN | VERB_RUN)
#define CELLS (MEASURE | VERB_SELFTEST) /* of an experiment: one */
#define AXIS(name, argument, help, id) \
	{ name, 0, argument, help, OPTION_AXIS, CELLS, NULL, id, NULL, 0, 0 }

const struct option_def option_table[] = {
	{ "variant", 'v', "LIST", "variants, e.g. full,performer:m=128|256:ortho=1, family/linear, all, torch/sdpa-flash",
	  OPTION_AXIS, CELLS | VERB_VERIFY, NULL, AXIS_VARIANT, NULL, 0, 0 },
	AXIS("mode", "LIST", "forward: all queries; decode: the step of one token [forward]", AXIS_MODE),
	AXIS("n", "LIST", "sequence length, e.g. 256..16384:x2 [256..4096:x2]", AXIS_N),
	AXIS("n-q", "LIST", "query length, where it is not n", AXIS_N_Q),
	AXIS("n-k", "LIST", "key length, where it is not n", AXIS_N_K),
	AXIS("context", "LIST", "tokens of a decode step, the newest included [n]", AXIS_CONTEXT),
	AXIS("d", "LIST", "head dimension of queries and keys [64]", AXIS_D),
	AXIS("d-v", "LIST", "head dimension of values [d]", AXIS_D_V),
	AXIS("heads", "LIST", "heads a layer [1]", AXIS_HEADS),
	AXIS("kv-heads", "LIST", "key and value heads, shared by consecutive query heads [heads]", AXIS_KV_HEADS),
	AXIS("batch", "LIST", "sequences [1]", AXIS_BATCH),
	AXIS("lengths", "LIST", "full: all n; padded, packed: the others between n/4 and n, in rows of n or without gaps [full]",
	     AXIS_LENGTHS),
	AXIS("causal", "LIST", "0, 1 or 0,1 [0]", AXIS_CAUSAL),
	AXIS("dtype", "LIST", "number format of q, k, v and out: f32, bf16, f16 [f32]", AXIS_DTYPE),
	{ "threads", 0, "LIST", "threads [1]", OPTION_AXIS, CELLS | VERB_ROOF, NULL, AXIS_THREADS, NULL, 0, 0 },
	AXIS("cache", "LIST", "warm or cold [warm]", AXIS_CACHE),
	AXIS("seed", "LIST", "seed of inputs and of random variants [1]", AXIS_SEED),
	{ "isa", 0, "LIST", "instruction sets: auto, all, or names of `attnbench list --isa` [auto; verify: all]",
	  OPTION_AXIS, CELLS | VERB_VERIFY | VERB_ROOF, NULL, AXIS_ISA, NULL, 0, 0 },
	AXIS("data", "LIST", "inputs, e.g. gauss:sigma=1|2,real:minilm [gauss:sigma=1]", AXIS_DATA),
	AXIS("scale", "LIST", "factor of the logits [1/sqrt(d)]", AXIS_SCALE),

	{ "profile", 'p', "NAME", "quick: 6 rounds; standard: up to 20, to 2 %; report: up to 30, to 1 % [quick]",
	  OPTION_RUN, MEASURE, apply_unsigned, AT(profile), profile_names, 0, 0 },
	{ "rounds", 0, "N", "exactly so many rounds", OPTION_RUN, CELLS, apply_unsigned, AT(rounds), NULL, 1, 1000 },
	{ "target", 0, "PERCENT", "stop a cell at this half-width of its interval", OPTION_RUN, MEASURE,
	  apply_percent, AT(target), NULL, 0.01, 100 },
	{ "samples", 0, "N", "samples a round [5 to 15, as time allows]", OPTION_RUN, CELLS,
	  apply_unsigned, AT(samples), NULL, 1, 64 },
	{ "timeout", 0, "TIME", "limit of the calls of one worker [30 s, or 20 x predicted]", OPTION_RUN, CELLS,
	  apply_seconds, AT(timeout_s), NULL, 0, 0 },
	{ "cell-budget", 0, "TIME", "no further round for a cell that took so long", OPTION_RUN, MEASURE,
	  apply_seconds, AT(cell_budget_s), NULL, 0, 0 },
	{ "budget", 0, "TIME", "end the run after the worker in which this is reached", OPTION_RUN, MEASURE,
	  apply_seconds, AT(budget_s), NULL, 0, 0 },
	{ "memory", 0, "SIZE", "skip cells predicted to need more [what is available]", OPTION_RUN, MEASURE,
	  apply_bytes, AT(memory_bytes), NULL, 0, 0 },
	{ "cpus", 0, "LIST", "bind to these CPUs, e.g. 2-5,8 [one of each core, not CPU 0]", OPTION_RUN,
	  CELLS | VERB_DOCTOR | VERB_ROOF, apply_text, AT(cpus), NULL, 0, 0 },
	{ "seconds", 0, "TIME", "time for each ceiling [1 s; in a run 0.1 s]", OPTION_RUN, VERB_RUN | VERB_ROOF,
	  apply_seconds, AT(seconds), NULL, 0, 0 },
	{ "accuracy-only", 0, NULL, "errors alone: neither times nor memory", OPTION_RUN, MEASURE, apply_flag,
	  AT(accuracy_only), NULL, 0, 0 },
	{ "no-accuracy", 0, NULL, "times and memory alone: no errors", OPTION_RUN, MEASURE, apply_flag,
	  AT(no_accuracy), NULL, 0, 0 },
	{ "keep-weights", 0, "N", "up to N tokens, keep the weights that the first head implies, in DIR/implied [0]",
	  OPTION_RUN, MEASURE, apply_unsigned, AT(keep_weights), NULL, 0, WEIGHTS_KEPT_MAX },
	{ "no-pin", 0, NULL, "leave threads to the scheduler", OPTION_RUN, CELLS | VERB_ROOF, apply_flag, AT(no_pin), NULL, 0, 0 },
	{ "small-pages", 0, NULL, "time without huge pages, which are used where the kernel gives them on request",
	  OPTION_RUN, CELLS, apply_flag, AT(small_pages), NULL, 0, 0 },
	{ "order-seed", 0, "N", "seed of the order of cells [1]", OPTION_RUN, MEASURE, apply_real,
	  AT(order_seed), NULL, 0, 9007199254740991.0 },
	{ "baseline", 0, "NAME", "variant that others are compared with [full, flash or the first]",
	  OPTION_RUN, MEASURE | VERB_SHOW, apply_text, AT(baseline), NULL, 0, 0 },
	{ "margin", 0, "PERCENT", "ratios within this of 1 count as the same [1]", OPTION_RUN,
	  VERB_RUN | VERB_SHOW, apply_percent, AT(margin), NULL, 0, 100 },
	{ "name", 0, "TEXT", "last part of the default directory", OPTION_RUN, MEASURE, apply_text, AT(name), NULL, 0, 0 },
	{ "plugin", 0, "FILE.so", "variants from a shared object; may be repeated", OPTION_RUN,
	  MEASURE | VERB_LIST | VERB_SHOW | VERB_VERIFY, apply_plugin, 0, NULL, 0, 0 },

	{ "registry", 0, "FILE.ini", "engines of this file as well; may be repeated", OPTION_RUN,
	  MEASURE | VERB_LIST, apply_registry, 0, NULL, 0, 0 },

	{ "out", 'o', "DIR", "directory of the run; an existing one is resumed [results/TIME-NAME]",
	  OPTION_HERE, VERB_RUN, apply_text, AT(out), NULL, 0, 0 },
	{ "fresh", 0, NULL, "start anew: the old raw.csv is kept under another name", OPTION_HERE,
	  VERB_RUN, apply_flag, AT(fresh), NULL, 0, 0 },
	{ "rerun", 0, "LIST", "measure these variants again", OPTION_HERE, VERB_RUN, apply_text, AT(rerun), NULL, 0, 0 },
	{ "retry-failed", 0, NULL, "measure again what crashed, timed out or ran out of memory", OPTION_HERE,
	  VERB_RUN, apply_flag, AT(retry_failed), NULL, 0, 0 },
	{ "aa", 0, NULL, "one kernel under two names, idle and under load: false verdicts, and the margin",
	  OPTION_HERE, VERB_SELFTEST, apply_flag, AT(aa), NULL, 0, 0 },
	{ "coverage", 0, NULL, "how often intervals of 95 % hold the long-run median, under load", OPTION_HERE,
	  VERB_SELFTEST, apply_flag, AT(coverage), NULL, 0, 0 },
	{ "comparisons", 0, "N", "comparisons or repeats of an experiment [60]", OPTION_HERE, VERB_SELFTEST,
	  apply_unsigned, AT(comparisons), NULL, 1, 10000 },
	{ "inputs", 0, NULL, "the kinds of input", OPTION_HERE, VERB_LIST, apply_flag, AT(inputs), NULL, 0, 0 },
	{ "engines", 0, NULL, "the engines that are measured beside our variants, and their variants",
	  OPTION_HERE, VERB_LIST, apply_flag, AT(engines), NULL, 0, 0 },
	{ "isa", 0, NULL, "the instruction sets", OPTION_HERE, VERB_LIST, apply_flag, AT(isas), NULL, 0, 0 },
	{ "columns", 0, "FORM", "the columns of the CSV files: text, md, json-raw, json-summary", OPTION_HERE,
	  VERB_LIST, apply_unsigned, AT(columns), columns_names, 0, 0 },
	{ "format", 'f', "FORM", "text, md, csv or json [text]", OPTION_HERE,
	  VERB_LIST | VERB_PLAN | VERB_SHOW | VERB_VERIFY | VERB_EXPERIMENT | VERB_ROOF | VERB_SELFTEST | VERB_CHECK,
	  apply_unsigned, AT(format), format_names, 0, 0 },
	{ "as", 0, "FORM", "man: all of this as a manual page; bash, zsh: a script that completes command lines",
	  OPTION_HERE, VERB_HELP, apply_unsigned, AT(manual), manual_names, 0, 0 },
	{ "by-seed", 0, NULL, "errors over seeds: median and interval of cells that differ in nothing else",
	  OPTION_HERE, VERB_SHOW, apply_flag, AT(by_seed), NULL, 0, 0 },
	{ "color", 0, "WHEN", "auto, always or never [auto]", OPTION_HERE,
	  VERB_RUN | VERB_SHOW | VERB_DOCTOR, apply_unsigned, AT(color), color_names, 0, 0 },
	{ "quiet", 'q', NULL, "no progress", OPTION_HERE, VERB_RUN | VERB_SELFTEST, apply_flag, AT(quiet), NULL, 0, 0 },
	{ "sysroot", 0, "DIR", "read /proc and /sys below this directory", OPTION_HERE,
	  MEASURE | VERB_DOCTOR, apply_text, AT(sysroot), NULL, 0, 0 },
	{ "help", 'h', NULL, "this text", OPTION_HERE, ~0u, apply_flag, AT(help), NULL, 0, 0 },
	{ 0 },
};

void option_print(const struct option_def *option, const void *value, struct text *out)
{
	if (option->apply == apply_text)
		text_adds(out, *(char *const *)value ? *(char *const *)value : "");
	else if (option->apply == apply_unsigned)
		text_printf(out, "%u", *(const unsigned *)value);
	else
		text_printf(out, "%.15g", *(const double *)value * (option->apply == apply_percent ? 100 : 1));
}
