/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Compiler and flags from the Makefile, the commit from git where there is
 * one. None of it is needed to measure. */
#include "build.h"
#include "machine.h"

#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef ATTNBENCH_FLAGS
#define ATTNBENCH_FLAGS "unknown"
#endif

#ifdef __clang__
#define COMPILER "clang " __clang_version__
#else
#define COMPILER "gcc " __VERSION__
#endif

#if defined(__SANITIZE_ADDRESS__)
#define SANITIZERS "address,undefined"
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZERS "address,undefined"
#endif
#endif
#ifndef SANITIZERS
#define SANITIZERS ""
#endif

extern char **environ;

/* What git prints, up to size - 1 bytes. False if it cannot, or fails. */
static bool run_git(char *const *argv, char *out, size_t size)
{
	posix_spawn_file_actions_t actions;
	int fd[2], status = -1;
	size_t have = 0;
	ssize_t n;
	pid_t pid;

	out[0] = '\0';
	if (pipe2(fd, O_CLOEXEC))
		return false;
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, fd[1], STDOUT_FILENO);
	posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
	int failed = posix_spawnp(&pid, argv[0], &actions, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	close(fd[1]);
	while (!failed && have < size - 1 && (n = read(fd[0], out + have, size - 1 - have)) > 0)
		have += (size_t)n;
	out[have] = '\0';
	close(fd[0]);
	return !failed && waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

void build_read(struct build *build)
{
	char root[4096], text[256];

	*build = (struct build){ .compiler = COMPILER, .flags = ATTNBENCH_FLAGS, .sanitizers = SANITIZERS };
	machine_program_hash(build->program_hash);
	if (!machine_root(".git", root, sizeof root))
		return;
	char *const head[] = { "git", "-C", root, "rev-parse", "HEAD", NULL };
	char *const status[] = { "git", "-C", root, "status", "--porcelain", "--untracked-files=no", NULL };
	if (run_git(head, text, sizeof text))
		snprintf(build->commit, sizeof build->commit, "%.*s", (int)strcspn(text, "\n"), text);
	run_git(status, text, sizeof text); /* cut short, git fails: dirty all the same */
	build->dirty = text[0] != '\0';
}
