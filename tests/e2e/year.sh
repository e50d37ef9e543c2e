#!/bin/sh
# A steward's year with one node, told in order, by real processes: enrol, check the data, approve,
# train, the certificate renews itself, a subject is withdrawn, the policy tightened, the privacy
# budget spent, the ethics protocol ends, the node is decommissioned; and the log tells all of it.
. tests/e2e/lib.sh

in_log() { "$audit" show "$work/charite/audit" 2>/dev/null | grep -qE -- "$1"; }
in_node() { grep -qE -- "$1" "$work/charite.log"; }
told() { grep -qE -- "$1" "$work/told"; }
joined() { grep -c "round.joined" "$work/charite.log" || true; }
start() { "$coordinator" start "$1" --home "$hub" >>"$work/start.log" 2>&1; }
watch_run() { timeout 120 "$coordinator" watch --home "$hub" >>"$work/watch.log" 2>&1 || true; }
stop_run() { "$coordinator" stop --home "$hub" >/dev/null 2>&1 || true; watch_run; }
policy() { sed -i "$1" "$work/charite/policy.yaml"; }
stop_site() {
  kill "$(pid_of "$1")"
  wait "$(pid_of "$1")" 2>/dev/null || true
}
protocol="EA1/123/26"
with_irb() { cat "$1"; printf '\nirb:\n  protocols: [%s]\n' "$protocol"; }

# ---- January: the node ---------------------------------------------------------------------------

: >"$work/told"
start_hub
k=0
for site in charite ucl basel lyon; do
  synth_site "$site" "$k" 3
  k=$((k + 3))
done
"$node" check "$work/charite.data" --no-page >"$work/check.txt" 2>&1 || true
check "the data are checked before anything else" grep -qiE "recording" "$work/check.txt"
for site in ucl basel lyon; do enrol "$site"; done
# The others' certificates are for a week. This one's ends in a minute: twenty seconds before that the
# node asks for the next one by itself, some time in spring.
lifetime_of 60
enrol charite --approval ask --data-set charite-eeg
cat >>"$work/charite/policy.yaml" <<POLICY
irb:
  protocols:
    - number: $protocol
      expires: 2099-12-31
    - number: EA9/ends/soon
      expires: $(date -d '10 days' +%F)
tell:
  command: [/bin/sh, -c, "cat >>$work/told; echo >>$work/told"]
POLICY
for site in charite ucl basel lyon; do run_site "$site"; done
check "the site is enrolled and connected" wait_for 60 in_node coordinator.connected
lifetime_of 604800
check "the hub was started again, and all are back" wait_for 60 connected 4
check "its steward is told of a protocol that ends soon" wait_for 60 told "end.near.*EA9/ends/soon ends in"

# ---- February: a plan -------------------------------------------------------------------------------

"$coordinator" grant researcher alice --home "$hub" --out "$work/alice" >/dev/null 2>&1
small_plan 2 >"$work/bare.yaml"
with_irb "$work/bare.yaml" >"$work/plan.yaml"
short=$(sha256sum <"$work/plan.yaml" | cut -c1-12)
wait_for 60 "$coordinator" submit "$work/plan.yaml" --home "$work/alice" || true # known within a second
check "a researcher's plan comes, and the steward is told" wait_for 60 told "plan.waits.*$short"
check "a dry run shows what it would send" "$node" preview "$short" --home "$work/charite"
check "the steward approves" "$node" plan approve "$short" --home "$work/charite"
start "$work/plan.yaml"
watch_run
check "the site trains" test "$(joined)" -ge 3 # it may miss one while its certificate renews itself
check "what left has its receipts" sh -c "'$node' egress --home '$work/charite' | grep -q 'the masked update'"

# ---- May: a person withdraws -----------------------------------------------------------------------

subjects() { # of the newest data.used
  "$audit" show "$work/charite/audit" | grep data.used | tail -n 1 | tr ' ' '\n' | sed -n 's/^subjects=//p'
}
before=$(subjects)
check "a withdrawal is taken, the node running" \
  "$node" subjects withdraw Subject02 --home "$work/charite"
small_plan 1 | sed 's/^name: .*/name: second/' >"$work/bare-2.yaml"
with_irb "$work/bare-2.yaml" >"$work/second.yaml"
"$node" plan approve "$work/second.yaml" --home "$work/charite" >/dev/null
seen=$(joined)
start "$work/second.yaml"
watch_run
check "the next plan runs" test "$(joined)" -gt "$seen"
check "without the person who withdrew" test "$(subjects)" = "$((before - 1))"

# ---- June: the policy is tightened ------------------------------------------------------------------

policy 's/objectives: \[\].*/objectives: [reconstruction]/'
kill -HUP "$(pid_of charite)"
check "the node says that it has read the new policy" wait_for 60 in_log "policy.read"
start "$work/second.yaml"
check "what was let before is refused now" wait_for 60 in_log "plan.refused.*plans.objectives"
check "and the operator reads why" wait_for 60 sh -c "'$coordinator' status --home '$hub' | grep -q plans.objectives"
stop_run
policy 's/objectives: \[reconstruction\]/objectives: []/'

# ---- August: the budget is spent ---------------------------------------------------------------------

sed -e 's/^  rounds: .*/  rounds: 60/' -e 's/^  batch: .*/  batch: 2/' \
  -e 's/^  phase_seconds: .*/  phase_seconds: 20/' configs/plan-eegmat-dp.yaml >"$work/bare-3.yaml"
with_irb "$work/bare-3.yaml" >"$work/private.yaml"
"$node" plan approve "$work/private.yaml" --home "$work/charite" >/dev/null
start "$work/private.yaml"
check "noise is added and its price is told" wait_for 60 in_node privacy.spent
spent() { # epsilon of the data set, over all plans
  "$node" ledger --json --home "$work/charite" | tr ',' '\n' | sed -n 's/^"epsilon":\([0-9.e+-]*\)$/\1/p' | head -n 1
}
has_spent() { awk "BEGIN { exit !($(spent) > 0) }"; }
check "and is in the ledger" wait_for 60 has_spent
policy '/^privacy:/,/^[a-z]/{/^  /d}; /^privacy:/d'
printf 'privacy:\n  epsilon_per_data_set: %s\n' "$(awk "BEGIN { print $(spent) * 1.2 }")" >>"$work/charite/policy.yaml"
check "the steward is told when a budget is nearly spent" \
  wait_for 60 told "budget.near.*privacy.epsilon_per_data_set: epsilon of charite-eeg is"
policy '/^privacy:/d; /epsilon_per_data_set/d'
printf 'privacy:\n  epsilon_per_data_set: 0.0001\n' >>"$work/charite/policy.yaml"
check "a spent budget refuses the round, and the rule is named" \
  wait_for 60 in_log "round.refused.*privacy.epsilon_per_data_set"
stop_run
check "the ledger shows what was spent" sh -c "'$node' ledger --home '$work/charite' | grep -q charite-eeg"
policy '/^privacy:/d; /epsilon_per_data_set/d'

check "meanwhile the certificate has renewed itself" wait_for 60 in_log certificate.renewed

# ---- November: the protocol ends ----------------------------------------------------------------------

cp "$work/charite/policy.yaml" "$work/policy.kept"
echo "approvals: maybe" >>"$work/charite/policy.yaml"
kill -HUP "$(pid_of charite)"
check "the steward is told of a policy that cannot be read" wait_for 60 told "policy.broken"
cp "$work/policy.kept" "$work/charite/policy.yaml"
policy "s/expires: .*/expires: $(date -d yesterday +%F)/"
start "$work/second.yaml"
check "a protocol that ended refuses the plan" wait_for 60 in_log "refused.*irb.protocols: protocol $protocol expired"
check "and the steward is told" wait_for 60 told "irb.protocols"
stop_run

# ---- December: the node leaves --------------------------------------------------------------------------

"$coordinator" revoke charite --reason "the project ended" --home "$hub" >"$work/revoke.log" 2>&1
gone() { ! kill -0 "$(pid_of charite)" 2>/dev/null; }
check "the node that left is sent away and ends" wait_for 60 gone
start "$work/plan.yaml"
watch_run
check "the others go on without it" test "$(status_value state)" = finished
check "its log of the year verifies, receipts and all" \
  "$audit" verify "$work/charite/audit" --receipts "$work/charite/egress"
for event in plan.waits round.refused end.near budget.near policy.broken; do
  check "the steward was told: $event" told "\"event\": *\"$event\""
done
for entry in node.enrolled plan.approved round.joined data.used certificate.renewed policy.read \
  plan.refused egress.receipt; do
  check "the log tells: $entry" in_log "$entry"
done
