/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The one way to inputs: parse, format, check, fill, score.
 */
#include "data.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "catalogue.h"
#include "fail.h"
#include "lookup.h"
#include "stored.h"

static const struct source *source_of(const struct data *data)
{
	return (const struct source *)data->kind;
}

enum { SPEC_PART_MAX = 64, LABEL_MAX = 160 };

static size_t count_params(const struct data_kind *kind)
{
	size_t n = 0;

	while (n < DATA_MAX_PARAMS && kind->params[n].name)
		n++;
	return n;
}

static bool find_kind(const char *name, const struct data_kind **kind, char *error)
{
	struct guess guess = guess_start(name);
	char known[160] = "";

	for (size_t i = 0; data_kinds[i]; i++) {
		if (strcmp(data_kinds[i]->name, name) == 0) {
			*kind = data_kinds[i];
			return true;
		}
		guess_offer(&guess, data_kinds[i]->name);
		lookup_append(known, sizeof(known), data_kinds[i]->name);
	}
	if (guess.best[0])
		return fail(error, "unknown input '%s'; did you mean '%s'? Inputs are: %s", name, guess.best, known);
	return fail(error, "unknown input '%s'; inputs are: %s", name, known);
}

/* A decimal number, nothing before or after it, finite. */
static bool parse_number(const char *text, double *value)
{
	char *end;

	if (text[0] == '\0' || text[strspn(text, "0123456789+-.eE")] != '\0')
		return false;
	*value = strtod(text, &end);
	return *end == '\0' && isfinite(*value);
}

/* "name=value" into its place in data->param. */
static bool parse_param(const char *text, struct data *data, bool seen[DATA_MAX_PARAMS], char *error)
{
	const struct data_kind *kind = data->kind;
	struct guess guess;
	char name[SPEC_PART_MAX], known[96] = "";
	size_t length = strcspn(text, "="), n = count_params(kind);
	const struct data_param *p;
	double value;

	if (n == 0)
		return fail(error, "%s has no parameters, '%s' was given; write just %s", kind->name, text, kind->name);
	snprintf(name, sizeof(name), "%.*s", (int)length, text);
	guess = guess_start(name);
	for (size_t i = 0; i < n; i++) {
		p = &kind->params[i];
		guess_offer(&guess, p->name);
		lookup_append(known, sizeof(known), p->name);
		if (strcmp(p->name, name) != 0)
			continue;
		if (text[length] != '=')
			return fail(error, "%s has no value; write %s:%s=%g", name, kind->name, name, p->def);
		if (!parse_number(text + length + 1, &value) || (p->integer && value != floor(value)))
			return fail(error, "'%s' is not %s; write for example %s:%s=%g", text,
			            p->integer ? "a whole number" : "a number", kind->name, name, p->def);
		if (value < p->min || value > p->max)
			return fail(error, "%s:%s is out of range; %s goes from %g to %g", kind->name, text, name, p->min,
			            p->max);
		if (seen[i])
			return fail(error, "%s gives %s twice; give it once", kind->name, name);
		seen[i] = true;
		data->param[i] = value + 0.0; /* -0 is 0 */
		return true;
	}
	if (guess.best[0])
		return fail(error, "%s has no parameter '%s'; did you mean '%s'? It has: %s", kind->name, name,
		            guess.best, known);
	return fail(error, "%s has no parameter '%s'; it has: %s", kind->name, name, known);
}

/* The directory behind real:NAME or file:DIR. */
static bool find_place(const char *name, struct data *data, char *error)
{
	const char *root = data_real_dir();
	struct guess guess;
	char known[120] = "";
	bool fits;

	if (name[0] == '\0')
		return fail(error, "%s names no %s; write %s", data->kind->name,
		            data->kind == real_kind ? "sample" : "directory or file",
		            data->kind == real_kind ? "real:NAME" : "file:DIR or file:FILE.safetensors");
	if (data->kind == file_kind) {
		if (snprintf(data->path, sizeof(data->path), "%s", name) >= (int)sizeof(data->path))
			return fail(error, "the path is longer than %d bytes; move it up", DATA_PATH_MAX - 1);
		return true;
	}
	if (strchr(name, '/') || name[0] == '.')
		return fail(error, "real:%s is no name of a sample; for a directory of your own write file:%s", name, name);
	fits = snprintf(data->path, sizeof(data->path), "%s/%s", root, name) < (int)sizeof(data->path);
	if (fits && access(data->path, F_OK) == 0)
		return true;
	guess = guess_start(name);
	lookup_samples(&guess, known, sizeof(known));
	if (guess.best[0])
		return fail(error, "no sample '%s' in %s; did you mean 'real:%s'?", name, root, guess.best);
	if (known[0])
		return fail(error, "no sample '%s' in %s; it holds: %s", name, root, known);
	return fail(error, "no sample '%s': %s holds none; set ATTNBENCH_DATA to the directory datasets/real", name,
	            root);
}

static bool parse_params(const char *rest, struct data *data, char *error)
{
	bool seen[DATA_MAX_PARAMS] = { false };
	char part[SPEC_PART_MAX];

	while (*rest) {
		size_t length = strcspn(rest + 1, ":");

		/* *rest is ':', each turn begins behind one. */
		if (length >= sizeof(part))
			return fail(error, "a parameter of %s is longer than %d bytes", data->kind->name, SPEC_PART_MAX - 1);
		if (length == 0)
			return fail(error, "nothing follows a ':' of %s; write %s:name=value, or no ':'", data->kind->name,
			            data->kind->name);
		memcpy(part, rest + 1, length);
		part[length] = '\0';
		if (!parse_param(part, data, seen, error))
			return false;
		rest += 1 + length;
	}
	return true;
}

bool data_parse(const char *spec, struct data *data, char *error)
{
	size_t length = strcspn(spec, ":");
	struct stored stored;
	char name[SPEC_PART_MAX];

	memset(data, 0, sizeof(*data));
	if (length == 0)
		return fail(error, "the input has no name; write for example gauss:sigma=1");
	snprintf(name, sizeof(name), "%.*s", (int)(length < sizeof(name) ? length : sizeof(name) - 1), spec);
	if (!find_kind(name, &data->kind, error))
		return false;
	for (size_t i = 0; i < count_params(data->kind); i++)
		data->param[i] = data->kind->params[i].def;
	if (source_of(data)->generate)
		return parse_params(spec + length, data, error);
	if (!find_place(spec[length] ? spec + length + 1 : "", data, error) ||
	    !stored_open(data->path, &stored, error))
		return false;
	stored_close(&stored);
	return true;
}

/* The fewest digits that read back as the same number. */
static void format_number(double value, char *out, size_t size)
{
	for (int digits = 1; digits <= 17; digits++) {
		snprintf(out, size, "%.*g", digits, value);
		if (strtod(out, NULL) == value)
			return;
	}
}

/* What the last part of a stored input's path is called in a spec. */
static const char *place_name(const struct data *data)
{
	const char *slash = strrchr(data->path, '/');

	return data->kind == real_kind && slash ? slash + 1 : data->path;
}

bool data_format(const struct data *data, char *out, size_t size)
{
	char number[32];
	int used;

	if (!source_of(data)->generate)
		return snprintf(out, size, "%s:%s", data->kind->name, place_name(data)) < (int)size;
	used = snprintf(out, size, "%s", data->kind->name);
	for (size_t i = 0; i < count_params(data->kind) && used < (int)size; i++) {
		format_number(data->param[i], number, sizeof(number));
		used += snprintf(out + used, size - (size_t)used, ":%s=%s", data->kind->params[i].name, number);
	}
	return used < (int)size;
}

/* What messages call a stored input. */
static void label(const struct data *data, char out[LABEL_MAX])
{
	const char *name = place_name(data);
	size_t length = strlen(name), shown = LABEL_MAX - 16;

	snprintf(out, LABEL_MAX, "%s:%.*s", data->kind->name, LABEL_MAX - 16, length > shown ? name + length - shown : name);
}

static struct gen gen_of(const struct data *data, const struct data_shape *shape, uint64_t seed, size_t batch,
                         size_t head)
{
	return (struct gen){ data->kind->name, data->param, seed, (uint64_t)batch << 32 | head, shape->n_q,
		             shape->n_k, shape->d, shape->d_v };
}

bool data_check(const struct data *data, const struct data_shape *shape, char *error)
{
	const struct source *source = source_of(data);
	struct gen gen = gen_of(data, shape, 0, 0, 0);
	struct stored stored;
	char name[LABEL_MAX];
	bool ok;

	if (shape->batch == 0 || shape->heads == 0 || shape->n_q == 0 || shape->d == 0 || shape->d_v == 0)
		return fail(error, "batch, heads, n_q, d and d_v must be at least 1");
	if (shape->batch > UINT32_MAX || shape->heads > UINT32_MAX)
		return fail(error, "batch and heads must be below 2^32");
	if (source->generate)
		return !source->fits || source->fits(&gen, error);
	if (!stored_open(data->path, &stored, error))
		return false;
	label(data, name);
	ok = stored_fits(&stored, name, shape, error);
	stored_close(&stored);
	return ok;
}

bool data_fill(const struct data *data, const struct data_shape *shape, uint64_t seed, size_t batch, size_t head,
               float *q, float *k, float *v, char *error)
{
	const struct source *source = source_of(data);
	struct gen gen = gen_of(data, shape, seed, batch, head);
	struct stored stored;
	char name[LABEL_MAX];
	bool ok;

	if (batch >= shape->batch || head >= shape->heads)
		return fail(error, "there is no batch %zu, head %zu in a shape of %zu and %zu", batch, head, shape->batch,
		            shape->heads);
	if (source->generate) {
		if (source->fits && !source->fits(&gen, error))
			return false;
		source->generate(&gen, q, k, v);
		return true;
	}
	if (!stored_open(data->path, &stored, error))
		return false;
	label(data, name);
	ok = stored_fits(&stored, name, shape, error) &&
	     stored_fill(&stored, name, shape, batch, head, q, k, v, error);
	stored_close(&stored);
	return ok;
}

bool data_score(const struct data *data, const struct data_shape *shape, uint64_t seed, size_t batch, size_t head,
                const float *out, struct data_score *score, char *error)
{
	const struct task *task = source_of(data)->task;
	struct gen gen = gen_of(data, shape, seed, batch, head);

	if (!task)
		return fail(error, "%s is no task: it has no answers to score", data->kind->name);
	if (!data_check(data, shape, error))
		return false;
	task_score(task, &gen, out, score);
	return true;
}
