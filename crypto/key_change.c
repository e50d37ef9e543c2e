#include "crypto/key_change.h"

#include <glob.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/size.h"

#define MOST 8

int nx_key_change_from(const char *word, enum nx_key_change *out, struct nx_error *err) {
  static const char *const words[] = {"protect", "unprotect", "change"};
  for (size_t i = 0; i < NX_ARRAY_LENGTH(words); i++)
    if (!strcmp(word, words[i])) {
      *out = (enum nx_key_change)i;
      return 0;
    }
  return nx_fail(err, NX_E_INVALID, "say show, protect, unprotect or change");
}

/* One file on its way. */
struct one {
  const char *path;
  struct nx_key key;
  bool protected, done; /* as it is; as it shall be, already */
};

static void finish(struct one (*files)[MOST]) {
  for (size_t i = 0; i < MOST; i++)
    nx_key_finish(&(*files)[i].key);
}

/* A file that an earlier, killed run has put under the new passphrase already. */
static bool opens_with_next(struct one *one, struct nx_unlock *next) {
  _cleanup_(nx_key_finish) struct nx_key file = {0};
  _cleanup_(nx_buffer_finish) struct nx_buffer bytes = {0};
  return nx_file_read(one->path, NX_KEY_FILE_CAP, &bytes, NULL) == 0 &&
         nx_key_file_open(nx_buffer_view(&bytes), next->passphrase, &file, NULL) == 0;
}

static int open_one(struct one *one, enum nx_key_change change, struct nx_unlock *present,
                    struct nx_unlock *next, struct nx_error *err) {
  one->protected = nx_key_file_at_is_protected(one->path);
  one->done = change == NX_KEY_UNPROTECT ? !one->protected
                                         : change == NX_KEY_PROTECT && one->protected;
  int r = nx_key_file_read(one->path, present, &one->key, err);
  if (r != NX_E_DENIED || change != NX_KEY_RENEW || !one->protected ||
      !opens_with_next(one, next))
    return r;
  one->done = true;
  return 0;
}

/* What a run that was killed left beside the file. */
static void sweep(const char *path) {
  char pattern[NX_PATH_SIZE + 16];
  glob_t found;
  snprintf(pattern, sizeof pattern, "%s.tmp-*", path);
  if (glob(pattern, GLOB_NOSORT, NULL, &found) == 0)
    for (size_t i = 0; i < found.gl_pathc; i++)
      unlink(found.gl_pathv[i]);
  globfree(&found);
}

static int write_one(const struct one *one, const struct nx_unlock *next,
                     const struct nx_key_cost *cost, struct nx_error *err) {
  _cleanup_(nx_buffer_finish) struct nx_buffer file = {0};
  struct nx_bytes key = nx_bytes(one->key.bytes, one->key.size);
  if (!next)
    return nx_file_replace(one->path, key, 0600, err);
  int r = nx_key_file_protect(key, next->passphrase, cost, &nx_entropy_system, &file, err);
  return r < 0 ? r : nx_file_replace(one->path, nx_buffer_view(&file), 0600, err);
}

static int open_all(struct one *files, size_t n, enum nx_key_change change,
                    struct nx_unlock *present, struct nx_unlock *next, struct nx_error *err) {
  for (size_t i = 0; i < n; i++) {
    int r = open_one(&files[i], change, present, next, err);
    if (r < 0)
      return r;
    if (change == NX_KEY_RENEW && !files[i].protected)
      return nx_fail(err, NX_E_STATE, "%s is not under a passphrase yet: say protect",
                     files[i].path);
  }
  return 0;
}

int nx_key_change_files(const char *const *paths, size_t n, enum nx_key_change change,
                        struct nx_unlock *present, struct nx_unlock *next,
                        const struct nx_key_cost *cost, struct nx_error *err) {
  _cleanup_(finish) struct one files[MOST] = {0};
  size_t n_files = 0;
  int changed = 0;
  for (size_t i = 0; i < n && n_files < MOST; i++)
    if (nx_path_exists(paths[i]))
      files[n_files++].path = paths[i];
  if (change == NX_KEY_UNPROTECT)
    next = NULL;
  if (!n_files)
    return nx_fail(err, NX_E_NOT_FOUND, "there is no %s", paths[0]);
  int r = change == NX_KEY_RENEW ? nx_unlock_find(present, files[0].path, err) : 0;
  if (r == 0 && change != NX_KEY_UNPROTECT)
    r = nx_unlock_choose(next, files[0].path, err);
  if (r == 0) /* a killed run leaves files of both kinds: what is protected must open with the same */
    r = open_all(files, n_files, change, change == NX_KEY_PROTECT ? next : present, next, err);
  for (size_t i = 0; i < n_files && r == 0; i++) {
    sweep(files[i].path);
    if (!files[i].done && (r = write_one(&files[i], next, cost, err)) == 0)
      changed++;
  }
  return r < 0 ? r : changed;
}

void nx_key_change_show(const char *const *paths, size_t n) {
  for (size_t i = 0; i < n; i++) {
    _cleanup_(nx_buffer_finish) struct nx_buffer file = {0};
    struct nx_key_header header;
    struct nx_error why = {0};
    if (!nx_path_exists(paths[i]))
      continue;
    int r = nx_file_read(paths[i], NX_KEY_FILE_CAP, &file, &why);
    if (r == 0 && !nx_key_file_is_protected(nx_buffer_view(&file)))
      printf("%s: a plain file; whoever can read it has the key\n", paths[i]);
    else if (r < 0 || nx_key_file_parse(nx_buffer_view(&file), &header, &why) < 0)
      printf("%s: %s\n", paths[i], why.text);
    else
      printf("%s: under a passphrase (argon2id, %u passes over %zu MiB)\n", paths[i],
             header.cost.passes, header.cost.memory >> 20);
    nx_buffer_wipe(&file);
  }
}
