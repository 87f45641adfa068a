#!/bin/sh
# Imports go one way: kernels <- engine <- families <- variants.c; oracles and
# datasets see attn.h alone; the harness sees attn.h, datasets and itself; plots
# read files. Prints each include or import that goes another way.
set -eu
cd "$(dirname "$0")/.."
bad=0

# complain FILE INCLUDE
complain() {
	echo "layers: $1 may not include $2" >&2
	bad=$((bad + 1))
}

# Where an #include "..." of a file leads, as a path from the root.
includes() {
	sed -n 's/^ *# *include *"\(.*\)".*/\1/p' "$1" | while read -r i; do
		realpath -m --relative-to=. "$(dirname "$1")/$i"
	done
}

for f in $(find attention harness datasets -name '*.[ch]'); do
	for i in $(includes "$f"); do
		case $f:$i in
		attention/attn.h:*) complain "$f" "$i" ;;
		attention/kernels/*:attention/kernels/* | attention/kernels/*:attention/attn.h) ;;
		attention/engine/*:attention/engine/* | attention/engine/*:attention/kernels/* | \
			attention/engine/*:attention/attn.h) ;;
		attention/oracle/*:attention/oracle/* | attention/oracle/*:attention/attn.h) ;;
		attention/variants.c:attention/variants.def | attention/variants.c:attention/attn.h) ;;
		attention/*/*:attention/engine/* | attention/*/*:attention/kernels/* | \
			attention/*/*:attention/attn.h | attention/*/*:attention/oracle/oracle.h) ;;
		attention/*/*.c:attention/*/*.h) # a variant of several files has a header of its own
			case $f in "${i%.h}".c | "${i%.h}"-*.c) ;; *) complain "$f" "$i" ;; esac ;;
		datasets/*:datasets/* | datasets/*:attention/attn.h) ;;
		harness/*:harness/* | harness/*:datasets/data.h | harness/*:datasets/npy.h | harness/*:attention/attn.h) ;;
		*) complain "$f" "$i" ;;
		esac
	done
	for i in $(sed -n 's/^ *# *include *<\(.*\)>.*/\1/p' "$f"); do
		case $i:$f in
		hwloc*:harness/topo.c | cblas.h:attention/kernels/gemm.c | jansson.h:harness/* | \
			jansson.h:datasets/safetensors.c) ;;
		hwloc* | cblas.h | jansson.h) complain "$f" "<$i>" ;;
		stdio.h:attention/* | stdlib.h:attention/* | time.h:attention/* | unistd.h:attention/* | \
			pthread.h:attention/*) complain "$f" "<$i>" ;;
		esac
	done
done
for f in $(find plots -name '*.py'); do
	if grep -nE '\b(ctypes|cffi)\b' "$f" >&2; then
		complain "$f" "C code: plots read files"
	fi
done
[ $bad = 0 ] && echo "layers: ok"
exit $((bad != 0))
