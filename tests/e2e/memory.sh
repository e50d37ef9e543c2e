#!/bin/sh
# A node that has too little memory for a plan says so before the first round, not by being killed in
# the middle of one; the others go on. A plan with checkpoint_activations runs like any other.
. tests/e2e/lib.sh

too_little() { grep -q 'memory.short.*needs .* MiB here .*there are 12 (memory_mb in node.yaml)' "$work/four.log"; }

start_hub
k=0
for site in one two three four; do
  synth_site "$site" "$k" 2
  k=$((k + 2))
  enrol "$site"
done
sed -i 's/^memory_mb: .*/memory_mb: 12/' "$work/four/node.yaml"
small_plan 1 | sed 's/^  label_smoothing: .*/&\n  checkpoint_activations: true/' >"$work/plan.yaml"
"$node" preview "$work/plan.yaml" --channels 19 --home "$work/one" >"$work/preview" 2>&1
check "a dry run says what a step takes" grep -qE "^  in all +[0-9.]+$" "$work/preview"
check "and that there is enough" grep -q "^memory: enough" "$work/preview"
"$node" preview "$work/plan.yaml" --channels 19 --home "$work/four" >"$work/preview" 2>&1
check "or that there is not" grep -q "^memory: would be refused: .*there are 12 " "$work/preview"

for site in one two three four; do run_site "$site"; done
"$coordinator" start "$work/plan.yaml" --home "$hub" >"$work/start.log" 2>&1
timeout 180 "$coordinator" watch --home "$hub" >>"$work/watch.log" 2>&1 || true
check "the run finishes without it" test "$(status_value state)" = finished
check "its log says how much is needed, and how much there is" too_little
check "and that it took no part" grep -q "kind=refused round=2.*has not the memory" "$work/four.log"
check "it joined nothing but the scoring" sh -c "! grep 'round.joined' '$work/four.log' | grep -qv kind=evaluate"
check "the others trained" grep -q round.sealed "$work/one.log"
check "numbers stay at the site" sh -c "! grep -q 'MiB here' '$work'/hub.log"
