/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Messages between a worker and its parent: magic, kind, length, CRC-32 and a
 * payload. A reader tells a whole message from a torn or foreign one.
 */
#ifndef HARNESS_FRAME_H
#define HARNESS_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { FRAME_HEADER = 16, FRAME_PAYLOAD_MAX = 1 << 20 };

struct frame {
	uint32_t kind;
	size_t length;
	const unsigned char *payload; /* inside the buffer that was parsed */
};

enum frame_result { FRAME_WHOLE, FRAME_TORN, FRAME_FOREIGN };

/* The CRC-32 of zlib and Ethernet: polynomial 0xEDB88320, reflected. Start
 * with crc = 0; chain by passing the last result. */
uint32_t frame_crc32(uint32_t crc, const void *data, size_t length);

/* Writes one message in full, through interruptions and short writes. False:
 * errno says why. */
bool frame_write(int fd, uint32_t kind, const void *payload, size_t length);

/* The first message of buf[0 .. have). FRAME_TORN: more bytes are needed.
 * FRAME_FOREIGN: no message of ours starts here, or it was damaged. */
enum frame_result frame_parse(const unsigned char *buf, size_t have, struct frame *frame);

/* Reads one message of this kind and length, blocking. NULL, or why not. */
const char *frame_read(int fd, uint32_t kind, void *payload, size_t length);

#endif
