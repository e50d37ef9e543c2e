#!/bin/sh
# A site is revoked while its masked update is on the wire: the upload ends there and is refused, the
# site is shut out, the sum is of the others, and the hub's log says so. (The node ends once it has
# given up its upload; year.sh sees one end.)
. "$(dirname "$0")/lib.sh"

logged() { "$audit" show "$hub/audit" | grep -qE -- "$1"; }
sent() { "$audit" show "$work/site-3/audit" 2>/dev/null | grep -q "upload.sent round=2 "; } # of training

start_hub
for k in 0 1 2 3; do
  synth_site "site-$k" $((2 * k)) 2
  enrol "site-$k"
done
sed -i 's/^upload_kb_per_s: .*/upload_kb_per_s: 30/' "$work/site-3/node.yaml" # twenty seconds for one update
for k in 0 1 2 3; do run_site "site-$k"; done
small_plan 1 | sed 's/^  training_seconds: .*/  training_seconds: 600/' >"$work/plan.yaml"
timeout 120 "$coordinator" start "$work/plan.yaml" --wait-members 4 --home "$hub" >"$work/start.log" 2>&1
check "the slow site's update is on its way" wait_for 120 sent
"$coordinator" revoke site-3 --reason "laptop stolen" --home "$hub" >"$work/revoke.log" 2>&1
check "it is revoked and denied within a minute, in the middle of the call" \
  wait_for 60 logged "call.denied.*site-3.*revoked"
check "the others finish the run" timeout 240 "$coordinator" watch --home "$hub"
member=$("$audit" show "$hub/audit" | sed -n 's/.*member.revoked.*member=\([0-9]*\).*/\1/p' | head -n 1)
check "the hub's log says who was revoked, and why" logged "member.revoked.*site-3.*laptop stolen"
check "that update was not received, though others were" eval \
  'test -n "$member" && logged "upload.received round=2 " && ! logged "upload.received round=2 .* member=$member "'
check "the hub's log verifies" "$audit" verify "$hub/audit"
