#!/bin/sh
# Runs every fuzz target of the module in the working directory for FUZZTIME (10s) each.
set -eu
fuzztime=${FUZZTIME:-10s}
log=$(mktemp)
trap 'rm -f "$log"' EXIT

# `go test -list` prints the names of a package's targets, then "ok <package> <time>".
go test -list '^Fuzz' ./... >"$log" || { cat "$log"; exit 1; }
targets=$(awk '/^Fuzz/ { names[n++] = $1 } /^ok/ { for (i = 0; i < n; i++) print $2, names[i]; n = 0 }' "$log")
[ -n "$targets" ] || { echo "no fuzz targets"; exit 0; }

fuzz() { go test -run '^$' -fuzz "^$2\$" -fuzztime "$fuzztime" "$1" >"$log" 2>&1 </dev/null; }

# Up to Go 1.26 a target now and then fails for no reason but that its time is up (golang/go#75804): a failure
# that says so and names no input gets a second chance.
no_finding() { grep -q 'context deadline exceeded' "$log" && ! grep -qE 'Failing input|panic' "$log"; }

echo "$targets" | while read -r package name; do
	printf '%s %s, %s: ' "$package" "$name" "$fuzztime"
	if fuzz "$package" "$name" || { no_finding && fuzz "$package" "$name"; }; then
		# The last progress line: "fuzz: elapsed: 5s, execs: 81331 (…/sec), new interesting: 3 (total: 12)".
		awk '/execs:/ { line = $0 } END { sub(/^fuzz: elapsed: [^,]*, /, "", line); print line }' "$log"
	else
		echo FAILED
		cat "$log"
		exit 1
	fi
done
