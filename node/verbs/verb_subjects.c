/* Verb subjects: who withdrew, and which rounds and models used whom. For the steward's eyes. */
#include <stdio.h>
#include <string.h>

#include "common/size.h"
#include "node/dataset/cache.h"
#include "node/node_home.h"
#include "node/subject_records.h"
#include "node/verbs/verb.h"
#include "proto/codec/codec_site.h"

/* What node.yaml and HOME/withdrawn say; folder_out: where the recordings are. */
static int read_list(const char *home, struct nx_withdrawals *list, char folder_out[NX_PATH_SIZE],
                     struct nx_error *err) {
  struct nx_node_config *config = NULL;
  char path[NX_PATH_SIZE];
  int r = nx_path_join(path, home, NX_HOME_CONFIG, err);
  if (!r)
    r = nx_node_config_load(path, &config, err);
  if (!r)
    r = nx_withdrawals_read(home, &config->data, list, err);
  if (!r && folder_out)
    snprintf(folder_out, NX_PATH_SIZE, "%s", config->data.folder);
  nx_node_config_destroy(config);
  return r;
}

/* Which model versions stand on them, and, when the steward says so, a note for the hub. */
static int marked(const char *home, const char *only, bool tell_hub, struct nx_error *err) {
  _cleanup_(nx_withdrawals_finish) struct nx_withdrawals withdrawals = {0};
  _cleanup_free_ struct nx_marked_model *models = NULL;
  char hex[NX_HASH_HEX_SIZE];
  size_t n = 0;
  int r = read_list(home, &withdrawals, NULL, err);
  if (!r)
    r = nx_subject_records_marked(home, &withdrawals, only, &models, &n, err);
  if (r < 0)
    return r;
  for (size_t i = 0; i < n; i++) {
    nx_hash_hex(&models[i].model, hex);
    printf("marked: model %s of round %llu\n", hex, (unsigned long long)models[i].round);
  }
  if (!n)
    printf("no model version that this node knows stands on them\n");
  else if (!tell_hub)
    printf("%zu model versions keep what they learnt; the hub is told only if you say so: "
           "neurox-node subjects marked --tell-hub\n",
           n);
  if (!n || !tell_hub)
    return 0;
  r = nx_subject_records_tell(home, models, NX_MIN(n, (size_t)NX_WITHDRAWN_MODELS), err);
  if (!r)
    printf("the running node tells the hub within seconds, or when it is connected: these versions, "
           "never who or how many\n");
  return r;
}

static int withdraw(const char *home, const char *const *names, size_t n, bool tell_hub,
                    struct nx_error *err) {
  _cleanup_(nx_withdrawals_finish) struct nx_withdrawals before = {0};
  char folder[NX_PATH_SIZE], cache[NX_PATH_SIZE];
  int r = read_list(home, &before, folder, err);
  for (size_t i = 0; !r && i < n; i++) {
    r = nx_withdrawals_add(home, names[i], err);
    if (r < 0)
      return r;
    printf("withdrawn: %s, from the next round on\n", names[i]);
    if (!nx_subject_has_recordings(folder, names[i]))
      fprintf(stderr,
              "WARNING: no recording here is of %s: is it a typing error? It is on the list all the "
              "same, should one come later\n",
              names[i]);
  }
  if (!r)
    r = nx_path_join(cache, home, NX_HOME_CACHE, err);
  if (r < 0)
    return r;
  size_t entries = nx_cache_empty(cache);
  if (entries)
    printf("%zu preprocessed recordings removed from %s\n", entries, cache);
  return marked(home, n == 1 ? names[0] : NULL, tell_hub, err);
}

static int list(const char *home, struct nx_error *err) {
  _cleanup_(nx_withdrawals_finish) struct nx_withdrawals withdrawals = {0};
  int r = read_list(home, &withdrawals, NULL, err);
  for (size_t i = 0; !r && i < withdrawals.n; i++)
    printf("%s\n", withdrawals.names[i]);
  if (!r)
    fprintf(stderr, "%zu people withdrew\n", withdrawals.n);
  return r;
}

static int used(const char *home, const char *round, const char *model, struct nx_error *err) {
  _cleanup_(nx_withdrawals_finish) struct nx_withdrawals withdrawals = {0};
  _cleanup_(nx_subject_uses_finish) struct nx_subject_uses uses = {0};
  struct nx_hash hash;
  uint64_t number = 0;
  if (!round == !model) {
    nx_fail(err, NX_E_INVALID, "say --round N or --model HASH");
    return NX_VERB_USAGE;
  }
  if ((round && nx_option_number("round", round, 0, UINT64_MAX, &number, err) < 0) ||
      (model && nx_hash_from_hex(model, &hash, err) < 0))
    return NX_VERB_USAGE;
  int r = read_list(home, &withdrawals, NULL, err);
  if (!r)
    r = round ? nx_subject_records_of_round(home, &withdrawals, number, &uses, err)
              : nx_subject_records_of_model(home, &withdrawals, &hash, &uses, err);
  if (r < 0)
    return r;
  printf("subject\tuse\tfirst_round\tlast_round\twithdrawn\n");
  for (size_t i = 0; i < uses.n; i++)
    printf("%s\t%s\t%llu\t%llu\t%s\n", uses.list[i].subject,
           uses.list[i].trained ? "train" : "held-out",
           (unsigned long long)uses.list[i].first_round,
           (unsigned long long)uses.list[i].last_round, uses.list[i].withdrawn ? "yes" : "no");
  fprintf(stderr, "%zu people, of whom %zu withdrew since\n", uses.n, uses.n_withdrawn);
  return 0;
}

static int run_subjects(int argc, char *const *argv, struct nx_error *err) {
  const char *home = NX_NODE_HOME, *round = NULL, *model = NULL, *words[256];
  bool tell_hub = false;
  const struct nx_option options[] = {{.name = "home", .value = &home},
                                      {.name = "round", .value = &round},
                                      {.name = "model", .value = &model},
                                      {.name = "tell-hub", .flag = &tell_hub}};
  size_t n;
  if (nx_options_parse(argc, argv, options, NX_ARRAY_LENGTH(options), words, NX_ARRAY_LENGTH(words),
                       &n, err) < 0)
    return NX_VERB_USAGE;
  if (n >= 2 && !strcmp(words[0], "withdraw"))
    return withdraw(home, words + 1, n - 1, tell_hub, err);
  if (n == 1 && !strcmp(words[0], "marked"))
    return marked(home, NULL, tell_hub, err);
  if (n == 1 && !strcmp(words[0], "list"))
    return list(home, err);
  if (n == 1 && !strcmp(words[0], "used"))
    return used(home, round, model, err);
  nx_fail(err, NX_E_INVALID, "say withdraw PERSON…, list, used, or marked");
  return NX_VERB_USAGE;
}

const struct nx_verb nx_verb_subjects = {
    .name = "subjects",
    .summary = "withdraw people; who withdrew; which rounds and models used whom",
    .help =
        "usage: neurox-node subjects withdraw PERSON… [--tell-hub] [--home DIR]\n"
        "       neurox-node subjects marked [--tell-hub] [--home DIR]\n"
        "       neurox-node subjects list [--home DIR]\n"
        "       neurox-node subjects used --round N | --model HASH [--home DIR]\n\n"
        "withdraw puts people on HOME/withdrawn. The running node reads the list before every\n"
        "round: from the next one on they are not even read; no restart is needed. What was computed\n"
        "from recordings and kept in HOME/cache is removed. The audit log\n"
        "says that the list changed, and how many are on it, never who.\n"
        "used prints whom a round used, or whose recordings of this site are in a model version\n"
        "(all rounds of its plan up to it), and who of them withdrew since: such a version is\n"
        "marked by its last line. marked lists all versions that stand on somebody who withdrew\n"
        "since. All this comes from the node's own records and stays here. With --tell-hub the\n"
        "running node tells the hub which versions these are, signed, never who or how many;\n"
        "export and neurox-audit model then show the mark. Nothing is unlearnt by it.\n\n" NX_HELP_HOME,
    .run = run_subjects,
};
