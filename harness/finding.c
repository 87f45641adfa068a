/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Verdicts, and the walk over the forms of a variant. */
#include "finding.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

struct finding finding_pass(void)
{
	return (struct finding){ .verdict = VERDICT_PASS };
}

static struct finding said(enum verdict verdict, const char *why)
{
	struct finding f = { .verdict = verdict };

	snprintf(f.why, sizeof f.why, "%.*s", (int)sizeof f.why - 1, why);
	return f;
}

struct finding finding_none(const char *why)
{
	return said(VERDICT_NONE, why);
}

struct finding finding_fail(const char *why)
{
	return said(VERDICT_FAIL, why);
}

struct finding finding_fails(const struct attn_shape *s, const char *format, ...)
{
	struct finding f = { .verdict = VERDICT_FAIL };
	static const char *const types[] = { [ATTN_F32] = "", [ATTN_BF16] = " bf16", [ATTN_F16] = " f16" };
	va_list args;
	int at = snprintf(f.why, sizeof f.why, "n_q=%zu n_k=%zu d=%zu d_v=%zu causal=%d%s: ", s->n_q, s->n_k,
	                  s->d, s->d_v, s->causal, types[s->type]);

	va_start(args, format);
	vsnprintf(f.why + at, sizeof f.why - (size_t)at, format, args);
	va_end(args);
	return f;
}

bool subject_has(const struct subject *s, unsigned flag)
{
	return (attn_flags(s->variant, s->arg) & flag) != 0;
}

double subject_bound(const struct subject *s)
{
	return (double)attn_bound(s->variant, s->arg, ATTN_F32);
}

struct attn_shape probe_shape(size_t n_q, size_t n_k, size_t d, size_t d_v, bool causal)
{
	return (struct attn_shape){ .n_q = n_q, .n_k = n_k, .d = d, .d_v = d_v, .causal = causal,
		                    .scale = attn_default_scale(d), .heads = 2, .type = ATTN_F32 };
}

size_t probe_elements(const struct probe *p)
{
	return p->shape.n_q * p->shape.d_v;
}

bool subject_probe(const struct subject *s, struct attn_shape *shape, struct probe *p, const char **why)
{
	if (probe_create(p, s->variant, s->arg, shape, 1, s->seed, why))
		return true;
	*shape = probe_shape(shape->n_q, shape->n_k, shape->d_v, shape->d_v, shape->causal);
	return probe_create(p, s->variant, s->arg, shape, 1, s->seed, why);
}

bool subject_run(const struct subject *s, struct probe *p, float *out)
{
	return probe_run(p, s->kern, s->teams[1], out);
}

struct finding subject_each_form(const struct subject *s, size_t n_q, size_t n_k, size_t d, size_t d_v,
                                 unsigned forms, probe_check *check)
{
	struct finding result = finding_none("has no such form");

	for (int causal = 0; causal < 2; causal++) {
		unsigned form = causal ? ATTN_CAUSAL : ATTN_BIDIRECTIONAL;
		struct attn_shape shape = probe_shape(n_q, n_k, d, d_v, causal);
		struct probe p;
		const char *why;
		if (!(form & forms) || !subject_has(s, form))
			continue;
		if (!subject_probe(s, &shape, &p, &why)) {
			result = finding_none(why);
			continue;
		}
		float *out = calloc(2 * (n_q * d_v + 1), sizeof *out);
		result = check(s, &p, out, out + n_q * d_v);
		free(out);
		probe_destroy(&p);
		if (result.verdict == VERDICT_FAIL)
			return result;
	}
	return result;
}
