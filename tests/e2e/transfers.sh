#!/bin/sh
# Uploads over slow lines, in real processes: one goes on where it broke when its node is killed in
# the middle of it, and when the coordinator is, into a new file and over a spare; the cap is kept; members that speak the protocol
# before this one are in the same sums.
. tests/e2e/lib.sh

start_hub
for k in a b c d; do
  synth_site "site-$k" "$(printf '%d' "'$k")" 2
  enrol "site-$k"
done
sed -i 's/^upload_kb_per_s: 0 /upload_kb_per_s: 150 /' "$work/site-c/node.yaml"
check "a cap is set" grep -q '^upload_kb_per_s: 150 ' "$work/site-c/node.yaml"
for k in a b; do run_site "site-$k"; done
run_site site-c --drill kill-mid-upload@2
older=$BUILD/tests/support/neurox-hostile-node
NEUROX_ATTACK=older "$older" run --home "$work/site-d" >>"$work/site-d.log" 2>&1 &
pid_site_d=$!
pids="$pids $pid_site_d"

sed -i 's/^keep_uploads: .*/keep_uploads: round/' "$hub/coordinator.yaml" # from its next start on
small_plan 4 | sed -e 's/^  phase_seconds: .*/  phase_seconds: 60/' \
  -e 's/^  training_seconds: .*/  training_seconds: 120/' >"$work/plan.yaml"
"$coordinator" start "$work/plan.yaml" --wait-members 4 --home "$hub" >"$work/start.log" 2>&1 ||
  cat "$work/start.log"
is_gone() { ! kill -0 "$1" 2>/dev/null; }
check "a node dies in the middle of its upload" wait_for 120 is_gone "$(pid_of site-c)"
wait "$(pid_of site-c)" 2>/dev/null || true
run_site site-c
taken_up() { [ "$(grep -c 'upload.taken_up member=3' "$work/hub.log")" -ge "$1" ]; }
check "started again it goes on where the upload broke" wait_for 60 taken_up 1

# The next training round: the coordinator dies while a piece of it is there.
round_is() { [ "$(status_value round)" = "$1" ]; }
some_is_there() { find "$hub/uploads" -path '*/3-*/3.*.part' -size +100k 2>/dev/null | grep -q .; }
check "an upload of the next round is on its way" wait_for 120 some_is_there
kill -9 "$hub_pid"
wait "$hub_pid" 2>/dev/null || true
serve_hub
check "a coordinator that was killed meanwhile goes on with it, too" wait_for 60 taken_up 2
# Two rounds on, uploads are written over the files of the round before the last.
over_a_spare() { find "$hub/uploads" -path '*/5-*/3.*.came' -size +2c 2>/dev/null | grep -q .; }
check "an upload is on its way over a spare" wait_for 120 over_a_spare
kill -9 "$hub_pid"
wait "$hub_pid" 2>/dev/null || true
serve_hub
check "killed in the middle of that, it goes on with it as well" wait_for 60 taken_up 3
finished() { [ "$(status_value state)" = finished ]; }
check "the run finishes" wait_for 150 finished
held() { sed -n 's/.*upload.taken_up member=3 held=\([0-9]*\) .*/\1/p' "$work/hub.log"; }
echo "# taken up: $(held | tr '\n' ' ')of $(sed -n 's/.*upload.taken_up .*bytes=\([0-9]*\).*/\1/p' "$work/hub.log" | head -n 1) bytes"
whole() { ! grep -q 'round.sealed.*without=' "$work/hub.log" && [ "$(status_value rounds_sealed)" = 6 ]; }
check "every round was sealed" whole
check "nothing is left of its uploads" test -z "$(ls "$hub/uploads")"
check "an older member sealed them, too" wait_for 60 tells_more site-d round.sealed 3
check "all logs verify" wait_for 60 "$audit" verify "$hub/audit" "$work/site-a/audit" "$work/site-b/audit" \
  "$work/site-c/audit" "$work/site-d/audit"

# The other way round: a coordinator of the protocol before, nodes of today.
kill "$hub_pid"
wait "$hub_pid" 2>/dev/null || true
taken=$(told_by hub upload.taken_up) # two of member 3, and whoever was uploading when the hub was killed
NEUROX_ATTACK=older "$BUILD/tests/support/neurox-hostile-coordinator" serve --home "$hub" \
  >>"$work/hub.log" 2>&1 &
hub_pid=$!
pids="$pids $hub_pid"
wait_for 60 "$coordinator" status --home "$hub"
small_plan 1 >"$work/next.yaml"
train() {
  "$coordinator" start "$work/next.yaml" --wait-members 4 --home "$hub" &&
    timeout 120 "$coordinator" watch --home "$hub"
}
check "nodes of today train with a coordinator of the protocol before" train
asks_no_more() { [ "$(told_by hub upload.taken_up)" = "$taken" ]; }
check "and ask it nothing that it does not know" asks_no_more
