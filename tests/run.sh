#!/bin/sh
# Runs every C test in DIR, then, given a Python, the Python tests. Shows what
# fails, and ends with one line: N passed, N failed. All run side by side.
# Usage: run.sh DIR [PYTHON]
set -u
dir=$1
python=${2:-}
logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT
passed=0
failed=0

# tally NAME PASSED FAILED
tally() {
	passed=$((passed + $2))
	failed=$((failed + $3))
	printf '%-24s %4d passed, %d failed\n' "$1" "$2" "$3"
}

if [ -n "$python" ]; then
	"$python" -m pytest -q -p no:cacheprovider -n 2 --dist worksteal tests >"$logs/pytest" 2>&1 &
	python_tests=$!
fi
for test in "$dir"/test_*; do
	case $test in *.o | *.d | *.so) continue ;; esac
	[ -x "$test" ] && [ -f "$test" ] && echo "$test"
done | sort -r >"$logs/list" # the longest begins with v
mkdir -p "$logs/$dir"
xargs -P 2 -I {} sh -c '"$1" >"$2.log" 2>&1; echo $? >"$2.code"' sh {} "$logs/{}" <"$logs/list" 2>/dev/null
while read -r test; do
	log=$logs/$test.log
	code=$(cat "$logs/$test.code")
	good=$(grep -c '^\[       OK \]' "$log")
	bad=$(grep -c '^\[  FAILED  \] [^0-9]*[a-zA-Z]' "$log")
	# Failures are named twice: where they happen and in the summary.
	bad=$(((bad + 1) / 2))
	[ "$code" = 0 ] || [ $bad != 0 ] || bad=1 # a crash names no test
	tally "$(basename "$test")" "$good" "$bad"
	[ $bad = 0 ] || sed 's/^/    /' "$log"
done <"$logs/list"
if [ -n "$python" ]; then
	wait $python_tests
	code=$?
	log=$logs/pytest
	good=$(tail -n 1 "$log" | grep -oE '[0-9]+ passed' | grep -oE '[0-9]+')
	bad=$(tail -n 1 "$log" | grep -oE '[0-9]+ (failed|error)' | grep -oE '[0-9]+' | head -n 1)
	[ $code = 0 ] || bad=${bad:-1}
	tally pytest "${good:-0}" "${bad:-0}"
	grep -E '^(SKIPPED|[0-9]+ (passed|skipped))' "$log" || true
	[ "${bad:-0}" = 0 ] || sed 's/^/    /' "$log"
fi
echo "$passed passed, $failed failed"
[ $failed = 0 ] && [ $passed != 0 ]
