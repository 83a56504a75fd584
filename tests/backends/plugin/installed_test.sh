#!/usr/bin/env bash
# What docs/write-a-backend.md promises: installs the program, copies the example out of the installation, builds it
# there against the installed header alone, and verifies it; the same with its bug.
# Usage: installed_test.sh BUILD CMAKE
set -euo pipefail
build=$1 cmake=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
prefix=$work/prefix
# Of CMake's generators the one that built this; make may be absent.
export CMAKE_GENERATOR=Ninja
fail() { echo "FAILED: $*" >&2; exit 1; }
# expect CODE COMMAND...: its exit code; what it prints stands in $work/out.
expect() {
  local wanted=$1 code=0
  shift
  "$@" > "$work/out" 2>&1 || code=$?
  [ "$code" = "$wanted" ] || { cat "$work/out"; fail "exit code $code, not $wanted: $*"; }
}

"$cmake" --install "$build" --prefix "$prefix" > "$work/install.log"
for file in bin/mlbench include/mlbench/plugin.h; do [ -f "$prefix/$file" ] || fail "$file is not installed"; done

cp -r "$prefix/share/mlbench/examples/plugin" "$work/mine"
cd "$work/mine"
"$cmake" -S . -B build -DCMAKE_PREFIX_PATH="$prefix" > /dev/null
"$cmake" --build build > /dev/null
"$cmake" -S . -B bug -DCMAKE_PREFIX_PATH="$prefix" -DMLBENCH_EXAMPLE_BUG=ON > /dev/null
"$cmake" --build bug > /dev/null

mlbench=$prefix/bin/mlbench
expect 0 "$mlbench" verify --arch llama --backend build/libexample.so
expect 0 "$mlbench" verify --arch llama --backend build/libexample.so --in-process --dtype bf16 --mode chained --inputs random
expect 1 "$mlbench" verify --arch llama --backend bug/libexample.so --call 'single/0 prefill'
grep -q 'first tap that strays: .* tap layers.0.attn.q,' "$work/out" || { cat "$work/out"; fail "the bug is not placed"; }
expect 0 "$mlbench" list devices --backend build/libexample.so
