/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Sweep files: INI, read by libinih. Every key is a long option.
 *
 *     profile = quick          ; the top of the file and [sweep] hold for all
 *     d = 64
 *
 *     [short]                  ; each further section is a group of cells:
 *     variant = full, flash,   ; its lists are crossed, every value of one
 *         performer:m=128|256  ; with every value of the others
 *     n = 256..1024:x2
 *
 * An indented line goes on with the list above it, and a repeated key adds to
 * its list. What a group does not say is taken from the top of the file; what
 * the command line says replaces both.
 */
#ifndef HARNESS_SWEEP_H
#define HARNESS_SWEEP_H

#include "options.h"

enum { SWEEP_FILE_MAX = 1 << 20 };

/* Reads the file into config->sweep_text and its options into config. */
bool sweep_read(struct config *config, const char *path, char *error);

/* The options in config->sweep_text; config->sweep_path names it in messages. */
bool sweep_parse(struct config *config, char *error);

#endif
