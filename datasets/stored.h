/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Inputs on disk: a directory with q.npy, k.npy and v.npy, or a .safetensors
 * file with tensors of these names. Each is [batch, heads, n, d], [heads, n, d]
 * or [n, d]. k and v may have fewer heads than q (grouped queries): then head h
 * of q goes with head h / (heads of q / heads of k).
 */
#ifndef DATASETS_STORED_H
#define DATASETS_STORED_H

#include "data.h"
#include "tensor.h"

struct stored {
	struct tensor q, k, v;
	const char *name[3]; /* of q, k and v, for messages: literals */
	size_t batch, heads, heads_kv;
	size_t n_q, n_k, d, d_v;
};

/* Opens the three and checks them against each other. On failure nothing stays
 * open, and error[DATA_ERROR_MAX] says why. */
bool stored_open(const char *path, struct stored *stored, char *error);
void stored_close(struct stored *stored);

/* Can it give this shape? `name` is what messages call it. */
bool stored_fits(const struct stored *stored, const char *name, const struct data_shape *shape, char *error);

/* The first n_q and n_k tokens of one head of a shape that fits. */
bool stored_fill(const struct stored *stored, const char *name, const struct data_shape *shape, size_t batch,
                 size_t head, float *q, float *k, float *v, char *error);

#endif
