#!/bin/sh
# Hosts of their own (network namespaces): a hub and four sites on a bridge. A site's link is cut
# without a word, then the hub's; a name is lost. Nothing of it needs an operator.
#   CUT=SECONDS   how long a link stays cut (default 8; docs/operations.md tells what 300 showed)
. tests/e2e/lib.sh

cut=${CUT:-8}
tag=nx$$
if ! ip netns add "$tag-net" 2>/dev/null; then
  skip "links that are cut" "network namespaces need root and iproute2"
  exit 0
fi
spaces=$tag-net

at_end() {
  for space in $spaces; do
    ip netns pids "$space" 2>/dev/null | xargs -r kill -9 2>/dev/null || true
    ip netns del "$space" 2>/dev/null || true
    rm -rf "/etc/netns/$space"
  done
}

# host NAME ADDRESS: a namespace on the bridge, that knows the hub's name, and a wrapper that runs
# a program in it.
host() {
  ip netns add "$tag-$1"
  spaces="$spaces $tag-$1"
  ip link add "v$1" netns "$tag-net" type veth peer name eth0 netns "$tag-$1"
  ip -n "$tag-net" link set "v$1" master bridge up
  ip -n "$tag-$1" addr add "10.231.7.$2/24" dev eth0
  ip -n "$tag-$1" link set eth0 up
  ip -n "$tag-$1" link set lo up
  mkdir -p "/etc/netns/$tag-$1"
  printf '127.0.0.1 localhost\n10.231.7.1 hub.test\n' >"/etc/netns/$tag-$1/hosts"
}
link() { ip -n "$tag-net" link set "v$1" "$2"; } # NAME up|down

program() { # NAME HOST BINARY
  printf '#!/bin/sh\nexec ip netns exec %s %s "$@"\n' "$tag-$2" "$3" >"$work/$1"
  chmod +x "$work/$1"
}

ip -n "$tag-net" link add bridge type bridge
ip -n "$tag-net" link set bridge up
host hub 1
program coordinator hub "$coordinator"
coordinator=$work/coordinator
"$coordinator" init --home "$hub" --name test --address hub.test:7443 --enrol-address hub.test:7444 \
  >"$work/init.log" 2>&1
serve_hub
plain_node=$node
for k in 0 1 2 3; do
  host "s$k" $((k + 10))
  program "node-$k" "s$k" "$plain_node"
  node=$plain_node synth_site "site-$k" $((2 * k)) 2
  node=$work/node-$k
  enrol "site-$k"
  run_site "site-$k"
done
for k in 0 1 2 3; do wait_for 60 grep -q coordinator.connected "$work/site-$k.log"; done

# Rounds of a few seconds, and little patience.
small_plan 4000 | sed -e 's/^  phase_seconds: .*/  phase_seconds: 5/' -e 's/^  training_seconds: .*/  training_seconds: 10/' >"$work/plan.yaml"
"$coordinator" start "$work/plan.yaml" --home "$hub" >"$work/start.log" 2>&1 || cat "$work/start.log"
last_sealed() { sed -n 's/.*round.sealed round=\([0-9]*\) .*/\1/p' "$work/$1.log" | tail -n 1; }
has_sealed() { [ "$(last_sealed "$1")" -ge "$2" ]; } # SITE ROUND
check "rounds go" wait_for 60 has_sealed site-0 3

link s2 down
before=$(last_sealed site-0)
check "a site's link is cut without a word: the others go on" wait_for 90 has_sealed site-0 $((before + 2))
[ -z "${CUT:-}" ] || sleep "$cut" # a round without it has waited for it already
link s2 up
now=$(last_sealed site-0)
check "its link is back: it takes part again, unasked" wait_for 90 has_sealed site-2 $((now + 1))

link hub down
sleep "$cut"
before=$(last_sealed site-0)
link hub up
check "the hub's link was cut for $cut s: the run goes on, unasked" wait_for 120 has_sealed site-0 $((before + 2))

ip netns pids "$tag-s3" | xargs -r kill
nobody_is_there() { [ -z "$(ip netns pids "$tag-s3")" ]; }
wait_for 60 nobody_is_there
sed -i '/hub.test/d' "/etc/netns/$tag-s3/hosts"
node=$work/node-3
run_site site-3
check "a name that is not known is named" wait_for 60 grep -q "its name is not known" "$work/site-3.log"
echo '10.231.7.1 hub.test' >>"/etc/netns/$tag-s3/hosts"
now=$(last_sealed site-0)
check "and tried for again: the site takes part" wait_for 90 has_sealed site-3 $((now + 1))

"$coordinator" stop --home "$hub" >/dev/null 2>&1
wait_for 60 grep -q run.ended "$work/hub.log"
check "all logs verify" wait_for 60 "$audit" verify "$hub/audit" "$work/site-0/audit" "$work/site-1/audit" \
  "$work/site-2/audit" "$work/site-3/audit"
