#!/bin/sh
# Checks docs/spin/secagg.pml: no error as it stands, a counterexample for every mutant.
#   run-spin.sh            TAP: states, depth, memory and time of each search
#   run-spin.sh NAME       one of them, and for a mutant its counterexample as a story
set -u
export LC_ALL=C

model=$(CDPATH='' cd -- "$(dirname -- "$0")/../../docs/spin" && pwd)/secagg.pml
megabytes=3500 # of memory for a search, at most

one="-DLISTS_1=2 -DLISTS_2=0"   # one attempt, two different lists
three="-DLISTS_1=3 -DLISTS_2=0" # one attempt, three
two="-DLISTS_1=1 -DLISTS_2=1"   # two attempts, a list each

# name | what is expected: holds, or the invariant that breaks | flags | in words
searches="
one-attempt     | holds | $one | one attempt: I1 to I5 hold
two-attempts    | holds | $two | two attempts: I1 to I6 hold
forgets-vote    | I3 | $two -DMUTANT_FORGETS_VOTE | a vote that is not durable: COMMIT and ABORT are both certified
no-certificate  | I5 | $three -DMUTANT_NO_CERTIFICATE | release without certificate: a sum of two honest inputs is opened
no-closing      | I6 | $two -DMUTANT_NO_CLOSING | attempt 2 without closing attempt 1: one input in two sums
old-input       | I6 | $two -DMUTANT_OLD_INPUT | no fresh noise and charge in attempt 2: one input in two sums
threshold       | I3 | $one -DMUTANT_THRESHOLD | a threshold of t - 1: two lists are certified in one attempt
overlap         | I1 | $one -DMUTANT_OVERLAP | lists that are not disjoint: both seeds of one node are known
"

for tool in spin cc; do
  command -v $tool >/dev/null 2>&1 || {
    echo "1..0 # SKIP $tool is not installed: the protocol's model was not checked"
    exit 0
  }
done

work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM

# search FLAGS: leaves the verdict in $work/out, and a trail where an assertion failed.
search() {
  (
    cd "$work" && rm -f -- *.trail && cp "$model" secagg.pml &&
      spin $1 -a secagg.pml >spin.log 2>&1 &&
      cc -O1 -w -DSAFETY -DNOREDUCE -DMEMLIM=$megabytes -o pan pan.c 2>cc.log &&
      ./pan -E -m10000 >out 2>&1
  )
}

# The name of the invariant that the trail runs into.
broken() {
  line=$(cd "$work" && spin $1 -t secagg.pml 2>/dev/null |
    sed -n 's/.*secagg.pml:\([0-9]*\), Error: assertion violated.*/\1/p' | head -n 1)
  [ -n "$line" ] && sed -n "${line}s/.*assert(\(I[0-9]\).*/\1/p" "$work/secagg.pml"
}

figures() {
  sed -n -e 's/^ *\([0-9.e+]*\) states, stored.*/\1 states/p' \
    -e 's/.*depth reached \([0-9]*\).*/depth \1/p' \
    -e 's/^ *\([0-9.]*\).total actual memory usage.*/\1 MB/p' \
    -e 's/^pan: elapsed time \(.*\) seconds.*/\1 s/p' "$work/out" | tr '\n' ',' |
    sed 's/,$//; s/,/, /g'
}

# A search is whole when it says "errors: 0" and did not stop at a limit.
verdict() {
  if grep -qE 'max search depth too small|out of memory|reached -DMEMLIM' "$work/out"; then
    echo "unfinished"
  elif grep -q 'errors: 0' "$work/out"; then
    echo "holds"
  else
    broken "$1"
  fi
}

trim() {
  echo "$1" | sed 's/^ *//; s/ *$//'
}

if [ $# -gt 0 ]; then
  row=$(echo "$searches" | grep "^$1 ") || {
    echo "run-spin.sh: no search named $1; there are:" >&2
    echo "$searches" | sed -n 's/^\([a-z-]*\) .*/  \1/p' >&2
    exit 2
  }
  flags=$(trim "$(echo "$row" | cut -d'|' -f3)")
  search "$flags"
  found=$(verdict "$flags")
  echo "$(trim "$(echo "$row" | cut -d'|' -f4)"): $found ($(figures))"
  [ "$found" = holds ] || (cd "$work" && spin $flags -t secagg.pml | grep -E '^ *(lists|attempt)')
  exit 0
fi

echo "1..$(echo "$searches" | grep -c '|')"
number=0
failed=0
while IFS='|' read -r name expected flags words; do
  [ -n "$words" ] || continue
  number=$((number + 1))
  flags=$(trim "$flags")
  expected=$(trim "$expected")
  : >"$work/out"
  search "$flags"
  found=$(verdict "$flags")
  if [ "$found" = "$expected" ]; then
    echo "ok $number - $(trim "$words") # $found: $(figures)"
  else
    echo "not ok $number - $(trim "$name"): expected $expected, found ${found:-nothing}: $(figures)"
    cat "$work/spin.log" "$work/cc.log" "$work/out" 2>/dev/null | head -n 20 | sed 's/^/# /'
    failed=1
  fi
done <<END
$searches
END
exit $failed
