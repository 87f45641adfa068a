/* SPDX-License-Identifier: BSD-3-Clause
 *
 * fnet: no attention, a Fourier transform mixes tokens and channels.
 *
 *     Y = Re(FFT_n(FFT_e(X))),  X: n x e
 *
 * Time n e (log n + e). Lee-Thorp et al. 2021, arXiv 2105.03824. X is the input "X" (n x
 * d_v) or else V; queries and keys are not read. A floor of speed for mixers of n log n.
 *
 * X is real. The transform of a row is a dense product with e real columns: at e
 * of a few hundred that is faster than a fast transform. It leaves half of the
 * channels as complex columns, the others being their conjugates, and the two real
 * ones (channel 0, and e / 2 if e is even) as one complex column together:
 *
 *     Re Y(k, f) = Re Z(k, f),  Re Y(k, e - f) = Re Z(n - k, f),  0 < f < e / 2
 *     Re Y(k, 0) + i Re Y(k, e / 2) = (Z(k, 0) + Z(n - k, 0)) / 2
 */
#include "../engine/fft.h"
#include "../engine/work.h"
#include "../kernels/kern.h"
#include "../oracle/oracle.h"

enum { ROWS = 64 }; /* of X at a time */

static size_t columns(size_t e)
{
	return (e + 1) / 2;
}

static size_t row_floats(size_t e)
{
	return 2 * ((columns(e) + 15) / 16 * 16);
}

static const char *plan(const struct attn_shape *s, const double *arg, size_t ranks,
                        struct attn_plan *p)
{
	size_t n = s->n_k, e = s->d_v, ld = row_floats(e), cols = columns(e);
	double numbers = (double)n * (double)e;

	(void)arg;
	(void)ranks;
	if (s->causal)
		return "has no causal form: every output depends on every token";
	p->state = (e * ld + fft_table_floats(n)) * sizeof(float);
	p->shared = (2 * n * ld + fft_shared_floats(n, cols)) * sizeof(float);
	p->scratch = fft_scratch_floats(cols) * sizeof(float);
	/* 5/2 N log2 N: the usual count of a fast transform of N real numbers. */
	p->flops_useful = 2.5 * numbers * log2(numbers);
	p->flops_executed = 2 * numbers * (double)ld + fft_flops(n, cols);
	p->pairs = (double)n * (double)n;
	p->bytes = 2 * numbers * sizeof(float);
	return NULL;
}

/* The transform of a row (e x ld), then the tables of the other. */
static void prepare(const struct attn_shape *s, const double *arg, uint64_t seed, void *state)
{
	size_t e = s->d_v, ld = row_floats(e), half = ld / 2;
	float *rows = state;

	(void)arg;
	(void)seed;
	for (size_t t = 0; t < e; t++) {
		for (size_t f = 0; f < half; f++) {
			double angle = 6.283185307179586476925 * (double)(t * f % e) / (double)e;
			bool in = f < columns(e);
			rows[t * ld + f] = in ? (float)cos(angle) : 0;
			rows[t * ld + half + f] = in ? (float)-sin(angle) : 0;
		}
		rows[t * ld + half] = e % 2 ? 0 : t % 2 ? -1 : 1;
	}
	fft_prepare(s->n_k, rows + e * ld);
}

/* Re Y(k, .) from rows k and n - k of Z. */
static void store(const struct attn_call *c, size_t k, const float *z, const float *mirror)
{
	size_t e = c->shape->d_v, half = row_floats(e) / 2;
	float *out = (float *)c->out + k * c->ldo;

	out[0] = (z[0] + mirror[0]) / 2;
	if (e % 2 == 0)
		out[e / 2] = (z[half] + mirror[half]) / 2;
	for (size_t f = 1; f < columns(e); f++) {
		out[f] = z[f];
		out[e - f] = mirror[f];
	}
}

static void forward(const struct attn_call *c, struct attn_team *team)
{
	size_t n = c->shape->n_k, e = c->shape->d_v, ld = row_floats(e);
	size_t begin = n * team->rank / team->size, end = n * (team->rank + 1) / team->size;
	const float *given = attn_aux_find(c->aux, "X", n, e), *x = given ? given : c->v;
	const float *rows = c->state;
	float *spectrum = c->shared, *z = spectrum + n * ld;
	struct fft f = fft_of(n, columns(e), rows + e * ld);
	size_t ldx = given ? e : c->ldv;

	for (size_t t = begin; t < end; t += ROWS)
		c->kern->mm(spectrum + t * ld, ld, x + t * ldx, ldx, 1, rows, ld, end - t < ROWS ? end - t : ROWS,
		            ld, e, false);
	attn_barrier(team);
	fft_run(&f, c->kern, spectrum, z, z + n * ld, c->scratch, team);
	for (size_t k = begin; k < end; k++)
		store(c, k, z + k * ld, z + (n - k) % n * ld);
	if (c->stats && team->rank == 0)
		c->stats->flops_executed += 2 * (double)(n * e * ld) + fft_flops(n, columns(e));
}

const struct attn_variant attn_fnet = {
	.abi = ATTN_ABI,
	.name = "fnet",
	.family = "other",
	.title = "FNet",
	.paper = "Lee-Thorp et al. 2021, arXiv 2105.03824",
	.formula = "Y = Re(FFT_n(FFT_e(X)))",
	.complexity = "n d (log n + d)",
	.target = "nothing: a Fourier transform has no weights",
	.summary = "No attention: queries and keys are not read, X is V unless given. A floor of speed; "
	           "its error against softmax says nothing.",
	.flags = ATTN_BIDIRECTIONAL | ATTN_PARALLEL | ATTN_KSHIFT | ATTN_QSCALE | ATTN_KSCALE,
	.impl_bound = 5e-6f,
	.plan = plan,
	.prepare = prepare,
	.forward = forward,
	.oracle = oracle_fnet,
};
