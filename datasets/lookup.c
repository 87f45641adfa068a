/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Looking names up: see lookup.h. data_real_dir() is here too.
 */
#include "lookup.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "data.h"

static size_t least(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* Insertions, deletions and substitutions that turn a into b (Levenshtein),
 * row by row; names longer than the row count as far from everything. */
static size_t edit_distance(const char *a, const char *b)
{
	size_t row[LOOKUP_NAME_MAX], n = strlen(b);

	if (n >= LOOKUP_NAME_MAX || strlen(a) >= LOOKUP_NAME_MAX)
		return LOOKUP_NAME_MAX;
	for (size_t j = 0; j <= n; j++)
		row[j] = j;
	for (size_t i = 1; a[i - 1]; i++) {
		size_t diagonal = row[0];

		row[0] = i;
		for (size_t j = 1; j <= n; j++) {
			size_t above = row[j];

			row[j] = least(diagonal + (a[i - 1] != b[j - 1]), 1 + least(above, row[j - 1]));
			diagonal = above;
		}
	}
	return row[n];
}

struct guess guess_start(const char *word)
{
	/* A third of the word may be wrong, and one letter of a short one. */
	struct guess guess = { .word = word, .edits = 2 + strlen(word) / 3 };

	return guess;
}

void guess_offer(struct guess *guess, const char *name)
{
	size_t edits = edit_distance(guess->word, name);

	/* Replacing every letter is no resemblance. */
	if (edits < guess->edits && edits < strlen(name)) {
		guess->edits = edits;
		snprintf(guess->best, sizeof(guess->best), "%s", name);
	}
}

void lookup_append(char *list, size_t size, const char *name)
{
	size_t used = strlen(list);

	if (used + strlen(name) + 3 <= size)
		snprintf(list + used, size - used, "%s%s", used ? ", " : "", name);
}

static bool is_dir(const char *path)
{
	struct stat status;

	return stat(path, &status) == 0 && S_ISDIR(status.st_mode);
}

void lookup_samples(struct guess *guess, char *list, size_t size)
{
	const char *place = data_real_dir();
	char path[DATA_PATH_MAX + 256];
	struct dirent *entry;
	DIR *dir = opendir(place);

	if (!dir)
		return;
	while ((entry = readdir(dir))) {
		snprintf(path, sizeof(path), "%s/%s", place, entry->d_name);
		if (entry->d_name[0] == '.' || !is_dir(path))
			continue;
		guess_offer(guess, entry->d_name);
		lookup_append(list, size, entry->d_name);
	}
	closedir(dir);
}

/* Cuts the last part of a path off; false at the root. */
static bool parent(char *path)
{
	char *slash = strrchr(path, '/');

	if (!slash || slash == path)
		return false;
	*slash = '\0';
	return true;
}

const char *data_real_dir(void)
{
	static _Thread_local char found[DATA_PATH_MAX];
	const char *given = getenv("ATTNBENCH_DATA");
	char base[DATA_PATH_MAX - 32], up[DATA_PATH_MAX - 32];
	ssize_t length;

	if (given && given[0]) {
		snprintf(found, sizeof(found), "%s", given);
		return found;
	}
	length = readlink("/proc/self/exe", base, sizeof(base) - 1);
	base[length > 0 ? length : 0] = '\0';
	if (!parent(base))
		strcpy(base, ".");
	strcpy(up, base);
	do {
		snprintf(found, sizeof(found), "%s/datasets/real", up);
		if (is_dir(found))
			return found;
	} while (parent(up));
	snprintf(found, sizeof(found), "%s/../share/attnbench/real", base);
	if (!is_dir(found))
		snprintf(found, sizeof(found), "%s/datasets/real", base);
	return found;
}
