#!/bin/sh
# What the coordinator and the line get to see of four real sites: noise, sums, TLS 1.3. And
# the same run again: the same model. Run by meson with BUILD set, from the project's root.
. tests/e2e/lib.sh

n_sites=4
proxy=$BUILD/tests/support/neurox-tls-watch

federation() { # MODEL_OUT: from nothing to a sealed model
  start_hub
  for k in 0 1 2 3; do
    [ -d "$work/site-$k.data" ] || synth_site "site-$k" $((2 * k)) 2
    enrol "site-$k"
  done
  for k in 0 1 2 3; do run_site "site-$k"; done
  "$coordinator" start "$work/plan.yaml" --home "$hub" >"$work/start.log" 2>&1
  timeout 120 "$coordinator" watch --home "$hub" >"$work/watch.log" 2>&1
  status_value model_sha256 >"$1"
}

small_plan 2 >"$work/plan.yaml"
if federation "$work/model-1"; then
  ok "four sites enrol, train two rounds and seal a model"
else
  not_ok "four sites enrol, train two rounds and seal a model" "$(tail -n 5 "$work"/*.log)"
  exit 0
fi

same_model_everywhere() {
  model=$(cat "$work/model-1")
  [ "${#model}" = 64 ]
  for k in 0 1 2 3; do
    wait_for 60 test -f "$work/site-$k/models/$model" || { echo "site-$k does not hold $model"; return 1; }
    [ "$(sha256sum <"$work/site-$k/models/$model" | cut -c1-64)" = "$model" ]
  done
}
check "every site holds the model that the coordinator names" same_model_everywhere

"$BUILD/tests/e2e/neurox-secrecy" "$hub" "$work/plan.yaml" 3 "$hub_pid" \
  "$work/site-0" "$work/site-1" "$work/site-2" "$work/site-3" >"$work/secrecy.tap" 2>&1 || true
for number in 1 2 3 4; do
  line=$(grep -E "^(not )?ok $number " "$work/secrecy.tap" || echo "not ok $number - secrecy check did not run")
  case $line in
    ok*) ok "${line#ok $number - }" ;;
    *) not_ok "${line#not ok $number - }" "$(cat "$work/secrecy.tap")" ;;
  esac
done

port=$(hub_port)
strangers_get_nothing() {
  echo | timeout 5 openssl s_client -connect "127.0.0.1:$port" 2>/dev/null | grep -q "Server certificate" ||
    { echo "nobody speaks TLS on port $port"; return 1; }
  for version in -tls1_2 -tls1_3; do
    printf 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n' |
      timeout 5 openssl s_client -connect "127.0.0.1:$port" $version -quiet >"$work/stranger" 2>/dev/null || true
    if tr -d '\0' <"$work/stranger" | grep -q 'grpc'; then
      echo "an answer to a client without a certificate"
      return 1
    fi
  done
}
check "a client without a certificate gets no RPC answered" strangers_get_nothing

stop_everything() {
  for k in 0 1 2 3; do
    kill -TERM "$(pid_of "site-$k")"
    wait "$(pid_of "site-$k")" || { echo "site-$k ended with $?"; return 1; }
  done
  kill -TERM "$hub_pid"
  wait "$hub_pid" || { echo "the coordinator ended with $?"; return 1; }
}
check "SIGTERM ends nodes and coordinator in order" stop_everything
check "all five logs verify" "$audit" verify "$hub/audit" "$work/site-0/audit" "$work/site-1/audit" \
  "$work/site-2/audit" "$work/site-3/audit"

tampered_log_fails() {
  cp -r "$work/site-0/audit" "$work/tampered"
  size=$(wc -c <"$work/tampered/entries.log")
  printf 'X' | dd of="$work/tampered/entries.log" bs=1 seek=$((size / 2)) conv=notrunc 2>/dev/null
  ! "$audit" verify "$work/tampered"
}
check "a log with one changed byte does not verify" tampered_log_fails

# Again, with other keys and masks but the same seed, and with a proxy in between.
rm -rf "$hub" "$work"/site-[0-3] "$work"/*.invitation
"$coordinator" init --home "$hub" --name test --address 127.0.0.1:0 --enrol-address 127.0.0.1:0 \
  >"$work/init.log" 2>&1 || cat "$work/init.log" >&2
serve_hub
port=$(hub_port)
"$proxy" "$port" "$work/traffic" >"$work/proxy.port" 2>"$work/proxy.log" &
proxy_pid=$!
pids="$pids $proxy_pid"
wait_for 60 grep -q PORT "$work/proxy.port"
proxy_port=$(sed -n 's/^PORT //p' "$work/proxy.port")
for k in 0 1 2 3; do
  enrol "site-$k"
  sed -i "s/127\.0\.0\.1:$port/127.0.0.1:$proxy_port/" "$work/site-$k/node.yaml"
  run_site "site-$k"
done
"$coordinator" start "$work/plan.yaml" --home "$hub" >"$work/start.log" 2>&1
timeout 120 "$coordinator" watch --home "$hub" >"$work/watch.log" 2>&1 || true
check "the same seed and survivors give the same model, whatever the keys" \
  test "$(status_value model_sha256)" = "$(cat "$work/model-1")"
for k in 0 1 2 3; do kill -TERM "$(pid_of "site-$k")"; done
sleep 0.5
kill -TERM "$proxy_pid"
proxy_status=0
wait "$proxy_pid" || proxy_status=$?
traffic=$(cat "$work/traffic" 2>/dev/null || echo none)
if [ "$proxy_status" = 0 ] && [ "$(echo "$traffic" | sed 's/.*bytes=\([0-9]*\).*/\1/')" -gt 1000000 ]; then
  ok "nothing but TLS 1.3 on the line ($traffic)"
else
  not_ok "nothing but TLS 1.3 on the line" "$traffic" "$(cat "$work/proxy.log")"
fi
