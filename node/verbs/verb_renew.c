/* Verb renew: a node that was off until its certificate ended comes back, with its own keys. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "crypto/certificate.h"
#include "node/node_home.h"
#include "node/policy/site_audit.h"
#include "node/session/enrol.h"
#include "node/verbs/verb.h"

#define PEM_CAP ((size_t)64 << 10)

struct renewal {
  const char *home, *invitation_path, *fingerprint;
  struct nx_invitation *invitation;
  struct nx_home_federation *federation;
  struct nx_identity *identity;
  struct nx_unlock unlock;
  struct nx_buffer key; /* PEM, secret */
  struct nx_enrolled enrolled;
  int lock;
};

static void finish(struct renewal *renewal) {
  nx_invitation_destroy(renewal->invitation);
  nx_home_federation_destroy(renewal->federation);
  nx_identity_destroy(renewal->identity);
  nx_unlock_finish(&renewal->unlock);
  nx_buffer_wipe(&renewal->key);
  nx_enrolled_finish(&renewal->enrolled);
  if (renewal->lock >= 0)
    close(renewal->lock);
}

static int read_home(struct renewal *renewal, struct nx_error *err) {
  int r = nx_home_read_federation(renewal->home, &renewal->federation, err);
  if (r < 0 || (r = nx_folder_lock(renewal->home, &renewal->lock, err)) < 0 ||
      (r = nx_home_key(renewal->home, NX_HOME_TLS_KEY, &renewal->unlock, &renewal->key, err)) < 0)
    return r;
  return nx_home_identity(renewal->home, NX_HOME_IDENTITY, &renewal->unlock, &renewal->identity,
                          err);
}

static int check_federation(const struct renewal *renewal, struct nx_error *err) {
  return strcmp(renewal->invitation->federation, renewal->federation->id)
             ? nx_fail(err, NX_E_DENIED, "this invitation is for another federation (\"%s\")",
                       renewal->invitation->federation_name)
             : 0;
}

static int replace(const char *home, const char *name, struct nx_bytes bytes,
                   struct nx_error *err) {
  char path[NX_PATH_SIZE];
  int r = nx_path_join(path, home, name, err);
  return r < 0 ? r : nx_file_replace(path, bytes, 0600, err);
}

/* In the log before it is used. */
static int note(const struct renewal *renewal, struct nx_bytes roots, int64_t *ends,
                struct nx_error *err) {
  _cleanup_(nx_audit_log_destroyp) struct nx_audit_log *log = NULL;
  struct nx_bytes certificate = nx_buffer_view(&renewal->enrolled.certificate);
  struct nx_hash spki, believed = nx_sha256(roots.data, roots.size);
  char path[NX_PATH_SIZE];
  int64_t issued;
  int r = nx_path_join(path, renewal->home, NX_HOME_AUDIT, err);
  if (r < 0 ||
      (r = nx_audit_log_open(path, renewal->enrolled.name, renewal->identity, &log, err)) < 0 ||
      (r = nx_certificate_spki(certificate, &spki, err)) < 0 ||
      (r = nx_certificate_validity(certificate, &issued, ends, err)) < 0 ||
      (r = nx_site_audit_renewed(log, &spki, &believed, *ends * NX_SECOND, err)) < 0)
    return r;
  return nx_audit_log_close(nx_steal(&log), err);
}

static int renew(struct renewal *renewal, struct nx_error *err) {
  char until[21];
  int64_t ends = 0;
  int r = nx_enrol_read_invitation(renewal->invitation_path, renewal->fingerprint,
                                   nx_clock_unix() / NX_SECOND, &renewal->invitation, err);
  if (r < 0 || (r = read_home(renewal, err)) < 0 || (r = check_federation(renewal, err)) < 0 ||
      (r = nx_enrol(renewal->invitation, nx_buffer_view(&renewal->key), renewal->identity,
                    &renewal->enrolled, err)) < 0)
    return r;
  struct nx_bytes roots =
      nx_bytes(renewal->invitation->certificate, strlen(renewal->invitation->certificate));
  if ((r = note(renewal, roots, &ends, err)) < 0 ||
      (r = replace(renewal->home, NX_HOME_CA, roots, err)) < 0 ||
      (r = replace(renewal->home, NX_HOME_TLS_CERTIFICATE,
                   nx_buffer_view(&renewal->enrolled.certificate), err)) < 0)
    return r;
  nx_clock_format(ends * NX_SECOND, until);
  printf("renewed: %s, until %s; from then on it renews itself while it runs\n",
         renewal->enrolled.name, until);
  return 0;
}

static int run_renew(int argc, char *const *argv, struct nx_error *err) {
  _cleanup_(finish) struct renewal renewal = {.home = NX_NODE_HOME, .lock = -1};
  const struct nx_option options[] = {{.name = "home", .value = &renewal.home},
                                      {.name = "fingerprint", .value = &renewal.fingerprint}};
  size_t n_words;
  if (nx_options_parse(argc, argv, options, 2, &renewal.invitation_path, 1, &n_words, err) < 0)
    return NX_VERB_USAGE;
  if (!n_words || !renewal.fingerprint) {
    nx_fail(err, NX_E_INVALID, "the invitation file and --fingerprint are needed");
    return NX_VERB_USAGE;
  }
  return renew(&renewal, err);
}

const struct nx_verb nx_verb_renew = {
    .name = "renew",
    .summary = "come back after the certificate ended while the node was off",
    .help =
        "usage: neurox-node renew INVITATION --fingerprint \"3f2a 91c0 …\" [--home DIR]\n\n"
        "A running node renews its certificate by itself. One that was off for longer than the\n"
        "certificate was valid needs a word from the operator: neurox-coordinator invite NAME\n"
        "--again. Have the fingerprint of that file read to you. The keys stay, so nothing\n"
        "changes for the other members.\n\n" NX_HELP_HOME,
    .run = run_renew,
};
