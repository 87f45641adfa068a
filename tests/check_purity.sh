#!/bin/sh
# The attention library does no I/O, reads no clock, allocates nothing, starts no
# thread and has no state that changes: every symbol that it imports is one of
# arithmetic, memory copies or OpenBLAS, and it defines no writable data.
# Usage: check_purity.sh LIBRARY
set -eu
lib=$1
allowed='^(mem(cpy|set|move|cmp)|str(cmp|len)|__stack_chk_fail|__cpu_model|__cpu_features2|__cpu_indicator_init|__popcount[ds]i2|_GLOBAL_OFFSET_TABLE_|cblas_.*|openblas_.*|attn_.*|oracle_.*|kern_.*|(a?(sin|cos|tan)h?|atan2|exp|exp2|expm1|log|log2|log10|log1p|pow|sqrt|cbrt|fabs|fmax|fmin|fmod|floor|ceil|l?lround|l?lrint|nearbyint|rint|round|trunc|copysign|ldexp|frexp|scalbn|hypot|sincos|erf|tgamma|lgamma)f?)$'

# Engines are linked with the library: what one object needs and another defines is no import.
defined=$(nm --defined-only "$lib" 2>/dev/null | awk 'NF == 3 { print $3 }' | sort -u)
imports=$(nm -u "$lib" 2>/dev/null | awk '$1 == "U" { print $2 }' | sort -u)
bad=$(printf '%s\n' "$imports" | grep -vxF "$defined" | grep -vE "$allowed" || true)
if [ -n "$bad" ]; then
	echo "purity: $lib imports:" $bad >&2
	exit 1
fi
# Constants that hold addresses lie in .data.rel.ro, which is read-only once loaded.
state=$(nm --format=sysv "$lib" | awk -F'|' '$7 ~ /^ *(\.data|\.bss|\*COM\*|\.tdata|\.tbss)$/ { print $1 }')
if [ -n "$state" ]; then
	echo "purity: $lib has writable data:" $state >&2
	exit 1
fi
echo "purity: ok"
