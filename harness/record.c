/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The process, for run.json. */
#include "record.h"
#include "sensors.h"

#include <string.h>
#include <sys/resource.h>

extern char **environ;

json_t *record_sensors(void)
{
	struct sensor report[SENSORS];
	json_t *all = json_object();

	sensors_report(report);
	for (size_t i = 0; i < SENSORS; i++) {
		if (!report[i].name)
			continue;
		json_object_set_new(all, report[i].name,
		                    json_pack("{s:b s:o}", "available", (int)report[i].available, "reason",
		                              report[i].available ? json_null() : json_string(report[i].reason)));
	}
	return all;
}

json_t *record_environment(void)
{
	static const char *const prefixes[] = {
		"OPENBLAS_", "GOTO_", "OMP_", "GOMP_", "KMP_", "MKL_", "BLIS_", "MALLOC_", "GLIBC_TUNABLES",
		"LD_PRELOAD", "LD_LIBRARY_PATH", "HWLOC_", "ATTNBENCH_",
	};
	json_t *all = json_object();

	for (char **variable = environ; *variable; variable++) {
		const char *equals = strchr(*variable, '=');
		if (!equals)
			continue;
		for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++) {
			if (strncmp(*variable, prefixes[i], strlen(prefixes[i])))
				continue;
			json_t *name = json_stringn(*variable, (size_t)(equals - *variable));
			json_t *value = json_string(equals + 1);
			if (name)
				json_object_set_new(all, json_string_value(name), value ? value : json_null());
			json_decref(name);
			break;
		}
	}
	return all;
}

json_t *record_limits(void)
{
	static const struct {
		const char *name;
		unsigned resource;
	} limits[] = {
		{ "address_space_bytes", RLIMIT_AS }, { "data_bytes", RLIMIT_DATA },
		{ "stack_bytes", RLIMIT_STACK },      { "locked_memory_bytes", RLIMIT_MEMLOCK },
		{ "open_files", RLIMIT_NOFILE },      { "processes", RLIMIT_NPROC },
		{ "core_bytes", RLIMIT_CORE },        { "cpu_seconds", RLIMIT_CPU },
	};
	json_t *all = json_object();

	for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
		struct rlimit limit;
		if (getrlimit(limits[i].resource, &limit))
			continue;
		json_object_set_new(all, limits[i].name,
		                    limit.rlim_cur == RLIM_INFINITY ? json_string("unlimited")
		                                                    : json_integer((json_int_t)limit.rlim_cur));
	}
	return all;
}
