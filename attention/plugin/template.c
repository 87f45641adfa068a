/* SPDX-License-Identifier: BSD-3-Clause
 *
 * alibi: softmax attention with a penalty on distance. A variant in one file,
 * outside of attnbench, to copy and change:
 *
 *     cc -O2 -fPIC -shared -o alibi.so template.c -lm
 *     attnbench verify --plugin ./alibi.so --variant alibi
 *
 *     s_ij = scale q_i.k_j - slope |i' - j|,  i' = i + n_k - n_q
 *     slope of head h of H = factor 2^(-8 (h + 1) / H)
 *
 * Time n_q n_k (d + d_v), memory n_k a thread. Press, Smith, Lewis 2021, ICLR
 * 2022, arXiv 2108.12409; there only the causal form.
 */
#include <attnbench/attn.h>

/* 1. Parameters: what a user may set, as --variant alibi:factor=0.5|1. */
enum { FACTOR };

static const struct attn_param params[] = {
	{ "factor", "of the slopes; 0 is plain softmax", ATTN_REAL, 1, 0, 100, NULL },
	{ 0 },
};

static double slope(const struct attn_shape *s, const double *arg)
{
	return arg[FACTOR] * exp2(-8 * ((double)s->head + 1) / (double)s->heads);
}

/* Keys that query i sees: causal attention is aligned at the bottom right. */
static size_t visible(const struct attn_shape *s, size_t i)
{
	size_t end = i + 1 + s->n_k;

	if (!s->causal)
		return s->n_k;
	end = end > s->n_q ? end - s->n_q : 0;
	return end < s->n_k ? end : s->n_k;
}

/* 2. What a call of one head needs and does. Say here what cannot be. */
static const char *plan(const struct attn_shape *s, const double *arg, size_t ranks,
                        struct attn_plan *p)
{
	double sizes = (double)s->d + (double)s->d_v;

	(void)arg;
	(void)ranks;
	if (s->n_k > SIZE_MAX / sizeof(float))
		return "the row of weights is too long";
	for (size_t i = 0; i < s->n_q; i++)
		p->pairs += (double)visible(s, i);
	p->flops_useful = p->flops_executed = 2 * p->pairs * sizes;
	p->n_exp = p->pairs;
	p->bytes = sizeof(float) * ((double)s->n_q + (double)s->n_k) * sizes;
	p->scratch = s->n_k * sizeof(float); /* of each thread: a row of weights */
	return NULL;
}

/* 3. The call. Every thread of the team comes here; each takes its rows. */
static void forward(const struct attn_call *c, struct attn_team *team)
{
	const struct attn_shape *s = c->shape;
	const float *q = c->q, *k = c->k, *v = c->v;
	float *w = c->scratch, m = (float)slope(s, c->arg);

	for (size_t i = team->rank; i < s->n_q; i += team->size) {
		float *out = (float *)c->out + i * c->ldo, max = -INFINITY, sum = 0;
		size_t n = visible(s, i);
		for (size_t j = 0; j < n; j++) {
			float dot = 0, at = (float)i + (float)s->n_k - (float)s->n_q;
			for (size_t x = 0; x < s->d; x++)
				dot += q[i * c->ldq + x] * k[j * c->ldk + x];
			w[j] = s->scale * dot - m * fabsf(at - (float)j);
			max = w[j] > max ? w[j] : max;
		}
		memset(out, 0, s->d_v * sizeof *out); /* stays so if it sees no key */
		for (size_t j = 0; j < n; j++)
			sum += w[j] = expf(w[j] - max);
		for (size_t j = 0; j < n; j++)
			for (size_t x = 0; x < s->d_v; x++)
				out[x] += w[j] / sum * v[j * c->ldv + x];
	}
}

/* 4. The definition, in double and in the plainest way: tests and the column
 * err_impl_rel_fro compare with it. NULL if there is none. */
static void definition(const struct attn_oracle_call *c)
{
	const struct attn_shape *s = c->shape;
	double *w = c->alloc(c->owner, s->n_k);

	for (size_t r = 0; r < c->n_rows; r++) {
		size_t i = c->rows[r], n = visible(s, i);
		double *out = c->out + r * s->d_v, max = -HUGE_VAL, sum = 0;
		for (size_t j = 0; j < n; j++) {
			double dot = 0, at = (double)i + (double)s->n_k - (double)s->n_q;
			for (size_t x = 0; x < s->d; x++)
				dot += c->q[i * s->d + x] * c->k[j * s->d + x];
			w[j] = (double)s->scale * dot - slope(s, c->arg) * fabs(at - (double)j);
			max = fmax(max, w[j]);
		}
		for (size_t j = 0; j < n; j++)
			sum += w[j] = exp(w[j] - max);
		for (size_t x = 0; x < s->d_v; x++) {
			out[x] = 0;
			for (size_t j = 0; j < n; j++)
				out[x] += w[j] / sum * c->v[j * s->d_v + x];
		}
	}
}

/* 5. What it is called and which properties it has: `attnbench verify` holds
 * it to each of the flags. */
static const char *const cases[] = { "factor=0.25", NULL };

static const struct attn_variant alibi = {
	.abi = ATTN_ABI,
	.name = "alibi",
	.family = "other",
	.title = "linear biases",
	.paper = "Press, Smith, Lewis 2021, ICLR 2022, arXiv 2108.12409",
	.formula = "softmax of scale q.k - slope |i - j|",
	.complexity = "n^2 d",
	.target = "softmax attention as factor goes to 0",
	.summary = "The plainest loops, for reading rather than for speed.",
	.flags = ATTN_CAUSAL | ATTN_BIDIRECTIONAL | ATTN_CROSS | ATTN_PARALLEL | ATTN_ROWSUM |
	         ATTN_NONNEG | ATTN_KSHIFT | ATTN_LOGITS,
	.impl_bound = 5e-6f,
	.limit = "factor=0",
	.cases = cases,
	.params = params,
	.plan = plan,
	.forward = forward,
	.oracle = definition,
};

/* 6. The symbol that attnbench looks for: all variants of the file, then NULL. */
extern const struct attn_variant *const attn_plugin[];
const struct attn_variant *const attn_plugin[] = { &alibi, NULL };
