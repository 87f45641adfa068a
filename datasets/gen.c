/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Generators. Element (t, c) of a tensor with `cols` channels is number
 * t * cols + c of a stream that belongs to (seed, kind, batch, head, tensor).
 * Only ar1 and what is built on it looks back: token t there is a function of
 * the tokens before it, so a prefix of the sequence is still the same.
 */
#include "gen.h"

#include <math.h>

#include "../attention/attn.h"
#include "regime.h"

/* Streams of one head. Variants number their own purposes from 0: a variant of
 * the same name as a kind must not draw the same numbers. */
#define PURPOSE_DATA ((uint64_t)0x44415441 << 32)

enum { CHUNK = 512 };

uint64_t gen_stream(const struct gen *g, enum gen_purpose purpose)
{
	return attn_random_stream(g->name, g->item, PURPOSE_DATA | (uint64_t)purpose);
}

/* x[0..n) = std * normals 0 .. n - 1 */
static void normals(const struct gen *g, enum gen_purpose purpose, size_t n, double std, float *x)
{
	float scale = (float)std;

	attn_random_normals(g->seed, gen_stream(g, purpose), 0, n, x);
	if (scale != 1.0f)
		for (size_t i = 0; i < n; i++)
			x[i] *= scale;
}

/* x[i] = a x[i] + b e[first + i], e the normals of a stream. */
static void blend(const struct gen *g, enum gen_purpose purpose, size_t first, size_t n, double a, double b,
                  float *x)
{
	uint64_t id = gen_stream(g, purpose);
	float e[CHUNK], fa = (float)a, fb = (float)b;

	for (size_t i = 0; i < n; i += CHUNK) {
		size_t m = n - i < CHUNK ? n - i : CHUNK;

		attn_random_normals(g->seed, id, first + i, m, e);
		for (size_t c = 0; c < m; c++)
			x[i + c] = fa * x[i + c] + fb * e[c];
	}
}

/* x: rows x cols, each column x_t = rho x_(t-1) + sqrt(1 - rho^2) e_t with
 * x_0 = e_0, so that every token has variance 1, the first one too. */
static void autoregress(const struct gen *g, enum gen_purpose purpose, size_t rows, size_t cols, double rho,
                        float *x)
{
	float keep = (float)rho, add = (float)sqrt(1.0 - rho * rho);

	normals(g, purpose, rows * cols, 1.0, x);
	for (size_t i = cols; i < rows * cols; i++)
		x[i] = keep * x[i - cols] + add * x[i];
}

/* Entries of q and k have variance sigma, so that q.k / sqrt(d) has standard
 * deviation sigma whatever d is. v ~ N(0, 1). */
static void gauss(const struct gen *g, double sigma, float *q, float *k, float *v)
{
	normals(g, GEN_QUERY, g->n_q * g->d, sqrt(sigma), q);
	normals(g, GEN_KEY, g->n_k * g->d, sqrt(sigma), k);
	normals(g, GEN_VALUE, g->n_k * g->d_v, 1.0, v);
}

void gen_gauss(const struct gen *g, float *q, float *k, float *v)
{
	gauss(g, g->param[0], q, k, v);
}

void gen_ar1(const struct gen *g, float *q, float *k, float *v)
{
	double rho = g->param[0];

	autoregress(g, GEN_QUERY, g->n_q, g->d, rho, q);
	autoregress(g, GEN_KEY, g->n_k, g->d, rho, k);
	autoregress(g, GEN_VALUE, g->n_k, g->d_v, rho, v);
}

/* Token t of a tensor belongs to centre floor(u_t C). */
static size_t centre_of(const struct gen *g, enum gen_purpose assign, size_t t)
{
	double centres = g->param[0], u = attn_random_uniform(g->seed, gen_stream(g, assign), t);

	/* u < 1, but u C may round to C. */
	return (size_t)fmin(floor(u * centres), centres - 1.0);
}

/* q_t, k_t = 1.5 (centre + r e), v_t = value of the centre of k_t + r e. Query
 * and key of one token belong to centres drawn apart: else its own key, which
 * every window holds, would answer each query. */
void gen_clustered(const struct gen *g, float *q, float *k, float *v)
{
	const double spread = 1.5, r = g->param[1];

	normals(g, GEN_QUERY, g->n_q * g->d, spread * r, q);
	normals(g, GEN_KEY, g->n_k * g->d, spread * r, k);
	normals(g, GEN_VALUE, g->n_k * g->d_v, r, v);
	for (size_t t = 0; t < g->n_q; t++)
		blend(g, GEN_CENTRE, centre_of(g, GEN_ASSIGN_QUERY, t) * g->d, g->d, 1.0, spread, q + t * g->d);
	for (size_t t = 0; t < g->n_k; t++) {
		size_t centre = centre_of(g, GEN_ASSIGN_KEY, t);

		blend(g, GEN_CENTRE, centre * g->d, g->d, 1.0, spread, k + t * g->d);
		blend(g, GEN_CENTRE_VALUE, centre * g->d_v, g->d_v, 1.0, 1.0, v + t * g->d_v);
	}
}

/* q_t, k_t = 1.5 (0.8 x_t + 0.6 e) with one smooth sequence x for both, so that
 * a query is like the keys near it. 0.8^2 + 0.6^2 = 1. v is smooth too. */
void gen_local(const struct gen *g, float *q, float *k, float *v)
{
	const double rho = 0.95, gain = 1.5, shared = 0.8, own = 0.6;

	autoregress(g, GEN_COMMON, g->n_q, g->d, rho, q);
	autoregress(g, GEN_COMMON, g->n_k, g->d, rho, k);
	autoregress(g, GEN_VALUE, g->n_k, g->d_v, rho, v);
	blend(g, GEN_QUERY, 0, g->n_q * g->d, gain * shared, gain * own, q);
	blend(g, GEN_KEY, 0, g->n_k * g->d, gain * shared, gain * own, k);
}

/* gauss(1) whose queries share a direction u = (+-1, ..., +-1) / sqrt(d), which
 * key 0 holds 32 times over while its value is nearly nothing: heads that
 * attend to the first token when they have nothing to say. */
void gen_sink(const struct gen *g, float *q, float *k, float *v)
{
	const double pull = 2.0, mass = 32.0, value = 0.05;
	double unit = 1.0 / sqrt((double)g->d);
	uint64_t signs = gen_stream(g, GEN_COMMON);

	gauss(g, 1.0, q, k, v);
	for (size_t c = 0; c < g->d; c++) {
		double u = attn_random_uniform(g->seed, signs, c) < 0.5 ? -unit : unit;

		for (size_t t = 0; t < g->n_q; t++)
			q[t * g->d + c] += (float)(pull * u);
		if (g->n_k > 0)
			k[c] += (float)(mass * u);
	}
	for (size_t c = 0; c < g->d_v && g->n_k > 0; c++)
		v[c] *= (float)value;
}

/* gauss(1) in which one key of every 64 is `a` times a query at or after it.
 * Distances are log-uniform up to 2^16 tokens, whatever n is: a query beyond
 * the end is never asked, and its key is one more distractor. */
void gen_needle(const struct gen *g, float *q, float *k, float *v)
{
	const size_t block = 64;
	const double longest = 16.0;
	double a = g->param[0];

	gauss(g, 1.0, q, k, v);
	for (size_t b = 0; b * block < g->n_k; b++) {
		double place = attn_random_uniform(g->seed, gen_stream(g, GEN_PLACE), b);
		double distance = attn_random_uniform(g->seed, gen_stream(g, GEN_DISTANCE), b);
		size_t j = b * block + (size_t)(place * (double)block) % block;
		size_t i = j + (size_t)exp2(longest * distance) - 1;

		if (j < g->n_k)
			blend(g, GEN_QUERY, i * g->d, g->d, 0.0, a, k + j * g->d);
	}
}

static void normalise(size_t rows, size_t cols, float *x)
{
	for (size_t t = 0; t < rows; t++, x += cols) {
		double sum = 0.0, inverse;

		for (size_t c = 0; c < cols; c++)
			sum += (double)x[c] * (double)x[c];
		inverse = sum > 0.0 ? 1.0 / sqrt(sum) : 0.0;
		for (size_t c = 0; c < cols; c++)
			x[c] = (float)((double)x[c] * inverse);
	}
}

/* x[0..n) = Student's t with nu degrees of freedom, scaled to this standard
 * deviation, by Bailey's polar form of Box and Muller's method (Math. Comp. 62,
 * 1994): sqrt(nu (u^(-2/nu) - 1)) cos(2 pi w). Its variance is nu / (nu - 2). */
static void students(const struct gen *g, enum gen_purpose purpose, size_t n, double nu, double std, float *x)
{
	const double tau = 6.283185307179586476925;
	double size = std * sqrt((nu - 2) / nu);
	uint64_t id = gen_stream(g, purpose);

	for (size_t i = 0; i < n; i++) {
		double u = attn_random_uniform(g->seed, id, 2 * i), w = attn_random_uniform(g->seed, id, 2 * i + 1);

		x[i] = (float)(size * sqrt(nu * (pow(u, -2 / nu) - 1)) * cos(tau * w));
	}
}

/* gauss(sigma) whose q and k have heavy tails: the logits keep their standard
 * deviation, but a few pairs have very large ones. */
void gen_heavy(const struct gen *g, float *q, float *k, float *v)
{
	double nu = g->param[0], std = sqrt(g->param[1]);

	students(g, GEN_QUERY, g->n_q * g->d, nu, std, q);
	students(g, GEN_KEY, g->n_k * g->d, nu, std, k);
	normals(g, GEN_VALUE, g->n_k * g->d_v, 1.0, v);
}

/* gauss(1) whose keys all hold +-gain more in c channels, the same for each.
 * Softmax does not see it: every logit of a row moves by the same amount. */
void gen_outlier(const struct gen *g, float *q, float *k, float *v)
{
	double gain = g->param[1];
	size_t channels = (size_t)fmin(g->param[0], (double)g->d);
	uint64_t place = gen_stream(g, GEN_PLACE), sign = gen_stream(g, GEN_COMMON);
	size_t first = (size_t)(attn_random_uniform(g->seed, place, 0) * (double)g->d);

	gauss(g, 1.0, q, k, v);
	for (size_t i = 0; i < channels; i++) {
		size_t c = (first + i * g->d / channels) % g->d;
		float add = (float)(attn_random_uniform(g->seed, sign, i) < 0.5 ? -gain : gain);

		for (size_t t = 0; t < g->n_k; t++)
			k[t * g->d + c] += add;
	}
}

/* x[c] = sum_i y[i] b_i[c] with the orthonormal rows b_i[c] = s_c w_i cos(pi i
 * (2 c + 1) / (2 d)), w_0 = 1 / sqrt(d), else sqrt(2 / d): the cosine transform
 * with random signs s. The sum is Clenshaw's. y may be x. */
static void expand(const struct gen *g, size_t rank, float *x)
{
	const double pi = 3.14159265358979323846;
	uint64_t signs = gen_stream(g, GEN_COMMON);
	double y[GEN_RANK_MAX];

	for (size_t i = 0; i < rank; i++)
		y[i] = (double)x[i];
	for (size_t c = 0; c < g->d; c++) {
		double x1 = cos(pi * ((double)c + 0.5) / (double)g->d), after = 0, next = 0, sum;

		for (size_t i = rank - 1; i > 0; i--) {
			double here = y[i] + 2 * x1 * next - after;

			after = next;
			next = here;
		}
		sum = (y[0] + sqrt(2) * (x1 * next - after)) / sqrt((double)g->d);
		x[c] = (float)(attn_random_uniform(g->seed, signs, c) < 0.5 ? -sum : sum);
	}
}

/* gauss(sigma) in r of the d dimensions: q, k = y B with one orthonormal basis
 * B (r x d). q.k / sqrt(d) has variance sigma^2 when y has sigma sqrt(d / r). */
void gen_lowrank(const struct gen *g, float *q, float *k, float *v)
{
	size_t rank = (size_t)fmin(g->param[0], (double)g->d);
	double std = sqrt(g->param[1] * sqrt((double)g->d / (double)rank));

	for (size_t t = 0; t < g->n_q; t++) {
		attn_random_normals(g->seed, gen_stream(g, GEN_QUERY), t * rank, rank, q + t * g->d);
		expand(g, rank, q + t * g->d);
	}
	for (size_t t = 0; t < g->n_k; t++) {
		attn_random_normals(g->seed, gen_stream(g, GEN_KEY), t * rank, rank, k + t * g->d);
		expand(g, rank, k + t * g->d);
	}
	for (size_t i = 0; i < g->n_q * g->d; i++)
		q[i] *= (float)std;
	for (size_t i = 0; i < g->n_k * g->d; i++)
		k[i] *= (float)std;
	normals(g, GEN_VALUE, g->n_k * g->d_v, 1.0, v);
}

/* gauss(sigma) at the sigma that gives rows of n_k weights this entropy. */
void gen_logits(const struct gen *g, float *q, float *k, float *v)
{
	gauss(g, regime_sigma(g->param[0], g->n_k, g->d), q, k, v);
}

/* gauss(1) with rows of q and k of length 1: logits of scale 1 lie in [-1, 1]. */
void gen_unit(const struct gen *g, float *q, float *k, float *v)
{
	gauss(g, 1.0, q, k, v);
	normalise(g->n_q, g->d, q);
	normalise(g->n_k, g->d, k);
}
