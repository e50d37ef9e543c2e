#!/bin/sh
# A hub is backed up in the middle of a run and lost at its end. The backup is put in its place:
# members are ahead of it, it says so, and a plan that is started anew runs behind their rounds.
. tests/e2e/lib.sh

small_plan 6 >"$work/plan.yaml"
start_hub
for k in 0 1 2; do
  synth_site "site-$k" $((2 * k)) 2
  enrol "site-$k"
  run_site "site-$k"
done
"$coordinator" start "$work/plan.yaml" --home "$hub" >"$work/start.log" 2>&1 || cat "$work/start.log"
wait_for 90 grep -q "round.sealed round=3 " "$work/site-0.log"
check "a backup is made while rounds go on" "$coordinator" backup "$work/backup" --home "$hub"
check "it is this user's alone" test "$(stat -c %a "$work/backup" "$work/backup/store.sqlite" | tr '\n' ' ')" = "700 600 "
refused "one that is there is not written over" "is there already" "$coordinator" backup "$work/backup" --home "$hub"
check "the run ends" timeout 150 "$coordinator" watch --home "$hub"
lost=$(status_value round)
kill -9 "$hub_pid"
wait "$hub_pid" 2>/dev/null || true
mv "$hub" "$work/lost-hub"
mv "$work/backup" "$hub"

serve_hub
for k in 0 1 2; do wait_for 60 sh -c "[ \$(grep -c coordinator.connected '$work/site-$k.log') -ge 2 ]"; done
check "the restored hub sees that members are ahead of it" wait_for 60 grep -q "restored from a backup" "$work/hub.log"
"$coordinator" start "$work/plan.yaml" --home "$hub" >"$work/start-2.log" 2>&1 || cat "$work/start-2.log"
check "a plan that is started anew runs to its end" timeout 150 "$coordinator" watch --home "$hub"
check "its rounds are numbered behind the lost ones" test "$(sed -n 's/.*round.opened round=\([0-9]*\) .*/\1/p' "$work/hub.log" | tail -n 1)" -gt 14
check "nobody kept evidence against anybody" sh -c "! grep -q evidence '$work'/*.log"
check "all logs verify" wait_for 60 "$audit" verify "$hub/audit" "$work/site-0/audit" "$work/site-1/audit" "$work/site-2/audit"
