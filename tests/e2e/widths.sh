#!/bin/sh
# Narrow rings, rotation and error feedback as a plan's choice: a federation trains under each,
# nodes and hub agree on every model, and every kept round adds up again from its uploads.
. tests/e2e/lib.sh

# RING VALUE RANGE ROTATION FEEDBACK > file; few parameters, so that a rotated block is padded
width_plan() {
  small_plan 2 | sed -e "s/^  ring_bits: .*/  ring_bits: $1/" -e "s/^  value_bits: .*/  value_bits: $2/" \
    -e "s/^  value_range: .*/  value_range: $3/" -e 's/^  width: .*/  width: 16/' \
    -e 's/^  blocks: .*/  blocks: 1/' -e 's/^  feed_forward: .*/  feed_forward: 32/' \
    -e "s/^  spot_checks: .*/  spot_checks: 4\n  rotation: $4\n  error_feedback: $5/"
}

start_hub
for k in 0 1 2 3; do
  synth_site "site-$k" $((2 * k)) 2
  enrol "site-$k"
done
for k in 0 1 2 3; do run_site "site-$k"; done

arm() { # NAME RING VALUE RANGE ROTATION FEEDBACK
  width_plan "$2" "$3" "$4" "$5" "$6" >"$work/$1.yaml"
  "$coordinator" start "$work/$1.yaml" --home "$hub" >"$work/start.log" 2>&1
  timeout 120 "$coordinator" watch --home "$hub" >"$work/$1.watch" 2>&1 || true
  check "$1: the run finishes, all models agreed" test "$(status_value state)" = finished
  good=0 all=0
  for round in "$hub"/uploads/*-*; do
    all=$((all + 1))
    "$audit" replay "$round" --log "$hub/audit" --log "$work/site-0/audit" \
      >>"$work/$1.replay" 2>&1 && good=$((good + 1))
  done
  check "$1: all $all kept rounds add up again ($good)" test "$good" = "$all" -a "$all" = 4
  "$coordinator" status --json --home "$hub" >"$work/$1.json"
}
bytes_of() { tr ',{}' '\n\n\n' <"$work/$1.json" | sed -n 's/.*"bytes_up_per_node": *//p'; }

arm wide 32 24 0.125 false false
arm medium 24 16 0.125 false false
arm rotated 16 8 0.03125 true false
arm narrow 12 4 0.03125 true true
bytes=$(for name in wide medium rotated narrow; do bytes_of "$name"; done | tr '\n' ' ')
# shellcheck disable=SC2086
check "and uploads shrink with the ring ($bytes bytes)" sh -c 'test "$1" -gt "$2" && test "$3" -gt "$4"' - $bytes
check "nobody has evidence against anybody" sh -c "! grep -q evidence.kept $work/*.log"
