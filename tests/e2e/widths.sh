#!/bin/sh
# Narrow rings and keystreams, a cipher, rotation and error feedback as a plan's choice: a federation trains under each,
# nodes and hub agree on every model, and every kept round adds up again from its uploads.
. tests/e2e/lib.sh

# RING VALUE RANGE ROTATION FEEDBACK NARROW CIPHER > file; few parameters, so that a rotated block is padded
width_plan() {
  small_plan 2 | sed -e "s/^  ring_bits: .*/  ring_bits: $1/" -e "s/^  value_bits: .*/  value_bits: $2/" \
    -e "s/^  value_range: .*/  value_range: $3/" -e 's/^  width: .*/  width: 16/' \
    -e 's/^  blocks: .*/  blocks: 1/' -e 's/^  feed_forward: .*/  feed_forward: 32/' \
    -e "s/^  spot_checks: .*/  spot_checks: 4\n  rotation: $4\n  error_feedback: $5\n  narrow_keystream: $6\n  mask_cipher: $7/"
}

start_hub
for k in 0 1 2 3; do
  synth_site "site-$k" $((2 * k)) 2
  enrol "site-$k"
done
for k in 0 1 2; do run_site "site-$k"; done
run_site site-3 --drill kill-after-shares@15 # of the last plan's second training round

run() { # NAME ROUNDS-IN-ALL [COMMAND]: what is to be done meanwhile
  "$coordinator" start "$work/$1.yaml" --home "$hub" >"$work/start.log" 2>&1
  "${3:-:}"
  timeout 120 "$coordinator" watch --home "$hub" >"$work/$1.watch" 2>&1 || true
  check "$1: the run finishes, all models agreed" test "$(status_value state)" = finished
  good=0 all=0
  for round in "$hub"/uploads/*-*; do
    all=$((all + 1))
    "$audit" replay "$round" --log "$hub/audit" --log "$work/site-0/audit" \
      >>"$work/$1.replay" 2>&1 && good=$((good + 1))
  done
  check "$1: all $all kept rounds add up again ($good)" test "$good" = "$all" -a "$all" = "$2"
  case $1 in medium | narrow) magic=NXREPLY3 ;; wide) magic=NXREPLY1 ;; *) magic=NXREPLY2 ;; esac
  check "$1: masked by the cipher of the plan" test "$(head -qc 8 "$hub"/uploads/*-*/replay* | fold -w 8 | sort -u)" = $magic
  "$coordinator" status --json --home "$hub" >"$work/$1.json"
}
arm() { # NAME RING VALUE RANGE ROTATION FEEDBACK NARROW CIPHER
  arm=$1
  shift
  width_plan "$@" >"$work/$arm.yaml"
  run "$arm" 4
}
bytes_of() { tr ',{}' '\n\n\n' <"$work/$1.json" | sed -n 's/.*"bytes_up_per_node": *//p'; }

arm wide 32 24 0.125 false false false aes-256-ctr
arm medium 24 16 0.125 false false false aegis-256
arm rotated 16 8 0.03125 true false true aes-256-ctr
# A site is killed among the rounds of error feedback; the next one waits for all four, so it
# goes on from what it kept on disk.
revive() {
  wait "$(pid_of site-3)" || true
  run_site site-3
}
width_plan 12 4 0.03125 true true true aegis-256 | sed -e 's/^  minimum_members: .*/  minimum_members: 4/' \
  -e 's/^  rounds: .*/  rounds: 3/' >"$work/narrow.yaml"
run narrow 5 revive
kept() { # every site's, of the same size, for its own eyes
  for k in 0 1 2 3; do
    test "$(stat -c %a "$work/site-$k/residual")" = 600 || return 1
    test "$(stat -c %s "$work/site-$k/residual")" = "$(stat -c %s "$work/site-0/residual")" || return 1
  done
}
check "narrow: what rounding took is kept by every site for itself" kept
check "narrow: a site that was killed reads it again" grep -q residual.read "$work/site-3.log"
bytes=$(for name in wide medium rotated narrow; do bytes_of "$name"; done | tr '\n' ' ')
# The last plan had three training rounds, not two.
# shellcheck disable=SC2086
check "and uploads shrink with the ring ($bytes bytes)" sh -c 'test "$1" -gt "$2" && test $(($3 * 3)) -gt $(($4 * 2))' - $bytes
check "nobody has evidence against anybody" sh -c "! grep -q evidence.kept $work/*.log"
