#!/bin/sh
# Differential privacy end to end, on generated recordings: a federation for each mechanism,
# with epsilon in log, audit log and ledger beside an oracle's; a kill between charge and
# upload; a cap that refuses; a ledger that was tampered with; rotation, narrow rings and
# error feedback.
. tests/e2e/lib.sh

small_private_plan() { # MECHANISM ROUNDS > file
  sed -e "s/^  rounds: .*/  rounds: $2/" -e 's/^  batch: .*/  batch: 2/' \
    -e 's/^  phase_seconds: .*/  phase_seconds: 20/' -e "s/^privacy: .*/privacy: $1/" \
    configs/plan-eegmat-dp.yaml
}
run_plan() { # FILE
  "$coordinator" start "$1" --home "$hub" >"$work/start.log" 2>&1
  timeout 120 "$coordinator" watch --home "$hub" >"$work/watch.log" 2>&1
}
# The newest of a figure of `privacy.spent` in a site's log.
spent() { # SITE FIGURE
  grep ' privacy.spent ' "$work/$1.log" | tail -n 1 | tr ' ' '\n' | sed -n "s/^$2=//p"
}
oracle() { /usr/bin/python3 tests/oracle/epsilon.py "$@"; }
near() { # A B
  /usr/bin/python3 -c 'import sys; a, b = map(float, sys.argv[1:]); print(a, b); sys.exit(not abs(a - b) <= 1e-4 * (1 + abs(b)))' "$1" "$2"
}
ledger_json() { # SITE PLAN-FILE: epsilon of that plan
  "$node" ledger --json --home "$work/$1" | /usr/bin/python3 -c '
import hashlib, json, sys
plan = hashlib.sha256(open(sys.argv[1], "rb").read()).hexdigest()
for d in json.load(sys.stdin)["datasets"]:
    for p in d["plans"]:
        if p["plan"] == plan: print(p["epsilon"])' "$2"
}
participation() { # MODEL
  /usr/bin/python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["privacy"]["epsilon"])' \
    "$1.participation.json"
}
audited() { # SITE FIGURE: of the newest privacy.spent in its audit log
  "$audit" show "$work/$1/audit" | grep privacy.spent | tail -n 1 | tr -d '"' | tr ' ' '\n' | sed -n "s/^$2=//p"
}

start_hub
k=0
for site in one two three four; do
  synth_site "$site" "$k" 3
  k=$((k + 3))
  enrol "$site"
done
for site in one two three four; do run_site "$site"; done

# ---- each mechanism --------------------------------------------------------------------------

adam() { # what site-local and node-level plans train with
  sed -e 's/^  learning_rate: .*/  learning_rate: 0.003/' -e 's/^  beta1: .*/  beta1: 0.9/' \
    -e 's/^  beta2: .*/  beta2: 0.99/'
}
small_private_plan distributed-skellam 3 >"$work/distributed.yaml"
small_private_plan site-local-gaussian 2 | adam |
  sed -e 's/^  local_steps: .*/  local_steps: 3/' -e 's/^  sampling_rate: 1 /  sampling_rate: 0.5 /' \
    -e 's/^  value_range: .*/  value_range: 0.125/' -e 's/^  update_clip_norm: .*/  update_clip_norm: 10/' \
    >"$work/local.yaml"
small_private_plan node-level-skellam 2 | adam |
  sed -e 's/^  local_steps: .*/  local_steps: 2/' -e 's/^  subjects_per_step: .*/  subjects_per_step: 1/' \
    >"$work/node-level.yaml"

tell() { # SITE N: N times privacy.spent in its log
  test "$(grep -c ' privacy.spent ' "$work/$1.log")" -ge "$2"
}
seen=0
for arm in distributed local node-level; do
  run_plan "$work/$arm.yaml" || true
  check "a federation trains under $arm noise" test "$(status_value state)" = finished
  rounds=$(sed -n 's/^  rounds: *\([0-9]*\).*/\1/p' "$work/$arm.yaml")
  seen=$((seen + rounds + 2))
  check "$arm: the node tells epsilon after every round" wait_for 60 tell two "$seen"
  "$coordinator" export --home "$hub" --out "$work/$arm.safetensors" >/dev/null 2>&1
  want=$(oracle "$work/$arm.yaml" "$work/$arm.safetensors")
  got=$(spent two plan_epsilon)
  check "$arm: epsilon in the node's log ($got) is the oracle's ($want)" near "$got" "$want"
  check "$arm: the ledger says the same" near "$(ledger_json two "$work/$arm.yaml")" "$want"
  check "$arm: and so does what travels with the model" near "$(participation "$work/$arm.safetensors")" "$want"
  check "$arm: and so does the audit log" near "$(audited two plan_epsilon)" "$want"
  check "$arm: the hub was told no loss and no score" sh -c \
    "! grep -qE 'loss |held-out |AUROC ' '$work/watch.log'"
done
all=$(spent two epsilon) one=$(spent two plan_epsilon)
check "the data set's epsilon ($all) composes all plans, more than the last alone ($one)" \
  /usr/bin/python3 -c "assert $all > $one"

# ---- killed between the charge and the upload --------------------------------------------------

kill "$(pid_of two)"
wait "$(pid_of two)" 2>/dev/null || true
next=$((seen + 2)) # the first training round of the next run
run_site two --drill "kill-after-charge@$next"
"$coordinator" start "$work/distributed.yaml" --home "$hub" >"$work/start.log" 2>&1
died() {
  status=0
  wait "$(pid_of two)" || status=$?
  [ "$status" = 137 ] || { echo "ended with $status"; return 1; }
}
check "a node kills itself between its charge and its upload" died
timeout 120 "$coordinator" watch --home "$hub" >>"$work/watch.log" 2>&1 || true
check "nothing of that round was uploaded" sh -c \
  "! '$audit' show '$work/two/audit' | grep upload.sent | grep -q 'round=$next '"
check "what is in doubt stays charged" near "$(ledger_json two "$work/distributed.yaml")" \
  "$(oracle "$work/distributed.yaml" "$work/distributed.safetensors" 4)"
before=$(told_by two coordinator.connected)
run_site two
check "started again, its ledger opens and it goes on" \
  wait_for 60 tells_more two coordinator.connected "$before"

# ---- an attempt that is certified never to open ------------------------------------------------

# Two of four die before they upload: nothing can be opened, and once they are back, t members
# certify it. Who lived through the attempt takes its charge back; who was killed in it holds no
# more than its journal, and keeps it.
small_private_plan distributed-skellam 2 | sed 's/^  phase_seconds: .*/  phase_seconds: 60/' >"$work/refund.yaml"
last=$(sed -n 's/.* round.sealed round=\([0-9]*\) .*/\1/p' "$work/hub.log" | tail -n 1)
for site in two three; do
  kill "$(pid_of "$site")"
  wait "$(pid_of "$site")" 2>/dev/null || true
  run_site "$site" --drill "kill-after-charge@$((last + 2))"
done
"$coordinator" start "$work/refund.yaml" --home "$hub" >"$work/start.log" 2>&1
for site in two three; do
  wait "$(pid_of "$site")" || true
  run_site "$site"
done
timeout 120 "$coordinator" watch --home "$hub" >>"$work/watch.log" 2>&1 || true
check "the run goes on after two of four died in one round" test "$(status_value state)" = finished
refunded() { "$audit" show "$work/$1/audit" | grep -q "privacy.refunded round=$((last + 2)) attempt=1"; }
check "a member that had uploaded has its charge back, certified by an ABORT" refunded one
check "and their ledger counts the two rounds that opened" near \
  "$(ledger_json one "$work/refund.yaml")" "$(oracle "$work/refund.yaml" "$work/distributed.safetensors")"
check "a member that was killed after its charge keeps it" near \
  "$(ledger_json two "$work/refund.yaml")" "$(oracle "$work/refund.yaml" "$work/distributed.safetensors" 3)"

# ---- the institution's cap ---------------------------------------------------------------------

cap=$(/usr/bin/python3 -c "print($(spent one epsilon) * 1.01)")
printf '\nprivacy:\n  epsilon_per_data_set: %s\n' "$cap" >>"$work/one/policy.yaml" # read while it runs
run_plan "$work/distributed.yaml" || true
check "a round that would exceed the cap is refused, by name" \
  grep -q 'round.refused.*privacy.epsilon_per_data_set: this round would bring' "$work/one.log"
check "and that is in its audit log" sh -c \
  "'$audit' show '$work/one/audit' | grep -q 'round.refused.*epsilon_per_data_set'"
check "the refused round is not in the ledger" /usr/bin/python3 -c \
  "import json,sys; d=json.load(sys.stdin)['datasets'][0]; assert d['epsilon'] <= d['epsilon_per_data_set'], d" \
  <<JSON
$("$node" ledger --json --home "$work/one")
JSON
small_plan 1 >"$work/none.yaml"
run_plan "$work/none.yaml" || true
check "with a cap a plan without a mechanism does not run" \
  grep -q 'epsilon_per_data_set: the plan says privacy: none' "$work/one.log"

# ---- a ledger that lost something ----------------------------------------------------------------

kill "$(pid_of three)"
wait "$(pid_of three)" 2>/dev/null || true
refused "a ledger is shown only whole" "charges are lost|damaged|not there" \
  sh -c "sed -i 's/^neurox-ledger 1 [0-9]*/neurox-ledger 1 999/' '$work/three/ledger.db.head' && '$node' ledger --home '$work/three'"
refused "and a node does not start on it" "charges are lost|damaged" "$node" run --home "$work/three"

for site in one two four; do
  kill "$(pid_of "$site")"
  wait "$(pid_of "$site")" 2>/dev/null || true
  check "the log of $site verifies" "$audit" verify "$work/$site/audit"
done
