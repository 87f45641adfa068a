/* SPDX-License-Identifier: BSD-3-Clause
 *
 * raw.csv: lock, read back, cut the torn end, append. */
#include "raw.h"
#include "csv.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

enum { PATH_LEN = 4096, GROUP_MAX = 1024 };

/* A group being read: rows wait until the last one is there. Their texts
 * point into the reader, so a second pass hands them on. */
struct group_state {
	size_t start;      /* offset of its first row */
	int64_t want, have;
	char cell[17], pass[16];
	int64_t round;
};

static bool same_group(const struct group_state *g, const struct raw_row *row)
{
	return !strcmp(g->cell, row->key.cell_id) && !strcmp(g->pass, row->pass) &&
	       g->round == row->round && row->sample == g->have &&
	       row->samples_in_round == g->want;
}

static void begin_group(struct group_state *g, size_t start, const struct raw_row *row)
{
	g->start = start;
	g->have = 0;
	g->want = row->samples_in_round > 1 ? row->samples_in_round : 1;
	g->round = row->round;
	snprintf(g->cell, sizeof g->cell, "%s", row->key.cell_id);
	snprintf(g->pass, sizeof g->pass, "%s", row->pass);
}

/* Length of the whole groups at the start of the text. */
static enum csv_result measure(struct csv_reader *reader, size_t *good, char *error)
{
	struct group_state g = { 0 };
	struct raw_row row;

	*good = reader->at;
	for (;;) {
		size_t start = reader->at;
		enum csv_result got = csv_next(reader, &row);
		if (got == CSV_BAD)
			fail(error, "%s", reader->error);
		if (got != CSV_ROW)
			return got;
		if (g.have == 0) {
			begin_group(&g, start, &row);
			if (g.want > GROUP_MAX || (g.want > 1 && row.sample != 0)) {
				fail(error, "%s: row %zu: a group that does not start with sample 0",
				     reader->name, reader->row);
				return CSV_BAD;
			}
		} else if (!same_group(&g, &row)) {
			fail(error, "%s: row %zu: sample %lld of cell %s is missing", reader->name, reader->row,
			     (long long)g.have, g.cell);
			return CSV_BAD;
		}
		if (++g.have == g.want) {
			g.have = 0;
			*good = reader->at;
		}
	}
}

/* After a power failure a file may be longer than what reached the disk, and
 * the rest of it zero: that is a torn end as well. */
static bool zeros_to_end(const char *data, size_t from, size_t len)
{
	while (from < len && data[from] != '\0')
		from++;
	if (from == len)
		return false;
	while (from < len && data[from] == '\0')
		from++;
	return from == len;
}

/* The start of our header and nothing else, or zeros: a file of ours that was
 * cut off in its first line, not one of somebody else. */
static bool torn_header(const char *data, size_t len)
{
	struct text header = { 0 };

	csv_write_header(&raw_table, &header);
	size_t zeros = len;
	while (zeros > 0 && data[zeros - 1] == '\0')
		zeros--;
	bool torn = !header.failed && zeros <= header.len && !memcmp(data, header.s, zeros);
	text_free(&header);
	return torn;
}

bool raw_parse(const char *name, const char *data, size_t len, bool appendable, raw_row_fn *fn,
               void *user, size_t *good, char *error)
{
	struct csv_reader *reader = malloc(sizeof *reader);
	struct raw_row row;
	bool ok = false;

	*good = 0;
	if (!reader)
		return fail(error, "out of memory");
	enum csv_result got = csv_open(reader, &raw_table, name, data, len);
	if (got != CSV_ROW) {
		ok = len == 0 || torn_header(data, len) ||
		     fail(error, "%s", got == CSV_BAD ? reader->error : "raw.csv: this is no file of ours");
		goto out;
	}
	if (appendable && !csv_complete(reader)) {
		fail(error, "%s has the columns of another version: keep it and start with --fresh, or use "
		     "another --out", name);
		goto out;
	}
	got = measure(reader, good, error);
	if (got == CSV_BAD && !zeros_to_end(data, *good, len))
		goto out;
	csv_open(reader, &raw_table, name, data, len);
	ok = true;
	while (ok && reader->at < *good)
		ok = csv_next(reader, &row) == CSV_ROW && fn(user, &row, error);
out:
	free(reader);
	return ok;
}

/* Maps the file, or *data = NULL for an empty one. */
static bool map_file(int fd, const char **data, size_t *len, char *error)
{
	struct stat st;

	*data = NULL;
	*len = 0;
	if (fstat(fd, &st))
		return fail(error, "raw.csv: %s", strerror(errno));
	if (!S_ISREG(st.st_mode))
		return fail(error, "raw.csv is not a regular file");
	if (st.st_size == 0)
		return true;
	void *map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (map == MAP_FAILED)
		return fail(error, "raw.csv: %s", strerror(errno));
	*data = map;
	*len = (size_t)st.st_size;
	return true;
}

static void unmap(const char *data, size_t len)
{
	if (data)
		munmap((void *)(uintptr_t)data, len);
}

/* The process that holds a flock on this file, from /proc/locks; 0: unknown. */
static long lock_holder(int fd)
{
	struct stat st;
	char line[256];
	long holder = 0;
	FILE *locks = fopen("/proc/locks", "re");

	if (!locks || fstat(fd, &st)) {
		if (locks)
			fclose(locks);
		return 0;
	}
	while (!holder && fgets(line, sizeof line, locks)) {
		unsigned major_id, minor_id;
		unsigned long long inode;
		long pid;
		if (sscanf(line, "%*s FLOCK %*s %*s %ld %x:%x:%llu", &pid, &major_id, &minor_id, &inode) == 4 &&
		    inode == st.st_ino && major_id == major(st.st_dev) && minor_id == minor(st.st_dev))
			holder = pid;
	}
	fclose(locks);
	return holder;
}

static bool aside(const char *path, char *error)
{
	char moved[PATH_LEN + 40], stamp[UTC_MAX];

	utc_now(true, stamp);
	for (int i = 0; i < 1000; i++) {
		snprintf(moved, sizeof moved, i ? "%s.%s.%d" : "%s.%s", path, stamp, i);
		if (renameat2(AT_FDCWD, path, AT_FDCWD, moved, RENAME_NOREPLACE) == 0)
			return true;
		if (errno == EINVAL && access(moved, F_OK) != 0 && rename(path, moved) == 0)
			return true; /* a file system without RENAME_NOREPLACE */
		if (errno != EEXIST)
			break;
	}
	return fail(error, "cannot rename %s: %s", path, strerror(errno));
}

static enum raw_result lock_file(int fd, const char *path, char *error)
{
	if (flock(fd, LOCK_EX | LOCK_NB) == 0)
		return RAW_OK;
	if (errno != EWOULDBLOCK) {
		fail(error, "cannot lock %s: %s", path, strerror(errno));
		return RAW_ERROR;
	}
	long pid = lock_holder(fd);
	if (pid > 0)
		fail(error, "process %ld is already writing to %s; wait for it, or use another --out", pid,
		     path);
	else
		fail(error, "another process is already writing to %s; wait for it, or use another --out",
		     path);
	return RAW_BUSY;
}

static enum raw_result open_locked(struct raw *raw, const char *path, bool fresh, char *error)
{
	for (int attempt = 0; attempt < 2; attempt++) {
		raw->fd = open(path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC, 0666);
		if (raw->fd < 0) {
			fail(error, "cannot open %s: %s", path, strerror(errno));
			return RAW_ERROR;
		}
		enum raw_result locked = lock_file(raw->fd, path, error);
		if (locked != RAW_OK)
			return locked;
		struct stat st;
		if (!fresh || attempt || fstat(raw->fd, &st) || st.st_size == 0)
			return RAW_OK;
		/* Locked, so nobody writes to it: put it away and make a new one. */
		if (!aside(path, error))
			return RAW_ERROR;
		close(raw->fd);
	}
	return RAW_OK;
}

enum raw_result raw_open(struct raw *raw, const char *dir, bool fresh, raw_row_fn *fn, void *user,
                         char *error)
{
	char path[PATH_LEN];
	const char *data = NULL;
	size_t len = 0, good = 0;

	*raw = (struct raw){ .fd = -1 };
	if (snprintf(path, sizeof path, "%s/raw.csv", dir) >= (int)sizeof path) {
		fail(error, "the name of the directory is too long");
		return RAW_ERROR;
	}
	enum raw_result result = open_locked(raw, path, fresh, error);
	if (result != RAW_OK)
		goto out;
	result = RAW_ERROR;
	if (!map_file(raw->fd, &data, &len, error) ||
	    !raw_parse(path, data, len, true, fn, user, &good, error))
		goto out;
	if (good < len && ftruncate(raw->fd, (off_t)good)) {
		fail(error, "cannot cut the torn end off %s: %s", path, strerror(errno));
		goto out;
	}
	raw->size = good;
	raw->torn = len - good;
	result = RAW_OK;
	if (good == 0) {
		csv_write_header(&raw_table, &raw->group);
		if (!raw_append(raw, NULL, 0, error))
			result = RAW_ERROR;
	}
out:
	unmap(data, len);
	if (result != RAW_OK)
		raw_close(raw);
	return result;
}

/* Writes raw->group. A short write is undone, so that the file never ends in
 * part of a group while we live. */
bool raw_append(struct raw *raw, const struct raw_row *rows, size_t n, char *error)
{
	ssize_t wrote;

	for (size_t i = 0; i < n; i++)
		csv_write_row(&raw_table, &rows[i], &raw->group);
	if (raw->group.failed) {
		text_free(&raw->group);
		return fail(error, "out of memory");
	}
	do
		wrote = write(raw->fd, raw->group.s, raw->group.len);
	while (wrote < 0 && errno == EINTR);
	bool whole = wrote >= 0 && (size_t)wrote == raw->group.len;
	if (whole) {
		raw->size += raw->group.len;
	} else {
		fail(error, "cannot write raw.csv: %s; free some space and start the same command again, "
		     "nothing measured so far is lost", wrote < 0 ? strerror(errno) : "the disk is full");
		if (wrote > 0 && ftruncate(raw->fd, (off_t)raw->size))
			fail(error, "cannot write raw.csv, nor cut off what was written of it: %s",
			     strerror(errno));
	}
	raw->group.len = 0;
	return whole;
}

bool raw_sync(struct raw *raw, char *error)
{
	if (fsync(raw->fd) == 0 || errno == EINVAL || errno == EROFS)
		return true; /* a pipe or a file system that does not know it */
	return fail(error, "cannot write raw.csv to the disk: %s; look after the disk and start the same "
	            "command again: what reached it counts", strerror(errno));
}

void raw_close(struct raw *raw)
{
	if (raw->fd >= 0)
		close(raw->fd);
	text_free(&raw->group);
	*raw = (struct raw){ .fd = -1 };
}

bool raw_read(const char *dir, raw_row_fn *fn, void *user, char *error)
{
	char path[PATH_LEN];
	const char *data = NULL;
	size_t len = 0, good;

	snprintf(path, sizeof path, "%s/raw.csv", dir);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return fail(error, "cannot open %s: %s", path, strerror(errno));
	bool ok = map_file(fd, &data, &len, error);
	close(fd);
	ok = ok && raw_parse(path, data, len, false, fn, user, &good, error);
	unmap(data, len);
	return ok;
}
