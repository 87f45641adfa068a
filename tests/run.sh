#!/bin/sh
# Runs every C test in DIR, then, given a Python, the Python tests. Shows what
# fails, and ends with one line: N passed, N failed. Both kinds run side by side.
# Usage: run.sh DIR [PYTHON]
set -u
dir=$1
python=${2:-}
log=$(mktemp)
python_log=$(mktemp)
trap 'rm -f "$log" "$python_log"' EXIT
passed=0
failed=0

# tally NAME PASSED FAILED
tally() {
	passed=$((passed + $2))
	failed=$((failed + $3))
	printf '%-24s %4d passed, %d failed\n' "$1" "$2" "$3"
}

if [ -n "$python" ]; then
	"$python" -m pytest -q -p no:cacheprovider -n 2 --dist worksteal tests >"$python_log" 2>&1 &
	python_tests=$!
fi
for test in "$dir"/test_*; do
	[ -x "$test" ] && [ -f "$test" ] || continue
	case $test in *.o | *.d | *.so) continue ;; esac
	"$test" >"$log" 2>&1
	code=$?
	good=$(grep -c '^\[       OK \]' "$log")
	bad=$(grep -c '^\[  FAILED  \] [^0-9]*[a-zA-Z]' "$log")
	# Failures are named twice: where they happen and in the summary.
	bad=$(((bad + 1) / 2))
	[ $code = 0 ] || [ $bad != 0 ] || bad=1 # a crash names no test
	tally "$(basename "$test")" "$good" "$bad"
	[ $bad = 0 ] || sed 's/^/    /' "$log"
done
if [ -n "$python" ]; then
	wait $python_tests
	code=$?
	good=$(tail -n 1 "$python_log" | grep -oE '[0-9]+ passed' | grep -oE '[0-9]+')
	bad=$(tail -n 1 "$python_log" | grep -oE '[0-9]+ (failed|error)' | grep -oE '[0-9]+' | head -n 1)
	[ $code = 0 ] || bad=${bad:-1}
	tally pytest "${good:-0}" "${bad:-0}"
	grep -E '^(SKIPPED|[0-9]+ (passed|skipped))' "$python_log" || true
	[ "${bad:-0}" = 0 ] || sed 's/^/    /' "$python_log"
fi
echo "$passed passed, $failed failed"
[ $failed = 0 ] && [ $passed != 0 ]
