/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Framing: whole, torn, damaged and foreign messages; short writes and
 * interruptions. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#include "../harness/frame.h"

static void test_crc(void **state)
{
	(void)state;
	/* The check value that every table of CRCs gives. */
	assert_int_equal(frame_crc32(0, "123456789", 9), 0xcbf43926u);
	assert_int_equal(frame_crc32(frame_crc32(0, "1234", 4), "56789", 5), 0xcbf43926u);
	assert_int_equal(frame_crc32(0, "", 0), 0);
}

/* The bytes of one message, by way of a pipe. */
static size_t bytes_of(uint32_t kind, const void *payload, size_t n, unsigned char *buf, size_t room)
{
	int end[2];

	assert_int_equal(pipe(end), 0);
	assert_true(frame_write(end[1], kind, payload, n));
	ssize_t have = read(end[0], buf, room);
	close(end[0]);
	close(end[1]);
	assert_true(have > 0);
	return (size_t)have;
}

static void test_parse(void **state)
{
	(void)state;
	unsigned char buf[256], other[256];
	char payload[100];
	struct frame f;

	for (size_t i = 0; i < sizeof payload; i++)
		payload[i] = (char)(i * 7);
	size_t n = bytes_of(7, payload, sizeof payload, buf, sizeof buf);
	assert_int_equal(n, FRAME_HEADER + sizeof payload);
	for (size_t have = 0; have < n; have++)
		assert_int_equal(frame_parse(buf, have, &f), FRAME_TORN);
	assert_int_equal(frame_parse(buf, n, &f), FRAME_WHOLE);
	assert_int_equal(f.kind, 7);
	assert_int_equal(f.length, sizeof payload);
	assert_memory_equal(f.payload, payload, sizeof payload);
	/* Any flipped bit of any byte is noticed: as damage, or as a length that
	 * has not come yet. */
	for (size_t bit = 0; bit < 8 * n; bit++) {
		memcpy(other, buf, n);
		other[bit / 8] = (unsigned char)(other[bit / 8] ^ 1u << bit % 8);
		assert_int_not_equal(frame_parse(other, n, &f), FRAME_WHOLE);
	}
	assert_int_equal(frame_parse((const unsigned char *)"h", 1, &f), FRAME_FOREIGN);
	assert_int_equal(frame_parse((const unsigned char *)"hello, world, hello", 19, &f),
	                 FRAME_FOREIGN);
	n = bytes_of(1, NULL, 0, buf, sizeof buf);
	assert_int_equal(n, FRAME_HEADER);
	assert_int_equal(frame_parse(buf, n, &f), FRAME_WHOLE);
}

static void test_read_errors(void **state)
{
	(void)state;
	int end[2];
	int value = 0;

	assert_int_equal(pipe(end), 0);
	assert_true(frame_write(end[1], 3, "abcd", 4));
	assert_true(frame_write(end[1], 4, "abcd", 4));
	assert_int_equal(write(end[1], "torn", 4), 4);
	close(end[1]);
	assert_null(frame_read(end[0], 3, &value, 4));
	assert_memory_equal(&value, "abcd", 4);
	assert_non_null(frame_read(end[0], 3, &value, 4)); /* another kind */
	char rest[4];
	assert_int_equal(read(end[0], rest, 4), 4);        /* its payload */
	assert_non_null(frame_read(end[0], 3, &value, 4)); /* torn */
	close(end[0]);
	assert_non_null(frame_read(-1, 3, &value, 4));
	assert_false(frame_write(-1, 3, &value, 4));
	assert_int_equal(errno, EBADF);
	assert_false(frame_write(1, 3, &value, (size_t)FRAME_PAYLOAD_MAX + 1));
}

static void nothing(int signal)
{
	(void)signal;
}

enum { LARGE = 1 << 19 };

static void *reader(void *arg)
{
	unsigned char *got = malloc(LARGE);
	const char *why = got ? frame_read(*(int *)arg, 9, got, LARGE) : "no memory";
	size_t wrong = 0;

	for (size_t i = 0; !why && i < LARGE; i++)
		wrong += got[i] != (unsigned char)(i >> 3);
	free(got);
	return (void *)(uintptr_t)(why || wrong);
}

/* A message larger than the pipe, with a signal every millisecond. */
static void test_interrupted(void **state)
{
	(void)state;
	int end[2];
	pthread_t thread;
	void *failed;
	struct sigaction action = { .sa_handler = nothing }, before;
	struct itimerval often = { { 0, 1000 }, { 0, 1000 } }, off = { 0 };
	unsigned char *sent = malloc(LARGE);

	assert_non_null(sent);
	for (size_t i = 0; i < LARGE; i++)
		sent[i] = (unsigned char)(i >> 3);
	sigaction(SIGALRM, &action, &before);
	setitimer(ITIMER_REAL, &often, NULL);
	assert_int_equal(pipe(end), 0);
	assert_int_equal(pthread_create(&thread, NULL, reader, &end[0]), 0);
	assert_true(frame_write(end[1], 9, sent, LARGE));
	pthread_join(thread, &failed);
	setitimer(ITIMER_REAL, &off, NULL);
	sigaction(SIGALRM, &before, NULL);
	assert_null(failed);
	close(end[0]);
	close(end[1]);
	free(sent);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_crc),
		cmocka_unit_test(test_parse),
		cmocka_unit_test(test_read_errors),
		cmocka_unit_test(test_interrupted),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
