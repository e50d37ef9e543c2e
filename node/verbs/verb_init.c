/* Verb init: from an invitation file to a node's folder. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "crypto/certificate.h"
#include "crypto/key_file.h"
#include "node/node_home.h"
#include "node/policy/site_audit.h"
#include "node/policy/site_policy.h"
#include "node/session/enrol.h"
#include "node/session/pinned.h"
#include "node/site_data.h"
#include "node/verbs/verb.h"

struct init {
  const char *home, *invitation_path, *fingerprint, *data, *data_set, *name, *fold, *approval;
  uint32_t fold_number;
  char building[NX_PATH_SIZE], data_folder[NX_PATH_SIZE];
  struct nx_invitation *invitation;
  struct nx_identity *identity;
  const char *passphrase_file; /* or NULL */
  bool protect;                /* the keys, under a passphrase */
  struct nx_unlock unlock;
  struct nx_buffer key; /* PEM, secret */
  struct nx_enrolled enrolled;
};

static void finish(struct init *init) {
  nx_invitation_destroy(init->invitation);
  nx_identity_destroy(init->identity);
  nx_unlock_finish(&init->unlock);
  nx_buffer_wipe(&init->key);
  nx_enrolled_finish(&init->enrolled);
}

static int save(const struct init *init, const char *name, struct nx_bytes bytes,
                struct nx_error *err) {
  char path[NX_PATH_SIZE];
  int r = nx_path_join(path, init->building, name, err);
  return r < 0 ? r : nx_file_create(path, bytes, 0600, err);
}

/* Both keys are made here and never leave this folder. */
static int make_keys(struct init *init, struct nx_error *err) {
  char path[NX_PATH_SIZE];
  int r = nx_certificate_make_key(&init->key, err);
  if (r == 0)
    r = nx_path_join(path, init->building, NX_HOME_TLS_KEY, err);
  if (r == 0)
    r = nx_key_file_create(path, nx_buffer_view(&init->key), init->unlock.passphrase, err);
  if (r == 0)
    r = nx_identity_create(&nx_entropy_system, &init->identity, err);
  if (r == 0)
    r = nx_path_join(path, init->building, NX_HOME_IDENTITY, err);
  if (r == 0)
    r = nx_identity_save(init->identity, path, init->unlock.passphrase, err);
  return r;
}

static int write_config(struct init *init, struct nx_error *err) {
  char path[NX_PATH_SIZE];
  struct nx_node_config config = {.neurox_node = NX_NODE_CONFIG_VERSION,
                                  .name = init->enrolled.name,
                                  .coordinator = init->invitation->address};
  config.data.folder = init->data_folder;
  config.data.name = (char *)init->data_set;
  config.data.held_out_fold = init->fold ? &init->fold_number : NULL;
  config.policy = (char *)NX_HOME_POLICY;
  config.passphrase_file = (char *)init->passphrase_file;
  int r = nx_path_join(path, init->building, NX_HOME_CONFIG, err);
  if (r == 0)
    r = nx_node_config_write(path, &config, err);
  if (r == 0)
    r = nx_path_join(path, init->building, NX_HOME_POLICY, err);
  return r < 0 ? r
               : nx_site_policy_write(
                     path, strcmp(init->approval, "ask") ? NX_APPROVAL_AUTO : NX_APPROVAL_ASK, err);
}

static int write_federation(struct init *init, struct nx_error *err) {
  char key[2 * NX_PUBLIC_KEY_SIZE + 1];
  nx_hex_encode(init->enrolled.coordinator.bytes, NX_PUBLIC_KEY_SIZE, key);
  const struct nx_home_federation federation = {.neurox_federation = 1,
                                                .id = init->invitation->federation,
                                                .name = init->invitation->federation_name,
                                                .coordinator = key,
                                                .member = init->enrolled.member};
  return nx_home_write_federation(init->building, &federation, err);
}

static int write_audit(struct init *init, struct nx_error *err) {
  _cleanup_(nx_audit_log_destroyp) struct nx_audit_log *log = NULL;
  char path[NX_PATH_SIZE];
  const char *ca_pem = init->invitation->certificate;
  struct nx_hash ca, spki;
  int r = nx_path_join(path, init->building, NX_HOME_AUDIT, err);
  if (r == 0)
    r = nx_audit_log_open(path, init->enrolled.name, init->identity, &log, err);
  if (r == 0)
    r = nx_certificate_spki(nx_bytes(ca_pem, strlen(ca_pem)), &ca, err);
  if (r == 0)
    r = nx_certificate_spki(nx_buffer_view(&init->enrolled.certificate), &spki, err);
  if (r == 0)
    r = nx_site_audit_enrolled(log, init->invitation->federation, init->enrolled.name, &ca, &spki,
                               nx_identity_public(init->identity), err);
  return r < 0 ? r : nx_audit_log_close(nx_steal(&log), err);
}

static int build(struct init *init, struct nx_error *err) {
  const char *ca = init->invitation->certificate;
  int r = make_keys(init, err);
  if (r == 0)
    r = nx_enrol(init->invitation, nx_buffer_view(&init->key), init->identity, &init->enrolled,
                 err);
  if (r == 0)
    r = save(init, NX_HOME_TLS_CERTIFICATE, nx_buffer_view(&init->enrolled.certificate), err);
  if (r == 0)
    r = save(init, NX_HOME_CA, nx_bytes(ca, strlen(ca)), err);
  if (r == 0)
    r = write_federation(init, err);
  if (r == 0)
    r = write_config(init, err);
  if (r == 0)
    r = write_audit(init, err);
  return r < 0 ? r : nx_home_finish(init->building, init->home, err);
}

/* A site's config must not depend on where init was called. */
static int absolute_data(struct init *init, struct nx_error *err) {
  if (init->data[0] == '/')
    return nx_path_join(init->data_folder, "", init->data + 1, err);
  char *here = realpath(".", NULL);
  int r = here ? nx_path_join(init->data_folder, here, init->data, err)
               : nx_fail(err, NX_E_IO, "the current folder cannot be named");
  free(here);
  return r;
}

static void tell(const struct init *init) {
  struct nx_hash spki = {0};
  char fingerprint[NX_FINGERPRINT_SIZE];
  nx_certificate_spki(nx_buffer_view(&init->enrolled.certificate), &spki, NULL);
  nx_member_fingerprint(nx_identity_public(init->identity), &spki, fingerprint);
  printf("enrolled: %s in \"%s\", member %u\nfingerprint of this node: %s\n"
         "its folder: %s; start it with: neurox-node run --home %s\n",
         init->enrolled.name, init->invitation->federation_name, init->enrolled.member, fingerprint,
         init->home, init->home);
}

static int choose_passphrase(struct init *init, struct nx_error *err) {
  if (init->passphrase_file)
    snprintf(init->unlock.file, sizeof init->unlock.file, "%s", init->passphrase_file);
  return nx_unlock_choose(&init->unlock, "this node's keys", err);
}

static int initialise(struct init *init, struct nx_error *err) {
  int r = nx_enrol_read_invitation(init->invitation_path, init->fingerprint,
                                   nx_clock_unix() / NX_SECOND, &init->invitation, err);
  if (r == 0 && init->name && strcmp(init->name, init->invitation->member))
    r = nx_fail(err, NX_E_INVALID, "the invitation is for '%s', not for '%s'",
                init->invitation->member, init->name);
  if (r == 0)
    r = absolute_data(init, err);
  if (r == 0)
    r = nx_site_data_check(init->data_folder, false, err);
  if (r == 0 && (init->protect || init->passphrase_file))
    r = choose_passphrase(init, err);
  if (r == 0)
    r = nx_home_begin(init->home, init->building, err);
  if (r < 0)
    return r;
  r = build(init, err);
  if (r < 0)
    nx_home_discard(init->building);
  else
    tell(init);
  return r;
}

static int parse(int argc, char *const *argv, struct init *init, struct nx_error *err) {
  const struct nx_option options[] = {
      {.name = "home", .value = &init->home},
      {.name = "fingerprint", .value = &init->fingerprint},
      {.name = "data", .value = &init->data},
      {.name = "name", .value = &init->name},
      {.name = "fold", .value = &init->fold},
      {.name = "approval", .value = &init->approval},
      {.name = "data-set", .value = &init->data_set},
      {.name = "passphrase-file", .value = &init->passphrase_file},
      {.name = "protect", .flag = &init->protect},
  };
  uint64_t fold = 0;
  size_t n_words;
  int r = nx_options_parse(argc, argv, options, NX_ARRAY_LENGTH(options), &init->invitation_path, 1,
                           &n_words, err);
  if (r == 0 && init->fold)
    r = nx_option_number("fold", init->fold, 0, 100000, &fold, err);
  init->fold_number = (uint32_t)fold;
  if (r == 0 && init->passphrase_file && init->passphrase_file[0] != '/')
    r = nx_fail(err, NX_E_INVALID, "--passphrase-file: a whole path, from /");
  if (r == 0 && (!n_words || !init->fingerprint || !init->data))
    r = nx_fail(err, NX_E_INVALID, "the invitation file, --fingerprint and --data are needed");
  if (r == 0 && strcmp(init->approval, "auto") && strcmp(init->approval, "ask"))
    r = nx_fail(err, NX_E_INVALID, "--approval: 'auto' or 'ask', not '%s'", init->approval);
  return r;
}

static int run_init(int argc, char *const *argv, struct nx_error *err) {
  _cleanup_(finish) struct init init = {.home = NX_NODE_HOME, .approval = "ask"};
  if (parse(argc, argv, &init, err) < 0)
    return NX_VERB_USAGE;
  return initialise(&init, err);
}

const struct nx_verb nx_verb_init = {
    .name = "init",
    .summary = "join a federation: from an invitation file to this node's own folder",
    .help =
        "usage: neurox-node init INVITATION --fingerprint \"3f2a 91c0 …\" --data DIR [--home DIR]\n"
        "                        [--data-set NAME] [--fold H] [--approval ask|auto] [--name "
        "NAME]\n\n"
        "Have the operator read the invitation's fingerprint to you (not from the same mail), and\n"
        "type it here. The node then makes its own keys, which never leave its folder, asks for a\n"
        "certificate, and writes node.yaml and policy.yaml, which you can edit. All of it, or\n"
        "nothing: after a failure nothing is left, and init can be repeated.\n\n"
        "  --data DIR      this site's EDF recordings; read, never written, never sent\n"
        "  --fold H        hold out the H-th person (in order of name, from 0) for scoring\n"
        "  --protect       put the keys under a passphrase, asked for here (neurox-node key --help)\n"
        "  --passphrase-file FILE   the same, with the passphrase in this file; node.yaml names it\n"
        "  --data-set NAME what plans that are for named data sets call this one\n"
        "  --approval ask  a plan waits for `neurox-node plan approve` (the default); auto: any\n"
        "                  plan within policy.yaml runs unasked\n"
        "  --name NAME     refuse an invitation that is made out to another name\n" NX_HELP_HOME,
    .run = run_init,
};
