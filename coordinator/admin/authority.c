#include "coordinator/admin/authority.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"
#include "crypto/certificate.h"
#include "crypto/key_file.h"

#define PEM_END "-----END CERTIFICATE-----\n"

/* A key and what certifies it. */
struct pair {
  struct nx_buffer key, certificate;
};

static void pair_finish(struct pair *pair) {
  nx_buffer_wipe(&pair->key);
  nx_buffer_finish(&pair->certificate);
}

static int64_t now_seconds(void) {
  return nx_clock_unix() / NX_SECOND;
}

static int read_file(const char *folder, const char *name, struct nx_buffer *out,
                     struct nx_error *err) {
  char path[NX_PATH_SIZE];
  int r = nx_path_join(path, folder, name, err);
  return r < 0 ? r : nx_file_read(path, NX_AUTHORITY_CAP, out, err);
}

static int replace_file(const char *folder, const char *name, struct nx_bytes bytes, mode_t mode,
                        struct nx_error *err) {
  char path[NX_PATH_SIZE];
  int r = nx_path_join(path, folder, name, err);
  return r < 0 ? r : nx_file_replace(path, bytes, mode, err);
}

/* --- the root, on its stick ------------------------------------------------------------------ */

static int write_root(const char *folder, const struct pair *root,
                      const struct nx_passphrase *passphrase, struct nx_error *err) {
  static const char words[] =
      "The root of a federation's trust. Whoever holds root.key can make certificates for\n"
      "anybody. Keep two copies offline, in two buildings; it is needed to renew the issuing\n"
      "certificate (neurox-coordinator ca renew-issuer --root THIS-FOLDER) and for nothing else.\n";
  char path[NX_PATH_SIZE];
  if (mkdir(folder, 0700))
    return errno == EEXIST
               ? nx_fail(err, NX_E_EXISTS, "%s is there already: name another folder for the root",
                         folder)
               : nx_fail_errno(err, errno, "create folder %s", folder);
  int r = nx_path_join(path, folder, "root.key", err);
  if (r < 0 || (r = nx_key_file_create(path, nx_buffer_view(&root->key), passphrase, err)) < 0 ||
      (r = nx_path_join(path, folder, "root.pem", err)) < 0 ||
      (r = nx_file_create(path, nx_buffer_view(&root->certificate), 0644, err)) < 0 ||
      (r = nx_path_join(path, folder, "README", err)) < 0)
    return r;
  return nx_file_create(path, nx_bytes(words, sizeof words - 1), 0644, err);
}

static int read_root(const char *folder, struct nx_unlock *unlock, struct pair *root,
                     struct nx_error *err) {
  char path[NX_PATH_SIZE];
  int r = nx_path_join(path, folder, "root.key", err);
  if (r == 0)
    r = nx_key_file_read_buffer(path, unlock, &root->key, err);
  if (r == 0)
    r = read_file(folder, "root.pem", &root->certificate, err);
  return r < 0 ? nx_error_prefix(err, r, "the root") : 0;
}

/* --- the issuing key ---------------------------------------------------------------------------
 */

/* A new key, and its certificate with what must stand behind it (crosses). */
static int make_issuer(const struct pair *root, struct nx_bytes crosses, uint32_t days,
                       struct pair *issuer, struct nx_error *err) {
  char name[NX_CERTIFICATE_NAME_SIZE], full[NX_CERTIFICATE_NAME_SIZE + 16];
  int r = nx_certificate_common_name(nx_buffer_view(&root->certificate), name, err);
  if (r < 0)
    return r;
  snprintf(full, sizeof full, "%.55s, issuer", name);
  if ((r = nx_certificate_make_key(&issuer->key, err)) < 0 ||
      (r = nx_certificate_issue_ca(nx_buffer_view(&root->key), nx_buffer_view(&root->certificate),
                                   nx_buffer_view(&issuer->key), full, 0, now_seconds(), days,
                                   &issuer->certificate, err)) < 0)
    return r;
  return nx_buffer_append(&issuer->certificate, crosses.data, crosses.size, err);
}

/* The key and its certificate are two files: while only one of them is new, nothing can be
 * issued, and the operator repeats the command. */
static int write_issuer(const char *home, const struct pair *issuer, struct nx_error *err) {
  int r = replace_file(home, "ca/issuer.key", nx_buffer_view(&issuer->key), 0600, err);
  return r < 0
             ? r
             : replace_file(home, "ca/issuer.pem", nx_buffer_view(&issuer->certificate), 0644, err);
}

int nx_authority_create(const char *home, const char *root_folder, const char *name,
                        uint32_t issuer_days, struct nx_error *err) {
  _cleanup_(pair_finish) struct pair root = {0}, issuer = {0};
  int r =
      nx_certificate_make_ca(name, now_seconds(), NX_ROOT_DAYS, &root.key, &root.certificate, err);
  if (r < 0 || (r = make_issuer(&root, nx_bytes(NULL, 0), issuer_days, &issuer, err)) < 0 ||
      (r = write_root(root_folder, &root, NULL, err)) < 0 ||
      (r = replace_file(home, "ca/ca.pem", nx_buffer_view(&root.certificate), 0644, err)) < 0)
    return r;
  return write_issuer(home, &issuer, err);
}

/* --- believing roots -----------------------------------------------------------------------------
 */

/* The first certificate of a PEM text, and the rest. */
static int split(struct nx_bytes pem, struct nx_bytes *first, struct nx_bytes *rest,
                 struct nx_error *err) {
  const char *end = memmem(pem.data, pem.size, PEM_END, sizeof PEM_END - 1);
  if (!end)
    return nx_fail(err, NX_E_FORMAT, "ca/ca.pem: not a PEM certificate");
  size_t n = (size_t)(end - (const char *)pem.data) + sizeof PEM_END - 1;
  *first = nx_bytes(pem.data, n);
  *rest = nx_bytes((const uint8_t *)pem.data + n, pem.size - n);
  return 0;
}

static int check_is_first(const char *home, const struct pair *root, struct nx_buffer *roots,
                          struct nx_error *err) {
  struct nx_bytes first = {0}, rest = {0};
  struct nx_hash theirs, ours;
  int r = read_file(home, "ca/ca.pem", roots, err);
  if (r < 0 || (r = split(nx_buffer_view(roots), &first, &rest, err)) < 0 ||
      (r = nx_certificate_spki(nx_buffer_view(&root->certificate), &ours, err)) < 0 ||
      (r = nx_certificate_spki(first, &theirs, err)) < 0)
    return r;
  return nx_hash_equal(&ours, &theirs)
             ? 0
             : nx_fail(err, NX_E_CRYPTO, "that is not the root that this federation believes now");
}

int nx_authority_renew_issuer(const char *home, const char *root_folder, uint32_t days,
                              struct nx_unlock *unlock, struct nx_error *err) {
  _cleanup_(pair_finish) struct pair root = {0}, issuer = {0};
  _cleanup_(nx_buffer_finish) struct nx_buffer roots = {0}, old = {0};
  struct nx_bytes first = {0}, crosses = {0};
  int r = read_root(root_folder, unlock, &root, err);
  if (r < 0 || (r = check_is_first(home, &root, &roots, err)) < 0 ||
      (r = read_file(home, "ca/issuer.pem", &old, err)) < 0 ||
      (r = split(nx_buffer_view(&old), &first, &crosses, err)) < 0 ||
      (r = make_issuer(&root, crosses, days, &issuer, err)) < 0)
    return r;
  return write_issuer(home, &issuer, err);
}

/* Names tell roots apart: two of one name confuse people and programs. */
static void name_next(const char *name, char out[NX_CERTIFICATE_NAME_SIZE]) {
  char day[21];
  nx_clock_format(nx_clock_unix(), day);
  snprintf(out, NX_CERTIFICATE_NAME_SIZE, "%.38s, root of %.16s", name, day);
}

int nx_authority_rotate_root(const char *home, const char *root_folder, const char *next_folder,
                             const char *name, uint32_t issuer_days, struct nx_unlock *unlock,
                             struct nx_error *err) {
  _cleanup_(pair_finish) struct pair root = {0}, next = {0}, issuer = {0};
  _cleanup_(nx_buffer_finish) struct nx_buffer roots = {0}, cross = {0}, both = {0};
  char next_name[NX_CERTIFICATE_NAME_SIZE];
  struct nx_bytes first = {0}, rest = {0};
  name_next(name, next_name);
  int r = read_root(root_folder, unlock, &root, err);
  if (r < 0 || (r = check_is_first(home, &root, &roots, err)) < 0 ||
      (r = split(nx_buffer_view(&roots), &first, &rest, err)) < 0)
    return r;
  if (rest.size)
    return nx_fail(err, NX_E_STATE,
                   "two roots are believed already: end that overlap first "
                   "(neurox-coordinator ca retire-root)");
  if ((r = nx_certificate_make_ca(next_name, now_seconds(), NX_ROOT_DAYS, &next.key,
                                  &next.certificate, err)) < 0 ||
      (r = nx_certificate_issue_ca(nx_buffer_view(&root.key), nx_buffer_view(&root.certificate),
                                   nx_buffer_view(&next.key), next_name, 1, now_seconds(),
                                   NX_ROOT_DAYS, &cross, err)) < 0 ||
      (r = make_issuer(&next, nx_buffer_view(&cross), issuer_days, &issuer, err)) < 0 ||
      (r = nx_buffer_append(&both, next.certificate.data, next.certificate.size, err)) < 0 ||
      (r = nx_buffer_append(&both, first.data, first.size, err)) < 0 ||
      (r = write_root(next_folder, &next, unlock->passphrase, err)) < 0 ||
      (r = replace_file(home, "ca/ca.pem", nx_buffer_view(&both), 0644, err)) < 0)
    return r;
  return write_issuer(home, &issuer, err);
}

int nx_authority_newest_root(const char *home, struct nx_buffer *root_out, struct nx_error *err) {
  _cleanup_(nx_buffer_finish) struct nx_buffer roots = {0};
  struct nx_bytes first = {0}, rest = {0};
  int r = read_file(home, "ca/ca.pem", &roots, err);
  if (r < 0 || (r = split(nx_buffer_view(&roots), &first, &rest, err)) < 0)
    return r;
  return nx_buffer_append(root_out, first.data, first.size, err);
}

int nx_authority_retire_root(const char *home, struct nx_error *err) {
  _cleanup_(nx_buffer_finish) struct nx_buffer roots = {0}, chain = {0};
  struct nx_bytes first = {0}, rest = {0}, issuer = {0}, crosses = {0};
  int r = read_file(home, "ca/ca.pem", &roots, err);
  if (r < 0 || (r = split(nx_buffer_view(&roots), &first, &rest, err)) < 0)
    return r;
  if (!rest.size)
    return nx_fail(err, NX_E_STATE, "only one root is believed: there is none to retire");
  if ((r = read_file(home, "ca/issuer.pem", &chain, err)) < 0 ||
      (r = split(nx_buffer_view(&chain), &issuer, &crosses, err)) < 0 ||
      (r = replace_file(home, "ca/ca.pem", first, 0644, err)) < 0)
    return r;
  return replace_file(home, "ca/issuer.pem", issuer, 0644, err);
}
