#!/bin/sh
# Wrong input ends in one clear line and leaves nothing half-written.
. tests/e2e/lib.sh

start_hub
synth_site good 0 2
invite one
fingerprint=$(fingerprint_of "$work/one.invite")

nothing_left() { # WORDS FOLDER
  if [ -e "$2" ] || ls -d "$2".* >/dev/null 2>&1; then not_ok "$1" "$(ls -la "$2" 2>&1)"; else ok "$1"; fi
}
try_init() { "$node" init "$@" --home "$work/new" --data "$work/good.data"; }

refused "wrong fingerprint" "fingerprint" try_init "$work/one.invitation" --fingerprint "0000 1111 2222"
sed 's/127\.0\.0\.1/127.0.0.2/' "$work/one.invitation" >"$work/edited.invitation"
refused "edited invitation" "fingerprint" try_init "$work/edited.invitation" --fingerprint "$fingerprint"

refused "an invitation that is not there" "no such file" try_init "$work/nowhere" --fingerprint "$fingerprint"
mkdir "$work/empty.data"
refused "a folder without EDF" "edf" "$node" init "$work/one.invitation" --fingerprint "$fingerprint" \
  --home "$work/new" --data "$work/empty.data"
refused "a folder that is not there" "no such" "$node" init "$work/one.invitation" \
  --fingerprint "$fingerprint" --home "$work/new" --data "$work/nowhere"
mkdir "$work/torn.data"
cp "$work/good.data"/*.edf "$work/torn.data"
for file in "$work/torn.data"/*rest.edf; do truncate -s 300 "$file"; done
refused "a truncated EDF" "header|truncated|short|ends" "$node" init "$work/one.invitation" \
  --fingerprint "$fingerprint" --home "$work/new" --data "$work/torn.data"
nothing_left "a failed init leaves nothing" "$work/new"

check "the invitation is still good after all that" try_init "$work/one.invitation" --fingerprint "$fingerprint"
invite two # the enrolment port is open only while an invitation is
refused "a reused invitation" "used" "$node" init "$work/one.invitation" --fingerprint "$fingerprint" \
  --home "$work/again" --data "$work/good.data"
nothing_left "and leaves nothing" "$work/again"
refused "init over a node that is there" "exist|already|not empty" try_init "$work/one.invitation" \
  --fingerprint "$fingerprint"

refused "a second coordinator on the same folder" "running|lock" "$coordinator" serve --home "$hub"
refused "init over a federation" "exist|already|not empty" "$coordinator" init --home "$hub" --name x \
  --address 127.0.0.1:0
port=$(hub_port)
"$coordinator" init --home "$work/hub2" --name other --address "127.0.0.1:$port" \
  --enrol-address 127.0.0.1:0 >/dev/null 2>&1
refused "a port that is taken" "listen|port" "$coordinator" serve --home "$work/hub2"

sed 's/^  rounds: .*/  runds: 3/' configs/plan-eegmat.yaml >"$work/typo.yaml"
refused "a plan with a mistyped key is named with its line" "typo.yaml:[0-9]+.*runds|runds" \
  "$coordinator" start "$work/typo.yaml" --home "$hub"
refused "a plan for too few members" "at least 3" "$coordinator" start configs/plan-eegmat.yaml --home "$hub"
refused "an operator of another folder" "no such|init|not" "$coordinator" status --home "$work/nowhere"

# A coordinator of another federation behind the node's address.
kill -TERM "$hub_pid"
wait "$hub_pid" || true
sed -i "s/^address: .*/address: 127.0.0.1:$port/" "$work/hub2/coordinator.yaml" 2>/dev/null || true
"$coordinator" serve --home "$work/hub2" >"$work/hub2.log" 2>&1 &
pids="$pids $!"
wait_for 60 "$coordinator" status --home "$work/hub2"
"$node" run --home "$work/new" >"$work/new.log" 2>&1 &
node_pid=$!
pids="$pids $node_pid"
check "a coordinator of another federation is named as such" \
  wait_for 60 grep -qiE "certificate|another federation|not the coordinator|TLS|handshake" "$work/new.log"
kill -9 "$node_pid"

# The disk is full: a file system of a few hundred KB, where one can be mounted.
mkdir "$work/small"
if mount -t tmpfs -o size=200k tmpfs "$work/small" 2>/dev/null; then
  dd if=/dev/zero of="$work/small/filler" bs=1k count=190 2>/dev/null || true
  refused "a full disk" "space|full" "$coordinator" init --home "$work/small/hub" --name x --address 127.0.0.1:0
  check "leaves nothing half-written" test ! -e "$work/small/hub"
  umount "$work/small"
else
  skip "a full disk" "no file system can be mounted here"
fi
