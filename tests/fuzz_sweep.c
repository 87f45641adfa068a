/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Fuzz target: any bytes as a sweep file are refused with a sentence, or give
 * groups whose axes are refused or crossed within bounds. Build with clang
 * -fsanitize=fuzzer,address,undefined and start from tests/corpus/sweep.
 */
#include "../harness/cross.h"
#include "../harness/sweep.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A sweep may be large; some cells are enough. */
static bool some_cells(void *user, const struct cell *cell, char *error)
{
	if (strlen(cell->id) != 16 || cell->n_q < 1 || cell->n_k < 1 || cell->d < 1)
		abort();
	if (++*(size_t *)user < 200)
		return true;
	return fail(error, "enough");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct config config = { 0 };
	char error[ERROR_MAX] = "";
	size_t cells = 0;

	config.sweep_path = strdup("fuzz.ini");
	text_add(&config.sweep_text, (const char *)data, size);
	bool ok = sweep_parse(&config, error);
	if (!ok && !error[0])
		abort();
	if (ok && config.n_groups == 0)
		cross_group(&config, NULL, some_cells, &cells, error);
	for (size_t i = 0; ok && i < config.n_groups; i++)
		cross_group(&config, &config.groups[i], some_cells, &cells, error);
	if (!memchr(error, '\0', sizeof error))
		abort();
	config_free(&config);
	return 0;
}
