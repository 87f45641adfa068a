/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Quickselect (Hoare 1961) with the median of three as pivot. */
#include "select.h"

#include <stdbool.h>

static void swap(float *a, float *b)
{
	float t = *a;

	*a = *b;
	*b = t;
}

/* Median of the first, middle and last element moves to x[n / 2]. */
static float pivot(float *x, size_t n)
{
	float *a = x, *b = x + n / 2, *c = x + n - 1;

	if (*a < *b)
		swap(a, b);
	if (*a < *c)
		swap(a, c);
	if (*b < *c)
		swap(b, c);
	return *b;
}

static float largest(const float *x, size_t n)
{
	float max = x[0];

	for (size_t i = 1; i < n; i++)
		max = x[i] > max ? x[i] : max;
	return max;
}

/* Up to so many: counting ranks mispredicts no branch. */
enum { FEW = 64 };

float select_kth_largest(const struct kern *kern, float *x, size_t n, size_t k)
{
	if (k == 1)
		return largest(x, n);
	if (n <= FEW)
		return kern->ranked(x, n, k);
	while (n > 1) {
		float p = pivot(x, n);
		size_t i = 0, j = n - 1;
		for (;; i++, j--) {
			while (x[i] > p)
				i++;
			while (x[j] < p)
				j--;
			if (i >= j)
				break;
			swap(x + i, x + j);
		}
		/* x[0 .. i) >= p >= x[j + 1 .. n) */
		size_t front = i == j ? i + 1 : i;
		if (k <= i)
			n = i;
		else if (k <= front)
			return x[i];
		else {
			x += front;
			n -= front;
			k -= front;
		}
	}
	return x[0];
}

static bool better(struct scored a, struct scored b)
{
	return a.score > b.score || (a.score == b.score && a.index < b.index);
}

void select_best(struct scored *x, size_t n, size_t k)
{
	while (k > 0 && k < n) {
		struct scored p = x[n / 2];
		size_t end = 0;
		x[n / 2] = x[n - 1];
		for (size_t i = 0; i + 1 < n; i++) {
			if (better(x[i], p)) {
				struct scored t = x[end];
				x[end++] = x[i];
				x[i] = t;
			}
		}
		x[n - 1] = x[end];
		x[end] = p;
		/* x[0 .. end) are better than x[end] = p, the rest is not. */
		if (k <= end) {
			n = end;
		} else {
			x += end + 1;
			n -= end + 1;
			k -= end + 1;
		}
	}
}
