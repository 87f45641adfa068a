// SPDX-License-Identifier: BSD-3-Clause
//
// sigmoid: attention without a sum over the row, in C++. Weights do not add up to 1.
//
//     c++ -std=c++20 -O3 -march=native -fPIC -shared -o sigmoid.so sigmoid.cpp
//
//     O_i = sum_j 1 / (1 + e^-(scale q_i.k_j + b)) v_j,  b = -ln n_k unless given
//
// Time n_q n_k (d + d_v), memory d_v a thread. Ramapuram et al. 2024, arXiv 2409.04431.
#include <attnbench/attn.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numeric>
#include <span>

namespace {

const attn_param params[] = {
	{ "bias", "added to each logit; auto: -ln n", ATTN_REAL, NAN, -1e3, 1e3, nullptr },
	{},
};

void resolve(const attn_shape *s, double *arg)
{
	if (std::isnan(arg[0]))
		arg[0] = -std::log(double(std::max<std::size_t>(s->n_k, 1)));
}

std::size_t visible(const attn_shape &s, std::size_t i)
{
	return s.causal ? std::min(s.n_k, std::max(i + 1 + s.n_k, s.n_q) - s.n_q) : s.n_k;
}

const char *plan(const attn_shape *s, const double *, std::size_t, struct attn_plan *p)
{
	double sizes = double(s->d) + double(s->d_v);

	for (std::size_t i = 0; i < s->n_q; i++)
		p->pairs += double(visible(*s, i));
	p->flops_useful = p->flops_executed = 2 * p->pairs * sizes;
	p->n_exp = p->pairs;
	p->bytes = 4 * (double(s->n_q) + double(s->n_k)) * sizes;
	p->scratch = s->d_v * sizeof(double);
	return nullptr;
}

// One row: of float for the call, of double for the definition.
template <typename T>
void row(const attn_shape &s, double bias, std::size_t i, const T *q, const T *k, std::size_t ldk,
         const T *v, std::size_t ldv, std::span<double> sum)
{
	std::fill(sum.begin(), sum.end(), 0.0);
	for (std::size_t j = 0, n = visible(s, i); j < n; j++) {
		double dot = std::inner_product(q, q + s.d, k + j * ldk, 0.0);
		double weight = 1 / (1 + std::exp(-(double(s.scale) * dot + bias)));
		for (std::size_t x = 0; x < sum.size(); x++)
			sum[x] += weight * double(v[j * ldv + x]);
	}
}

void forward(const attn_call *c, attn_team *team)
{
	const attn_shape &s = *c->shape;
	auto q = static_cast<const float *>(c->q), k = static_cast<const float *>(c->k);
	auto v = static_cast<const float *>(c->v);
	std::span<double> sum(static_cast<double *>(c->scratch), s.d_v);

	for (std::size_t i = team->rank; i < s.n_q; i += team->size) {
		row(s, c->arg[0], i, q + i * c->ldq, k, c->ldk, v, c->ldv, sum);
		std::copy(sum.begin(), sum.end(), static_cast<float *>(c->out) + i * c->ldo);
	}
}

void definition(const attn_oracle_call *c)
{
	for (std::size_t r = 0; r < c->n_rows; r++)
		row(*c->shape, c->arg[0], c->rows[r], c->q + c->rows[r] * c->shape->d, c->k, c->shape->d, c->v,
		    c->shape->d_v, std::span<double>(c->out + r * c->shape->d_v, c->shape->d_v));
}

const attn_variant sigmoid = {
	.abi = ATTN_ABI, .name = "sigmoid", .family = "other", .title = "sigmoid attention",
	.paper = "Ramapuram et al. 2024, arXiv 2409.04431",
	.formula = "O_i = sum sigmoid(scale q.k + b) v_j", .complexity = "n^2 d",
	.target = "its own weights",
	.summary = "Rows of weights do not add up to 1.",
	.flags = ATTN_CAUSAL | ATTN_BIDIRECTIONAL | ATTN_CROSS | ATTN_PARALLEL | ATTN_NONNEG | ATTN_QPERM |
	         ATTN_KPERM | ATTN_LOGITS,
	.impl_bound = 2e-6f, .params = params, .resolve = resolve, .plan = plan, .forward = forward,
	.oracle = definition,
};

} // namespace

extern "C" const attn_variant *const attn_plugin[] = { &sigmoid, nullptr };
