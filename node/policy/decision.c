#include "node/policy/decision.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/file.h"
#include "node/policy/site_audit.h"

#define DECISION_CAP ((size_t)4096)
#define SIGNED_AS "plan-decision"

static void close_folder(DIR **folder) {
  if (*folder)
    closedir(*folder);
}

static int file_of(const char *folder, const struct nx_hash *plan, const char *suffix,
                   char out[NX_PATH_SIZE], struct nx_error *err) {
  char hex[NX_HASH_HEX_SIZE], name[NX_HASH_HEX_SIZE + 16];
  nx_hash_hex(plan, hex);
  snprintf(name, sizeof name, "%s%s", hex, suffix);
  return nx_path_join(out, folder, name, err);
}

static bool is_plain(const char *text) {
  for (; *text; text++)
    if ((unsigned char)*text < ' ' || *text == 0x7f)
      return false;
  return true;
}

int nx_decision_save(const char *folder, const struct nx_identity *identity,
                     const struct nx_decision *decision, struct nx_error *err) {
  char text[DECISION_CAP], hex[NX_HASH_HEX_SIZE], sealed[2 * NX_SIGNATURE_SIZE + 1];
  char path[NX_PATH_SIZE];
  struct nx_signature signature;
  if (!is_plain(decision->by) || !is_plain(decision->reason))
    return nx_fail(err, NX_E_INVALID, "a reason is one line of text");
  nx_hash_hex(&decision->plan, hex);
  int n = snprintf(
      text, sizeof text, "neurox-decision-1\nplan %s\n%s\nat %" PRId64 "\nby %s\nreason %s\n", hex,
      decision->approved ? "approve" : "reject", decision->at, decision->by, decision->reason);
  int r = nx_sign(identity, SIGNED_AS, nx_bytes(text, (size_t)n), &signature, err);
  if (r < 0)
    return r;
  nx_hex_encode(signature.bytes, sizeof signature.bytes, sealed);
  n += snprintf(text + n, sizeof text - (size_t)n, "signature %s\n", sealed);
  r = nx_folder_create(folder, 0700, err);
  if (r == 0)
    r = file_of(folder, &decision->plan, "", path, err);
  return r < 0 ? r : nx_file_replace(path, nx_bytes(text, (size_t)n), 0600, err);
}

/* The next line without its end, NULL when there is none. */
static char *line(char **rest) {
  char *at = *rest, *end = strchr(at, '\n');
  if (!end)
    return NULL;
  *end = 0;
  *rest = end + 1;
  return at;
}

static bool take(char **rest, const char *key, char *out, size_t size) {
  char *at = line(rest);
  size_t n = strlen(key);
  if (!at || strncmp(at, key, n) || strlen(at + n) >= size)
    return false;
  strcpy(out, at + n);
  return true;
}

static int parse(const char *path, char *text, const struct nx_public_key *key,
                 struct nx_decision *out, struct nx_error *err) {
  char hex[NX_HASH_HEX_SIZE], at[32], sealed[2 * NX_SIGNATURE_SIZE + 1], word[16], *rest = text;
  struct nx_signature signature;
  char *end = strstr(text, "\nsignature ");
  *out = (struct nx_decision){0};
  int r = !end || !take(&(char *){end + 1}, "signature ", sealed, sizeof sealed)
              ? NX_E_FORMAT
              : nx_hex_decode(sealed, signature.bytes, sizeof signature.bytes, NULL);
  if (r < 0)
    return nx_fail(err, NX_E_CRYPTO, "%s is not signed: decide again (neurox-node plan)", path);
  r = nx_verify(key, SIGNED_AS, nx_bytes(text, (size_t)(end + 1 - text)), &signature, NULL);
  if (r < 0)
    return nx_fail(err, NX_E_CRYPTO, "%s is not signed by this node: decide again", path);
  char *first = line(&rest);
  if (!first || strcmp(first, "neurox-decision-1") || !take(&rest, "plan ", hex, sizeof hex) ||
      !take(&rest, "", word, sizeof word) || !take(&rest, "at ", at, sizeof at) ||
      !take(&rest, "by ", out->by, sizeof out->by) ||
      !take(&rest, "reason ", out->reason, sizeof out->reason) ||
      nx_hash_from_hex(hex, &out->plan, NULL) < 0)
    return nx_fail(err, NX_E_FORMAT, "%s is not a decision", path);
  out->approved = !strcmp(word, "approve");
  out->at = strtoll(at, NULL, 10);
  return 0;
}

static int load(const char *path, const struct nx_public_key *key, struct nx_decision *out,
                struct nx_hash *file_out, struct nx_error *err) {
  _cleanup_(nx_buffer_finish) struct nx_buffer text = {.cap = DECISION_CAP + 1};
  int r = nx_file_read(path, DECISION_CAP, &text, err);
  if (r < 0)
    return r;
  *file_out = nx_sha256(text.data, text.size);
  r = nx_buffer_append(&text, "", 1, err); /* a final 0 */
  if (r == 0 && strlen((char *)text.data) + 1 != text.size)
    return nx_fail(err, NX_E_FORMAT, "%s is not text", path);
  /* The signature covers the text as it stands: verified before anything is cut apart. */
  return r < 0 ? r : parse(path, (char *)text.data, key, out, err);
}

int nx_decision_load(const char *folder, const struct nx_public_key *key,
                     const struct nx_hash *plan, struct nx_decision *out, struct nx_error *err) {
  char path[NX_PATH_SIZE];
  struct nx_hash file;
  int r = file_of(folder, plan, "", path, err);
  if (r == 0)
    r = load(path, key, out, &file, err);
  if (r == 0 && !nx_hash_equal(&out->plan, plan))
    return nx_fail(err, NX_E_CRYPTO, "%s is a decision about another plan", path);
  return r;
}

int nx_decisions_visit(const char *folder, const struct nx_public_key *key,
                       int (*found)(void *context, const struct nx_decision *decision,
                                    struct nx_error *err),
                       void (*broken)(void *context, const char *file, const char *why),
                       void *context, struct nx_error *err) {
  _cleanup_(close_folder) DIR *entries = opendir(folder);
  int r = 0;
  if (!entries && errno == ENOENT)
    return 0;
  if (!entries)
    return nx_fail_errno(err, errno, "open folder %s", folder);
  for (struct dirent *entry; r == 0 && (entry = readdir(entries));) {
    struct nx_decision decision;
    struct nx_error why = {0};
    struct nx_hash plan;
    if (strlen(entry->d_name) != NX_HASH_HEX_SIZE - 1 ||
        nx_hash_from_hex(entry->d_name, &plan, NULL) < 0)
      continue;
    if (nx_decision_load(folder, key, &plan, &decision, &why) == 0)
      r = found(context, &decision, err);
    else if (broken)
      broken(context, entry->d_name, why.text);
  }
  return r;
}

struct logging {
  const char *folder;
  const struct nx_public_key *key;
  struct nx_audit_log *log;
};

static int log_one(void *context, const struct nx_decision *decision, struct nx_error *err) {
  const struct logging *logging = context;
  _cleanup_(nx_buffer_finish) struct nx_buffer before = {0};
  char path[NX_PATH_SIZE], marker[NX_PATH_SIZE];
  struct nx_decision same;
  struct nx_hash file;
  int r = file_of(logging->folder, &decision->plan, "", path, err);
  if (r == 0)
    r = file_of(logging->folder, &decision->plan, ".logged", marker, err);
  if (r == 0)
    r = load(path, logging->key, &same, &file, err);
  if (r < 0)
    return r;
  if (nx_file_read(marker, sizeof file.bytes, &before, NULL) == 0 &&
      before.size == sizeof file.bytes && !memcmp(before.data, file.bytes, sizeof file.bytes))
    return 0;
  r = nx_site_audit_decision(logging->log, &same, &file, err);
  return r < 0 ? r : nx_file_replace(marker, nx_bytes(file.bytes, sizeof file.bytes), 0600, err);
}

int nx_decisions_log(const char *folder, const struct nx_public_key *key, struct nx_audit_log *log,
                     struct nx_error *err) {
  struct logging logging = {folder, key, log};
  return nx_decisions_visit(folder, key, log_one, NULL, &logging, err);
}
