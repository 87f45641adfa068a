/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Keeping the A/A band. */
#include "band.h"
#include "file.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const double LEAST_MARGIN = 0.01;

bool band_path(const struct machine *m, char path[BAND_PATH_MAX], char *error)
{
	const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
	int n = -1;

	if (cache && cache[0] == '/')
		n = snprintf(path, BAND_PATH_MAX, "%s/attnbench/aa-%s.json", cache, m->host_id);
	else if (home && home[0] == '/')
		n = snprintf(path, BAND_PATH_MAX, "%s/.cache/attnbench/aa-%s.json", home, m->host_id);
	if (n > 0 && n < BAND_PATH_MAX)
		return true;
	path[0] = '\0';
	return fail(error, "there is no place for the A/A band: set HOME or XDG_CACHE_HOME to a directory");
}

json_t *band_json(const struct band *b)
{
	if (isnan(b->share))
		return json_null();
	return json_pack("{s:f s:f s:i s:s s:s}", "band", b->share, "false_share", b->false_share,
	                 "comparisons", (int)b->comparisons, "cell", b->cell, "date", b->date);
}

void band_from_json(const json_t *json, struct band *b)
{
	const json_t *share = json_object_get(json, "band");
	const char *cell = json_string_value(json_object_get(json, "cell"));
	const char *date = json_string_value(json_object_get(json, "date"));

	*b = (struct band){ .share = (double)NAN, .false_share = (double)NAN };
	if (!json_is_number(share) || !(json_number_value(share) >= 0))
		return;
	b->share = json_number_value(share);
	b->false_share = json_number_value(json_object_get(json, "false_share"));
	b->comparisons = (unsigned)json_integer_value(json_object_get(json, "comparisons"));
	snprintf(b->cell, sizeof b->cell, "%s", cell ? cell : "");
	snprintf(b->date, sizeof b->date, "%s", date ? date : "");
}

bool band_store(const struct band *b, const struct machine *m, char *error)
{
	char path[BAND_PATH_MAX];
	bool ok = false;

	if (!band_path(m, path, error))
		return false;
	char *name = strrchr(path, '/');
	*name++ = '\0';
	if (!make_directory(path, error))
		return false;
	json_t *json = band_json(b);
	char *text = json ? json_dumps(json, JSON_INDENT(2) | JSON_REAL_PRECISION(6)) : NULL;
	ok = text ? replace_file(path, name, text, strlen(text), error) : fail(error, "out of memory");
	free(text);
	json_decref(json);
	return ok;
}

void band_load(struct band *b, const struct machine *m)
{
	char path[BAND_PATH_MAX], error[ERROR_MAX];
	json_t *json = band_path(m, path, error) ? json_load_file(path, 0, NULL) : NULL;

	band_from_json(json, b);
	json_decref(json);
}

double band_margin(const struct band *b, double asked)
{
	return asked > 0 ? asked : fmax(LEAST_MARGIN, b->share); /* fmax() passes over NAN */
}
