/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Lloyd's iterations: scores of a tile of points, members, sums, centres. */
#include "kmeans.h"

#include <string.h>

#define NO_CENTRE UINT32_MAX

static size_t padded(size_t bytes)
{
	return (bytes + ATTN_ALIGN - 1) / ATTN_ALIGN * ATTN_ALIGN;
}

size_t kmeans_shared_bytes(size_t count, size_t d, size_t points, size_t ranks)
{
	return padded(sizeof(double) * (points + count * d + ranks * (count * (d + 1) + 1)) +
	              sizeof(float) * count * (d + 1));
}

/* The tile has a last channel, 1 in every point and -|c|^2 / 2 in a centre. */
static size_t tile_bytes(size_t d)
{
	return padded((d + 1) * KERN_MAX_LANES * sizeof(float)) + 2 * padded(KERN_MAX_LANES * sizeof(float));
}

size_t kmeans_scratch_bytes(size_t count, size_t d)
{
	return padded(tile_bytes(d) + pick_bytes(count, 1) +
	              sizeof(float) * KERN_MAX_LANES * count);
}

void kmeans_init(struct kmeans *km, size_t ranks, void *shared, void *scratch)
{
	size_t d = km->d, count = km->count;
	char *mem = scratch;

	km->set[0].length = shared;
	km->set[1].length = km->set[0].length + km->set[0].n;
	km->centre = km->set[1].length + km->set[1].n;
	km->sum = km->centre + count * d;
	km->changed = km->sum + ranks * count * (d + 1);
	km->rounded = (float *)(km->changed + ranks);
	km->tile = (struct kern_tile){ .q = scratch };
	km->tile.max = (float *)(mem + padded((d + 1) * KERN_MAX_LANES * sizeof(float)));
	km->tile.sum = km->tile.max + padded(KERN_MAX_LANES * sizeof(float)) / sizeof(float);
	pick_init(&km->pick, mem + tile_bytes(d), count, 1);
	km->score = (float *)(mem + tile_bytes(d) + pick_bytes(count, 1));
	for (size_t r = 0; r < km->call->kern->lanes; r++)
		km->tile.q[d * km->call->kern->lanes + r] = 1;
}

/* What an exact score needs: the tile's points. */
struct scored_tile {
	const struct kmeans *km;
	const float *x;
	size_t ldx;
};

/* pick_exact: x . c, less |c|^2 / 2 unless spherical. */
static double exact_score(const void *ctx, size_t lane, size_t u)
{
	const struct scored_tile *t = ctx;
	const float *x = t->x + lane * t->ldx;
	const double *c = t->km->centre + u * t->km->d;
	double dot = 0, square = 0;

	for (size_t e = 0; e < t->km->d; e++) {
		dot += (double)x[e] * c[e];
		square += c[e] * c[e];
	}
	return t->km->spherical ? dot : dot - square / 2;
}

static double length_of(const float *x, size_t d)
{
	double square = 0;

	for (size_t e = 0; e < d; e++)
		square += (double)x[e] * (double)x[e];
	return sqrt(square);
}

/* Adds sign x, or sign x/|x|, to the rank's sums of a centre. */
static void add(const struct kmeans *km, size_t rank, const float *x, double length, uint32_t centre,
                double sign)
{
	double *to = km->sum + (rank * km->count + centre) * (km->d + 1), factor = sign;

	if (km->spherical)
		factor = length > 0 ? sign / length : 0;
	for (size_t e = 0; e < km->d; e++)
		to[e] += factor * (double)x[e];
	to[km->d] += sign;
}

/* Brings `rows` further points towards L2 while the scores of others are formed. */
static void ask(const struct kmeans *km, const struct kmeans_points *set, size_t i, size_t rows)
{
	for (size_t r = 0; r < rows; r++)
		for (size_t e = 0; e < km->d; e += 16)
			__builtin_prefetch(set->x + (i + r) * set->ldx + e, 0, 2);
}

/* Members of points i .. i + rows of a set; sums follow those that move. Returns
 * how many do. next: the rank's next point after them. */
static size_t assign_tile(struct kmeans *km, size_t rank, const struct kmeans_points *set, size_t i,
                          size_t rows, size_t next)
{
	const struct kern *kern = km->call->kern;
	struct scored_tile t = { km, set->x + i * set->ldx, set->ldx };
	const double *length = set->length + i;
	size_t d = km->d, moved = 0;
	float error[KERN_MAX_LANES];

	/* |x . c| + |c|^2 / 2 is at most |c| (|x| + |c|). */
	for (size_t r = 0; r < rows; r++)
		error[r] = pick_dot_error(d + 1, km->longest, (float)length[r] + km->longest);
	km->tile.d = d;
	kern->tile_load(&km->tile, t.x, t.ldx, rows, 1);
	km->tile.d = d + 1; /* the last channel stays 1 */
	if (next < set->n)
		ask(km, set, next, set->n - next < rows ? set->n - next : rows);
	kern->tile_scores(&km->tile, km->rounded, d + 1, km->count, km->score);
	pick_scan(&km->pick, kern, km->score, km->count, rows, error);
	for (size_t r = 0; r < rows; r++) {
		uint32_t best, *member = set->member + i + r;
		pick_lane(&km->pick, r, exact_score, &t, &best);
		if (*member == best)
			continue;
		if (*member != NO_CENTRE)
			add(km, rank, t.x + r * t.ldx, length[r], *member, -1);
		add(km, rank, t.x + r * t.ldx, length[r], best, 1);
		*member = best;
		moved++;
	}
	if (km->call->stats)
		km->call->stats->flops_executed += 2.0 * (double)(kern->lanes * km->count * (d + 1));
	return moved;
}

/* The rank's part of the sets: tiles in turn. */
static void assign_all(struct kmeans *km, struct attn_team *team)
{
	size_t lanes = km->call->kern->lanes, moved = 0;

	for (size_t a = 0; a < KMEANS_SETS; a++) {
		const struct kmeans_points *set = &km->set[a];
		for (size_t i = team->rank * lanes; i < set->n; i += team->size * lanes)
			moved += assign_tile(km, team->rank, set, i, set->n - i < lanes ? set->n - i : lanes,
			                     i + team->size * lanes);
	}
	km->changed[team->rank] = (double)moved;
}

/* f32 copy of centre u. */
static void round_centre(const struct kmeans *km, size_t u)
{
	const double *c = km->centre + u * km->d;
	float *to = km->rounded + u * (km->d + 1);
	double square = 0;

	for (size_t e = 0; e < km->d; e++) {
		to[e] = (float)c[e];
		square += c[e] * c[e];
	}
	to[km->d] = km->spherical ? 0 : (float)(-square / 2);
}

/* Component e of the sum of a centre's members, or their number for e = d. */
static double total(const struct kmeans *km, size_t ranks, size_t u, size_t e)
{
	double sum = 0;

	for (size_t r = 0; r < ranks; r++)
		sum += km->sum[(r * km->count + u) * (km->d + 1) + e];
	return sum;
}

/* New centres; ranks take them in turn. */
static void move_centres(const struct kmeans *km, struct attn_team *team)
{
	size_t d = km->d;

	for (size_t u = team->rank; u < km->count; u += team->size) {
		double members = total(km, team->size, u, d), square = 0;
		for (size_t e = 0; e < d; e++)
			square += total(km, team->size, u, e) * total(km, team->size, u, e);
		double size = km->spherical ? sqrt(square) : members;
		if (members == 0 || size <= members * KMEANS_NO_DIRECTION)
			continue;
		for (size_t e = 0; e < d; e++)
			km->centre[u * d + e] = total(km, team->size, u, e) / size;
		round_centre(km, u);
	}
}

static void longest_centre(struct kmeans *km)
{
	km->longest = 0;
	for (size_t u = 0; u < km->count; u++) {
		const float *c = km->rounded + u * (km->d + 1);
		km->longest = fmaxf(km->longest, sqrtf(km->call->kern->dot(c, c, km->d)));
	}
}

/* No point belongs anywhere yet; ranks measure points in turn. */
static void forget(struct kmeans *km, struct attn_team *team)
{
	size_t cells = km->count * (km->d + 1);

	for (size_t a = 0; a < KMEANS_SETS; a++)
		for (size_t i = team->rank; i < km->set[a].n; i += team->size)
			km->set[a].length[i] = length_of(km->set[a].x + i * km->set[a].ldx, km->d);

	for (size_t a = 0; team->rank == 0 && a < KMEANS_SETS; a++)
		for (size_t i = 0; i < km->set[a].n; i++)
			km->set[a].member[i] = NO_CENTRE;
	memset(km->sum + team->rank * cells, 0, cells * sizeof *km->sum);
}

/* Each point to its nearest centre; true if none moved. */
static bool settle(struct kmeans *km, struct attn_team *team)
{
	double moved = 0;

	longest_centre(km);
	assign_all(km, team);
	attn_barrier(team);
	for (size_t r = 0; r < team->size; r++)
		moved += km->changed[r];
	return moved == 0;
}

static void start_at(const struct kmeans *km, size_t u, const float *x)
{
	double *c = km->centre + u * km->d, length = km->spherical ? length_of(x, km->d) : 1;
	double size = length > 0 ? length : 1;

	for (size_t e = 0; e < km->d; e++)
		c[e] = (double)x[e] / size;
	round_centre(km, u);
}

void kmeans_run(struct kmeans *km, struct attn_team *team, const uint32_t *first)
{
	for (size_t u = team->rank; u < km->count; u += team->size) {
		const struct kmeans_points *set = &km->set[first[u] >= km->set[0].n];
		size_t at = first[u] - (set == km->set ? 0 : km->set[0].n);
		start_at(km, u, set->x + at * set->ldx);
	}
	forget(km, team);
	attn_barrier(team);
	for (size_t i = 0; i < km->iterations; i++) {
		/* Members that stay put leave the centres where they are. */
		if (settle(km, team))
			return;
		move_centres(km, team);
		attn_barrier(team);
	}
	settle(km, team);
}

void kmeans_place(struct kmeans *km, struct attn_team *team, const float *centre)
{
	for (size_t u = team->rank; u < km->count; u += team->size)
		start_at(km, u, centre + u * km->d);
	attn_barrier(team);
}

void kmeans_assign(struct kmeans *km, struct attn_team *team)
{
	forget(km, team);
	attn_barrier(team);
	settle(km, team);
}
