/* SPDX-License-Identifier: BSD-3-Clause
 *
 * onednn: softmax attention by primitives of oneDNN 2, as packaged by Debian
 * (libdnnl-dev): product, softmax, product. A library behind the interface:
 *
 *     cc -O2 -fPIC -shared -o onednn.so onednn.c -lm -ldnnl
 *
 * Time n_q n_k (d + d_v), memory n_q n_k. oneDNN chooses its kernels and keeps
 * buffers of its own, which the growth of the process shows (rss_delta_bytes)
 * and the declared work space does not. Its primitives are made in each call, as
 * the strides are known only there; from the second on they are in its cache.
 * One thread computes a part of the rows: set OMP_NUM_THREADS=1, as attnbench
 * does for its workers.
 */
#include <attnbench/attn.h>

#include <oneapi/dnnl/dnnl.h>

struct part {
	dnnl_engine_t engine;
	dnnl_stream_t stream;
	bool ok;
};

static void check(struct part *p, dnnl_status_t status)
{
	p->ok = p->ok && status == dnnl_success;
}

static dnnl_memory_t memory(struct part *p, size_t rows, size_t cols, size_t row_step, size_t col_step,
                            const void *data, dnnl_memory_desc_t *desc)
{
	const dnnl_dims_t dims = { (dnnl_dim_t)rows, (dnnl_dim_t)cols };
	const dnnl_dims_t steps = { (dnnl_dim_t)row_step, (dnnl_dim_t)col_step };
	dnnl_memory_t made = NULL;

	check(p, dnnl_memory_desc_init_by_strides(desc, 2, dims, dnnl_f32, steps));
	check(p, dnnl_memory_create(&made, desc, p->engine, (void *)(uintptr_t)data));
	return made;
}

/* Runs what the description says on up to three arguments. */
static void run(struct part *p, const_dnnl_op_desc_t op, const_dnnl_primitive_attr_t attr,
                const dnnl_exec_arg_t *arg, int args)
{
	dnnl_primitive_desc_t desc = NULL;
	dnnl_primitive_t primitive = NULL;

	check(p, dnnl_primitive_desc_create(&desc, op, attr, p->engine, NULL));
	if (p->ok)
		check(p, dnnl_primitive_create(&primitive, desc));
	if (p->ok)
		check(p, dnnl_primitive_execute(primitive, p->stream, args, arg));
	dnnl_stream_wait(p->stream);
	dnnl_primitive_destroy(primitive);
	dnnl_primitive_desc_destroy(desc);
}

static void matmul(struct part *p, float scale, const dnnl_memory_desc_t desc[3], dnnl_memory_t a,
                   dnnl_memory_t b, dnnl_memory_t c)
{
	const dnnl_exec_arg_t arg[] = { { DNNL_ARG_SRC, a }, { DNNL_ARG_WEIGHTS, b }, { DNNL_ARG_DST, c } };
	dnnl_primitive_attr_t attr = NULL;
	dnnl_matmul_desc_t op;

	check(p, dnnl_primitive_attr_create(&attr));
	check(p, dnnl_primitive_attr_set_output_scales(attr, 1, 0, &scale));
	check(p, dnnl_matmul_desc_init(&op, &desc[0], &desc[1], NULL, &desc[2]));
	run(p, &op, attr, arg, 3);
	dnnl_primitive_attr_destroy(attr);
}

/* Rows [from, to) of the output. */
static void rows(struct part *p, const struct attn_call *c, size_t from, size_t to)
{
	const struct attn_shape *s = c->shape;
	const float *q = (const float *)c->q + from * c->ldq;
	float *out = (float *)c->out + from * c->ldo, *w = c->scratch;
	size_t n = to - from;
	dnnl_memory_desc_t dq, dk, dv, dw, dout;
	dnnl_softmax_desc_t softmax;
	dnnl_memory_t mq = memory(p, n, s->d, c->ldq, 1, q, &dq);
	dnnl_memory_t mk = memory(p, s->d, s->n_k, 1, c->ldk, c->k, &dk); /* transposed */
	dnnl_memory_t mv = memory(p, s->n_k, s->d_v, c->ldv, 1, c->v, &dv);
	dnnl_memory_t mw = memory(p, n, s->n_k, s->n_k, 1, w, &dw);
	dnnl_memory_t mout = memory(p, n, s->d_v, c->ldo, 1, out, &dout);
	const dnnl_exec_arg_t in_place[] = { { DNNL_ARG_SRC, mw }, { DNNL_ARG_DST, mw } };

	matmul(p, s->scale, (dnnl_memory_desc_t[]){ dq, dk, dw }, mq, mk, mw);
	for (size_t i = from; s->causal && i < to; i++)
		for (size_t j = i + 1; j < s->n_k; j++)
			w[(i - from) * s->n_k + j] = -INFINITY;
	check(p, dnnl_softmax_forward_desc_init(&softmax, dnnl_forward_inference, &dw, 1));
	run(p, &softmax, NULL, in_place, 2);
	matmul(p, 1, (dnnl_memory_desc_t[]){ dw, dv, dout }, mw, mv, mout);
	dnnl_memory_t all[] = { mq, mk, mv, mw, mout };
	for (size_t i = 0; i < sizeof all / sizeof *all; i++)
		dnnl_memory_destroy(all[i]);
}

static void forward(const struct attn_call *c, struct attn_team *team)
{
	size_t n = c->shape->n_q, from = n * team->rank / team->size, to = n * (team->rank + 1) / team->size;
	struct part p = { .ok = true };

	check(&p, dnnl_engine_create(&p.engine, dnnl_cpu, 0));
	check(&p, dnnl_stream_create(&p.stream, p.engine, dnnl_stream_default_flags));
	if (p.ok && from < to)
		rows(&p, c, from, to);
	/* A call cannot fail, but its output can say so. */
	for (size_t i = from; !p.ok && i < to; i++)
		((float *)c->out)[i * c->ldo] = NAN;
	dnnl_stream_destroy(p.stream);
	dnnl_engine_destroy(p.engine);
}

static const char *plan(const struct attn_shape *s, const double *arg, size_t ranks, struct attn_plan *p)
{
	double n = (double)s->n_q, keys = (double)s->n_k, sizes = (double)s->d + (double)s->d_v;

	(void)arg;
	if (s->n_k == 0)
		return "needs at least one key";
	p->pairs = s->causal ? n * (n + 1) / 2 : n * keys;
	p->flops_useful = 2 * p->pairs * sizes;
	p->flops_executed = 2 * n * keys * sizes;
	p->n_exp = n * keys;
	p->bytes = sizeof(float) * (n + keys) * sizes;
	if (__builtin_mul_overflow((s->n_q + ranks - 1) / ranks, s->n_k * sizeof(float), &p->scratch))
		return "the matrix of weights is too large";
	return NULL;
}

static void definition(const struct attn_oracle_call *c)
{
	const struct attn_shape *s = c->shape;
	double *w = c->alloc(c->owner, s->n_k);

	for (size_t r = 0; r < c->n_rows; r++) {
		size_t i = c->rows[r], n = s->causal ? i + 1 : s->n_k;
		double max = -HUGE_VAL, sum = 0, *out = c->out + r * s->d_v;
		for (size_t j = 0; j < n; j++) {
			w[j] = 0;
			for (size_t x = 0; x < s->d; x++)
				w[j] += (double)s->scale * c->q[i * s->d + x] * c->k[j * s->d + x];
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

static const struct attn_variant onednn = {
	.abi = ATTN_ABI,
	.name = "onednn",
	.family = "exact",
	.title = "softmax by primitives of oneDNN",
	.paper = "Vaswani et al. 2017, NeurIPS, arXiv 1706.03762",
	.formula = "softmax(scale Q K^T) V",
	.complexity = "n^2 d",
	.target = "softmax attention: it is that",
	.summary = "Two matmul primitives and a softmax between them; the weights are stored.",
	.flags = ATTN_EXACT | ATTN_CAUSAL | ATTN_BIDIRECTIONAL | ATTN_PARALLEL | ATTN_ROWSUM | ATTN_NONNEG |
	         ATTN_QPERM | ATTN_KPERM | ATTN_KSHIFT | ATTN_LOGITS,
	.impl_bound = 2e-6f,
	.plan = plan,
	.forward = forward,
	.oracle = definition,
};

extern const struct attn_variant *const attn_plugin[];
const struct attn_variant *const attn_plugin[] = { &onednn, NULL };
