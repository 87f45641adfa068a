/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Loading plug-ins, and lookups that span them. */
#include "plugin.h"

#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct plugin {
	char path[PLUGIN_PATH_MAX];
	const struct attn_variant *const *variants; /* ended by NULL */
} plugins[PLUGIN_MAX];
static size_t n_plugins;

const struct attn_variant *variant_at(size_t i)
{
	for (const struct attn_variant *const *v = attn_variants; *v; v++)
		if (i-- == 0)
			return *v;
	for (size_t p = 0; p < n_plugins; p++)
		for (const struct attn_variant *const *v = plugins[p].variants; *v; v++)
			if (i-- == 0)
				return *v;
	return NULL;
}

const struct attn_variant *variant_find(const char *name)
{
	const struct attn_variant *v;

	for (size_t i = 0; (v = variant_at(i)); i++)
		if (!strcmp(v->name, name))
			return v;
	return NULL;
}

const char *variant_plugin(const struct attn_variant *variant)
{
	for (size_t p = 0; p < n_plugins; p++)
		for (const struct attn_variant *const *v = plugins[p].variants; *v; v++)
			if (*v == variant)
				return plugins[p].path;
	return NULL;
}

/* A name goes into file names, CSV fields and the command line unquoted. */
static bool good_name(const char *name)
{
	return name && *name && strlen(name) < 64 &&
	       name[strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-")] == '\0';
}

/* NULL, or what is wrong with the i-th variant of a list. abi is read first:
 * it comes first in every version of the struct. */
static const char *check(const struct attn_variant *const *list, size_t i)
{
	const struct attn_variant *v = list[i];

	if (v->abi != ATTN_ABI)
		return "was built for another version of attention/attn.h: compile it again";
	if (!good_name(v->name))
		return "has a name that is not of lower-case letters, digits and dashes";
	if (!v->family || !v->title || !v->plan || !v->forward)
		return "lacks family, title, plan or forward";
	if (!(v->flags & (ATTN_CAUSAL | ATTN_BIDIRECTIONAL)))
		return "is neither causal nor bidirectional: set one of the flags";
	for (size_t n = 0; v->params && v->params[n].name; n++)
		if (n == ATTN_MAX_PARAMS)
			return "has too many parameters";
	if (variant_find(v->name))
		return "has a name that is taken: choose another";
	for (size_t j = 0; j < i; j++)
		if (!strcmp(list[j]->name, v->name))
			return "has a name that the same plug-in uses twice";
	return NULL;
}

/* False and error, or the list of variants of an object that is open. */
static bool check_all(void *object, struct plugin *p, char *error)
{
	p->variants = dlsym(object, "attn_plugin");
	if (!p->variants) {
		snprintf(error, PLUGIN_ERROR_MAX,
		         "plug-in %s exports no attn_plugin: define the array of its variants, "
		         "ended by NULL, as harness/plugin.h says", p->path);
		return false;
	}
	for (size_t i = 0; p->variants[i]; i++) {
		const char *why = check(p->variants, i);
		if (why) {
			bool named = p->variants[i]->abi == ATTN_ABI && p->variants[i]->name;
			snprintf(error, PLUGIN_ERROR_MAX, "plug-in %s: variant %s %s", p->path,
			         named ? p->variants[i]->name : "1", why);
			return false;
		}
	}
	return true;
}

bool plugin_load(const char *path, char error[PLUGIN_ERROR_MAX])
{
	char real[PATH_MAX];
	struct plugin *p = &plugins[n_plugins];

	/* Without a slash dlopen() would search the system's directories. */
	if (!realpath(path, real) || strlen(real) >= sizeof p->path) {
		snprintf(error, PLUGIN_ERROR_MAX, "plug-in %.512s: %s", path, strerror(errno));
		return false;
	}
	for (size_t i = 0; i < n_plugins; i++)
		if (!strcmp(plugins[i].path, real))
			return true;
	if (n_plugins == PLUGIN_MAX) {
		snprintf(error, PLUGIN_ERROR_MAX, "plug-in %.512s: %d are loaded, no more fit", path,
		         PLUGIN_MAX);
		return false;
	}
	void *object = dlopen(real, RTLD_NOW | RTLD_LOCAL);
	if (!object) {
		snprintf(error, PLUGIN_ERROR_MAX, "plug-in cannot be loaded: %.1024s", dlerror());
		return false;
	}
	strcpy(p->path, real);
	if (!check_all(object, p, error)) {
		dlclose(object);
		return false;
	}
	n_plugins++;
	return true;
}
