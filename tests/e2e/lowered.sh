#!/bin/sh
# A hub that lowers the threshold: it is our own coordinator, compiled with one line changed, so
# that it opens a sum with one vote fewer than the members must give. Every member must find out
# before it releases anything.
. tests/e2e/lib.sh
coordinator=$BUILD/tests/e2e/neurox-coordinator-lowered

in_log() { "$audit" show "$work/one/audit" | grep -qE -- "$1"; }
start_hub
k=0
for site in one two three four; do
  synth_site "$site" "$k" 2
  enrol "$site"
  k=$((k + 2))
done
for site in one two three four; do run_site "$site"; done
small_plan 1 | sed 's/^  phase_seconds: .*/  phase_seconds: 4/' >"$work/plan.yaml"
"$coordinator" start "$work/plan.yaml" --wait-members 4 --home "$hub" >"$work/start.log" 2>&1
check "a certificate of too few votes is seen, and named" wait_for 60 \
  grep -q 'evidence.kept.*bad-certificate.*2 votes of the 3' "$work/one.log"
check "the evidence, two signed messages, is in the log" wait_for 60 in_log "evidence.kept"
sleep 2
check "nobody released a share" sh -c "! grep -rqs shares.released $work/one/audit/entries.log $work/two/audit/entries.log $work/three/audit/entries.log $work/four/audit/entries.log"
check "and no round was sealed" sh -c "! grep -q round.sealed $work/*.log"
