/* SPDX-License-Identifier: BSD-3-Clause
 *
 * External engines: other programs that compute attention, measured as our own
 * variants are. A registry file says how each is started. Asked once, an engine
 * says which variants it has, and each becomes a struct attn_variant called
 * ENGINE/NAME, made after one of ours: that one's parameters, cost model and, if
 * it computes the same thing, definition in double. The lines that are said are
 * described in peers/PROTOCOL.md; what a worker does with an engine, in remote.h.
 *
 *     [torch]
 *     command = ../../.venv-peers-torch/bin/python torch/engine.py
 *     set = NAME=VALUE NAME=VALUE     ; more of the environment
 *     drop = NAME NAME                ; less of it
 *     install = make peers-torch      ; said where it is missing
 *
 * An engine runs in the directory of its registry file.
 */
#ifndef HARNESS_ENGINE_H
#define HARNESS_ENGINE_H

#include "../attention/attn.h"
#include "dialog.h"
#include "text.h"

enum { ENGINE_NAME = 32, ENGINE_IMPL = 96, ENGINE_PATH = 1024, ENGINES_MAX = 32 };
enum { ENGINE_PROTOCOL = 1 };

/* What is known of a variant of an engine; travels to workers as it is. */
struct engine_info {
	char engine[ENGINE_NAME];
	char base[96];          /* our variant that it is made after, with arguments */
	char impl[ENGINE_IMPL]; /* column impl: who computes, with version */
	bool defined;           /* computes what base computes */
	unsigned flags;         /* forms and number formats that it has */
	unsigned params;        /* bit i: it has the i-th parameter of base; the
	                           others keep the values in base */
};

/* Reads a registry file. Names that are taken already stay as they are. */
bool engines_read(const char *path, char *error);

/* The name of the i-th engine in the registries, NULL at the end. The first
 * time this reads the project's own, peers/engines.ini, where it is found. */
const char *engine_name(size_t i);

/* Starts the engine, if that was not done before, and takes down its variants.
 * NULL, or why there are none: it is missing or does not answer. */
const char *engine_ask(const char *name);
const char *engine_command(const char *name);

/* The variant called ENGINE/NAME; asks the engine. NULL: no such engine, or it
 * has no such variant. Of an engine that is missing or does not answer, every
 * name gives a variant, whose cells are refused with the reason. */
const struct attn_variant *engine_variant(const char *name);

/* The i-th variant of the engines asked so far, NULL at the end. */
const struct attn_variant *engine_variant_at(size_t i);

/* NULL for a variant of our own. */
const struct engine_info *engine_info(const struct attn_variant *variant);

/* Why the engine cannot run the variant with these arguments, as asked for;
 * NULL: it may. *broken: the engine is at fault. */
const char *engine_refusal(const struct attn_variant *variant, const double *arg, bool *broken);

/* In a worker: the variant, without asking. registry: the file that names its
 * engine, as engine_registry() gave it. NULL and a sentence in error. */
const struct attn_variant *engine_adopt(const struct engine_info *info, const char *name,
                                        const char *registry, char *error);
const char *engine_registry(const struct attn_variant *variant);

/* Starts the engine for a measurement and takes its greeting; its threads are
 * told to be so many and, if cpus is not NULL, to keep to them. file becomes
 * its descriptor DIALOG_FILE_FD. NULL, or why not; the sentence stays until the
 * next call. */
const char *engine_start(const char *name, unsigned threads, const unsigned *cpus, int file,
                         struct dialog *dialog);

#endif
