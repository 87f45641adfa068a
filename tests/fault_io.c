/* SPDX-License-Identifier: BSD-3-Clause
 *
 * To be preloaded: one call of the C library on files below FAULT_DIR fails.
 *
 *     FAULT_CALL   write, fsync, rename, ftruncate, open, clock or sgemm
 *     FAULT_NTH    which one, from 1; 0: every one; 3+: the third and all after it
 *     FAULT_ERRNO  its number; 0: a short write
 *     FAULT_MARK   a file that is made once the fault has happened
 *
 * clock: the clock that runs through a suspend jumps by an hour, once.
 * sgemm: products of matrices are wrong by a little.
 */
#include <cblas.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static _Atomic long seen;

static bool below(const char *path)
{
	const char *dir = getenv("FAULT_DIR");

	return dir && !strncmp(path, dir, strlen(dir));
}

static bool file_below(int fd)
{
	char link[64], path[PATH_MAX];

	snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
	ssize_t n = readlink(link, path, sizeof path - 1);
	path[n > 0 ? n : 0] = '\0';
	return below(path);
}

static int (*real_open(void))(const char *, int, ...)
{
	static int (*next)(const char *, int, ...);

	if (!next)
		*(void **)&next = dlsym(RTLD_NEXT, "open");
	return next;
}

/* Is it the turn of this call? */
static bool strikes(const char *call)
{
	const char *wanted = getenv("FAULT_CALL"), *nth = getenv("FAULT_NTH"), *mark = getenv("FAULT_MARK");

	if (!wanted || !nth || strcmp(wanted, call))
		return false;
	long n = atol(nth), turn = atomic_fetch_add(&seen, 1) + 1;
	if (strchr(nth, '+') ? turn < n : n && turn != n)
		return false;
	if (mark)
		close(real_open()(mark, O_WRONLY | O_CREAT | O_CLOEXEC, 0666));
	return true;
}

static int number(void)
{
	const char *text = getenv("FAULT_ERRNO");

	return text ? atoi(text) : EIO;
}

#define NEXT(type, name, ...) \
	static type (*next)(__VA_ARGS__); \
	if (!next) \
		*(void **)&next = dlsym(RTLD_NEXT, #name)

ssize_t write(int fd, const void *data, size_t bytes)
{
	NEXT(ssize_t, write, int, const void *, size_t);
	if (file_below(fd) && strikes("write")) {
		errno = number();
		return errno ? -1 : next(fd, data, bytes / 2);
	}
	return next(fd, data, bytes);
}

int fsync(int fd)
{
	NEXT(int, fsync, int);
	if (file_below(fd) && strikes("fsync")) {
		errno = number();
		return -1;
	}
	return next(fd);
}

int ftruncate(int fd, off_t length)
{
	NEXT(int, ftruncate, int, off_t);
	if (file_below(fd) && strikes("ftruncate")) {
		errno = number();
		return -1;
	}
	return next(fd, length);
}

int rename(const char *from, const char *to)
{
	NEXT(int, rename, const char *, const char *);
	if (below(to) && strikes("rename")) {
		errno = number();
		return -1;
	}
	return next(from, to);
}

int open(const char *path, int flags, ...)
{
	va_list args;

	va_start(args, flags);
	mode_t mode = flags & O_CREAT ? va_arg(args, mode_t) : 0;
	va_end(args);
	if (below(path) && strikes("open")) {
		errno = number();
		return -1;
	}
	return real_open()(path, flags, mode);
}

int clock_gettime(clockid_t id, struct timespec *t)
{
	static bool jumped;

	NEXT(int, clock_gettime, clockid_t, struct timespec *);
	int result = next(id, t);
	if (id == CLOCK_BOOTTIME) {
		jumped = strikes("clock") || jumped;
		t->tv_sec += jumped ? 3600 : 0;
	}
	return result;
}

void cblas_sgemm(CBLAS_LAYOUT order, CBLAS_TRANSPOSE ta, CBLAS_TRANSPOSE tb, blasint m, blasint n, blasint k,
                 float alpha, const float *a, blasint lda, const float *b, blasint ldb, float beta, float *c,
                 blasint ldc)
{
	NEXT(void, cblas_sgemm, CBLAS_LAYOUT, CBLAS_TRANSPOSE, CBLAS_TRANSPOSE, blasint, blasint, blasint, float,
	     const float *, blasint, const float *, blasint, float, float *, blasint);
	next(order, ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
	if (strikes("sgemm") && m > 0 && n > 0)
		c[0] += 0.01f;
}
