/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Six tables on the size of logits. With entries of q and k from N(0, 1),
 *
 *     variance    q.k has variance d and excess kurtosis 6/d
 *     saturation  so raw logits make softmax pick one key as d grows, logits
 *                 over d make it average, and logits over sqrt(d) do neither
 *     gradient    of a weight p with respect to the raw logits, in half the
 *                 sum of absolute values: a (1 - sum p^2) for the factor a
 *     best        the a that makes this largest, by expectations over s ~ N(0, 1)
 *                 (a (1 - e^(a^2) / n)), and measured
 *     length      entropy against n, at a fixed factor and at ln n / ln 512
 *     equivalent  other ways to the same logits
 */
#include "sqrtd.h"

#include "../datasets/data.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const variance_values[] = { "mean / sqrt(d)", "variance / d", "standard error", "kurtosis", "6 / d", NULL };
/* The last: standard deviation of H / ln n between heads. */
enum { SETTING_VALUES = 5 };
static const char *const weight_values[TABLE_VALUES] = { "std", "max p", "H / ln n", "n_eff", "gradient", "sd of H" };
static const char *const gradient_values[] = { "mean", "median", "lower quartile", "formula", NULL };
static const char *const best_values[] = { "formula", "0.84 sqrt(ln n)", "median", NULL };
static const char *const length_values[] = { "H / ln n", "max p", "n_eff", NULL };
static const char *const equal_values[] = { "difference", "H / ln n", "max p", NULL };

/* One head of an input; q, k: n x d. */
struct head {
	size_t n, d;
	float *q, *k, *v;
};

static bool make_head(struct head *h, const char *spec, size_t n, size_t d, size_t head, char *error)
{
	struct data_shape shape = { 1, head + 1, n, n, d, 1 };
	struct data data;

	*h = (struct head){ n, d, malloc(n * d * sizeof(float)), malloc(n * d * sizeof(float)), malloc(n * sizeof(float)) };
	if (!h->q || !h->k || !h->v)
		return fail(error, "no memory for the input");
	return data_parse(spec, &data, error) && data_fill(&data, &shape, 1, 0, head, h->q, h->k, h->v, error);
}

static void free_head(struct head *h)
{
	free(h->q);
	free(h->k);
	free(h->v);
}

static double product(const float *x, const float *y, size_t d)
{
	double sum = 0;

	for (size_t c = 0; c < d; c++)
		sum += (double)x[c] * (double)y[c];
	return sum;
}

static void raw_logits(const struct head *h, size_t i, double *s)
{
	for (size_t j = 0; j < h->n; j++)
		s[j] = product(h->q + i * h->d, h->k + j * h->d, h->d);
}

/* Sums over rows of one setting. */
struct sums {
	double rows, logits, square, max, entropy, n_eff, gradient;
};

static void add_row(struct sums *t, const double *s, size_t n, double a)
{
	struct softmax p = softmax_of(s, n, a);

	for (size_t j = 0; j < n; j++)
		t->square += a * s[j] * a * s[j];
	t->logits += (double)n;
	t->max += p.max;
	t->entropy += p.entropy;
	t->n_eff += exp(p.entropy);
	t->gradient += gradient(&p, a);
	t->rows++;
}

/* ---- q.k ---------------------------------------------------------------------- */

static bool variance(struct one_table *table, char *error)
{
	static const size_t sizes[] = { 4, 16, 64, 256, 1024 };
	const size_t n = 8192;
	bool ok = true;

	for (size_t i = 0; ok && i < sizeof sizes / sizeof *sizes; i++) {
		size_t d = sizes[i];
		double mean = 0, second = 0, fourth = 0, N = (double)n, D = (double)d;
		struct head h;
		ok = make_head(&h, "gauss:sigma=1", n, d, 0, error);
		/* Pairs (q_t, k_t) share nothing: n independent products. */
		for (size_t t = 0; ok && t < n; t++) {
			double x = product(h.q + t * d, h.k + t * d, d);
			mean += x / N;
			second += x * x / N;
			fourth += x * x * x * x / N;
		}
		free_head(&h);
		struct table_row *row = ok ? table_add(table, 0, d, "raw", NAN) : NULL;
		if (!row)
			return ok ? fail(error, "out of memory") : false;
		row->value[0] = mean / sqrt(D);
		row->value[1] = (second - mean * mean) / D;
		row->value[2] = sqrt((2 + 6 / D) / N);
		row->value[3] = fourth / (second * second) - 3;
		row->value[4] = 6 / D;
	}
	return ok;
}

/* ---- saturation ----------------------------------------------------------------- */

static bool add_settings(struct one_table *table, const char *name, size_t n, size_t d, const struct sums *t,
                         size_t heads)
{
	struct table_row *row = table_add(table, n, d, name, NAN);
	double mean[SETTING_VALUES] = { 0 }, spread = 0, many = (double)heads;

	if (!row)
		return false;
	for (size_t h = 0; h < heads; h++) {
		const double value[SETTING_VALUES] = {
			t[h].square / t[h].logits, t[h].max / t[h].rows, t[h].entropy / t[h].rows / log((double)n),
			t[h].n_eff / t[h].rows, t[h].gradient / t[h].rows,
		};
		for (size_t v = 0; v < SETTING_VALUES; v++)
			mean[v] += value[v] / many;
		spread += value[2] * value[2] / many;
	}
	memcpy(row->value, mean, sizeof mean);
	row->value[0] = sqrt(mean[0]);
	row->value[SETTING_VALUES] = sqrt(fmax(spread - mean[2] * mean[2], 0) * many / (many - 1));
	return true;
}

/* Means over heads. Heads of small d differ most: all rows share few keys that
 * are long, and short ones. */
static bool saturation(struct one_table *table, char *error)
{
	enum { N = 1024, HEADS = 32, SIZES = 5, FACTORS = 3 };
	static const size_t sizes[SIZES] = { 4, 16, 64, 256, 1024 }, heads[SIZES] = { 32, 16, 8, 4, 2 };
	static const char *const names[FACTORS] = { "raw", "/sqrt(d)", "/d" };
	struct sums sums[FACTORS][SIZES][HEADS] = { 0 };
	double s[N];
	bool ok = true;

	for (size_t i = 0; i < SIZES; i++)
		for (size_t head = 0; ok && head < heads[i]; head++) {
			double d = (double)sizes[i], a[FACTORS] = { 1, 1 / sqrt(d), 1 / d };
			struct head h;
			ok = make_head(&h, "gauss:sigma=1", N, sizes[i], head, error);
			for (size_t t = 0; ok && t < N; t++) {
				raw_logits(&h, t, s);
				for (size_t f = 0; f < FACTORS; f++)
					add_row(&sums[f][i][head], s, N, a[f]);
			}
			free_head(&h);
		}
	for (size_t f = 0; f < FACTORS; f++)
		for (size_t i = 0; ok && i < SIZES; i++)
			ok = add_settings(table, names[f], N, sizes[i], sums[f][i], heads[i]) ||
			     fail(error, "out of memory");
	return ok;
}

/* ---- length ------------------------------------------------------------------------ */

static bool one_length(struct one_table *table, const char *spec, double sigma, size_t n, char *error)
{
	static const char *const names[2][2] = { { "/sqrt(d)", "ln n/ln 512" }, { "2/sqrt(d)", "2 ln n/ln 512" } };
	enum { D = 64, HEADS = 2, ROWS = 256 };
	double a[2] = { 1 / sqrt(D), log((double)n) / log(512) / sqrt(D) };
	double *s = malloc(n * sizeof *s);
	size_t rows = n < ROWS ? n : ROWS;
	struct sums sums[2] = { 0 };
	bool ok = s || fail(error, "out of memory");

	for (size_t head = 0; ok && head < HEADS; head++) {
		struct head h;
		ok = make_head(&h, spec, n, D, head, error);
		for (size_t t = 0; ok && t < rows; t++) {
			raw_logits(&h, t, s);
			for (size_t f = 0; f < 2; f++)
				add_row(&sums[f], s, n, a[f]);
		}
		free_head(&h);
	}
	free(s);
	for (size_t f = 0; ok && f < 2; f++) {
		struct table_row *row = table_add(table, n, D, names[sigma > 1][f], NAN);
		if (!row)
			return fail(error, "out of memory");
		row->value[0] = sums[f].entropy / sums[f].rows / log((double)n);
		row->value[1] = sums[f].max / sums[f].rows;
		row->value[2] = sums[f].n_eff / sums[f].rows;
	}
	return ok;
}

static bool length(struct one_table *table, char *error)
{
	static const size_t lengths[] = { 128, 512, 1024, 4096, 16384 };
	bool ok = true;

	for (int sigma = 1; sigma <= 2; sigma++)
		for (size_t i = 0; ok && i < sizeof lengths / sizeof *lengths; i++)
			ok = one_length(table, sigma == 1 ? "gauss:sigma=1" : "gauss:sigma=2", sigma, lengths[i], error);
	return ok;
}

/* ---- the same logits otherwise -------------------------------------------------------- */

/* Logit (i, j) of each way, from float32 q and k as they would be stored. */
enum way { SCALED, SMALLER, UNIT, UNIT_EACH, WAYS };

static double logit(enum way way, const struct head *h, size_t i, size_t j)
{
	const float *q = h->q + i * h->d, *k = h->k + j * h->d;
	double d = (double)h->d, norm, sum = 0;

	switch (way) {
	case SCALED: /* q.k / sqrt(d) */
		return product(q, k, h->d) / sqrt(d);
	case SMALLER: /* weights of q and k with 1/sqrt(d) of the variance, no factor */
		for (size_t c = 0; c < h->d; c++)
			sum += (double)(float)((double)q[c] / pow(d, 0.25)) * (double)(float)((double)k[c] / pow(d, 0.25));
		return sum;
	case UNIT: /* unit vectors, the factor sqrt(d) that is |q| |k| / sqrt(d) on average */
	case UNIT_EACH: /* unit vectors, the factor of this pair */
		norm = sqrt(product(q, q, h->d)) * sqrt(product(k, k, h->d));
		return product(q, k, h->d) / norm * (way == UNIT ? sqrt(d) : norm / sqrt(d));
	case WAYS:
		break;
	}
	return NAN;
}

static bool equivalent(struct one_table *table, char *error)
{
	static const char *const names[] = { "/sqrt(d)", "smaller W", "unit", "unit, each" };
	enum { N = 512, D = 64 };
	double s[N], exact[N];
	struct head h;
	bool ok = make_head(&h, "gauss:sigma=1", N, D, 0, error);

	for (enum way way = SCALED; ok && way < WAYS; way++) {
		struct sums sums = { 0 };
		double largest = 0, difference = 0;
		struct table_row *row = table_add(table, N, D, names[way], NAN);
		if (!row) {
			ok = fail(error, "out of memory");
			break;
		}
		for (size_t i = 0; i < N; i++) {
			for (size_t j = 0; j < N; j++) {
				s[j] = logit(way, &h, i, j);
				exact[j] = logit(SCALED, &h, i, j);
				largest = fmax(largest, fabs(exact[j]));
				difference = fmax(difference, fabs(s[j] - exact[j]));
			}
			add_row(&sums, s, N, 1);
		}
		row->value[0] = difference / largest;
		row->value[1] = sums.entropy / sums.rows / log(N);
		row->value[2] = sums.max / sums.rows;
	}
	free_head(&h);
	return ok;
}

bool sqrtd_tables(struct tables *tables, char *error)
{
	static const struct {
		const char *name, *title;
		const char *const *values;
		bool (*fill)(struct one_table *, char *error);
	} list[] = {
		{ "variance", "q.k of independent N(0, 1) entries", variance_values, variance },
		{ "saturation", "softmax of raw logits, over sqrt(d) and over d", weight_values, saturation },
		{ "gradient", "a (1 - sum p^2) for logits a s, s ~ N(0, 1), over rows", gradient_values, sqrtd_gradient },
		{ "best", "the factor a of the largest gradient", best_values, sqrtd_best },
		{ "length", "entropy against length, at a fixed factor and at ln n / ln 512", length_values, length },
		{ "equivalent", "other ways to the logits q.k / sqrt(d): largest difference, over the largest logit",
		  equal_values, equivalent },
	};

	for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
		struct one_table *table = tables_add(tables, list[i].name, list[i].title, list[i].values);
		if (!table)
			return fail(error, "out of memory");
		if (!list[i].fill(table, error))
			return false;
	}
	return true;
}
