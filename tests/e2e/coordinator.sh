#!/bin/sh
# A coordinator as a real process: what it refuses, in one clear line and leaving nothing
# behind; and a run of three nodes that is paused, goes on, and survives kill -9.
# usage: coordinator.sh COORDINATOR NODE AUDIT SOURCE_ROOT; prints TAP.
coordinator=$1 node=$2 audit=$3 root=$4
. "$root/tests/e2e/steps.sh"

# What must fail: exit code 1 and, as its last words, one line that has these.
refuses() { # WORDS ARGUMENTS…
  words=$1
  shift
  timeout 20 "$coordinator" "$@" >"$work/refused.out" 2>"$work/refused.err"
  status=$?
  lines=$(grep -c '^neurox-coordinator: ' "$work/refused.err")
  if [ "$status" = 1 ] && [ "$lines" = 1 ] && tail -n 1 "$work/refused.err" | grep -q "$words"; then
    return 0
  fi
  echo "# exit $status: $(cat "$work/refused.err")"
  return 1
}
serve() {
  "$coordinator" serve --home "$work/hub" >>"$work/hub.log" 2>&1 &
  hub=$!
  wait_for 60 "$coordinator" status --home "$work/hub" || bail "the coordinator does not answer"
}
state_is() { "$coordinator" status --json --home "$work/hub" | grep -q "\"state\":.*\"$1\""; }

# ---- what init and serve refuse -------------------------------------------------------------

"$coordinator" init --home "$work/hub" --name "e2e" --address 127.0.0.1:0 \
  --enrol-address 127.0.0.1:0 >"$work/init.log" 2>&1 || bail "init: $(cat "$work/init.log")"
port=$(sed -n 's/^address: 127.0.0.1://p' "$work/init.log")
enrol_port=$(sed -n 's/^enrolment: 127.0.0.1://p' "$work/init.log")
refuses "there already" init --home "$work/hub"
check "init does not touch a federation that is there" $?
refuses "HOST:PORT" init --home "$work/other" --address nonsense
check "a wrong address is told" $?
(ulimit -f 8; refuses "File too large\|disk I/O\|disk is full" init --home "$work/full" --address 127.0.0.1:0) &&
  [ -z "$(ls -d "$work"/full* 2>/dev/null)" ]
check "a full disk ends init with one line and leaves nothing" $?
refuses "init first" serve --home "$work/nowhere"
check "serve without a federation says to run init" $?
refuses "serve" status --home "$work/hub"
check "a coordinator that does not run is told" $?
serve
refuses "another process" serve --home "$work/hub"
check "a second coordinator of one federation is refused" $?
"$coordinator" init --home "$work/other" --address "127.0.0.1:$port" --enrol-address 127.0.0.1:0 >/dev/null 2>&1
refuses "port taken" serve --home "$work/other"
check "a taken port is told" $?

# ---- who may call what ------------------------------------------------------------------------

cp -r "$work/hub" "$work/stranger"
cp "$work"/other/operator/* "$work/stranger/operator/"
refuses "" status --home "$work/stranger"
check "an operator of another federation gets nothing answered" $?
closed() { ! openssl s_client -connect "127.0.0.1:$1" </dev/null 2>/dev/null | grep -q '^CONNECTED'; }
closed "$enrol_port"
check "the enrolment port is closed while nobody is invited" $?
openssl s_client -connect "127.0.0.1:$port" -tls1_2 </dev/null >"$work/tls12.txt" 2>&1
! grep -q "Cipher is [A-Z]*-" "$work/tls12.txt"
check "TLS 1.2 is not spoken" $?
refuses "there already" invite site-0 --home "$work/hub" --out "$work/init.log"
check "an invitation overwrites no file" $?
refuses "nowhere" invite site-0 --home "$work/hub" --out "$work/nowhere/file"
check "an invitation that cannot be written is told" $?
closed "$enrol_port"
check "and opens no port" $?

# ---- three members ------------------------------------------------------------------------------

for k in 0 1 2; do
  "$node" synth --out "$work/data-$k" --subjects 3 --first $((3 * k)) --seed 7 >/dev/null || bail synth
  "$coordinator" invite "site-$k" --home "$work/hub" --out "$work/$k.invitation" >"$work/$k.log" 2>&1
  fingerprint=$(sed -n 's/^fingerprint: *//p' "$work/$k.log")
  [ "$k" != 0 ] || { ! closed "$enrol_port"; check "an invitation opens the enrolment port" $?; }
  [ "$k" != 0 ] || { refuses "site-0 is a member" invite site-0 --home "$work/hub" --out "$work/again"
    check "nobody is invited twice" $?; }
  "$node" init "$work/$k.invitation" --fingerprint "$fingerprint" --home "$work/site-$k" \
    --data "$work/data-$k" --fold 0 --approval auto >>"$work/$k.log" 2>&1 || bail "site-$k: $(cat "$work/$k.log")"
done
wait_for 60 closed "$enrol_port"
check "the enrolment port closes when the last invitation is used" $?
cp "$work/site-0/tls/node.key" "$work/stranger/operator/operator.key"
cp "$work/site-0/tls/node.pem" "$work/stranger/operator/operator.pem"
refuses "a node's certificate may not" status --home "$work/stranger"
check "a member may not call the operator's methods" $?
for k in 0 1 2; do
  "$node" run --home "$work/site-$k" >"$work/site-$k.log" 2>&1 &
  pids="$pids $!"
done
sed -e 's/^  rounds: .*/  rounds: 6/' -e 's/^  local_steps: .*/  local_steps: 2/' \
  -e 's/^  warmup_steps: .*/  warmup_steps: 1/' "$root/configs/plan-eegmat.yaml" >"$work/plan.yaml"
echo "surprise: 1" | cat "$work/plan.yaml" - >"$work/bad.yaml"
refuses "surprise" start "$work/bad.yaml" --home "$work/hub"
check "a plan with an unknown key is refused with the key" $?
sed 's/minimum_members: .*/minimum_members: 9/' "$work/plan.yaml" >"$work/big.yaml"
refuses "minimum_members" start "$work/big.yaml" --home "$work/hub"
check "a plan for more members than there are is refused" $?

# ---- a run that is paused, killed, and finishes ------------------------------------------------------

"$coordinator" start "$work/plan.yaml" --wait-members 3 --home "$work/hub" >"$work/start.log" 2>&1
check "the plan starts" $?
refuses "under way" start "$work/big.yaml" --home "$work/hub"
check "another plan has to wait" $?
"$coordinator" pause --home "$work/hub" >/dev/null 2>&1 && wait_for 60 state_is paused
check "the run pauses after its round" $?
kill -9 "$hub"; wait "$hub" 2>/dev/null
serve
state_is paused
check "a paused run is still paused after a restart" $?
"$coordinator" start "$work/plan.yaml" --home "$work/hub" >"$work/start.log" 2>&1
check "start with the same plan goes on" $?
timeout 240 "$coordinator" watch --home "$work/hub" >"$work/watch.log" 2>&1 &
watching=$!
# Only a watch that has heard something waits for a coordinator that went away.
wait_for 60 test -s "$work/watch.log" || bail "watch says nothing"
for pause in 0.4 0.9 0.2 0.7; do
  sleep "$pause"
  kill -9 "$hub"; wait "$hub" 2>/dev/null
  serve
  sleep 1.5
done
wait "$watching"
check "a coordinator killed four times finishes the run" $?
all_sealed() { # N ROUNDS: all N sealed rounds of a run of so many training rounds
  "$coordinator" status --json --home "$work/hub" >"$work/status.json" &&
    grep -q "\"rounds_sealed\":.*$1" "$work/status.json" && grep -q "\"rounds\":.*$2" "$work/status.json"
}
wait_for 60 all_sealed 8 6
check "every round was sealed once" $?
"$coordinator" export --as-sealed --home "$work/hub" --out "$work/model" >/dev/null 2>&1
hash=$(sha256sum "$work/model" | cut -c1-64)
same() { [ -f "$work/site-0/models/$hash" ] && [ -f "$work/site-1/models/$hash" ] && [ -f "$work/site-2/models/$hash" ]; }
wait_for 60 same
check "every node holds the very same model" $?
refuses "over already\|no run is under way" stop --home "$work/hub"
check "a run that is over cannot be stopped" $?
# ---- a run whose coordinator dies at every single thing it writes down ---------------------------------

ended() { [ "$(grep -c run.ended "$work/hub.log")" -gt 1 ]; }
sed 's/^  rounds: .*/  rounds: 1/' "$work/plan.yaml" >"$work/short.yaml"
"$coordinator" start "$work/short.yaml" --wait-members 3 --home "$work/hub" >"$work/start.log" 2>&1
check "a second run starts" $?
kill -9 "$hub"; wait "$hub" 2>/dev/null
starts=0
until ended || [ "$starts" -ge 150 ]; do
  starts=$((starts + 1))
  [ $((starts % 2)) = 0 ] && drill=kill-after-record@1 || drill=kill-before-record@2
  "$coordinator" serve --home "$work/hub" --drill "$drill" >>"$work/hub.log" 2>&1 &
  hub=$!
  while kill -0 "$hub" 2>/dev/null && ! ended; do sleep 0.05; done
  ended || wait "$hub" 2>/dev/null
done
echo "# $starts starts"
ended && [ "$starts" -ge 20 ]
check "a coordinator that dies at every record finishes the run" $?
kill -9 "$hub" 2>/dev/null; wait "$hub" 2>/dev/null
serve
"$coordinator" status --json --home "$work/hub" >"$work/status.json"
grep -q '"state":.*finished' "$work/status.json" && grep -q '"rounds_sealed":.*3' "$work/status.json"
check "and every round of it was sealed once" $?
refuses "no member" revoke nobody --home "$work/hub"
check "only a member can be revoked" $?
"$coordinator" revoke site-2 --reason "lost laptop" --home "$work/hub" >/dev/null 2>&1
turned_away() { grep -q "revoked" "$work/site-2.log"; }
wait_for 60 turned_away
check "a revoked member is sent away at once" $?
gone() { "$coordinator" members --home "$work/hub" | grep -q "site-2 *revoked" && [ "$("$coordinator" status --json --home "$work/hub" | grep -c '"connected":.*2')" = 1 ]; }
wait_for 60 gone
check "and is not answered again" $?
kill "$hub"; wait "$hub"
check "the coordinator stops cleanly" $?
hub=
"$audit" verify "$work/hub/audit" >"$work/audit.log" 2>&1
check "its audit log verifies after all this" $?
echo "1..$n"
[ "$failures" = 0 ]
