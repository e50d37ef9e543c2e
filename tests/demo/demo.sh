#!/bin/sh
# The main job, for real: one coordinator and six nodes, each its own process with its own
# folder, keys and certificate, train one model on EEGMAT. Called by ./run demo.
set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")/../.." && pwd)
bin=${NEUROX_BIN:?called by ./run demo}
coordinator=$bin/coordinator/neurox-coordinator
node=$bin/node/neurox-node
audit=$bin/crypto/neurox-audit
report=$bin/tests/demo/neurox-demo-report
cache=${XDG_CACHE_HOME:-$HOME/.cache}/neurox/eegmat_100Hz
n_sites=6

folds=0 rounds= private= drop= data= synthetic= seed= json= keep=

say() { printf '%s\n' "$*" >&2; }
die() { say "demo: $*"; exit 1; }
need_value() { [ $# -ge 2 ] || die "$1 needs a value: ./run help"; }

while [ $# -gt 0 ]; do
  case $1 in
    --drop-one) drop=1; shift; continue ;;
    --dp) private=1; shift; continue ;;
    --synthetic) synthetic=1; shift; continue ;;
    --folds | --fold | --rounds | --data | --seed | --json | --keep) need_value "$@" ;;
    *) die "there is no option '$1': ./run help" ;;
  esac
  case $1 in
    --fold | --folds) folds=$2 ;;
    --rounds) rounds=$2 ;;
    --data) data=$2 ;;
    --seed) seed=$2 ;;
    --json) json=$2 ;;
    --keep) keep=$2 ;;
  esac
  shift 2
done
[ "$folds" != all ] || folds=0,1,2,3,4,5
case ",$folds," in *[!0-5,]* | *,,*) die "--folds takes all, or numbers 0 to 5 with commas" ;; esac
case $rounds in *[!0-9]*) die "--rounds takes a number" ;; esac
case $seed in *[!0-9]*) die "--seed takes a number" ;; esac

if [ -n "$keep" ]; then
  mkdir -p "$keep"
  [ -z "$(ls -A "$keep")" ] || die "--keep $keep: the folder is not empty; name another"
  work=$(CDPATH='' cd -- "$keep" && pwd)
else
  work=$(mktemp -d "${TMPDIR:-/tmp}/neurox-demo.XXXXXX")
fi
pids=
stop_all() {
  for pid in $pids; do kill "$pid" 2>/dev/null || true; done
  for pid in $pids; do wait "$pid" 2>/dev/null || true; done
  pids=
}
finish() {
  status=$?
  trap '' INT TERM
  stop_all
  if [ "$status" != 0 ] && [ -z "$keep" ]; then
    say "demo: the logs are in $work"
  elif [ -z "$keep" ]; then
    rm -rf "$work"
  fi
  exit "$status"
}
trap finish EXIT
trap 'exit 130' INT TERM

# ---- recordings ---------------------------------------------------------------------------

has_eegmat() { [ -r "$1/Subject00_rest.edf" ] && [ -r "$1/Subject35_arith.edf" ]; }

# Fills the cache from PhysioNet, checked against the checksums that travel with this
# script, and cut to 100 Hz. Fails quietly where there is no network.
download_eegmat() {
  from=https://physionet.org/files/eegmat/1.0.0
  raw=$cache.raw
  mkdir -p "$raw"
  curl -fsS --connect-timeout 8 --max-time 20 -o "$raw/RECORDS" "$from/RECORDS" 2>/dev/null || return 1
  say "EEGMAT: fetching 72 recordings (about 180 MB, once) into $cache"
  while read -r sum file; do
    printf '%s  %s\n' "$sum" "$raw/$file" | sha256sum -c --status 2>/dev/null && continue
    curl -fsS --retry 3 -o "$raw/$file" "$from/$file" || return 1
    printf '%s  %s\n' "$sum" "$raw/$file" | sha256sum -c --status || die "$file from PhysioNet has another checksum"
    [ ! -t 2 ] || printf '\r  %s ' "$file" >&2
  done <"$root/tests/demo/physionet.sha256"
  "$node" cut "$raw" "$cache" || return 1
  rm -rf "$raw"
}

find_recordings() {
  kind=eegmat
  [ -z "$synthetic" ] || { make_synthetic; return; }
  if [ -n "$data" ]; then
    has_eegmat "$data" || die "--data $data: no Subject00_rest.edf … Subject35_arith.edf in it"
    return
  fi
  for place in "${NEUROX_DATA:-}" "${NEUROX_DATA:-/nonexistent}/eegmat_100Hz" "$root/../shared/data/eegmat_100Hz" "$cache"; do
    if [ -n "$place" ] && has_eegmat "$place"; then data=$place; return; fi
  done
  if download_eegmat; then data=$cache; return; fi
  say "EEGMAT is neither here nor to be had: using a generated cohort"
  make_synthetic
}

make_synthetic() {
  kind=synthetic
  data=$work/synthetic
  "$node" synth --out "$data" --subjects 36 --seed "${seed:-1}"
}

# Site k of fold h: links to the recordings of the six people with subject mod 6 = k.
site_recordings() {
  mkdir -p "$2"
  for file in "$data"/Subject*_*.edf; do
    name=${file##*/}
    subject=${name#Subject}
    subject=${subject%%_*}
    subject=${subject#0}
    [ "$((subject % n_sites))" != "$1" ] || ln -s "$file" "$2/$name"
  done
  [ ! -e "$data/SYNTHETIC" ] || ln -s "$data/SYNTHETIC" "$2/SYNTHETIC"
}

# ---- one fold -----------------------------------------------------------------------------

plan_for_demo() {
  [ -z "$private" ] && plan=plan-eegmat.yaml || plan=plan-eegmat-dp.yaml
  cp "$root/configs/$plan" "$work/plan.yaml"
  [ -z "$rounds" ] || sed -i "s/^  rounds: .*/  rounds: $rounds/" "$work/plan.yaml"
  [ -z "$seed" ] || sed -i "s/^seed: .*/seed: $seed/" "$work/plan.yaml"
  total_rounds=$(sed -n 's/^  rounds: *\([0-9]*\).*/\1/p' "$work/plan.yaml")
  [ -z "$drop" ] || [ "$total_rounds" -ge 5 ] || die "--drop-one needs at least 5 rounds"
}

# Runs a node until it is told to stop. One that dies in its drill is started again, without
# the drill, and rejoins: what a service manager would do.
run_node() { # SITE [OPTION…]
  site=$1
  shift
  child=
  trap 'kill "$child" 2>/dev/null; wait "$child" 2>/dev/null; exit 0' TERM INT
  "$node" run --home "$fold_dir/site-$site" "$@" >>"$fold_dir/site-$site.log" 2>&1 &
  child=$!
  status=0
  wait "$child" || status=$?
  [ "$status" = 137 ] || exit "$status"
  # Longer than the coordinator waits for a lost line (5 s): a node that is back at once may
  # finish the upload it had begun, and then nothing has to be recovered.
  sleep 7
  "$node" run --home "$fold_dir/site-$site" >>"$fold_dir/site-$site.log" 2>&1 &
  child=$!
  wait "$child"
}

wait_for() { # SECONDS WORDS COMMAND…: polls until the command succeeds
  limit=$1 words=$2
  shift 2
  tries=0
  until "$@" >/dev/null 2>&1; do
    tries=$((tries + 1))
    [ "$tries" -le "$((limit * 10))" ] || die "$words: nothing after $limit s; see $fold_dir"
    sleep 0.1
  done
}

start_coordinator() {
  "$coordinator" init --home "$fold_dir/hub" --name "EEGMAT demo" \
    --address 127.0.0.1:0 --enrol-address 127.0.0.1:0 >"$fold_dir/init.log" 2>&1 ||
    { cat "$fold_dir/init.log" >&2; die "the coordinator could not be set up"; }
  "$coordinator" serve --home "$fold_dir/hub" >"$fold_dir/hub.log" 2>&1 &
  pids="$pids $!"
  wait_for 20 "the coordinator does not answer" "$coordinator" status --home "$fold_dir/hub"
}

# Invitation file, fingerprint "by telephone", keys made at the site, certificate fetched.
enrol_site() {
  "$coordinator" invite "site-$1" --home "$fold_dir/hub" --out "$fold_dir/site-$1.invitation" \
    >"$fold_dir/invite-$1.log"
  fingerprint=$(sed -n 's/^fingerprint: *//p' "$fold_dir/invite-$1.log")
  "$node" init "$fold_dir/site-$1.invitation" --fingerprint "$fingerprint" \
    --home "$fold_dir/site-$1" --data "$fold_dir/recordings-$1" --fold "$fold" \
    >"$fold_dir/site-$1.log" 2>&1 || { tail -n 3 "$fold_dir/site-$1.log" >&2; die "site-$1 could not enrol"; }
}

drill_of() {
  case $drop$1 in
    12) echo "--drill kill-after-shares@4" ;;
    14) echo "--drill kill-mid-upload@6" ;;
  esac
}

run_federation() {
  start_coordinator
  for k in 0 1 2 3 4 5; do
    site_recordings "$k" "$fold_dir/recordings-$k"
    enrol_site "$k"
    # Each steward reads the plan and says yes; without that, the node would refuse it.
    "$node" plan show "$work/plan.yaml" --home "$fold_dir/site-$k" >"$fold_dir/plan-$k.txt" &&
      "$node" plan approve "$work/plan.yaml" --home "$fold_dir/site-$k" >>"$fold_dir/site-$k.log" ||
      die "site-$k could not approve the plan"
  done
  for k in 0 1 2 3 4 5; do
    # shellcheck disable=SC2046
    run_node "$k" $(drill_of "$k") &
    pids="$pids $!"
  done
  "$coordinator" start "$work/plan.yaml" --home "$fold_dir/hub" >"$fold_dir/start.log" 2>&1 ||
    { tail -n 3 "$fold_dir/start.log" >&2; die "the plan did not start"; }
  "$coordinator" watch --home "$fold_dir/hub" ||
    die "the run did not finish; see $fold_dir/hub.log"
  "$coordinator" status --json --home "$fold_dir/hub" >"$fold_dir/status.json"
  "$coordinator" export --as-sealed --home "$fold_dir/hub" --out "$fold_dir/model.safetensors" >"$fold_dir/export.log" 2>&1
  sleep 0.5 # the nodes seal what they have just checked
  stop_all
}

verify_logs() {
  verified=0 failed=0
  for log in "$fold_dir/hub/audit" "$fold_dir"/site-[0-5]/audit; do
    if "$audit" verify "$log" >>"$fold_dir/audit.txt" 2>&1; then
      verified=$((verified + 1))
    else
      failed=$((failed + 1))
    fi
  done
  printf '{"verified": %d, "failed": %d}\n' "$verified" "$failed" >"$fold_dir/audit.json"
}

compare_arms() {
  show=
  [ ! -t 2 ] || show=--progress
  say "fold $fold: the same task local-only, centralised and linear, for comparison"
  # shellcheck disable=SC2086
  "$node" compare --data "$data" --plan "$work/plan.yaml" --sites "$n_sites" --fold "$fold" \
    --model "$fold_dir/model.safetensors" --scores "$fold_dir/scores.tsv" $show >"$fold_dir/compare.tsv"
}

# Under differential privacy no score leaves a site: each scores the model for itself, and only
# this script, which holds all recordings, puts the scores together.
score_at_sites() {
  for k in 0 1 2 3 4 5; do
    "$node" evaluate "$fold_dir/model.safetensors" --plan "$work/plan.yaml" --home "$fold_dir/site-$k" \
      --out "$fold_dir/scores-$k.tsv" 2>>"$fold_dir/evaluate.log" || die "site-$k could not score the model"
  done
  cat "$fold_dir"/scores-[0-5].tsv | awk -F '\t' '$1 != "subject" { print $5 "\t" $4 }' | LC_ALL=C sort -g |
    awk -F '\t' '{ n++; s[n] = $1; l[n] = $2 }
      END { for (i = 1; i <= n; i = j) { for (j = i; j <= n && s[j] == s[i]; j++); for (k = i; k < j; k++) if (l[k] == 1) r += (i + j - 1) / 2 }
            for (i = 1; i <= n; i++) p += l[i]; print (r - p * (p + 1) / 2) / (p * (n - p)), n }' >"$fold_dir/auroc"
  read -r auroc windows <"$fold_dir/auroc"
  printf 'fold %s: AUROC %.3f over %s held-out windows (%s); chance is 0.5\n' "$fold" "$auroc" "$windows" "$kind"
  for k in 0 1 2 3 4 5; do
    printf 'site-%s: ' "$k"
    "$node" ledger --home "$fold_dir/site-$k" | sed -n 's/^  plan /plan /p'
  done
  printf 'audit logs: %s verified, %s failed\n' "$verified" "$failed"
}

# ---- all of it ----------------------------------------------------------------------------

started=$(date +%s)
find_recordings
plan_for_demo
say "$kind: 36 people at $n_sites sites of six; folds $folds; $total_rounds training rounds; in $work"
run_folds=
for fold in $(printf '%s' "$folds" | tr ',' ' '); do
  fold_dir=$work/fold-$fold
  mkdir -p "$fold_dir"
  run_federation
  verify_logs
  if [ -n "$private" ]; then score_at_sites; else compare_arms; fi
  run_folds="$run_folds $fold"
done
if [ -n "$private" ]; then
  [ -z "$keep" ] || say "kept in $work: logs, models, scores"
  exit 0
fi
for fold in $run_folds; do
  [ -s "$work/scores.tsv" ] && skip_heading=2 || skip_heading=1
  tail -n "+$skip_heading" "$work/fold-$fold/scores.tsv" >>"$work/scores.tsv"
done
# shellcheck disable=SC2086
"$report" "$work" "$(($(date +%s) - started))" "${json:--}" $run_folds
cat "$work"/fold-*/audit.txt | grep -v ': VERIFIED' >&2 || true
[ -z "$keep" ] || say "kept in $work: logs, models, scores.tsv"
