#!/bin/sh
# Six institutions with nothing in common but a plan: BIDS trees of scalp EEG (EDF), of sEEG and ECoG
# (EDF with channels.tsv, electrodes.tsv, coordsystem.json), of MEG (FIF) and of fMRI (NIfTI), folders
# of calcium events of a mouse (MAT) and of spike counts of a monkey (MAT) train one network.
# Real recordings, real processes; one of the sites also has a file that cannot be read and goes on
# without it, as its steward said.
. tests/e2e/lib.sh

data=$(cd "${NEUROX_SHARED_DATA:-../shared/data}" 2>/dev/null && pwd) || data=
if [ -z "$data" ] || [ ! -f "$data/README.md" ]; then
  [ "${NEUROX_REQUIRE_DATA:-}" != 1 ] || { echo "Bail out! the shared recordings are missing"; exit 1; }
  skip "a federation of unlike sites trains one network" "the shared recordings are not here"
  exit 0
fi

# ---- the sites' folders ---------------------------------------------------------------------

tree() { # SITE: a BIDS tree begins
  mkdir "$work/$1.data"
  echo "{\"Name\": \"$1\", \"BIDSVersion\": \"1.11.0\"}" >"$work/$1.data/dataset_description.json"
}
for site in eeg ecog meg fmri; do tree "$site"; done
for site in mouse monkey; do mkdir "$work/$site.data"; done
for person in 00 05; do
  mkdir -p "$work/eeg.data/sub-$person/eeg"
  cp "$data/eegmat_500Hz/Subject${person}_2.edf" "$work/eeg.data/sub-$person/eeg/sub-${person}_task-arith_eeg.edf"
done
echo '{"TaskName": "arith", "EEGReference": "linked ears", "SamplingFrequency": 500, "PowerLineFrequency": 50,
  "SoftwareFilters": "n/a"}' >"$work/eeg.data/task-arith_eeg.json"
echo "0       this is no recording" >"$work/broken.edf"

# Its ECoG electrodes are in metres and said to be in mm: these places must not be used.
ieeg=$work/ecog.data/sub-pat01/ses-test/ieeg
mkdir -p "$ieeg"
for acq in ecog seeg; do
  cp "$data/human_ieeg_mne_misc/sub-pat01_ses-test_acq-${acq}"_*.tsv \
    "$data/human_ieeg_mne_misc/sub-pat01_ses-test_acq-${acq}"_*.json "$ieeg"
  cp "$data/human_ieeg_mne_misc/sub-pat01_ses-test_acq-${acq}_ieeg.edf" \
    "$ieeg/sub-pat01_ses-test_task-seizure_acq-${acq}_ieeg.edf"
done
mkdir -p "$work/meg.data/sub-sample/meg"
cp "$data/mne_formats/SSS/sample_audvis_trunc_raw_sss.fif" \
  "$work/meg.data/sub-sample/meg/sub-sample_task-audvis_meg.fif"
cp "$data"/mouse_hpc_calcium_ziv/CA1/C8M2_*.mat "$work/mouse.data"
rm "$work/mouse.data/C8M2_stimulus_trace.mat"
echo '{"rate_hz": 10, "type": "calcium", "unit": "events", "data": "spike_train"}' \
  >"$work/mouse.data/C8M2_spike_train.json"
cp "$data/monkey_m1_dad/DAD_mihi_demo.mat" "$work/monkey.data/mihi_demo.mat"
echo '{"rate_hz": 5, "type": "spikes", "unit": "Hz", "data": ["Ytr", "Yte"]}' \
  >"$work/monkey.data/mihi_demo.json"
echo '{"TaskName": "audvis", "SamplingFrequency": 300.307, "PowerLineFrequency": 60, "DewarPosition": "upright",
  "SoftwareFilters": "n/a", "DigitizedLandmarks": true, "DigitizedHeadPoints": true}' >"$work/meg.data/task-audvis_meg.json"
mkdir -p "$work/fmri.data/sub-001/func"
for run in 1 2; do
  cp "$data/fmri_haxby_pymvpa/haxby2001/sub001/BOLD/task001_run00$run/bold_25mm.nii.gz" \
    "$work/fmri.data/sub-001/func/sub-001_task-objects_run-${run}_bold.nii.gz"
done
echo '{"TaskName": "objects", "RepetitionTime": 2.5}' >"$work/fmri.data/task-objects_bold.json"

# Of the 88 sEEG contacts that have a place the first is bad; what has none is a trigger or an ECG.
awk -F'\t' 'NR == 1 { print "name\ttype\tunits\tstatus"; next }
  { print $1 "\t" ($2 == "n/a" ? "MISC" : "SEEG") "\tuV\t" (NR == 2 ? "bad" : "good") }' "$ieeg/sub-pat01_ses-test_acq-seeg_electrodes.tsv" \
  >"$ieeg/sub-pat01_ses-test_acq-seeg_channels.tsv"
placed=87

# ---- joining --------------------------------------------------------------------------------

describe() { # SITE SPECIES MODALITY
  sed -e "s/^data:\$/data:\\n  species: $2\\n  modality: $3/" \
    -e "s/^  allow_identifying_headers: .*/  allow_identifying_headers: true/" \
    "$work/$1/node.yaml" >"$work/node.yaml"
  cp "$work/node.yaml" "$work/$1/node.yaml"
}
join() { # SITE SPECIES MODALITY
  invite "$1"
  "$node" init "$work/$1.invitation" --fingerprint "$(fingerprint_of "$work/$1.invite")" \
    --home "$work/$1" --data "$work/$1.data" --approval auto >"$work/$1.log" 2>&1 || cat "$work/$1.log" >&2
  describe "$@"
}

start_hub
join eeg human eeg
join ecog human ieeg
join meg human meg
join mouse mouse calcium
join monkey monkey spikes
join fmri human fmri
mkdir -p "$work/eeg.data/sub-02/eeg"
cp "$work/broken.edf" "$work/eeg.data/sub-02/eeg/sub-02_task-arith_eeg.edf" # came after the node was set up
sed 's/^data:$/data:\n  broken_files: skip/' "$work/eeg/node.yaml" >"$work/node.yaml"
cp "$work/node.yaml" "$work/eeg/node.yaml"
for site in eeg ecog meg mouse monkey fmri; do run_site "$site"; done

# ---- a run ----------------------------------------------------------------------------------

# Windows of two patches: the MEG recording lasts one second.
sed -e 's/^  patches: .*/  patches: 2/' -e 's/^  seconds: .*/  seconds: 1/' \
  -e 's/^  rounds: .*/  rounds: 2/' -e 's/^  local_steps: .*/  local_steps: 2/' \
  -e 's/^  batch: .*/  batch: 4/' -e 's/^  blocks: .*/  blocks: 2/' \
  -e 's/^  warmup_steps: .*/  warmup_steps: 1/' -e 's/^  training_seconds: .*/  training_seconds: 300/' \
  configs/plan-general.yaml >"$work/plan.yaml"
check "the plan starts" "$coordinator" start "$work/plan.yaml" --home "$hub"
check "the run finishes" timeout 300 "$coordinator" watch --home "$hub"
sealed() { [ "$(grep -c round.sealed "$work/$1.log")" -ge 3 ]; }
for site in eeg ecog meg mouse monkey fmri; do
  check "the $site site sealed every round" wait_for 60 sealed "$site"
done
check "the file that could not be read is named in its site's log, and only there" \
  sh -c "grep -q 'recording.skipped.*sub-02_task-arith_eeg.edf' '$work/eeg.log' && ! grep -rq sub-02 '$hub' '$work/hub.log'"
used() { # SITE RECORDINGS CHANNELS of its tree
  grep data.channels "$work/$1.log" | head -n 1 | grep -q "recordings=$2 channels=$3 "
}
check "both people of the EEG tree are used" used eeg 2 40
check "the MEG tree's magnetometers and gradiometers are used" used meg 1 306
check "both runs of the fMRI tree are used" used fmri 2 '[0-9]*'
for site in eeg meg fmri; do
  "$node" check "$work/$site.data" --no-page --no-samples >"$work/$site.checked" 2>&1
  check "the $site tree is valid BIDS" grep -q "valid BIDS: yes" "$work/$site.checked"
done
check "and its check names the broken file" sh -c \
  "grep -A1 neurox.unreadable '$work/eeg.checked' | grep -q sub-02"
told_of_ecog() { grep data.channels "$work/ecog.log" | head -n 1 | tr ' ' '\n' | sed -n "s/^$1=//p"; }
check "both recordings of the BIDS tree are used" [ "$(told_of_ecog recordings)" = 2 ]
check "the bad channel is left out" [ "$(told_of_ecog left_out)" -ge 1 ]
check "the places of the sEEG contacts are used, and those of the ECoG, whose unit is wrong, are not" \
  [ "$(told_of_ecog placed)" = "$placed" ]
check "and the steward is told" grep -q electrodes.unused "$work/ecog.log"
check "nobody dropped out" sh -c "! grep -q data.unusable '$work'/*.log"
check "the model can be exported" "$coordinator" export --as-sealed --home "$hub" --out "$work/model.safetensors"
hash=$(sha256sum "$work/model.safetensors" | cut -c1-64)
for site in eeg ecog meg mouse monkey fmri; do
  check "the $site site holds the very same model" test -f "$work/$site/models/$hash"
done
mkdir "$work/written"
for site in mouse ecog; do # two tokenisers read the ECoG
  check "the $site site embeds its recordings" "$node" embed "$work/model.safetensors" \
    --plan "$work/plan.yaml" --home "$work/$site" --out "$work/written/$site"
  check "and every window has its row" sh -c "tail -n +2 '$work/written/$site.tsv' | \
    awk -F '\t' -v size=\$(wc -c <'$work/written/$site.npy') '\$1 != NR - 1 { exit 1 } END { exit size != 128 + NR * 64 * 4 }'"
done
check "ECoG is embedded by both of its tokenisers" sh -c \
  "cut -f 4 '$work/written/ecog.tsv' | sort -u | tr '\\n' ' ' | grep -q '^ieeg ieeg-fast tokeniser'"
refused "a model without a head predicts nothing" "trained for reconstruction.*no head" "$node" predict \
  "$work/model.safetensors" --plan "$work/plan.yaml" --home "$work/mouse" --out "$work/written/none"
check "and leaves no file" sh -c "! ls '$work/written/none'*"
# Names of tensors that are not the same in two model files must all be of blocks' matrices.
cat >"$work/differ" <<'EOF'
#!/usr/bin/python3
import json, struct, sys
def read(path):
    raw = open(path, "rb").read()
    end = 8 + struct.unpack("<Q", raw[:8])[0]
    header = json.loads(raw[8:end])
    header.pop("__metadata__")
    return {k: raw[end + t["data_offsets"][0]:end + t["data_offsets"][1]] for k, t in header.items()}
a, b = read(sys.argv[1]), read(sys.argv[2])
moved = {k for k in a if a[k] != b[k]}
wanted = {k for k in a if k.startswith("block.") and k.endswith(".weight")}
print(sorted(moved ^ wanted))
sys.exit(a.keys() != b.keys() or moved != wanted)
EOF
chmod +x "$work/differ"
# 2 blocks; rank 4 on 4 matrices of 64 x 64 and 3 of 64 x 192
adapter_values=$((2 * 4 * (4 * (64 + 64) + 3 * (64 + 192))))

# ---- another plan starts from that model ---------------------------------------------------------

sed -e 's/^name: .*/name: general-further/' -e 's/^  objective: .*/  objective: next-patch/' \
  -e 's/^  rounds: .*/  rounds: 1/' "$work/plan.yaml" >"$work/further.yaml"
cat >>"$work/further.yaml" <<EOF
adapters: {rank: 4, alpha: 8, attention: true, feed_forward: true, head: false, base: nf4}
initial_model:
  sha256: $(printf '%064d' 0)
EOF
"$coordinator" import "$work/model.safetensors" --plan "$work/further.yaml" --sha256 "$hash" \
  --home "$hub" >"$work/imported" 2>&1 || cat "$work/imported" >&2
from=$(sed -n 's/^  sha256: //p' "$work/imported")
sed -i "s/^  sha256: 0*\$/  sha256: $from/" "$work/further.yaml"
refused "a model with another hash than was said is not imported" "not what --sha256 says" \
  "$coordinator" import "$work/model.safetensors" --plan "$work/further.yaml" --sha256 "0$hash" --home "$hub"
head -c 100000 "$work/model.safetensors" >"$work/cut.safetensors"
refused "nor one that was cut short" "cut.safetensors: import" \
  "$coordinator" import "$work/cut.safetensors" --plan "$work/further.yaml" --home "$hub"
sed "s/^  sha256: ..../  sha256: 0000/" "$work/further.yaml" >"$work/unknown.yaml"
refused "a plan whose first model is not there does not start" "initial_model 0000.*import" \
  "$coordinator" start "$work/unknown.yaml" --home "$hub"
check "a plan that names the imported model starts" "$coordinator" start "$work/further.yaml" --home "$hub"
check "and finishes" timeout 300 "$coordinator" watch --home "$hub"
"$coordinator" export --home "$hub" --out "$work/further.safetensors" >"$work/said" 2>&1
check "the new model says what it started from" grep -q "$from" "$work/further.safetensors.participation.json"
check "what leaves a site is the adapters alone" sh -c \
  "'$node' plan show '$work/further.yaml' --home '$work/mouse' | grep -q 'vector of $adapter_values values'"
"$coordinator" export --merged --home "$hub" --out "$work/merged.safetensors" >"$work/said" 2>&1
check "adapters moved the blocks and nothing else of the network" sh -c \
  "'$work/differ' '$work/model.safetensors' '$work/merged.safetensors'"
check "a site embeds with the adapters" "$node" embed "$work/further.safetensors" \
  --plan "$work/further.yaml" --home "$work/mouse" --out "$work/written/adapted"
"$coordinator" export --weights int8 --home "$hub" --out "$work/int8.safetensors" >"$work/said" 2>&1
check "in int8 the model is smaller" sh -c \
  "[ \$(stat -c %s '$work/int8.safetensors') -lt \$(stat -c %s '$work/merged.safetensors') ]"
check "a site embeds with it" "$node" embed "$work/int8.safetensors" \
  --plan "$work/further.yaml" --home "$work/mouse" --out "$work/written/int8"
check "what it wrote says so" grep -q '"weights":.*"int8"' "$work/written/int8.json"
for log in "$hub/audit" "$work"/eeg/audit "$work"/ecog/audit "$work"/meg/audit \
  "$work"/mouse/audit "$work"/monkey/audit "$work"/fmri/audit; do
  check "the audit log of $(basename "$(dirname "$log")") verifies" "$audit" verify "$log"
done
