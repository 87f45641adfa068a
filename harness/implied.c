/* SPDX-License-Identifier: BSD-3-Clause
 *
 * DIR/implied: the weights that variants imply, a file a cell. Workers leave
 * them in the scratch directory; they come from there whole or not at all. */
#include "run.h"
#include "file.h"
#include "weights.h"

#include <stdio.h>
#include <unistd.h>

enum { IMPLIED_PATH = RUN_PATH_MAX + 16 };

static const char *directory(const struct run *run, char path[IMPLIED_PATH])
{
	snprintf(path, IMPLIED_PATH, "%s/implied", run->dir);
	return path;
}

bool implied_open(struct run *run)
{
	char path[IMPLIED_PATH];

	directory(run, path);
	if (run->config->fresh)
		scratch_limit(path, 0);
	if (!run->config->keep_weights)
		return true;
	if (!run->scratch[0])
		return fail(run->error, "workers have no place for the weights that they should keep: make /dev/shm or "
		                        "/tmp writable, or leave out --keep-weights");
	return make_directory(path, run->error);
}

bool implied_keep(struct run *run, const struct job *job, const struct outcome *out)
{
	char from[WEIGHTS_PATH], path[IMPLIED_PATH], name[sizeof job->cell.id + sizeof ".npy"];
	struct text bytes = { 0 };
	bool ok = true;

	if (!job->keep_weights)
		return true;
	weights_path(job, from);
	/* Not there: the output is no product of weights and values. */
	if ((out->status == STATUS_OK || out->status == STATUS_INACCURATE) && access(from, F_OK) == 0) {
		snprintf(name, sizeof name, "%s.npy", job->cell.id);
		ok = read_file(from, &bytes, run->error) &&
		     replace_file(directory(run, path), name, bytes.s, bytes.len, run->error);
	}
	unlink(from);
	text_free(&bytes);
	return ok;
}
