#!/bin/sh
# bench load [--quick] [--sizes "10 50 200"] [--connections 1000] [--json FILE]
# Real rounds with real node processes on this machine, and many idle connections. Every site is
# neurox-node with keys of its own; they share one small synthetic data folder, so that a round is
# the protocol's work and not the training's. The model has 143,809 parameters.
#   rounds_per_s        from the first training round opened to the last one sealed
#   join_p99_ms         from "round.opened" at the coordinator to "round.joined" at a node (the
#                       invitation checked and accepted, just before M1 leaves), all nodes and
#                       training rounds; clocks are one
#   kb_per_idle_node    what the coordinator's own memory (anonymous) grew by, per connection
set -eu

build=$(CDPATH='' cd -- "$(dirname -- "$0")/../.." && pwd)
root=$PWD # ./run bench starts benches in the project's root
sizes="10 50 200" connections=1000 rounds=3 json=
while [ $# -gt 0 ]; do
  case $1 in
    --quick) sizes="4 10" connections=100 rounds=2 ;;
    --sizes) sizes=${2:?--sizes needs a list}; shift ;;
    --connections) connections=${2:?--connections needs a number}; shift ;;
    --json) json=${2:?--json needs a file}; shift ;;
    *) echo "usage: bench load [--quick] [--sizes \"10 50 200\"] [--connections N] [--json FILE]" >&2; exit 2 ;;
  esac
  shift
done
work=$(mktemp -d "${TMPDIR:-/tmp}/neurox-load.XXXXXX")
coordinator=$build/coordinator/neurox-coordinator
node=$build/node/neurox-node
pids= rows=
stop_all() { for p in $pids; do kill -9 "$p" 2>/dev/null || true; done; wait 2>/dev/null || true; pids=; }
trap 'stop_all; rm -rf "$work"' EXIT

say() { printf '%s\n' "$*" >&2; }
wait_for() { # SECONDS COMMAND…
  tries=$(($1 * 5))
  shift
  until "$@" >/dev/null 2>&1; do
    tries=$((tries - 1))
    [ "$tries" -gt 0 ] || { say "bench load: nothing happens: $*"; tail -n 5 "$hub.log" >&2; exit 1; }
    sleep 0.2
  done
}
memory_kb() { awk -v key="$2:" '$1 == key { print $2 }' "/proc/$1/smaps_rollup"; }
row() { # CASE METRIC VALUE UNIT LIMIT
  limit=null name=null
  [ -z "${5:-}" ] || { limit=$5 name='"issue"'; }
  printf '  %-24s %-18s %10s %s%s\n' "$1" "$2" "$3" "$4" "${5:+   (limit $5)}"
  rows="$rows${rows:+,
}  {\"bench\": \"load\", \"case\": {$1}, \"metric\": \"$2\", \"value\": $3, \"unit\": \"$4\", \"peer\": null, \"peer_value\": null, \"limit\": $name, \"limit_value\": $limit}"
}

# Logs begin a line with 2026-01-31T12:34:56.789Z: seconds of the day are enough here.
event_times() { # EVENT FILE… -> "ROUND SECONDS" lines
  event=$1
  shift
  awk -v event="$event" '
    $3 == event { split(substr($1, 12), t, /[:Z]/); for (i = 4; i <= NF; i++) if ($i ~ /^round=/)
      print substr($i, 7), t[1] * 3600 + t[2] * 60 + t[3] }' "$@"
}

start_hub() {
  hub=$work/hub-$1
  "$coordinator" init --home "$hub" --name load --address 127.0.0.1:0 --enrol-address 127.0.0.1:0 >"$hub.log" 2>&1
  "$coordinator" serve --home "$hub" >>"$hub.log" 2>&1 &
  hub_pid=$!
  pids="$pids $hub_pid"
  wait_for 30 "$coordinator" status --home "$hub"
}

enrol() { # NAME
  "$coordinator" invite "$1" --home "$hub" --out "$hub.$1.invitation" >"$hub.$1.invite" 2>&1
  "$node" init "$hub.$1.invitation" --fingerprint "$(sed -n 's/^fingerprint: *//p' "$hub.$1.invite")" \
    --home "$hub.$1" --data "$work/data" --fold 0 --approval auto >"$hub.$1.log" 2>&1 || { cat "$hub.$1.log" >&2; exit 1; }
  sed -i -e 's/^threads: .*/threads: 1/' "$hub.$1/node.yaml" # many nodes on one machine
}

connected() { [ "$(grep -c member.connected "$hub.log")" -ge "$1" ]; } # N

rounds_with() { # N
  n=$1
  start_hub "$n"
  for k in $(seq 1 "$n"); do
    enrol "site-$k"
    [ $((k % 25)) != 0 ] || say "bench load: $k of $n enrolled"
  done
  sleep 4
  before=$(memory_kb "$hub_pid" Anonymous)
  for k in $(seq 1 "$n"); do
    "$node" run --home "$hub.site-$k" >>"$hub.site-$k.log" 2>&1 &
    pids="$pids $!"
  done
  wait_for 300 connected "$n"
  sleep 5
  row "\"nodes\": $n" kb_per_idle_node $((($(memory_kb "$hub_pid" Anonymous) - before) / n)) kB 250
  sed -e "s/^  rounds: .*/  rounds: $rounds/" -e 's/^  local_steps: .*/  local_steps: 1/' \
    -e 's/^  batch: .*/  batch: 2/' -e 's/^  warmup_steps: .*/  warmup_steps: 1/' \
    -e 's/^  phase_seconds: .*/  phase_seconds: 300/' "$root/configs/plan-eegmat.yaml" >"$hub.plan.yaml"
  say "bench load: $n nodes connected; $rounds training rounds"
  "$coordinator" start "$hub.plan.yaml" --home "$hub" >"$hub.start" 2>&1 || { cat "$hub.start" >&2; exit 1; }
  "$coordinator" watch --home "$hub" >"$hub.watch" 2>&1 || { cat "$hub.watch" >&2; exit 1; }
  # Round 1 is the statistics', the last the evaluation's.
  event_times round.opened "$hub.log" >"$hub.opened"
  event_times round.joined "$hub".site-*.log >"$hub.joined"
  event_times round.sealed "$hub.site-1.log" >"$hub.sealed"
  rate=$(awk -v last=$((rounds + 1)) 'NR == FNR { if ($1 == 2) begin = $2; next } $1 == last { end = $2 }
    END { if (!begin || end <= begin) exit 1; printf "%.3f", (last - 1) / (end - begin) }' "$hub.opened" "$hub.sealed")
  p99=$(awk -v last=$((rounds + 1)) 'NR == FNR { opened[$1] = $2; next } $1 > 1 && $1 <= last { printf "%.0f\n", 1000 * ($2 - opened[$1]) }' \
    "$hub.opened" "$hub.joined" | sort -n | awk '{ v[NR] = $1 } END { i = int(NR * .99 + .999); if (i > NR) i = NR; print v[i] }')
  row "\"nodes\": $n" rounds_per_s "$rate" 1/s
  row "\"nodes\": $n" join_p99_ms "$p99" ms
  row "\"nodes\": $n" coordinator_rss_mb $(($(memory_kb "$hub_pid" Rss) / 1024)) MB
  row "\"nodes\": $n" coordinator_peak_mb $(($(awk '$1 == "VmHWM:" { print $2 }' "/proc/$hub_pid/status") / 1024)) MB
  row "\"nodes\": $n" coordinator_threads "$(ls "/proc/$hub_pid/task" | wc -l)" threads
  row "\"nodes\": $n" coordinator_descriptors "$(ls "/proc/$hub_pid/fd" | wc -l)" descriptors
  stop_all
  rm -rf "$hub" "$hub".*
}

idle_connections() { # N
  start_hub idle
  "$build/tests/bench/load_nodes" "$hub" 1 </dev/null >/dev/null # what the first one costs is not theirs
  sleep 2
  before=$(memory_kb "$hub_pid" Anonymous)
  mkfifo "$work/hold"
  "$build/tests/bench/load_nodes" "$hub" "$1" <"$work/hold" >"$work/held" 2>&1 &
  pids="$pids $!"
  exec 9>"$work/hold"
  wait_for 300 grep -q "^open $1" "$work/held"
  sleep 3
  row "\"connections\": $1" kb_per_idle_node $((($(memory_kb "$hub_pid" Anonymous) - before) / $1)) kB 250
  row "\"connections\": $1" coordinator_rss_mb $(($(memory_kb "$hub_pid" Rss) / 1024)) MB
  row "\"connections\": $1" coordinator_threads "$(ls "/proc/$hub_pid/task" | wc -l)" threads
  row "\"connections\": $1" coordinator_descriptors "$(ls "/proc/$hub_pid/fd" | wc -l)" descriptors
  "$coordinator" status --home "$hub" >/dev/null || { say "bench load: the coordinator does not answer any more"; exit 1; }
  exec 9>&-
  stop_all
}

"$node" synth --out "$work/data" --subjects 2 --seed 1 >/dev/null 2>&1
idle_connections "$connections"
for size in $sizes; do rounds_with "$size"; done
[ -z "$json" ] || printf '[\n%s\n]\n' "$rows" >"$json"
