#!/bin/sh
# A site whose recordings are a BIDS tree trains with two flat ones; in the middle of the run one of
# its people withdraws, and from the next round on is not used, without a restart.
. tests/e2e/lib.sh

into_bids() { # NAME: the synthetic site's files as a BIDS tree
  for file in "$work/$1.data"/Subject*_*.edf; do
    name=${file##*/Subject}
    person=${name%%_*}
    case $name in *_rest.edf) task=rest ;; *) task=arithmetic ;; esac
    mkdir -p "$work/$1.data/sub-$person/eeg"
    mv "$file" "$work/$1.data/sub-$person/eeg/sub-${person}_task-${task}_eeg.edf"
    grep -q "sub-$person" "$work/$1.people" 2>/dev/null || echo "sub-$person" >>"$work/$1.people"
  done
  { echo participant_id; cat "$work/$1.people"; } >"$work/$1.data/participants.tsv"
  echo '{"Name": "synthetic", "BIDSVersion": "1.11.0"}' >"$work/$1.data/dataset_description.json"
  echo '{"TaskName": "x", "EEGReference": "none", "SamplingFrequency": 200, "PowerLineFrequency": 50,
    "SoftwareFilters": "n/a"}' >"$work/$1.data/task-rest_eeg.json"
  cp "$work/$1.data/task-rest_eeg.json" "$work/$1.data/task-arithmetic_eeg.json"
  rm -f "$work/$1.data/SYNTHETIC"
}

small_plan 8 >"$work/plan.yaml"
start_hub
for k in 0 1 2; do
  synth_site "site-$k" $((4 * k)) 4
  [ $k != 0 ] || into_bids site-0
  enrol "site-$k"
done
check "the BIDS tree is valid and ready" "$node" check "$work/site-0.data" --ready --no-page
for k in 0 1 2; do run_site "site-$k"; done
"$coordinator" start "$work/plan.yaml" --home "$hub" >"$work/start.log" 2>&1
check "a round is over" wait_for 60 grep -q "round.sealed round=2 " "$work/site-0.log"
"$coordinator" pause --home "$hub" >/dev/null 2>&1 # or the last round might come before the withdrawal
check "a person withdraws" "$node" subjects withdraw sub-02 --home "$work/site-0"
check "an id of nobody is kept, with a warning" sh -c \
  "'$node' subjects withdraw sub-2 --home '$work/site-0' 2>&1 >'$work/nobody' | grep -q 'WARNING.*sub-2.*typing error' && grep -q 'withdrawn: sub-2' '$work/nobody'"
check "who is there gets none" sh -c "! '$node' subjects withdraw sub-03 --home '$work/site-0' 2>&1 | grep -q WARNING"
check "the run waits where it was paused" wait_for 60 is_paused
"$coordinator" start "$work/plan.yaml" --home "$hub" >"$work/start.log" 2>&1
check "the run finishes" timeout 150 "$coordinator" watch --home "$hub"
model=$(status_value model_sha256)
wait_for 60 test -f "$work/site-0/models/$model" || true

used() { "$node" subjects used --home "$work/site-0" "$@" 2>/dev/null; }
in_round() { used --round "$1" | grep -q "^02	train"; }
last_out() { used --round 9 | grep -q "^01	" && ! in_round 9; }
marked() { used --model "$model" | grep -q "^02	train	.*	yes$"; }
silent() { ! grep -E "sub-0[0-3]|Subject0" "$work/site-0.log" "$work/hub.log"; }
check "an early round used them" in_round 2
check "the last round did not" last_out
check "the final model is marked: it stands on rounds that did" marked
check "the audit log says that the list changed, by counts" sh -c \
  "'$audit' show '$work/site-0/audit' | grep 'subjects.changed' | grep -q 'withdrawn'"
check "no log names anybody" silent

# The hub learns of it only now, and only which versions.
export_as() { "$coordinator" export --home "$hub" --out "$work/$1.safetensors"; }
check "before the steward says so an export has no mark" sh -c "! '$coordinator' export --home '$hub' --out '$work/before.safetensors' | grep -q MARKED"
check "the steward sees which versions are marked" sh -c \
  "'$node' subjects marked --home '$work/site-0' | grep -q 'marked: model $model'"
check "the steward tells the hub" "$node" subjects marked --tell-hub --home "$work/site-0"
check "the hub writes it down, and the node knows" wait_for 60 grep -q withdrawn.told "$work/site-0.log"
check "the export is marked" sh -c "'$coordinator' export --home '$hub' --out '$work/after.safetensors' | grep -q MARKED"
check "the auditor reads at which site, and that its signature holds" sh -c \
  "'$audit' model '$work/after.safetensors' | tee '$work/model.txt' | grep -q 'MARKED.*withdrawn later at site site-0' && grep -q VERIFIED '$work/model.txt'"
sed 's/"body":\([^"]*\)"\(..\)/"body":\1"00/' "$work/after.safetensors.participation.json" >"$work/forged.json"
check "a mark that somebody changed is false" sh -c \
  "! '$audit' model '$work/forged.json' >'$work/forged.txt' && grep -q 'FAILED.*mark of member' '$work/forged.txt'"
check "the audit logs have it" sh -c \
  "'$audit' show '$work/site-0/audit' | grep -q withdrawn.told && '$audit' show '$hub/audit' | grep -q model.withdrawn"
check "the hub was not told who" sh -c "! grep -rqE 'sub-0|Subject0' '$hub'"
check "all logs verify" "$audit" verify "$hub/audit" "$work/site-0/audit"
