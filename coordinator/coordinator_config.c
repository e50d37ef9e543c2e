#include "coordinator/coordinator_config.h"

#include <stdio.h>

#include "common/config.h"
#include "common/file.h"
#include "common/size.h"
#include "coordinator/address.h"

#define UPLOAD_DAYS 14 /* unless the file says otherwise: nobody keeps them for ever unasked */
#define STILLNESS 300  /* s; the longest single step of a training must fit in */
#define STILLNESS_LEAST 30 /* s; a quiet node says that it lives every 20 s */

static const cyaml_strval_t keep[] = {{"round", NX_KEEP_ROUND}, {"run", NX_KEEP_RUN}};

#define TEXT(key, most)                                                                            \
  CYAML_FIELD_STRING_PTR(#key, CYAML_FLAG_POINTER, struct nx_coordinator_config, key, 1, most)
#define WHOLE(key) CYAML_FIELD_UINT(#key, CYAML_FLAG_DEFAULT, struct nx_coordinator_config, key)

static const cyaml_schema_field_t fields[] = {
    WHOLE(neurox_coordinator),
    TEXT(name, 64),
    TEXT(address, NX_ADDRESS_SIZE - 1),
    TEXT(listen, NX_ADDRESS_SIZE - 1),
    TEXT(enrol_address, NX_ADDRESS_SIZE - 1),
    TEXT(enrol_listen, NX_ADDRESS_SIZE - 1),
    WHOLE(invitation_hours),
    WHOLE(certificate_days),
    WHOLE(threads),
    WHOLE(attempts),
    CYAML_FIELD_ENUM("keep_uploads", CYAML_FLAG_STRICT, struct nx_coordinator_config, keep_uploads,
                     keep, NX_ARRAY_LENGTH(keep)),
    CYAML_FIELD_UINT_PTR("keep_uploads_days", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL,
                         struct nx_coordinator_config, keep_uploads_days),
    CYAML_FIELD_UINT("keep_models_days", CYAML_FLAG_OPTIONAL, struct nx_coordinator_config,
                     keep_models_days),
    CYAML_FIELD_UINT_PTR("stillness_seconds", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL,
                         struct nx_coordinator_config, stillness_seconds),
    CYAML_FIELD_STRING_PTR("passphrase_file", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL,
                           struct nx_coordinator_config, passphrase_file, 1, NX_PATH_SIZE - 1),
    CYAML_FIELD_UINT("certificate_seconds", CYAML_FLAG_OPTIONAL, struct nx_coordinator_config,
                     certificate_seconds),
    CYAML_FIELD_END,
};

static const cyaml_schema_value_t schema = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, struct nx_coordinator_config, fields)};

uint32_t nx_coordinator_config_upload_days(const struct nx_coordinator_config *config) {
  return config->keep_uploads_days ? *config->keep_uploads_days : UPLOAD_DAYS;
}

uint32_t nx_coordinator_config_stillness(const struct nx_coordinator_config *config) {
  return config->stillness_seconds ? *config->stillness_seconds : STILLNESS;
}

static int check_stillness(const char *path, uint32_t seconds, struct nx_error *err) {
  if (!seconds || (seconds >= STILLNESS_LEAST && seconds <= 86400))
    return 0;
  return nx_config_wrong(path, "stillness_seconds", err,
                         "%u: use %d to 86400, or 0 for no such limit (nodes say every 20 s that "
                         "they live)",
                         seconds, STILLNESS_LEAST);
}

static int check_name(const char *path, const char *name, struct nx_error *err) {
  for (const char *at = name; *at; at++)
    if ((unsigned char)*at < 0x20 || *at == '\'' || *at == '\\' || *at == 0x7f)
      return nx_config_wrong(path, "name", err, "no quotes, backslashes or control characters");
  return *name ? 0 : nx_config_wrong(path, "name", err, "is empty");
}

static int check(const char *path, const struct nx_coordinator_config *c, struct nx_error *err) {
  if (c->neurox_coordinator != NX_COORDINATOR_CONFIG_VERSION)
    return nx_config_wrong(path, "neurox_coordinator", err, "version %u is not known, only %d",
                           c->neurox_coordinator, NX_COORDINATOR_CONFIG_VERSION);
  const struct {
    const char *key, *text;
  } addresses[] = {{"address", c->address},
                   {"listen", c->listen},
                   {"enrol_address", c->enrol_address},
                   {"enrol_listen", c->enrol_listen}};
  struct nx_address address;
  for (size_t i = 0; i < NX_ARRAY_LENGTH(addresses); i++) {
    struct nx_error why;
    if (nx_address_parse(addresses[i].text, &address, &why) < 0)
      return nx_config_wrong(path, addresses[i].key, err, "%s", why.text);
  }
  const struct {
    const char *key;
    uint32_t value, low, high;
  } ranges[] = {{"invitation_hours", c->invitation_hours, 1, 8760},
                {"certificate_days", c->certificate_days, 1, 3650},
                {"keep_uploads_days", nx_coordinator_config_upload_days(c), 0, 3650},
                {"keep_models_days", c->keep_models_days, 0, 36500},
                {"threads", c->threads, 0, 256},
                {"attempts", c->attempts, 1, 1000}};
  for (size_t i = 0; i < NX_ARRAY_LENGTH(ranges); i++)
    if (ranges[i].value < ranges[i].low || ranges[i].value > ranges[i].high)
      return nx_config_wrong(path, ranges[i].key, err, "%u: use %u to %u", ranges[i].value,
                             ranges[i].low, ranges[i].high);
  int r = check_stillness(path, nx_coordinator_config_stillness(c), err);
  return r < 0 ? r : check_name(path, c->name, err);
}

int nx_coordinator_config_load(const char *path, struct nx_coordinator_config **config_out,
                               struct nx_error *err) {
  void *value = NULL;
  int r = nx_config_load(path, &schema, &value, err);
  if (r < 0)
    return r;
  _cleanup_(nx_coordinator_config_destroyp) struct nx_coordinator_config *config = value;
  if ((r = check(path, config, err)) < 0)
    return r;
  *config_out = nx_steal(&config);
  return 0;
}

void nx_coordinator_config_destroy(struct nx_coordinator_config *config) {
  nx_config_free(&schema, config);
}

static void put(FILE *out, const struct nx_coordinator_config *c) {
  fprintf(out,
          "# A federation's coordinator. A wrong key is refused with its line; the file is read\n"
          "# once, when neurox-coordinator serve starts.\n"
          "neurox_coordinator: %d\n"
          "name: '%s'\n\n"
          "# Where members reach it (this stands in their invitations), and what it binds here.\n"
          "address: '%s'\n"
          "listen: '%s'\n\n"
          "# Enrolment has a port of its own, open only while an invitation is.\n"
          "enrol_address: '%s'\n"
          "enrol_listen: '%s'\n\n",
          NX_COORDINATOR_CONFIG_VERSION, c->name, c->address, c->listen, c->enrol_address,
          c->enrol_listen);
  fprintf(
      out,
      "invitation_hours: %u     # how long an invitation can be used\n"
      "certificate_days: %u      # how long a member's certificate and our own are valid; they\n"
      "                         # renew themselves when a third of it is left\n"
      "threads: %u               # for sums and masks; 0: one per processor\n"
      "attempts: %u              # of one round, before the run stops and says why\n"
      "stillness_seconds: %u   # a member that a round waits for, and of which nothing moved for\n"
      "                         # so long (messages, bytes, its own word of its work), counts as\n"
      "                         # gone until it moves; 0: for ever, to the end of the phase\n\n"
      "# Masked uploads are deleted when their round is sealed (round), or when the next run\n"
      "# starts, so that an auditor can replay a finished run (run).\n"
      "keep_uploads: %s\n\n"
      "# Whatever happens, this is how many days things lie here. Each deletion is an entry of\n"
      "# the audit log. 0: no such limit.\n"
      "keep_uploads_days: %u    # masked uploads\n"
      "keep_models_days: %u      # models and sums of past rounds; a run's last model stays\n\n"
      "# Where the passphrase of a protected identity.key is (neurox-coordinator key --help), one\n"
      "# line, mode 0600. Without: the systemd credential neurox-passphrase, or the terminal.\n"
      "# passphrase_file: /etc/neurox/passphrase\n",
      c->invitation_hours, c->certificate_days, c->threads, c->attempts,
      nx_coordinator_config_stillness(c), keep[c->keep_uploads].str,
      nx_coordinator_config_upload_days(c), c->keep_models_days);
}

int nx_coordinator_config_write(const char *path, const struct nx_coordinator_config *config,
                                struct nx_error *err) {
  int r = check(path, config, err);
  if (r < 0)
    return r;
  _cleanup_free_ char *text = NULL;
  size_t size = 0;
  FILE *out = open_memstream(&text, &size);
  if (!out)
    return nx_fail(err, NX_E_NOMEM, "%s: out of memory", path);
  put(out, config);
  if (fclose(out))
    return nx_fail(err, NX_E_NOMEM, "%s: out of memory", path);
  return nx_file_create(path, nx_bytes(text, size), 0600, err);
}
