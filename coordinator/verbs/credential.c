#include "coordinator/verbs/credential.h"

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/config.h"
#include "common/size.h"
#include "crypto/certificate.h"

#define TEXT(key, most)                                                                            \
  CYAML_FIELD_STRING_PTR(#key, CYAML_FLAG_POINTER, struct nx_credential, key, 1, most)

static const cyaml_schema_field_t fields[] = {
    CYAML_FIELD_UINT("neurox_credential", CYAML_FLAG_DEFAULT, struct nx_credential,
                     neurox_credential),
    TEXT(federation, 64),
    TEXT(role, 16),
    TEXT(name, 64),
    TEXT(address, 299),
    CYAML_FIELD_STRING_PTR("passphrase_file", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL,
                           struct nx_credential, passphrase_file, 1, NX_PATH_SIZE - 1),
    CYAML_FIELD_END,
};

static const cyaml_schema_value_t schema = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, struct nx_credential, fields)};

void nx_credential_destroy(struct nx_credential *credential) {
  nx_config_free(&schema, credential);
}

int nx_credential_load(const char *folder, struct nx_credential **credential_out,
                       struct nx_error *err) {
  char path[NX_PATH_SIZE];
  void *value = NULL;
  int r = nx_path_join(path, folder, NX_CREDENTIAL_FILE, err);
  if (r < 0 || (r = nx_config_load(path, &schema, &value, err)) < 0)
    return r;
  _cleanup_(nx_credential_destroyp) struct nx_credential *credential = value;
  if (credential->neurox_credential != 1)
    return nx_fail(err, NX_E_UNSUPPORTED, "%s: neurox_credential: version %u is not known, only 1",
                   path, credential->neurox_credential);
  *credential_out = nx_steal(&credential);
  return 0;
}

int nx_credential_passphrase(const char *folder, struct nx_unlock *unlock, struct nx_error *err) {
  _cleanup_(nx_credential_destroyp) struct nx_credential *credential = NULL;
  char path[NX_PATH_SIZE];
  int r = nx_path_join(path, folder, NX_CREDENTIAL_FILE, err);
  if (r < 0 || !nx_path_exists(path) || (r = nx_credential_load(folder, &credential, err)) < 0)
    return r;
  const char *file = credential->passphrase_file;
  if (!file)
    return 0;
  return file[0] == '/' ? nx_path_join(unlock->file, "", file + 1, err)
                        : nx_path_join(unlock->file, folder, file, err);
}

/* --- making one ---------------------------------------------------------------------------- */

/* What is written; the key is wiped with it. */
struct parts {
  struct nx_buffer key, request, certificate;
};

static void parts_finish(struct parts *parts) {
  nx_buffer_wipe(&parts->key);
  nx_buffer_finish(&parts->request);
  nx_buffer_finish(&parts->certificate);
}

static int check_name(const char *name, struct nx_error *err) {
  size_t n = strlen(name);
  if (!n || n >= NX_STORE_NAME_SIZE)
    return nx_fail(err, NX_E_INVALID, "a person's name has 1 to 64 characters");
  for (const char *at = name; *at; at++)
    if ((unsigned char)*at < 0x20 || *at == 0x7f || *at == '\'' || *at == '\\' || *at == '/')
      return nx_fail(err, NX_E_INVALID,
                     "a person's name has no slashes, quotes, backslashes or control characters");
  return 0;
}

static int make_parts(struct nx_federation *f, struct nx_store_grant *grant, uint32_t days,
                      struct parts *parts, struct nx_error *err) {
  const struct nx_certificate_profile profile = {.common_name = grant->name,
                                                 .client = true,
                                                 .not_before = grant->granted / NX_SECOND,
                                                 .days = days};
  int64_t issued, ends;
  int r = nx_certificate_make_key(&parts->key, err);
  if (r < 0 ||
      (r = nx_certificate_make_request(nx_buffer_view(&parts->key), grant->name, &parts->request,
                                       err)) < 0 ||
      (r = nx_federation_issue(f, nx_buffer_view(&parts->request), &profile, &parts->certificate,
                               err)) < 0 ||
      (r = nx_certificate_spki(nx_buffer_view(&parts->certificate), &grant->spki, err)) < 0 ||
      (r = nx_certificate_validity(nx_buffer_view(&parts->certificate), &issued, &ends, err)) < 0)
    return r;
  grant->ends = ends * NX_SECOND;
  return 0;
}

static int write_part(const char *folder, const char *name, struct nx_bytes bytes, int mode,
                      struct nx_error *err) {
  char path[NX_PATH_SIZE];
  int r = nx_path_join(path, folder, name, err);
  return r < 0 ? r : nx_file_create(path, bytes, (mode_t)mode, err);
}

static int write_folder(const struct nx_federation *f, const struct nx_store_grant *grant,
                        const struct parts *parts, const char *folder, struct nx_error *err) {
  char text[1024];
  int n = snprintf(text, sizeof text,
                   "# Whoever holds this folder acts as this person. Give it to nobody else.\n"
                   "neurox_credential: 1\nfederation: '%s'\nrole: '%s'\nname: '%s'\n"
                   "address: '%s'\n",
                   f->config->name, nx_role_name((enum nx_role)grant->role), grant->name,
                   f->config->address);
  int r = write_part(folder, NX_CREDENTIAL_FILE, nx_bytes(text, (size_t)n), 0600, err);
  if (r == 0)
    r = write_part(folder, "ca.pem", nx_buffer_view(&f->ca_certificate), 0644, err);
  if (r == 0)
    r = write_part(folder, "certificate.pem", nx_buffer_view(&parts->certificate), 0644, err);
  return r < 0 ? r : write_part(folder, NX_CREDENTIAL_KEY, nx_buffer_view(&parts->key), 0600, err);
}

static void remove_folder(const char *folder) {
  static const char *const names[] = {NX_CREDENTIAL_FILE, "ca.pem", "certificate.pem", "key.pem"};
  char path[NX_PATH_SIZE];
  for (size_t i = 0; i < NX_ARRAY_LENGTH(names); i++)
    if (nx_path_join(path, folder, names[i], NULL) == 0)
      unlink(path);
  rmdir(folder);
}

int nx_credential_grant(struct nx_federation *federation, enum nx_role role, const char *name,
                        uint32_t days, const char *folder, struct nx_store_grant *grant_out,
                        struct nx_error *err) {
  _cleanup_(parts_finish) struct parts parts = {0};
  struct nx_store_grant grant = {.role = role, .granted = nx_clock_unix()};
  int r = check_name(name, err);
  if (r < 0)
    return r;
  snprintf(grant.name, sizeof grant.name, "%s", name);
  if ((r = make_parts(federation, &grant, days, &parts, err)) < 0)
    return r;
  if (mkdir(folder, 0700))
    return errno == EEXIST ? nx_fail(err, NX_E_EXISTS,
                                     "%s is there already: name another folder with --out", folder)
                           : nx_fail_errno(err, errno, "create folder %s", folder);
  if ((r = write_folder(federation, &grant, &parts, folder, err)) < 0 ||
      (r = nx_run_store_grant(federation->store, &grant, nx_buffer_view(&parts.certificate), err)) <
          0) {
    remove_folder(folder);
    return r;
  }
  *grant_out = grant;
  return 0;
}
