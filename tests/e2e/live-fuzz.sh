#!/bin/sh
# A fuzzer against a live coordinator: what one of four nodes said in an honest run is recorded,
# then said again and again over mutual TLS, mutated from a seed, while the other three train
# (tests/fuzz/live.c). The coordinator stays up, answers, and an honest round follows. Worth most
# with a BUILD that has the address sanitizer.
#   SECONDS_OF_LIES=N   how long (default 8)    SEED=N   (default 1)
. tests/e2e/lib.sh

lies=${SECONDS_OF_LIES:-8} seed=${SEED:-1}
unset NEUROX_RECORD
small_plan 1 >"$work/plan.yaml"
small_plan 2000 | sed -e 's/^  phase_seconds: .*/  phase_seconds: 5/' >"$work/long.yaml"
start_hub
honest=$node
for k in a b c d; do
  synth_site "site-$k" "$(printf '%d' "'$k")" 2
  if [ $k = d ]; then # its enrolment is heard, too
    export NEUROX_RECORD="$work/recorded"
    node=$BUILD/tests/support/neurox-recorded-node
  fi
  enrol "site-$k"
  run_site "site-$k"
done
unset NEUROX_RECORD
node=$honest
state_is() { [ "$(status_value state)" = "$1" ]; }
check "four members connect" wait_for 60 connected 4
train() { # PLAN: to its end
  "$coordinator" start "$work/plan.yaml" --home "$hub" --wait-members 4 >"$work/start.log" 2>&1 &&
    timeout 150 "$coordinator" watch --home "$hub"
}
check "an honest run, recorded" train
check "of every kind of call a node makes" \
  sh -c 'for m in Enrol/Enrol Session/Open Round/Upload Round/FetchTiles Blob/Fetch; do
    grep -qa "$m" "$1" || { echo "$m is not recorded"; exit 1; }; done' - "$work/recorded"
kill "$(pid_of site-d)"
wait "$(pid_of site-d)" 2>/dev/null || true
check "the recorded node leaves" wait_for 60 connected 3

invite spare # keeps the enrolment port open
enrol_at=$(sed -n "s/^enrol_address: *'\{0,1\}\([^']*\)'\{0,1\}.*/\1/p" "$hub/coordinator.yaml")
"$coordinator" start "$work/long.yaml" --home "$hub" >"$work/start.log" 2>&1 || cat "$work/start.log"
status=0
"$BUILD/tests/fuzz/neurox-live-fuzz" --site "$work/site-d" --hub "$hub" --recording "$work/recorded" \
  --enrol "$enrol_at" --seconds "$lies" --seed "$seed" >"$work/fuzz.out" 2>&1 || status=$?
sed 's/^/# /' "$work/fuzz.out"
check "it answered honest questions all the time" test "$status" = 0
check "the coordinator is up" kill -0 "$hub_pid"
check "and says how it is" "$coordinator" status --home "$hub"
check "no sanitizer complained" sh -c '! grep -E "ERROR: |runtime error:" "$1"' - "$work/hub.log"

"$coordinator" stop --home "$hub" >"$work/stop.log" 2>&1 || true
not_running() { ! state_is running; }
check "the run beside it ends" wait_for 120 not_running
run_site site-d
check "the member is let in again" wait_for 60 connected 4
check "an honest run of all four finishes" train
sealed_by_all() { # the last round of the run, by every member
  for k in a b c d; do
    [ "$(sed -n 's/.* round\.sealed round=\([0-9]*\) .*/\1/p' "$work/site-$k.log" | tail -n 1)" = \
      "$(sed -n 's/.* round\.sealed round=\([0-9]*\) .*/\1/p' "$work/hub.log" | tail -n 1)" ] || return 1
  done
}
check "and every member has sealed it" wait_for 60 sealed_by_all
kill "$hub_pid"
status=0
wait "$hub_pid" || status=$?
check "the coordinator ends in order ($status)" test "$status" = 0
check "its log verifies" "$audit" verify "$hub/audit"
