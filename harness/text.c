/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Sentences, growing strings, near names, readable numbers. */
#include "text.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

bool fail(char error[ERROR_MAX], const char *format, ...)
{
	va_list args;
	va_start(args, format);
	vsnprintf(error, ERROR_MAX, format, args);
	va_end(args);
	return false;
}

bool fail_at(const struct where *where, size_t offset, char error[ERROR_MAX],
             const char *format, ...)
{
	const char *name = where->name ? where->name : "";
	int n;

	if (where->file)
		n = snprintf(error, ERROR_MAX, "%s:%u:%zu: %s%s", where->file, where->line,
		             where->column + offset, name, *name ? ": " : "");
	else
		n = snprintf(error, ERROR_MAX, "%s%s%s", *name ? "--" : "", name, *name ? ": " : "");
	if (n < 0 || n >= ERROR_MAX)
		return false;
	va_list args;
	va_start(args, format);
	vsnprintf(error + n, (size_t)(ERROR_MAX - n), format, args);
	va_end(args);
	return false;
}

bool grow(void *array, size_t *capacity, size_t need, size_t size)
{
	void *old, *new;

	if (need <= *capacity)
		return true;
	size_t cap = *capacity < 8 ? 8 : *capacity;
	while (cap < need) {
		if (cap > SIZE_MAX / 2)
			return false;
		cap *= 2;
	}
	if (size && cap > SIZE_MAX / size)
		return false;
	memcpy(&old, array, sizeof old); /* a pointer of any type */
	new = realloc(old, cap * size);
	if (!new)
		return false;
	memcpy(array, &new, sizeof new);
	*capacity = cap;
	return true;
}

void text_add(struct text *text, const char *s, size_t len)
{
	if (text->failed || !grow(&text->s, &text->cap, text->len + len + 1, 1)) {
		text->failed = true;
		return;
	}
	if (len)
		memcpy(text->s + text->len, s, len);
	text->len += len;
	text->s[text->len] = '\0';
}

void text_adds(struct text *text, const char *s)
{
	text_add(text, s, strlen(s));
}

void text_printf(struct text *text, const char *format, ...)
{
	va_list args, again;
	va_start(args, format);
	va_copy(again, args);
	int n = vsnprintf(NULL, 0, format, args);
	if (n < 0 || text->failed || !grow(&text->s, &text->cap, text->len + (size_t)n + 1, 1)) {
		text->failed = true;
	} else {
		vsnprintf(text->s + text->len, (size_t)n + 1, format, again);
		text->len += (size_t)n;
	}
	va_end(again);
	va_end(args);
}

void text_free(struct text *text)
{
	free(text->s);
	*text = (struct text){ 0 };
}

/* Optimal string alignment, three rows of the table. Long words are cut: what
 * is compared are names. */
size_t edit_distance(const char *a, const char *b)
{
	enum { MAX = 63 };
	size_t rows[3][MAX + 1];
	size_t *before = rows[0], *above = rows[1], *here = rows[2];
	size_t na = strnlen(a, MAX), nb = strnlen(b, MAX);

	for (size_t j = 0; j <= nb; j++)
		above[j] = j;
	for (size_t i = 1; i <= na; i++) {
		here[0] = i;
		for (size_t j = 1; j <= nb; j++) {
			size_t best = above[j - 1] + (a[i - 1] != b[j - 1]);
			if (above[j] + 1 < best)
				best = above[j] + 1;
			if (here[j - 1] + 1 < best)
				best = here[j - 1] + 1;
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
			    before[j - 2] + 1 < best)
				best = before[j - 2] + 1;
			here[j] = best;
		}
		size_t *spare = before;
		before = above;
		above = here;
		here = spare;
	}
	return above[nb];
}

/* A prefix counts as close: "lin" for "linear-elu". */
void nearest_offer(struct nearest *nearest, const char *name)
{
	size_t n = strlen(nearest->word);
	size_t distance = edit_distance(nearest->word, name);

	if (n >= 3 && !strncmp(nearest->word, name, n))
		distance = 1;
	if (!nearest->best || distance < nearest->distance) {
		nearest->best = name;
		nearest->distance = distance;
	}
}

const char *nearest_hint(const struct nearest *nearest, char hint[HINT_MAX])
{
	size_t limit = strlen(nearest->word) < 4 ? 1 : strlen(nearest->word) / 3 + 1;

	hint[0] = '\0';
	if (nearest->best && nearest->distance <= limit)
		snprintf(hint, HINT_MAX, "; did you mean '%.100s'?", nearest->best);
	return hint;
}

static const char *human(double x, double step, const char *const *units, size_t n_units,
                         char out[HUMAN_MAX])
{
	size_t u = 0;

	if (isnan(x)) {
		out[0] = '\0';
		return out;
	}
	/* 999.5 would round to "1000": take the next unit already. */
	while (u + 1 < n_units && fabs(x) >= (step == 1000 ? 999.5 : 1000.0)) {
		x /= step;
		u++;
	}
	int digits = fabs(x) < 9.995 ? 2 : fabs(x) < 99.95 ? 1 : 0;
	if (x == floor(x) && u == 0)
		digits = 0;
	snprintf(out, HUMAN_MAX, "%.*f%s%s", digits, x, *units[u] ? " " : "", units[u]);
	return out;
}

const char *human_ns(double ns, char out[HUMAN_MAX])
{
	static const char *const units[] = { "ns", "us", "ms", "s" };
	return human(ns, 1000, units, 4, out);
}

const char *human_bytes(double bytes, char out[HUMAN_MAX])
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB" };
	return human(bytes, 1024, units, 5, out);
}

const char *human_clock(double seconds, char out[HUMAN_MAX])
{
	long s = isfinite(seconds) && seconds > 0 && seconds < 1e9 ? lround(seconds) : 0;

	if (s >= 3600)
		snprintf(out, HUMAN_MAX, "%ld:%02ld:%02ld", s / 3600, s / 60 % 60, s % 60);
	else
		snprintf(out, HUMAN_MAX, "%ld:%02ld", s / 60, s % 60);
	return out;
}

uint64_t fnv64(uint64_t hash, const void *data, size_t len)
{
	const unsigned char *p = data;

	for (size_t i = 0; i < len; i++)
		hash = (hash ^ p[i]) * 0x100000001b3u;
	return hash;
}

const char *utc_now(bool compact, char out[UTC_MAX])
{
	struct tm tm;
	time_t now = time(NULL);

	gmtime_r(&now, &tm);
	strftime(out, UTC_MAX, compact ? "%Y%m%dT%H%M%SZ" : "%Y-%m-%dT%H:%M:%SZ", &tm);
	return out;
}
