/* SPDX-License-Identifier: BSD-3-Clause
 *
 * lsh: rounds, chunk, buckets, lsh_scale, dedup. State: for each round the
 * columns of R (all factors) as rows of d. */
#include "oracle.h"

enum { ROUNDS, CHUNK, BUCKETS, SCALE, DEDUP };

/* argmax [x R; -x R] over `half` columns, ties to the first. */
static size_t argmax(const double *x, const float *r, size_t half, size_t d)
{
	double best = -INFINITY;
	size_t at = 0;

	for (size_t e = 0; e < 2 * half; e++) {
		double u = 0;
		for (size_t i = 0; i < d; i++)
			u += x[i] * (double)r[e % half * d + i];
		u = e < half ? u : -u;
		if (u > best) {
			best = u;
			at = e;
		}
	}
	return at;
}

/* One hash up to 128 buckets; above, two of about their root. */
static double bucket(const struct attn_oracle_call *c, size_t round, const double *x)
{
	double b = c->arg[BUCKETS], root = 2 * ceil(ceil(sqrt(b)) / 2);
	double first = b > 128 ? root : b, second = b > 128 ? 2 * ceil(ceil(b / root) / 2) : 0;
	size_t columns = (size_t)(first + second) / 2, d = c->shape->d;
	const float *r = (const float *)c->state + round * columns * d;
	double hash = (double)argmax(x, r, (size_t)first / 2, d);

	if (second > 0)
		hash += first * (double)argmax(x, r + (size_t)first / 2 * d, (size_t)second / 2, d);
	return hash;
}

/* chunk[j] of one round: the rank of (bucket, position) divided by the size. */
static void sort_into_chunks(const struct attn_oracle_call *c, size_t round, double *hash, double *chunk)
{
	size_t n = c->shape->n_k;

	for (size_t j = 0; j < n; j++)
		hash[j] = bucket(c, round, c->k + j * c->shape->d);
	for (size_t j = 0; j < n; j++) {
		double rank = 0;
		for (size_t l = 0; l < n; l++)
			rank += hash[l] < hash[j] || (hash[l] == hash[j] && l < j);
		chunk[j] = floor(rank / c->arg[CHUNK]);
	}
}

/* Does i see j in this round: the same chunk or the one before, circular. */
static bool meets(const struct attn_oracle_call *c, const double *chunk, size_t i, size_t j)
{
	double count = ceil((double)c->shape->n_k / c->arg[CHUNK]);
	double before = chunk[i] > 0 ? chunk[i] - 1 : count - 1;

	return oracle_visible(c->shape, i, j) && (chunk[j] == chunk[i] || chunk[j] == before);
}

/* A round gives e^(s_ij - ln N_ij) (or without ln N_ij) to each key it sees;
 * N_ij rounds do. */
void oracle_lsh(const struct attn_oracle_call *c)
{
	const struct attn_shape *s = c->shape;
	size_t n = s->n_k, rounds = (size_t)c->arg[ROUNDS];
	double *chunk = c->alloc(c->owner, rounds * n), *hash = c->alloc(c->owner, n);
	double *w = c->alloc(c->owner, n);

	for (size_t r = 0; r < rounds; r++)
		sort_into_chunks(c, r, hash, chunk + r * n);
	for (size_t row = 0; row < c->n_rows; row++) {
		size_t i = c->rows[row];
		double top = -INFINITY, sum = 0;
		for (size_t j = 0; j < n; j++) {
			const double *k = c->k + j * s->d;
			double length = sqrt(oracle_dot(k, k, s->d)), times = 0;
			for (size_t r = 0; r < rounds; r++)
				times += meets(c, chunk + r * n, i, j);
			double dot = oracle_dot(c->q + i * s->d, k, s->d);
			w[j] = c->arg[SCALE] * (length > 0 ? dot / length : 0) - (i == j ? 1e5 : 0);
			w[j] += log(times) - (c->arg[DEDUP] != 0 && times > 0 ? log(times) : 0);
			top = fmax(top, w[j]);
		}
		for (size_t j = 0; j < n; j++)
			sum += w[j] = exp(w[j] - top);
		oracle_combine(c, w, sum, c->out + row * s->d_v);
	}
}
