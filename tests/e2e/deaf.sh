#!/bin/sh
# Six members that ask as fast as they can and read nothing of what comes: a session each whose every
# message wants an answer, and ninety fetches each. The coordinator's memory stays bounded, it answers
# others, and a member that reads keeps its line.
. tests/e2e/lib.sh
MOST_MB=${MOST_MB:-85} # 58 measured; 107 and growing before unread answers had a budget

small_plan 1 >"$work/plan.yaml"
start_hub
synth_site site-0 0 2
for k in 1 2 3 4 5 6; do ln -s site-0.data "$work/site-$k.data"; done
for k in 0 1 2 3 4 5 6; do enrol "site-$k"; done
run_site site-0
check "a member that reads" wait_for 60 connected 1
"$coordinator" start "$work/plan.yaml" --home "$hub" >"$work/start.log" 2>&1 || true
model=$(status_value model_sha256)
memory() { sed -n "s/^$1:[[:space:]]*\([0-9]*\) kB/\1/p" "/proc/$hub_pid/status"; }
before=$(memory VmRSS)

mkfifo "$work/hold"
"$BUILD/tests/support/neurox-deaf" "$model" "$work/site-1" "$work/site-2" "$work/site-3" "$work/site-4" \
  "$work/site-5" "$work/site-6" <"$work/hold" >"$work/deaf.log" 2>&1 &
pids="$pids $!"
exec 9>"$work/hold"
lost=$(told_by hub 'member.lost member=1')
check "six members ask and do not read" wait_for 60 grep -q '^deaf: ' "$work/deaf.log"
sed 's/^/# /' "$work/deaf.log"
peak=$(($(memory VmHWM) / 1024))
echo "# the coordinator: $((before / 1024)) MB before, $(($(memory VmRSS) / 1024)) with them, $peak at its peak"
check "its memory stays below $MOST_MB MB" test "$peak" -lt "$MOST_MB"
check "it answers others" timeout 10 "$coordinator" status --home "$hub"
check "a member that reads keeps its line" test "$(told_by hub 'member.lost member=1')" = "$lost"
exec 9>&-
