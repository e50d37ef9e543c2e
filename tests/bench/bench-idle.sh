#!/bin/sh
# bench idle: memory of a coordinator and a node that wait, before their first round and after
# a run. Real processes with mutual TLS between them; figures from /proc/PID/smaps_rollup:
# RSS (all pages in memory, shared libraries too) and anonymous (what only this process has).
set -eu

build=$(CDPATH='' cd -- "$(dirname -- "$0")/../.." && pwd)
root=$PWD # ./run bench starts benches in the project's root
json=
[ "${1:-}" != --json ] || json=${2:?--json needs a file}
work=$(mktemp -d "${TMPDIR:-/tmp}/neurox-idle.XXXXXX")
hub=$work/hub pids= rows=
trap 'for p in $pids; do kill -9 "$p" 2>/dev/null || true; done; rm -rf "$work"' EXIT
coordinator=$build/coordinator/neurox-coordinator
node=$build/node/neurox-node

wait_for() {
  tries=300
  until "$@" >/dev/null 2>&1; do
    tries=$((tries - 1))
    [ "$tries" -gt 0 ] || { echo "bench idle: nothing happens: $*" >&2; cat "$work"/*.log >&2; exit 1; }
    sleep 0.1
  done
}

memory_mb() { awk -v key="$2:" '$1 == key { printf "%.1f", $2 / 1024 }' "/proc/$1/smaps_rollup"; }

row() { # METRIC STATE VALUE LIMIT
  printf '  %-26s %-14s %6s MB   limit %s MB\n' "$1" "$2" "$3" "$4"
  rows="$rows${rows:+,
}  {\"bench\": \"idle\", \"case\": {\"state\": \"$2\"}, \"metric\": \"$1\", \"value\": $3, \"unit\": \"MB\", \"peer\": null, \"peer_value\": null, \"limit\": \"issue\", \"limit_value\": $4}"
}

report() { # STATE
  row node_rss_mb "$1" "$(memory_mb "$node_pid" Rss)" 45
  row node_anonymous_mb "$1" "$(memory_mb "$node_pid" Anonymous)" 12
  row coordinator_rss_mb "$1" "$(memory_mb "$hub_pid" Rss)" 45
  row coordinator_anonymous_mb "$1" "$(memory_mb "$hub_pid" Anonymous)" 12
}

"$coordinator" init --home "$hub" --name idle --address 127.0.0.1:0 --enrol-address 127.0.0.1:0 >"$work/init.log" 2>&1
"$coordinator" serve --home "$hub" >"$work/hub.log" 2>&1 &
hub_pid=$!
pids=$hub_pid
wait_for "$coordinator" status --home "$hub"
for k in 0 1 2; do
  "$node" synth --out "$work/data-$k" --subjects 2 --first $((2 * k)) --seed 1 >/dev/null 2>&1
  "$coordinator" invite "site-$k" --home "$hub" --out "$work/site-$k.invitation" >"$work/invite-$k.log" 2>&1
  "$node" init "$work/site-$k.invitation" --fingerprint "$(sed -n 's/^fingerprint: *//p' "$work/invite-$k.log")" \
    --home "$work/site-$k" --data "$work/data-$k" --fold 0 --approval auto >"$work/site-$k.log" 2>&1
  "$node" run --home "$work/site-$k" >>"$work/site-$k.log" 2>&1 &
  node_pid=$!
  pids="$pids $node_pid"
done
for k in 0 1 2; do wait_for grep -q coordinator.connected "$work/site-$k.log"; done
sleep 3
report connected

sed -e 's/^  rounds: .*/  rounds: 2/' "$root/configs/plan-eegmat.yaml" >"$work/plan.yaml"
"$coordinator" start "$work/plan.yaml" --home "$hub" >"$work/start.log" 2>&1
"$coordinator" watch --home "$hub" >"$work/watch.log" 2>&1
sleep 20 # fifteen seconds after a round a node gives back what the round needed
report "after a run"
[ -z "$json" ] || printf '[\n%s\n]\n' "$rows" >"$json"
