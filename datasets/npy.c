/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The header of a .npy file. The file is "\x93NUMPY", two version bytes, the
 * length of the header (two bytes in version 1, four in version 2,
 * little-endian), the header, and the elements. The header is a Python dict
 * literal of three keys, padded with spaces and ended by a newline:
 *
 *     {'descr': '<f4', 'fortran_order': False, 'shape': (8, 512, 32), }
 */
#include "npy.h"

#include <string.h>

#include "fail.h"

enum { MAGIC = 6, HEADER_MAX = NPY_START_MAX - 12, STRING_MAX = 16 };

static const struct {
	const char *name;
	enum tensor_type type;
} types[] = {
	{ "<f2", TENSOR_F16 },
	{ "<f4", TENSOR_F32 },
	{ "<f8", TENSOR_F64 },
};

/* The header while it is read. */
struct cursor {
	const char *start, *at, *end;
	char *error;
};

/* Nothing of the file's own bytes goes into a message unless it is printable. */
static bool fail_at(const struct cursor *c, const char *wanted)
{
	size_t place = (size_t)(c->at - c->start);

	if (c->at == c->end)
		return fail(c->error, "the header ends where %s should be; write the file again with numpy.save",
		            wanted);
	if (*c->at < ' ' || *c->at > '~')
		return fail(c->error, "byte %zu of the header is 0x%02x where %s should be; write the file again with numpy.save",
		            place, (unsigned)(unsigned char)*c->at, wanted);
	return fail(c->error, "byte %zu of the header is '%c' where %s should be; write the file again with numpy.save",
	            place, *c->at, wanted);
}

static void skip_spaces(struct cursor *c)
{
	while (c->at < c->end && *c->at == ' ')
		c->at++;
}

static bool accept(struct cursor *c, char wanted)
{
	skip_spaces(c);
	if (c->at == c->end || *c->at != wanted)
		return false;
	c->at++;
	return true;
}

static bool expect(struct cursor *c, char wanted)
{
	char what[] = "' '";

	what[1] = wanted;
	return accept(c, wanted) || fail_at(c, what);
}

/* A quoted string of printable characters without escapes. */
static bool read_string(struct cursor *c, char out[STRING_MAX], const char *what)
{
	size_t length = 0;
	char quote;

	skip_spaces(c);
	if (c->at == c->end || (*c->at != '\'' && *c->at != '"'))
		return fail_at(c, what);
	quote = *c->at++;
	while (c->at < c->end && *c->at != quote) {
		if (*c->at < ' ' || *c->at > '~' || *c->at == '\\' || length + 1 == STRING_MAX)
			return fail_at(c, what);
		out[length++] = *c->at++;
	}
	out[length] = '\0';
	if (c->at == c->end)
		return fail_at(c, "a closing quote");
	c->at++;
	return true;
}

static bool refuse_type(char *error, const char *descr)
{
	if (descr[0] == '>')
		return fail(error, "elements are '%s', big-endian; convert with x.astype('<f4') and save again", descr);
	if (descr[0] == '|' || descr[0] == '=')
		return fail(error, "elements are '%s', which names no byte order or a type that is no number; save as '<f2', '<f4' or '<f8'",
		            descr);
	return fail(error, "elements are '%s'; '<f2', '<f4' and '<f8' are read: convert with x.astype('<f4') and save again",
	            descr);
}

static bool read_descr(struct cursor *c, struct tensor_head *npy)
{
	char descr[STRING_MAX];

	skip_spaces(c);
	if (c->at < c->end && *c->at == '[')
		return fail(c->error, "elements are records of several fields; save each field as an array of its own");
	if (!read_string(c, descr, "a type such as '<f4'"))
		return false;
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if (strcmp(descr, types[i].name) == 0) {
			npy->type = types[i].type;
			return true;
		}
	return refuse_type(c->error, descr);
}

static bool read_order(struct cursor *c)
{
	skip_spaces(c);
	if ((size_t)(c->end - c->at) >= 5 && memcmp(c->at, "False", 5) == 0) {
		c->at += 5;
		return true;
	}
	if ((size_t)(c->end - c->at) >= 4 && memcmp(c->at, "True", 4) == 0)
		return fail(c->error, "the array is in Fortran order; save numpy.ascontiguousarray(x) instead");
	return fail_at(c, "True or False");
}

/* A decimal without sign, leading zeros or separators, as Python writes it. */
static bool read_dim(struct cursor *c, size_t *dim)
{
	size_t value = 0;
	const char *first;

	skip_spaces(c);
	first = c->at;
	while (c->at < c->end && *c->at >= '0' && *c->at <= '9') {
		if (__builtin_mul_overflow(value, (size_t)10, &value) ||
		    __builtin_add_overflow(value, (size_t)(*c->at - '0'), &value))
			return fail(c->error, "a dimension of the shape is beyond 64 bits; the header is damaged");
		c->at++;
	}
	if (c->at == first || (*first == '0' && c->at - first > 1)) {
		c->at = first;
		return fail_at(c, "a dimension");
	}
	if (value == 0)
		return fail(c->error, "a dimension of the shape is 0: the array is empty; save one that holds tokens");
	*dim = value;
	return true;
}

static bool read_shape(struct cursor *c, struct tensor_head *npy)
{
	bool comma = true;

	npy->rank = 0;
	if (!expect(c, '('))
		return false;
	while (!accept(c, ')')) {
		if (!comma)
			return fail_at(c, "',' or ')'");
		if (npy->rank == TENSOR_MAX_RANK)
			return fail(c->error, "the shape has more than %d dimensions; reshape to [batch, heads, n, d], [heads, n, d] or [n, d]",
			            TENSOR_MAX_RANK);
		if (!read_dim(c, &npy->dim[npy->rank]))
			return false;
		npy->rank++;
		comma = accept(c, ',');
	}
	/* (5) is a number to Python, only (5,) is a tuple. */
	if (npy->rank == 1 && !comma) {
		c->at--;
		return fail_at(c, "the ',' of a tuple");
	}
	return true;
}

static bool read_header(struct cursor *c, struct tensor_head *npy)
{
	static const char *const keys[] = { "descr", "fortran_order", "shape" };
	bool seen[3] = { false, false, false }, comma = true;
	char key[STRING_MAX];

	if (!expect(c, '{'))
		return false;
	while (!accept(c, '}')) {
		size_t i = 0;

		if (!comma)
			return fail_at(c, "',' or '}'");
		if (!read_string(c, key, "a key"))
			return false;
		while (i < 3 && strcmp(key, keys[i]) != 0)
			i++;
		if (i == 3)
			return fail(c->error, "the header has a key '%s'; descr, fortran_order and shape are all that a .npy file has",
			            key);
		if (seen[i])
			return fail(c->error, "the header gives %s twice; write the file again with numpy.save", key);
		seen[i] = true;
		if (!expect(c, ':'))
			return false;
		if (!(i == 0 ? read_descr(c, npy) : i == 1 ? read_order(c) : read_shape(c, npy)))
			return false;
		comma = accept(c, ',');
	}
	for (size_t i = 0; i < 3; i++)
		if (!seen[i])
			return fail(c->error, "the header does not give %s; write the file again with numpy.save", keys[i]);
	skip_spaces(c);
	if (c->end - c->at != 1 || *c->at != '\n')
		return fail_at(c, "padding and one newline");
	return true;
}

/* Does the file hold just what the shape says? */
static bool check_size(struct tensor_head *npy, uint64_t size, char *error)
{
	size_t bytes, count = 1, each = tensor_type_size(npy->type);
	uint64_t held = size - npy->offset;

	for (size_t i = 0; i < npy->rank; i++)
		if (__builtin_mul_overflow(count, npy->dim[i], &count))
			return fail(error, "the shape has more elements than 64 bits can count; the header is damaged");
	if (__builtin_mul_overflow(count, each, &bytes))
		return fail(error, "the array has more bytes than 64 bits can count; the header is damaged");
	if (bytes != held)
		return fail(error, "the shape has %zu elements of %zu bytes, %zu bytes in all, but %ju bytes follow "
		            "the header; the file is %s: copy or save it again",
		            count, each, bytes, (uintmax_t)held, bytes > held ? "cut short" : "longer than its header says");
	npy->count = count;
	return true;
}

bool npy_parse(const void *buf, size_t have, uint64_t size, struct tensor_head *npy, char *error)
{
	const unsigned char *byte = buf;
	struct cursor c = { .error = error };
	size_t prefix, length;

	memset(npy, 0, sizeof(*npy));
	if (have < MAGIC + 2 || memcmp(byte, "\x93NUMPY", MAGIC) != 0)
		return fail(error, "this is not a .npy file (it does not begin with \\x93NUMPY); make one with numpy.save");
	if ((byte[6] != 1 && byte[6] != 2) || byte[7] != 0)
		return fail(error, ".npy version %u.%u; 1.0 and 2.0 are read: write the file again with numpy.save",
		            byte[6], byte[7]);
	prefix = byte[6] == 1 ? MAGIC + 4 : MAGIC + 6;
	if (have < prefix)
		return fail(error, "the file ends inside its first %zu bytes; copy or save it again", prefix);
	length = (size_t)byte[8] | (size_t)byte[9] << 8;
	if (byte[6] == 2)
		length |= (size_t)byte[10] << 16 | (size_t)byte[11] << 24;
	if (length > HEADER_MAX)
		return fail(error, "the header is said to have %zu bytes; %d is the most a plain array can need: the file is damaged",
		            length, HEADER_MAX);
	if (length > have - prefix)
		return fail(error, "the header is said to have %zu bytes, but the file ends after %zu of them; copy or save it again",
		            length, have - prefix);
	c.start = c.at = (const char *)byte + prefix;
	c.end = c.start + length;
	npy->offset = prefix + length;
	return read_header(&c, npy) && check_size(npy, size, error);
}
