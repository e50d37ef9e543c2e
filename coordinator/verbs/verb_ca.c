/* Verb ca: what needs the federation's root at hand, a few times in ten years. */
#include <stdio.h>

#include "common/clock.h"
#include "coordinator/admin/authority.h"
#include "coordinator/verbs/coordinator_verb.h"
#include "coordinator/verbs/credential.h"

struct request {
  char home[NX_PATH_SIZE];
  const char *root, *next;
  uint32_t days;
  bool force;
  struct nx_unlock *unlock; /* of the root */
};

static void print_end(const char *what, struct nx_bytes certificate) {
  char name[NX_CERTIFICATE_NAME_SIZE] = "", until[21] = "";
  int64_t issued, ends;
  nx_certificate_common_name(certificate, name, NULL);
  if (nx_certificate_validity(certificate, &issued, &ends, NULL) == 0)
    nx_clock_format(ends * NX_SECOND, until);
  printf("%-12s until %s  %s\n", what, until, name);
}

static int show(const struct request *request, struct nx_error *err) {
  _cleanup_(nx_federation_closep) struct nx_federation *f = NULL;
  char path[NX_PATH_SIZE];
  int r = nx_federation_open(request->home, &f, err);
  if (r < 0)
    return r;
  print_end("root", nx_buffer_view(&f->ca_certificate));
  if (memmem((char *)f->ca_certificate.data + 1, f->ca_certificate.size - 1, "-----BEGIN", 10))
    printf("             and the root before it, until ca retire-root\n");
  print_end("issuer", nx_buffer_view(&f->issuer));
  print_end("coordinator", nx_buffer_view(&f->tls_certificate));
  if (nx_path_join(path, request->home, "root/root.key", NULL) == 0 && nx_path_exists(path))
    printf("\nThe root's key is still here: take %s/root offline.\n", request->home);
  return 0;
}

static int renew_issuer(const struct request *request, struct nx_error *err) {
  int r = nx_authority_renew_issuer(request->home, request->root, request->days, request->unlock, err);
  return r < 0 ? r : show(request, err);
}

static int rotate_root(const struct request *request, struct nx_error *err) {
  _cleanup_(nx_federation_closep) struct nx_federation *f = NULL;
  if (!request->next)
    return nx_fail(err, NX_E_INVALID, "--next: name a new folder for the next root");
  int r = nx_federation_open(request->home, &f, err);
  if (r < 0 ||
      (r = nx_authority_rotate_root(request->home, request->root, request->next, f->config->name,
                                    request->days, request->unlock, err)) < 0 ||
      (r = show(request, err)) < 0)
    return r;
  printf(
      "\nMembers learn of it when they renew, within %u days. Then: ca retire-root. Hand people\n"
      "new credentials (grant) before that. Take %s offline.\n",
      f->config->certificate_days, request->next);
  return 0;
}

/* A member whose certificate still hangs on the old root alone would be locked out. */
static int find_left_behind(struct nx_federation *f, struct nx_bytes newest, struct nx_error *err) {
  static struct nx_store_member members[NX_STORE_MEMBERS];
  size_t n;
  int r = nx_run_store_members(f->store, members, &n, err);
  for (size_t i = 0; i < n && r == 0; i++) {
    _cleanup_(nx_buffer_finish) struct nx_buffer certificate = {0};
    if (members[i].revoked)
      continue;
    if ((r = nx_run_store_member_certificate(f->store, members[i].id, &certificate, err)) == 0 &&
        nx_certificate_verify(newest, nx_buffer_view(&certificate), nx_clock_unix() / NX_SECOND,
                              NULL) < 0)
      r = nx_fail(err, NX_E_STATE,
                  "%s has no valid certificate under the new root yet, and would be locked out: "
                  "wait until it has renewed, or say --force",
                  members[i].name);
  }
  return r;
}

static int retire_root(const struct request *request, struct nx_error *err) {
  _cleanup_(nx_federation_closep) struct nx_federation *f = NULL;
  _cleanup_(nx_buffer_finish) struct nx_buffer newest = {0};
  int r = nx_federation_open(request->home, &f, err);
  if (r < 0 || (r = nx_authority_newest_root(request->home, &newest, err)) < 0 ||
      (!request->force && (r = find_left_behind(f, nx_buffer_view(&newest), err)) < 0) ||
      (r = nx_authority_retire_root(request->home, err)) < 0)
    return r;
  return show(request, err);
}

static const struct {
  const char *name;
  int (*run)(const struct request *request, struct nx_error *err);
} actions[] = {{"show", show},
               {"renew-issuer", renew_issuer},
               {"rotate-root", rotate_root},
               {"retire-root", retire_root}};

static int run_ca(int argc, char *const *argv, struct nx_error *err) {
  const char *given = NX_COORDINATOR_HOME, *days_text = NULL, *word;
  _cleanup_(nx_unlock_finish) struct nx_unlock unlock = {0};
  const char *passphrase_file = "";
  struct request request = {.days = NX_ISSUER_DAYS, .unlock = &unlock};
  const struct nx_option options[] = {{.name = "home", .value = &given},
                                      {.name = "root", .value = &request.root},
                                      {.name = "next", .value = &request.next},
                                      {.name = "days", .value = &days_text},
                                      {.name = "passphrase-file", .value = &passphrase_file},
                                      {.name = "force", .flag = &request.force}};
  char inside[NX_PATH_SIZE];
  uint64_t days = NX_ISSUER_DAYS;
  size_t n_words;
  if (nx_options_parse(argc, argv, options, NX_ARRAY_LENGTH(options), &word, 1, &n_words, err) <
          0 ||
      nx_verb_home(given, request.home, err) < 0 ||
      nx_path_join(inside, request.home, "root", err) < 0 ||
      (days_text && nx_option_number("days", days_text, 1, NX_ROOT_DAYS, &days, err) < 0))
    return NX_VERB_USAGE;
  request.days = (uint32_t)days;
  snprintf(unlock.file, sizeof unlock.file, "%s", passphrase_file);
  request.root = request.root ? request.root : inside;
  for (size_t i = 0; n_words && i < NX_ARRAY_LENGTH(actions); i++)
    if (!strcmp(actions[i].name, word)) {
      int r = actions[i].run(&request, err);
      return r < 0 ? nx_error_prefix(err, r, "ca %s", word) : 0;
    }
  nx_fail(err, NX_E_INVALID, "say show, renew-issuer, rotate-root or retire-root");
  return NX_VERB_USAGE;
}

const struct nx_coordinator_verb nx_coordinator_ca = {
    .name = "ca",
    .summary = "the root and the issuing key: show, renew, rotate",
    .help =
        "usage: neurox-coordinator ca show\n"
        "       neurox-coordinator ca renew-issuer --root DIR [--days N]\n"
        "       neurox-coordinator ca rotate-root --root DIR --next DIR [--days N]\n"
        "       neurox-coordinator ca retire-root [--force]\n\n"
        "The root's key is kept offline; bring its folder (a stick) for a moment.\n"
        "renew-issuer makes a new issuing key and certificate. rotate-root makes a new root in\n"
        "--next, vouched for by the old one; from then on both are believed, members learn of it\n"
        "when they renew, and retire-root ends the old one. A coordinator that serves takes each\n"
        "up within a second and writes authority.changed into its audit "
        "log.\n\n" NX_HELP_COORDINATOR_HOME
        "  --root DIR      the root's folder (default HOME/root)\n"
        "  --next DIR      a new folder for the next root\n"
        "  --passphrase-file FILE   of a root that is under a passphrase (default: asked for)\n"
        "  --days N        of the issuing certificate (default 180)\n"
        "  --force         retire the old root though a member would be locked out\n",
    .run = run_ca,
};
