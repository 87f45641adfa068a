/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Inputs on disk, by directory: see stored.h.
 */
#include "stored.h"

#include <assert.h>
#include <string.h>

#include "fail.h"

static_assert((int)FAIL_MAX == (int)DATA_ERROR_MAX && (int)FAIL_MAX == (int)NPY_ERROR_MAX,
              "one buffer serves all");

/* dim[0..4) = batch, heads, n, d, missing ones 1. */
static void dims(const struct npy *head, size_t dim[4])
{
	for (size_t i = 0; i < 4; i++)
		dim[i] = i + head->rank < 4 ? 1 : head->dim[i + head->rank - 4];
}

static bool open_one(const char *dir, const char *name, struct npy_file *file, char *error)
{
	char path[DATA_PATH_MAX];

	if (snprintf(path, sizeof(path), "%s/%s.npy", dir, name) >= (int)sizeof(path))
		return fail(error, "the path of %s.npy is longer than %d bytes; move the directory up", name,
		            DATA_PATH_MAX - 1);
	return npy_open(path, file, error);
}

static bool agree(struct stored *s, char *error)
{
	size_t q[4], k[4], v[4];

	if (s->q.head.rank < 2 || s->k.head.rank < 2 || s->v.head.rank < 2)
		return fail(error, "q.npy, k.npy and v.npy have %zu, %zu and %zu dimensions; "
		            "reshape to [batch, heads, n, d], [heads, n, d] or [n, d]",
		            s->q.head.rank, s->k.head.rank, s->v.head.rank);
	dims(&s->q.head, q);
	dims(&s->k.head, k);
	dims(&s->v.head, v);
	if (q[0] != k[0] || q[0] != v[0])
		return fail(error, "q.npy, k.npy and v.npy hold %zu, %zu and %zu sequences; they must hold as many", q[0],
		            k[0], v[0]);
	if (k[1] != v[1] || k[2] != v[2])
		return fail(error, "k.npy holds %zu heads of %zu tokens, v.npy %zu of %zu; they must agree", k[1], k[2],
		            v[1], v[2]);
	if (q[1] % k[1] != 0)
		return fail(error, "q.npy holds %zu heads, k.npy %zu; the first must be a multiple of the second", q[1],
		            k[1]);
	if (q[3] != k[3])
		return fail(error, "d is %zu in q.npy and %zu in k.npy; queries and keys must have one size", q[3], k[3]);
	s->batch = q[0];
	s->heads = q[1];
	s->heads_kv = k[1];
	s->n_q = q[2];
	s->n_k = k[2];
	s->d = q[3];
	s->d_v = v[3];
	return true;
}

bool stored_open(const char *dir, struct stored *stored, char *error)
{
	char reason[DATA_ERROR_MAX];
	bool ok;

	memset(stored, 0, sizeof(*stored));
	ok = open_one(dir, "q", &stored->q, error) && open_one(dir, "k", &stored->k, error) &&
	     open_one(dir, "v", &stored->v, error);
	if (ok && !agree(stored, reason))
		ok = fail(error, "in %.150s: %.340s", dir, reason);
	if (!ok)
		stored_close(stored);
	return ok;
}

void stored_close(struct stored *stored)
{
	npy_close(&stored->q);
	npy_close(&stored->k);
	npy_close(&stored->v);
}

bool stored_fits(const struct stored *s, const char *name, const struct data_shape *shape, char *error)
{
	if (shape->n_q > s->n_q || shape->n_k > s->n_k) {
		bool queries = shape->n_q > s->n_q;
		size_t held = queries ? s->n_q : s->n_k, asked = queries ? shape->n_q : shape->n_k;

		return fail(error, "%s holds %zu tokens a head, n = %zu was asked; use n <= %zu", name, held, asked, held);
	}
	if (shape->d != s->d)
		return fail(error, "%s has heads of d = %zu, d = %zu was asked; use d = %zu", name, s->d, shape->d, s->d);
	if (shape->d_v != s->d_v)
		return fail(error, "%s has values of d_v = %zu, d_v = %zu was asked; use d_v = %zu", name, s->d_v,
		            shape->d_v, s->d_v);
	if (shape->heads > s->heads)
		return fail(error, "%s holds %zu heads, heads = %zu was asked; use heads <= %zu", name, s->heads,
		            shape->heads, s->heads);
	if (shape->batch > s->batch)
		return fail(error, "%s holds %zu sequence(s), batch = %zu was asked; use batch <= %zu", name, s->batch,
		            shape->batch, s->batch);
	return true;
}

/* rows x cols from the start of matrix `which`, each of `held` rows. */
static bool read_rows(const struct npy_file *file, const char *tensor, const char *name, size_t which,
                      size_t held, size_t rows, size_t cols, float *out, char *error)
{
	size_t first = which * held * cols, bad;

	if (npy_read(file, first, rows * cols, out, &bad))
		return true;
	bad -= first;
	return fail(error, "%s: %s.npy holds a NaN, an infinity or a number beyond float32 in matrix %zu, "
	            "token %zu, channel %zu; capture it again",
	            name, tensor, which, bad / cols, bad % cols);
}

bool stored_fill(const struct stored *s, const char *name, const struct data_shape *shape, size_t batch,
                 size_t head, float *q, float *k, float *v, char *error)
{
	size_t from = batch * s->heads + head;
	size_t from_kv = batch * s->heads_kv + head / (s->heads / s->heads_kv);

	return read_rows(&s->q, "q", name, from, s->n_q, shape->n_q, s->d, q, error) &&
	       read_rows(&s->k, "k", name, from_kv, s->n_k, shape->n_k, s->d, k, error) &&
	       read_rows(&s->v, "v", name, from_kv, s->n_k, shape->n_k, s->d_v, v, error);
}
