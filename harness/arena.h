/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The memory of one worker: a single mapped region from which q, k, v, out and
 * all that a variant works in are taken. Each block lies between two guard
 * zones, so that what is written out of bounds is found and named, and the
 * bytes in use are known exactly. Pages that nobody touches stay unmapped.
 *
 *     capacity   sum of arena_room(bytes) over all blocks
 *     live       sum of the blocks in use, each rounded up to ARENA_ALIGN
 *     peak       the largest value that live had
 */
#ifndef HARNESS_ARENA_H
#define HARNESS_ARENA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A guard is an odd number of cache lines, so that blocks whose size is a
 * power of two do not all start at the same offset within a page, where loads
 * and stores of different arrays would be taken for one another. */
enum { ARENA_ALIGN = 64, ARENA_GUARD = 17 * ARENA_ALIGN, ARENA_MESSAGE = 256 };

/* Guards hold this 16-bit pattern: as bf16, f16, float and double a NaN, so
 * that what is read out of bounds shows as well. */
#define ARENA_POISON ((uint16_t)0xfffb)

struct arena_block {
	const char *name; /* for messages; the caller's, not copied */
	unsigned char *data;
	size_t bytes; /* as asked for */
	bool used;
};

struct arena {
	unsigned char *map; /* what mmap() gave */
	size_t map_bytes;
	unsigned char *base; /* aligned within it */
	size_t capacity, filled;
	size_t live, peak, count; /* count: blocks ever given out */
	struct arena_block *block;
	size_t blocks, room;
	size_t fail_at; /* tests: the count-th block to refuse, from 1; 0: none */
	bool shared;    /* the region is a file, fd, which others may map */
	int fd;
	char message[ARENA_MESSAGE]; /* why the last call failed */
};

/* Bytes of capacity that a block takes; SIZE_MAX if that overflows. */
size_t arena_room(size_t bytes);

/* False: the system has no such region, message says how much was asked. */
bool arena_create(struct arena *arena, size_t capacity);
/* The same in a file in memory that has no name: map begins at its offset 0. */
bool arena_create_shared(struct arena *arena, size_t capacity);

/* Asks for huge pages, before anything is written: with pages of 4 KiB, whoever
 * streams many megabytes waits for the page walk as much as for memory. */
void arena_huge_pages(struct arena *arena);
void arena_destroy(struct arena *arena);

/* ARENA_ALIGN-aligned, or NULL and a message. What it holds is not defined; a
 * block of 0 bytes has an address too, and guards. */
void *arena_alloc(struct arena *arena, const char *name, size_t bytes);

/* Gives a block back; its space is reused once all later blocks are free. */
void arena_free(struct arena *arena, void *data);

/* Fills a block with the poison, so that unwritten output and scratch that is
 * read before it is written are NaN. */
void arena_poison(struct arena *arena, void *data);

/* Gives the whole pages of a block back to the system; they read as zero. */
void arena_discard(struct arena *arena, void *data);

/* Bytes of a block that lie in memory, to the page: those that were touched.
 * False: the system does not tell. */
bool arena_resident(const struct arena *arena, const void *data, size_t *bytes);

/* True if every guard is whole. Else message names block, side and offset. */
bool arena_check(struct arena *arena);

#endif
