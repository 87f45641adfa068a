/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What this program was built from and with.
 */
#ifndef HARNESS_BUILD_H
#define HARNESS_BUILD_H

#include <stdbool.h>

struct build {
	const char *compiler, *flags;
	const char *sanitizers; /* "" for none */
	char program_hash[17];  /* of the file of this program */
	char commit[65];        /* of the sources around it; "": not known */
	bool dirty;             /* they differ from that commit */
};

void build_read(struct build *build);

#endif
