/* SPDX-License-Identifier: BSD-3-Clause
 *
 * `attnbench experiment NAME`: small computations on inputs, printed as tables.
 */
#ifndef HARNESS_EXPERIMENT_H
#define HARNESS_EXPERIMENT_H

#include "options.h"

enum { TABLE_VALUES = 6, TABLE_WORD = 16 };

/* A row: what it is of, and its values in the order of the table's names. Sizes
 * that do not matter are 0, a factor that does not is NAN. */
struct table_row {
	size_t n, d;
	char logits[TABLE_WORD]; /* how they were made: "raw", "/sqrt(d)" */
	double factor;
	double value[TABLE_VALUES]; /* NAN: none */
};

struct one_table {
	const char *name, *title;           /* literals */
	const char *values[TABLE_VALUES];   /* their names; ended by NULL */
	struct table_row *row;
	size_t n, cap;
};

struct tables {
	struct one_table *v;
	size_t n, cap;
};

/* A new table at the end; NULL: no memory. */
struct one_table *tables_add(struct tables *tables, const char *name, const char *title,
                             const char *const *values);
/* A new row of it, all values NAN; NULL: no memory. */
struct table_row *table_add(struct one_table *table, size_t n, size_t d, const char *logits, double factor);
void tables_free(struct tables *tables);

/* False: a sentence in error. */
bool experiment_verb(const struct config *config, struct text *out, char *error);

#endif
