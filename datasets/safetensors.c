/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The header of a .safetensors file, read by jansson and believed in nothing.
 */
#include "safetensors.h"

#include <fcntl.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fail.h"

enum { NAME_SHOWN = 40, REASON_MAX = 300 };

/* The part of the file that a tensor says it is. */
struct extent {
	uint64_t begin, end; /* from the end of the header */
	const char *name;    /* the header's */
};

static const struct {
	const char *name;
	size_t size;
	bool number; /* one that attention can read, as `type` */
	enum tensor_type type;
} types[] = {
	{ "F16", 2, true, TENSOR_F16 }, { "BF16", 2, true, TENSOR_BF16 },
	{ "F32", 4, true, TENSOR_F32 }, { "F64", 8, true, TENSOR_F64 },
	{ "BOOL", 1, false, 0 }, { "U8", 1, false, 0 }, { "I8", 1, false, 0 },
	{ "U16", 2, false, 0 }, { "I16", 2, false, 0 }, { "U32", 4, false, 0 },
	{ "I32", 4, false, 0 }, { "U64", 8, false, 0 }, { "I64", 8, false, 0 },
};

/* Text of the file as it may stand in a message. */
static const char *shown(const char *text, char out[NAME_SHOWN])
{
	size_t i = 0;

	for (; text[i] && i + 1 < NAME_SHOWN; i++)
		out[i] = text[i] < ' ' || text[i] > '~' ? '?' : text[i];
	out[i] = '\0';
	return out;
}

/* A non-negative whole number. */
static bool read_size(const json_t *value, uint64_t *out)
{
	if (!json_is_integer(value) || json_integer_value(value) < 0)
		return false;
	*out = (uint64_t)json_integer_value(value);
	return true;
}

/* The elements of a tensor; false if the shape is none, or too large. */
static bool count_elements(const json_t *shape, uint64_t *count)
{
	uint64_t dim;

	*count = 1;
	if (!json_is_array(shape))
		return false;
	for (size_t i = 0; i < json_array_size(shape); i++)
		if (!read_size(json_array_get(shape, i), &dim) || __builtin_mul_overflow(*count, dim, count))
			return false;
	return true;
}

/* One entry of the header, by itself. */
static bool read_extent(const char *key, const json_t *entry, uint64_t held, struct extent *extent, char *error)
{
	const json_t *dtype = json_object_get(entry, "dtype"), *shape = json_object_get(entry, "shape");
	const json_t *offsets = json_object_get(entry, "data_offsets");
	char name[NAME_SHOWN], type[NAME_SHOWN];
	uint64_t count, bytes;

	shown(key, name);
	if (!json_is_object(entry) || json_object_size(entry) != 3 || !dtype || !shape || !offsets)
		return fail(error, "tensor '%s' must have dtype, shape and data_offsets, and nothing else", name);
	if (!json_is_string(dtype))
		return fail(error, "the dtype of tensor '%s' is no text", name);
	if (!count_elements(shape, &count))
		return fail(error, "the shape of tensor '%s' is no list of sizes, or beyond 64 bits", name);
	if (!json_is_array(offsets) || json_array_size(offsets) != 2 ||
	    !read_size(json_array_get(offsets, 0), &extent->begin) ||
	    !read_size(json_array_get(offsets, 1), &extent->end) || extent->begin > extent->end)
		return fail(error, "the data_offsets of tensor '%s' are not two places in order", name);
	if (extent->end > held)
		return fail(error, "tensor '%s' ends at byte %ju of the data, but the file holds %ju; it is cut short: copy "
		            "or save it again", name, (uintmax_t)extent->end, (uintmax_t)held);
	extent->name = key;
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		if (strcmp(types[i].name, json_string_value(dtype)) != 0)
			continue;
		if (__builtin_mul_overflow(count, types[i].size, &bytes) || bytes != extent->end - extent->begin)
			return fail(error, "tensor '%s' has %ju elements of %zu bytes, but %ju bytes in the file", name,
			            (uintmax_t)count, types[i].size, (uintmax_t)(extent->end - extent->begin));
		return true;
	}
	/* Types of eight bits and fewer go on being added: only q, k and v must be known. */
	if (extent->end - extent->begin > count)
		return fail(error, "tensor '%s' has the unknown dtype '%s'", name, shown(json_string_value(dtype), type));
	return true;
}

static int by_place(const void *a, const void *b)
{
	const struct extent *x = a, *y = b;

	if (x->begin != y->begin)
		return x->begin < y->begin ? -1 : 1;
	return (x->end > y->end) - (x->end < y->end);
}

/* Do the tensors fill the data, each beginning where one ends? */
static bool check_filled(struct extent *extent, size_t n, uint64_t held, char *error)
{
	char name[NAME_SHOWN];
	uint64_t at = 0;

	qsort(extent, n, sizeof(*extent), by_place);
	for (size_t i = 0; i < n; at = extent[i++].end)
		if (extent[i].begin != at)
			return fail(error, "tensor '%s' begins at byte %ju of the data, where %s: the file is damaged",
			            shown(extent[i].name, name), (uintmax_t)extent[i].begin,
			            extent[i].begin < at ? "another one is" : "a gap is before it");
	if (at != held)
		return fail(error, "the tensors end at byte %ju of the data, the file at %ju; it is longer than its header says",
		            (uintmax_t)at, (uintmax_t)held);
	return true;
}

static bool check_metadata(json_t *metadata, char *error)
{
	const char *key;
	json_t *value;

	if (!json_is_object(metadata))
		return fail(error, "__metadata__ is no object of texts");
	json_object_foreach(metadata, key, value)
		if (!json_is_string(value))
			return fail(error, "__metadata__ holds what is no text");
	return true;
}

static bool check_all(json_t *root, uint64_t held, char *error)
{
	struct extent *extent = malloc((json_object_size(root) + 1) * sizeof(*extent));
	size_t n = 0;
	const char *key;
	json_t *entry;
	bool ok = true;

	if (!extent)
		return fail(error, "no memory for the header");
	json_object_foreach(root, key, entry) {
		if (strcmp(key, "__metadata__") == 0)
			ok = check_metadata(entry, error);
		else
			ok = read_extent(key, entry, held, &extent[n++], error);
		if (!ok)
			break;
	}
	ok = ok && check_filled(extent, n, held, error);
	free(extent);
	return ok;
}

/* An entry that has been checked, as one of q, k and v. */
static bool take(const char *name, const json_t *entry, uint64_t data, struct tensor_head *head, char *error)
{
	const json_t *shape = json_object_get(entry, "shape");
	const char *dtype = json_string_value(json_object_get(entry, "dtype"));
	char type[NAME_SHOWN];
	uint64_t dim = 0, begin = 0;
	size_t i = 0;

	while (i < sizeof(types) / sizeof(types[0]) && strcmp(types[i].name, dtype) != 0)
		i++;
	if (i == sizeof(types) / sizeof(types[0]) || !types[i].number)
		return fail(error, "tensor '%s' is %s; F32, F16, BF16 and F64 are read: convert it and save again", name,
		            shown(dtype, type));
	head->type = types[i].type;
	head->rank = json_array_size(shape);
	if (head->rank > TENSOR_MAX_RANK)
		return fail(error, "tensor '%s' has %zu dimensions; reshape to [batch, heads, n, d], [heads, n, d] or [n, d]",
		            name, head->rank);
	head->count = 1;
	for (size_t c = 0; c < head->rank; c++) {
		read_size(json_array_get(shape, c), &dim);
		if (dim == 0)
			return fail(error, "a dimension of tensor '%s' is 0: it is empty; save one that holds tokens", name);
		head->dim[c] = dim;
		head->count *= dim;
	}
	read_size(json_array_get(json_object_get(entry, "data_offsets"), 0), &begin);
	head->offset = data + begin;
	return true;
}

/* The first names of a header, for a message. */
static void list_names(json_t *root, char *out, size_t size)
{
	char name[NAME_SHOWN];
	const char *key;
	json_t *entry;
	size_t at = 0;

	snprintf(out, size, "none");
	json_object_foreach(root, key, entry) {
		if (strcmp(key, "__metadata__") == 0)
			continue;
		if (at + NAME_SHOWN + 8 > size) {
			snprintf(out + at, size - at, ", ...");
			return;
		}
		at += (size_t)snprintf(out + at, size - at, "%s%s", at ? ", " : "", shown(key, name));
	}
}

static bool find_heads(json_t *root, uint64_t data, struct safetensors_heads *heads, char *error)
{
	static const char *const sets[2][3] = { { "q", "k", "v" }, { "query", "key", "value" } };
	char names[160];
	int found = -1;

	for (int s = 0; s < 2; s++) {
		size_t there = 0;

		for (size_t i = 0; i < 3; i++)
			there += json_object_get(root, sets[s][i]) != NULL;
		if (there == 3 && found >= 0)
			return fail(error, "both q, k, v and query, key, value are there; keep the three that are meant");
		if (there == 3)
			found = s;
	}
	if (found < 0) {
		list_names(root, names, sizeof(names));
		return fail(error, "it holds no tensors named q, k and v (or query, key and value) but %s; save them under "
		            "these names", names);
	}
	for (size_t i = 0; i < 3; i++) {
		heads->name[i] = sets[found][i];
		if (!take(heads->name[i], json_object_get(root, heads->name[i]), data, &heads->head[i], error))
			return false;
	}
	return true;
}

bool safetensors_header(const unsigned char prefix[SAFETENSORS_PREFIX], uint64_t size, size_t *length, char *error)
{
	uint64_t said = 0;

	for (size_t i = 0; i < SAFETENSORS_PREFIX; i++)
		said |= (uint64_t)prefix[i] << (8 * i);
	if (said > SAFETENSORS_HEADER_MAX)
		return fail(error, "the header is said to have %ju bytes, %d is the most that is read: the file is damaged, "
		            "no .safetensors file, or a whole model; give one with q, k and v",
		            (uintmax_t)said, SAFETENSORS_HEADER_MAX);
	if (said > size - SAFETENSORS_PREFIX)
		return fail(error, "the header is said to have %ju bytes, but the file ends after %ju of them; copy or save it "
		            "again", (uintmax_t)said, (uintmax_t)(size - SAFETENSORS_PREFIX));
	*length = (size_t)said;
	return true;
}

bool safetensors_parse(const char *header, size_t length, uint64_t size, struct safetensors_heads *heads, char *error)
{
	uint64_t data = SAFETENSORS_PREFIX + (uint64_t)length;
	char reason[NAME_SHOWN];
	json_error_t why;
	json_t *root;
	bool ok;

	memset(heads, 0, sizeof(*heads));
	if (length == 0 || header[0] != '{')
		return fail(error, "the header does not begin with '{': this is no .safetensors file");
	root = json_loadb(header, length, JSON_REJECT_DUPLICATES, &why);
	if (!root)
		return fail(error, "the header is no JSON (byte %d: %s); save the file again", why.position,
		            shown(why.text, reason));
	ok = json_is_object(root) ? check_all(root, size - data, error) && find_heads(root, data, heads, error)
	                          : fail(error, "the header is no JSON object; save the file again");
	json_decref(root);
	return ok;
}

static bool read_heads(int fd, uint64_t size, struct safetensors_heads *heads, char *error)
{
	unsigned char prefix[SAFETENSORS_PREFIX];
	size_t length = 0;
	char *header;
	bool ok;

	if (size < sizeof(prefix))
		return fail(error, "the file ends inside its first %d bytes; copy or save it again", SAFETENSORS_PREFIX);
	if (!tensor_read_bytes(fd, 0, prefix, sizeof(prefix)))
		return fail(error, "it cannot be read; copy it again");
	if (!safetensors_header(prefix, size, &length, error))
		return false;
	header = malloc(length + 1);
	if (!header)
		return fail(error, "no memory for the header");
	ok = tensor_read_bytes(fd, SAFETENSORS_PREFIX, header, length) || fail(error, "it cannot be read; copy it again");
	ok = ok && safetensors_parse(header, length, size, heads, error);
	free(header);
	return ok;
}

bool safetensors_open(const char *path, struct tensor *const tensors[3], const char *names[3], char *error)
{
	struct safetensors_heads heads;
	char reason[FAIL_MAX];
	uint64_t size = 0;
	int fd = tensor_open_file(path, &size, error);
	bool ok;

	if (fd < 0)
		return false;
	ok = read_heads(fd, size, &heads, reason);
	for (size_t i = 0; i < 3 && ok; i++) {
		int own = fcntl(fd, F_DUPFD_CLOEXEC, 0);

		*tensors[i] = (struct tensor){ .head = heads.head[i], .open = own >= 0, .fd = own };
		names[i] = heads.name[i];
		ok = own >= 0 || fail(reason, "too many files are open");
	}
	close(fd);
	return ok || fail(error, "%s: %.*s", tensor_shown(path), REASON_MAX, reason);
}
