#!/bin/sh
# A site decides: plans are read and approved by its steward, rules hold whatever the hub asks,
# every refusal is named and logged, and receipts tell what left, as a proxy on the line counts it.
. tests/e2e/lib.sh

proxy=$BUILD/tests/support/neurox-tls-watch
log_of() { "$audit" show "$work/one/audit" 2>/dev/null; }
in_log() { log_of | grep -qE -- "$1"; }
told() { grep -qE -- "$1" "$work/told"; }
in_node() { grep -qE -- "$1" "$work/one.log"; }
joined() { grep -c "round.joined" "$work/one.log"; }
start() { "$coordinator" start "$1" --home "$hub" >>"$work/start.log" 2>&1; }
watch_run() { timeout 120 "$coordinator" watch --home "$hub" >>"$work/watch.log" 2>&1 || true; }
policy() { sed -i "$1" "$work/one/policy.yaml"; }

: >"$work/told"
start_hub
k=0
for site in one two three four; do
  synth_site "$site" "$k" 2
  k=$((k + 2))
done
enrol one --approval ask --data-set one-eeg
for site in two three four; do enrol "$site"; done
printf 'tell:\n  command: [/bin/sh, -c, "cat >>%s/told; echo >>%s/told"]\n' "$work" "$work" >>"$work/one/policy.yaml"
"$proxy" "$(hub_port)" "$work/proxy.report" >"$work/proxy.out" 2>&1 &
proxy_pid=$!
pids="$pids $proxy_pid"
wait_for 60 grep -q PORT "$work/proxy.out"
sed -i "s/^coordinator: .*/coordinator: 127.0.0.1:$(sed -n 's/PORT //p' "$work/proxy.out")/" "$work/one/node.yaml"
for site in one two three four; do run_site "$site"; done
small_plan 1 >"$work/plan.yaml"
hash=$(sha256sum <"$work/plan.yaml" | cut -c1-64)
short=$(printf '%.12s' "$hash")

# ---- asked and answered -----------------------------------------------------------------------

"$coordinator" grant researcher alice --home "$hub" --out "$work/alice" >"$work/grant.log" 2>&1
wait_for 60 grep -q coordinator.connected "$work/one.log"
check "a researcher submits a plan" wait_for 60 "$coordinator" submit "$work/plan.yaml" --home "$work/alice"
refused "a plan that is none is not submitted" "neurox_node|Unexpected|Missing" \
  "$coordinator" submit configs/node.yaml --home "$work/alice"
waits_here() { "$node" plan list --home "$work/one" | grep -q "^$short  waits"; }
check "it comes to the site and waits for its steward" wait_for 60 waits_here
check "who is told: a command of the site, as JSON" wait_for 60 told "plan.waits.*$short"
"$node" plan show "$short" --home "$work/one" >"$work/shown" 2>&1
check "it is told in plain words" grep -q "learns to tell 'rest' from 'arithmetic' in human eeg" "$work/shown"
check "with what leaves" grep -qE "one masked vector of [0-9]+ values" "$work/shown"
sed 's/^# Rest/# rest/' "$work/plan.yaml" >"$work/other.yaml"
check "the steward says yes" "$node" plan approve "$short" --reason "seen by the board" --home "$work/one"
check "the running node has it in its log" wait_for 60 in_log "plan.approved.*$hash"

start "$work/other.yaml"
check "one byte changed after approval is refused, and the rule is named" \
  wait_for 60 in_node 'round.refused.*why="approval: plan'
check "the refusal is an entry of the log" in_log "plan.refused.*approval: plan"
shown_to_operator() { "$coordinator" status --home "$hub" | grep -q "approval: plan"; }
check "the operator can read it" wait_for 60 shown_to_operator
watch_run
check "no update of that site was in it" test "$(joined)" = 0

start "$work/plan.yaml"
watch_run
check "the approved plan runs, and the site takes part" test "$(joined)" -ge 3
wait_for 60 in_node 'round.sealed' || true

# ---- what left ----------------------------------------------------------------------------------

"$node" egress --home "$work/one" --round 4 >"$work/round-4"
check "the receipt of a round names what left and what for" \
  sh -c "grep -q 'upload .*the masked update' '$work/round-4' && grep -q 'M7 .*vote' '$work/round-4'"
"$node" preview "$short" --home "$work/one" >"$work/preview"
"$node" egress --home "$work/one" --round 5 >"$work/round-5"
# Kind by kind, of the training round: what the dry run said and what left. Numbers grow in
# messages as rounds do, so a few bytes may differ.
as_previewed() {
  for kind in M1 M3 upload M7 M9 fetch-tiles M11; do
    said=$(sed -n '/^training/,/in each/p' "$work/preview" | awk -v k="$kind" '$1 == k { print $4 }')
    left=$(awk -v k="$kind" '$1 == k { print $4 }' "$work/round-5")
    echo "$kind: previewed $said, left $left"
    [ "$((said - left))" -ge -16 ] && [ "$((said - left))" -le 16 ] || return 1
  done
}
check "a dry run had told each message's size" as_previewed
check "and that the policy lets it" grep -q "^policy: would be let" "$work/preview"
kill "$(pid_of one)"
wait "$(pid_of one)" || true
sleep 0.5
kill "$proxy_pid"
wait "$proxy_pid" || true
receipts=$("$node" egress --home "$work/one" | sed -n 's/^in all: \([0-9]*\) bytes.*/\1/p')
messages=$("$node" egress --home "$work/one" | sed -n 's/^in all: .* in \([0-9]*\) messages/\1/p')
seen=$(sed -n 's/.*up=\([0-9]*\).*/\1/p' "$work/proxy.report")
connections=$(sed -n 's/connections=\([0-9]*\).*/\1/p' "$work/proxy.report")
# A message costs a gRPC header (5), an HTTP/2 frame for each 16 KiB (9), a TLS record for each
# (22), perhaps the headers of a call of its own and acknowledgements of what came down.
most=$((receipts + receipts / 50 + messages * 200 + connections * 6000))
echo "# receipts $receipts bytes in $messages messages; the proxy saw $seen up on $connections connections"
check "receipts and a counting proxy agree within framing" test "$receipts" -le "$seen" -a "$seen" -le "$most"
check "the receipts are those that the log tells of" \
  "$audit" verify "$work/one/audit" --receipts "$work/one/egress"
cp "$work/one/egress/receipt-00000001.json" "$work/kept"
sed -i 's/"bytes":/"bytes" :/' "$work/one/egress/receipt-00000001.json"
check "an edited receipt is found" sh -c "! '$audit' verify '$work/one/audit' --receipts '$work/one/egress'"
cp "$work/kept" "$work/one/egress/receipt-00000001.json"

# ---- rules, changed while a run goes on -----------------------------------------------------------

sed -i "s/^coordinator: .*/coordinator: 127.0.0.1:$(hub_port)/" "$work/one/node.yaml"
policy 's/^approval: .*/approval: auto/'
run_site one
small_plan 4000 >"$work/long.yaml"
start "$work/long.yaml"
wait_for 60 in_node 'round.joined.*kind=train' || true
rule_holds() { # WORDS RULE: refused in a round that begins after the change
  check "$1" wait_for 60 in_node "round.refused.*why=\"$2"
  check "… and in the log" wait_for 60 in_log "round.refused.*$2"
}
policy 's/refuse_members: \[\]/refuse_members: [four]/'
rule_holds "a site one will not train with" "cohort.refuse_members"
policy 's/refuse_members: .*/refuse_members: []/; s/minimum_threshold: 0/minimum_threshold: 4/'
rule_holds "a threshold that is too low" "cohort.minimum_threshold"
policy 's/minimum_threshold: 4/minimum_threshold: 0/; s/species: \[\]/species: [mouse]/'
rule_holds "a species that is not allowed" "plans.species"
policy 's/species: .*/species: []/; s/round_mb: 0/round_mb: 0.001/'
rule_holds "more bytes than may leave" "limits.round_mb"
policy 's/round_mb: .*/round_mb: 0/; s/^cohort:/cohorts:/'
rule_holds "a policy that cannot be read lets nothing run" "this site.s policy cannot be read"
check "… and its line is in the node's own log" in_node 'policy.broken.*policy.yaml:.*cohorts'
check "… and its steward is told" wait_for 60 told "policy.broken"
policy 's/^cohorts:/cohort:/'
before=$(joined)
again() { [ "$(joined)" -gt "$before" ]; }
check "mended, the site takes part again" wait_for 60 again
policy 's/rounds_per_day: 0/rounds_per_day: 5/'
rule_holds "rounds of a day are counted, over restarts" "limits.rounds_per_day"
"$coordinator" stop --home "$hub" >/dev/null 2>&1
watch_run

# ---- a data set that the plan does not name ---------------------------------------------------------

# It says so before it is invited, and is not (tests/unit/policy has the refusal of an invitation).
policy 's/rounds_per_day: 5/rounds_per_day: 0/'
{ cat "$work/plan.yaml"; printf '\nrequires:\n  data_sets: [two-eeg]\n'; } >"$work/named.yaml"
start "$work/named.yaml"
check "a plan for other data sets is refused" wait_for 60 in_log 'fit.answered.*verdict="no".*unmet="data set"'
"$coordinator" stop --home "$hub" >/dev/null 2>&1
watch_run
kill "$(pid_of one)"
wait "$(pid_of one)" || true
check "the site's log verifies, receipts and all" \
  "$audit" verify "$work/one/audit" --receipts "$work/one/egress"
