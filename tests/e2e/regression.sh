#!/bin/sh
# Two monkeys (motor cortex) and a mouse (hippocampus), each at an institution of its own, train one head
# that says from their cells how fast they move. The hub sees sums; what it says of the held-out part is
# what the sites' own predictions say together. Beside it the same by ridge regression at one site.
# Then the same sites train a reconstruction whose prototypes of still and moving are of all of them; and
# three monkeys' sites speed in cm/s by the federation's mean and SD, and a classifier of still and moving,
# whose predictions PyTorch makes once more.
# Real recordings, real processes. --long: trained longer, for docs/models.md.
. tests/e2e/lib.sh

long=
[ "${1:-}" != --long ] || long=1
data=$(cd "${NEUROX_SHARED_DATA:-../shared/data}" 2>/dev/null && pwd) || data=
if [ -z "$data" ] || [ ! -f "$data/README.md" ]; then
  [ "${NEUROX_REQUIRE_DATA:-}" != 1 ] || { echo "Bail out! the shared recordings are missing"; exit 1; }
  skip "a federation learns how fast animals move" "the shared recordings are not here"
  exit 0
fi

monkey() { # ID UNIT: Ytr to train on, Yte held out
  mkdir "$work/$1.data"
  cp "$data/monkey_m1_dad/DAD_$1_demo.mat" "$work/$1.data/$1.mat"
  echo "{\"rate_hz\": 5, \"type\": \"spikes\", \"unit\": \"$2\", \"data\": [\"Ytr\", \"Yte\"],
    \"behaviour\": {\"data\": [\"Xtr\", \"Xte\"], \"unit\": \"cm/s\"}}" >"$work/$1.data/$1.json"
  printf 'file\tsubject\n%s.mat#0\t%s\n%s.mat#1\t%s-later\n' "$1" "$1" "$1" "$1" >"$work/$1.data/labels.tsv"
}
monkey chewie ""
monkey mihi Hz
mkdir "$work/mouse.data"
cp "$data"/mouse_hpc_calcium_ziv/CA1/C8M2_*.mat "$work/mouse.data"
echo '{"rate_hz": 10, "type": "calcium", "unit": "events", "data": "spike_train", "behaviour":
  {"file": "C8M2_stimulus_trace.mat", "data": "stimulus_trace", "names": ["position"], "unit": "bin"}}' \
  >"$work/mouse.data/C8M2_spike_train.json"
{ # two sessions, a third held out
  printf 'file\tsubject\n'
  printf 'C8M2_spike_train.mat#%s\n' "0	mouse" "1	mouse" "2	mouse-later"
} >"$work/mouse.data/labels.tsv"

start_hub
join() { # SITE SPECIES MODALITY HELD-OUT
  invite "$1"
  "$node" init "$work/$1.invitation" --fingerprint "$(fingerprint_of "$work/$1.invite")" \
    --home "$work/$1" --data "$work/$1.data" --approval auto >"$work/$1.log" 2>&1 || cat "$work/$1.log" >&2
  sed -e "s|^data:\$|data:\\n  species: $2\\n  modality: $3\\n  behaviour: $PWD/configs/behaviour.yaml|" \
    -e "s|^  held_out: .*|  held_out: [$4]|" "$work/$1/node.yaml" >"$work/node.yaml"
  cp "$work/node.yaml" "$work/$1/node.yaml"
}
join chewie monkey spikes chewie-later
join mihi monkey spikes mihi-later
join mouse mouse calcium mouse-later
for site in chewie mihi mouse; do run_site "$site"; done

cut_down() { sed -e 's/^  rounds: .*/  rounds: 2/' -e 's/^  local_steps: .*/  local_steps: 5/' -e 's/^  batch: .*/  batch: 4/'; }
[ -z "$long" ] || cut_down() { sed -e 's/^  rounds: .*/  rounds: 13/' -e 's/^  local_steps: .*/  local_steps: 20/' -e 's/^  batch: .*/  batch: 8/'; }
cut_down <configs/plan-regression.yaml >"$work/plan.yaml"
check "the steward is told what is learnt" sh -c \
  "'$node' plan show '$work/plan.yaml' --home '$work/mouse' | grep -q 'learns to say from any any speed in this site.s own SDs'"
check "the plan starts" "$coordinator" start "$work/plan.yaml" --home "$hub"
"$coordinator" watch --home "$hub" >"$work/watched" 2>&1 &
watching=$!
pids="$pids $watching"
check "the run finishes" timeout "${long:+1}300" "$coordinator" watch --home "$hub"
wait "$watching" || true
check "who watches sees how well it does" grep -q "R squared -\{0,1\}[0-9.]*  correlation" "$work/watched"
r_squared=$(status_value r_squared)
check "and so does who asks later" sh -c "printf '%s' '$r_squared' | grep -Eq '^-?[0-9.e-]+\$'"
check "no class is invented" sh -c "! grep -q AUROC '$work/watched'"
check "the model can be exported" "$coordinator" export --home "$hub" --out "$work/model.safetensors"
mkdir "$work/said.d"
for site in chewie mihi mouse; do
  check "$site predicts" "$node" predict "$work/model.safetensors" --plan "$work/plan.yaml" \
    --home "$work/$site" --out "$work/said.d/$site"
done
check "per recording it says how close it comes" "$node" predict "$work/model.safetensors" --per recording \
  --plan "$work/plan.yaml" --home "$work/chewie" --out "$work/said.d/recordings"
check "of both of them" sh -c "head -n 1 '$work/said.d/recordings.tsv' | grep -q 'speed_r_squared	speed_correlation' &&
  [ \$(wc -l <'$work/said.d/recordings.tsv') = 3 ]"
status=0
/usr/bin/python3 tests/oracle/regression_ridge.py "$data" "$work/said.d" "$r_squared" >"$work/oracle" 2>&1 || status=$?
if [ "$status" = 77 ]; then
  skip "the sums say what the predictions say, and speeds are right" "no scipy for /usr/bin/python3"
else
  check "the sums say what the predictions say, and speeds are right" sh -c "cat '$work/oracle'; exit $status"
fi
sed 's/^/# /' "$work/oracle"

# ---- prototypes of behaviour, of two species ----------------------------------------------------

# Nobody sleeps here: that class has no windows. Windows of two patches: 0.4 s of a monkey, 1 s of a mouse.
{
  cut_down <configs/plan-regression.yaml |
    sed -e '/^regression:/,$ { /^regression:/d; /^  /d; }' -e 's/^  objective: .*/  objective: reconstruction/' \
      -e 's/^name: .*/name: behaviour/' -e 's/^  patches: .*/  patches: 2/' -e 's/^  seconds: .*/  seconds: 1/'
  echo 'prototypes: {classes: [sleep, still, moving], weight: 0.1, temperature: 0.1, minimum_count: 64}'
} >"$work/behaviour.yaml"
check "the steward is told what of a class leaves" sh -c \
  "'$node' plan show '$work/behaviour.yaml' --home '$work/mouse' | grep -q 'windows of sleep, still, moving lie'"
check "a plan with prototypes starts" "$coordinator" start "$work/behaviour.yaml" --home "$hub"
check "and finishes" timeout 300 "$coordinator" watch --home "$hub"
check "its model can be exported" "$coordinator" export --home "$hub" --out "$work/behaviour.safetensors"
cat >"$work/prototypes" <<'EOF'
import json, struct, sys
raw = open(sys.argv[1], "rb").read()
end = 8 + struct.unpack("<Q", raw[:8])[0]
header = json.loads(raw[8:end])
assert header["__metadata__"]["classes"] == "sleep still moving", header["__metadata__"]
first, last = header["prototypes.mean"]["data_offsets"]
mu = struct.unpack(f"<{(last - first) // 4}f", raw[end + first:end + last])
length = [sum(x * x for x in mu[128 * c:128 * (c + 1)]) for c in range(3)]
print("squared lengths:", length)
sys.exit(not (length[0] == 0 and all(abs(x - 1) < 1e-5 for x in length[1:])))
EOF
check "still and moving have prototypes of length 1, sleep has none" \
  /usr/bin/python3 "$work/prototypes" "$work/behaviour.safetensors"

# ---- targets standardised over the federation, and classes ------------------------------------------

# Behaviour in one unit: the mouse's institution now has a monkey, a second copy of chewie (it counts twice).
kill "$(pid_of mouse)"
wait "$(pid_of mouse)" || true
rm "$work"/mouse.data/*
cp "$work"/chewie.data/* "$work/mouse.data"
sed -i -e 's/^  species: .*/  species: monkey/' -e 's/^  modality: .*/  modality: spikes/' \
  -e 's/^  held_out: .*/  held_out: [chewie-later]/' "$work/mouse/node.yaml"
run_site mouse
check "the third site comes back with a monkey" wait_for 60 connected 3
cut_down <configs/plan-regression.yaml | sed -e 's/^name: .*/name: speed-in-cm/' -e 's|^  unit: .*|  unit: cm/s|' \
  -e 's/^  standardise: .*/  standardise: federation/' -e '/^                              # over all/d' >"$work/cm.yaml"
check "a plan whose targets the federation standardises starts" "$coordinator" start "$work/cm.yaml" --home "$hub"
check "and finishes" timeout 300 "$coordinator" watch --home "$hub"
"$coordinator" export --home "$hub" --out "$work/cm.safetensors" >"$work/said" 2>&1
oracle() { # WORDS ARGUMENT…
  words=$1 status=0
  shift
  /usr/bin/python3 tests/oracle/monkeys_torch.py "$@" >"$work/oracle" 2>&1 || status=$?
  if [ "$status" = 77 ]; then
    skip "$words" "no scipy or PyTorch for /usr/bin/python3"
  else
    check "$words" sh -c "cat '$work/oracle'; exit $status"
  fi
  sed 's/^/# /' "$work/oracle"
}
oracle "its mean and SD are those over all sites' training bins" targets "$data" "$work/cm.safetensors" chewie mihi chewie
check "what it predicts is in cm/s" "$node" predict "$work/cm.safetensors" --plan "$work/cm.yaml" --home "$work/mihi" \
  --out "$work/said.d/cm"
check "as what was recorded is" sh -c "awk -F '\t' 'NR == 1 { for (i = 1; i <= NF; i++) if (\$i == \"speed_recorded\") at = i }
  NR > 1 && \$at != \"n/a\" { n++; sum += \$at } END { exit !(n && sum / n > 2) }' '$work/said.d/cm.tsv'"

cut_down <configs/plan-regression.yaml |
  sed -e '/^regression:/,$ { /^regression:/d; /^  /d; }' -e 's/^  objective: .*/  objective: classification/' \
    -e 's/^name: .*/name: moves/' -e 's/^  patches: .*/  patches: 2/' -e 's/^  seconds: .*/  seconds: 1/' >"$work/moves.yaml"
check "a classifier of many modalities starts" "$coordinator" start "$work/moves.yaml" --home "$hub"
check "and finishes" timeout 300 "$coordinator" watch --home "$hub"
auroc=$(status_value auroc)
check "its AUROC is of the sites' held-out windows" sh -c "printf '%s' '$auroc' | grep -Eq '^[01](\.[0-9]+)?\$'"
"$coordinator" export --home "$hub" --out "$work/moves.safetensors" >"$work/said" 2>&1
check "a site predicts with it" "$node" predict "$work/moves.safetensors" --plan "$work/moves.yaml" \
  --home "$work/chewie" --out "$work/said.d/moves"
oracle "every logit is PyTorch's" logits "$data" "$work/moves.safetensors" "$work/said.d/moves.tsv"

for site in chewie mihi mouse; do
  check "the audit log of $site verifies" "$audit" verify "$work/$site/audit"
done
