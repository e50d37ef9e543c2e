/* Verb key: the node's private keys put under a passphrase, taken out, or put under another. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "crypto/key_change.h"
#include "node/node_home.h"
#include "node/verbs/verb.h"

struct key_verb {
  const char *home, *file, *new_file;
  char paths[3][NX_PATH_SIZE];
  const char *keys[3];
  struct nx_unlock present, next;
  int lock;
};

static void finish(struct key_verb *verb) {
  nx_unlock_finish(&verb->present);
  nx_unlock_finish(&verb->next);
  if (verb->lock >= 0)
    close(verb->lock);
}

static int find_keys(struct key_verb *verb, struct nx_error *err) {
  static const char *const names[] = {NX_HOME_IDENTITY, NX_HOME_NEXT_IDENTITY, NX_HOME_TLS_KEY};
  for (size_t i = 0; i < NX_ARRAY_LENGTH(names); i++) {
    int r = nx_path_join(verb->paths[i], verb->home, names[i], err);
    if (r < 0)
      return r;
    verb->keys[i] = verb->paths[i];
  }
  return nx_path_exists(verb->keys[0])
             ? 0
             : nx_fail(err, NX_E_NOT_FOUND,
                       "%s is no node's folder: run neurox-node init first, or name it with --home",
                       verb->home);
}

/* Where the passphrases come from: the options, or what node.yaml says. */
static int find_passphrases(struct key_verb *verb, enum nx_key_change change,
                            struct nx_error *err) {
  struct nx_unlock *given = change == NX_KEY_PROTECT ? &verb->next : &verb->present;
  int r = verb->file ? 0 : nx_home_unlock(verb->home, given, err);
  if (r == 0 && verb->file)
    snprintf(given->file, sizeof given->file, "%s", verb->file);
  if (r == 0 && change == NX_KEY_RENEW && verb->new_file)
    snprintf(verb->next.file, sizeof verb->next.file, "%s", verb->new_file);
  return r;
}

static void tell(const struct key_verb *verb, enum nx_key_change change, int n) {
  printf("%d of the keys in %s changed\n", n, verb->home);
  nx_key_change_show(verb->keys, NX_ARRAY_LENGTH(verb->keys));
  if (change == NX_KEY_PROTECT && !*verb->next.file)
    printf("\nNobody can start this node without the passphrase now. A service needs the systemd\n"
           "credential " NX_PASSPHRASE_CREDENTIAL " (configs/neurox-node.service), or passphrase_file "
           "in node.yaml.\n");
  if (change == NX_KEY_PROTECT && n)
    printf("\nThe blocks that the plain files were in may still be on the disk, and in backups. If\n"
           "that matters: neurox-node members new-key.\n");
  if (change == NX_KEY_RENEW && verb->new_file && *verb->present.file)
    printf("\nNow put the new passphrase where the old one is: mv %s %s\n", verb->new_file,
           verb->present.file);
}

static int change_keys(struct key_verb *verb, const char *word, struct nx_error *err) {
  enum nx_key_change change = NX_KEY_PROTECT;
  int r = nx_key_change_from(word, &change, err);
  if (r < 0)
    return NX_VERB_USAGE;
  if ((r = nx_folder_lock(verb->home, &verb->lock, err)) < 0)
    return nx_error_prefix(err, r, "stop the node first");
  if ((r = find_passphrases(verb, change, err)) < 0)
    return r;
  r = nx_key_change_files(verb->keys, NX_ARRAY_LENGTH(verb->keys), change, &verb->present,
                          &verb->next, &nx_key_cost_usual, err);
  if (r < 0)
    return r;
  tell(verb, change, r);
  return 0;
}

static int run_key(int argc, char *const *argv, struct nx_error *err) {
  _cleanup_(finish) struct key_verb verb = {.home = NX_NODE_HOME, .lock = -1};
  const char *word = "show";
  const struct nx_option options[] = {{.name = "home", .value = &verb.home},
                                      {.name = "passphrase-file", .value = &verb.file},
                                      {.name = "new-passphrase-file", .value = &verb.new_file}};
  size_t n;
  if (nx_options_parse(argc, argv, options, NX_ARRAY_LENGTH(options), &word, 1, &n, err) < 0)
    return NX_VERB_USAGE;
  int r = find_keys(&verb, err);
  if (r < 0)
    return r;
  if (strcmp(word, "show"))
    return change_keys(&verb, word, err);
  nx_key_change_show(verb.keys, NX_ARRAY_LENGTH(verb.keys));
  return 0;
}

const struct nx_verb nx_verb_key = {
    .name = "key",
    .summary = "put this node's private keys under a passphrase, or see how they are kept",
    .help =
        "usage: neurox-node key [show] [--home DIR]\n"
        "       neurox-node key protect [--passphrase-file FILE] [--home DIR]\n"
        "       neurox-node key change [--new-passphrase-file FILE] [--home DIR]\n"
        "       neurox-node key unprotect [--home DIR]\n\n"
        "A key that is a plain file (mode 0600) is anybody's who can read the disk: a thief of\n"
        "the laptop, of a backup. protect encrypts identity.key, identity.next.key and\n"
        "tls/node.key (Argon2id, XChaCha20-Poly1305) under a passphrase of at least 12\n"
        "characters; each file is replaced whole, so that a power cut leaves a usable key, and\n"
        "the same command again finishes what was interrupted. A forgotten passphrase cannot be\n"
        "helped: keep it where the keys are not. Stop the node before.\n\n"
        "Whoever needs the keys (run, plan, members, preview, renew) finds the passphrase in\n"
        "  1. the file that node.yaml names (passphrase_file): one line, mode 0600\n"
        "  2. $CREDENTIALS_DIRECTORY/neurox-passphrase, from systemd\n"
        "     (configs/neurox-node.service)\n"
        "  3. the terminal, without echo\n\n" NX_HELP_HOME
        "  --passphrase-file FILE      instead of 1\n"
        "  --new-passphrase-file FILE  for change: the new one (default: asked for twice)\n",
    .run = run_key,
};
