#!/bin/sh
# Wall clocks that jump in the middle of rounds: at a site, at the hub, and so far that every
# certificate has ended. Rounds go by the monotonic clock; what goes by the wall clock says so, and
# is well again when the clock is. Nothing that was acknowledged is lost.
. tests/e2e/lib.sh

shim=$BUILD/tests/support/neurox-clock.so
if grep -q __asan_init "$coordinator"; then # preloading does not go together with it
  skip "clocks that jump" "built with a sanitizer"
  exit 0
fi

set_clock() { # NAME SECONDS ahead (tests/support/clock_shim.c)
  left=$2 i=0 bytes=
  while [ $i -lt 8 ]; do
    bytes="$bytes$(printf '\\%03o' $((left & 255)))"
    left=$((left >> 8)) i=$((i + 1))
  done
  printf "$bytes" | dd of="$work/$1.clock" conv=notrunc 2>/dev/null
}
with_clock() { # NAME COMMAND…
  set_clock "$1" 0
  export NEUROX_CLOCK="$work/$1.clock" LD_PRELOAD="$shim"
  shift
  "$@"
  unset NEUROX_CLOCK LD_PRELOAD
}
seals() { told_by "$1" round.sealed; }
is_gone() { ! grep -qvE '^[0-9]+ \(.*\) Z ' "/proc/$1/stat" 2>/dev/null; } # or not waited for yet
go_on() { wait_for 120 tells_more "$1" round.sealed $(($(seals "$1") + $2)); } # SITE MORE-THAN
hub_says() { wait_for 60 tells_more hub "$1" "$2"; } # WORDS TIMES

with_clock hub start_hub
for k in 0 1 2 3; do synth_site "site-$k" $((2 * k)) 2; done
for k in 0 1 2 3; do enrol "site-$k"; done
for k in 0 3; do run_site "site-$k"; done
for k in 1 2; do with_clock "site-$k" run_site "site-$k"; done
small_plan 4000 | sed -e 's/^  phase_seconds: .*/  phase_seconds: 8/' >"$work/plan.yaml"
"$coordinator" start "$work/plan.yaml" --home "$hub" >"$work/start.log" 2>&1 || cat "$work/start.log"
check "rounds go" go_on site-1 1

# --- a site's --------------------------------------------------------------------------------
set_clock site-1 7200
check "a site's clock is two hours ahead: it takes part" go_on site-1 1
check "and says that its clock was moved" wait_for 60 tells_more site-1 "clock.moved.*seconds=7200" 0
set_clock site-2 -7200
check "a site's clock is set back: it says that it runs no round so" \
  wait_for 60 tells_more site-2 "clock was set back by 1[12]. minutes" 0
check "the others go on" go_on site-0 1
set_clock site-2 0
check "its clock is right again: it takes part" go_on site-2 1

# --- the hub's -------------------------------------------------------------------------------
set_clock hub 7200
check "the hub's clock is two hours ahead: it says so" hub_says "clock.moved.*seconds=7[12]" 0
check "and the rounds go on" go_on site-0 1
set_clock hub -7200
check "it is two hours behind: it says so" hub_says "clock.moved.*seconds=-14[34]" 0
check "and the rounds go on" go_on site-0 1
set_clock hub 0

# --- certificates end in the middle of a round ------------------------------------------------
renewed=$(told_by hub certificate.renewed)
set_clock hub $((8 * 86400))
check "every member's certificate has ended: the hub says so" hub_says "this certificate has ended" 0
check "and renews its own" hub_says certificate.renewed "$renewed"
check "it lives" kill -0 "$hub_pid"
set_clock hub 0
check "its clock is right: it renews what was not valid yet" hub_says certificate.renewed $((renewed + 1))
# Sites that were sent away have ended; a service manager starts them again.
tended() { # SEALS
  for k in 0 1 2 3; do
    is_gone "$(pid_of "site-$k")" || continue
    case $k in [12]) with_clock "site-$k" run_site "site-$k" ;; *) run_site "site-$k" ;; esac
  done
  tells_more site-0 round.sealed "$1"
}
check "the sites are back, and the run goes on where it was" wait_for 120 tended $(($(seals site-0) + 1))
check "nothing was sealed twice" sh -c "! sed -n 's/.*round.sealed round=\([0-9]*\) .*/\1/p' '$work/site-0.log' | sort | uniq -d | grep -q ."
"$coordinator" stop --home "$hub" >/dev/null 2>&1
wait_for 60 grep -q run.ended "$work/hub.log"
check "all logs verify" wait_for 60 "$audit" verify "$hub/audit" "$work/site-0/audit" "$work/site-1/audit" \
  "$work/site-2/audit" "$work/site-3/audit"
