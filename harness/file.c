/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Whole writes. */
#include "file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

bool write_all(int fd, const void *data, size_t bytes)
{
	const char *at = data;

	while (bytes > 0) {
		ssize_t n = write(fd, at, bytes);
		if (n < 0 && errno == EINTR)
			continue;
		if (n == 0)
			errno = ENOSPC;
		if (n <= 0)
			return false;
		at += n;
		bytes -= (size_t)n;
	}
	return true;
}

bool make_directory(const char *path, char *error)
{
	char part[4096];
	struct stat st;

	if (snprintf(part, sizeof part, "%s", path) >= (int)sizeof part)
		return fail(error, "the name of the directory is too long");
	for (char *slash = part + 1; (slash = strchr(slash, '/')); slash++) {
		*slash = '\0';
		if (mkdir(part, 0777) && errno != EEXIST)
			return fail(error, "cannot make the directory %s: %s", part, strerror(errno));
		*slash = '/';
	}
	if (mkdir(part, 0777) && errno != EEXIST)
		return fail(error, "cannot make the directory %s: %s", part, strerror(errno));
	if (stat(part, &st) || !S_ISDIR(st.st_mode))
		return fail(error, "%s is not a directory", part);
	return true;
}

bool read_file(const char *path, struct text *out, char *error)
{
	char some[1 << 16];
	ssize_t n = -1;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	while (fd >= 0 && ((n = read(fd, some, sizeof some)) > 0 || (n < 0 && errno == EINTR)))
		if (n > 0)
			text_add(out, some, (size_t)n);
	bool ok = n == 0 || fail(error, "cannot read %s: %s", path, strerror(errno));
	if (fd >= 0)
		close(fd);
	return ok && (!out->failed || fail(error, "out of memory"));
}

bool replace_file(const char *dir, const char *name, const char *text, size_t len, char *error)
{
	char temporary[4096], final[4096];
	bool ok = false;

	if (snprintf(temporary, sizeof temporary, "%s/.%s.new", dir, name) >= (int)sizeof temporary ||
	    snprintf(final, sizeof final, "%s/%s", dir, name) >= (int)sizeof final)
		return fail(error, "the path of %s is too long", name);
	int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	if (fd >= 0) {
		ok = write_all(fd, text, len) && fsync(fd) == 0;
		ok = close(fd) == 0 && ok;
	}
	ok = ok && rename(temporary, final) == 0;
	if (!ok) {
		fail(error, "cannot write %s: %s; make room or make it writable, and start the same command again",
		     final, strerror(errno));
		unlink(temporary);
		return false;
	}
	int directory = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (directory >= 0) {
		fsync(directory); /* not every file system can; the file is whole anyway */
		close(directory);
	}
	return true;
}
