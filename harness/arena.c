/* SPDX-License-Identifier: BSD-3-Clause
 *
 * One region, bump-allocated; guards between the blocks. */
#include "arena.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* The region starts at a multiple of the largest common huge page, so that
 * whether the kernel can use huge pages does not differ from run to run. */
enum { REGION_ALIGN = 2 << 20 };

static size_t padded(size_t bytes)
{
	return (bytes + ARENA_ALIGN - 1) & ~(size_t)(ARENA_ALIGN - 1);
}

size_t arena_room(size_t bytes)
{
	if (bytes > SIZE_MAX / 2)
		return SIZE_MAX;
	return padded(bytes) + 2 * ARENA_GUARD;
}

/* A file that nobody can shorten: reading what was cut off would be fatal. */
static bool make_file(struct arena *a)
{
	a->fd = memfd_create("attnbench", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	return a->fd >= 0 && ftruncate(a->fd, (off_t)a->map_bytes) == 0 &&
	       fcntl(a->fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0;
}

static bool create(struct arena *a, size_t capacity, bool shared)
{
	*a = (struct arena){ .capacity = capacity, .shared = shared, .fd = -1 };
	if (capacity > SIZE_MAX / 2) {
		snprintf(a->message, sizeof a->message,
		         "a region of %zu bytes cannot be addressed", capacity);
		return false;
	}
	a->map_bytes = capacity + REGION_ALIGN;
	void *map = MAP_FAILED;
	if (!shared || make_file(a))
		map = mmap(NULL, a->map_bytes, PROT_READ | PROT_WRITE,
		           shared ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS, a->fd, 0);
	if (map == MAP_FAILED) {
		snprintf(a->message, sizeof a->message,
		         "the system refused %zu bytes for the arena: %s", a->map_bytes,
		         strerror(errno));
		a->map_bytes = 0;
		return false;
	}
	a->map = map;
	a->base = a->map + (REGION_ALIGN - (uintptr_t)map % REGION_ALIGN) % REGION_ALIGN;
	return true;
}

void arena_huge_pages(struct arena *a)
{
	/* A kernel without them says no, and that is that. */
	madvise(a->base, a->capacity, MADV_HUGEPAGE);
}

bool arena_create(struct arena *a, size_t capacity)
{
	return create(a, capacity, false);
}

bool arena_create_shared(struct arena *a, size_t capacity)
{
	return create(a, capacity, true);
}

void arena_destroy(struct arena *a)
{
	if (a->map)
		munmap(a->map, a->map_bytes);
	if (a->shared && a->fd >= 0)
		close(a->fd);
	free(a->block);
	*a = (struct arena){ 0 };
}

/* Poison by absolute address: the pattern does not depend on where a zone
 * starts, so a zone of odd length is filled and checked by the same rule. */
static unsigned char poison_at(const unsigned char *p)
{
	return (uintptr_t)p & 1 ? ARENA_POISON >> 8 : ARENA_POISON & 0xff;
}

static void poison(unsigned char *from, const unsigned char *to)
{
	for (; from < to; from++)
		*from = poison_at(from);
}

static bool room_for_block(struct arena *a)
{
	if (a->blocks < a->room)
		return true;
	size_t room = a->room ? 2 * a->room : 16;
	struct arena_block *block = realloc(a->block, room * sizeof *block);
	if (!block)
		return false;
	a->block = block;
	a->room = room;
	return true;
}

void *arena_alloc(struct arena *a, const char *name, size_t bytes)
{
	size_t need = arena_room(bytes);

	a->count++;
	if (a->count == a->fail_at || need > a->capacity - a->filled || !room_for_block(a)) {
		snprintf(a->message, sizeof a->message,
		         "%zu bytes for %s refused: %zu of %zu bytes of the arena are taken",
		         bytes, name, a->filled, a->capacity);
		return NULL;
	}
	unsigned char *data = a->base + a->filled + ARENA_GUARD;
	a->block[a->blocks++] = (struct arena_block){ name, data, bytes, true };
	a->filled += need;
	a->live += padded(bytes);
	if (a->live > a->peak)
		a->peak = a->live;
	poison(data - ARENA_GUARD, data);
	poison(data + bytes, data + padded(bytes) + ARENA_GUARD);
	return data;
}

static struct arena_block *find(const struct arena *a, const void *data)
{
	for (size_t i = 0; i < a->blocks; i++)
		if (a->block[i].data == data)
			return &a->block[i];
	return NULL;
}

void arena_discard(struct arena *a, void *data)
{
	const struct arena_block *b = find(a, data);
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	if (!b)
		return;
	uintptr_t from = ((uintptr_t)b->data + page - 1) / page * page;
	uintptr_t to = ((uintptr_t)b->data + b->bytes) / page * page;
	if (from < to)
		madvise((void *)from, to - from, MADV_DONTNEED);
}

void arena_free(struct arena *a, void *data)
{
	struct arena_block *b = find(a, data);

	if (!b || !b->used)
		return;
	arena_discard(a, data);
	b->used = false;
	a->live -= padded(b->bytes);
	while (a->blocks > 0 && !a->block[a->blocks - 1].used)
		a->filled -= arena_room(a->block[--a->blocks].bytes);
}

void arena_poison(struct arena *a, void *data)
{
	const struct arena_block *b = find(a, data);

	if (b)
		poison(b->data, b->data + b->bytes);
}

bool arena_resident(const struct arena *a, const void *data, size_t *bytes)
{
	enum { PAGES = 4096 };
	unsigned char in[PAGES];
	const struct arena_block *b = find(a, data);
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	*bytes = 0;
	if (!b)
		return false;
	uintptr_t from = (uintptr_t)b->data, end = from + b->bytes;
	for (uintptr_t at = from / page * page; at < end; at += PAGES * page) {
		size_t pages = (end - at + page - 1) / page;
		pages = pages < PAGES ? pages : PAGES;
		if (mincore((void *)at, pages * page, in))
			return false;
		for (size_t i = 0; i < pages; i++) {
			uintptr_t lo = at + i * page, hi = lo + page;
			lo = lo > from ? lo : from;
			hi = hi < end ? hi : end;
			*bytes += in[i] & 1 ? hi - lo : 0;
		}
	}
	return true;
}

/* Counts the bytes of [from, to) that lost the poison; *first gets the first. */
static size_t damage(const unsigned char *from, const unsigned char *to,
                     const unsigned char **first)
{
	size_t bytes = 0;

	for (; from < to; from++) {
		if (*from != poison_at(from)) {
			if (bytes++ == 0)
				*first = from;
		}
	}
	return bytes;
}

bool arena_check(struct arena *a)
{
	for (size_t i = 0; i < a->blocks; i++) {
		const struct arena_block *b = &a->block[i];
		const unsigned char *end = b->data + b->bytes, *first = NULL;
		size_t before = damage(b->data - ARENA_GUARD, b->data, &first);
		if (before > 0) {
			snprintf(a->message, sizeof a->message,
			         "wrote %zu bytes before the start of %s, the first at offset -%zu",
			         before, b->name, (size_t)(b->data - first));
			return false;
		}
		size_t after = damage(end, b->data + padded(b->bytes) + ARENA_GUARD, &first);
		if (after > 0) {
			snprintf(a->message, sizeof a->message,
			         "wrote %zu bytes past the end of %s, the first at offset +%zu",
			         after, b->name, (size_t)(first - end));
			return false;
		}
	}
	return true;
}
