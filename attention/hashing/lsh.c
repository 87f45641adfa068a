/* SPDX-License-Identifier: BSD-3-Clause
 *
 * lsh: Reformer, attention within sorted hash buckets; one matrix for q and k.
 *
 *     k^_j = k_j / |k_j|,  h_r(x) = argmax [x R_r; -x R_r],  R_r Gaussian
 *
 * Each round sorts tokens by (h_r, position) and cuts them into chunks of c. A
 * query of chunk u sees chunks u and u - 1 (circular), j <= i if causal, itself
 * only where nothing else is seen: its own logit is lowered by 1e5. Rounds are
 * joined by their log-sum-exp, O_i = sum_r e^(lse_r) o_r / sum_r e^(lse_r); with
 * dedup a pair seen in N rounds has ln N subtracted, so that it counts once.
 *
 * Time R n d b (hashing; R n d sqrt b where b > 128: two hashes of factors of b),
 * R n 4 c (d + d_v). Kitaev, Kaiser, Levskaya 2020, ICLR, arXiv 2001.04451;
 * hashes: Andoni et al. 2015, arXiv 1509.02897. logit = lsh_scale q_i . k^_j with
 * scale 1, as trax; other codes multiply by 1/sqrt d or sqrt d.
 *
 * Here a pair is computed in the first round that sees it: key j was seen by query
 * i in round r iff the chunk of j in r is that of i or the one before, so a table
 * from chunks to the lanes that see them answers for a whole tile at once. Later
 * tokens move the sort and with it the set of past keys that are seen.
 */
#include "../engine/bucket.h"
#include "../engine/crosspoly.h"
#include "../engine/rows.h"
#include "../engine/work.h"
#include "../oracle/oracle.h"

#include <string.h>

enum { ROUNDS, CHUNK, BUCKETS, SCALE, DEDUP };
enum { MAX_ROUNDS = 64, SELF = 100000 };

static const struct attn_param params[] = {
	{ "rounds", "hash rounds", ATTN_INT, 4, 1, MAX_ROUNDS, NULL },
	{ "chunk", "tokens a chunk", ATTN_INT, 64, 1, 1 << 30, NULL },
	{ "buckets", "even; auto: the least even number >= n/chunk", ATTN_INT, NAN, 2, 1 << 20, NULL },
	{ "lsh_scale", "of the logits, in place of 1/sqrt d", ATTN_REAL, 1, 0, 1e6, NULL },
	{ "dedup", "count a pair once, however many rounds see it", ATTN_FLAG, 1, 0, 1, NULL },
	{ 0 },
};

static size_t least(size_t a, size_t b)
{
	return a < b ? a : b;
}

static size_t chunks(const struct attn_shape *s, const double *arg)
{
	return (s->n_k + (size_t)arg[CHUNK] - 1) / (size_t)arg[CHUNK];
}

static void resolve(const struct attn_shape *s, double *arg)
{
	double n = (double)chunks(s, arg);

	if (isnan(arg[BUCKETS]))
		arg[BUCKETS] = n < 2 ? 2 : n + fmod(n, 2);
}

static struct crosspoly hash(const struct attn_shape *s, const double *arg)
{
	return crosspoly_of((size_t)arg[BUCKETS], s->d);
}

/* State: R of each round. */
static void prepare(const struct attn_shape *s, const double *arg, uint64_t seed, void *state)
{
	size_t count = crosspoly_columns(hash(s, arg)) * s->d;

	for (size_t r = 0; r < (size_t)arg[ROUNDS]; r++)
		attn_random_normals(seed, attn_random_stream("lsh", s->head, r), 0, count,
		                    (float *)state + r * count);
}

/* Rows of the previous and the own chunk, in order of position. */
struct chunk {
	size_t id, count;
	const uint32_t *token; /* count */
	uint32_t *past;        /* earlier rounds x count: chunk of the token there */
	float *k, *v;          /* count x d, unit; count x d_v */
};

struct work {
	const struct attn_call *call;
	uint32_t *place; /* rounds x n: bucket, then chunk, of a token */
	uint32_t *order; /* rounds x n: tokens by (chunk, position) */
	float *inverse;  /* n: 1/|k_j|, 0 for a zero key */
	float *lse;      /* n */
	uint32_t *start; /* of this rank: buckets + 1 */
	uint32_t *seen;  /* (rounds - 1) x chunks: lanes that saw the chunk; zero between tiles */
	uint32_t *bits;  /* chunk */
	struct crosspoly_tile hash;
	struct rows rows;
	struct chunk chunk[2];
};

static size_t start_entries(const struct attn_shape *s, const double *arg)
{
	size_t buckets = crosspoly_buckets(hash(s, arg)), nc = chunks(s, arg);

	return (buckets > nc ? buckets : nc) + 1;
}

static size_t chunk_floats(const struct attn_shape *s, const double *arg)
{
	return least((size_t)arg[CHUNK], s->n_k) * (s->d + s->d_v + (size_t)arg[ROUNDS]);
}

static size_t scratch_bytes(const struct attn_shape *s, const double *arg)
{
	return rows_scratch_bytes(s->d, s->d_v) + crosspoly_bytes(hash(s, arg)) +
	       sizeof(float) * (start_entries(s, arg) + (size_t)arg[ROUNDS] * chunks(s, arg) +
	                        least((size_t)arg[CHUNK], s->n_k) + 2 * chunk_floats(s, arg));
}

static struct work work_at(const struct attn_call *c)
{
	const struct attn_shape *s = c->shape;
	size_t n = s->n_k, rounds = (size_t)c->arg[ROUNDS], count = least((size_t)c->arg[CHUNK], n);
	char *mem = (char *)c->scratch + rows_scratch_bytes(s->d, s->d_v);
	struct work w = { .call = c, .place = c->shared };

	w.order = w.place + rounds * n;
	w.inverse = (float *)(w.order + rounds * n);
	w.lse = c->lse ? c->lse : w.inverse + n;
	w.start = (uint32_t *)(mem + crosspoly_bytes(hash(s, c->arg)));
	w.seen = w.start + start_entries(s, c->arg);
	w.bits = w.seen + rounds * chunks(s, c->arg);
	for (size_t i = 0; i < 2; i++) {
		w.chunk[i].past = w.bits + count + i * chunk_floats(s, c->arg);
		w.chunk[i].k = (float *)(w.chunk[i].past + rounds * count);
		w.chunk[i].v = w.chunk[i].k + count * s->d;
	}
	rows_init(&w.rows, c, c->scratch);
	crosspoly_init(&w.hash, hash(s, c->arg), c, NULL, mem);
	memset(w.seen, 0, rounds * chunks(s, c->arg) * sizeof *w.seen);
	return w;
}

static const char *const cases[] = { "chunk=8:rounds=3", "chunk=16:rounds=2:dedup=0", "chunk=5:buckets=4",
	                             "chunk=200:rounds=1", "chunk=1:rounds=1", "chunk=9:buckets=130", NULL };

static void refine(const double *arg, unsigned *flags, float *impl_bound)
{
	(void)flags;
	/* Logits are as large as queries are long, not of order 1. */
	*impl_bound *= (float)fmax(1, arg[SCALE]);
}

static const char *plan(const struct attn_shape *s, const double *arg, size_t ranks,
                        struct attn_plan *p)
{
	double n = (double)s->n_k, c = arg[CHUNK], rounds = arg[ROUNDS];
	double share = fmin(1, 2 * c / n), side = (s->causal ? 0.5 : 1) * n * n;

	(void)ranks;
	if (fmod(arg[BUCKETS], 2) != 0)
		return "buckets must be even: a hash tells x from -x";
	/* Rounds as if independent; dedup leaves the union of them. */
	double seen = arg[DEDUP] != 0 ? side * (1 - pow(1 - share, rounds)) : side * share * rounds;
	double touched = s->causal ? fmin(c + TILE_ROWS, n) : fmin(2 * c, n);
	work_softmax(s, seen, n * touched * rounds, p);
	double hashing = 2 * n * (double)s->d * (rounds * (double)crosspoly_columns(hash(s, arg)) + 1);
	p->flops_useful += hashing;
	p->flops_executed += hashing;
	p->state = crosspoly_columns(hash(s, arg)) * (size_t)rounds * s->d * sizeof(float);
	p->shared = s->n_k * (2 * (size_t)rounds + 2) * sizeof(float);
	p->scratch = scratch_bytes(s, arg);
	return NULL;
}

/* ---- hashing and sorting ---- */

/* Buckets in every round, and 1/|k_j|, of the rank's tokens. */
static void hash_tokens(struct work *w, struct attn_team *team)
{
	const struct attn_call *c = w->call;
	size_t lanes = c->kern->lanes, n = c->shape->n_k, d = c->shape->d, rounds = (size_t)c->arg[ROUNDS];
	size_t columns = crosspoly_columns(w->hash.hash);
	const float *r = c->state;
	float longest = 0; /* column of R */

	for (size_t i = 0; i < rounds * columns; i++)
		longest = fmaxf(longest, sqrtf(c->kern->dot(r + i * d, r + i * d, d)));
	w->hash.tile = &w->rows.t.k;
	for (size_t first = team->rank * lanes; first < n; first += team->size * lanes) {
		const float *x = (const float *)c->k + first * c->ldk;
		size_t rows = least(lanes, n - first);
		crosspoly_load(&w->hash, x, c->ldk, rows);
		for (size_t round = 0; round < rounds; round++)
			crosspoly_hash(&w->hash, r + round * columns * d, longest, w->place + round * n + first);
		for (size_t i = 0; i < rows; i++) {
			float length = sqrtf(c->kern->dot(x + i * c->ldk, x + i * c->ldk, d));
			w->inverse[first + i] = length > 0 ? 1 / length : 0;
		}
	}
}

/* Tokens of one round by bucket, so that each has a chunk; then by chunk. */
static void sort_tokens(struct work *w, size_t round)
{
	const struct attn_call *c = w->call;
	size_t n = c->shape->n_k, size = (size_t)c->arg[CHUNK];
	uint32_t *place = w->place + round * n, *order = w->order + round * n;

	bucket_sort(place, n, 1, crosspoly_buckets(w->hash.hash), w->start, order);
	for (size_t i = 0; i < n; i++)
		place[order[i]] = (uint32_t)(i / size);
	bucket_sort(place, n, 1, chunks(c->shape, c->arg), w->start, order);
}

/* ---- attention ---- */

static void load_chunk(struct work *w, size_t round, size_t id, struct chunk *to)
{
	const struct attn_call *c = w->call;
	size_t n = c->shape->n_k, d = c->shape->d, d_v = c->shape->d_v, size = (size_t)c->arg[CHUNK];

	to->id = id;
	to->count = least(size, n - id * size);
	to->token = w->order + round * n + id * size;
	rows_gather(to->k, c->k, c->ldk, d, to->token, to->count);
	rows_gather(to->v, c->v, c->ldv, d_v, to->token, to->count);
	for (size_t i = 0; i < to->count; i++)
		c->kern->scale(to->k + i * d, w->inverse[to->token[i]], d);
	for (size_t r = 0; r < round; r++)
		for (size_t i = 0; i < to->count; i++)
			to->past[r * to->count + i] = w->place[r * n + to->token[i]];
}

/* Notes, or forgets, which chunks of earlier rounds the queries have seen. */
static void mark_seen(struct work *w, size_t round, const uint32_t *query, size_t rows, bool forget)
{
	size_t n = w->call->shape->n_k, nc = chunks(w->call->shape, w->call->arg);

	for (size_t r = 0; r < round; r++) {
		for (size_t i = 0; i < rows; i++) {
			size_t own = w->place[r * n + query[i]], before = own > 0 ? own - 1 : nc - 1;
			uint32_t lane = forget ? 0 : 1u << i;
			w->seen[r * nc + own] = forget ? 0 : w->seen[r * nc + own] | lane;
			w->seen[r * nc + before] = forget ? 0 : w->seen[r * nc + before] | lane;
		}
	}
}

/* The queries query[0 .. rows), ascending, against one chunk of keys. `self` is
 * where the first of them is among the keys, SIZE_MAX if elsewhere. */
static void meet(struct work *w, size_t round, const uint32_t *query, size_t rows,
                 const struct chunk *keys, size_t self)
{
	const struct attn_call *c = w->call;
	size_t nc = chunks(c->shape, c->arg), d = c->shape->d, d_v = c->shape->d_v, n = keys->count;
	uint32_t late = tile_row_bits(rows); /* queries not before the key */
	size_t next = 0, earlier = c->arg[DEDUP] != 0 ? round : 0;

	while (c->shape->causal && n > 0 && keys->token[n - 1] > query[rows - 1])
		n--;
	if (!c->shape->causal && earlier == 0 && self == SIZE_MAX) {
		tile_keys(&w->rows.t, keys->k, d, keys->v, d_v, n, NULL);
		return;
	}
	for (size_t j = 0; j < n; j++) {
		for (; c->shape->causal && query[next] < keys->token[j]; next++)
			late &= ~(1u << next);
		uint32_t bits = late;
		for (size_t r = 0; r < earlier; r++)
			bits &= ~w->seen[r * nc + keys->past[r * keys->count + j]];
		w->bits[j] = bits;
	}
	for (size_t r = 0; self < SIZE_MAX && r < rows; r++)
		w->bits[self + r] &= ~(1u << r);
	tile_bits(&w->rows.t, keys->k, d, keys->v, d_v, n, w->bits, NULL);
}

/* Of x the next tile's rows, after place `at`, of y a tile's share of the next chunk's. */
static void ask_ahead(const struct work *w, size_t round, size_t at, const float *x, size_t ldx,
                      const float *y, size_t ldy, size_t cols)
{
	size_t n = w->call->shape->n_k, width = 2 * w->call->kern->lanes;
	size_t tile = least(at + width, n), chunk = least(at + (size_t)w->call->arg[CHUNK], n);
	const uint32_t *order = w->order + round * n;

	rows_ask(x, ldx, cols, order + tile, least(width, n - tile));
	rows_ask(y, ldy, cols, order + chunk, least(width, n - chunk));
}

/* Queries of chunk `id`, tile by tile. */
static void run_chunk(struct work *w, size_t round, size_t id)
{
	const struct attn_call *c = w->call;
	size_t width = 2 * c->kern->lanes, nc = chunks(c->shape, c->arg), before = id > 0 ? id - 1 : nc - 1;
	struct chunk *previous = &w->chunk[0], *own = &w->chunk[1];

	if (own->id == before && nc > 1) { /* the last one's own is this one's previous */
		struct chunk t = *own;
		*own = *previous;
		*previous = t;
	} else if (nc > 1) {
		load_chunk(w, round, before, previous);
	}
	load_chunk(w, round, id, own);
	for (size_t i = 0; i < own->count; i += width) {
		const uint32_t *query = own->token + i;
		size_t rows = least(width, own->count - i), at = id * (size_t)c->arg[CHUNK] + i;
		mark_seen(w, round, query, rows, false);
		rows_load(&w->rows, query, rows);
		if (round > 0)
			rows_resume(&w->rows, query, w->lse);
		ask_ahead(w, round, at, c->q, c->ldq, c->k, c->ldk, c->shape->d);
		if (nc > 1)
			meet(w, round, query, rows, previous, SIZE_MAX);
		ask_ahead(w, round, at, c->out, c->ldo, c->v, c->ldv, c->shape->d_v);
		meet(w, round, query, rows, own, i);
		rows_store(&w->rows, query, w->lse);
		mark_seen(w, round, query, rows, true);
	}
}

/* Queries that saw nothing else see themselves. */
static void attend_self(const struct work *w, size_t i0, size_t i1)
{
	const struct attn_call *c = w->call;
	float rounds = c->arg[DEDUP] != 0 ? 1 : (float)c->arg[ROUNDS];

	for (size_t i = i0; i < i1; i++) {
		if (w->lse[i] > -INFINITY)
			continue;
		const float *q = (const float *)c->q + i * c->ldq, *k = (const float *)c->k + i * c->ldk;
		float logit = c->kern->dot(q, k, c->shape->d) * w->inverse[i] * (float)c->arg[SCALE];
		w->lse[i] = logit - SELF + logf(rounds);
		memcpy((float *)c->out + i * c->ldo, (const float *)c->v + i * c->ldv,
		       c->shape->d_v * sizeof(float));
		if (c->stats)
			c->stats->pairs += 1;
	}
}

static void forward(const struct attn_call *call, struct attn_team *team)
{
	struct attn_shape shape = *call->shape;
	struct attn_call scaled = *call;
	size_t n = shape.n_k, nc = chunks(&shape, call->arg), rounds = (size_t)call->arg[ROUNDS];

	shape.scale = (float)call->arg[SCALE];
	scaled.shape = &shape;
	struct work w = work_at(&scaled);
	attn_phase(call->stats, ATTN_SELECTS);
	hash_tokens(&w, team);
	attn_barrier(team);
	for (size_t round = team->rank; round < rounds; round += team->size)
		sort_tokens(&w, round);
	attn_phase(call->stats, ATTN_ATTENDS);
	for (size_t round = 0; round < rounds; round++) {
		attn_barrier(team);
		w.chunk[0].id = w.chunk[1].id = SIZE_MAX;
		for (size_t u = nc * team->rank / team->size; u < nc * (team->rank + 1) / team->size; u++)
			run_chunk(&w, round, u);
	}
	attn_barrier(team);
	attend_self(&w, n * team->rank / team->size, n * (team->rank + 1) / team->size);
	if (call->stats && team->rank == 0)
		call->stats->flops_executed += 2.0 * (double)(n * shape.d);
}

static const char *decode_plan(const struct attn_decode *slot, const struct attn_shape *s, const double *arg,
                               size_t queries, size_t ranks, struct attn_decode_plan *p)
{
	(void)slot;
	(void)s;
	(void)arg;
	(void)queries;
	(void)ranks;
	(void)p;
	return "has no decode step: every token moves the sorted buckets, and with them what earlier tokens saw";
}

static const struct attn_decode decode = { .plan = decode_plan };

const struct attn_variant attn_lsh = {
	.abi = ATTN_ABI,
	.name = "lsh",
	.family = "hashing",
	.title = "Reformer (LSH attention)",
	.paper = "Kitaev, Kaiser, Levskaya 2020, ICLR, arXiv 2001.04451",
	.formula = "softmax of q_i . k_j/|k_j| over tokens that share a sorted chunk in some hash round",
	.complexity = "n log n d",
	.target = "softmax of q_i . k_j/|k_j| without the own key, as rounds grow with dedup, or chunk reaches n",
	.summary = "For one shared matrix of queries and keys: its target is softmax of q_i . k_j/|k_j| "
	           "without the query's own key. Causal sets of keys move with later tokens. Without "
	           "dedup it does not converge as rounds grow.",
	.flags = ATTN_CAUSAL | ATTN_BIDIRECTIONAL | ATTN_PARALLEL | ATTN_ROWSUM | ATTN_NONNEG |
	         ATTN_KSCALE | ATTN_RANDOM | ATTN_TIED | ATTN_LEAKS | ATTN_LSE | ATTN_CHOOSES,
	.impl_bound = 2e-6f,
	.cases = cases,
	.params = params,
	.refine = refine,
	.resolve = resolve,
	.plan = plan,
	.prepare = prepare,
	.forward = forward,
	.decode = &decode,
	.oracle = oracle_lsh,
};
