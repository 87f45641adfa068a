/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Low-rank family: explicit projections and explicit m x n factors. */
#include "oracle.h"

static size_t least(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* First token of segment u of m over n tokens. */
static size_t segment(size_t n, size_t m, size_t u)
{
	return u * (n / m) + u * (n % m) / m;
}

/* y (m x d) = segment means of x (n x d) */
static double *means(const struct attn_oracle_call *c, const double *x, size_t n, size_t d, size_t m)
{
	double *y = c->alloc(c->owner, m * d);

	for (size_t u = 0; u < m; u++) {
		size_t begin = segment(n, m, u), end = segment(n, m, u + 1);
		for (size_t e = 0; e < d; e++) {
			y[u * d + e] = 0;
			for (size_t j = begin; j < end; j++)
				y[u * d + e] += x[j * d + e] / (double)(end - begin);
		}
	}
	return y;
}

/* w = softmax(scale q k^T + bias) for one q (d) and n keys */
static void softmax(const struct attn_oracle_call *c, const double *q, const double *k, size_t n,
                    const double *bias, double *w)
{
	size_t d = c->shape->d;
	double top = -INFINITY, sum = 0;

	for (size_t j = 0; j < n; j++) {
		w[j] = (double)c->shape->scale * oracle_dot(q, k + j * d, d) + (bias ? bias[j] : 0);
		top = fmax(top, w[j]);
	}
	for (size_t j = 0; j < n; j++)
		sum += w[j] = exp(w[j] - top);
	for (size_t j = 0; j < n; j++)
		w[j] /= sum;
}

/* y (rows x n) = a (rows x m) b (m x n) */
static void product(const double *a, const double *b, size_t rows, size_t m, size_t n, double *y)
{
	for (size_t i = 0; i < rows; i++) {
		for (size_t j = 0; j < n; j++)
			y[i * n + j] = 0;
		for (size_t l = 0; l < m; l++)
			for (size_t j = 0; j < n; j++)
				y[i * n + j] += a[i * m + l] * b[l * n + j];
	}
}

/* linformer: k, proj, shared; state holds E, then F unless shared. */
static double *project(const struct attn_oracle_call *c, const double *x, size_t d, size_t k,
                       const float *e)
{
	size_t n = c->shape->n_k;
	double *y = c->alloc(c->owner, k * d);

	if (!e)
		return means(c, x, n, d, k);
	for (size_t u = 0; u < k; u++) {
		for (size_t f = 0; f < d; f++) {
			y[u * d + f] = 0;
			for (size_t j = 0; j < n; j++)
				y[u * d + f] += (double)e[u * n + j] * x[j * d + f];
		}
	}
	return y;
}

void oracle_linformer(const struct attn_oracle_call *c)
{
	const struct attn_shape *s = c->shape;
	size_t k = least((size_t)c->arg[0], s->n_k);
	bool average = c->arg[1] == 0;
	const float *e = average ? NULL : c->state;
	const float *f = average || c->arg[2] != 0 ? e : e + k * s->n_k;
	double *short_k = project(c, c->k, s->d, k, e), *short_v = project(c, c->v, s->d_v, k, f);
	double *w = c->alloc(c->owner, k), *bias = c->alloc(c->owner, k);

	for (size_t u = 0; u < k; u++)
		bias[u] = average ? log((double)(segment(s->n_k, k, u + 1) - segment(s->n_k, k, u))) : 0;
	for (size_t r = 0; r < c->n_rows; r++) {
		softmax(c, c->q + c->rows[r] * s->d, short_k, k, bias, w);
		product(w, short_v, 1, k, s->d_v, c->out + r * s->d_v);
	}
}

/* Z by `steps` of Z/4 (13 I - AZ (15 I - AZ (7 I - AZ))) from A^T / (|A|_1 |A|_inf). */
static void newton_schulz(const struct attn_oracle_call *c, const double *a, size_t m, size_t steps,
                          double *z)
{
	double *az = c->alloc(c->owner, m * m), *x = c->alloc(c->owner, m * m);
	double *y = c->alloc(c->owner, m * m), one = 0, inf = 0;
	const double diagonal[3] = { 7, 15, 13 };

	for (size_t i = 0; i < m; i++) {
		double row = 0, column = 0;
		for (size_t j = 0; j < m; j++) {
			row += fabs(a[i * m + j]);
			column += fabs(a[j * m + i]);
		}
		inf = fmax(inf, row);
		one = fmax(one, column);
	}
	for (size_t i = 0; i < m; i++)
		for (size_t j = 0; j < m; j++)
			z[i * m + j] = a[j * m + i] / (one * inf);
	for (size_t step = 0; step < steps; step++) {
		product(a, z, m, m, m, az);
		for (size_t i = 0; i < m * m; i++)
			y[i] = az[i];
		for (int part = 0; part < 3; part++) {
			for (size_t i = 0; i < m * m; i++)
				x[i] = (i % (m + 1) == 0 ? diagonal[part] : 0) - y[i];
			if (part < 2)
				product(az, x, m, m, m, y);
		}
		product(z, x, m, m, m, y);
		for (size_t i = 0; i < m * m; i++)
			z[i] = y[i] / 4;
	}
}

/* The inverse by Gauss-Jordan with partial pivoting. */
static void invert(const struct attn_oracle_call *c, const double *a, size_t m, double *z)
{
	double *x = c->alloc(c->owner, m * m);

	for (size_t i = 0; i < m * m; i++) {
		x[i] = a[i];
		z[i] = i % (m + 1) == 0;
	}
	for (size_t p = 0; p < m; p++) {
		size_t best = p;
		for (size_t i = p; i < m; i++)
			best = fabs(x[i * m + p]) > fabs(x[best * m + p]) ? i : best;
		for (size_t j = 0; j < m; j++) {
			double t = x[p * m + j], u = z[p * m + j];
			x[p * m + j] = x[best * m + j];
			z[p * m + j] = z[best * m + j];
			x[best * m + j] = t;
			z[best * m + j] = u;
		}
		double pivot = x[p * m + p];
		for (size_t j = 0; j < m; j++) {
			x[p * m + j] /= pivot;
			z[p * m + j] /= pivot;
		}
		for (size_t i = 0; i < m; i++) {
			double factor = i == p ? 0 : x[i * m + p];
			for (size_t j = 0; factor != 0 && j < m; j++) {
				x[i * m + j] -= factor * x[p * m + j];
				z[i * m + j] -= factor * z[p * m + j];
			}
		}
	}
}

/* nystrom: m, iters, pinv */
void oracle_nystrom(const struct attn_oracle_call *c)
{
	const struct attn_shape *s = c->shape;
	size_t m = least((size_t)c->arg[0], least(s->n_q, s->n_k));
	double *q = means(c, c->q, s->n_q, s->d, m), *k = means(c, c->k, s->n_k, s->d, m);
	double *a = c->alloc(c->owner, m * m), *z = c->alloc(c->owner, m * m);
	double *b = c->alloc(c->owner, s->n_k), *f = c->alloc(c->owner, m);
	double *bv = c->alloc(c->owner, m * s->d_v), *zbv = c->alloc(c->owner, m * s->d_v);

	for (size_t u = 0; u < m; u++) {
		softmax(c, q + u * s->d, k, m, NULL, a + u * m);
		softmax(c, q + u * s->d, c->k, s->n_k, NULL, b);
		product(b, c->v, 1, s->n_k, s->d_v, bv + u * s->d_v);
	}
	if (c->arg[2] == 0)
		newton_schulz(c, a, m, (size_t)c->arg[1], z);
	else
		invert(c, a, m, z);
	product(z, bv, m, m, s->d_v, zbv);
	for (size_t r = 0; r < c->n_rows; r++) {
		softmax(c, c->q + c->rows[r] * s->d, k, m, NULL, f);
		product(f, zbv, 1, m, s->d_v, c->out + r * s->d_v);
	}
}

/* pooled: c, pool. Logits of query i: of blocks and, if causal, of the keys
 * after the last finished block. */
void oracle_pooled(const struct attn_oracle_call *c)
{
	const struct attn_shape *s = c->shape;
	size_t block = (size_t)c->arg[0], blocks = (s->n_k + block - 1) / block, rows = blocks + s->n_k;
	double *k = c->alloc(c->owner, rows * s->d), *v = c->alloc(c->owner, rows * s->d_v);
	double *w = c->alloc(c->owner, rows);

	for (size_t b = 0; b < blocks; b++) {
		size_t j1 = least((b + 1) * block, s->n_k);
		double size = (double)(j1 - b * block);
		for (size_t e = 0; e < s->d; e++) {
			double sum = 0, top = -INFINITY;
			for (size_t j = b * block; j < j1; j++) {
				sum += c->k[j * s->d + e];
				top = fmax(top, c->k[j * s->d + e]);
			}
			k[b * s->d + e] = c->arg[1] == 1 ? top : sum / size;
		}
		for (size_t e = 0; e < s->d_v; e++) {
			v[b * s->d_v + e] = 0;
			for (size_t j = b * block; j < j1; j++)
				v[b * s->d_v + e] += c->v[j * s->d_v + e] / size;
		}
	}
	for (size_t i = 0; i < s->n_k * s->d; i++)
		k[blocks * s->d + i] = c->k[i];
	for (size_t i = 0; i < s->n_k * s->d_v; i++)
		v[blocks * s->d_v + i] = c->v[i];
	for (size_t r = 0; r < c->n_rows; r++) {
		size_t i = c->rows[r], seen = 0;
		while (seen < s->n_k && oracle_visible(s, i, seen))
			seen++;
		size_t finished = s->causal ? seen / block : blocks;
		double top = -INFINITY, sum = 0;
		for (size_t u = 0; u < rows; u++) {
			double size = u < blocks ? (double)(least((u + 1) * block, s->n_k) - u * block) : 1;
			bool in = u < blocks ? u < finished
			                     : s->causal && u - blocks >= finished * block && u - blocks < seen;
			w[u] = in ? (double)s->scale * oracle_dot(c->q + i * s->d, k + u * s->d, s->d) + log(size)
			          : -INFINITY;
			top = fmax(top, w[u]);
		}
		for (size_t u = 0; u < rows; u++)
			sum += w[u] = w[u] > -INFINITY ? exp(w[u] - top) : 0;
		for (size_t u = 0; sum > 0 && u < rows; u++)
			w[u] /= sum;
		product(w, v, 1, rows, s->d_v, c->out + r * s->d_v);
	}
}

/* exp(-scale |x - y|^2 / 2) */
static double gaussian(const struct attn_oracle_call *c, const double *x, const double *y)
{
	double square = 0;

	for (size_t e = 0; e < c->shape->d; e++)
		square += (x[e] - y[e]) * (x[e] - y[e]);
	return exp(-(double)c->shape->scale * square / 2);
}

/* skyformer: m, ridge, iters, pinv; the state is the landmarks' indices, first
 * those of queries. */
void oracle_skyformer(const struct attn_oracle_call *c)
{
	const struct attn_shape *s = c->shape;
	const uint32_t *index = c->state;
	size_t half = (size_t)c->arg[0] / 2, of_q = least(half, s->n_q);
	size_t m = of_q + least((size_t)c->arg[0] - half, s->n_k);
	const double **land = (const double **)(void *)c->alloc(c->owner, m);
	double *a = c->alloc(c->owner, m * m), *z = c->alloc(c->owner, m * m), *sum = c->alloc(c->owner, m);
	double *bv = c->alloc(c->owner, m * s->d_v), *w = c->alloc(c->owner, m * s->d_v);
	double *f = c->alloc(c->owner, m);

	for (size_t u = 0; u < m; u++)
		land[u] = (u < of_q ? c->q : c->k) + index[u] * s->d;
	for (size_t u = 0; u < m; u++) {
		sum[u] = 0;
		for (size_t t = 0; t < m; t++)
			sum[u] += a[u * m + t] = gaussian(c, land[u], land[t]) + (u == t ? c->arg[1] : 0);
	}
	for (size_t i = 0; i < m * m; i++)
		a[i] /= sqrt(sum[i / m] * sum[i % m]);
	if (c->arg[3] == 0)
		newton_schulz(c, a, m, (size_t)c->arg[2], z);
	else
		invert(c, a, m, z);
	for (size_t i = 0; i < m * m; i++)
		z[i] /= sqrt(sum[i / m] * sum[i % m]);
	for (size_t i = 0; i < m * s->d_v; i++)
		bv[i] = 0;
	for (size_t u = 0; u < m; u++)
		for (size_t j = 0; j < s->n_k; j++)
			for (size_t e = 0; e < s->d_v; e++)
				bv[u * s->d_v + e] += gaussian(c, land[u], c->k + j * s->d) * c->v[j * s->d_v + e];
	product(z, bv, m, m, s->d_v, w);
	for (size_t r = 0; r < c->n_rows; r++) {
		for (size_t u = 0; u < m; u++)
			f[u] = gaussian(c, c->q + c->rows[r] * s->d, land[u]);
		product(f, w, 1, m, s->d_v, c->out + r * s->d_v);
	}
}
