/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The directory in which workers leave inputs and exact results for the next
 * worker, and its end. */
#include "run.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *const places[] = { "/dev/shm", "/tmp" };

/* Removes the files of a directory of ours; it has no directories. Returns the
 * bytes they had. */
static int64_t sweep_files(const char *path, bool remove)
{
	DIR *dir = opendir(path);
	struct dirent *entry;
	struct stat st;
	int64_t bytes = 0;

	while (dir && (entry = readdir(dir))) {
		if (fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) || !S_ISREG(st.st_mode))
			continue;
		bytes += st.st_size;
		if (remove)
			unlinkat(dirfd(dir), entry->d_name, 0);
	}
	if (dir)
		closedir(dir);
	return bytes;
}

/* attnbench-PID-XXXXXX of this user, whose process is gone. */
static void remove_stale(const char *place)
{
	DIR *dir = opendir(place);
	struct dirent *entry;
	struct stat st;
	char path[256];
	long pid;

	while (dir && (entry = readdir(dir))) {
		if (sscanf(entry->d_name, "attnbench-%ld-", &pid) != 1 || pid <= 0)
			continue;
		if (fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) || !S_ISDIR(st.st_mode) ||
		    st.st_uid != geteuid() || kill((pid_t)pid, 0) == 0 || errno != ESRCH)
			continue;
		if (snprintf(path, sizeof path, "%s/%.200s", place, entry->d_name) >= (int)sizeof path)
			continue;
		sweep_files(path, true);
		rmdir(path);
	}
	if (dir)
		closedir(dir);
}

void scratch_make(char path[256])
{
	for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
		remove_stale(places[i]);
		snprintf(path, 256, "%s/attnbench-%ld-XXXXXX", places[i], (long)getpid());
		if (mkdtemp(path))
			return;
	}
	path[0] = '\0';
}

void scratch_limit(const char *path, int64_t bytes)
{
	if (*path && sweep_files(path, false) > bytes)
		sweep_files(path, true);
}

void scratch_remove(char path[256])
{
	if (!*path)
		return;
	sweep_files(path, true);
	rmdir(path);
	path[0] = '\0';
}
