/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What checks of properties share: verdicts with their words, and the walk over
 * the forms of a variant. */
#ifndef HARNESS_FINDING_H
#define HARNESS_FINDING_H

#include "probe.h"
#include "property.h"

/* Two runs that must agree may differ by what each may be off from the
 * definition, and by rounding of changed inputs: SLACK bounds. */
#define SLACK 8.0

#define ANY_FORM ((unsigned)(ATTN_CAUSAL | ATTN_BIDIRECTIONAL))

struct finding finding_pass(void);
struct finding finding_none(const char *why);
struct finding finding_fail(const char *why);
__attribute__((format(printf, 2, 3)))
struct finding finding_fails(const struct attn_shape *s, const char *format, ...);

/* Flags and bound (f32) of the subject with its arguments. */
bool subject_has(const struct subject *s, unsigned flag);
double subject_bound(const struct subject *s);

struct attn_shape probe_shape(size_t n_q, size_t n_k, size_t d, size_t d_v, bool causal);
size_t probe_elements(const struct probe *p); /* of the output */

/* A probe of the shape, or, for a variant that needs d = d_v, with d_v for d. */
bool subject_probe(const struct subject *s, struct attn_shape *shape, struct probe *p, const char **why);
bool subject_run(const struct subject *s, struct probe *p, float *out); /* on one thread */

/* One check on one probe, with room for two outputs. */
typedef struct finding probe_check(const struct subject *, struct probe *, float *out, float *other);

/* Runs `check` for each form of the variant on the shape; a failure ends the walk. */
struct finding subject_each_form(const struct subject *s, size_t n_q, size_t n_k, size_t d, size_t d_v,
                                 unsigned forms, probe_check *check);

#endif
