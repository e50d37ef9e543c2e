#!/bin/sh
# Runs the fuzz targets, two at a time, with what their corpora hold, and tells for each:
# executions, edges reached, inputs kept, findings. What is found stays in BUILD/findings.
#   tests/fuzz/run.sh [--seconds N] [--readers N] [--jobs N] [--build BUILD] [NAME…]
# N seconds each (10; of readers of recordings: --readers, else as the others), N at a time (2).
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
root=$(CDPATH='' cd -- "$here/../.." && pwd)
seconds=10 readers_seconds='' jobs=2 build=$root/build-fuzz one=''
while [ $# -gt 0 ]; do
  case $1 in
    --seconds) seconds=$2; shift 2 ;;
    --readers) readers_seconds=$2; shift 2 ;;
    --jobs) jobs=$2; shift 2 ;;
    --build) build=$2; shift 2 ;;
    --one) one=$2; shift 2 ;; # by itself, below
    --help) sed -n '2,5s/^# //p' "$0"; exit 0 ;;
    -*) echo "run.sh: there is no option $1" >&2; exit 2 ;;
    *) break ;;
  esac
done

fuzz() { # NAME: one target, one line
  name=$1
  mkdir -p "$build/corpus/$name"
  set -- "$build/corpus/$name"
  [ ! -d "$here/corpus-$name" ] || set -- "$@" "$here/corpus-$name"
  # A conversation is long from its beginning; a parser's input grows where that reaches more.
  # It reaches ten thousand edges each time: to weigh inputs by how rare theirs are costs as much as
  # the conversation itself, and found fewer.
  [ "$name" != conversation ] ||
    set -- -len_control=0 -max_len=600 -entropic=0 -purge_allocator_interval=-1 "$@"
  case $name in
    recording-* | bids | deidentify) # what a reader may take: node/recordings/reader_main.c
      seconds=${readers_seconds:-$seconds}
      set -- -malloc_limit_mb=1100 "$@" ;;
  esac
  status=0
  env ASAN_OPTIONS=detect_leaks=1 "$build/tests/fuzz/fuzz-$name" -max_total_time="$seconds" \
    -timeout=20 -rss_limit_mb=2048 -print_final_stats=1 \
    -artifact_prefix="$build/findings/$name-" "$@" >"$build/fuzz-$name.log" 2>&1 || status=$?
  executions=$(sed -n 's/^stat::number_of_executed_units: *//p' "$build/fuzz-$name.log")
  edges=$(sed -n 's/.* cov: \([0-9]*\) .*/\1/p' "$build/fuzz-$name.log" | tail -n 1)
  kept=$(find "$build/corpus/$name" -type f | wc -l)
  findings=$(find "$build/findings" -name "$name-*" | wc -l)
  [ "$status" = 0 ] || [ "$findings" != 0 ] || findings="exit $status"
  printf '%-22s %12s %8s %8s %8s\n' "$name" "${executions:-?}" "${edges:-?}" "$kept" "$findings"
  [ "$findings" = 0 ]
}

if [ -n "$one" ]; then
  fuzz "$one" || exit 1
  exit 0
fi
if [ ! -f "$build/build.ninja" ]; then
  CC=clang CXX=clang++ meson setup "$build" "$root" -Db_sanitize=address,undefined -Db_lundef=false \
    -Dc_args=-fsanitize=fuzzer-no-link >"$build.log" 2>&1 || { cat "$build.log" >&2; exit 1; }
  rm -f "$build.log"
fi
names=$*
# libhdf5 loses memory by itself: fuzz-recording-hdf5 is for runs by hand (meson.build says how).
readers="recording-edf recording-brainvision recording-fif recording-matlab recording-nifti recording-npy recording-trodes"
[ -n "$names" ] || names=$(for f in "$here"/fuzz-*.c; do basename "$f" .c | sed 's/^fuzz-//'; done | sed "s/^recording$/$readers/")
targets=
for name in $names; do targets="$targets tests/fuzz/fuzz-$name"; done
# shellcheck disable=SC2086
ninja -C "$build" -j2 $targets >"$build/fuzz-build.log" 2>&1 ||
  { grep -A5 -E 'error:|FAILED' "$build/fuzz-build.log" | head -n 40 >&2; exit 1; }
mkdir -p "$build/findings"
printf '%-22s %12s %8s %8s %8s\n' target executions edges inputs findings
# shellcheck disable=SC2086
printf '%s\n' $names | xargs -P "$jobs" -n 1 \
  "$0" --build "$build" --seconds "$seconds" ${readers_seconds:+--readers "$readers_seconds"} --one || exit 1
