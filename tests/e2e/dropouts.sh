#!/bin/sh
# Two nodes die, one after its shares and one in the middle of its upload. Each round goes on
# without them; started again, they catch up and take part.
. tests/e2e/lib.sh

small_plan 5 >"$work/plan.yaml"
start_hub
for k in 0 1 2 3; do
  synth_site "site-$k" $((2 * k)) 2
  enrol "site-$k"
done
run_site site-0
run_site site-1
run_site site-2 --drill kill-after-shares@3
run_site site-3 --drill kill-mid-upload@5
"$coordinator" start "$work/plan.yaml" --home "$hub" >"$work/start.log" 2>&1

killed() { # NAME: did it die by SIGKILL?
  status=0
  wait "$(pid_of "$1")" || status=$?
  [ "$status" = 137 ] || { echo "$1 ended with $status"; return 1; }
}
check "a node kills itself after its shares" killed site-2
run_site site-2
check "another kills itself in the middle of its upload" killed site-3
# Started again at once it would send the rest of the very same bytes and be in the sum.
check "the round goes on without it" wait_for 60 grep -q "round.sealed round=5 " "$work/hub.log"
run_site site-3
check "the run finishes all the same" timeout 150 "$coordinator" watch --home "$hub"
recovered=$(status_value recovered_dropouts)
check "both dropouts' masks were recovered ($recovered)" test "$recovered" = 2

rejoined() {
  model=$(status_value model_sha256)
  for k in 0 1 2 3; do
    wait_for 60 test -f "$work/site-$k/models/$model" || { echo "site-$k lacks $model"; return 1; }
  done
}
check "the revived nodes hold the final model" rejoined
check "all logs verify" wait_for 60 "$audit" verify "$hub/audit" "$work/site-0/audit" "$work/site-1/audit" \
  "$work/site-2/audit" "$work/site-3/audit"
