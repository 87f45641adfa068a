/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The prefix of /proc and /sys, and small files below it. */
#include "sysroot.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static char root[SYSROOT_MAX];

bool sysroot_set(const char *path)
{
	if (!path)
		path = "";
	if (strlen(path) >= sizeof root)
		return false;
	strcpy(root, path);
	return true;
}

const char *sysroot(void)
{
	return root;
}

__attribute__((format(printf, 2, 0)))
static bool join(char out[SYSROOT_PATH_MAX], const char *format, va_list args)
{
	size_t at = strlen(root);
	memcpy(out, root, at);
	int n = vsnprintf(out + at, SYSROOT_PATH_MAX - at, format, args);
	return n >= 0 && (size_t)n < SYSROOT_PATH_MAX - at;
}

bool sysroot_path(char out[SYSROOT_PATH_MAX], const char *format, ...)
{
	va_list args;
	va_start(args, format);
	bool ok = join(out, format, args);
	va_end(args);
	return ok;
}

const char *sysroot_read(char *text, size_t size, const char *format, ...)
{
	char path[SYSROOT_PATH_MAX];
	va_list args;
	va_start(args, format);
	bool ok = join(path, format, args);
	va_end(args);
	if (!ok)
		return "path too long";

	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return strerror(errno);
	const char *why = NULL;
	size_t have = 0;
	while (have < size - 1) {
		ssize_t n = read(fd, text + have, size - 1 - have);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			why = strerror(errno);
		if (n <= 0)
			break;
		have += (size_t)n;
	}
	text[have] = '\0';
	close(fd);
	return why;
}
