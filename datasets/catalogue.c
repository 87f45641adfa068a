/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The catalogue of inputs.
 */
#include "catalogue.h"

#include "fail.h"

static bool fits_rank(const struct gen *g, char *error)
{
	if (g->param[0] <= (double)g->d)
		return true;
	return fail(error, "lowrank:r=%g needs as many dimensions, d = %zu was asked; use r <= %zu", g->param[0], g->d, g->d);
}

/* What is special to a task is its table. */
#define TASK(name)                                                                       \
	static void fill_##name(const struct gen *g, float *q, float *k, float *v)       \
	{                                                                                \
		task_fill(&task_##name, g, q, k, v);                                     \
	}                                                                                \
	static bool fits_##name(const struct gen *g, char *error)                        \
	{                                                                                \
		return task_fits(&task_##name, g, error);                                \
	}
TASK(mqar)
TASK(induction)
TASK(haystack)
TASK(majority)

/* name, help, default, least, greatest, whole number */
static const struct source gauss = {
	.kind = {
		.name = "gauss",
		.summary = "independent normal entries, as before training. Nothing to find: it ranks "
		           "methods by how near they are to a constant; top-k gains as sigma grows",
		.params = { { "sigma", "standard deviation of the logits at scale 1/sqrt(d)", 1, 0, 100, false } },
	},
	.generate = gen_gauss
};
static const struct source ar1 = {
	.kind = {
		.name = "ar1",
		.summary = "every channel of q, k and v drifts slowly from token to token. Flatters "
		           "segment means: nystrom, pooled, linformer with averages",
		.params = { { "rho", "correlation of neighbouring tokens", 0.99, 0, 0.99999, false } },
	},
	.generate = gen_ar1
};
static const struct source clustered = {
	.kind = {
		.name = "clustered",
		.summary = "tokens scatter round C centres, at random along the sequence. Flatters "
		           "hashing, routing, clustering and top-k",
		.params = { { "C", "number of centres", 16, 1, 65536, true },
		            { "r", "scatter round a centre; centres are N(0, 1)", 0.3, 0, 10, false } },
	},
	.generate = gen_clustered
};
static const struct source local = {
	.kind = {
		.name = "local",
		.summary = "queries resemble the keys near them: a peaked diagonal. Flatters windows "
		           "and blocks; smooth values help segment means",
	},
	.generate = gen_local
};
static const struct source sink = {
	.kind = {
		.name = "sink",
		.summary = "most queries attend to token 0, whose value is nearly zero, as heads do "
		           "that have nothing to say. Breaks windows without a global or sink token",
	},
	.generate = gen_sink
};
static const struct source needle = {
	.kind = {
		.name = "needle",
		.summary = "gauss in which one key of every 64 is a copy of one later query: recall at "
		           "any distance. Flatters top-k and hashing, breaks windows and small states",
		.params = { { "a", "length of the key as a multiple of its query", 2, 0, 100, false } },
	},
	.generate = gen_needle
};
static const struct source unit = {
	.kind = {
		.name = "unit",
		.summary = "gauss with queries and keys of length 1: small logits, nearly uniform "
		           "weights. Flatters Taylor and random features",
	},
	.generate = gen_unit
};
static const struct source heavy = {
	.kind = {
		.name = "heavy",
		.summary = "gauss whose queries and keys have heavy tails: a few pairs of very large "
		           "logits among ordinary ones. Breaks feature maps and low precision; flatters top-k",
		.params = { { "nu", "degrees of freedom of Student's t; small is heavy", 3, 2.1, 100, false },
		            { "sigma", "standard deviation of the logits at scale 1/sqrt(d)", 1, 0, 100, false } },
	},
	.generate = gen_heavy
};
static const struct source outlier = {
	.kind = {
		.name = "outlier",
		.summary = "gauss with a few channels in which every key holds the same large number, as "
		           "trained models do. Softmax does not see it; feature maps and low precision do",
		.params = { { "c", "channels", 4, 1, 1024, true },
		            { "gain", "what the keys hold more there, plus or minus", 16, 0, 1000, false } },
	},
	.generate = gen_outlier
};
static const struct source lowrank = {
	.kind = {
		.name = "lowrank",
		.summary = "gauss in r of the d dimensions. Flatters clustering, and random features, "
		           "whose sum is easier to estimate in few dimensions",
		.params = { { "r", "rank of q k^T", 4, 1, GEN_RANK_MAX, true },
		            { "sigma", "standard deviation of the logits at scale 1/sqrt(d)", 1, 0, 100, false } },
	},
	.generate = gen_lowrank,
	.fits = fits_rank
};
static const struct source logits = {
	.kind = {
		.name = "logits",
		.summary = "gauss whose logits are as large as it takes for the wanted entropy at this n: "
		           "the axis from averaging (H=1) to picking (H=0)",
		.params = { { "H", "mean entropy of a row over ln n", 0.5, 0.01, 1, false } },
	},
	.generate = gen_logits
};
static const struct source mqar = {
	.kind = {
		.name = "mqar",
		.summary = "task: pairs of key and value, a gap, then queries for keys at random. Breaks "
		           "windows shorter than the gap, and states that hold fewer than so many pairs",
		.task = true,
		.params = { { "pairs", "keys with a value", 32, 1, 1 << 20, true },
		            { "queries", "tokens that ask, the last ones", 64, 1, 1 << 20, true },
		            { "gap", "tokens between the last pair and the first query", 64, 0, 1 << 24, true },
		            { "classes", "different values", 16, 2, 1024, true } },
	},
	.generate = fill_mqar,
	.fits = fits_mqar,
	.task = &task_mqar
};
static const struct source induction = {
	.kind = {
		.name = "induction",
		.summary = "task: a span of tokens comes again after a distance, and every token must find "
		           "what came next. Breaks windows below the distance; patterns that reach it solve it",
		.task = true,
		.params = { { "span", "tokens that are copied, the last ones", 64, 1, 1 << 20, true },
		            { "distance", "from a token to its copy", 128, 1, 1 << 24, true },
		            { "classes", "different values", 16, 2, 1024, true } },
	},
	.generate = fill_induction,
	.fits = fits_induction,
	.task = &task_induction
};
static const struct source haystack = {
	.kind = {
		.name = "haystack",
		.summary = "task: a few needles at a depth of a sequence of other keys, all with values; "
		           "harder as n grows. Breaks small states, and what does not reach the depth",
		.task = true,
		.params = { { "depth", "of the needles: 0 the first tokens, 1 next to the queries", 0.5, 0, 1, false },
		            { "needles", "side by side; as many last tokens ask for one each", 16, 1, 1 << 16, true },
		            { "classes", "different values", 16, 2, 1024, true } },
	},
	.generate = fill_haystack,
	.fits = fits_haystack,
	.task = &task_haystack
};
static const struct source majority = {
	.kind = {
		.name = "majority",
		.summary = "task: groups of tokens with one key each; the answer is the value that most of "
		           "a group have. Breaks windows; a mean is enough where it is one of the group",
		.task = true,
		.params = { { "groups", "of tokens; one query each", 16, 1, 1 << 16, true },
		            { "members", "tokens a group", 8, 1, 1 << 20, true },
		            { "share", "of the members that have the answer, rounded up", 0.6, 0.51, 1, false },
		            { "classes", "different values", 16, 2, 1024, true } },
	},
	.generate = fill_majority,
	.fits = fits_majority,
	.task = &task_majority
};
static const struct source real = {
	.kind = {
		.name = "real",
		.summary = "queries, keys and values of a trained model, shipped with the suite "
		           "(real:NAME): the final word, for that model and text",
	},
};
static const struct source file = {
	.kind = {
		.name = "file",
		.summary = "queries, keys and values of your own (file:DIR with q.npy, k.npy "
		           "and v.npy, or file:FILE.safetensors with tensors q, k and v)",
	},
};

const struct data_kind *const real_kind = &real.kind, *const file_kind = &file.kind;

const struct data_kind *const data_kinds[] = {
	&gauss.kind, &logits.kind, &ar1.kind, &clustered.kind, &local.kind, &sink.kind, &needle.kind,
	&unit.kind, &heavy.kind, &outlier.kind, &lowrank.kind, &mqar.kind, &induction.kind,
	&haystack.kind, &majority.kind, &real.kind, &file.kind, NULL
};
