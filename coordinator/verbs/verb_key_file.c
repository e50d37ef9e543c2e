/* Verb key: the coordinator's identity, a person's key or the root's, under a passphrase or not. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "coordinator/verbs/coordinator_verb.h"
#include "coordinator/verbs/credential.h"
#include "crypto/key_change.h"

struct key_verb {
  char home[NX_PATH_SIZE], path[NX_PATH_SIZE];
  const char *root, *file, *new_file;
  bool is_person;
  struct nx_unlock present, next;
  int lock;
};

static void finish(struct key_verb *verb) {
  nx_unlock_finish(&verb->present);
  nx_unlock_finish(&verb->next);
  if (verb->lock >= 0)
    close(verb->lock);
}

/* Which of the three folders was named. */
static int find_key(struct key_verb *verb, struct nx_error *err) {
  char path[NX_PATH_SIZE];
  int r;
  if (verb->root)
    return nx_path_join(verb->path, verb->root, "root.key", err);
  if ((r = nx_path_join(path, verb->home, NX_CREDENTIAL_FILE, err)) < 0)
    return r;
  verb->is_person = nx_path_exists(path);
  return nx_path_join(verb->path, verb->home,
                      verb->is_person ? NX_CREDENTIAL_KEY : NX_FEDERATION_IDENTITY, err);
}

static int ask_config(struct key_verb *verb, struct nx_unlock *unlock, struct nx_error *err) {
  _cleanup_(nx_federation_closep) struct nx_federation *federation = NULL;
  if (verb->root)
    return 0;
  if (verb->is_person)
    return nx_credential_passphrase(verb->home, unlock, err);
  int r = nx_federation_open(verb->home, &federation, err);
  return r < 0 ? r : nx_federation_find_passphrase(federation, unlock, err);
}

static int find_passphrases(struct key_verb *verb, enum nx_key_change change,
                            struct nx_error *err) {
  struct nx_unlock *given = change == NX_KEY_PROTECT ? &verb->next : &verb->present;
  int r = verb->file ? 0 : ask_config(verb, given, err);
  if (r == 0 && verb->file)
    snprintf(given->file, sizeof given->file, "%s", verb->file);
  if (r == 0 && change == NX_KEY_RENEW && verb->new_file)
    snprintf(verb->next.file, sizeof verb->next.file, "%s", verb->new_file);
  return r;
}

static int change_key(struct key_verb *verb, const char *word, struct nx_error *err) {
  const char *const keys[] = {verb->path};
  enum nx_key_change change = NX_KEY_PROTECT;
  if (nx_key_change_from(word, &change, err) < 0)
    return NX_VERB_USAGE;
  int r = verb->root || verb->is_person ? 0 : nx_folder_lock(verb->home, &verb->lock, err);
  if (r < 0)
    return nx_error_prefix(err, r, "stop the coordinator first");
  if ((r = find_passphrases(verb, change, err)) < 0 ||
      (r = nx_key_change_files(keys, 1, change, &verb->present, &verb->next, &nx_key_cost_usual,
                               err)) < 0)
    return r;
  if (r == 0)
    printf("it was so already\n");
  nx_key_change_show(keys, 1);
  if (change == NX_KEY_RENEW && verb->new_file && *verb->present.file)
    printf("now put the new passphrase where the old one is: mv %s %s\n", verb->new_file,
           verb->present.file);
  return 0;
}

static int run_key(int argc, char *const *argv, struct nx_error *err) {
  _cleanup_(finish) struct key_verb verb = {.lock = -1};
  const char *given = NX_COORDINATOR_HOME, *word = "show";
  const struct nx_option options[] = {{.name = "home", .value = &given},
                                      {.name = "root", .value = &verb.root},
                                      {.name = "passphrase-file", .value = &verb.file},
                                      {.name = "new-passphrase-file", .value = &verb.new_file}};
  size_t n;
  if (nx_options_parse(argc, argv, options, NX_ARRAY_LENGTH(options), &word, 1, &n, err) < 0 ||
      nx_verb_home(given, verb.home, err) < 0)
    return NX_VERB_USAGE;
  int r = find_key(&verb, err);
  if (r == 0 && !nx_path_exists(verb.path))
    r = nx_fail(err, NX_E_NOT_FOUND,
                "there is no %s: name with --home a federation's or a person's folder, with --root "
                "the root's",
                verb.path);
  if (r < 0 || strcmp(word, "show"))
    return r < 0 ? r : change_key(&verb, word, err);
  const char *const keys[] = {verb.path};
  nx_key_change_show(keys, 1);
  return 0;
}

const struct nx_coordinator_verb nx_coordinator_key = {
    .name = "key",
    .summary = "put the coordinator's, a person's or the root's key under a passphrase",
    .help =
        "usage: neurox-coordinator key [show] [--home DIR | --root DIR]\n"
        "       neurox-coordinator key protect|unprotect [--passphrase-file FILE]\n"
        "       neurox-coordinator key change [--new-passphrase-file FILE]\n\n"
        "Encrypts (Argon2id, XChaCha20-Poly1305) HOME/identity.key of a federation, key.pem of a\n"
        "folder that grant wrote, or with --root the offline root's root.key, under a passphrase\n"
        "of at least 12 characters. The file is replaced whole: a power cut leaves a usable key.\n"
        "A forgotten passphrase cannot be helped. Stop the coordinator before.\n\n"
        "Whoever needs the key finds the passphrase in\n"
        "  1. the file that coordinator.yaml or credential.yaml names (passphrase_file): one\n"
        "     line, mode 0600; for a root: ca --passphrase-file\n"
        "  2. $CREDENTIALS_DIRECTORY/neurox-passphrase, from systemd\n"
        "     (configs/neurox-coordinator.service)\n"
        "  3. the terminal, without echo\n\n"
        "Not covered: the issuing key and the TLS keys of ca/, tls/ and operator/, which serve\n"
        "and other verbs need unattended; they are replaced without a trace in what members "
        "hold\n"
        "(ca renew-issuer).\n\n" NX_HELP_COORDINATOR_HOME
        "  --root DIR      the root's folder\n"
        "  --passphrase-file FILE      instead of 1\n"
        "  --new-passphrase-file FILE  for change: the new one (default: asked for twice)\n",
    .run = run_key,
};
