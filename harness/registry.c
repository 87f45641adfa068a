/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Registry files, by libinih, and the first line from an engine. */
#include "registry.h"

#include <errno.h>
#include <ini.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "machine.h"

static struct entry entries[ENGINES_MAX];
static size_t n_entries;

bool registry_good_name(const char *name)
{
	return *name && name[strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-")] == '\0';
}

/* ---- reading ----------------------------------------------------------------- */

struct reading {
	const char *path;
	char real[PATH_MAX], *error;
	bool failed;
	int line;
};

static struct entry *get(const char *name)
{
	for (size_t i = 0; i < n_entries; i++)
		if (!strcmp(entries[i].name, name))
			return &entries[i];
	return NULL;
}

/* NULL and a sentence; an entry of another file, which stays, gives NULL alone. */
static struct entry *section(struct reading *r, const char *name)
{
	struct entry *e = get(name);

	if (e)
		return strcmp(e->registry, r->real) ? NULL : e;
	if (!registry_good_name(name) || !strcmp(name, "family") || strlen(name) >= sizeof e->name)
		fail(r->error, "%s: '%s' cannot be the name of an engine: up to %d lower-case letters, digits "
		     "and dashes, but not 'family'", r->path, name, ENGINE_NAME - 1);
	else if (n_entries == ENGINES_MAX)
		fail(r->error, "%s: more than %d engines", r->path, ENGINES_MAX);
	else {
		e = &entries[n_entries++];
		snprintf(e->name, sizeof e->name, "%s", name);
		snprintf(e->registry, sizeof e->registry, "%.*s", (int)sizeof e->registry - 1, r->real);
		snprintf(e->dir, sizeof e->dir, "%.*s", (int)(strrchr(r->real, '/') - r->real), r->real);
		return e;
	}
	r->failed = true;
	return NULL;
}

static int on_entry(void *user, const char *name, const char *key, const char *value)
{
	struct reading *r = user;
	struct entry *e = r->failed ? NULL : section(r, name);

	if (!e)
		return 1;
	struct {
		const char *key;
		char **to;
	} keys[] = {
		{ "command", &e->command }, { "set", &e->set }, { "drop", &e->drop }, { "install", &e->install },
	};
	for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
		if (strcmp(key, keys[i].key))
			continue;
		free(*keys[i].to);
		*keys[i].to = strdup(value);
		if (*keys[i].to)
			return 1;
		r->failed = true;
		fail(r->error, "out of memory");
		return 1;
	}
	r->failed = true;
	fail(r->error, "%s: [%s] has '%s', which is none of command, set, drop, install", r->path, name, key);
	return 1;
}

/* libinih cuts lines at the size of its buffer; here that is an error. */
static char *read_line(char *buf, int size, void *stream)
{
	FILE *file = stream;
	char *got = fgets(buf, size, file);

	if (!got || strchr(buf, '\n') || strlen(buf) + 1 < (size_t)size)
		return got;
	errno = EMSGSIZE;
	return NULL;
}

bool engines_read(const char *path, char *error)
{
	struct reading r = { .path = path, .error = error };
	FILE *file = realpath(path, r.real) ? fopen(r.real, "re") : NULL;

	if (!file)
		return fail(error, "cannot open the registry of engines %s: %s", path, strerror(errno));
	if (strlen(r.real) >= ENGINE_PATH) {
		fclose(file);
		return fail(error, "the path of %s is too long", path);
	}
	errno = 0;
	int line = ini_parse_stream(read_line, file, on_entry, &r);
	bool cut = errno == EMSGSIZE;
	fclose(file);
	if (cut)
		return fail(error, "%s: a line is longer than 198 characters: shorten it", path);
	if (r.failed)
		return false;
	if (line != 0)
		return fail(error, "%s:%d: this line is neither [engine] nor key = value", path, line);
	for (size_t i = 0; i < n_entries; i++)
		if (!entries[i].command)
			return fail(error, "%s: [%s] has no command", path, entries[i].name);
	return true;
}

/* A project without engines is a project all the same. */
static void read_own(void)
{
	static const char *const places[] = { "harness/peers/engines.ini", "peers/engines.ini" };
	static bool done;
	char root[ENGINE_PATH], path[ENGINE_PATH + 32], error[ERROR_MAX];

	for (size_t i = 0; i < 2 && !done; i++) {
		if (!machine_root(places[i], root, sizeof root))
			continue;
		snprintf(path, sizeof path, "%s/%s", root, places[i]);
		done = true;
		if (!engines_read(path, error))
			fprintf(stderr, "%s\n", error);
	}
	done = true;
}

struct entry *registry_find(const char *name)
{
	read_own();
	return get(name);
}

struct entry *registry_at(size_t i)
{
	read_own();
	return i < n_entries ? &entries[i] : NULL;
}

/* ---- starting ---------------------------------------------------------------- */

/* Splits a copy of the text at blanks; words[] ends in NULL. */
static char *split(const char *text, char *words[ENTRY_WORDS])
{
	char *copy = strdup(text ? text : ""), *save = NULL;
	size_t n = 0;

	for (char *w = copy ? strtok_r(copy, " \t", &save) : NULL; w && n + 1 < ENTRY_WORDS;
	     w = strtok_r(NULL, " \t", &save))
		words[n++] = w;
	words[n] = NULL;
	return copy;
}

/* What tells common libraries how many threads there are, and where. */
struct thread_env {
	char text[6][32];
	char places[4096];
	const char *set[ENTRY_WORDS + 8];
};

static void put_threads(struct thread_env *env, unsigned threads, const unsigned *cpus, char *const *more)
{
	static const char *const names[] = { "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS",
		                             "NUMEXPR_NUM_THREADS" };
	size_t n = 0, at = 0;

	for (size_t i = 0; threads > 0 && i < sizeof names / sizeof *names; i++) {
		snprintf(env->text[n], sizeof env->text[n], "%s=%u", names[i], threads);
		env->set[n] = env->text[n];
		n++;
	}
	if (threads > 0 && cpus) {
		at = (size_t)snprintf(env->places, sizeof env->places, "OMP_PLACES=");
		for (unsigned i = 0; i < threads && at < sizeof env->places - 16; i++)
			at += (size_t)snprintf(env->places + at, sizeof env->places - at, "%s{%u}", i ? "," : "",
			                       cpus[i]);
		env->set[n++] = env->places;
		env->set[n++] = "OMP_PROC_BIND=true";
	}
	/* Last: what the registry says replaces the above. */
	for (; *more; more++)
		env->set[n++] = *more;
	env->set[n] = NULL;
}

static bool fails_to_greet(struct entry *e, enum entry_state state, const char *format, ...)
        __attribute__((format(printf, 3, 4)));

static bool fails_to_greet(struct entry *e, enum entry_state state, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	e->state = state;
	vsnprintf(e->why, sizeof e->why, format, args);
	va_end(args);
	return false;
}

/* "engine 1 NAME VERSION", the version to the end of the line. */
static bool take_greeting(struct entry *e, char *line)
{
	unsigned protocol;
	int from = 0, at = 0;

	if (sscanf(line, "engine %u %n%*s %n", &protocol, &from, &at) < 1 || at == 0 || !line[at])
		return fails_to_greet(e, ENTRY_BROKEN, "engine %s greets with '%.80s', not with 'engine %d NAME "
		                      "VERSION'", e->name, line, ENGINE_PROTOCOL);
	if (protocol != ENGINE_PROTOCOL)
		return fails_to_greet(e, ENTRY_BROKEN, "engine %s speaks version %u of the protocol, not %d",
		                      e->name, protocol, ENGINE_PROTOCOL);
	snprintf(e->program, sizeof e->program, "%s", line + from);
	return true;
}

bool registry_greet(struct entry *e, unsigned threads, const unsigned *cpus, int file,
                    int64_t limit_ms, struct dialog *d)
{
	char *argv[ENTRY_WORDS], *set[ENTRY_WORDS], *drop[ENTRY_WORDS], *line;
	char *copies[] = { split(e->command, argv), split(e->set, set), split(e->drop, drop) };
	static struct thread_env env;
	bool started = false;

	put_threads(&env, threads, cpus, set);
	if (argv[0])
		started = dialog_start(d, &(struct dialog_start){ argv, e->dir, env.set,
		                                                  (const char *const *)drop, file });
	else
		*d = (struct dialog){ .pid = -1, .why = "the command is empty" };
	for (size_t i = 0; i < 3; i++)
		free(copies[i]);
	if (!started)
		return fails_to_greet(e, ENTRY_MISSING, "engine %s is not here (%s)%s%s", e->name, d->why,
		                      e->install ? ": " : "", e->install ? e->install : "");
	dialog_say(d, "hello %d", ENGINE_PROTOCOL); /* whoever does not listen may have spoken */
	line = dialog_hear(d, limit_ms);
	if (line && take_greeting(e, line))
		return true;
	bool late = d->state == DIALOG_LATE;
	int status;
	bool itself = dialog_end(d, late || line ? 0 : 1000, &status);
	if (line)
		return false;
	if (late)
		return fails_to_greet(e, ENTRY_BROKEN, "engine %s took more than %d s for its greeting", e->name,
		                      (int)(limit_ms / 1000));
	if (!itself)
		return fails_to_greet(e, ENTRY_BROKEN, "engine %s closed its output before its greeting", e->name);
	return fails_to_greet(e, ENTRY_BROKEN, "engine %s ended before its greeting (%s %d): %s", e->name,
	                      WIFSIGNALED(status) ? "signal" : "exit code",
	                      WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status), e->command);
}
