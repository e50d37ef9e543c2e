#include "node/node_config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/config.h"
#include "common/file.h"
#include "common/modality.h"
#include "common/size.h"

/* Where keep: says nothing. Masked uploads go like the coordinator's: X25519 under their masks will
 * not stand for ever. Receipts are what a steward answers from. */
#define UPLOADS_DAYS 14u
#define MODELS_DAYS 90u
#define ANSWERS_DAYS 365u
#define RECEIPTS_DAYS 0u
#define DAYS_MOST 36500u
#define MEMORY_MB_MOST ((1u << 24) - 1) /* 16 TiB */

static const cyaml_strval_t broken_files[] = {
    {"stop", NX_BROKEN_STOP},
    {"skip", NX_BROKEN_SKIP},
};

static const cyaml_schema_value_t word = {
    CYAML_VALUE_STRING(CYAML_FLAG_POINTER, char *, 1, 128),
};

#define WORDS(type, member)                                                                        \
  CYAML_FIELD_SEQUENCE_COUNT(#member, CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, type, member,      \
                             n_##member, &word, 0, 10000)

#define WORD(type, member)                                                                         \
  CYAML_FIELD_STRING_PTR(#member, CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, type, member, 1, 64)

static const cyaml_schema_field_t data_fields[] = {
    CYAML_FIELD_STRING_PTR("name", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL,
                           struct nx_node_config_data, name, 1, 64),
    CYAML_FIELD_STRING_PTR("folder", CYAML_FLAG_POINTER, struct nx_node_config_data, folder, 1,
                           NX_PATH_SIZE - 1),
    WORDS(struct nx_node_config_data, held_out),
    CYAML_FIELD_UINT_PTR("held_out_fold", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL,
                         struct nx_node_config_data, held_out_fold),
    WORDS(struct nx_node_config_data, withdrawn),
    CYAML_FIELD_BOOL("allow_identifying_headers", CYAML_FLAG_OPTIONAL, struct nx_node_config_data,
                     allow_identifying_headers),
    WORD(struct nx_node_config_data, modality),
    WORD(struct nx_node_config_data, species),
    CYAML_FIELD_STRING_PTR("behaviour", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL,
                           struct nx_node_config_data, behaviour, 1, NX_PATH_SIZE - 1),
    CYAML_FIELD_ENUM("broken_files", CYAML_FLAG_STRICT | CYAML_FLAG_OPTIONAL,
                     struct nx_node_config_data, broken_files, broken_files,
                     NX_ARRAY_LENGTH(broken_files)),
    CYAML_FIELD_UINT_PTR("cache_mb", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL,
                         struct nx_node_config_data, cache_mb),
    CYAML_FIELD_END,
};

#define DAYS(key)                                                                                  \
  CYAML_FIELD_UINT_PTR(#key, CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, struct nx_node_config_keep, \
                       key)

static const cyaml_schema_field_t keep_fields[] = {
    DAYS(uploads_days),
    DAYS(models_days),
    DAYS(answers_days),
    DAYS(receipts_days),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t node_fields[] = {
    CYAML_FIELD_UINT("neurox_node", CYAML_FLAG_DEFAULT, struct nx_node_config, neurox_node),
    CYAML_FIELD_STRING_PTR("name", CYAML_FLAG_POINTER, struct nx_node_config, name, 1, 64),
    CYAML_FIELD_STRING_PTR("coordinator", CYAML_FLAG_POINTER, struct nx_node_config, coordinator, 3,
                           260),
    CYAML_FIELD_UINT("upload_kb_per_s", CYAML_FLAG_OPTIONAL, struct nx_node_config,
                     upload_kb_per_s),
    CYAML_FIELD_UINT("download_kb_per_s", CYAML_FLAG_OPTIONAL, struct nx_node_config,
                     download_kb_per_s),
    CYAML_FIELD_UINT("threads", CYAML_FLAG_OPTIONAL, struct nx_node_config, threads),
    CYAML_FIELD_UINT("memory_mb", CYAML_FLAG_OPTIONAL, struct nx_node_config, memory_mb),
    CYAML_FIELD_STRING_PTR("passphrase_file", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL,
                           struct nx_node_config, passphrase_file, 1, NX_PATH_SIZE - 1),
    CYAML_FIELD_MAPPING("data", CYAML_FLAG_DEFAULT, struct nx_node_config, data, data_fields),
    CYAML_FIELD_MAPPING("keep", CYAML_FLAG_OPTIONAL, struct nx_node_config, keep, keep_fields),
    CYAML_FIELD_STRING_PTR("policy", CYAML_FLAG_POINTER, struct nx_node_config, policy, 1,
                           NX_PATH_SIZE - 1),
    CYAML_FIELD_END,
};

static const cyaml_schema_value_t schema = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, struct nx_node_config, node_fields),
};

static int check_data(const char *path, const struct nx_node_config_data *data,
                      struct nx_error *err) {
  enum nx_modality modality;
  enum nx_species species;
  if (data->modality && !nx_modality_from_name(data->modality, &modality))
    return nx_config_wrong(path, "data.modality", err,
                           "'%s': use eeg, meg, ieeg, lfp, spikes, calcium or fmri",
                           data->modality);
  if (data->species && !nx_species_from_name(data->species, &species))
    return nx_config_wrong(path, "data.species", err, "'%s': use human, monkey, rat or mouse",
                           data->species);
  if (data->n_held_out && data->held_out_fold)
    return nx_config_wrong(path, "data.held_out_fold", err,
                           "held_out and held_out_fold are both there; keep one");
  return 0;
}

struct nx_node_days nx_node_config_days(const struct nx_node_config *config) {
  const struct nx_node_config_keep *keep = &config->keep;
  return (struct nx_node_days){
      .uploads = keep->uploads_days ? *keep->uploads_days : UPLOADS_DAYS,
      .models = keep->models_days ? *keep->models_days : MODELS_DAYS,
      .answers = keep->answers_days ? *keep->answers_days : ANSWERS_DAYS,
      .receipts = keep->receipts_days ? *keep->receipts_days : RECEIPTS_DAYS};
}

static int check_keep(const char *path, const struct nx_node_config *config,
                      struct nx_error *err) {
  const struct nx_node_days days = nx_node_config_days(config);
  const struct {
    const char *key;
    uint32_t days;
  } all[] = {{"keep.uploads_days", days.uploads},
             {"keep.models_days", days.models},
             {"keep.answers_days", days.answers},
             {"keep.receipts_days", days.receipts}};
  for (size_t i = 0; i < NX_ARRAY_LENGTH(all); i++)
    if (all[i].days > DAYS_MOST)
      return nx_config_wrong(path, all[i].key, err, "%u: use 1 to %u days, or 0 for no limit",
                             all[i].days, DAYS_MOST);
  return 0;
}

static int check(const char *path, const struct nx_node_config *config, struct nx_error *err) {
  if (config->neurox_node != NX_NODE_CONFIG_VERSION)
    return nx_config_wrong(path, "neurox_node", err, "version %u is not known here, only %d",
                           config->neurox_node, NX_NODE_CONFIG_VERSION);
  const char *colon = strrchr(config->coordinator, ':');
  if (!colon || colon == config->coordinator || !colon[1])
    return nx_config_wrong(path, "coordinator", err, "'%s' is not host:port", config->coordinator);
  int r = check_data(path, &config->data, err);
  if (r == 0)
    r = check_keep(path, config, err);
  if (r == 0 && config->threads > 256)
    r = nx_config_wrong(path, "threads", err, "%u is outside 0..256", config->threads);
  if (r == 0 && config->memory_mb > MEMORY_MB_MOST)
    r = nx_config_wrong(path, "memory_mb", err, "%u is outside 0..%u", config->memory_mb,
                        MEMORY_MB_MOST);
  return r;
}

/* Before site policies had a file of their own, `policy:` was a section of node.yaml. */
static int explain_section(const char *path, int code, struct nx_error *err) {
  _cleanup_(nx_buffer_finish) struct nx_buffer text = {0};
  if (code != NX_E_FORMAT || nx_file_read(path, NX_CONFIG_CAP, &text, NULL) < 0 ||
      nx_buffer_append(&text, "", 1, NULL) < 0)
    return code;
  unsigned line = 1;
  for (const char *at = (const char *)text.data; at; line++) {
    if (!strncmp(at, "policy:", 7)) {
      at += 7 + strspn(at + 7, " \t");
      if (*at == '\n' || *at == '#')
        return nx_fail(err, NX_E_FORMAT,
                       "%s:%u: policy is no section here any more: write `policy: policy.yaml`, "
                       "and move its keys into that file (minimum_members under cohort:, plans as "
                       "plans.allowed); configs/policy.yaml shows it",
                       path, line);
      return code;
    }
    at = strchr(at, '\n');
    at = at ? at + 1 : NULL;
  }
  return code;
}

int nx_node_config_load(const char *path, struct nx_node_config **config_out,
                        struct nx_error *err) {
  void *value = NULL;
  int r = nx_config_load(path, &schema, &value, err);
  if (r < 0)
    return explain_section(path, r, err);
  _cleanup_(nx_node_config_destroyp) struct nx_node_config *config = value;
  r = check(path, config, err);
  if (r < 0)
    return r;
  *config_out = nx_steal(&config);
  return 0;
}

void nx_node_config_destroy(struct nx_node_config *config) {
  nx_config_free(&schema, config);
}

/* A YAML single-quoted scalar: only the quote itself needs doubling. */
static void put_quoted(FILE *out, const char *text) {
  putc('\'', out);
  for (; *text; text++) {
    if (*text == '\'')
      putc('\'', out);
    putc(*text, out);
  }
  putc('\'', out);
}

static void put_words(FILE *out, const char *key, char *const *words, uint32_t n) {
  fprintf(out, "  %s: [", key);
  for (uint32_t i = 0; i < n; i++) {
    fputs(i ? ", " : "", out);
    put_quoted(out, words[i]);
  }
  fputs("]\n", out);
}

static void put_data(FILE *out, const struct nx_node_config_data *data) {
  fputs("\ndata:\n", out);
  if (data->name) {
    fputs("  name: ", out);
    put_quoted(out, data->name);
    fputs("   # plans may be for named data sets only\n", out);
  }
  fputs("  folder: ", out);
  put_quoted(out, data->folder);
  fputs("\n  # People who never train, only score: names, or a fold (the fold-th person in\n"
        "  # order of name). With neither, this site reports no held-out scores.\n",
        out);
  if (data->held_out_fold)
    fprintf(out, "  held_out_fold: %u\n", *data->held_out_fold);
  else
    put_words(out, "held_out", data->held_out, data->n_held_out);
  if (data->modality)
    fprintf(out, "  modality: %s\n", data->modality);
  if (data->species)
    fprintf(out, "  species: %s\n", data->species);
  fputs(
      "  # People who withdrew before this node began. Later ones: neurox-node subjects withdraw,\n"
      "  # which counts from the next round on.\n",
      out);
  put_words(out, "withdrawn", data->withdrawn, data->n_withdrawn);
  fprintf(out,
          "  # true: train even from files whose header looks as if it named somebody. Better:\n"
          "  # neurox-node deidentify.\n  allow_identifying_headers: %s\n",
          data->allow_identifying_headers ? "true" : "false");
  fprintf(out,
          "  # Most megabytes of preprocessed recordings kept in this folder's cache/; 0: none.\n"
          "  cache_mb: %u\n",
          data->cache_mb ? *data->cache_mb : NX_CACHE_MB);
}

static void put_keep(FILE *out, const struct nx_node_config *config) {
  const struct nx_node_days days = nx_node_config_days(config);
  fprintf(out,
          "\n# How many days things lie in this folder; then they are deleted, which is an entry of\n"
          "# the audit log. 0: no limit. Log, subject records and ledger never go by themselves.\n"
          "keep:\n"
          "  uploads_days: %u      # masked uploads that a round left behind\n"
          "  models_days: %u       # of past rounds; the present one stays\n"
          "  answers_days: %u     # what the hub was told of whether the data fit\n"
          "  receipts_days: %u      # what left (egress); the newest stays\n",
          days.uploads, days.models, days.answers, days.receipts);
}

static void put_config(FILE *out, const struct nx_node_config *config) {
  fprintf(out,
          "# What this institution decides about its node. A wrong key is refused with its\n"
          "# line; the file is read once, when neurox-node run starts.\n"
          "neurox_node: %d\n\nname: ",
          NX_NODE_CONFIG_VERSION);
  put_quoted(out, config->name);
  fputs("\ncoordinator: ", out);
  put_quoted(out, config->coordinator);
  fprintf(out, "\nupload_kb_per_s: %u       # 0: as fast as it goes\n", config->upload_kb_per_s);
  fprintf(out, "download_kb_per_s: %u     # the same, for models and sums\n",
          config->download_kb_per_s);
  fprintf(out, "threads: %u               # for training; 0: one per processor\n", config->threads);
  fprintf(out, "memory_mb: %u             # most MiB it may come to have; 0: what the machine has left\n",
          config->memory_mb);
  fputs("# Where the passphrase of protected keys is (neurox-node key --help), one line, mode 0600.\n"
        "# Without: the systemd credential neurox-passphrase, or the terminal.\n",
        out);
  fputs(config->passphrase_file ? "passphrase_file: " : "# passphrase_file: ", out);
  put_quoted(out, config->passphrase_file ? config->passphrase_file : "/etc/neurox/passphrase");
  putc('\n', out);
  put_data(out, &config->data);
  put_keep(out, config);
  fputs("\n# What may run here, in a file of its own; read again before every round.\npolicy: ",
        out);
  put_quoted(out, config->policy);
  putc('\n', out);
}

/* YAML would fold them away or refuse them. */
static int refuse_control_characters(const char *key, const char *text, struct nx_error *err) {
  for (; *text; text++)
    if ((unsigned char)*text < 0x20)
      return nx_fail(err, NX_E_INVALID, "%s: control characters are not possible here", key);
  return 0;
}

int nx_node_config_write(const char *path, const struct nx_node_config *config,
                         struct nx_error *err) {
  int r = check(path, config, err);
  if (r == 0)
    r = refuse_control_characters("name", config->name, err);
  if (r == 0 && config->passphrase_file)
    r = refuse_control_characters("passphrase_file", config->passphrase_file, err);
  if (r == 0 && config->data.name)
    r = refuse_control_characters("data.name", config->data.name, err);
  if (r == 0)
    r = refuse_control_characters("data folder", config->data.folder, err);
  if (r < 0)
    return r;
  _cleanup_free_ char *text = NULL;
  size_t size = 0;
  FILE *out = open_memstream(&text, &size);
  if (!out)
    return nx_fail(err, NX_E_NOMEM, "%s: out of memory", path);
  put_config(out, config);
  if (fclose(out))
    return nx_fail(err, NX_E_NOMEM, "%s: out of memory", path);
  return nx_file_create(path, nx_bytes(text, size), 0600, err);
}
