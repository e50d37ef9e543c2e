#include "node/node_home.h"

#include <dirent.h>
#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/config.h"
#include "common/size.h"

static const char *const folders[] = {
    "tls", "federation", "approvals", "policy", "journal", "spool", "models", "plans",
};

static void close_folder(DIR **folder) {
  if (*folder)
    closedir(*folder);
}

static int check_free(const char *home, struct nx_error *err) {
  _cleanup_(close_folder) DIR *folder = opendir(home);
  if (!folder && errno == ENOENT)
    return 0;
  if (!folder)
    return nx_fail_errno(err, errno, "folder %s", home);
  for (struct dirent *entry; (entry = readdir(folder));)
    if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, ".."))
      return nx_fail(err, NX_E_EXISTS,
                     "folder %s is not empty: name another with --home, or remove it first", home);
  return 0;
}

static int make_folders(const char *building, struct nx_error *err) {
  char path[NX_PATH_SIZE];
  if (mkdir(building, 0700))
    return nx_fail_errno(err, errno, "create folder %s", building);
  for (size_t i = 0; i < NX_ARRAY_LENGTH(folders); i++) {
    int r = nx_path_join(path, building, folders[i], err);
    if (r == 0)
      r = nx_folder_create(path, 0700, err);
    if (r < 0)
      return r;
  }
  return 0;
}

int nx_home_begin(const char *home, char building[NX_PATH_SIZE], struct nx_error *err) {
  size_t n = strlen(home);
  while (n > 1 && home[n - 1] == '/')
    n--;
  int r = check_free(home, err);
  if (r < 0)
    return r;
  if (snprintf(building, NX_PATH_SIZE, "%.*s.new-%ld", (int)n, home, (long)getpid()) >=
      NX_PATH_SIZE)
    return nx_fail(err, NX_E_LIMIT, "path is too long: %.64s…", home);
  r = make_folders(building, err);
  if (r < 0)
    nx_home_discard(building);
  return r;
}

int nx_home_finish(const char *building, const char *home, struct nx_error *err) {
  if (rename(building, home))
    return nx_fail_errno(err, errno, "put %s in its place", home);
  return nx_file_sync_folder_of(home, err);
}

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *ftw) {
  (void)status, (void)kind, (void)ftw;
  return remove(path);
}

void nx_home_discard(const char *building) {
  nftw(building, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* ---- federation.yaml ----------------------------------------------------------------- */

static const cyaml_schema_field_t federation_fields[] = {
    CYAML_FIELD_UINT("neurox_federation", CYAML_FLAG_DEFAULT, struct nx_home_federation,
                     neurox_federation),
    CYAML_FIELD_STRING_PTR("id", CYAML_FLAG_POINTER, struct nx_home_federation, id, 32, 32),
    CYAML_FIELD_STRING_PTR("name", CYAML_FLAG_POINTER, struct nx_home_federation, name, 1, 64),
    CYAML_FIELD_STRING_PTR("coordinator", CYAML_FLAG_POINTER, struct nx_home_federation,
                           coordinator, 64, 64),
    CYAML_FIELD_UINT("member", CYAML_FLAG_DEFAULT, struct nx_home_federation, member),
    CYAML_FIELD_END,
};
static const cyaml_schema_value_t federation_schema = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, struct nx_home_federation, federation_fields),
};

/* name came through the invitation's own parser: printable, at most 64 characters. */
int nx_home_write_federation(const char *home, const struct nx_home_federation *federation,
                             struct nx_error *err) {
  char path[NX_PATH_SIZE], text[512], quoted[130];
  size_t n = 0;
  for (const char *c = federation->name; *c && n + 3 < sizeof quoted; c++) {
    if (*c == '\'')
      quoted[n++] = '\'';
    quoted[n++] = *c;
  }
  quoted[n] = 0;
  int size = snprintf(text, sizeof text,
                      "# What enrolment taught this node; do not edit.\n"
                      "neurox_federation: 1\nid: '%s'\nname: '%s'\ncoordinator: '%s'\n"
                      "member: %u\n",
                      federation->id, quoted, federation->coordinator, federation->member);
  int r = nx_path_join(path, home, NX_HOME_FEDERATION, err);
  return r < 0 ? r : nx_file_create(path, nx_bytes(text, (size_t)size), 0600, err);
}

static int hint(const char *home, int r, struct nx_error *err) {
  if (r == NX_E_NOT_FOUND)
    return nx_fail(
        err, r, "%s is no node's folder: run neurox-node init first, or name it with --home", home);
  return r;
}

int nx_home_read_federation(const char *home, struct nx_home_federation **federation_out,
                            struct nx_error *err) {
  char path[NX_PATH_SIZE];
  uint8_t id[16], key[32];
  void *value = NULL;
  int r = nx_path_join(path, home, NX_HOME_FEDERATION, err);
  if (r == 0)
    r = hint(home, nx_config_load(path, &federation_schema, &value, err), err);
  if (r < 0)
    return r;
  struct nx_home_federation *federation = value;
  if (federation->neurox_federation != 1 || federation->member < 1 || federation->member > 255 ||
      nx_hex_decode(federation->id, id, sizeof id, NULL) < 0 ||
      nx_hex_decode(federation->coordinator, key, sizeof key, NULL) < 0) {
    nx_home_federation_destroy(federation);
    return nx_fail(err, NX_E_FORMAT, "%s: not what enrolment wrote", path);
  }
  *federation_out = federation;
  return 0;
}

void nx_home_federation_destroy(struct nx_home_federation *federation) {
  nx_config_free(&federation_schema, federation);
}

int nx_home_policy_path(const char *home, const char *name, char out[NX_PATH_SIZE],
                        struct nx_error *err) {
  return name[0] == '/' ? nx_path_join(out, "", name + 1, err) : nx_path_join(out, home, name, err);
}

int nx_home_read(const char *home, const char *name, size_t cap, struct nx_buffer *out,
                 struct nx_error *err) {
  char path[NX_PATH_SIZE];
  int r = nx_path_join(path, home, name, err);
  return r < 0 ? r : hint(home, nx_file_read(path, cap, out, err), err);
}
