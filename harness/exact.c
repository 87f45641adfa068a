/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Errors against exact attention, a sequence at a time where they differ in length. */
#include "exact.h"

#include <math.h>
#include <stdlib.h>

#include "hash.h"
#include "metrics.h"
#include "reference.h"

/* The heads of one sequence, or, where all are alike, of all; they start with head g. */
static struct reference_input reference_input(const struct cell *c, size_t g)
{
	struct attn_shape s = cell_shape(c, g);

	return (struct reference_input){
		.heads = c->lengths == LENGTHS_FULL ? c->batch * c->heads : c->heads,
		.n_q = c->mode == MODE_DECODE ? 1 : s.n_q, .n_k = s.n_k, .d = c->d, .d_v = c->d_v,
		.causal = c->causal, .scale = s.scale,
	};
}

size_t exact_bytes(const struct cell *c)
{
	struct reference_input in = reference_input(c, 0);
	double heads = (double)(c->batch * c->heads), rows = (double)reference_n_rows(c->n_q);
	double bytes = rows * (heads + 2 * (double)c->batch) * sizeof(double);
	size_t sum;

	if (bytes >= 0x1p62 || __builtin_add_overflow(reference_bytes(&in, c->threads), (size_t)bytes, &sum))
		return SIZE_MAX;
	return sum;
}

/* Sums over sequences. */
struct exact {
	struct error_sums sums;
	double *memory;
	double *error2, *norm2; /* of each row number, over the heads that have it */
	size_t rows, looked;    /* room for, and added: row numbers, sequence after sequence */
	size_t all;             /* of which so many there are */
	double entropy_ratio, n_eff, entropy_rows, logit_max; /* the first two: sums */
};

static bool exact_open(struct exact *e, const struct cell *c)
{
	size_t some = reference_n_rows(c->n_q), sequences = c->lengths == LENGTHS_FULL ? 1 : c->batch;

	*e = (struct exact){ .all = 0 };
	for (size_t b = 0; b < sequences; b++)
		e->rows += reference_share(cell_length(c, c->n_q, b), c->n_q, some);
	e->memory = calloc((2 + c->batch / sequences * c->heads) * e->rows, sizeof *e->memory);
	e->error2 = e->memory;
	e->norm2 = e->memory + e->rows;
	e->sums.rel_row = e->norm2 + e->rows;
	return e->memory != NULL;
}

/* One sequence, or all that are alike, from head `first` on. False: no memory. */
static bool exact_add(struct exact *e, const struct layer *l, const struct reference_input *in, size_t first,
                      const struct reference *ref)
{
	size_t d_v = in->d_v, n = ref->n_rows;
	double *sum = calloc(2 * d_v, sizeof *sum), *mean = sum + d_v;

	if (!sum)
		return false;
	for (size_t g = 0; g < ref->heads; g++) {
		size_t seen = 0;
		for (size_t c = 0; c < d_v; c++)
			sum[c] = 0;
		for (size_t r = 0; r < n; r++) {
			size_t i = ref->rows[r];
			double error_before = e->sums.error2, norm_before = e->sums.norm2;
			uniform_row(in->v + g * in->n_k * d_v, d_v, reference_visible(in, i), &seen,
			            sum, mean);
			errors_add(&e->sums, layer_out(l, first + g, i), ref->out + (g * n + r) * d_v, mean, d_v);
			e->error2[e->looked + r] += e->sums.error2 - error_before;
			e->norm2[e->looked + r] += e->sums.norm2 - norm_before;
		}
	}
	free(sum);
	e->looked += n;
	e->all += in->n_q;
	if (ref->entropy_rows > 0) {
		e->entropy_ratio += ref->entropy_rows * ref->entropy_ratio;
		e->n_eff += ref->entropy_rows * ref->n_eff;
		e->entropy_rows += ref->entropy_rows;
	}
	e->logit_max = fmax(e->logit_max, ref->logit_max);
	return true;
}

static void exact_report(const struct exact *e, const struct cell *c, struct outcome *out)
{
	struct errors errors = errors_of(&e->sums);
	bool entropy = e->entropy_rows > 0;

	out->err_exact_rel_fro = errors.rel_fro;
	out->err_exact_max_abs = errors.max_abs;
	out->err_exact_max_rel_row = errors.max_rel_row;
	out->err_exact_med_rel_row = errors.med_rel_row;
	out->err_exact_cos = errors.cos;
	out->err_cos_left_out = (int64_t)(e->sums.rows - e->sums.cos_rows);
	out->err_exact_nmse_u = errors.nmse_u;
	out->err_uniform_rel_fro = errors.rel_u;
	out->entropy_ratio = entropy ? e->entropy_ratio / e->entropy_rows : (double)NAN;
	out->n_eff = entropy ? e->n_eff / e->entropy_rows : (double)NAN;
	out->err_rows = (int64_t)reference_n_rows(c->n_q);
	out->err_sampling = errors_sampling(e->error2, e->norm2, e->looked, e->all);
}

bool exact_measure(struct worker *w, double *logit_max)
{
	const struct layer *l = &w->layer;
	const struct cell *c = &l->cell;
	struct exact e;
	const char *why = exact_open(&e, c) ? NULL : "no memory for the errors of rows";

	worker_own_stage(w, "exact attention in double");
	for (size_t g = 0, n; g < l->plan.total && !why; g += n) {
		struct reference_input in = reference_input(c, g);
		struct reference ref;
		n = in.heads;
		in.n_rows = reference_share(in.n_q, c->n_q, reference_n_rows(c->n_q));
		in.q = layer_q(l, g, 0);
		in.k = layer_k(l, g, 0);
		in.v = layer_v(l, g, 0);
		why = reference_get(&ref, &in, hash_mix(w->input_hash, g), w->job->cache_dir, w->team);
		if (why)
			break;
		if (!exact_add(&e, l, &in, g, &ref))
			why = "no memory for the uniform average";
		reference_free(&ref);
	}
	if (!why)
		exact_report(&e, c, w->out);
	*logit_max = e.logit_max;
	free(e.memory);
	return !why || worker_end(w, STATUS_OOM, "%s", why);
}
