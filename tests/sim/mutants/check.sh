#!/bin/sh
# Each patch here breaks one promise. The simulator must find every one of them.
#   tests/sim/mutants/check.sh [BUILD]   (a copy of the sources is patched, not the sources)
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
root=$(CDPATH='' cd -- "$here/../../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT INT TERM
mkdir "$work/source"
(cd "$root" && tar cf - --exclude='./build*' --exclude=./.git .) | (cd "$work/source" && tar xf -)
build=${1:-$work/build}
meson setup "$build" "$work/source" >"$work/setup.log" 2>&1 || { cat "$work/setup.log"; exit 1; }
missed=0
for patch in "$here"/*.patch; do
  name=$(basename "$patch" .patch)
  (cd "$work/source" && patch -s -p1 <"$patch")
  ninja -C "$build" -j2 tests/sim/neurox-sim >"$work/build.log" 2>&1 || { cat "$work/build.log"; exit 1; }
  found=
  for seed in 1 2 3; do # 999 rounds
    line=$("$build/tests/sim/neurox-sim" --seed "$seed" --rounds 333 --no-shrink 2>&1 | grep -m1 VIOLATION) || continue
    found=$line
    break
  done
  (cd "$work/source" && patch -s -R -p1 <"$patch")
  if [ -n "$found" ]; then
    printf '%-20s found: %s\n' "$name" "${found#VIOLATION }"
  else
    printf '%-20s NOT FOUND in 1000 rounds\n' "$name"
    missed=1
  fi
done
exit $missed
