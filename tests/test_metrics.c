/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Errors by their formulas, exact attention against its definition, and the
 * cache that keeps it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../harness/cache.h"
#include "../harness/metrics.h"
#include "../harness/reference.h"
#include "../harness/weights.h"

static void near(double a, double b, double relative)
{
	if (!(fabs(a - b) <= relative * fmax(fabs(b), 1e-300)))
		fail_msg("%.17g is not %.17g", a, b);
}

static void test_errors(void **state)
{
	(void)state;
	/* |X - Y|^2 = 1 + 4 = 5, |Y|^2 = 9 + 16 + 4 = 29, |U - Y|^2 = 4 + 9 + 1 + 1 = 15;
	 * cos of row 0 = (12 + 16) / (sqrt 32 sqrt 25), of row 1 = 0 / .. left out. */
	static const float x[2][2] = { { 4, 4 }, { 0, 0 } };
	static const double y[2][2] = { { 3, 4 }, { 2, 0 } }, u[2][2] = { { 1, 1 }, { 1, 1 } };
	double rows[3];
	struct error_sums sums = { .rel_row = rows };

	errors_add(&sums, x[0], y[0], u[0], 2);
	errors_add(&sums, x[1], y[1], u[1], 2);
	struct errors e = errors_of(&sums);
	near(e.rel_fro, sqrt(5.0 / 29), 1e-15);
	near(e.rel_u, sqrt(15.0 / 29), 1e-15);
	near(e.max_rel_row, 1, 1e-15);             /* |(2, 0)| / |(2, 0)| */
	near(e.med_rel_row, (1 + 0.2) / 2, 1e-15); /* and |(1, 0)| / |(3, 4)| */
	near(e.max_abs, 2, 0);
	near(e.cos, 28 / sqrt(32.0 * 25), 1e-15);
	near(e.nmse_u, 5.0 / 15, 1e-15);

	/* Without the uniform average. */
	sums = (struct error_sums){ 0 };
	errors_add(&sums, x[0], y[0], NULL, 2);
	e = errors_of(&sums);
	near(e.rel_fro, 0.2, 1e-15);
	assert_true(isnan(e.nmse_u) != 0 && isnan(e.rel_u) != 0 && isnan(e.max_rel_row) != 0);

	/* Zero against zero is no error; anything else against it is infinite. */
	static const double zero[2] = { 0, 0 };
	sums = (struct error_sums){ 0 };
	errors_add(&sums, x[1], zero, zero, 2);
	e = errors_of(&sums);
	assert_true(e.rel_fro == 0 && e.nmse_u == 0 && isnan(e.cos) != 0);
	errors_add(&sums, x[0], zero, zero, 2);
	e = errors_of(&sums);
	assert_true(isinf(e.rel_fro) && isinf(e.nmse_u));

	/* A NAN anywhere shows in every metric. */
	static const float bad[2] = { NAN, 1 };
	errors_add(&sums, bad, y[0], u[0], 2);
	errors_add(&sums, x[0], y[0], u[0], 2);
	e = errors_of(&sums);
	assert_true(isnan(e.rel_fro) && isnan(e.max_abs) && isnan(e.nmse_u));
	assert_int_equal(first_nonfinite(x[0], 2), 2);
	assert_int_equal(first_nonfinite(bad, 2), 0);
	static const float late[3] = { 0, 1, INFINITY };
	assert_int_equal(first_nonfinite(late, 3), 2);
}

/* Against the spread of the errors that many samples of a long sequence give,
 * and against what all rows give: no error at all. */
static void test_sampling(void **state)
{
	enum { ALL_ROWS = 20000, SAMPLE = 500, TRIALS = 200 };
	static double error2[ALL_ROWS], norm2[ALL_ROWS], e[SAMPLE], y[SAMPLE];
	double errors = 0, norms = 0, off = 0, said = 0;

	(void)state;
	for (uint64_t i = 0; i < ALL_ROWS; i++) { /* rows of unlike lengths, errors that go with them */
		norm2[i] = exp(0.5 * attn_random_normal(1, 1, i));
		error2[i] = norm2[i] * 0.1 * exp(0.7 * attn_random_normal(1, 2, i));
		errors += error2[i];
		norms += norm2[i];
	}
	for (uint64_t t = 0; t < TRIALS; t++) {
		double se = 0, sy = 0;
		for (size_t i = 0; i < SAMPLE; i++) {
			size_t row = (size_t)(attn_random_uniform(t, 3, i) * ALL_ROWS);
			se += e[i] = error2[row];
			sy += y[i] = norm2[row];
		}
		off += pow(sqrt(se / sy) - sqrt(errors / norms), 2) / TRIALS;
		said += pow(errors_sampling(e, y, SAMPLE, ALL_ROWS), 2) / TRIALS;
	}
	/* 200 trials know a spread to 5 %. */
	near(sqrt(said), sqrt(off), 0.25);
	assert_true(errors_sampling(error2, norm2, ALL_ROWS, ALL_ROWS) == 0);
	memset(e, 0, sizeof e);
	assert_true(errors_sampling(e, y, SAMPLE, ALL_ROWS) == 0);
}

/* ---- weights ------------------------------------------------------------------- */

static void test_weights(void **state)
{
	(void)state;
	static const double p[4] = { 0.5, 0.25, 0.125, 0.125 };
	double log_p[4];
	for (size_t j = 0; j < 4; j++)
		log_p[j] = log(p[j]);

	/* Itself. */
	struct weights_row w = weights_compare(log_p, (const float[]){ 0.5f, 0.25f, 0.125f, 0.125f }, 4);
	assert_true(w.tv < 1e-15 && fabs(w.kl) < 1e-15 && fabs(w.kl_rev) < 1e-15 && w.dropped == 0);

	/* Uniform: half of .25 + .125 + .125, ln 4 - H and the other way. */
	w = weights_compare(log_p, (const float[]){ 0.25f, 0.25f, 0.25f, 0.25f }, 4);
	near(w.tv, 0.25, 1e-15);
	near(w.kl, log(4) - 1.75 * log(2), 1e-12);
	near(w.kl_rev, 0.25 * log(0.25 * 0.25 * 0.25 * 0.25 / (p[0] * p[1] * p[2] * p[3])), 1e-12);
	assert_true(w.dropped == 0);

	/* A renormalised restriction: tv is what was dropped, kl_rev -ln of what
	 * was kept, kl infinite. */
	w = weights_compare(log_p, (const float[]){ 0, 0.5f, 0.25f, 0.25f }, 4);
	near(w.tv, 0.5, 1e-15);
	near(w.dropped, 0.5, 1e-15);
	near(w.kl_rev, log(2), 1e-12);
	assert_true(isinf(w.kl));

	/* No divergence of what is no distribution. */
	w = weights_compare(log_p, (const float[]){ 1, 0.5f, -0.25f, -0.25f }, 4);
	near(w.tv, 0.75, 1e-15);
	assert_true(isnan(w.kl) && isnan(w.kl_rev) && w.dropped == 0);
	w = weights_compare(log_p, (const float[]){ 1, 0.5f, 0.25f, 0.25f }, 4);
	near(w.tv, 0.5, 1e-15);
	assert_true(isnan(w.kl) && isnan(w.kl_rev));

	/* A key that is not visible has no weight to lose; one that is too faint
	 * for float32 is not dropped. */
	static const double few[3] = { 0, -INFINITY, -200 };
	w = weights_compare(few, (const float[]){ 1, 0, 0 }, 3);
	assert_true(w.tv < 1e-30 && fabs(w.kl) < 1e-30 && w.kl_rev == 0 && w.dropped < 1e-30);
}

static void test_uniform(void **state)
{
	(void)state;
	static const float v[3][2] = { { 1, 10 }, { 2, 20 }, { 6, 60 } };
	double sum[2] = { 0 }, mean[2];
	size_t seen = 0;

	uniform_row(&v[0][0], 2, 0, &seen, sum, mean);
	assert_true(mean[0] == 0 && mean[1] == 0);
	uniform_row(&v[0][0], 2, 2, &seen, sum, mean);
	assert_true(mean[0] == 1.5 && mean[1] == 15);
	uniform_row(&v[0][0], 2, 2, &seen, sum, mean);
	assert_true(mean[0] == 1.5);
	uniform_row(&v[0][0], 2, 3, &seen, sum, mean);
	assert_true(mean[0] == 3 && mean[1] == 30);
}

static void test_rows(void **state)
{
	(void)state;
	static size_t rows[1000];

	assert_int_equal(reference_rows(1000, 1000, 10, rows), 1000);
	for (size_t i = 0; i < 1000; i++)
		assert_int_equal(rows[i], i);
	static const size_t lengths[] = { 129, 1000, 1024, 100003, (size_t)1 << 40 };
	for (size_t t = 0; t < sizeof lengths / sizeof *lengths; t++) {
		size_t n = lengths[t], residues = 0;
		assert_int_equal(reference_rows(n, 128, 128, rows), 128);
		assert_int_equal(rows[0], 0);
		assert_int_equal(rows[127], n - 1);
		for (size_t i = 1; i < 128; i++) {
			assert_true(rows[i] > rows[i - 1]);
			residues += rows[i] % 64 != rows[i - 1] % 64;
		}
		assert_true(n < 1000 || residues > 100); /* in no step with tiles */
	}
}

/* ---- exact attention ---------------------------------------------------------- */

static float *normals(uint64_t stream, size_t n, float size)
{
	float *x = malloc((n + 1) * sizeof *x);

	assert_non_null(x);
	attn_random_normals(11, stream, 0, n, x);
	for (size_t i = 0; i < n; i++)
		x[i] *= size;
	return x;
}

/* Straight from the formula, one row. */
static void naive_row(const struct reference_input *in, size_t g, size_t i, double *out,
                      double *entropy, double *logit_max)
{
	size_t visible = reference_visible(in, i);
	double top = -INFINITY, sum = 0, weighted = 0;
	double *s = malloc((visible + 1) * sizeof *s);

	assert_non_null(s);
	for (size_t c = 0; c < in->d_v; c++)
		out[c] = 0;
	for (size_t j = 0; j < visible; j++) {
		s[j] = 0;
		for (size_t c = 0; c < in->d; c++)
			s[j] += (double)in->q[(g * in->n_q + i) * in->d + c] *
			        (double)in->k[(g * in->n_k + j) * in->d + c];
		s[j] *= (double)in->scale;
		top = fmax(top, s[j]);
		*logit_max = fmax(*logit_max, fabs(s[j]));
	}
	for (size_t j = 0; j < visible; j++)
		sum += exp(s[j] - top);
	for (size_t j = 0; j < visible; j++) {
		double p = exp(s[j] - top) / sum;
		weighted -= p > 0 ? p * log(p) : 0;
		for (size_t c = 0; c < in->d_v; c++)
			out[c] += p * (double)in->v[(g * in->n_k + j) * in->d_v + c];
	}
	*entropy = weighted;
	free(s);
}

static void compare(const struct reference_input *in, const struct reference *ref)
{
	double worst = 0, norm = 0, sum = 0, keys = 0, n = 0, logit_max = 0, entropy;
	double *row = malloc(in->d_v * sizeof *row);

	assert_non_null(row);
	for (size_t g = 0; g < in->heads; g++) {
		for (size_t r = 0; r < ref->n_rows; r++) {
			size_t i = ref->rows[r], visible = reference_visible(in, i);
			naive_row(in, g, i, row, &entropy, &logit_max);
			const double *got = ref->out + (g * ref->n_rows + r) * in->d_v;
			for (size_t c = 0; c < in->d_v; c++) {
				worst = fmax(worst, fabs(got[c] - row[c]));
				norm = fmax(norm, fabs(row[c]));
				assert_true(visible > 0 || got[c] == 0);
			}
			if (visible >= 2) {
				sum += entropy / log((double)visible);
				keys += exp(entropy);
				n++;
			}
		}
	}
	free(row);
	assert_true(worst <= 1e-13 * norm);
	near(ref->logit_max, logit_max, 1e-13);
	if (n > 0)
		near(ref->n_eff, keys / n, 1e-11);
	else
		assert_true(isnan(ref->n_eff) != 0);
	if (n > 0)
		near(ref->entropy_ratio, sum / n, 1e-11);
	else
		assert_true(isnan(ref->entropy_ratio) != 0);
}

static void check_shape(size_t heads, size_t n_q, size_t n_k, size_t d, size_t d_v, bool causal,
                        float size, size_t threads)
{
	float *q = normals(1, heads * n_q * d, size), *k = normals(2, heads * n_k * d, size);
	float *v = normals(3, heads * n_k * d_v, 1);
	struct reference_input in = { heads, n_q, n_k, d, d_v, causal, 1 / sqrtf((float)d), q, k, v, 0 };
	struct reference ref;
	const char *why;
	struct team *team = team_create(threads, NULL, &why);

	assert_non_null(team);
	assert_null(reference_get(&ref, &in, 1, "", team));
	assert_int_equal(ref.n_rows, n_q <= 16384 ? n_q : 512);
	compare(&in, &ref);
	reference_free(&ref);
	team_destroy(team);
	free(q);
	free(k);
	free(v);
}

static void test_reference(void **state)
{
	(void)state;
	for (int causal = 0; causal < 2; causal++) {
		check_shape(1, 1, 1, 1, 1, causal, 1, 1);
		check_shape(2, 37, 37, 5, 3, causal, 1, 1);
		check_shape(3, 64, 64, 16, 16, causal, 1, 3);
		check_shape(1, 100, 33, 8, 7, causal, 1, 2);  /* empty rows if causal */
		check_shape(1, 9, 131, 12, 4, causal, 1, 2);
		check_shape(2, 1, 70, 4, 6, causal, 1, 4);    /* a step of decoding */
		check_shape(1, 50, 90, 6, 5, causal, 12, 2);  /* logits of hundreds */
		check_shape(1, 16390, 40, 2, 2, causal, 1, 2); /* sampled rows */
	}
}

static void test_visible(void **state)
{
	(void)state;
	struct reference_input in = { .n_q = 3, .n_k = 5, .causal = true };
	assert_int_equal(reference_visible(&in, 0), 3);
	assert_int_equal(reference_visible(&in, 2), 5);
	in.n_q = 5;
	in.n_k = 3;
	assert_int_equal(reference_visible(&in, 0), 0);
	assert_int_equal(reference_visible(&in, 1), 0);
	assert_int_equal(reference_visible(&in, 2), 1);
	assert_int_equal(reference_visible(&in, 4), 3);
	in.causal = false;
	assert_int_equal(reference_visible(&in, 0), 3);
}

/* ---- the cache ------------------------------------------------------------------ */

static char dir[] = "/tmp/attnbench-cache-XXXXXX";

static size_t each_file(void (*fn)(const char *path, void *arg), void *arg)
{
	DIR *d = opendir(dir);
	size_t n = 0;
	char path[512];

	assert_non_null(d);
	for (struct dirent *e; (e = readdir(d));) {
		if (e->d_name[0] == '.')
			continue;
		snprintf(path, sizeof path, "%s/%.200s", dir, e->d_name);
		if (fn)
			fn(path, arg);
		n++;
	}
	closedir(d);
	return n;
}

static void remove_file(const char *path, void *arg)
{
	(void)arg;
	unlink(path);
}

static void flip_byte(const char *path, void *arg)
{
	FILE *f = fopen(path, "r+");
	long at = *(long *)arg;

	assert_non_null(f);
	fseek(f, at, at < 0 ? SEEK_END : SEEK_SET);
	int c = fgetc(f);
	fseek(f, -1, SEEK_CUR);
	fputc(c ^ 1, f);
	fclose(f);
}

static void cut(const char *path, void *arg)
{
	struct stat s;

	assert_int_equal(stat(path, &s), 0);
	assert_int_equal(truncate(path, s.st_size + *(long *)arg), 0);
}

static void test_cache(void **state)
{
	(void)state;
	char key[CACHE_KEY_MAX], other[CACHE_KEY_MAX], a[100], b[7];
	struct cache_piece piece[] = { { a, sizeof a }, { b, sizeof b } };

	assert_non_null(mkdtemp(dir));
	assert_true(cache_key(key, "thing n=%d", 5));
	assert_true(cache_key(other, "thing n=%d", 6));
	assert_non_null(strstr(key, "thing n=5"));
	memset(a, 'a', sizeof a);
	memset(b, 'b', sizeof b);
	assert_false(cache_load(dir, key, piece, 2));
	cache_store("", key, piece, 2);
	cache_store("/nonexistent/dir", key, piece, 2);
	cache_store(dir, key, piece, 2);
	assert_int_equal(each_file(NULL, NULL), 1); /* nothing temporary stays */
	memset(a, 0, sizeof a);
	memset(b, 0, sizeof b);
	assert_true(cache_load(dir, key, piece, 2));
	assert_true(a[0] == 'a' && a[99] == 'a' && b[0] == 'b' && b[6] == 'b');
	assert_false(cache_load(dir, other, piece, 2));
	assert_false(cache_load("", key, piece, 2));
	assert_false(cache_load(dir, key, piece, 1)); /* another size */

	static long flips[] = { 0, 9, 17, 30, -1, -50 };
	for (size_t i = 0; i < sizeof flips / sizeof *flips; i++) {
		each_file(flip_byte, &flips[i]);
		assert_false(cache_load(dir, key, piece, 2));
		each_file(flip_byte, &flips[i]);
		assert_true(cache_load(dir, key, piece, 2));
	}
	static long sizes[] = { -1, -100, 1 };
	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		each_file(cut, &sizes[i]);
		assert_false(cache_load(dir, key, piece, 2));
		cache_store(dir, key, piece, 2);
		assert_true(cache_load(dir, key, piece, 2));
	}
	each_file(remove_file, NULL);
	rmdir(dir);
}

static void test_reference_cached(void **state)
{
	(void)state;
	float *x = normals(1, 40 * 8, 1);
	struct reference_input in = { 1, 40, 40, 8, 8, true, 0.3f, x, x, x, 0 };
	struct reference first, second;
	const char *why;
	struct team *team = team_create(1, NULL, &why);

	strcpy(dir + strlen(dir) - 6, "XXXXXX");
	assert_non_null(mkdtemp(dir));
	assert_non_null(team);
	assert_null(reference_get(&first, &in, 77, dir, team));
	assert_int_equal(each_file(NULL, NULL), 1);
	in.q = in.k = in.v = NULL; /* from the file, or not at all */
	assert_null(reference_get(&second, &in, 77, dir, team));
	assert_memory_equal(first.out, second.out, 40 * 8 * sizeof *first.out);
	assert_memory_equal(first.rows, second.rows, 40 * sizeof *first.rows);
	assert_true(first.n_eff == second.n_eff);
	assert_true(first.entropy_ratio == second.entropy_ratio && first.logit_max == second.logit_max);
	reference_free(&second);

	/* More threads, another input, another scale: the same bits, other files. */
	in.q = in.k = in.v = x;
	team_destroy(team);
	team = team_create(3, NULL, &why);
	assert_non_null(team);
	assert_null(reference_get(&second, &in, 78, dir, team));
	assert_memory_equal(first.out, second.out, 40 * 8 * sizeof *first.out);
	assert_true(first.entropy_ratio == second.entropy_ratio);
	reference_free(&second);
	in.scale = 0.4f;
	assert_null(reference_get(&second, &in, 77, dir, team));
	assert_memory_not_equal(first.out, second.out, 40 * 8 * sizeof *first.out);
	reference_free(&second);
	assert_int_equal(each_file(remove_file, NULL), 3);
	reference_free(&first);
	team_destroy(team);
	rmdir(dir);
	free(x);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_errors),
		cmocka_unit_test(test_sampling),
		cmocka_unit_test(test_weights),
		cmocka_unit_test(test_uniform),
		cmocka_unit_test(test_rows),
		cmocka_unit_test(test_visible),
		cmocka_unit_test(test_reference),
		cmocka_unit_test(test_cache),
		cmocka_unit_test(test_reference_cached),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
