/* SPDX-License-Identifier: BSD-3-Clause
 *
 * One table of options, used by the command line, by sweep files (every key of
 * which is a long option) and by --help.
 */
#ifndef HARNESS_OPTIONS_H
#define HARNESS_OPTIONS_H

#include "axes.h"

enum verb_mask {
	VERB_LIST = 1 << 0,
	VERB_PLAN = 1 << 1,
	VERB_RUN = 1 << 2,
	VERB_SHOW = 1 << 3,
	VERB_DOCTOR = 1 << 4,
	VERB_VERIFY = 1 << 5,
	VERB_ROOF = 1 << 6,
	VERB_EXPERIMENT = 1 << 7,
	VERB_SELFTEST = 1 << 8,
	VERB_CHECK = 1 << 9,
	VERB_HELP = 1 << 10,
	VERB_REPORT = 1 << 11, /* from here on of plots/ */
	VERB_FIGURES = 1 << 12,
	VERB_FINDINGS = 1 << 13,
	VERB_FIT = 1 << 14,
	VERB_COMPARE = 1 << 15,
	VERB_LINT = 1 << 16,
	VERB_PEERS = 1 << 17,
};

/* Where an option may stand in a sweep file. */
enum option_kind {
	OPTION_AXIS, /* anywhere; the values of a group are crossed */
	OPTION_RUN,  /* at the top or in [sweep] */
	OPTION_HERE, /* nowhere: on the command line only */
};

enum axis_id {
	AXIS_VARIANT, AXIS_MODE, AXIS_N, AXIS_N_Q, AXIS_N_K, AXIS_CONTEXT, AXIS_D, AXIS_D_V, AXIS_HEADS, AXIS_KV_HEADS, AXIS_BATCH, AXIS_LENGTHS,
	AXIS_CAUSAL, AXIS_DTYPE, AXIS_THREADS, AXIS_CACHE, AXIS_SEED, AXIS_ISA, AXIS_DATA, AXIS_SCALE,
	AXIS_COUNT
};

/* The text of an axis: one piece a line of a sweep file, or an argument. */
struct piece {
	char *text;
	struct where where;
};

struct axis_text {
	struct piece *piece;
	size_t n, cap;
};

struct group {
	char *name; /* of the section; NULL for defaults and the command line */
	struct axis_text axis[AXIS_COUNT];
};

enum profile { PROFILE_QUICK, PROFILE_STANDARD, PROFILE_REPORT };
enum format { FORMAT_TEXT, FORMAT_MD, FORMAT_CSV, FORMAT_JSON };
enum color_mode { COLOR_AUTO, COLOR_ALWAYS, COLOR_NEVER };
enum manual_form { MANUAL_NONE, MANUAL_PAGE, MANUAL_BASH, MANUAL_ZSH };
enum columns_doc { COLUMNS_NONE, COLUMNS_TEXT, COLUMNS_MD, COLUMNS_JSON_RAW, COLUMNS_JSON_SUMMARY };

enum { OPTIONS_MAX = 64, PLUGINS_MAX = 16 };
enum { WEIGHTS_KEPT_MAX = 512 }; /* tokens: of a matrix whose elements can be seen */

/* What the user asked for. Zero means "the default" unless said. */
struct config {
	struct group command_line, defaults;
	struct group *groups; /* the further sections of the sweep file */
	size_t n_groups, groups_cap;
	char *sweep_path;       /* NULL: no sweep file */
	struct text sweep_text; /* its bytes */

	unsigned profile;
	unsigned rounds;    /* fixed number; 0: as the profile says */
	double target;      /* half-width, share of the median; 0: profile */
	unsigned samples;   /* a round; 0: chosen by the worker */
	unsigned comparisons; /* of an experiment; 0: default */
	double timeout_s, cell_budget_s, budget_s;
	double memory_bytes;
	double margin;      /* of a verdict, share */
	double seconds;     /* a ceiling, 0: default */
	double order_seed;
	bool no_pin, small_pages;
	bool accuracy_only, no_accuracy;
	unsigned keep_weights; /* of cells of up to so many tokens */
	char *cpus, *baseline, *name;

	char *out, *rerun, *sysroot;
	char *plugin[PLUGINS_MAX];
	size_t n_plugins;
	char *registry[PLUGINS_MAX]; /* of engines */
	size_t n_registries;
	bool fresh, retry_failed, quiet, help;
	bool inputs, isas, engines, by_seed;
	bool aa, coverage;
	unsigned format, color, columns, manual;

	unsigned char given[OPTIONS_MAX]; /* by table index: GIVEN_* */
	char **positional;                /* borrowed from argv */
	size_t n_positional;
};

enum { GIVEN_NOT, GIVEN_FILE, GIVEN_HERE };

struct option_def;
typedef bool option_apply(struct config *, const struct option_def *, const char *value,
                          const struct where *, char *error);

struct option_def {
	const char *name;
	char letter;          /* short form, or 0 */
	const char *argument; /* its name in --help; NULL: a flag */
	const char *help;
	enum option_kind kind;
	unsigned verbs;
	option_apply *apply;
	size_t at;                /* offset into struct config, or an axis_id */
	const char *const *names; /* accepted words */
	double min, max;
};

extern const struct option_def option_table[]; /* ended by name == NULL */

/* As they are written; ended by NULL. */
extern const char *const profile_names[];
extern const char *const format_names[];

/* The option of this name for any of these verbs; NULL: none. */
const struct option_def *option_find(const char *name, unsigned verbs);

/* Applies one option. Values from a file never replace one from the command
 * line; a second value of an axis is appended, of another option an error. */
bool option_set(struct config *config, struct group *group, const struct option_def *option,
                const char *value, const struct where *where, char *error);

/* The value at this address as the option's text. */
void option_print(const struct option_def *option, const void *value, struct text *out);

/* argv[0] is the verb. Keeps the pointers of positional arguments. */
bool options_parse(struct config *config, unsigned verb, int argc, char **argv, char *error);

/* The pieces that count for an axis of a group (NULL: no sections): those of
 * the command line, else the group's, else the defaults'. NULL: not given. */
const struct axis_text *config_axis(const struct config *config, const struct group *group,
                                    enum axis_id axis);

/* The value of an option as text, "" if not given. Axes: of this group. */
void option_show(const struct config *config, const struct group *group,
                 const struct option_def *option, struct text *out);

void config_free(struct config *config);

#endif
