/* SPDX-License-Identifier: BSD-3-Clause
 *
 * skyformer: a Gaussian kernel without normaliser, through m landmarks.
 *
 *     O = C V,  C_ij = kappa(q_i, k_j) = exp(-scale |q_i - k_j|^2 / 2)
 *     C ~ kappa(Q, S) D^-1/2 Z D^-1/2 kappa(S, K)
 *     M = kappa(S, S) + ridge I, D its row sums, Z ~ (D^-1/2 M D^-1/2)^-1
 *
 * Time (n_q + n_k) m (d + d_v) + 8 I m^3. Chen, Zeng, Ji, Yang 2021, NeurIPS, arXiv
 * 2111.00035. S is a sample of rows, half from Q, half from K: here without
 * repetition, so that m = n_q + n_k, ridge = 0 and an exact inverse give C V. The
 * published code has 32^(-1/4) for the scale of every head size; its iteration
 * starts from M^T / |M|_1, the one here, as nystrom's, from M^T / (|M|_1 |M|_inf).
 * There is no causal form.
 */
#include "../engine/pinv.h"
#include "../engine/work.h"
#include "../kernels/kern.h"
#include "../oracle/oracle.h"

#include <string.h>

enum { M, RIDGE, ITERS, PINV };
enum { ITERATE, EXACT };
enum { ROWS = 64 }; /* tokens at a time: their kernel values stay in cache */

static const char *const methods[] = { "iter", "exact", NULL };

static const struct attn_param params[] = {
	{ "m", "landmarks, half of them queries; at most all", ATTN_INT, 128, 2, 1 << 14, NULL },
	{ "ridge", "is added to the diagonal", ATTN_REAL, 0.1, 0, 100, NULL },
	{ "iters", "iterations of the inverse", ATTN_INT, 6, 0, 100, NULL },
	{ "pinv", "iteration, or singular values in double (slow, for tests)", ATTN_NAME, 0, 0, 1, methods },
	{ 0 },
};

static size_t least(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* Landmarks among queries; the others are keys. */
static size_t query_landmarks(const struct attn_shape *s, const double *arg)
{
	return least((size_t)arg[M] / 2, s->n_q);
}

static size_t landmarks(const struct attn_shape *s, const double *arg)
{
	return query_landmarks(s, arg) + least((size_t)arg[M] - (size_t)arg[M] / 2, s->n_k);
}

static const char *const cases[] = { "m=10", "m=9:ridge=0.5:iters=3", "m=12:pinv=exact", NULL };

/* Floats of the arrays that the team shares, but for pinv's and the partial sums. */
static size_t shared_floats(const struct attn_shape *s, size_t m)
{
	return m * s->d + s->d * work_padded(m) + 2 * work_padded(m) + 2 * work_padded(m * m) + 2 * m * work_padded(s->d_v);
}

static size_t pinv_bytes(size_t m, const double *arg)
{
	return arg[PINV] == EXACT ? pinv_exact_doubles(m) * sizeof(double)
	                          : pinv_work_floats(m) * sizeof(float);
}

static const char *plan(const struct attn_shape *s, const double *arg, size_t ranks,
                        struct attn_plan *p)
{
	size_t m = landmarks(s, arg);
	double dm = (double)m, tokens = (double)(s->n_q + s->n_k), both = (double)(s->d + s->d_v);

	if (s->causal)
		return "causal Skyformer does not exist: landmarks mix the future into every row";
	if (s->n_k == 0)
		return "needs at least one key";
	p->state = m * sizeof(uint32_t);
	p->shared = work_padded(shared_floats(s, m)) * sizeof(float) + ranks * m * work_padded(s->d_v) * sizeof(float) +
	            pinv_bytes(m, arg);
	p->scratch = ROWS * work_padded(m) * sizeof(float);
	p->pairs = dm * tokens;
	p->n_exp = dm * (tokens + dm);
	p->flops_useful = 2 * dm * (tokens + dm) * both + (arg[PINV] == ITERATE ? 8 * arg[ITERS] * dm * dm * dm : 0);
	p->flops_executed = p->flops_useful;
	p->bytes = work_io_bytes(s);
	return NULL;
}

/* `count` different numbers below n, each set as likely (Floyd's algorithm). */
static void sample(uint32_t *index, size_t count, size_t n, uint64_t seed, uint64_t stream)
{
	for (size_t i = 0; i < count; i++) {
		size_t last = n - count + i;
		size_t pick = (size_t)(attn_random_uniform(seed, stream, i) * (double)(last + 1));
		for (size_t j = 0; j < i; j++)
			pick = index[j] == pick ? last : pick;
		index[i] = (uint32_t)pick;
	}
}

static void prepare(const struct attn_shape *s, const double *arg, uint64_t seed, void *state)
{
	size_t of_q = query_landmarks(s, arg);
	uint32_t *index = state;

	sample(index, of_q, s->n_q, seed, attn_random_stream("skyformer", s->head, 0));
	sample(index + of_q, landmarks(s, arg) - of_q, s->n_k, seed, attn_random_stream("skyformer", s->head, 1));
}

struct work {
	const struct attn_call *c;
	size_t m, ld_m, ld_v;
	float *s, *s_t;     /* landmarks, m x d; scale times them, transposed, d x ld_m */
	float *half;        /* ld_m: scale |s|^2 / 2 */
	float *root;        /* ld_m: D^-1/2 */
	float *a, *z;       /* m x m */
	float *bv, *w;      /* m x ld_v */
	float *part;        /* m x ld_v of each rank */
	void *pinv;
	float *g;           /* ROWS x ld_m of this rank */
};

static struct work work_init(const struct attn_call *c, const struct attn_team *team)
{
	const struct attn_shape *s = c->shape;
	size_t m = landmarks(s, c->arg);
	struct work w = { .c = c, .m = m, .ld_m = work_padded(m), .ld_v = work_padded(s->d_v), .s = c->shared };

	w.s_t = w.s + m * s->d;
	w.half = w.s_t + s->d * w.ld_m;
	w.root = w.half + w.ld_m;
	w.a = w.root + w.ld_m;
	w.z = w.a + work_padded(m * m);
	w.bv = w.z + work_padded(m * m);
	w.w = w.bv + m * w.ld_v;
	w.part = (float *)c->shared + work_padded(shared_floats(s, m));
	w.pinv = w.part + team->size * m * w.ld_v;
	w.g = c->scratch;
	return w;
}

/* scale |x|^2 / 2 */
static float half_square(const struct attn_call *c, const float *x)
{
	return c->shape->scale / 2 * c->kern->dot(x, x, c->shape->d);
}

/* y (rows x m, ldy) = kappa of rows of x and the landmarks. */
static void kappa(const struct work *w, const float *x, size_t ldx, size_t rows, float *y, size_t ldy)
{
	const struct kern *kern = w->c->kern;

	kern->mm(y, ldy, x, ldx, 1, w->s_t, w->ld_m, rows, w->m, w->c->shape->d, false);
	for (size_t r = 0; r < rows; r++) {
		kern->axpy(y + r * ldy, -1, w->half, w->m);
		kern->exp_shift(y + r * ldy, y + r * ldy, half_square(w->c, x + r * ldx), w->m);
	}
}

static void gather(const struct work *w, size_t u0, size_t u1)
{
	const struct attn_call *c = w->c;
	const uint32_t *index = c->state;
	size_t d = c->shape->d, of_q = query_landmarks(c->shape, c->arg);

	for (size_t u = u0; u < u1; u++) {
		const float *row = u < of_q ? (const float *)c->q + index[u] * c->ldq
		                            : (const float *)c->k + index[u] * c->ldk;
		memcpy(w->s + u * d, row, d * sizeof(float));
		w->half[u] = half_square(c, row);
		for (size_t e = 0; e < d; e++)
			w->s_t[e * w->ld_m + u] = c->shape->scale * row[e];
	}
}

/* Rows [u0, u1) of M, and of D^-1/2. */
static void landmark_kernel(const struct work *w, size_t u0, size_t u1)
{
	size_t m = w->m, d = w->c->shape->d;

	kappa(w, w->s + u0 * d, d, u1 - u0, w->a + u0 * m, m);
	for (size_t u = u0; u < u1; u++) {
		w->a[u * m + u] += (float)w->c->arg[RIDGE];
		w->root[u] = 1 / sqrtf(w->c->kern->sum(w->a + u * m, m));
	}
}

/* bv = D^-1/2 kappa(S, K) V, then w = D^-1/2 Z bv: rows are split over the team. */
static void compress(const struct work *w, struct attn_team *team, size_t u0, size_t u1)
{
	const struct attn_call *c = w->c;
	const struct kern *kern = c->kern;
	size_t n = c->shape->n_k, d_v = c->shape->d_v, size = w->m * w->ld_v;
	size_t j1 = n * (team->rank + 1) / team->size;
	float *mine = w->part + team->rank * size;

	memset(mine, 0, size * sizeof *mine);
	for (size_t j = n * team->rank / team->size; j < j1; j += ROWS) {
		size_t rows = least(j1 - j, ROWS);
		kappa(w, (const float *)c->k + j * c->ldk, c->ldk, rows, w->g, w->ld_m);
		kern->mm(mine, w->ld_v, w->g, 1, w->ld_m, (const float *)c->v + j * c->ldv, c->ldv, w->m, d_v,
		         rows, true);
	}
	attn_barrier(team);
	for (size_t u = u0; u < u1; u++) {
		float *bv = w->bv + u * w->ld_v;
		memset(bv, 0, d_v * sizeof *bv);
		for (size_t r = 0; r < team->size; r++)
			kern->axpy(bv, w->root[u], w->part + r * size + u * w->ld_v, d_v);
	}
	attn_barrier(team);
	kern->mm(w->w + u0 * w->ld_v, w->ld_v, w->z + u0 * w->m, w->m, 1, w->bv, w->ld_v, u1 - u0, d_v,
	         w->m, false);
	for (size_t u = u0; u < u1; u++)
		kern->scale(w->w + u * w->ld_v, w->root[u], d_v);
	attn_barrier(team);
}

static void count(const struct work *w)
{
	const struct attn_shape *s = w->c->shape;
	double m = (double)w->m, iters = w->c->arg[PINV] == ITERATE ? w->c->arg[ITERS] : 0;

	w->c->stats->pairs += m * (double)(s->n_q + s->n_k);
	w->c->stats->flops_executed += 2 * m * ((double)(s->n_q + s->n_k) + m) * (double)(s->d + s->d_v) +
	                               8 * iters * m * m * m;
}

static void forward(const struct attn_call *c, struct attn_team *team)
{
	struct work w = work_init(c, team);
	size_t m = w.m, n = c->shape->n_q, end = n * (team->rank + 1) / team->size;
	size_t u0 = m * team->rank / team->size, u1 = m * (team->rank + 1) / team->size;

	gather(&w, u0, u1);
	attn_barrier(team);
	landmark_kernel(&w, u0, u1);
	attn_barrier(team);
	for (size_t u = u0; u < u1; u++) {
		c->kern->mul(w.a + u * m, w.a + u * m, w.root, m);
		c->kern->scale(w.a + u * m, w.root[u], m);
	}
	attn_barrier(team);
	if (c->arg[PINV] == ITERATE)
		pinv_iterate(w.a, m, (size_t)c->arg[ITERS], w.z, w.pinv, team);
	else if (team->rank == 0)
		pinv_exact(w.a, m, w.z, w.pinv);
	attn_barrier(team);
	compress(&w, team, u0, u1);
	for (size_t i = n * team->rank / team->size; i < end; i += ROWS) {
		size_t rows = least(end - i, ROWS);
		kappa(&w, (const float *)c->q + i * c->ldq, c->ldq, rows, w.g, w.ld_m);
		c->kern->mm((float *)c->out + i * c->ldo, c->ldo, w.g, w.ld_m, 1, w.w, w.ld_v, rows,
		            c->shape->d_v, m, false);
	}
	if (c->stats && team->rank == 0)
		count(&w);
}

const struct attn_variant attn_skyformer = {
	.abi = ATTN_ABI,
	.name = "skyformer",
	.family = "low-rank",
	.title = "Skyformer",
	.paper = "Chen, Zeng, Ji, Yang 2021, NeurIPS, arXiv 2111.00035",
	.formula = "O ~ C V, C_ij = exp(-scale |q_i - k_j|^2 / 2), by Nystrom with m landmarks",
	.complexity = "n m d + m^3",
	.target = "its own Gaussian kernel without normaliser, as m reaches 2 n and ridge 0",
	.summary = "A kernel of its own without normaliser: compare directions (cosine), not magnitudes, "
	           "with softmax.",
	.flags = ATTN_BIDIRECTIONAL | ATTN_CROSS | ATTN_RANDOM | ATTN_PARALLEL | ATTN_LOGITS,
	.impl_bound = 5e-6f,
	.cases = cases,
	.params = params,
	.plan = plan,
	.prepare = prepare,
	.forward = forward,
	.oracle = oracle_skyformer,
};
