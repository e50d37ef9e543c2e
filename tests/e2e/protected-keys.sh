#!/bin/sh
# Keys under passphrases, with real processes: a hub and its sites train with theirs in a file, a
# systemd credential or typed at a terminal; so do the root and a researcher; what is wrong is named.
. "$(dirname "$0")/lib.sh"

secret() { # NAME WORDS: a passphrase file
  (umask 077 && printf '%s\n' "$2" >"$work/$1.secret")
}
secret hub "the hub's own passphrase"
secret site "charite's own passphrase"
secret other "some other passphrase"
is_protected() { head -n 1 "$1" | grep -q '^neurox-protected-key-1$'; }

# A command at a terminal of its own, its questions answered; what was shown goes to OUTPUT.
at_terminal() { # OUTPUT ANSWER|ANSWER COMMAND…
  /usr/bin/python3 - "$@" <<'PY'
import os, pty, select, sys, termios, time
output, answers, command = sys.argv[1], sys.argv[2].split("|"), sys.argv[3:]
pid, fd = pty.fork()
if pid == 0:
    os.execv(command[0], command)
said, asked = b"", 0
while True:
    if not select.select([fd], [], [], 120)[0]:
        sys.exit("it waits for something else: " + said.decode(errors="replace"))
    try:
        piece = os.read(fd, 4096)
    except OSError:
        piece = b""
    if not piece:
        break
    said += piece
    if asked < len(answers) and said.endswith(b": "):
        while termios.tcgetattr(fd)[3] & termios.ECHO:
            time.sleep(0.01)
        os.write(fd, answers[asked].encode() + b"\n")
        asked += 1
open(output, "wb").write(said)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
PY
}

# ---- the hub, its root -----------------------------------------------------------------------------

"$coordinator" init --home "$hub" --name test --address 127.0.0.1:0 --enrol-address 127.0.0.1:0 \
  --root "$work/stick" >"$work/init.log" 2>&1 || cat "$work/init.log" >&2
check "the coordinator's key is put under a passphrase" \
  "$coordinator" key protect --passphrase-file "$work/hub.secret" --home "$hub"
check "and is" is_protected "$hub/identity.key"
refused "nobody serves it without" "no terminal.*passphrase_file" \
  setsid "$coordinator" serve --home "$hub"
echo "passphrase_file: $work/hub.secret" >>"$hub/coordinator.yaml"
serve_hub
check "the root's key is, too" "$coordinator" key protect --passphrase-file "$work/other.secret" \
  --root "$work/stick"
refused "a wrong passphrase is named" "root.key: the passphrase is wrong" "$coordinator" ca \
  renew-issuer --root "$work/stick" --passphrase-file "$work/hub.secret" --home "$hub"
check "with the right one the issuing key is renewed" "$coordinator" ca renew-issuer \
  --root "$work/stick" --passphrase-file "$work/other.secret" --home "$hub"

# ---- three sites, three ways ------------------------------------------------------------------------

for k in 0 1 2; do synth_site "site-$k" $((3 * k)) 3; done
enrol site-0 --passphrase-file "$work/site.secret"
check "a site's keys are protected from the start" eval \
  'is_protected "$work/site-0/identity.key" && is_protected "$work/site-0/tls/node.key"'
enrol site-1
enrol site-2
check "another's later, typed at a terminal" at_terminal "$work/typed" \
  "typed by the steward|typed by the steward" "$node" key protect --home "$work/site-1"
check "and not shown there" eval 'grep -q "under a passphrase" "$work/typed" && ! grep -q steward "$work/typed"'
check "asked for again, it opens" at_terminal "$work/typed" "typed by the steward" \
  "$node" plan list --home "$work/site-1"
if at_terminal "$work/typed" "typed by a thief..." "$node" plan list --home "$work/site-1"; then
  not_ok "a thief's guess is refused"
else
  check "a thief's guess is refused" grep -q "passphrase is wrong" "$work/typed"
fi
mkdir "$work/credentials"
printf 'typed by the steward' >"$work/credentials/neurox-passphrase"
refused "a node does not start without its passphrase" "no terminal.*passphrase_file.*neurox-passphrase" \
  setsid "$node" run --home "$work/site-1"
run_site site-0
check "one with its passphrase in a file does" wait_for 60 grep -q node.started "$work/site-0.log"
refused "nor are the keys of a running node changed" "stop the node" \
  "$node" key unprotect --home "$work/site-0"
CREDENTIALS_DIRECTORY="$work/credentials" "$node" run --home "$work/site-1" >>"$work/site-1.log" 2>&1 &
pids="$pids $!"
run_site site-2
check "a plain key says so in the log" wait_for 60 grep -q "key.plain" "$work/site-2.log"
small_plan 1 >"$work/plan.yaml"
timeout 120 "$coordinator" start "$work/plan.yaml" --wait-members 3 --home "$hub" >"$work/start.log" 2>&1
check "they train together" timeout 240 "$coordinator" watch --home "$hub"

# ---- another passphrase -------------------------------------------------------------------------------

kill "$(pid_of site-0)"
wait "$(pid_of site-0)" 2>/dev/null || true
secret short "short"
refused "a short one is not taken" "at least 12" "$node" key change \
  --new-passphrase-file "$work/short.secret" --home "$work/site-0"
check "keys go under another" "$node" key change --new-passphrase-file "$work/other.secret" \
  --home "$work/site-0"
refused "then the old one opens nothing" "the passphrase is wrong" \
  "$node" plan list --home "$work/site-0"
mv "$work/other.secret" "$work/site.secret"
check "the new one does" "$node" plan list --home "$work/site-0"
head -c -9 "$work/site-0/identity.key" >"$work/cut.key"
cp "$work/site-0/identity.key" "$work/whole.key"
cp "$work/cut.key" "$work/site-0/identity.key"
refused "a file that was cut is named as damaged" "identity.key: .*damaged" \
  "$node" plan list --home "$work/site-0"
cp "$work/whole.key" "$work/site-0/identity.key"
check "keys can be taken out again" "$node" key unprotect --home "$work/site-0"
check "and are plain" grep -q neurox-identity-1 "$work/site-0/identity.key"
run_site site-0
check "and the node is back with it" wait_for 60 connected 3

# ---- a person ---------------------------------------------------------------------------------------

"$coordinator" grant researcher alice --out "$work/alice" --home "$hub" >/dev/null
secret alice "alice's own passphrase"
check "a researcher protects her key" "$coordinator" key protect \
  --passphrase-file "$work/alice.secret" --home "$work/alice"
refused "without the passphrase it is no use" "no terminal" \
  setsid "$coordinator" status --home "$work/alice"
echo "passphrase_file: $work/alice.secret" >>"$work/alice/credential.yaml"
check "with it, she sees the run" wait_for 60 "$coordinator" status --home "$work/alice"

# ---- what must not be anywhere -----------------------------------------------------------------------

check "no passphrase is in a log" eval \
  '! grep -rqE "own passphrase|typed by|some other" "$work"/*.log "$hub/audit" "$work"/site-*/audit'
