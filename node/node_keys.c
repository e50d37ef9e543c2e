/* A node's private keys: where they are, and how they are opened. */
#include <stdio.h>

#include "crypto/key_file.h"
#include "crypto/sign.h"
#include "node/node_config.h"
#include "node/node_home.h"

int nx_home_unlock(const char *home, struct nx_unlock *unlock, struct nx_error *err) {
  _cleanup_(nx_node_config_destroyp) struct nx_node_config *config = NULL;
  char path[NX_PATH_SIZE];
  int r = nx_path_join(path, home, NX_HOME_CONFIG, err);
  if (r < 0 || (r = nx_node_config_load(path, &config, err)) < 0 || !config->passphrase_file)
    return r;
  return nx_home_policy_path(home, config->passphrase_file, unlock->file, err);
}

/* A broken node.yaml is no reason to refuse a key that needs no passphrase. */
static int prepare(const char *home, const char *name, struct nx_unlock *unlock,
                   char path[NX_PATH_SIZE], struct nx_error *err) {
  int r = nx_path_join(path, home, name, err);
  if (r < 0 || unlock->passphrase || !nx_key_file_at_is_protected(path))
    return r;
  return nx_home_unlock(home, unlock, err);
}

int nx_home_identity(const char *home, const char *name, struct nx_unlock *unlock,
                     struct nx_identity **identity_out, struct nx_error *err) {
  char path[NX_PATH_SIZE];
  int r = prepare(home, name, unlock, path, err);
  return r < 0 ? r : nx_identity_load(path, unlock, identity_out, err);
}

int nx_home_key(const char *home, const char *name, struct nx_unlock *unlock,
                struct nx_buffer *key_out, struct nx_error *err) {
  char path[NX_PATH_SIZE];
  int r = prepare(home, name, unlock, path, err);
  return r < 0 ? r : nx_key_file_read_buffer(path, unlock, key_out, err);
}
