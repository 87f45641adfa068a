#!/bin/sh
# The checks beside the tests: layers, purity, both compilers without a warning,
# sanitizers, and the kernels on other CPUs under an emulator. `make check`.
set -u
cd "$(dirname "$0")/.."
passed=0
failed=0

# check NAME COMMAND...: shows the output of what fails
check() {
	name=$1
	shift
	if out=$("$@" 2>&1); then
		passed=$((passed + 1))
		echo "ok      $name"
	else
		failed=$((failed + 1))
		echo "FAILED  $name"
		printf '%s\n' "$out" | tail -n 40 | sed 's/^/    /'
	fi
}

have() {
	command -v "$1" >/dev/null
}

build() {
	make -s -j2 CI=1 CC="$1" BUILD="build/$1-check" all tests
}

# The kernel tests for another CPU; BLAS is a plain loop there, cmocka a shim.
cross_kernels() {
	out=build/cross-aarch64
	mkdir -p $out
	for f in attention/kernels/kern.c attention/kernels/kern_scalar.c attention/engine/rng.c; do
		aarch64-linux-gnu-gcc -std=c17 -D_GNU_SOURCE -O2 -ffp-contract=off -c $f -o $out/$(basename $f .c).o || return 1
	done
	aarch64-linux-gnu-gcc -std=c17 -D_GNU_SOURCE -O3 -ffp-contract=fast -Wall -Wextra -Wconversion -Werror \
		-c attention/kernels/kern_neon.c -o $out/kern_neon.o || return 1
	aarch64-linux-gnu-gcc -std=c17 -D_GNU_SOURCE -O2 -static -Itests/cross tests/test_kern.c $out/*.o -lm -o $out/test_kern &&
		qemu-aarch64 $out/test_kern
}

check layers tests/check_layers.sh
for cc in gcc clang; do
	if have $cc; then
		check "$cc builds without a warning" build $cc
		check "$cc library is pure" tests/check_purity.sh build/$cc-check/libattn.a
		# `make test` has run those of the usual compiler.
		[ $cc = gcc ] || check "$cc tests" tests/run.sh build/$cc-check/tests
	else
		echo "skipped $cc: not installed"
	fi
done
check "address and undefined-behaviour sanitizers" make -s asan
if have clang; then # begins with tests/corpus, all of it
	check "hostile files, 10 s each (make fuzz: 60 s)" tests/fuzz.sh build/fuzz 10
fi
if have qemu-aarch64 && have aarch64-linux-gnu-gcc; then
	check "kernels on aarch64 (qemu)" cross_kernels
else
	echo "skipped kernels on aarch64: needs qemu-user and a cross compiler"
fi
if have qemu-x86_64 && [ "$(uname -m)" = x86_64 ]; then
	for cpu in Nehalem Haswell; do
		check "kernels on $cpu (qemu)" qemu-x86_64 -cpu $cpu build/gcc-check/tests/test_kern
	done
else
	echo "skipped kernels on older x86-64: needs qemu-user"
fi
echo "$passed passed, $failed failed"
[ $failed = 0 ]
