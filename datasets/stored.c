/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Inputs on disk: see stored.h.
 */
#include "stored.h"

#include <assert.h>
#include <string.h>
#include <sys/stat.h>

#include "fail.h"
#include "npy.h"
#include "safetensors.h"

static_assert((int)FAIL_MAX == (int)DATA_ERROR_MAX && (int)FAIL_MAX == (int)TENSOR_ERROR_MAX, "one buffer serves all");

/* dim[0..4) = batch, heads, n, d, missing ones 1. */
static void dims(const struct tensor_head *head, size_t dim[4])
{
	for (size_t i = 0; i < 4; i++)
		dim[i] = i + head->rank < 4 ? 1 : head->dim[i + head->rank - 4];
}

static bool agree(struct stored *s, char *error)
{
	const char *nq = s->name[0], *nk = s->name[1], *nv = s->name[2];
	size_t q[4], k[4], v[4];

	if (s->q.head.rank < 2 || s->k.head.rank < 2 || s->v.head.rank < 2)
		return fail(error, "%s, %s and %s have %zu, %zu and %zu dimensions; "
		            "reshape to [batch, heads, n, d], [heads, n, d] or [n, d]",
		            nq, nk, nv, s->q.head.rank, s->k.head.rank, s->v.head.rank);
	dims(&s->q.head, q);
	dims(&s->k.head, k);
	dims(&s->v.head, v);
	if (q[0] != k[0] || q[0] != v[0])
		return fail(error, "%s, %s and %s hold %zu, %zu and %zu sequences; they must hold as many", nq, nk, nv,
		            q[0], k[0], v[0]);
	if (k[1] != v[1] || k[2] != v[2])
		return fail(error, "%s holds %zu heads of %zu tokens, %s %zu of %zu; they must agree", nk, k[1], k[2], nv,
		            v[1], v[2]);
	if (q[1] % k[1] != 0)
		return fail(error, "%s holds %zu heads, %s %zu; the first must be a multiple of the second", nq, q[1], nk,
		            k[1]);
	if (q[3] != k[3])
		return fail(error, "d is %zu in %s and %zu in %s; queries and keys must have one size", q[3], nq, k[3], nk);
	s->batch = q[0];
	s->heads = q[1];
	s->heads_kv = k[1];
	s->n_q = q[2];
	s->n_k = k[2];
	s->d = q[3];
	s->d_v = v[3];
	return true;
}

/* q.npy, k.npy and v.npy of a directory. */
static bool open_directory(const char *dir, struct stored *s, char *error)
{
	static const char *const names[3] = { "q.npy", "k.npy", "v.npy" };
	struct tensor *const tensors[3] = { &s->q, &s->k, &s->v };
	char path[DATA_PATH_MAX];

	for (size_t i = 0; i < 3; i++) {
		s->name[i] = names[i];
		if (snprintf(path, sizeof(path), "%s/%s", dir, names[i]) >= (int)sizeof(path))
			return fail(error, "the path of %s is longer than %d bytes; move the directory up", names[i],
			            DATA_PATH_MAX - 1);
		if (!npy_open(path, tensors[i], error))
			return false;
	}
	return true;
}

static bool ends_with(const char *path, const char *end)
{
	size_t n = strlen(path), m = strlen(end);

	return n >= m && strcmp(path + n - m, end) == 0;
}

static bool is_file(const char *path)
{
	struct stat status;

	return stat(path, &status) == 0 && !S_ISDIR(status.st_mode);
}

bool stored_open(const char *path, struct stored *s, char *error)
{
	struct tensor *const tensors[3] = { &s->q, &s->k, &s->v };
	char reason[DATA_ERROR_MAX];
	bool ok;

	memset(s, 0, sizeof(*s));
	if (is_file(path) && ends_with(path, ".npy"))
		return fail(error, "%.300s is one array; give the directory that holds q.npy, k.npy and v.npy", path);
	if (is_file(path) || ends_with(path, ".safetensors"))
		ok = safetensors_open(path, tensors, s->name, error);
	else
		ok = open_directory(path, s, error);
	if (ok && !agree(s, reason))
		ok = fail(error, "in %.150s: %.340s", path, reason);
	if (!ok)
		stored_close(s);
	return ok;
}

void stored_close(struct stored *s)
{
	tensor_close(&s->q);
	tensor_close(&s->k);
	tensor_close(&s->v);
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
static bool read_rows(const struct tensor *tensor, const char *what, const char *name, size_t which,
                      size_t held, size_t rows, size_t cols, float *out, char *error)
{
	size_t first = which * held * cols, bad = 0;

	switch (tensor_read(tensor, first, rows * cols, out, &bad)) {
	case TENSOR_OK:
		return true;
	case TENSOR_NOT_FINITE:
		bad -= first;
		return fail(error, "%s: %s holds a NaN, an infinity or a number beyond float32 in matrix %zu, "
		            "token %zu, channel %zu; capture it again",
		            name, what, which, bad / cols, bad % cols);
	case TENSOR_UNREADABLE:
		break;
	}
	return fail(error, "%s: %s ends before matrix %zu does: it changed while it was read; save it again", name, what,
	            which);
}

bool stored_fill(const struct stored *s, const char *name, const struct data_shape *shape, size_t batch,
                 size_t head, float *q, float *k, float *v, char *error)
{
	size_t from = batch * s->heads + head;
	size_t from_kv = batch * s->heads_kv + head / (s->heads / s->heads_kv);

	return read_rows(&s->q, s->name[0], name, from, s->n_q, shape->n_q, s->d, q, error) &&
	       read_rows(&s->k, s->name[1], name, from_kv, s->n_k, shape->n_k, s->d, k, error) &&
	       read_rows(&s->v, s->name[2], name, from_kv, s->n_k, shape->n_k, s->d_v, v, error);
}
