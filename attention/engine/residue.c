/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Residue classes: gathering and tiles. */
#include "residue.h"

#include "tile.h"

#include <string.h>

/* Queries that share one gathering of keys: enough that copying costs little
 * beside attention, few enough that a narrow band gathers little. */
enum { STRETCH = 16 * KERN_MAX_LANES };

/* Tokens of class r. */
static size_t class_size(size_t n, size_t l, size_t r)
{
	return r < n ? (n - r - 1) / l + 1 : 0;
}

static size_t least(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* Positions [*first, *last) that some t in [t0, t1) sees; the sum of their counts. */
static size_t range(const struct attn_shape *s, const double *arg, residue_band *band, size_t t0,
                    size_t t1, size_t size, size_t *first, size_t *last)
{
	size_t sum = 0;

	*first = size;
	*last = 0;
	for (size_t t = t0; t < t1; t++) {
		size_t lo, hi;
		band(s, arg, t, size, &lo, &hi);
		if (lo >= hi)
			continue;
		*first = least(lo, *first);
		*last = hi > *last ? hi : *last;
		sum += hi - lo;
	}
	if (*first > *last)
		*first = *last;
	return sum;
}

/* Keys that the largest stretch of any class gathers; 0 where l = 1, whose
 * keys are in order already. Classes differ in size by at most one. */
static size_t capacity(const struct attn_shape *s, const double *arg, size_t l, residue_band *band)
{
	size_t longest = class_size(s->n_k, l, 0), most = 0;

	for (size_t size = longest - (longest > 1); l > 1 && size <= longest; size++) {
		for (size_t t = 0; t < size; t += STRETCH) {
			size_t first, last;
			range(s, arg, band, t, least(t + STRETCH, size), size, &first, &last);
			most = last - first > most ? last - first : most;
		}
	}
	return most;
}

size_t residue_scratch_bytes(const struct attn_shape *s, const double *arg, size_t l,
                             residue_band *band)
{
	return tile_scratch_bytes(s->d, s->d_v) +
	       capacity(s, arg, l, band) * (s->d + s->d_v) * sizeof(float);
}

void residue_pairs(const struct attn_shape *s, const double *arg, size_t l, residue_band *band,
                   double *pairs, double *executed)
{
	size_t classes = least(l, s->n_k), longest = class_size(s->n_k, l, 0);

	*pairs = *executed = 0;
	for (size_t size = longest - (longest > 1); size <= longest; size++) {
		/* The first n mod l classes have one token more, if classes do differ. */
		size_t more = s->n_k % classes, count = size == longest ? more ? more : classes
		                                                      : more ? classes - more : 0;
		for (size_t t = 0; t < size; t += KERN_MAX_LANES) {
			size_t first, last;
			size_t sum = range(s, arg, band, t, least(t + KERN_MAX_LANES, size), size, &first, &last);
			*pairs += (double)(count * sum);
			*executed += (double)(count * KERN_MAX_LANES * (last - first));
		}
	}
}

/* Where the keys of a stretch are: position `first` of the class is row 0. */
struct keys {
	const float *k, *v;
	size_t ldk, ldv, first;
};

static struct keys gather(const struct attn_call *c, size_t r, size_t l, size_t first, size_t last)
{
	const struct attn_shape *s = c->shape;
	const float *from_k = (const float *)c->k + (r + first * l) * c->ldk;
	const float *from_v = (const float *)c->v + (r + first * l) * c->ldv;
	float *k = (float *)((char *)c->scratch + tile_scratch_bytes(s->d, s->d_v));
	float *v = k + (last - first) * s->d;

	if (l == 1)
		return (struct keys){ from_k, from_v, c->ldk, c->ldv, first };
	for (size_t i = 0; i < last - first; i++) {
		memcpy(k + i * s->d, from_k + i * l * c->ldk, s->d * sizeof *k);
		memcpy(v + i * s->d_v, from_v + i * l * c->ldv, s->d_v * sizeof *v);
	}
	return (struct keys){ k, v, s->d, s->d_v, first };
}

/* Tokens t0 .. t0 + rows of class r. */
static void class_tile(struct tile *t, const struct keys *keys, size_t r, size_t l, size_t size,
                       residue_band *band, size_t t0, size_t rows, float *lse)
{
	const struct attn_call *c = t->call;
	size_t lo[TILE_ROWS], hi[TILE_ROWS], first = r + t0 * l;
	float row_lse[TILE_ROWS];

	for (size_t i = 0; i < rows; i++) {
		band(c->shape, c->arg, t0 + i, size, &lo[i], &hi[i]);
		hi[i] = hi[i] > lo[i] ? hi[i] - keys->first : 0;
		lo[i] = hi[i] ? lo[i] - keys->first : 0;
	}
	tile_load(t, (const float *)c->q + first * c->ldq, c->ldq * l, rows);
	tile_band_of(t, keys->k, keys->ldk, keys->v, keys->ldv, lo, hi, NULL);
	tile_store(t, (float *)c->out + first * c->ldo, c->ldo * l, lse ? row_lse : NULL);
	for (size_t i = 0; lse && i < rows; i++)
		lse[first + i * l] = row_lse[i];
}

void residue_run(const struct attn_call *c, struct attn_team *team, size_t l, residue_band *band,
                 float *lse)
{
	const struct attn_shape *s = c->shape;
	size_t width = 2 * c->kern->lanes;
	bool by_stretch = l < team->size;
	struct tile t;

	tile_init(&t, c, c->scratch, s->d, s->d_v);
	for (size_t r = by_stretch ? 0 : team->rank; r < l && r < s->n_k; r += by_stretch ? 1 : team->size) {
		size_t size = class_size(s->n_k, l, r), step = by_stretch ? team->size : 1;
		for (size_t u = by_stretch ? team->rank : 0; u * STRETCH < size; u += step) {
			size_t first, last, end = least((u + 1) * STRETCH, size);
			range(s, c->arg, band, u * STRETCH, end, size, &first, &last);
			struct keys keys = gather(c, r, l, first, last);
			for (size_t t0 = u * STRETCH; t0 < end; t0 += width)
				class_tile(&t, &keys, r, l, size, band, t0, least(width, end - t0), lse);
		}
	}
}
