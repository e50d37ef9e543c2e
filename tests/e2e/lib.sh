# Sourced by the end-to-end tests: a hub and its sites as real processes in one folder.
# Prints TAP. BUILD names the build folder; WORK is removed when everything passed.
set -eu

coordinator=$BUILD/coordinator/neurox-coordinator
node=$BUILD/node/neurox-node
audit=$BUILD/crypto/neurox-audit
work=$(mktemp -d "${TMPDIR:-/tmp}/neurox-e2e.XXXXXX")
hub=$work/hub
n_tests=0 n_bad=0 pids=

ok() { n_tests=$((n_tests + 1)); echo "ok $n_tests - $1"; }
not_ok() {
  n_tests=$((n_tests + 1)) n_bad=$((n_bad + 1))
  echo "not ok $n_tests - $1"
  shift
  for line in "$@"; do printf '%s\n' "$line" | tail -n 12 | sed 's/^/# /'; done
}
check() { # WORDS COMMAND…
  words=$1
  shift
  if "$@" >"$work/said" 2>&1; then ok "$words"; else not_ok "$words" "$(cat "$work/said")"; fi
}
skip() { n_tests=$((n_tests + 1)); echo "ok $n_tests - $1 # SKIP $2"; }

# refused WORDS PATTERN COMMAND…: it must fail with one line on stderr that has the pattern,
# and with an exit code that is not a signal's.
refused() {
  words=$1 pattern=$2
  shift 2
  status=0
  "$@" >"$work/out" 2>"$work/err" </dev/null || status=$?
  if [ "$status" -ge 1 ] && [ "$status" -le 2 ] && grep -qiE -- "$pattern" "$work/err" &&
    [ "$(grep -c . "$work/err")" -le 3 ]; then
    ok "$words"
  else
    not_ok "$words" "exit $status, wanted: $pattern" "$(cat "$work/err")"
  fi
}

at_end() { :; } # for a script to say what else is to be put away

finish() {
  status=$?
  trap - EXIT
  for pid in $pids; do kill -9 "$pid" 2>/dev/null || true; done
  wait 2>/dev/null || true
  at_end
  echo "1..$n_tests"
  if [ "$status" = 0 ] && [ "$n_bad" = 0 ]; then rm -rf "$work"; else echo "# kept: $work"; fi
  [ "$status" = 0 ] || echo "Bail out! the script ended with $status"
  exit "$status"
}
trap finish EXIT

wait_for() { # SECONDS COMMAND…
  tries=$(($1 * 10))
  shift
  until "$@" >/dev/null 2>&1; do
    tries=$((tries - 1))
    [ "$tries" -gt 0 ] || return 1
    sleep 0.1
  done
}

# How often a site's log tells of something. A line that was the last one is soon not; so wait for
# one more of its kind: before=$(told_by SITE WORDS); …; wait_for 60 tells_more SITE WORDS "$before".
told_by() { grep -c -- "$2" "$work/$1.log" || true; } # SITE WORDS
tells_more() { [ "$(told_by "$1" "$2")" -gt "$3" ]; } # SITE WORDS THAN

serve_hub() {
  "$coordinator" serve --home "$hub" >>"$work/hub.log" 2>&1 &
  hub_pid=$!
  pids="$pids $hub_pid"
  wait_for 60 "$coordinator" status --home "$hub" || { tail -n 5 "$work/hub.log" >&2; return 1; }
}

start_hub() {
  "$coordinator" init --home "$hub" --name "test" --address 127.0.0.1:0 \
    --enrol-address 127.0.0.1:0 "$@" >"$work/init.log" 2>&1 || cat "$work/init.log" >&2
  serve_hub
}

hub_port() { sed -n "s/^address: .*:\([0-9]*\)'.*/\1/p" "$hub/coordinator.yaml"; }
fingerprint_of() { sed -n 's/^fingerprint: *//p' "$1"; }

invite() { # NAME [OPTION…]
  name=$1
  shift
  "$coordinator" invite "$name" --home "$hub" --out "$work/$name.invitation" "$@" \
    >"$work/$name.invite" 2>&1 || { cat "$work/$name.invite" >&2; return 1; }
}

# Recordings of a small synthetic site: people K, K+1, …
synth_site() { # NAME FIRST PEOPLE
  "$node" synth --out "$work/$1.data" --subjects "$3" --first "$2" --seed 5 >/dev/null 2>&1
}

# Recordings must be there. Plans run unasked here, unless the test says --approval ask.
enrol() { # NAME [OPTION…]
  name=$1
  shift
  invite "$name"
  "$node" init "$work/$name.invitation" --fingerprint "$(fingerprint_of "$work/$name.invite")" \
    --home "$work/$name" --data "$work/$name.data" --fold 0 --approval auto "$@" \
    >"$work/$name.log" 2>&1 || { cat "$work/$name.log" >&2; return 1; }
}

run_site() { # NAME [OPTION…]
  name=$1
  shift
  "$node" run --home "$work/$name" "$@" >>"$work/$name.log" 2>&1 &
  eval "pid_$(printf '%s' "$name" | tr - _)=$!"
  pids="$pids $!"
}

pid_of() { eval "echo \$pid_$(printf '%s' "$1" | tr - _)"; }

# The example plan, cut down: a few seconds on one core.
small_plan() { # ROUNDS > file
  sed -e "s/^  rounds: .*/  rounds: $1/" -e 's/^  local_steps: .*/  local_steps: 2/' \
    -e 's/^  batch: .*/  batch: 4/' -e 's/^  warmup_steps: .*/  warmup_steps: 1/' \
    -e 's/^  phase_seconds: .*/  phase_seconds: 20/' configs/plan-eegmat.yaml
}

# One value of `status --json`, which is flat.
status_value() {
  "$coordinator" status --json --home "$hub" |
    tr ',{}' '\n\n\n' | sed -n "s/^[[:space:]]*\"$1\":[[:space:]]*\"\{0,1\}\([^\"]*\)\"\{0,1\}[[:space:]]*$/\1/p" | head -n 1
}

connected() { [ "$(status_value connected)" = "$1" ]; } # N members
is_paused() { [ "$(status_value state)" = paused ]; }

# A hub that is served starts again for it.
lifetime_of() { # SECONDS: of the certificates that the hub makes from now on
  sed -i '/^certificate_seconds:/d' "$hub/coordinator.yaml"
  echo "certificate_seconds: $1" >>"$hub/coordinator.yaml"
  kill "$hub_pid"
  wait "$hub_pid" || true
  serve_hub
}
