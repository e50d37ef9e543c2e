#include "coordinator/verbs/operator_client.h"

#include <stdio.h>

#include "common/clock.h"
#include "common/file.h"
#include "coordinator/address.h"
#include "coordinator/coordinator_config.h"
#include "coordinator/verbs/credential.h"
#include "crypto/key_file.h"
#include "proto/rpc/rpc_server.h"

#define PATIENCE (30 * NX_SECOND) /* for an answer */
#define KEY_CAP ((size_t)16 << 10)

static int read_part(const char *home, const char *name, struct nx_buffer *out,
                     struct nx_error *err) {
  char path[NX_PATH_SIZE];
  int r = nx_path_join(path, home, name, err);
  return r < 0 ? r : nx_file_read(path, KEY_CAP, out, err);
}

/* A person's key may be under a passphrase: credential.yaml can say where that is. */
static int read_key(const char *home, const char *name, struct nx_buffer *out,
                    struct nx_error *err) {
  _cleanup_(nx_unlock_finish) struct nx_unlock unlock = {0};
  char path[NX_PATH_SIZE];
  int r = nx_credential_passphrase(home, &unlock, err);
  if (r == 0)
    r = nx_path_join(path, home, name, err);
  return r < 0 ? r : nx_key_file_read_buffer(path, &unlock, out, err);
}

/* Where the coordinator listens, seen from this machine. */
static int find_target(const char *home, char out[300], struct nx_error *err) {
  _cleanup_(nx_coordinator_config_destroyp) struct nx_coordinator_config *config = NULL;
  struct nx_address address;
  char path[NX_PATH_SIZE], text[NX_ADDRESS_SIZE];
  int r = nx_path_join(path, home, "coordinator.yaml", err);
  if (r < 0)
    return r;
  if (!nx_path_exists(path))
    return nx_fail(err, NX_E_NOT_FOUND,
                   "%s holds no federation: run neurox-coordinator init first, or name its folder "
                   "with --home",
                   home);
  if ((r = nx_coordinator_config_load(path, &config, err)) < 0 ||
      (r = nx_address_parse(config->listen, &address, err)) < 0)
    return r;
  if (nx_address_is_any(&address))
    snprintf(address.host, sizeof address.host, "%s",
             strchr(address.host, ':') ? "::1" : "127.0.0.1");
  nx_address_format(&address, text);
  snprintf(out, 300, "%s", text);
  return 0;
}

/* The files of whoever calls: a person's folder, or the federation's own. */
struct files {
  const char *ca, *certificate, *key;
};

static int find_caller(const char *home, char target[300], struct files *out,
                       struct nx_error *err) {
  static const struct files persons = {"ca.pem", "certificate.pem", "key.pem"};
  static const struct files own = {"ca/ca.pem", "operator/operator.pem", "operator/operator.key"};
  _cleanup_(nx_credential_destroyp) struct nx_credential *credential = NULL;
  char path[NX_PATH_SIZE];
  int r = nx_path_join(path, home, NX_CREDENTIAL_FILE, err);
  if (r < 0)
    return r;
  bool is_person = nx_path_exists(path);
  *out = is_person ? persons : own;
  if (!is_person)
    return find_target(home, target, err);
  if ((r = nx_credential_load(home, &credential, err)) < 0)
    return r;
  snprintf(target, 300, "%s", credential->address);
  return 0;
}

int nx_operator_open(const char *home, struct nx_operator *out, struct nx_error *err) {
  _cleanup_(nx_buffer_finish) struct nx_buffer ca = {0}, certificate = {0};
  _cleanup_(nx_buffer_wipe) struct nx_buffer key = {0};
  *out = (struct nx_operator){0};
  struct files files;
  int r = find_caller(home, out->target, &files, err);
  if (r < 0 || (r = read_part(home, files.ca, &ca, err)) < 0 ||
      (r = read_part(home, files.certificate, &certificate, err)) < 0 ||
      (r = read_key(home, files.key, &key, err)) < 0)
    return r;
  nx_rpc_library_start();
  struct nx_rpc_client_config config = {.target = out->target,
                                        .ca = nx_buffer_view(&ca),
                                        .certificate = nx_buffer_view(&certificate),
                                        .key = nx_buffer_view(&key),
                                        .message_cap = NX_MESSAGE_CAP_MAIN};
  r = nx_rpc_client_create(&config, &out->client, err);
  if (r < 0)
    nx_rpc_library_stop();
  return r;
}

void nx_operator_close(struct nx_operator *operator_) {
  if (!operator_->client)
    return;
  nx_rpc_client_destroy(nx_steal(&operator_->client));
  nx_rpc_library_stop();
}

int nx_operator_explain(const struct nx_operator *operator_, int code, struct nx_error *err) {
  if (code == NX_E_PEER)
    return nx_fail(err, NX_E_PEER,
                   "no coordinator answers at %s: start it with neurox-coordinator serve",
                   operator_->target);
  return code;
}

int nx_operator_call(struct nx_operator *operator_, const char *method, struct nx_bytes request,
                     struct nx_buffer *response, struct nx_error *err) {
  int r = nx_rpc_client_call(operator_->client, method, request, nx_clock_monotonic() + PATIENCE,
                             response, NULL, err);
  return r < 0 ? nx_operator_explain(operator_, r, err) : 0;
}

int nx_operator_status(struct nx_operator *operator_, const char *method, struct nx_bytes request,
                       struct nx_admin_status *out, struct nx_error *err) {
  _cleanup_(nx_buffer_finish) struct nx_buffer response = {0};
  _cleanup_(nx_arena_destroyp) struct nx_arena *arena = NULL;
  int r = nx_operator_call(operator_, method, request, &response, err);
  if (r < 0 || (r = nx_arena_create(NX_ADMIN_ARENA, &arena, err)) < 0)
    return r;
  return nx_admin_status_decode(nx_buffer_view(&response), arena, out, err);
}
