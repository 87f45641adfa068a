#!/bin/sh
# Builds the example plug-ins that this machine has compilers and libraries for.
# Usage: build.sh OUT INCLUDE, where INCLUDE holds attnbench/attn.h.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
out=$1
include=$2
mkdir -p "$out"

# build NAME NEEDS COMMAND...
build() {
	name=$1
	needs=$2
	shift 2
	if ! command -v "${needs%% *}" >/dev/null; then
		echo "plugins: $name is left out: no $needs"
	elif "$@" -o "$out/$name.so"; then
		echo "plugins: $out/$name.so"
	else
		exit 1
	fi
}

build alibi "${CC:-cc}" "${CC:-cc}" -std=c17 -O2 -fPIC -shared -I"$include" "$here/template.c" -lm
build sigmoid "${CXX:-c++}" "${CXX:-c++}" -std=c++20 -O3 -march=native -fPIC -shared -I"$include" "$here/sigmoid.cpp"
build relu rustc rustc --edition 2021 -O --crate-type cdylib "$here/relu.rs"
if echo '#include <oneapi/dnnl/dnnl.h>
#if DNNL_VERSION_MAJOR != 2
#error
#endif' | "${CC:-cc}" -E - >/dev/null 2>&1; then
	build onednn "${CC:-cc}" "${CC:-cc}" -std=c17 -O2 -fPIC -shared -I"$include" "$here/onednn.c" -lm -ldnnl
else
	echo "plugins: onednn is left out: no oneDNN 2 (Debian: libdnnl-dev)"
fi
