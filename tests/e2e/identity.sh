#!/bin/sh
# Identity for years, with real processes: certificates renewed over the running connection in the
# middle of a run; the issuing key renewed and the root rotated beneath it; roles; and what is stolen,
# replayed, ended or foreign is refused, named and logged. Nodes renew when they are told to (year.sh
# has one that does by itself), and only what must end is short-lived: a machine that stalls changes
# nothing.
. "$(dirname "$0")/lib.sh"

start_hub --root "$work/stick"
openssl x509 -in "$hub/tls/coordinator.pem" -noout -pubkey >"$work/hub.before"
lifetime_of 600
# The hub gives no new certificate before a quarter of the one there is has passed. So each is for
# twice as long as the last, and none has to wait for another.
renewed() { tells_more "$1" certificate.renewed "$2"; }
renew() { # SITE…: each asks for its next certificate now, and has it
  for site in "$@"; do
    had=$(told_by "$site" certificate.renewed)
    kill -USR1 "$(pid_of "$site")"
    wait_for 60 renewed "$site" "$had" || return 1
  done
}
logged() { "$audit" show "$hub/audit" | grep -q -- "$1"; }
check "the root's key is not in the hub's folder" test -f "$work/stick/root.key" -a ! -d "$hub/root"

# ---- enrolment: stolen token, replayed request -------------------------------------------------

for k in 0 1 2; do synth_site "site-$k" $((3 * k)) 3; done
honest=$node # site-0 enrols with an ear at its line
node=$BUILD/tests/support/neurox-recorded-node
export NEUROX_RECORD="$work/recorded"
enrol site-0
node=$honest
unset NEUROX_RECORD
enrol site-1
invite open # or the port would be closed
refused "a request that was overheard and is sent again, byte for byte, gets nothing" \
  "invitation of site-0 was used already, by this very request" \
  "$BUILD/tests/support/neurox-resend" "$work/open.invitation" "$work/recorded"
check "and is an entry of the log, with the name" \
  wait_for 60 logged "enrolment.refused.*site-0 was used already, by this very request"
refused "a token that was used is worth nothing to a thief" "used already" \
  "$node" init "$work/site-1.invitation" --fingerprint "$(fingerprint_of "$work/site-1.invite")" \
  --home "$work/thief" --data "$work/site-1.data"
invite site-2
refused "a stolen token and a misread fingerprint do not go together" "fingerprint" \
  "$node" init "$work/site-2.invitation" --fingerprint "$(fingerprint_of "$work/site-1.invite")" \
  --home "$work/thief" --data "$work/site-1.data"
# The thief is faster than the site: the site finds its invitation used, and says so.
"$node" init "$work/site-2.invitation" --fingerprint "$(fingerprint_of "$work/site-2.invite")" \
  --home "$work/thief" --data "$work/site-1.data" >/dev/null 2>&1
refused "whose token was stolen and used notices it at once" "used already" \
  "$node" init "$work/site-2.invitation" --fingerprint "$(fingerprint_of "$work/site-2.invite")" \
  --home "$work/site-2" --data "$work/site-2.data" --fold 0
check "and so does the hub's log" wait_for 60 logged "enrolment.refused.*used already"
"$coordinator" revoke site-2 --reason "stolen invitation" --home "$hub" >/dev/null 2>&1
"$node" run --home "$work/thief" >"$work/thief.log" 2>&1 || true
check "the thief is shut out" grep -q "refuses this node.*revoked" "$work/thief.log"
check "and named in the log" wait_for 60 logged "call.denied.*site-2.*revoked"
cp -r "$work/site-2.data" "$work/site-3.data"
enrol site-3

# ---- a run over several lifetimes ---------------------------------------------------------------

for k in 0 1 3; do run_site "site-$k"; done
check "three sites are connected" wait_for 60 connected 3
small_plan 4000 >"$work/plan.yaml" # until it is told to stop
"$coordinator" start "$work/plan.yaml" --wait-members 3 --home "$hub" >"$work/start.log" 2>&1
lifetime_of 1200
check "and again after the hub was started anew" wait_for 60 connected 3
"$coordinator" ca renew-issuer --root "$work/stick" --home "$hub" >"$work/issuer.log" 2>&1
check "the issuing key is renewed beneath a run" wait_for 60 logged "authority.changed"

# ---- roles, meanwhile -------------------------------------------------------------------------------

"$coordinator" grant researcher alice --out "$work/alice" --home "$hub" >/dev/null
"$coordinator" grant auditor board --out "$work/board" --home "$hub" >/dev/null
check "a researcher sees the status" wait_for 60 "$coordinator" status --home "$work/alice"
refused "a researcher may not start a run" "researcher's certificate may not" \
  "$coordinator" start "$work/plan.yaml" --home "$work/alice"
refused "nor stop one" "researcher's certificate may not" "$coordinator" stop --home "$work/alice"
refused "nor list the members" "researcher's certificate may not" \
  "$coordinator" members --home "$work/alice"
check "an auditor may" "$coordinator" members --home "$work/board"
"$coordinator" log --home "$work/board" --out "$work/board-log" >"$work/log.log" 2>&1 || cat "$work/log.log" >&2
check "and fetch the hub's log, which verifies" "$audit" verify "$work/board-log"
refused "a researcher may not" "researcher's certificate may not" \
  "$coordinator" log --home "$work/alice" --out "$work/alice-log"
refused "but not pause a run" "auditor's certificate may not" "$coordinator" pause --home "$work/board"
check "each is in the log by name" eval \
  'wait_for 60 logged "call.denied.*researcher.*alice.*Admin/Start" && logged "call.denied.*auditor.*board.*Admin/Pause"'
"$coordinator" watch --home "$work/alice" >"$work/alice.log" 2>&1 &
watching=$!
pids="$pids $watching"
wait_for 60 test -s "$work/alice.log" || true # it has its line
"$coordinator" revoke alice --reason "left" --home "$hub" >/dev/null
gone() { ! kill -0 "$watching" 2>/dev/null && grep -q revoked "$work/alice.log"; }
check "a revoked researcher's open line ends, and says why" wait_for 60 gone
refused "and is not answered again" "revoked" "$coordinator" status --home "$work/alice"

# ---- and the run goes on ------------------------------------------------------------------------------

check "every node renews its certificate in the run, when it is told to" renew site-0 site-1 site-3
sealed=$(told_by site-0 round.sealed)
check "the run goes on" wait_for 60 tells_more site-0 round.sealed "$sealed"
check "no node was ever refused" eval '! grep -q "node.refused\|refuses this node" "$work"/site-[013].log'
"$coordinator" stop --home "$hub" >/dev/null
timeout 120 "$coordinator" watch --home "$hub" >/dev/null 2>&1 || true

# ---- the root rolls -------------------------------------------------------------------------------

"$coordinator" ca rotate-root --root "$work/stick" --next "$work/stick-2" --home "$hub" >"$work/rotate.log" 2>&1
refused "the old root is not retired over a member's head" "would be locked out" \
  "$coordinator" ca retire-root --home "$hub"
believes() { [ "$(grep -c BEGIN "$work/$1/tls/ca.pem")" = "$2" ]; }
believe() { # ROOTS
  renew site-0 site-1 site-3 && believes site-0 "$1" && believes site-1 "$1" && believes site-3 "$1"
}
lifetime_of 2400
wait_for 60 connected 3 || true
check "every node learns of the new root from its running hub" believe 2
check "then the old root is retired" "$coordinator" ca retire-root --home "$hub"
lifetime_of 4800
wait_for 60 connected 3 || true
check "and every node forgets it" believe 1
small_plan 3 >"$work/plan-2.yaml"
"$coordinator" start "$work/plan-2.yaml" --wait-members 3 --home "$hub" >"$work/start.log" 2>&1
check "a run under the new root alone finishes" timeout 120 "$coordinator" watch --home "$hub"
openssl x509 -in "$hub/tls/coordinator.pem" -noout -pubkey >"$work/hub.after"
check "the hub's certificate is another, its key the same" cmp "$work/hub.before" "$work/hub.after"
newest=$(status_value model_sha256)

# ---- a node that was off until its certificate ended -----------------------------------------------

# It sleeps through its certificate's end with its connection open. Eight seconds are short on a
# machine that stalls, so it may try again.
lifetime_of 8
wait_for 60 connected 3 || true
again() { # the operator lets it come back with its own keys
  rm -f "$work/again.invitation"
  "$coordinator" invite site-3 --again --home "$hub" --out "$work/again.invitation" >"$work/again.invite" 2>&1 &&
    "$node" renew "$work/again.invitation" --fingerprint "$(fingerprint_of "$work/again.invite")" --home "$work/site-3"
}
leave() {
  kill -CONT "$(pid_of site-3)" 2>/dev/null || true
  kill "$(pid_of site-3)" 2>/dev/null || true
  wait "$(pid_of site-3)" 2>/dev/null || true
}
sleeps_through() {
  leave
  lines=$(told_by site-3 coordinator.connected)
  again >/dev/null || return 1
  run_site site-3
  wait_for 8 tells_more site-3 coordinator.connected "$lines" || return 1
  kill -STOP "$(pid_of site-3)" || return 1
  wait_for 60 logged "call.denied.*site-3.*in the middle of a call.*this certificate has ended"
}
check "a line whose certificate ends while nothing is said is closed, and the log tells" \
  eval 'sleeps_through || sleeps_through || sleeps_through'
leave
lifetime_of 3600
refused "a node whose certificate has ended says so, and what to do" "certificate has expired.*--again|--again.*certificate has expired" \
  "$node" run --home "$work/site-3"
rm -f "$work/again.invitation"
"$coordinator" invite site-3 --again --home "$hub" --out "$work/again.invitation" >"$work/again.invite" 2>&1
refused "its invitation is no good for other keys" "not its keys" \
  "$node" init "$work/again.invitation" --fingerprint "$(fingerprint_of "$work/again.invite")" \
  --home "$work/thief-2" --data "$work/site-3.data"
check "it comes back with its own" "$node" renew "$work/again.invitation" \
  --fingerprint "$(fingerprint_of "$work/again.invite")" --home "$work/site-3"
run_site site-3
check "and is connected" wait_for 60 connected 3

# ---- another federation -------------------------------------------------------------------------------

"$coordinator" init --home "$work/other" --name other --address 127.0.0.1:0 \
  --enrol-address 127.0.0.1:0 >/dev/null 2>&1
cp -r "$work/site-0" "$work/foreign"
"$coordinator" grant operator mallory --out "$work/mallory" --home "$work/other" >/dev/null
cp "$work/mallory/certificate.pem" "$work/foreign/tls/node.pem"
cp "$work/mallory/key.pem" "$work/foreign/tls/node.key"
cp "$work/other/ca/ca.pem" "$work/foreign/tls/ca.pem"
"$node" run --home "$work/foreign" >"$work/foreign.log" 2>&1 &
pids="$pids $!"
foreign=$!
told() { grep -q "not by this federation.s CA" "$work/foreign.log"; }
check "a node of another federation gets no connection and says why" wait_for 60 told
cp "$work/site-0/tls/ca.pem" "$work/mallory/ca.pem"
sed -i "s/^address: .*/address: '127.0.0.1:$(hub_port)'/" "$work/mallory/credential.yaml"
refused "nor does another federation's operator" "answers" "$coordinator" status --home "$work/mallory"
check "which the hub's log tells" wait_for 60 logged "tls.refused"
kill "$foreign" 2>/dev/null || true

# ---- whom a model rests on ----------------------------------------------------------------------------

"$coordinator" export --home "$hub" --out "$work/model" >"$work/export.log" 2>&1
check "an exported model says which sites are in it, and the logs agree" \
  "$audit" model "$work/model" --log "$hub/audit" --log "$work/site-0/audit"
"$audit" model "$work/model" >"$work/said.model" 2>&1 || true
check "by name" grep -q "3 of 3 sites: site-0, site-1, site-3" "$work/said.model"
check "and from which version it was made" grep -qE "^parent: [0-9a-f]{64}$" "$work/said.model"
check "so does the file beside it" "$audit" model "$work/model.participation.json" --log "$hub/audit"
/usr/bin/python3 - "$work/model.participation.json" "$work/other.json" <<'PY'
import json, sys
participation = json.load(open(sys.argv[1]))
participation["rounds"][1]["sites"].pop()
json.dump(participation, open(sys.argv[2], "w"))
PY
/usr/bin/python3 - "$work/model.participation.json" "$work/foundling.json" <<'PY'
import json, sys
participation = json.load(open(sys.argv[1]))
participation["rounds"][0]["parent"] = "00" * 32
json.dump(participation, open(sys.argv[2], "w"))
PY
check "and another beginning than the logs have is named" sh -c \
  "! '$audit' model '$work/foundling.json' --log '$work/site-0/audit' >'$work/foundling' && grep -q 'another parent' '$work/foundling'"
check "a site left out of it is found" eval '! "$audit" model "$work/other.json" --log "$hub/audit"'
head -c -1 "$work/model" >"$work/short.model"
printf x >>"$work/short.model"
check "and so is another weight" eval '! "$audit" model "$work/short.model"'

# ---- what has lain here long enough goes -----------------------------------------------------------------

check "uploads of the last run are here" test -n "$(ls "$hub/uploads")"
kill "$hub_pid"
wait "$hub_pid" || true
find "$hub/uploads" "$hub/blobs" -exec touch -d '40 days ago' {} +
sed -i 's/^keep_models_days: [0-9]*/keep_models_days: 30/' "$hub/coordinator.yaml"
serve_hub
swept() { [ -z "$(ls "$hub/uploads")" ]; }
check "after keep_uploads_days they are gone" wait_for 60 swept
check "models of past rounds too, the last one stays" eval \
  'wait_for 60 logged "retention.deleted.*models" && test -f "$hub/blobs/$newest"'
check "and the log says what went" logged "retention.deleted.*uploads"
# At a site, too: what a round left behind, and a model of long ago.
kill "$(pid_of site-1)"
wait "$(pid_of site-1)" || true
mkdir -p "$work/site-1/spool"
for file in spool/1-1 models/0000; do
  echo left >"$work/site-1/$file"
  touch -d '400 days ago' "$work/site-1/$file"
done
run_site site-1
gone_at_site() { ! [ -e "$work/site-1/spool/1-1" ] && ! [ -e "$work/site-1/models/0000" ]; }
check "a site deletes what its node.yaml keeps no longer" wait_for 60 gone_at_site
at_site() { "$audit" show "$work/site-1/audit" | grep -q -- "$1"; }
check "and its log says so" eval 'at_site "retention.deleted.*uploads" && at_site "retention.deleted.*models"'

# ---- the log itself -----------------------------------------------------------------------------------

kill "$hub_pid"
wait "$hub_pid" || true
check "the hub's log verifies" "$audit" verify "$hub/audit"
entries=$hub/audit/entries.log
tampered() { # WORDS PYTHON
  cp -r "$hub/audit" "$work/tampered"
  /usr/bin/python3 - "$work/tampered/entries.log" <<PY
import struct, sys
path = sys.argv[1]
data = open(path, "rb").read()
at, entries = 8, []
while at < len(data):
    size = struct.unpack_from("<I", data, at)[0]
    entries.append(data[at:at + size + 8])
    at += size + 8
$2
open(path, "wb").write(data[:8] + b"".join(entries))
PY
  if "$audit" verify "$work/tampered" >"$work/verify" 2>&1; then
    not_ok "$1" "it verifies"
  else
    ok "$1: $(grep -o 'FAILED.*\|entry.*' "$work/verify" | head -n 1 | cut -c1-60)"
  fi
  rm -rf "$work/tampered"
}
tampered "an edited entry is found" 'entries[5] = entries[5][:30] + bytes([entries[5][30] ^ 1]) + entries[5][31:]'
tampered "a deleted entry is found" 'del entries[5]'
tampered "entries in another order are found" 'entries[5], entries[6] = entries[6], entries[5]'
tampered "a cut log is found" 'entries = entries[:-3]'
