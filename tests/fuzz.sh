#!/bin/sh
# libFuzzer on every parser of files, so many seconds each, from tests/corpus. What
# it finds is left in DIR. Usage: fuzz.sh DIR SECONDS
set -u
cd "$(dirname "$0")/.."
dir=$1
seconds=$2
failed=0

if ! command -v clang >/dev/null; then
	echo "fuzz: needs clang" >&2
	exit 1
fi
make -s -j2 CC=clang MODE=fuzz fuzzers || exit 1
for target in build/clang-fuzz/tests/fuzz_*; do
	[ -x "$target" ] && [ -f "$target" ] || continue
	case $target in *.o | *.d) continue ;; esac
	name=${target##*/fuzz_}
	found=$dir/$name
	mkdir -p "$found/corpus"
	if "$target" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -max_len=65536 -print_final_stats=1 \
		-artifact_prefix="$found/" "$found/corpus" "tests/corpus/$name" >"$found/log" 2>&1; then
		echo "fuzz: $name: $(sed -n 's/^stat::number_of_executed_units: //p' "$found/log") files in $seconds s, nothing found"
	else
		failed=1
		echo "fuzz: $name failed; the file that shows it and the log are in $found"
		tail -n 20 "$found/log"
	fi
done
exit $failed
