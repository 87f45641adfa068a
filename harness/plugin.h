/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Variants from outside. A shared object that exports
 *
 *     const struct attn_variant *const attn_plugin[] = { &mine, NULL };
 *
 * adds its variants to the built-in ones for the life of the process.
 */
#ifndef HARNESS_PLUGIN_H
#define HARNESS_PLUGIN_H

#include <stdbool.h>
#include <stddef.h>

#include "../attention/attn.h"

enum { PLUGIN_MAX = 16, PLUGIN_PATH_MAX = 1024, PLUGIN_ERROR_MAX = 1536 };

/* False, and a sentence in error, if the object cannot be loaded, was built
 * for another interface, or has a variant that is incomplete or whose name is
 * taken. Loading the same file again is no error. */
bool plugin_load(const char *path, char error[PLUGIN_ERROR_MAX]);

/* The variant of that name, built in or loaded, or NULL. */
const struct attn_variant *variant_find(const char *name);

/* The i-th variant: the built-in ones first, in their order; NULL at the end. */
const struct attn_variant *variant_at(size_t i);

/* The absolute path of the object that a variant came from; NULL: built in. */
const char *variant_plugin(const struct attn_variant *variant);

#endif
