#!/bin/sh
# Every (side, transition) pair in real processes: kill -9 right before and right after each
# thing that a coordinator or a node makes durable, then a start again, and nobody helps. Each
# pair is told with the seconds from the start again to the next sealed round: the run's, or for
# a node the next that it seals itself.
#   kill-matrix.sh [--long | SIDE:WHEN-WHAT…]    all pairs, or these; without, a few of them
. tests/e2e/lib.sh

# aborting and ended come only with an abort: for those two nodes die before they upload.
hub_all="attempt invite roster shares bundle upload commit certificate opened result sealed"
node_all="join upload vote release sealed"
pairs=
if [ "${1:-}" = --long ]; then
  for when in before after; do
    for what in $hub_all; do pairs="$pairs hub:$when-$what"; done
    for what in $node_all; do pairs="$pairs node:$when-$what"; done
  done
  pairs="$pairs hub:before-aborting hub:after-aborting hub:before-ended hub:after-ended"
elif [ $# != 0 ]; then
  pairs=$*
else
  pairs="hub:after-upload hub:before-certificate hub:after-result hub:before-sealed
    node:after-upload node:before-vote node:after-vote node:after-sealed"
fi

# A phase never ends by its time here, if the machine is not hopeless: who was killed comes back, or
# says that it brings nothing. With 10 s and the machine at a load of 30 the keys of too few came in time.
small_plan 400 | sed -e 's/^  phase_seconds: .*/  phase_seconds: 60/' \
  -e 's/^  local_steps: .*/  local_steps: 1/' >"$work/plan.yaml"
start_hub
for k in 0 1 2 3; do
  synth_site "site-$k" $((2 * k)) 2
  enrol "site-$k"
  run_site "site-$k"
done
"$coordinator" start "$work/plan.yaml" --wait-members 4 --home "$hub" >"$work/start.log" 2>&1

# The store is asked, not the log: what is sealed there was promised.
last_round() { sed -n 's/.* round\.sealed round=\([0-9]*\) .*/\1/p' "$work/hub.log" | tail -n 1; }
sealed_behind() { [ "$(last_round)" -gt "$1" ] 2>/dev/null; }
seals_again() { [ "$(grep -c ' round\.sealed ' "$work/site-3.log")" -gt "$1" ]; }
now() { date +%s.%N; }
dies() { # PID: by SIGKILL, within three minutes
  tries=1800
  while kill -0 "$1" 2>/dev/null; do
    tries=$((tries - 1))
    [ "$tries" -gt 0 ] || return 1
    sleep 0.1
  done
  wait "$1" 2>/dev/null || [ "$?" = 137 ]
}
start_drilled_hub() { # WHAT
  "$coordinator" serve --home "$hub" --drill "kill-$1@1" >>"$work/hub.log" 2>&1 &
  drilled=$!
  pids="$pids $drilled"
}
again() { # SITE [OPTION…]
  kill -9 "$(pid_of "$1")" 2>/dev/null || true
  wait "$(pid_of "$1")" 2>/dev/null || true
  run_site "$@"
}
# Too few are left to upload; started again, they vote ABORT. Until the hub is dead.
starve() {
  for k in 2 3; do again site-$k --drill kill-before-upload@1; done
  tries=1800
  while kill -0 "$drilled" 2>/dev/null && [ "$tries" -gt 0 ]; do
    tries=$((tries - 1))
    for k in 2 3; do kill -0 "$(pid_of site-$k)" 2>/dev/null || again site-$k; done
    sleep 0.1
  done
  for k in 2 3; do again site-$k; done
}
hub_pair() { # WHEN-WHAT
  kill -9 "$hub_pid"; wait "$hub_pid" 2>/dev/null || true
  case $1 in *aborting | *ended) starve=yes ;; *) starve= ;; esac
  start_drilled_hub "$1"
  [ -z "$starve" ] || starve
  dies "$drilled" || { status=late; kill -9 "$drilled"; wait "$drilled" 2>/dev/null || true; }
  before=$(last_round)
  began=$(now)
  serve_hub
}
node_pair() { # WHEN-WHAT
  kill -9 "$(pid_of site-3)"; wait "$(pid_of site-3)" 2>/dev/null || true
  run_site site-3 --drill "kill-$1@1"
  dies "$(pid_of site-3)" || { status=late; kill -9 "$(pid_of site-3)"; }
  before=$(grep -c ' round\.sealed ' "$work/site-3.log" || true)
  began=$(now)
  run_site site-3
}
pair() { # SIDE:WHEN-WHAT
  status=
  "${1%%:*}_pair" "${1#*:}" >"$work/pair.log" 2>&1
  case $1 in
  hub:*) wait_for 180 sealed_behind "${before:-0}" || status=stuck ;;
  *) wait_for 180 seals_again "${before:-0}" || status=stuck ;;
  esac
  seconds=$(echo "$(now) $began" | awk '{ printf "%.1f", $1 - $2 }')
  echo "# $1 $seconds s"
  [ -z "$status" ]
}

check "the first rounds are sealed" wait_for 180 sealed_behind 1
for which in $pairs; do
  if pair "$which"; then ok "kill -9 $which: the run goes on by itself"; else not_ok "$which: ${status:-?}"; fi
done

# Nothing that was sealed is gone, nothing is counted twice: each round once, in the order of
# its number, with one model everywhere.
"$coordinator" stop --home "$hub" >/dev/null 2>&1 || true
stopped() { status_value state | grep -q stopped; }
check "the run stops" wait_for 60 stopped
sealed_once() { # the log of a hub that died right behind a seal may lack that line
  sed -n 's/.* round\.sealed round=\([0-9]*\) .*/\1/p' "$work/hub.log" | sort -n | uniq -d | grep . && return 1
  [ "$(status_value rounds_sealed)" = "$(last_round)" ]
}
check "every round was sealed, and once" sealed_once
one_model() { # every round sealed by a node has the coordinator's model
  cat "$work"/hub.log "$work"/site-?.log | sed -n 's/.* round\.sealed round=\([0-9]*\) .*model=\([0-9a-f]*\).*/\1 \2/p' |
    sort -u | cut -d' ' -f1 | uniq -d | grep . && return 1
  return 0
}
check "no round has two models" one_model
check "all logs verify" wait_for 60 "$audit" verify "$hub/audit" "$work/site-0/audit" "$work/site-1/audit" \
  "$work/site-2/audit" "$work/site-3/audit"
