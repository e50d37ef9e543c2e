#!/bin/sh
# A hub and its sites in trouble of the ordinary kind: too few file descriptors, a full disk at a
# site and at the hub, an orderly stop in the middle of a round. Each costs a clear word and at
# most some rounds; nothing that was acknowledged is lost.
. tests/e2e/lib.sh

mounts=
at_end() { for m in $mounts; do umount -l "$m" 2>/dev/null || true; done; }
small_disk() { # FOLDER MEGABYTES
  mkdir -p "$1"
  mount -t tmpfs -o "size=${2}m,mode=0700" tmpfs "$1" 2>/dev/null || return 1
  mounts="$mounts $1"
}
fill() { # FOLDER: to the last byte
  dd if=/dev/zero of="$1/filler" bs=64k 2>/dev/null || true
  dd if=/dev/zero of="$1/filler" bs=1 oflag=append conv=notrunc count=65536 2>/dev/null || true
}
last_sealed() { sed -n 's/.*round.sealed round=\([0-9]*\) .*/\1/p' "$work/$1.log" | tail -n 1; }
has_sealed() { [ "$(last_sealed "$1")" -ge "$2" ]; } # SITE ROUND
is_gone() { ! grep -qvE '^[0-9]+ \(.*\) Z ' "/proc/$1/stat" 2>/dev/null; } # or not waited for yet

have_disk=1
small_disk "$work/disk-hub" 48 && small_disk "$work/disk-site" 12 || have_disk=
[ -z "$have_disk" ] || hub=$work/disk-hub/hub
start_hub
for k in 0 1 2 3; do synth_site "site-$k" $((2 * k)) 2; done
for k in 0 1 2 3; do enrol "site-$k"; done
if [ -n "$have_disk" ]; then
  mv "$work/site-2" "$work/disk-site/home"
  ln -s "$work/disk-site/home" "$work/site-2"
fi

# --- descriptors ------------------------------------------------------------------------------
"$BUILD/tests/bench/load_nodes" "$hub" 5 </dev/null >/dev/null # it works at all
kill "$hub_pid"
wait_for 60 is_gone "$hub_pid"
(ulimit -n 64 && exec "$coordinator" serve --home "$hub") >>"$work/hub.log" 2>&1 &
hub_pid=$!
pids="$pids $hub_pid"
wait_for 60 "$coordinator" status --home "$hub"
timeout 60 "$BUILD/tests/bench/load_nodes" "$hub" 200 </dev/null >"$work/load.log" 2>&1 || true
check "200 connections to a coordinator with 64 descriptors: it lives" kill -0 "$hub_pid"
check "and answers once they are gone" wait_for 60 "$coordinator" status --home "$hub"
kill "$hub_pid"
wait_for 60 is_gone "$hub_pid"
serve_hub

# --- a run --------------------------------------------------------------------------------------
for k in 0 1 2 3; do run_site "site-$k"; done
small_plan 400 | sed -e 's/^  phase_seconds: .*/  phase_seconds: 8/' -e 's/^  training_seconds: .*/  training_seconds: 12/' >"$work/plan.yaml"
"$coordinator" start "$work/plan.yaml" --home "$hub" >"$work/start.log" 2>&1 || cat "$work/start.log"
check "rounds go" wait_for 90 has_sealed site-3 2

# --- disks ------------------------------------------------------------------------------------
if [ -n "$have_disk" ]; then
  now=$(last_sealed site-0)
  fill "$work/disk-site"
  check "a site's disk is full: the others go on" wait_for 90 has_sealed site-0 $((now + 2))
  check "it says so" wait_for 60 grep -qiE "no space|disk" "$work/site-2.log"
  rm -f "$work/disk-site/filler"
  # Its journal could not be kept: it may have stopped, by design. A service manager starts it again.
  kill -0 "$(pid_of site-2)" 2>/dev/null || run_site site-2
  now=$(last_sealed site-0)
  check "with room again it takes part" wait_for 90 has_sealed site-2 $((now + 1))

  fill "$work/disk-hub"
  check "the hub's disk is full: it stops rather than forget" wait_for 90 is_gone "$hub_pid"
  check "and says why" grep -qiE "no space|full|disk" "$work/hub.log"
  rm -f "$work/disk-hub/filler"
  now=$(last_sealed site-0)
  serve_hub
  check "with room again it resumes the run" wait_for 120 has_sealed site-0 $((now + 2))
else
  skip "full disks" "needs root to mount a small one"
fi

# --- an orderly stop -----------------------------------------------------------------------------
kill "$hub_pid"
status=0
wait "$hub_pid" || status=$?
check "an orderly stop in the middle of a run ends well ($status)" test "$status" = 0
now=$(last_sealed site-0)
serve_hub
check "and the run goes on where it was" wait_for 90 has_sealed site-0 $((now + 2))
"$coordinator" stop --home "$hub" >/dev/null 2>&1
wait_for 60 grep -q run.ended "$work/hub.log"
check "all logs verify" wait_for 60 "$audit" verify "$hub/audit" "$work/site-0/audit" "$work/site-1/audit" \
  "$work/site-2/audit" "$work/site-3/audit"
