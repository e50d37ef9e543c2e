#!/bin/sh
# Before a round: every site answers whether its data meet what the plan requires. One has no labels,
# one too few people, one does not say; the operator reads which rule, the steward what was told.
. tests/e2e/lib.sh

hex_of() { sha256sum "$1" | cut -c1-64; }
start_hub
for k in 0 1 2 3 4; do synth_site "site-$k" $((4 * k)) 2; done
synth_site site-5 20 1
for file in "$work"/site-4.data/Subject*.edf; do
  case $file in *_rest.edf) mv "$file" "${file%_rest.edf}_one.edf" ;; *) mv "$file" "${file%_*}_two.edf" ;; esac
done
for k in 0 1 2 3 4; do enrol "site-$k"; done
enrol site-5
sed -i '/^  held_out_fold/d' "$work"/site-*/node.yaml # whoever holds one of two out trains from one
sed -i 's/^  answer: always/  answer: never /' "$work/site-3/policy.yaml"
for k in 0 1 2 3 4 5; do run_site "site-$k"; done

small_plan 1 | sed 's/^  minimum_subjects: .*/  minimum_subjects: 2/' >"$work/plan.yaml"
plan=$(hex_of "$work/plan.yaml")
{ cat "$work/plan.yaml"; printf 'requires:\n  minimum_recordings: 50\n  channels: [Fz, Cz]\n'; } >"$work/large.yaml"
large=$(hex_of "$work/large.yaml")

told() { "$coordinator" status --home "$hub" --plan "$1"; }
all_here() { [ "$(status_value connected)" = 6 ]; }
answered() { [ "$(told "$1" | grep -cE 'people|cannot take part|does not say')" = 6 ]; }
says() { told "$1" | grep -qE "$2"; }

check "six sites are here" wait_for 60 all_here
check "a plan is submitted" "$coordinator" submit "$work/plan.yaml" --home "$hub"
check "every site answers" wait_for 60 answered "$plan"
check "the operator reads that one site has no labels" says "$plan" 'site-4 .*cannot take part: labels'
check "and another too few people" says "$plan" 'site-5 .*cannot take part: subjects$'
check "and that a third does not say" says "$plan" 'site-3 .*does not say'
check "counts are told as buckets" says "$plan" 'site-0 .*people fewer than 5'
check "four of six can take part" says "$plan" '^sites: 4 of 6 can'
check "programs read the same" sh -c \
  "'$coordinator' status --json --home '$hub' | tr -d ' \t\n' | grep -q '\"site\":\"site-4\",\"here\":true,\"fits\":\"no\",\"unmet\":\"labels'"

check "the steward sees why, and that the reason was not told" sh -c \
  "'$node' plan show '$plan' --home '$work/site-5' | grep -q 'subjects .*no .*not told: .*has 1 subjects, the plan asks for 2'"
check "who does not say has told nothing" sh -c \
  "'$node' plan show '$plan' --home '$work/site-3' | grep -q 'nothing was said'"
logged() { "$audit" show "$work/$1/audit" | grep fit.answered | grep -q "$2"; }
check "the answer is in the site's audit log" logged site-4 'unmet.*labels'
check "and in the coordinator's" sh -c "'$audit' show '$hub/audit' | grep member.fit | grep -q labels"
check "neither file nor reason reached the hub" sh -c \
  "! grep -rqE 'Subject|asks for 2|_one.edf' '$hub' '$work/hub.log'"

check "a plan that nobody can meet is submitted" "$coordinator" submit "$work/large.yaml" --home "$hub"
check "every site answers that, too" wait_for 60 answered "$large"
check "the recordings are too few, the channels are there" says "$large" 'site-0 .*cannot take part: recordings$'
refused "it cannot be started; the sites and the rule are named" \
  'can take part, a round needs 4.*site-0 \(recordings\)' "$coordinator" start "$work/large.yaml" --home "$hub"
check "nothing was sealed for it" sh -c "'$coordinator' status --home '$hub' | grep -q 'manifest not sealed yet'"

check "the first plan starts, and names who is missing" sh -c \
  "'$coordinator' start '$work/plan.yaml' --home '$hub' | grep -q 'site-5 .*cannot take part: subjects'"
check "the run finishes" timeout 200 "$coordinator" watch --home "$hub"
check "with the four that can" sh -c "grep 'round.opened' '$work/hub.log' | grep -q 'cohort=4'"
check "those who cannot were never invited" sh -c "! grep -qE 'round.(joined|refused)' '$work/site-4.log' '$work/site-5.log'"

kill -TERM "$(pid_of site-0)"
wait "$(pid_of site-0)" 2>/dev/null || true
check "a receipt has the answers" sh -c "'$node' egress --home '$work/site-0' --round 0 | grep -q 'fit '"
for k in 0 3 4; do check "the audit log of site-$k verifies" "$audit" verify "$work/site-$k/audit"; done
check "and the coordinator's" "$audit" verify "$hub/audit"
