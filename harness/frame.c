/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Framing. The header is four words in the byte order of the machine: both
 * ends are the same program on the same machine. */
#include "frame.h"
#include "file.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

enum { MAGIC = 0x316e7461 }; /* "atn1" */

struct header {
	uint32_t magic, kind, length, crc;
};

_Static_assert(sizeof(struct header) == FRAME_HEADER, "header without padding");

uint32_t frame_crc32(uint32_t crc, const void *data, size_t length)
{
	/* Remainders of the 16 values of a nibble: 64 bytes of table. */
	static const uint32_t table[16] = {
		0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac, 0x76dc4190, 0x6b6b51f4,
		0x4db26158, 0x5005713c, 0xedb88320, 0xf00f9344, 0xd6d6a3e8, 0xcb61b38c,
		0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c,
	};
	const unsigned char *byte = data;

	crc = ~crc;
	for (size_t i = 0; i < length; i++) {
		crc ^= byte[i];
		crc = crc >> 4 ^ table[crc & 15];
		crc = crc >> 4 ^ table[crc & 15];
	}
	return ~crc;
}

static uint32_t checksum(uint32_t kind, const void *payload, size_t length)
{
	return frame_crc32(frame_crc32(0, &kind, sizeof kind), payload, length);
}

bool frame_write(int fd, uint32_t kind, const void *payload, size_t length)
{
	unsigned char small[4096];

	if (length > FRAME_PAYLOAD_MAX) {
		errno = EMSGSIZE;
		return false;
	}
	struct header h = { MAGIC, kind, (uint32_t)length, checksum(kind, payload, length) };
	if (length > sizeof small - sizeof h)
		return write_all(fd, &h, sizeof h) && write_all(fd, payload, length);
	/* At most PIPE_BUF bytes in one call: a pipe takes it whole. */
	memcpy(small, &h, sizeof h);
	if (length > 0)
		memcpy(small + sizeof h, payload, length);
	return write_all(fd, small, sizeof h + length);
}

enum frame_result frame_parse(const unsigned char *buf, size_t have, struct frame *frame)
{
	static const uint32_t magic = MAGIC;
	struct header h;

	if (memcmp(buf, &magic, have < sizeof magic ? have : sizeof magic) != 0)
		return FRAME_FOREIGN;
	if (have < sizeof h)
		return FRAME_TORN;
	memcpy(&h, buf, sizeof h);
	if (h.length > FRAME_PAYLOAD_MAX)
		return FRAME_FOREIGN;
	if (have - sizeof h < h.length)
		return FRAME_TORN;
	if (checksum(h.kind, buf + sizeof h, h.length) != h.crc)
		return FRAME_FOREIGN;
	*frame = (struct frame){ h.kind, h.length, buf + sizeof h };
	return FRAME_WHOLE;
}

/* NULL, or why not; a clean end of file before the first byte included. */
static const char *read_all(int fd, void *data, size_t length)
{
	unsigned char *byte = data;

	while (length > 0) {
		ssize_t n = read(fd, byte, length);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return strerror(errno);
		if (n == 0)
			return "the message ends early";
		byte += n;
		length -= (size_t)n;
	}
	return NULL;
}

const char *frame_read(int fd, uint32_t kind, void *payload, size_t length)
{
	struct header h;
	const char *why = read_all(fd, &h, sizeof h);

	if (why)
		return why;
	if (h.magic != MAGIC || h.kind != kind)
		return "not a message of this program";
	if (h.length != length)
		return "a message of another version of this program";
	why = read_all(fd, payload, length);
	if (!why && checksum(kind, payload, length) != h.crc)
		return "the message is damaged";
	return why;
}
