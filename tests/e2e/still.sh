#!/bin/sh
# A site's process stands still (SIGSTOP) while its line stays up. The round waits for it for
# stillness_seconds and not for the whole phase, says whom it leaves out and why, and has it back
# when it moves again.
. tests/e2e/lib.sh

small_plan 400 | sed -e 's/^  phase_seconds: .*/  phase_seconds: 300/' >"$work/plan.yaml"
start_hub
sed -i 's/^stillness_seconds: .*/stillness_seconds: 30/' "$hub/coordinator.yaml"
kill "$hub_pid"
wait "$hub_pid" || true
serve_hub
for k in 0 1 2 3; do
  synth_site "site-$k" $((2 * k)) 2
  enrol "site-$k"
done
for k in 0 1 2 3; do run_site "site-$k"; done
wait_for 60 connected 4
"$coordinator" start "$work/plan.yaml" --home "$hub" >"$work/start.log" 2>&1 || cat "$work/start.log"
"$coordinator" watch --home "$hub" >"$work/watch.log" 2>&1 &
pids="$pids $!"
check "rounds go" wait_for 60 tells_more hub round.sealed 1

stopped=$(pid_of site-3)
kill -STOP "$stopped"
began=$(date +%s)
check "a site stands still: the hub says so, and whom it waited for" \
  wait_for 100 grep -q 'member.still .*member=4 why="nothing of it moved for 30 s' "$work/hub.log"
took=$(($(date +%s) - began))
check "after stillness_seconds, and not after the phase's 300 ($took s)" test "$took" -ge 29 -a "$took" -le 75
sealed=$(told_by hub round.sealed)
check "rounds go on without it, and wait for it no more" wait_for 25 tells_more hub round.sealed $((sealed + 2))
check "watch says who was left out, and why" grep -q 'without site-3 (does not move)' "$work/watch.log"
in_audit() { "$audit" show "$hub/audit" | grep -q 'member.still .*member=4'; }
check "so does the audit log" in_audit

sealed=$(told_by site-3 round.sealed)
kill -CONT "$stopped"
check "it moves again: it is back in the next rounds" wait_for 60 tells_more site-3 round.sealed $((sealed + 1))
full() { tail -n 1 "$work/watch.log" | grep -q ' 4 of 4 '; }
check "all four are in a sum again" wait_for 60 full
"$coordinator" stop --home "$hub" >/dev/null 2>&1
check "the run ends as asked" wait_for 60 grep -q run.ended "$work/hub.log"
check "all logs verify" wait_for 60 "$audit" verify "$hub/audit" "$work/site-0/audit" "$work/site-3/audit"
