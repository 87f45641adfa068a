/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Tasks: where each token is, and how it is written into q, k and v.
 */
#include "task.h"

#include <math.h>

#include "../attention/attn.h"
#include "fail.h"

enum { CODE_MIN = 16 }; /* channels that random codes need to lie apart */

/* What a token holds, or a query asks for: the number of a code and of a
 * class. NONE: blank. */
struct item {
	size_t code, class;
};
static const size_t NONE = SIZE_MAX;

struct task {
	size_t classes; /* index of the parameter */
	/* Tokens at the end that ask, and tokens in all that the task needs. */
	void (*need)(const struct gen *gen, size_t *asking, size_t *tokens);
	struct item (*token)(const struct gen *gen, size_t j);  /* j < n_k - asking */
	struct item (*answer)(const struct gen *gen, size_t i); /* i < asking */
};

static size_t param(const struct gen *g, size_t i)
{
	return (size_t)g->param[i];
}

/* A whole number in [0, n), number i of a stream. */
static size_t choose(const struct gen *g, enum gen_purpose purpose, size_t i, size_t n)
{
	double u = attn_random_uniform(g->seed, gen_stream(g, purpose), i);

	/* u < 1, but u n may round to n. */
	return (size_t)fmin(floor(u * (double)n), (double)(n - 1));
}

/* ---- the tasks ------------------------------------------------------------ */

/* Associative recall: pairs of key and value, blanks, then queries for keys
 * drawn at random. */
enum { PAIRS, QUERIES, GAP, MQAR_CLASSES };

static void mqar_need(const struct gen *g, size_t *asking, size_t *tokens)
{
	*asking = param(g, QUERIES);
	*tokens = param(g, PAIRS) + param(g, GAP) + *asking;
}

static struct item mqar_pair(const struct gen *g, size_t pair)
{
	return (struct item){ pair, choose(g, GEN_VALUE, pair, param(g, MQAR_CLASSES)) };
}

static struct item mqar_token(const struct gen *g, size_t j)
{
	size_t asking, tokens, first;

	mqar_need(g, &asking, &tokens);
	first = g->n_k - tokens;
	return j >= first && j < first + param(g, PAIRS) ? mqar_pair(g, j - first) : (struct item){ NONE, NONE };
}

static struct item mqar_answer(const struct gen *g, size_t i)
{
	return mqar_pair(g, choose(g, GEN_QUERY, i, param(g, PAIRS)));
}

/* Copying: a span of tokens, then the same span again after a distance. The
 * key of a token is what stood before it, so that a query for what stands
 * before it now finds what comes next. */
enum { SPAN, DISTANCE, INDUCTION_CLASSES };

static void induction_need(const struct gen *g, size_t *asking, size_t *tokens)
{
	*asking = param(g, SPAN);
	*tokens = *asking + param(g, DISTANCE);
}

static struct item induction_answer(const struct gen *g, size_t i)
{
	return (struct item){ i, choose(g, GEN_VALUE, i, param(g, INDUCTION_CLASSES)) };
}

static struct item induction_token(const struct gen *g, size_t j)
{
	size_t first = g->n_k - param(g, SPAN) - param(g, DISTANCE);

	return j >= first && j < first + param(g, SPAN) ? induction_answer(g, j - first)
	                                                : (struct item){ NONE, NONE };
}

/* Needles at a depth of a haystack of other keys, each with a value. */
enum { DEPTH, NEEDLES, HAYSTACK_CLASSES };

static void haystack_need(const struct gen *g, size_t *asking, size_t *tokens)
{
	*asking = param(g, NEEDLES);
	*tokens = 2 * *asking;
}

/* Needles are codes 0 .. needles - 1, hay those after them. */
static struct item haystack_answer(const struct gen *g, size_t i)
{
	return (struct item){ i, choose(g, GEN_VALUE, i, param(g, HAYSTACK_CLASSES)) };
}

static struct item haystack_token(const struct gen *g, size_t j)
{
	size_t needles = param(g, NEEDLES), hay = g->n_k - 2 * needles;
	size_t first = (size_t)nearbyint(g->param[DEPTH] * (double)hay);

	if (j < first)
		return haystack_answer(g, needles + j);
	return haystack_answer(g, j < first + needles ? j - first : j);
}

/* Groups of tokens that share a key; the answer is the value that most tokens
 * of the group have. Blocks of one token a group, in a rotated order. */
enum { GROUPS, MEMBERS, SHARE, MAJORITY_CLASSES };

static void majority_need(const struct gen *g, size_t *asking, size_t *tokens)
{
	*asking = param(g, GROUPS);
	*tokens = *asking * (param(g, MEMBERS) + 1);
}

static struct item majority_answer(const struct gen *g, size_t i)
{
	return (struct item){ i, choose(g, GEN_VALUE, i, param(g, MAJORITY_CLASSES)) };
}

static size_t gcd(size_t a, size_t b)
{
	while (b) {
		size_t rest = a % b;

		a = b;
		b = rest;
	}
	return a;
}

/* Member m of a group in an order of the group's own: a m + b modulo members,
 * a without a common divisor. The first share of them have the majority. */
static bool in_majority(const struct gen *g, size_t group, size_t m)
{
	size_t members = param(g, MEMBERS), a = 1 + choose(g, GEN_PLACE, group, members);
	size_t b = choose(g, GEN_DISTANCE, group, members);

	while (gcd(a, members) != 1)
		a++;
	return (double)((a * m + b) % members) < g->param[SHARE] * (double)members;
}

static struct item majority_token(const struct gen *g, size_t j)
{
	size_t groups = param(g, GROUPS), classes = param(g, MAJORITY_CLASSES), first, x, block;
	size_t asking, tokens;
	struct item item;

	majority_need(g, &asking, &tokens);
	first = g->n_k - tokens;
	if (j < first)
		return (struct item){ NONE, NONE };
	x = j - first;
	block = x / groups;
	item = majority_answer(g, (x + choose(g, GEN_ASSIGN_KEY, block, groups)) % groups);
	if (!in_majority(g, item.code, block))
		item.class = (item.class + 1 + choose(g, GEN_KEY, x, classes - 1)) % classes;
	return item;
}

const struct task task_mqar = { MQAR_CLASSES, mqar_need, mqar_token, mqar_answer };
const struct task task_induction = { INDUCTION_CLASSES, induction_need, induction_token, induction_answer };
const struct task task_haystack = { HAYSTACK_CLASSES, haystack_need, haystack_token, haystack_answer };
const struct task task_majority = { MAJORITY_CLASSES, majority_need, majority_token, majority_answer };

/* ---- codes ---------------------------------------------------------------- */

double task_logit(size_t d)
{
	const double pairs = 0x1p26, chance = 1e-3, keys = 0x1p20, margin = 5;
	double t = sqrt(1 - pow(2 * chance / pairs, 2 / ((double)d - 2)));

	return (log(keys) + margin) / (1 - t);
}

/* x = a unit vector times `size`: the blank direction u = (+-1, ...) / sqrt(d),
 * or code number `code`, which is orthogonal to it. */
static void write_code(const struct gen *g, size_t code, double size, float *x)
{
	uint64_t signs = gen_stream(g, GEN_COMMON);
	double along = 0, square = 0, unit = 1 / sqrt((double)g->d);

	if (code != NONE)
		attn_random_normals(g->seed, gen_stream(g, GEN_CENTRE), code * g->d, g->d, x);
	for (size_t c = 0; c < g->d; c++) {
		double u = attn_random_uniform(g->seed, signs, c) < 0.5 ? -unit : unit;

		if (code == NONE)
			x[c] = (float)(size * u);
		else
			along += u * (double)x[c];
	}
	if (code == NONE)
		return;
	for (size_t c = 0; c < g->d; c++) {
		double u = attn_random_uniform(g->seed, signs, c) < 0.5 ? -unit : unit;

		x[c] = (float)((double)x[c] - along * u);
		square += (double)x[c] * (double)x[c];
	}
	for (size_t c = 0; c < g->d; c++)
		x[c] = (float)((double)x[c] * size / sqrt(square));
}

/* Channel c of value code `row`: a row of the cosine transform with random
 * signs. Rows are orthogonal, and as long as d_v normals. */
static double value_code(const struct gen *g, size_t row, size_t c)
{
	const double pi = 3.14159265358979323846;
	double turn = (double)row * ((double)c + 0.5) / (double)g->d_v;
	double sign = attn_random_uniform(g->seed, gen_stream(g, GEN_CENTRE_VALUE), c) < 0.5 ? -1 : 1;

	return row == 0 ? sign : sign * sqrt(2) * cos(pi * turn);
}

bool task_fits(const struct task *task, const struct gen *g, char *error)
{
	size_t asking, tokens, classes = param(g, task->classes);

	task->need(g, &asking, &tokens);
	if (task == &task_induction && param(g, DISTANCE) < param(g, SPAN))
		return fail(error, "induction copies over a distance of at least its span: distance=%zu is below span=%zu",
		            param(g, DISTANCE), param(g, SPAN));
	if (g->n_k < tokens || g->n_q < asking)
		return fail(error, "%s with these parameters takes %zu tokens, of which %zu ask; n = %zu was asked: use n >= %zu "
		            "or smaller parameters", g->name, tokens, asking, g->n_k < tokens ? g->n_k : g->n_q,
		            g->n_k < tokens ? tokens : asking);
	if (g->d < CODE_MIN)
		return fail(error, "the keys of %s are codes of at least %d channels, d = %zu was asked", g->name, CODE_MIN,
		            g->d);
	if (g->d_v <= classes)
		return fail(error, "the %zu classes of %s need as many channels and one more, d_v = %zu was asked; use "
		            "%s:classes=%zu or a larger d_v", classes, g->name, g->d_v, g->name, g->d_v > 2 ? g->d_v - 1 : 2);
	return true;
}

void task_fill(const struct task *task, const struct gen *g, float *q, float *k, float *v)
{
	size_t asking, tokens, blank = param(g, task->classes);
	double size = sqrt(task_logit(g->d) * sqrt((double)g->d));
	const struct item none = { NONE, NONE };

	task->need(g, &asking, &tokens);
	for (size_t j = 0; j < g->n_k; j++) {
		struct item item = j + asking < g->n_k ? task->token(g, j) : none;
		size_t row = item.class == NONE ? blank : item.class;

		write_code(g, item.code, size, k + j * g->d);
		for (size_t c = 0; c < g->d_v; c++)
			v[j * g->d_v + c] = (float)value_code(g, row, c);
	}
	/* A query that does not ask is the key of its own token: so the task is
	 * the same for variants that take their keys from the queries. */
	for (size_t i = 0; i < g->n_q; i++) {
		size_t token = i + g->n_k - g->n_q;
		struct item item = none;

		if (i + asking >= g->n_q)
			item = task->answer(g, i + asking - g->n_q);
		else if (i + g->n_k >= g->n_q)
			item = task->token(g, token);
		write_code(g, item.code, size, q + i * g->d);
	}
}

void task_score(const struct task *task, const struct gen *g, const float *out, struct data_score *score)
{
	size_t asking, tokens, classes = param(g, task->classes);

	task->need(g, &asking, &tokens);
	*score = (struct data_score){ .total = asking, .chance = 1 / (double)classes };
	for (size_t i = 0; i < asking; i++) {
		const float *row = out + (g->n_q - asking + i) * g->d_v;
		size_t best = 0;
		double most = -INFINITY;

		for (size_t class = 0; class < classes; class++) {
			double product = 0;

			for (size_t c = 0; c < g->d_v; c++)
				product += (double)row[c] * value_code(g, class, c);
			if (product > most) {
				most = product;
				best = class;
			}
		}
		score->correct += best == task->answer(g, i).class;
	}
}
