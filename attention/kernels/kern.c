/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The instruction sets compiled in, widest first, and the choice among them. A
 * table is offered only if the CPU has exactly the features its file was
 * compiled for (the Makefile's suffix rule) and the operating system saves
 * their registers, which __builtin_cpu_supports includes.
 */
#include "kern.h"

#include "../attn.h"

#include <string.h>

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#endif

static bool always(void)
{
	return true;
}

#if defined(__x86_64__)
/* Not every compiler's builtin knows f16c: bit 29 of ecx, leaf 1. It uses the registers
 * of AVX, which the builtin has found saved where there is avx2. */
static bool has_f16c(void)
{
	unsigned a, b, c, d;

	return __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C);
}

static bool has_avx2(void)
{
	return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c();
}

static bool has_avx512(void)
{
	return has_avx2() && __builtin_cpu_supports("avx512f") &&
	       __builtin_cpu_supports("avx512bw") &&
	       __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}

static bool has_avx512bf16(void)
{
	return has_avx512() && __builtin_cpu_supports("avx512bf16");
}

/* Intel's cores do half as many FLOP of them as of f32 (109 of 228 GFLOP/s, `attnbench
 * roof`), Zen 4 twice as many: there rows of bf16 are better widened. */
static bool has_fast_bf16_dots(void)
{
	return has_avx512bf16() && !__builtin_cpu_is("intel");
}
#endif

static const struct {
	const struct kern *kern;
	bool (*supported)(void);
	bool (*pays)(void); /* is faster than what follows it */
} tables[] = {
#if defined(__x86_64__)
	{ &kern_avx512bf16, has_avx512bf16, has_fast_bf16_dots },
	{ &kern_avx512, has_avx512, has_avx512 },
	{ &kern_avx2, has_avx2, has_avx2 },
#elif defined(__aarch64__)
	{ &kern_neon, always, always },
#endif
	{ &kern_scalar, always, always },
};

enum { TABLES = sizeof tables / sizeof *tables };

const char *const *attn_isa_names(void)
{
	static const char *const names[] = {
#if defined(__x86_64__)
		"avx512bf16", "avx512", "avx2",
#elif defined(__aarch64__)
		"neon",
#endif
		"scalar", NULL,
	};
	return names;
}

const struct kern *attn_kern(const char *isa)
{
	for (size_t i = 0; i < TABLES; i++)
		if (!strcmp(tables[i].kern->isa, isa))
			return tables[i].supported() ? tables[i].kern : NULL;
	return NULL;
}

const struct kern *attn_kern_best(void)
{
	for (size_t i = 0; i < TABLES; i++)
		if (tables[i].pays())
			return tables[i].kern;
	return &kern_scalar;
}

const char *attn_kern_isa(const struct kern *kern)
{
	return kern->isa;
}

unsigned attn_flush_subnormals(void)
{
#if defined(__x86_64__)
	unsigned old = _mm_getcsr();
	_mm_setcsr(old | 0x8040u); /* FTZ and DAZ */
	return old;
#elif defined(__aarch64__)
	uint64_t old;
	__asm__ volatile("mrs %0, fpcr" : "=r"(old));
	__asm__ volatile("msr fpcr, %0" : : "r"(old | (UINT64_C(1) << 24)));
	return (unsigned)old;
#else
	return 0;
#endif
}
