/* SPDX-License-Identifier: BSD-3-Clause
 *
 * linformer: keys and values projected along the sequence.
 *
 *     O = softmax(scale Q (E K)^T) (F V),   E, F: k x n
 *
 * Time n k (d + d_v) and the projection, 2 n k (d + d_v) FLOP when dense. Wang, Li,
 * Khabsa, Fang, Ma 2020, arXiv 2006.04768.
 *
 *     proj=avg      segment means; ln(size) is added to a logit where sizes differ,
 *                   so that piecewise constant K, V give the exact result
 *     proj=gauss    N(0, 1/k): logits grow by sqrt(n/k), useless without training
 *     proj=uniform  +-1/sqrt k, as some codes initialise
 *
 * Column j of E is the same for every length. There is no causal form.
 */
#include "../engine/segment.h"
#include "../engine/tile.h"
#include "../engine/work.h"
#include "../kernels/gemm.h"
#include "../oracle/oracle.h"

enum { K, PROJ, SHARED };
enum { AVG, GAUSS, UNIFORM };

static const char *const projections[] = { "avg", "gauss", "uniform", NULL };

static const struct attn_param params[] = {
	{ "k", "projected length; at most n", ATTN_INT, 256, 1, 1 << 20, NULL },
	{ "proj", "projection", ATTN_NAME, 0, 0, 2, projections },
	{ "shared", "F = E", ATTN_FLAG, 1, 0, 1, NULL },
	{ 0 },
};

static size_t length(const struct attn_shape *s, const double *arg)
{
	return (size_t)arg[K] < s->n_k ? (size_t)arg[K] : s->n_k;
}

static size_t matrices(const double *arg)
{
	return arg[PROJ] == AVG ? 0 : arg[SHARED] != 0 ? 1 : 2;
}

static const char *const cases[] = { "k=10", "k=10:proj=gauss", "k=8:proj=uniform:shared=0", NULL };

static void refine(const double *arg, unsigned *flags, float *impl_bound)
{
	(void)impl_bound;
	/* Rows of a random F neither sum to 1 nor are positive; E moves a shift. */
	if (arg[PROJ] == AVG)
		*flags &= ~(unsigned)ATTN_RANDOM;
	else
		*flags &= ~(unsigned)(ATTN_ROWSUM | ATTN_NONNEG | ATTN_KSHIFT);
}

static const char *plan(const struct attn_shape *s, const double *arg, size_t ranks,
                        struct attn_plan *p)
{
	size_t k = length(s, arg), lanes = KERN_MAX_LANES;
	double n_k = (double)s->n_k, both = (double)(s->d + s->d_v);

	(void)ranks;
	if (s->causal)
		return "causal Linformer does not exist: its projection mixes the future into every key";
	work_softmax(s, (double)s->n_q * (double)k,
	             (double)((s->n_q + lanes - 1) / lanes * lanes * k), p);
	double projection = matrices(arg) ? 2 * n_k * (double)k * both : n_k * both;
	p->flops_useful += projection;
	p->flops_executed += projection;
	p->state = matrices(arg) * k * s->n_k * sizeof(float);
	p->shared = TILE_SHARED_BYTES + k * (s->d + s->d_v + 1) * sizeof(float);
	p->scratch = tile_scratch_bytes(s->d, s->d_v);
	p->bytes += (double)p->state;
	return NULL;
}

static void prepare(const struct attn_shape *s, const double *arg, uint64_t seed, void *state)
{
	size_t k = length(s, arg);
	double root = 1 / sqrt((double)k);

	for (size_t matrix = 0; matrix < matrices(arg); matrix++) {
		uint64_t stream = attn_random_stream("linformer", s->head, matrix);
		float *e = (float *)state + matrix * k * s->n_k;
		for (size_t j = 0; j < s->n_k; j++) {
			for (size_t u = 0; u < k; u++) {
				uint64_t at = j * k + u;
				double z = arg[PROJ] == GAUSS ? attn_random_normal(seed, stream, at)
				                              : 2 * attn_random_uniform(seed, stream, at) - 1;
				e[u * s->n_k + j] = (float)(z * root);
			}
		}
	}
}

/* The projected keys and values, and the logits' bias. */
struct projected {
	float *k, *v, *bias;
};

static struct projected projected_at(const struct attn_call *c)
{
	const struct attn_shape *s = c->shape;
	size_t k = length(s, c->arg);
	struct projected p = { .k = (float *)((char *)c->shared + TILE_SHARED_BYTES) };

	p.v = p.k + k * s->d;
	p.bias = p.v + k * s->d_v;
	return p;
}

/* Rows [u0, u1) of E K, F V. */
static void project(const struct attn_call *c, const struct projected *p, size_t u0, size_t u1)
{
	const struct attn_shape *s = c->shape;
	size_t k = length(s, c->arg), n = s->n_k;

	if (c->arg[PROJ] == AVG) {
		segment_means(c->kern, c->k, c->ldk, n, s->d, k, u0, u1, p->k);
		segment_means(c->kern, c->v, c->ldv, n, s->d_v, k, u0, u1, p->v);
		for (size_t u = u0; u < u1; u++)
			p->bias[u] = logf((float)segment_size(n, k, u));
		return;
	}
	const float *e = c->state, *f = e + (matrices(c->arg) - 1) * k * n;
	gemm_nn(u1 - u0, s->d, n, 1, e + u0 * n, n, c->k, c->ldk, 0, p->k + u0 * s->d, s->d);
	gemm_nn(u1 - u0, s->d_v, n, 1, f + u0 * n, n, c->v, c->ldv, 0, p->v + u0 * s->d_v, s->d_v);
}

static void pattern(struct tile *t, const void *ctx)
{
	const struct attn_shape *s = t->call->shape;
	const struct projected *p = ctx;
	size_t k = length(s, t->call->arg);
	bool even = k == 0 || t->call->arg[PROJ] != AVG || s->n_k % k == 0;

	tile_keys(t, p->k, s->d, p->v, s->d_v, k, even ? NULL : p->bias);
}

static void forward(const struct attn_call *c, struct attn_team *team)
{
	const struct attn_shape *s = c->shape;
	struct projected p = projected_at(c);
	size_t k = length(s, c->arg);

	project(c, &p, k * team->rank / team->size, k * (team->rank + 1) / team->size);
	attn_barrier(team);
	tile_run(c, team, pattern, &p, false);
	if (c->stats && team->rank == 0)
		c->stats->flops_executed += (matrices(c->arg) ? 2 * (double)k : 1) * (double)s->n_k *
		                            (double)(s->d + s->d_v);
}

const struct attn_variant attn_linformer = {
	.abi = ATTN_ABI,
	.name = "linformer",
	.family = "low-rank",
	.title = "Linformer",
	.paper = "Wang, Li, Khabsa, Fang, Ma 2020, arXiv 2006.04768",
	.formula = "O = softmax(scale Q (E K)^T) (F V), E, F: k x n",
	.complexity = "n k d",
	.target = "softmax attention as k reaches n with proj=avg",
	.summary = "With segment means good on smooth tokens, near the uniform average on unstructured "
	           "ones; Gaussian E and F need a trained model.",
	.flags = ATTN_BIDIRECTIONAL | ATTN_CROSS | ATTN_RANDOM | ATTN_PARALLEL | ATTN_ROWSUM |
	         ATTN_NONNEG | ATTN_QPERM | ATTN_KSHIFT | ATTN_LOGITS,
	.impl_bound = 2e-6f,
	.limit = "k=n:proj=avg",
	.cases = cases,
	.params = params,
	.refine = refine,
	.plan = plan,
	.prepare = prepare,
	.forward = forward,
	.oracle = oracle_linformer,
};
