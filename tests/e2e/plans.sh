#!/bin/sh
# What a site decides about plans, and that a plan is what makes a model: approval, a plan
# run twice, another plan, a node that was away, a list of members that changed.
. tests/e2e/lib.sh

refused_here() { grep -q "round.refused.*not approved" "$work/one.log"; }
model() { status_value model_sha256; }
run_plan() { # FILE
  "$coordinator" start "$1" --home "$hub" >"$work/start.log" 2>&1
  timeout 120 "$coordinator" watch --home "$hub" >>"$work/watch.log" 2>&1
}

start_hub
k=0
for site in one two three four; do
  synth_site "$site" "$k" 3
  k=$((k + 3))
done
enrol one --approval ask
for site in two three four; do enrol "$site"; done
for site in one two three four; do run_site "$site"; done
small_plan 4 >"$work/plan.yaml"

# ---- approval -----------------------------------------------------------------------------

"$coordinator" start "$work/plan.yaml" --home "$hub" >"$work/start.log" 2>&1
check "a site that wants to be asked refuses an unknown plan, and says so" wait_for 60 refused_here
check "its log names the decision" grep -q "plan.refused" "$work/one/audit/entries.log"
"$coordinator" pause --home "$hub" >/dev/null 2>&1 # or the run might be over before it is approved
small_plan 1 | sed 's/^  batch: 4/  batch: 5/' >"$work/other.yaml"
check "approving another plan is possible" "$node" plan approve "$work/other.yaml" --home "$work/one"
check "a plan is approved by its exact bytes" "$node" plan approve "$work/plan.yaml" --home "$work/one"
check "the run waits where it was paused" wait_for 60 is_paused
"$coordinator" start "$work/plan.yaml" --home "$hub" >"$work/start.log" 2>&1
timeout 120 "$coordinator" watch --home "$hub" >>"$work/watch.log" 2>&1 || true
check "a site that had refused catches up and takes part in what is left" \
  grep -q "round.joined" "$work/one.log"
check "the run finishes" test "$(status_value state)" = finished
refused "a plan that is not a plan is not approved" "not-a-plan|no-such|expected|Missing|Unexpected|open" \
  "$node" plan approve "$work/one/node.yaml" --home "$work/one"

# ---- the same plan, another plan -----------------------------------------------------------

small_plan 1 >"$work/plan.yaml"
"$node" plan approve "$work/plan.yaml" --home "$work/one" >/dev/null
run_plan "$work/plan.yaml"
first=$(model)
kill -9 "$(pid_of four)"
run_plan "$work/plan.yaml"
check "a run goes on without a site that died" test "$(status_value state)" = finished
run_site four
check "a site that was away catches up by the others' seals" wait_for 60 grep -q catch_up.done "$work/four.log"
run_plan "$work/plan.yaml"
again=$(model)
check "a plan that is run again by the same sites gives the same model" test "$again" = "$first"
run_plan "$work/other.yaml"
check "another plan gives another model" test "$(model)" != "$first"
check "nobody has evidence against anybody" sh -c "! grep -q evidence.kept $work/*.log"

# ---- who is in ---------------------------------------------------------------------------------

kill "$(pid_of two)"
wait_for 60 sh -c "! kill -0 $(pid_of two) 2>/dev/null" || true
sed -i 's/three/threE/' "$work/two/federation/manifest"
timeout 60 "$node" run --home "$work/two" >"$work/two.err" 2>&1 && said=0 || said=$?
check "a list of members that is not the pinned one stops the node" \
  sh -c "[ $said = 1 ] && tail -n 1 '$work/two.err' | grep -q 'another list of members'"
sed -i 's/threE/three/' "$work/two/federation/manifest"
printf 'torn' >>"$work/two/journal/rounds"
run_site two
check "a torn journal is told, and the node keeps silent for a round" \
  wait_for 60 grep -q "journal.torn" "$work/two.log"
before=$(told_by two round.sealed)
run_plan "$work/plan.yaml"
check "it takes no part in the others' round" grep -q 'round.refused.*torn' "$work/two.log"
check "and is back for the next" wait_for 60 tells_more two round.sealed "$before"
for site in one two three four; do
  kill "$(pid_of "$site")"
  wait "$(pid_of "$site")" || true
  check "the log of $site verifies" "$audit" verify "$work/$site/audit"
done
