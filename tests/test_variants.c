/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Every variant holds every property of harness/property.c on every kernel
 * table that this CPU can run: what `attnbench verify` prints, as tests. */
#include "../attention/attn.h"
#include "../harness/verbs.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

struct case_of {
	const char *isa;
	const struct attn_variant *variant;
	char name[96];
};

static void test_variant(void **state)
{
	const struct case_of *c = *state;
	char verb[] = "verify", v[] = "--variant", i[] = "--isa", name[64], isa[32], error[ERROR_MAX] = "";
	char *argv[] = { verb, v, name, i, isa, NULL };
	struct config config = { 0 };
	struct text out = { 0 };
	size_t failures = 0;

	snprintf(name, sizeof name, "%s", c->variant->name);
	snprintf(isa, sizeof isa, "%s", c->isa);
	if (!options_parse(&config, VERB_VERIFY, 5, argv, error) ||
	    !verify_verb(&config, &failures, &out, error))
		fail_msg("%s", error);
	if (failures)
		print_error("%s\n", out.s);
	assert_int_equal(failures, 0);
	text_free(&out);
	config_free(&config);
}

static void test_registry(void **state)
{
	(void)state;
	for (size_t i = 0; attn_variants[i]; i++) {
		const struct attn_variant *v = attn_variants[i];
		assert_int_equal(v->abi, ATTN_ABI);
		assert_ptr_equal(attn_find(v->name), v); /* names are unique */
		assert_non_null(v->oracle);
		assert_true((v->flags & (ATTN_CAUSAL | ATTN_BIDIRECTIONAL)) != 0);
		assert_true(v->family && v->title && v->formula && v->complexity && v->summary);
		for (size_t p = 0; v->params && v->params[p].name; p++) {
			const struct attn_param *param = &v->params[p];
			assert_true(p < ATTN_MAX_PARAMS && param->help && param->min <= param->max);
			/* A default is in range, or is found for the shape. */
			if (isnan(param->def))
				assert_non_null(v->resolve);
			else
				assert_true(param->def >= param->min && param->def <= param->max);
		}
	}
	assert_null(attn_find("no-such-variant"));
}

int main(void)
{
	enum { MAX = 512 };
	static struct case_of cases[MAX];
	static struct CMUnitTest tests[MAX + 1] = { { "registry", test_registry, NULL, NULL, NULL } };
	size_t n = 0;

	for (const char *const *isa = attn_isa_names(); *isa; isa++) {
#ifdef __SANITIZE_ADDRESS__
		/* Five times slower: the definition and the fastest. */
		if (strcmp(*isa, "scalar") && strcmp(*isa, attn_kern_isa(attn_kern_best())))
			continue;
#endif
		for (size_t i = 0; attn_kern(*isa) && attn_variants[i] && n < MAX; i++, n++) {
			cases[n].isa = *isa;
			cases[n].variant = attn_variants[i];
			snprintf(cases[n].name, sizeof cases[n].name, "%s: %s", *isa, attn_variants[i]->name);
			tests[n + 1] = (struct CMUnitTest){ .name = cases[n].name, .test_func = test_variant,
				                            .initial_state = &cases[n] };
		}
	}
	return _cmocka_run_group_tests("variants", tests, n + 1, NULL, NULL);
}
