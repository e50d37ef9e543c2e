#!/bin/sh
# The list of members changes after the first start: a site is added, one is removed, one gets a
# new identity key, each by the signatures of enough members; rounds before, between and after.
. tests/e2e/lib.sh

hash_pending() { "$node" members --pending --home "$work/$1" | sed -n 's/^hash: *//p'; }
has_pending() { [ -n "$(hash_pending "$1")" ]; }
answer() { # SITE approve|refuse
  wait_for 60 has_pending "$1" && "$node" members "$2" "$(hash_pending "$1")" --home "$work/$1"
}
revision_is() { # SITE N
  "$node" members --home "$work/$1" | grep -q "^revision: *$2$"
}
status_says() { "$coordinator" revise --status --home "$hub" | grep -q "$1"; }
train() { # NAME: a plan of one training round, to its end
  "$coordinator" start "$work/plan.yaml" --home "$hub" >"$work/start-$1.log" 2>&1 &&
    timeout 150 "$coordinator" watch --home "$hub"
}
kept_model() { # SITE
  wait_for 60 test -f "$work/$1/models/$(status_value model_sha256)"
}
members_of() { "$audit" members "$1" | tail -n 20; }

small_plan 1 >"$work/plan.yaml"
start_hub
for k in a b c d; do
  synth_site "site-$k" "$(printf '%d' "'$k")" 2
  enrol "site-$k"
  run_site "site-$k"
done
check "a run with four founders" train one
refused "nobody is added who has not enrolled" "invite NAME first" \
  "$coordinator" revise add site-e --home "$hub"

# ---- a site comes: one of the founders is away meanwhile --------------------------------------

synth_site site-e 40 2
check "a site is invited and enrols after the first start" enrol site-e
run_site site-e
check "it waits for the members" wait_for 60 grep -q "accept this site" "$work/site-e.log"
check "what is fetched by whoever is not accepted is refused" \
  sh -c "! ls '$work/site-e/models' | grep -q ."
kill "$(pid_of site-d)"
wait "$(pid_of site-d)" || true
check "the operator proposes it" "$coordinator" revise add site-e --home "$hub"
refused "one proposal at a time" "proposed already" "$coordinator" revise remove site-a --home "$hub"
wait_for 60 has_pending site-a
check "it is shown by name and fingerprint" sh -c \
  "'$node' members --pending --home '$work/site-a' | grep -Eq '^adds .*site-e +([0-9a-f]{4} ){9}'"
refused "the hash has to be the right one" "is not the hash" \
  "$node" members approve 0123456789 --home "$work/site-a"
answer site-a approve >/dev/null
answer site-b approve >/dev/null
check "the coordinator counts two" wait_for 60 status_says "2 of 4 members approved, 3 are needed"
sleep 1
check "too few signatures change nothing" sh -c "! '$node' members --home '$work/site-a' | grep -q revision"
answer site-c refuse >/dev/null
check "a refusal is counted" wait_for 60 status_says "1 refused"
answer site-c approve >/dev/null
check "a changed mind is enough" wait_for 60 revision_is site-a 1
for k in b c e; do
  check "site-$k takes the new list" wait_for 60 revision_is "site-$k" 1
done
wait_for 60 connected 4
check "a run with the new site, one founder still away" train two
check "the new site holds the model" kept_model site-e

# ---- a member goes, and one gets a new key; the founder that was away comes back ----------------

check "the operator proposes to remove a member" "$coordinator" revise remove site-b --home "$hub"
for k in a b c e; do answer "site-$k" approve >/dev/null; done
check "four of five are enough to remove it" wait_for 60 revision_is site-a 2
check "the removed site is told" wait_for 60 grep -q "removed\|revoked\|took this site out" "$work/site-b.log"
wait_for 60 revision_is site-c 2 && wait_for 60 revision_is site-e 2
check "a site asks for a new identity key" "$node" members new-key --home "$work/site-a"
asked() { "$coordinator" revise key site-a --home "$hub"; }
check "the operator proposes it once it was asked for" wait_for 60 asked
old=$(cat "$work/site-a/audit/public.key")
for k in a c e; do answer "site-$k" approve >/dev/null; done
check "three of four approve" wait_for 60 revision_is site-c 3
check "the site goes over to its new key" wait_for 60 test ! -e "$work/site-a/identity.next.key"
check "its log is signed by the new key" sh -c "[ '$old' != \"\$(cat '$work/site-a/audit/public.key')\" ]"
run_site site-d
check "who was away follows three revisions at once" wait_for 60 revision_is site-d 3
wait_for 60 revision_is site-e 3
wait_for 60 connected 4
check "a run with the list as it is now" train three
for k in a c d e; do check "site-$k holds the model" kept_model "site-$k"; done

# ---- evidence --------------------------------------------------------------------------------------

sleep 0.5
for log in "$hub/audit" "$work/site-a/audit" "$work/site-a/audit-1" "$work/site-c/audit" \
  "$work/site-d/audit" "$work/site-e/audit"; do
  check "every revision is signed for in $(basename "$(dirname "$log")")/$(basename "$log")" \
    "$audit" members "$log"
done
check "an auditor sees who came and went" sh -c "'$audit' members '$work/site-d/audit' |
  tr -d '\n' | grep -q 'adds 5 site-e.*removes 2 site-b.*new key of 1 site-a.*VERIFIED'"
