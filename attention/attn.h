/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The interface of libattn: the one header that an author of a variant reads.
 *
 * A variant computes one head of one sequence. With queries q (n_q x d), keys
 * k (n_k x d) and values v (n_k x d_v), all row-major with unit stride along a
 * row, it writes out (n_q x d_v). The caller loops over batch and heads, owns
 * every byte, and gives each head a team of threads.
 *
 * The library is pure: it does no I/O, reads no clock, allocates nothing,
 * starts no thread and keeps no state between calls.
 */
#ifndef ATTN_H
#define ATTN_H

#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

#define ATTN_ABI 3u        /* changes whenever a struct below changes */
#define ATTN_MAX_PARAMS 12 /* parameters of one variant */
#define ATTN_ALIGN 64      /* alignment in bytes of state, shared and scratch */

struct kern; /* the SIMD table of one instruction set: kernels/kern.h */

enum attn_type { ATTN_F32, ATTN_BF16, ATTN_F16 };

/* What is asked of a variant. Causal attention is aligned at the bottom right:
 * key j is visible to query i iff j <= i + n_k - n_q. */
struct attn_shape {
	size_t n_q, n_k; /* query and key length, >= 1 and >= 0 */
	size_t d, d_v;   /* query/key and value head dimension, >= 1 */
	bool causal;
	float scale;          /* of the logits; attn_default_scale(d) unless given */
	size_t heads, head;   /* query heads of the layer, and which one this is */
	enum attn_type type;  /* of q, k, v and out */
};

static inline float attn_default_scale(size_t d)
{
	return 1.0f / sqrtf((float)d);
}

/* What a call needs and does, for one head. Bytes; multiply-add = 2 FLOP. */
struct attn_plan {
	size_t state;   /* bytes that prepare() fills, read-only afterwards */
	size_t shared;  /* bytes shared by the team of one head */
	size_t scratch; /* bytes private to each member of the team */
	double flops_useful;   /* what the definition needs */
	double flops_executed; /* what the kernels run: whole tiles, padding */
	double n_exp;          /* exponentials */
	double pairs;          /* (query, key) pairs that enter the result */
	double bytes;          /* least traffic to memory: inputs, output, state */
};

/* A parameter. Values are doubles: an integer, a real, a flag (0 or 1), or
 * the index of a name. ATTN_AUTO asks for the value that suits the shape. */
enum attn_kind { ATTN_INT, ATTN_REAL, ATTN_FLAG, ATTN_NAME };

#define ATTN_AUTO ((double)NAN)

struct attn_param {
	const char *name, *help;
	enum attn_kind kind;
	double def, min, max;     /* inclusive range */
	const char *const *names; /* ATTN_NAME: NULL-terminated */
};

/* Members of a team run forward() together, as ranks of an SPMD program. */
struct attn_team {
	size_t rank, size;
	void (*barrier)(struct attn_team *); /* all ranks, memory fence included */
	void *impl;                          /* the caller's */
};

static inline void attn_barrier(struct attn_team *team)
{
	if (team->size > 1)
		team->barrier(team);
}

/* Optional named inputs beyond q, k, v; an array ended by name == NULL.
 * Each variant documents the names it knows and the default it makes. */
struct attn_aux {
	const char *name;
	const float *data; /* rows x cols, row-major */
	size_t rows, cols;
};

/* The named input of that shape, or NULL: then the variant's default holds. */
static inline const float *attn_aux_find(const struct attn_aux *aux, const char *name, size_t rows,
                                         size_t cols)
{
	for (; aux && aux->name; aux++)
		if (!strcmp(aux->name, name) && aux->rows == rows && aux->cols == cols)
			return aux->data;
	return NULL;
}

enum attn_phase { ATTN_ATTENDS, ATTN_SELECTS, ATTN_PHASES };

/* Counted at run time by variants whose work depends on the data; each rank
 * adds to its own. */
struct attn_stats {
	double pairs;          /* pairs that entered the result */
	double flops_executed; /* as attn_plan.flops_executed */
	double clamped_rows;   /* rows whose denominator was not positive */
	/* Told that the rank goes over to another phase, so that the caller can time
	 * them; NULL: it does not. A call begins by attending. */
	void (*phase)(struct attn_stats *, enum attn_phase);
};

/* Of variants that choose keys by the data (ATTN_CHOOSES): hashes, clusters, gates and
 * top-k are selection, copies of what was chosen are not. */
static inline void attn_phase(struct attn_stats *stats, enum attn_phase phase)
{
	if (stats && stats->phase)
		stats->phase(stats, phase);
}

/* One head. Every rank of a team gets the same call but for scratch, stats. */
struct attn_call {
	const struct attn_shape *shape;
	const double *arg;       /* values of the parameters, none ATTN_AUTO */
	const struct kern *kern;
	const void *state;       /* from prepare(), or NULL */
	const void *q, *k, *v;   /* n_q x d, n_k x d, n_k x d_v */
	void *out;               /* n_q x d_v */
	float *lse;              /* n_q: ln of the sum of exp(logits), or NULL */
	size_t ldq, ldk, ldv, ldo; /* elements from row to row */
	const struct attn_aux *aux; /* or NULL */
	void *shared, *scratch;  /* attn_plan's bytes, ATTN_ALIGN-aligned */
	struct attn_stats *stats; /* or NULL */
};

/* The definition of a variant in double precision, for a list of query rows.
 * As slow and as obvious as the formula; used by tests and by the error
 * columns, never by forward(). */
struct attn_oracle_call {
	const struct attn_shape *shape;
	const double *arg;
	const void *state;          /* random objects are the variant's own */
	const double *q, *k, *v;    /* n_q x d, n_k x d, n_k x d_v, dense */
	const struct attn_aux *aux;
	const size_t *rows;         /* n_rows query indices */
	size_t n_rows;
	double *out;                /* n_rows x d_v */
	/* Work space, owned by the caller and freed by it after the call; never
	 * NULL: an owner that cannot give it does not return. */
	double *(*alloc)(void *owner, size_t doubles);
	void *owner;
};

typedef void attn_oracle_fn(const struct attn_oracle_call *);

struct attn_grad; /* the backward slot: not defined yet */

/* Decoding: the causal form a token at a time. A step takes up token t and gives
 * row t of the causal form from what is kept of the tokens before, the past. The
 * shape is that of this causal form over all the tokens that there is room for,
 * n_q = n_k = the capacity; prepare() is called for it, and what an argument makes
 * of a length it makes of the capacity.
 *
 * The past and the number of tokens in it are the caller's. Nothing else is kept
 * from call to call, so that a step can be taken again: a token that is taken up
 * at a place where one was before replaces it, but for the bytes of the past that
 * the plan says are changed, which the caller saves and puts back. */
struct attn_decode_plan {
	struct attn_plan step; /* of one step at the capacity; state: as in prepare() */
	size_t past;    /* bytes: of a cache, for as many tokens as the capacity */
	size_t changed; /* the first so many of them depend on how often a token was taken up */
};

struct attn_decode_call {
	const struct attn_shape *shape; /* n_q == n_k: the capacity; causal */
	const double *arg;
	const struct kern *kern;
	const void *state; /* from prepare(), or NULL */
	void *past;        /* ATTN_ALIGN-aligned */
	size_t length;     /* tokens in it before the call */
	const void *k, *v; /* `tokens` further ones; 1 in a step */
	size_t tokens, ldk, ldv;
	/* The newest token's query and its output. With `shares`, those of as many heads
	 * as share the keys: row r is of head shape->head + r. */
	const void *q;
	void *out;
	size_t queries, ldq, ldo;
	const struct attn_aux *aux;
	void *shared, *scratch;
	struct attn_stats *stats;
	const struct attn_decode *slot; /* the one called: attn_decode_step() and the like set it */
};

/* An engine's slot is the first member of a struct with what the engine reads, which
 * its functions find behind the slot. */
struct attn_decode {
	const char *keeps; /* in words and elements a head: "cache, n (d + d_v)" */
	bool shares; /* the past is a function of keys and values alone: one serves
	                all query heads of a group */
	bool splits; /* step() splits over a team; else it is called with a team of one */

	/* As the slot of the variant, after that one has accepted the shape. Other
	 * slots are NULL in a variant that always refuses. */
	const char *(*plan)(const struct attn_decode *slot, const struct attn_shape *, const double *arg,
	                    size_t queries, size_t ranks, struct attn_decode_plan *plan);

	/* An empty past; NULL: there is nothing to make empty. */
	void (*start)(const struct attn_decode_call *);

	/* Takes up tokens whose rows nobody wants. One thread. */
	void (*append)(const struct attn_decode_call *);

	/* Takes up one token and writes its rows. Called by every rank. */
	void (*step)(const struct attn_decode_call *, struct attn_team *);
};

/* Properties that hold by definition, for every accepted shape. The tests
 * walk them; the letters refer to the columns of `attnbench verify`. */
enum attn_flags {
	ATTN_EXACT = 1 << 0,         /* equals softmax attention */
	ATTN_CAUSAL = 1 << 1,        /* has a causal form */
	ATTN_BIDIRECTIONAL = 1 << 2, /* has a bidirectional form */
	ATTN_CROSS = 1 << 3,         /* accepts n_q != n_k */
	ATTN_RANDOM = 1 << 4,        /* depends on the seed */
	ATTN_PARALLEL = 1 << 5,      /* splits one head over a team */
	ATTN_ROWSUM = 1 << 6,        /* weights of a row sum to 1 */
	ATTN_NONNEG = 1 << 7,        /* weights are >= 0 */
	ATTN_QPERM = 1 << 8,         /* permuting queries permutes rows */
	ATTN_KPERM = 1 << 9,         /* permuting keys with values changes nothing */
	ATTN_KSHIFT = 1 << 10,       /* adding one vector to all keys: nothing */
	ATTN_QSCALE = 1 << 11,       /* scaling a query by c > 0: nothing */
	ATTN_KSCALE = 1 << 12,       /* scaling all keys by c > 0: nothing */
	ATTN_TIED = 1 << 13,         /* expects k == q */
	ATTN_LEAKS = 1 << 14,        /* which keys are seen depends on later tokens */
	ATTN_LSE = 1 << 15,          /* fills lse */
	ATTN_LOGITS = 1 << 16,       /* uses shape.scale */
	ATTN_BF16_OK = 1 << 17,      /* reads and writes bf16 itself */
	ATTN_F16_OK = 1 << 18,       /* reads and writes f16 itself */
	ATTN_EMULATED = 1 << 19,     /* a study of roundings, slow: not among `all` */
	ATTN_CHOOSES = 1 << 20,      /* chooses keys by the data, and tells by attn_phase() */
};

struct attn_variant {
	unsigned abi;      /* ATTN_ABI */
	const char *name;  /* file = symbol = CSV value, e.g. "sliding-window" */
	const char *family; /* exact, sparse, linear, low-rank, recurrent, ... */
	const char *title;
	const char *paper;      /* authors year, venue, arXiv; or why there is none */
	const char *formula;    /* one line of plain text */
	const char *complexity; /* e.g. "n w d" */
	const char *target;     /* what it tends to, and how: "softmax attention as m grows" */
	const char *summary;    /* what a user must know: pitfalls */
	unsigned flags;
	float impl_bound; /* largest rel_fro against the oracle, f32, logits of
	                     order 1: the bound behind the status "inaccurate" */
	const char *limit; /* arguments at which it equals exact attention, e.g.
	                      "k=n:proj=avg" (n stands for n_k), or NULL */
	const char *const *cases; /* arguments, NULL-ended, that the tests run
	                             beside the defaults: small enough that the
	                             pattern shows at n ~ 100; or NULL */
	const struct attn_param *params; /* ended by name == NULL, or NULL */

	/* Optional: which flags and what bound hold for these arguments, where
	 * they differ from the ones above. Read by attn_flags(), attn_bound(). */
	void (*refine)(const double *arg, unsigned *flags, float *impl_bound);

	/* Replaces each ATTN_AUTO; NULL when no parameter can be auto. */
	void (*resolve)(const struct attn_shape *, double *arg);

	/* NULL: can run, *plan is filled. Else why not, as a literal. Cheap;
	 * ranks is the size of the team. */
	const char *(*plan)(const struct attn_shape *, const double *arg,
	                    size_t ranks, struct attn_plan *plan);

	/* Optional. Fills state; the same seed gives the same bytes. */
	void (*prepare)(const struct attn_shape *, const double *arg,
	                uint64_t seed, void *state);

	/* Called by every rank. Cannot fail, allocate or print. */
	void (*forward)(const struct attn_call *, struct attn_team *);

	void (*backward)(const struct attn_call *, const struct attn_grad *,
	                 struct attn_team *); /* optional, may be NULL */
	const struct attn_decode *decode; /* optional: NULL where there is no such step */

	attn_oracle_fn *oracle;
};

/* The flags and the bound that hold for these (resolved) arguments. Half precision rounds
 * weights and outputs: 4 u more, u = 2^-8 for bf16 and 2^-11 for f16, where the definition
 * takes q, k and v as they are rounded. */
unsigned attn_flags(const struct attn_variant *, const double *arg);
float attn_bound(const struct attn_variant *, const double *arg, enum attn_type);

/* plan() and forward() for every type: a variant without ATTN_BF16_OK or ATTN_F16_OK
 * gets f32 copies of its inputs, in shared memory that the plan counts, and its
 * output is rounded. Callers use these; the slots above are the variant's. */
const char *attn_plan(const struct attn_variant *, const struct attn_shape *, const double *arg,
                      size_t ranks, struct attn_plan *plan);
void attn_forward(const struct attn_variant *, const struct attn_call *, struct attn_team *);

/* The same for decoding; `queries` is the most that a step will have. */
const char *attn_decode_plan(const struct attn_variant *, const struct attn_shape *, const double *arg,
                             size_t queries, size_t ranks, struct attn_decode_plan *plan);
void attn_decode_start(const struct attn_variant *, const struct attn_decode_call *);
void attn_decode_append(const struct attn_variant *, const struct attn_decode_call *);
void attn_decode_step(const struct attn_variant *, const struct attn_decode_call *, struct attn_team *);

/* n numbers of that type as f32, and rounded back to the nearest, ties to even. */
void attn_widen(const struct kern *, enum attn_type, float *y, const void *x, size_t n);
void attn_narrow(const struct kern *, enum attn_type, void *x, const float *y, size_t n);

/* All built-in variants in a fixed order, ended by NULL. */
extern const struct attn_variant *const attn_variants[];

const struct attn_variant *attn_find(const char *name); /* or NULL */

/* The instruction sets compiled in, widest first, ended by NULL; the same for
 * those that this CPU and operating system can run. */
const char *const *attn_isa_names(void);
const struct kern *attn_kern(const char *isa); /* NULL: unknown or unsupported */
const char *attn_kern_isa(const struct kern *); /* its name */
const struct kern *attn_kern_best(void);

/* Flush subnormals to zero in the calling thread: they slow exponentials by
 * an order of magnitude. Returns the previous control word. */
unsigned attn_flush_subnormals(void);

/* The ceilings of a machine, as loops of the kernel table. Does `rounds` rounds of
 * the work on `floats` floats at x and returns how much that was: FLOP, bytes,
 * or exponentials. One thread; call it on each at the same time for a team's. */
enum attn_ceiling {
	ATTN_CEILING_FMA,   /* FLOP of independent fused multiply-adds in registers */
	ATTN_CEILING_READ,  /* bytes read, in order */
	ATTN_CEILING_TRIAD, /* bytes of y += a x, counted as two reads and a write */
	ATTN_CEILING_EXP,   /* exponentials */
	ATTN_CEILING_SGEMM, /* FLOP of square products through BLAS, 3 of them in x */
	ATTN_CEILING_BF16,  /* FLOP of products of bf16 in registers; 0 where the CPU has none */
};
double attn_ceiling(const struct kern *kern, enum attn_ceiling what, float *x, size_t floats,
                    size_t rounds);

/* OpenBLAS as linked: its configuration string and the core it chose. */
const char *attn_blas_config(void);
const char *attn_blas_core(void);
void attn_blas_threads(int threads);
/* Largest |error| / bound of a small sgemm against a double loop; > 1 means
 * that the BLAS computes wrong results on this CPU. c needs 3*31*31 floats. */
double attn_blas_selftest(float *work);
#define ATTN_BLAS_SELFTEST_FLOATS ((size_t)(3 * 31 * 31))
/* One product, large enough for OpenBLAS to take the buffers that it packs
 * matrices into. It keeps them, one set a calling thread, and whoever calls
 * first seems to have allocated them. x: floats that are zero, most of which
 * are only read. */
void attn_blas_warm(float *x);
#define ATTN_BLAS_WARM_FLOATS ((size_t)(1024 * 1536 + 1536 * 64 + 1024 * 64))

/* Counter-based random numbers (Philox4x32-10, Salmon et al. 2011): element
 * `index` of stream `stream` under `seed`, independent of any order. */
void attn_random_bits(uint64_t seed, uint64_t stream, uint64_t index,
                      uint32_t bits[4]);
double attn_random_uniform(uint64_t seed, uint64_t stream, uint64_t index); /* (0, 1) */
double attn_random_normal(uint64_t seed, uint64_t stream, uint64_t index);  /* N(0, 1) */
/* x[0..n) = normals number first .. first + n - 1 of the stream. */
void attn_random_normals(uint64_t seed, uint64_t stream, uint64_t first,
                         size_t n, float *x);
/* A stream id from a name, a head and a purpose. */
uint64_t attn_random_stream(const char *name, uint64_t head, uint64_t purpose);

#ifdef __cplusplus
}
#endif
#endif
