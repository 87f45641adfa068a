/* SPDX-License-Identifier: BSD-3-Clause
 *
 * One file a key: a header with the key in full, then the pieces. */
#include "cache.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "file.h"
#include "hash.h"

struct header {
	char magic[8];
	uint64_t bytes, sum; /* of all pieces */
	char key[CACHE_KEY_MAX];
};

static const char magic[8] = "attncch";

bool cache_key(char key[CACHE_KEY_MAX], const char *format, ...)
{
	struct stat exe;
	va_list args;

	memset(key, 0, CACHE_KEY_MAX);
	if (stat("/proc/self/exe", &exe))
		return false;
	int n = snprintf(key, CACHE_KEY_MAX, "%ju:%ju:%jd:%jd.%09ld ", (uintmax_t)exe.st_dev,
	                 (uintmax_t)exe.st_ino, (intmax_t)exe.st_size,
	                 (intmax_t)exe.st_mtim.tv_sec, exe.st_mtim.tv_nsec);
	va_start(args, format);
	int m = vsnprintf(key + n, (size_t)(CACHE_KEY_MAX - n), format, args);
	va_end(args);
	return m >= 0 && m < CACHE_KEY_MAX - n;
}

static bool file_name(char path[PATH_MAX], const char *dir, const char *key, const char *suffix)
{
	int n = snprintf(path, PATH_MAX, "%s/%016" PRIx64 "%s", dir,
	                 hash_memory(0, key, strlen(key)), suffix);
	return n > 0 && n < PATH_MAX;
}

static bool read_all(int fd, void *data, size_t bytes)
{
	char *at = data;

	while (bytes > 0) {
		ssize_t n = read(fd, at, bytes);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		at += n;
		bytes -= (size_t)n;
	}
	return true;
}

static uint64_t total(const struct cache_piece *piece, size_t pieces)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < pieces; i++)
		bytes += piece[i].bytes;
	return bytes;
}

static uint64_t sum(const struct cache_piece *piece, size_t pieces)
{
	uint64_t h = 0;

	for (size_t i = 0; i < pieces; i++)
		h = hash_memory(h, piece[i].data, piece[i].bytes);
	return h;
}

bool cache_load(const char *dir, const char *key, const struct cache_piece *piece, size_t pieces)
{
	char path[PATH_MAX], more;
	struct header h;

	if (!dir[0] || !file_name(path, dir, key, ""))
		return false;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	bool ok = read_all(fd, &h, sizeof h) && !memcmp(h.magic, magic, sizeof magic) &&
	          h.bytes == total(piece, pieces) && !memcmp(h.key, key, sizeof h.key);
	for (size_t i = 0; ok && i < pieces; i++)
		ok = read_all(fd, piece[i].data, piece[i].bytes);
	ok = ok && !read_all(fd, &more, 1) && sum(piece, pieces) == h.sum;
	close(fd);
	return ok;
}

void cache_store(const char *dir, const char *key, const struct cache_piece *piece, size_t pieces)
{
	char path[PATH_MAX], new[PATH_MAX], suffix[32];
	struct header h = { .bytes = total(piece, pieces), .sum = sum(piece, pieces) };

	snprintf(suffix, sizeof suffix, ".%d", (int)getpid());
	if (!dir[0] || !file_name(path, dir, key, "") || !file_name(new, dir, key, suffix))
		return;
	memcpy(h.magic, magic, sizeof magic);
	memcpy(h.key, key, sizeof h.key);
	int fd = open(new, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return;
	bool ok = write_all(fd, &h, sizeof h);
	for (size_t i = 0; ok && i < pieces; i++)
		ok = write_all(fd, piece[i].data, piece[i].bytes);
	ok = close(fd) == 0 && ok && rename(new, path) == 0;
	if (!ok)
		unlink(new);
}
