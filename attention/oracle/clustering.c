/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Clustering family: k-means as the definitions understand it, then attention by
 * cluster. Ties go to the lowest centre, an empty cluster keeps its centre. */
#include "oracle.h"

struct points {
	const double *x; /* n x d; unit vectors or zeros if spherical */
	size_t n, d;
	bool spherical;
};

/* The centre nearest to x: by angle, or by distance. */
static size_t nearest(const struct points *p, const double *x, const double *centre, size_t count)
{
	double best = -INFINITY;
	size_t at = 0;

	for (size_t u = 0; u < count; u++) {
		const double *c = centre + u * p->d;
		double score = oracle_dot(x, c, p->d);
		if (!p->spherical)
			score -= oracle_dot(c, c, p->d) / 2; /* (|x|^2 - |x - c|^2) / 2 */
		if (score > best) {
			best = score;
			at = u;
		}
	}
	return at;
}

/* Iterations of k-means from the given centres. */
static void k_means(const struct attn_oracle_call *c, const struct points *p, double *centre, size_t count,
                    size_t iterations)
{
	double *sum = c->alloc(c->owner, count * p->d), *members = c->alloc(c->owner, count);

	for (size_t t = 0; t < iterations; t++) {
		for (size_t a = 0; a < count * p->d; a++)
			sum[a] = 0;
		for (size_t u = 0; u < count; u++)
			members[u] = 0;
		for (size_t i = 0; i < p->n; i++) {
			size_t u = nearest(p, p->x + i * p->d, centre, count);
			members[u] += 1;
			for (size_t e = 0; e < p->d; e++)
				sum[u * p->d + e] += p->x[i * p->d + e];
		}
		for (size_t u = 0; u < count; u++) {
			const double *total = sum + u * p->d;
			double size = p->spherical ? sqrt(oracle_dot(total, total, p->d)) : members[u];
			for (size_t e = 0; size > 1e-9 * members[u] && e < p->d; e++)
				centre[u * p->d + e] = total[e] / size;
		}
	}
}

static void unit_rows(const double *x, size_t n, size_t d, double *y)
{
	for (size_t i = 0; i < n; i++) {
		double length = sqrt(oracle_dot(x + i * d, x + i * d, d));
		for (size_t e = 0; e < d; e++)
			y[i * d + e] = length > 0 ? x[i * d + e] / length : 0;
	}
}

/* ---- routing: kc, w, iters, membership, centroids. State: uint32 numbers of rows
 * of [q; k] at which k-means starts, or float directions, kc x d ---- */

enum { KC, W, ITERS, MEMBERSHIP, CENTROIDS };

/* member[i] = 1 for the w largest scores, taken one after another. */
static void take_largest(const double *score, size_t n, double w, double *member)
{
	for (size_t i = 0; i < n; i++)
		member[i] = 0;
	for (double taken = 0; taken < w && taken < (double)n; taken++) {
		size_t best = n;
		for (size_t i = 0; i < n; i++)
			if (member[i] == 0 && (best == n || score[i] > score[best]))
				best = i;
		member[best] = 1;
	}
}

/* member[u * n + i]: is token i of x^ in cluster u. */
static void members_of(const struct attn_oracle_call *c, const struct points *p, const double *centre,
                       size_t count, double *member)
{
	double *score = c->alloc(c->owner, p->n);

	for (size_t i = 0; c->arg[MEMBERSHIP] == 1 && i < p->n; i++) {
		size_t mine = nearest(p, p->x + i * p->d, centre, count);
		for (size_t u = 0; u < count; u++)
			member[u * p->n + i] = u == mine;
	}
	for (size_t u = 0; c->arg[MEMBERSHIP] == 0 && u < count; u++) {
		for (size_t i = 0; i < p->n; i++)
			score[i] = oracle_dot(p->x + i * p->d, centre + u * p->d, p->d);
		take_largest(score, p->n, c->arg[W] > 0 ? c->arg[W] : ceil((double)p->n / (double)count),
		             member + u * p->n);
	}
}

/* Adds softmax over the keys of cluster u to w (n_k), if query i sees any. */
static bool add_cluster(const struct attn_oracle_call *c, size_t i, const double *keys, double *part,
                        double *w)
{
	const struct attn_shape *s = c->shape;
	double top = -INFINITY, sum = 0;

	for (size_t j = 0; j < s->n_k; j++) {
		part[j] = keys[j] != 0 && oracle_visible(s, i, j)
		                  ? (double)s->scale * oracle_dot(c->q + i * s->d, c->k + j * s->d, s->d)
		                  : -INFINITY;
		top = fmax(top, part[j]);
	}
	if (top == -INFINITY)
		return false;
	for (size_t j = 0; j < s->n_k; j++)
		sum += part[j] = exp(part[j] - top);
	for (size_t j = 0; j < s->n_k; j++)
		w[j] += part[j] / sum;
	return true;
}

void oracle_routing(const struct attn_oracle_call *c)
{
	const struct attn_shape *s = c->shape;
	size_t n = s->n_q + s->n_k, d = s->d, kc = (size_t)fmin(c->arg[KC], (double)n);
	double *unit = c->alloc(c->owner, n * d), *centre = c->alloc(c->owner, kc * d);
	double *queries = c->alloc(c->owner, kc * s->n_q), *keys = c->alloc(c->owner, kc * s->n_k);
	double *w = c->alloc(c->owner, s->n_k), *part = c->alloc(c->owner, s->n_k);
	const struct points all = { unit, n, d, true }, q = { unit, s->n_q, d, true };
	const struct points k = { unit + s->n_q * d, s->n_k, d, true };

	unit_rows(c->q, s->n_q, d, unit);
	unit_rows(c->k, s->n_k, d, unit + s->n_q * d);
	for (size_t u = 0; u < kc; u++) {
		const float *direction = (const float *)c->state + u * d;
		for (size_t e = 0; e < d; e++)
			centre[u * d + e] = c->arg[CENTROIDS] == 1 ? (double)direction[e]
			                                           : unit[((const uint32_t *)c->state)[u] * d + e];
	}
	if (c->arg[CENTROIDS] == 1)
		unit_rows(centre, kc, d, centre);
	else
		k_means(c, &all, centre, kc, (size_t)c->arg[ITERS]);
	members_of(c, &q, centre, kc, queries);
	members_of(c, &k, centre, kc, keys);
	for (size_t r = 0; r < c->n_rows; r++) {
		size_t i = c->rows[r];
		double found = 0;
		for (size_t j = 0; j < s->n_k; j++)
			w[j] = 0;
		for (size_t u = 0; u < kc; u++)
			if (queries[u * s->n_q + i] != 0)
				found += add_cluster(c, i, keys + u * s->n_k, part, w);
		oracle_combine(c, w, found, c->out + r * s->d_v);
	}
}

/* ---- clustered: c, topk_keys, iters. State: uint32 numbers of queries at which
 * k-means starts ---- */

/* w = softmax(scale x K^T) over the keys with only[j] != 0, NULL: over all. */
static void weights(const struct attn_oracle_call *c, const double *x, const double *only, double *w)
{
	const struct attn_shape *s = c->shape;
	double top = -INFINITY, sum = 0;

	for (size_t j = 0; j < s->n_k; j++) {
		w[j] = !only || only[j] != 0 ? (double)s->scale * oracle_dot(x, c->k + j * s->d, s->d) : -INFINITY;
		top = fmax(top, w[j]);
	}
	for (size_t j = 0; j < s->n_k; j++)
		sum += w[j] = w[j] > -INFINITY ? exp(w[j] - top) : 0;
	for (size_t j = 0; j < s->n_k; j++)
		w[j] /= sum > 0 ? sum : 1;
}

void oracle_clustered(const struct attn_oracle_call *c)
{
	const struct attn_shape *s = c->shape;
	const struct points q = { c->q, s->n_q, s->d, false };
	size_t count = (size_t)fmin(c->arg[0], (double)s->n_q);
	double *centre = c->alloc(c->owner, count * s->d), *w = c->alloc(c->owner, s->n_k);
	double *top = c->alloc(c->owner, s->n_k), *own = c->alloc(c->owner, s->n_k);

	for (size_t u = 0; u < count; u++)
		for (size_t e = 0; e < s->d; e++)
			centre[u * s->d + e] = c->q[((const uint32_t *)c->state)[u] * s->d + e];
	k_means(c, &q, centre, count, (size_t)c->arg[2]);
	for (size_t r = 0; r < c->n_rows; r++) {
		const double *query = c->q + c->rows[r] * s->d;
		double share = 0;
		weights(c, centre + nearest(&q, query, centre, count) * s->d, NULL, w);
		take_largest(w, s->n_k, c->arg[1], top);
		weights(c, query, top, own);
		for (size_t j = 0; j < s->n_k; j++)
			share += top[j] != 0 ? w[j] : 0;
		for (size_t j = 0; j < s->n_k; j++)
			w[j] = top[j] != 0 ? share * own[j] : w[j];
		oracle_combine(c, w, 1, c->out + r * s->d_v);
	}
}
