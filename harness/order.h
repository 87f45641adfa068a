/* SPDX-License-Identifier: BSD-3-Clause
 *
 * In which order cells are measured. In each round the shapes are shuffled;
 * inside a shape its cells follow a row of a cyclic Latin square drawn for the
 * shape, so that in V rounds each of V cells takes each place once and a
 * steady drift of the machine cancels. All of it follows from one seed.
 */
#ifndef HARNESS_ORDER_H
#define HARNESS_ORDER_H

#include <stddef.h>
#include <stdint.h>

/* order[0 .. n) = a permutation of 0 .. n - 1 for this round. */
void order_shapes(uint64_t seed, size_t round, size_t n, size_t *order);

/* row[0 .. n) = which cell of the shape comes at each place in this round. */
void order_cells(uint64_t seed, size_t shape, size_t round, size_t n, size_t *row);

#endif
