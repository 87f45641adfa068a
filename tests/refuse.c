/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Runs a program that is refused some system calls, as a container would:
 *
 *     refuse ERRNO CALL[,CALL...] PROGRAM ARGUMENT...
 */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define CALL(name) { #name, SYS_##name }

static const struct {
	const char *name;
	long number;
} calls[] = {
	CALL(perf_event_open), CALL(pidfd_open), CALL(close_range), CALL(sched_setaffinity),
	CALL(sched_getaffinity), CALL(mbind), CALL(set_mempolicy), CALL(get_mempolicy), CALL(madvise),
	CALL(getrusage), CALL(prctl), CALL(fdatasync), CALL(flock), CALL(ftruncate), CALL(waitid),
};
enum { CALLS = sizeof calls / sizeof *calls };

static int number_of(const char *name)
{
	for (size_t i = 0; i < CALLS; i++)
		if (!strcmp(calls[i].name, name))
			return (int)calls[i].number;
	fprintf(stderr, "refuse: no call %s in the table\n", name);
	exit(2);
}

int main(int argc, char **argv)
{
	static struct sock_filter code[2 * CALLS + 2];
	unsigned short n = 0;

	if (argc < 4)
		return 2;
	unsigned refusal = SECCOMP_RET_ERRNO | ((unsigned)atoi(argv[1]) & SECCOMP_RET_DATA);
	code[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
	for (char *name = strtok(argv[2], ","); name && n < 2 * CALLS; name = strtok(NULL, ",")) {
		code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)number_of(name), 0, 1);
		code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, refusal);
	}
	code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	const struct sock_fprog program = { n, code };
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program)) {
		perror("refuse: no filter");
		return 77;
	}
	execv(argv[3], argv + 3);
	perror(argv[3]);
	return 127;
}
