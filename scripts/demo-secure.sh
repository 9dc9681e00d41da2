#!/bin/sh
# The demo with keys: servers that have them, made by `cluster keygen`, and a stranger who has another one.
# The programs are in bin/; the configuration is a copy of Config.json in a temporary directory.
set -eu
root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
trap 'exit 1' INT TERM
mkdir "$dir/stranger"
cp "$root/Config.json" "$dir/Config.json"
cp "$root/Config.json" "$dir/stranger/Config.json"
"$root/bin/cluster" keygen "$dir/Config.json"
"$root/bin/cluster" keygen "$dir/stranger/Config.json" >/dev/null
"$root/bin/demo" -config "$dir/Config.json" -stranger "$dir/stranger"
