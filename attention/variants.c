/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The table of built-in variants, made from variants.def, and find-by-name. */
#include "attn.h"

#include <string.h>

#define VARIANT(symbol) extern const struct attn_variant attn_##symbol;
#include "variants.def"
#undef VARIANT

const struct attn_variant *const attn_variants[] = {
#define VARIANT(symbol) &attn_##symbol,
#include "variants.def"
#undef VARIANT
	NULL,
};

const struct attn_variant *attn_find(const char *name)
{
	for (const struct attn_variant *const *v = attn_variants; *v; v++)
		if (!strcmp((*v)->name, name))
			return *v;
	return NULL;
}

unsigned attn_flags(const struct attn_variant *variant, const double *arg)
{
	unsigned flags = variant->flags;
	float bound = variant->impl_bound;

	if (variant->refine)
		variant->refine(arg, &flags, &bound);
	return flags;
}

float attn_bound(const struct attn_variant *variant, const double *arg, enum attn_type type)
{
	unsigned flags = variant->flags;
	static const float rounding[] = { [ATTN_F32] = 0, [ATTN_BF16] = 0x1p-6f, [ATTN_F16] = 0x1p-9f };
	float bound = variant->impl_bound;

	if (variant->refine)
		variant->refine(arg, &flags, &bound);
	return bound + rounding[type];
}
