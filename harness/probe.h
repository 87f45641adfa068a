/* SPDX-License-Identifier: BSD-3-Clause
 *
 * One head with inputs of its own, in f32 or half precision, for checks: run it on any table and team,
 * change its inputs, run it again. Rows are longer than they need be and the
 * memory around every array is NaN or a canary, so that what is read or
 * written outside a matrix shows in the result.
 */
#ifndef HARNESS_PROBE_H
#define HARNESS_PROBE_H

#include "../attention/attn.h"

struct team;

struct probe {
	const struct attn_variant *variant;
	struct attn_shape shape;
	double arg[ATTN_MAX_PARAMS]; /* resolved */
	size_t ldq, ldk, ldv, ldo;
	float *q, *k, *v; /* n_q x ldq ...: of a half type, numbers that it holds exactly */
	float *lse;       /* n_q, of the last run */
	void *state;
	float *block; /* owns all of the above */
};

/* Gaussian inputs whose logits have standard deviation `sigma`. arg may hold
 * ATTN_AUTO. False: the variant refuses, *why says why. */
bool probe_create(struct probe *p, const struct attn_variant *variant, const double *arg,
                  const struct attn_shape *shape, double sigma, uint64_t seed, const char **why);
void probe_destroy(struct probe *p);

/* v = the identity (d_v == n_k), so that out is the attention matrix. */
void probe_identity(struct probe *p);

/* Rounds q, k and v to what `type` holds, and runs in that type from now on. */
void probe_set_type(struct probe *p, enum attn_type type);

/* out: n_q x d_v, dense. False: wrote out of bounds; memory is poisoned with
 * NaN before, so that nothing can be read before it is written. */
bool probe_run(struct probe *p, const struct kern *kern, struct team *team, float *out);

/* The definition in double, all rows, dense. */
void probe_oracle(const struct probe *p, double *out);

/* |x - y|_F / |y|_F; 0 / 0 is 0. A NaN anywhere gives a NaN. */
double probe_distance(const float *x, const float *y, size_t n);
double probe_error(const float *x, const double *y, size_t n);

#endif
