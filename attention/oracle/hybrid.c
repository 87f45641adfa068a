/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Hybrid family. */
#include "oracle.h"

/* ---- scatterbrain: left, right, m, map, ortho. State: W sqrt(scale),
 * transposed, d x draws ---- */

enum { LEFT, RIGHT, M, MAP };
enum { POSITIVE, HYPERBOLIC };

/* sum_f phi_f(x) phi_f(y), phi(x) = m^-1/2 exp(+-W x' - |x'|^2 / 2) */
static double random_kernel(const struct attn_oracle_call *c, const double *x, const double *y)
{
	const float *w_t = c->state;
	size_t d = c->shape->d, draws = (size_t)c->arg[M] / (c->arg[MAP] == POSITIVE ? 1 : 2);
	double sum = 0, halves = (double)c->shape->scale * (oracle_dot(x, x, d) + oracle_dot(y, y, d)) / 2;

	for (size_t f = 0; f < draws; f++) {
		double u = 0;
		for (size_t e = 0; e < d; e++)
			u += (double)w_t[e * draws + f] * (x[e] + y[e]);
		sum += c->arg[MAP] == POSITIVE ? exp(u - halves) : (exp(u - halves) + exp(-u - halves)) / 2;
	}
	return sum / (double)draws;
}

void oracle_scatterbrain(const struct attn_oracle_call *c)
{
	const struct attn_shape *s = c->shape;
	double *w = c->alloc(c->owner, s->n_k);

	for (size_t r = 0; r < c->n_rows; r++) {
		const double *q = c->q + c->rows[r] * s->d;
		double at = (double)c->rows[r] + (double)s->n_k - (double)s->n_q, sum = 0;
		for (size_t j = 0; j < s->n_k; j++) {
			const double *k = c->k + j * s->d;
			bool near = (double)j >= at - c->arg[LEFT] && (double)j <= at + c->arg[RIGHT];
			w[j] = !oracle_visible(s, c->rows[r], j) ? 0
			       : near ? exp((double)s->scale * oracle_dot(q, k, s->d)) : random_kernel(c, q, k);
			sum += w[j];
		}
		oracle_combine(c, w, sum, c->out + r * s->d_v);
	}
}
