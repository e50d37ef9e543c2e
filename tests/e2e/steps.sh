# Sourced by the end-to-end scripts that judge each step by an exit status: check WORDS $?.
# Prints TAP. pids: processes to end; WORK is removed when everything passed. (lib.sh is for
# scripts that hand check a command.)
set -u
work=$(mktemp -d "${TMPDIR:-/tmp}/neurox-e2e.XXXXXX")
pids= hub= n=0 failures=0

finish() {
  for pid in $hub $pids; do kill "$pid" 2>/dev/null; done
  for pid in $hub $pids; do wait "$pid" 2>/dev/null; done
  [ "$failures" = 0 ] && rm -rf "$work" || echo "# the logs are in $work"
}
trap finish EXIT

check() { # WORDS STATUS
  n=$((n + 1))
  if [ "$2" = 0 ]; then
    echo "ok $n - $1"
  else
    echo "not ok $n - $1"
    failures=$((failures + 1))
  fi
}
bail() {
  echo "Bail out! $1"
  failures=1
  tail -n 5 "$work"/*.log
  exit 1
}
wait_for() { # SECONDS COMMAND…
  tries=$(($1 * 10))
  shift
  until "$@" >/dev/null 2>&1; do
    tries=$((tries - 1))
    [ "$tries" -gt 0 ] || return 1
    sleep 0.1
  done
}
