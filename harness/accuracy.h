/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What the accuracy pass needs beside the call itself.
 */
#ifndef HARNESS_ACCURACY_H
#define HARNESS_ACCURACY_H

#include <stddef.h>

#include "cell.h"

/* Bytes for exact attention and for the inputs of the definition in double;
 * SIZE_MAX if that overflows. */
size_t accuracy_bytes(const struct cell *cell);

#endif
