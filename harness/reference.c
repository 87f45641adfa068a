/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Exact attention in double. One lane of a vector is one query, so maxima,
 * sums and masks need no operation across lanes; products are plain C that the
 * compiler turns into the vectors of the instruction set at hand. Per query
 *
 *     m = max_j s_j,  Z = sum_j e^(s_j - m),  T = sum_j e^(s_j - m) (s_j - m)
 *     out = sum_j e^(s_j - m) v_j / Z,        H = ln Z - T / Z
 *
 * are kept for the keys so far and rescaled when m grows.
 */
#include "reference.h"

#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "cache.h"

/* BLOCK keys of d + d_v = 128 doubles are 32 KiB: the first-level cache. */
enum { LANES = 8, BLOCK = 32 };

typedef double vec __attribute__((vector_size(LANES * sizeof(double))));

#define INLINE static inline __attribute__((always_inline))

/* p[j] = q . k_j for n keys, 1 <= n <= BLOCK; q is d x LANES. */
INLINE void scores_body(const vec *q, const double *k, size_t d, size_t n, vec *p)
{
	size_t j = 0;

	for (; j + 4 <= n; j += 4, k += 4 * d) {
		vec a = { 0 }, b = { 0 }, c = { 0 }, e = { 0 };
		for (size_t i = 0; i < d; i++) {
			a += q[i] * k[i];
			b += q[i] * k[d + i];
			c += q[i] * k[2 * d + i];
			e += q[i] * k[3 * d + i];
		}
		p[j] = a;
		p[j + 1] = b;
		p[j + 2] = c;
		p[j + 3] = e;
	}
	for (; j < n; j++, k += d) {
		vec a = { 0 };
		for (size_t i = 0; i < d; i++)
			a += q[i] * k[i];
		p[j] = a;
	}
}

/* acc[c] += sum_j p[j] v_j[c] */
INLINE void values_body(const vec *p, const double *v, size_t d_v, size_t n, vec *acc)
{
	size_t c = 0;

	for (; c + 4 <= d_v; c += 4) {
		vec a0 = acc[c], a1 = acc[c + 1], a2 = acc[c + 2], a3 = acc[c + 3];
		for (size_t j = 0; j < n; j++) {
			const double *x = v + j * d_v + c;
			a0 += p[j] * x[0];
			a1 += p[j] * x[1];
			a2 += p[j] * x[2];
			a3 += p[j] * x[3];
		}
		acc[c] = a0;
		acc[c + 1] = a1;
		acc[c + 2] = a2;
		acc[c + 3] = a3;
	}
	for (; c < d_v; c++)
		for (size_t j = 0; j < n; j++)
			acc[c] += p[j] * v[j * d_v + c];
}

typedef void product_fn(const vec *, const double *, size_t, size_t, vec *);

/* The bodies once for each instruction set; none contracts a*b + c, so all
 * give the same bits. */
#if defined(__x86_64__)
__attribute__((target("avx512f")))
static void scores_avx512(const vec *q, const double *k, size_t d, size_t n, vec *p)
{
	scores_body(q, k, d, n, p);
}

__attribute__((target("avx512f")))
static void values_avx512(const vec *p, const double *v, size_t d_v, size_t n, vec *acc)
{
	values_body(p, v, d_v, n, acc);
}

__attribute__((target("avx2")))
static void scores_avx2(const vec *q, const double *k, size_t d, size_t n, vec *p)
{
	scores_body(q, k, d, n, p);
}

__attribute__((target("avx2")))
static void values_avx2(const vec *p, const double *v, size_t d_v, size_t n, vec *acc)
{
	values_body(p, v, d_v, n, acc);
}
#endif

static void scores_plain(const vec *q, const double *k, size_t d, size_t n, vec *p)
{
	scores_body(q, k, d, n, p);
}

static void values_plain(const vec *p, const double *v, size_t d_v, size_t n, vec *acc)
{
	values_body(p, v, d_v, n, acc);
}

static void choose(product_fn **scores, product_fn **values)
{
	*scores = scores_plain;
	*values = values_plain;
#if defined(__x86_64__)
	if (__builtin_cpu_supports("avx512f")) {
		*scores = scores_avx512;
		*values = values_avx512;
	} else if (__builtin_cpu_supports("avx2")) {
		*scores = scores_avx2;
		*values = values_avx2;
	}
#endif
}

/* ---- one group of queries ------------------------------------------------ */

/* A rank's own. */
struct lanes {
	vec *q, *acc, *p; /* d, d_v, BLOCK */
	double max[LANES], sum[LANES], moment[LANES], logit_max;
	size_t visible[LANES];
};

struct work {
	const struct reference_input *in;
	struct reference *ref;
	double *k, *v;      /* of one head */
	double *entropy;    /* heads x n_rows: H in nats, NAN if fewer than two keys are visible */
	struct lanes *rank;
	_Atomic size_t *next; /* group to take, one counter a head */
	product_fn *scores, *values;
};

size_t reference_visible(const struct reference_input *in, size_t i)
{
	if (!in->causal)
		return in->n_k;
	size_t end = i + 1 + in->n_k;
	if (end <= in->n_q)
		return 0;
	return end - in->n_q < in->n_k ? end - in->n_q : in->n_k;
}

/* Turns the logits p of keys first .. first + n - 1 of one lane into weights,
 * and rescales what the lane has gathered. */
static void absorb(struct lanes *l, size_t lane, size_t first, size_t n, size_t d_v)
{
	double *p = (double *)l->p + lane, *acc = (double *)l->acc + lane;
	size_t seen = l->visible[lane] > first ? l->visible[lane] - first : 0;
	double top = l->max[lane];

	seen = seen < n ? seen : n;
	for (size_t j = 0; j < seen; j++) {
		top = fmax(top, p[j * LANES]);
		l->logit_max = fmax(l->logit_max, fabs(p[j * LANES]));
	}
	if (top > l->max[lane]) {
		double shift = l->max[lane] - top, shrink = exp(shift);
		if (l->sum[lane] > 0)
			l->moment[lane] = shrink * (l->moment[lane] + shift * l->sum[lane]);
		l->sum[lane] *= shrink;
		for (size_t c = 0; c < d_v; c++)
			acc[c * LANES] *= shrink;
		l->max[lane] = top;
	}
	for (size_t j = 0; j < seen; j++) {
		double s = p[j * LANES] - top, weight = exp(s);
		l->sum[lane] += weight;
		l->moment[lane] += weight * s;
		p[j * LANES] = weight;
	}
	for (size_t j = seen; j < n; j++)
		p[j * LANES] = 0;
}

static void do_group(const struct work *w, struct lanes *l, size_t head, size_t group)
{
	const struct reference_input *in = w->in;
	struct reference *ref = w->ref;
	size_t first_row = group * LANES, rows = ref->n_rows - first_row, most = 0;

	rows = rows < LANES ? rows : LANES;
	memset(l->q, 0, in->d * sizeof *l->q);
	memset(l->acc, 0, in->d_v * sizeof *l->acc);
	for (size_t r = 0; r < LANES; r++) {
		l->max[r] = -INFINITY;
		l->sum[r] = l->moment[r] = 0;
		l->visible[r] = 0;
		if (r >= rows)
			continue;
		size_t i = ref->rows[first_row + r];
		const float *q = in->q + (head * in->n_q + i) * in->d;
		for (size_t c = 0; c < in->d; c++)
			((double *)l->q)[c * LANES + r] = (double)in->scale * (double)q[c];
		l->visible[r] = reference_visible(in, i);
		most = l->visible[r] > most ? l->visible[r] : most;
	}
	for (size_t j = 0; j < most; j += BLOCK) {
		size_t n = most - j < BLOCK ? most - j : BLOCK;
		w->scores(l->q, w->k + j * in->d, in->d, n, l->p);
		for (size_t r = 0; r < LANES; r++)
			absorb(l, r, j, n, in->d_v);
		w->values(l->p, w->v + j * in->d_v, in->d_v, n, l->acc);
	}
	for (size_t r = 0; r < rows; r++) {
		size_t row = head * ref->n_rows + first_row + r;
		double sum = l->sum[r], seen = (double)l->visible[r];
		for (size_t c = 0; c < in->d_v; c++)
			ref->out[row * in->d_v + c] =
			        sum > 0 ? ((double *)l->acc)[c * LANES + r] / sum : 0;
		w->entropy[row] = (double)NAN;
		if (seen >= 2)
			w->entropy[row] = log(sum) - l->moment[r] / sum;
	}
}

static void run(void *arg, struct attn_team *me)
{
	const struct work *w = arg;
	const struct reference_input *in = w->in;
	size_t groups = (w->ref->n_rows + LANES - 1) / LANES;
	size_t k = in->n_k * in->d, v = in->n_k * in->d_v;

	for (size_t head = 0; head < in->heads; head++) {
		for (size_t i = k * me->rank / me->size; i < k * (me->rank + 1) / me->size; i++)
			w->k[i] = (double)in->k[head * k + i];
		for (size_t i = v * me->rank / me->size; i < v * (me->rank + 1) / me->size; i++)
			w->v[i] = (double)in->v[head * v + i];
		attn_barrier(me);
		size_t group;
		while ((group = atomic_fetch_add(&w->next[head], 1)) < groups)
			do_group(w, &w->rank[me->rank], head, group);
		attn_barrier(me);
	}
}

/* ---- the whole ------------------------------------------------------------- */

static void *zeroed(size_t n, size_t size)
{
	size_t bytes = (n * size + sizeof(vec)) / sizeof(vec) * sizeof(vec);
	void *p = n > SIZE_MAX / 2 / size ? NULL : aligned_alloc(sizeof(vec), bytes);

	if (p)
		memset(p, 0, bytes);
	return p;
}

static size_t rows_of(const struct reference_input *in)
{
	return in->n_rows ? in->n_rows : reference_n_rows(in->n_q);
}

size_t reference_bytes(const struct reference_input *in, size_t threads)
{
	double rows = (double)rows_of(in);
	double head = (double)in->n_k * (double)(in->d + in->d_v);
	double rank = (double)threads * LANES * (double)(in->d + in->d_v + BLOCK);
	double doubles = (double)in->heads * rows * (double)(in->d_v + 1) + rows + head + rank;

	return doubles * sizeof(double) < 0x1p62 ? (size_t)doubles * sizeof(double) : SIZE_MAX;
}

static void summarize(const struct work *w, size_t ranks)
{
	const struct reference *ref = w->ref;
	double sum = 0, keys = 0, n = 0;

	for (size_t i = 0; i < ref->heads * ref->n_rows; i++) {
		if (!isnan(w->entropy[i])) {
			sum += w->entropy[i] / log((double)reference_visible(w->in, ref->rows[i % ref->n_rows]));
			keys += exp(w->entropy[i]);
			n++;
		}
	}
	w->ref->entropy_ratio = n > 0 ? sum / n : (double)NAN;
	w->ref->n_eff = n > 0 ? keys / n : (double)NAN;
	w->ref->entropy_rows = n;
	for (size_t r = 0; r < ranks; r++)
		w->ref->logit_max = fmax(w->ref->logit_max, w->rank[r].logit_max);
}

static const char *compute(struct reference *ref, const struct reference_input *in,
                           struct team *team)
{
	size_t ranks = team_size(team);
	const char *why = NULL;
	struct work w = { .in = in, .ref = ref };

	choose(&w.scores, &w.values);
	w.k = zeroed(in->n_k * in->d, sizeof *w.k);
	w.v = zeroed(in->n_k * in->d_v, sizeof *w.v);
	w.entropy = zeroed(ref->heads * ref->n_rows, sizeof *w.entropy);
	w.rank = zeroed(ranks, sizeof *w.rank);
	w.next = zeroed(in->heads, sizeof *w.next);
	bool ok = w.k && w.v && w.entropy && w.rank && w.next;
	for (size_t r = 0; ok && r < ranks; r++) {
		struct lanes *l = &w.rank[r];
		l->q = zeroed(in->d, sizeof *l->q);
		l->acc = zeroed(in->d_v, sizeof *l->acc);
		l->p = zeroed(BLOCK, sizeof *l->p);
		ok = l->q && l->acc && l->p;
	}
	if (ok) {
		team_run(team, TEAM_EXACT, run, &w);
		summarize(&w, ranks);
	} else {
		why = "no memory for exact attention in double";
	}
	for (size_t r = 0; w.rank && r < ranks; r++) {
		free(w.rank[r].q);
		free(w.rank[r].acc);
		free(w.rank[r].p);
	}
	free(w.k);
	free(w.v);
	free(w.entropy);
	free(w.rank);
	free(w.next);
	return why;
}

void reference_free(struct reference *ref)
{
	free(ref->rows);
	free(ref->out);
	*ref = (struct reference){ 0 };
}

const char *reference_get(struct reference *ref, const struct reference_input *in,
                          uint64_t input_hash, const char *cache_dir, struct team *team)
{
	char key[CACHE_KEY_MAX];

	*ref = (struct reference){ .heads = in->heads, .d_v = in->d_v };
	ref->n_rows = rows_of(in);
	ref->rows = zeroed(ref->n_rows, sizeof *ref->rows);
	ref->out = zeroed(ref->heads * ref->n_rows * in->d_v, sizeof *ref->out);
	if (!ref->rows || !ref->out) {
		reference_free(ref);
		return "no memory for exact attention in double";
	}
	reference_rows(in->n_q, ref->n_rows, ref->n_rows, ref->rows);
	struct cache_piece piece[] = {
		{ ref->out, ref->heads * ref->n_rows * in->d_v * sizeof *ref->out },
		{ &ref->entropy_ratio, sizeof ref->entropy_ratio },
		{ &ref->n_eff, sizeof ref->n_eff },
		{ &ref->entropy_rows, sizeof ref->entropy_rows },
		{ &ref->logit_max, sizeof ref->logit_max },
	};
	enum { PIECES = sizeof piece / sizeof *piece };
	bool named = cache_key(key,
	                       "exact input=%016llx heads=%zu n_q=%zu n_k=%zu d=%zu d_v=%zu "
	                       "causal=%d scale=%a", (unsigned long long)input_hash, in->heads,
	                       in->n_q, in->n_k, in->d, in->d_v, in->causal, (double)in->scale);
	if (named && cache_load(cache_dir, key, piece, PIECES))
		return NULL;
	ref->logit_max = 0;
	const char *why = compute(ref, in, team);
	if (why)
		reference_free(ref);
	else if (named)
		cache_store(cache_dir, key, piece, PIECES);
	return why;
}
