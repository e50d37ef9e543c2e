#!/bin/sh
# Hostile programs over real TLS: one of four nodes, then the coordinator, lies in one way at a
# time (tests/support/hostile.c). Each lie ends as the table in docs/rounds.md says, and a log
# shows it.
. tests/e2e/lib.sh
hostile_node=$BUILD/tests/support/neurox-hostile-node
hostile_coordinator=$BUILD/tests/support/neurox-hostile-coordinator

logged() { # LOG PATTERN: the audit log as people read it
  "$audit" show "$1" | grep -Eq -- "$2"
}
n_logged() { "$audit" show "$1" 2>/dev/null | grep -Ec -- "$2" || true; }
idle_sites() { [ "$(status_value connected)" = 4 ]; }
stop_site() {
  kill "$(pid_of "$1")" 2>/dev/null || true
  wait "$(pid_of "$1")" 2>/dev/null || true
}
run_hostile() { # SITE ATTACK
  NEUROX_ATTACK=$2 "$hostile_node" run --home "$work/$1" >"$work/$1.$2.log" 2>&1 &
  eval "pid_$(printf '%s' "$1" | tr - _)=$!"
  pids="$pids $!"
}
train() {
  wait_for 60 idle_sites
  "$coordinator" start "$work/plan.yaml" --home "$hub" >"$work/start.log" 2>&1 &&
    timeout 100 "$coordinator" watch --home "$hub"
}

small_plan 1 | sed -e 's/^  rounds: .*/  rounds: 1/' >"$work/plan.yaml"
start_hub
for k in a b c d; do
  synth_site "site-$k" "$(printf '%d' "'$k")" 2
  enrol "site-$k"
done
for k in a b c; do run_site "site-$k"; done

# ---- a lying node: the others finish without it, or in spite of it -----------------------------

# Some lies count only when they come in time: a false release among the three that open the sum, a
# second upload before the set is shown. So several rounds, until one did; every one must finish.
lied() { # LOG PATTERN
  for _ in 1 2 3 4 5 6 7 8; do
    train || return 1
    ! logged "$1" "$2" || return 0
  done
  return 1
}
lies() { # ATTACK WORDS LOG PATTERN
  run_hostile site-d "$1"
  check "$2: rounds finish, and it is in the log" lied "$3" "$4"
  stop_site site-d
}
lies bad-share "a false share" "$hub/audit" 'evidence.bad-share .*member=4'
lies bad-release "a share corrupted at release" "$hub/audit" 'evidence.bad-release .*member=4'
# The second vote may come when the first ones were enough already: then it is only ignored.
run_hostile site-d two-votes
check "two votes: the run finishes" train
stop_site site-d
lies other-upload "other bytes uploaded once more" "$hub/audit" 'evidence.two-roots .*member=4'
check "the node is told, too" wait_for 60 grep -q "second upload was refused" "$work/site-d.other-upload.log"
lies flipped-chunk "a flipped bit in a chunk" "$hub/audit" 'upload.refused .*member=4'
lies long-upload "an upload that does not end" "$hub/audit" 'upload.refused .*member=4'
# Nobody waits for more of a node that has gone, or each of the rounds would last a whole phase.
run_hostile site-d low-order
refuse_key() {
  wait_for 60 grep -q 'bad-advert' "$work/hub.log"
  stop_site site-d
}
(refuse_key) &
check "a key of low order: the run finishes" train
check "a key of low order: the advert was refused, and the hub says so" grep -q 'bad-advert' "$work/hub.log"
stop_site site-d

# ---- a lying coordinator: the nodes refuse, keep the evidence, and nothing opens -------------------

# With short phases: what a hub that lied left undone is given up before the next one starts.
run_site site-d
sed 's/^  phase_seconds: .*/  phase_seconds: 6/' "$work/plan.yaml" >"$work/short.yaml"
deceive() { # ATTACK: from here on
  kill -9 "$hub_pid" 2>/dev/null || true
  wait "$hub_pid" 2>/dev/null || true
  NEUROX_ATTACK=$1 "$hostile_coordinator" serve --home "$hub" >>"$work/hub.$1.log" 2>&1 &
  hub_pid=$!
  pids="$pids $hub_pid"
  wait_for 60 "$coordinator" status --home "$hub"
  wait_for 60 idle_sites
  "$coordinator" start "$work/short.yaml" --home "$hub" >"$work/start.log" 2>&1 || true
}
deceives() { # ATTACK WORDS PATTERN
  before=$(n_logged "$work/site-a/audit" "$3")
  deceive "$1"
  seen() { [ "$(n_logged "$work/site-a/audit" "$3")" -gt "$before" ]; }
  check "$2" wait_for 60 seen "$1" "$2" "$3"
}
deceives swapped-key "a swapped mask key: the node keeps the roster as evidence" 'evidence.kept .*bad-roster'
deceives thin-certificate "release asked with too few votes: refused, with the certificate as evidence" \
  'evidence.kept .*bad-certificate'
deceives false-model "a model that does not follow from the sum: refused, and kept as evidence" \
  'evidence.kept .*result-refused'

# Two sets of uploads: sites a and b are told another one than c and d. Neither story gets t of the
# votes, and each log holds the hub's signed request in the vote it led to.
vote_of() { # SITE: round, attempt and subject of its newest vote
  "$audit" show "$work/$1/audit" | sed -n 's/.*vote.sent \(round=[0-9]* attempt=[0-9]*\) choice="commit" subject=\(.*\)/\1 \2/p' | tail -n 1
}
told_apart() {
  one=$(vote_of site-a) other=$(vote_of site-c)
  [ -n "$one" ] && [ "${one% *}" = "${other% *}" ] && [ "$one" != "$other" ]
}
deceive two-sets
check "two sets of uploads: the votes of one attempt differ" wait_for 60 told_apart
where=${one% *}
given_up() { "$audit" show "$hub/audit" | grep "round.failed $where " | grep -q 'voted to commit; 3 are needed'; }
check "two sets of uploads: the hub can certify neither" wait_for 60 given_up
none_released() {
  for k in a b c d; do ! logged "$work/site-$k/audit" "shares.released $where " || return 1; done
}
check "two sets of uploads: nobody releases a share" none_released
