/* The coordinator's own certificate and the authority's files: looked at once a second, taken
 * up without a restart. Main thread. */
#include <stdio.h>
#include <sys/stat.h>

#include "coordinator/coordinator_internal.h"

#define LOOK_EVERY NX_SECOND

/* Whether the files of the authority are others than before. */
static bool has_changed(struct nx_coordinator *c) {
  static const char *const names[] = {"ca/ca.pem", "ca/issuer.key", "ca/issuer.pem"};
  uint64_t mark = 0;
  for (size_t i = 0; i < NX_ARRAY_LENGTH(names); i++) {
    struct stat status;
    char path[NX_PATH_SIZE];
    if (nx_path_join(path, c->federation->home, names[i], NULL) == 0 && stat(path, &status) == 0)
      mark = mark * 31 + (uint64_t)status.st_ino + (uint64_t)status.st_mtim.tv_nsec +
             (uint64_t)status.st_mtim.tv_sec * (uint64_t)NX_SECOND;
  }
  bool changed = c->authority_mark != 0 && mark != c->authority_mark;
  c->authority_mark = mark;
  return changed;
}

static int tell(struct nx_coordinator *c, const char *kind, struct nx_error *err) {
  struct nx_federation *f = c->federation;
  int64_t issued, ends;
  struct nx_hash roots = nx_sha256(f->ca_certificate.data, f->ca_certificate.size);
  int r = nx_certificate_validity(nx_buffer_view(&f->tls_certificate), &issued, &ends, err);
  if (r < 0)
    return r;
  NX_LOG(NX_LOG_INFO, kind);
  return NX_AUDIT_APPEND(c->audit, err, kind, NX_AUDIT_STR("name", "coordinator"),
                         NX_AUDIT_HASH("spki", &f->row.spki), NX_AUDIT_HASH("roots", &roots),
                         NX_AUDIT_INT("ends", ends * NX_SECOND));
}

static int show(struct nx_coordinator *c, struct nx_rpc_server *server, struct nx_error *err) {
  struct nx_federation *f = c->federation;
  return server ? nx_rpc_server_renew(server, nx_buffer_view(&f->tls_certificate),
                                      nx_buffer_view(&f->tls_key),
                                      nx_buffer_view(&f->ca_certificate), err)
                : 0;
}

/* What cannot be renewed is said and tried again: the line that there is goes on meanwhile. */
static int cannot(struct nx_coordinator *c, int64_t now, const struct nx_error *why) {
  if (now >= c->next_own_warning) {
    NX_LOG(NX_LOG_ERROR, "certificate.unrenewed", NX_STR("why", why->text));
    c->next_own_warning = now + 600 * NX_SECOND;
  }
  return 0;
}

/* The issuing certificate's end is the operator's to move: half a month before, daily. */
static void warn_of_issuer(struct nx_coordinator *c, int64_t now) {
  int64_t days = 0;
  if (now < c->next_issuer_warning ||
      nx_certificate_days_left(nx_buffer_view(&c->federation->issuer), nx_clock_unix() / NX_SECOND,
                               &days, NULL) < 0)
    return;
  c->next_issuer_warning = now + 86400 * NX_SECOND;
  char path[NX_PATH_SIZE];
  if (nx_path_join(path, c->federation->home, "root/root.key", NULL) == 0 && nx_path_exists(path))
    NX_LOG(NX_LOG_WARNING, "root.online", NX_STR("file", path),
           NX_STR("do", "take the folder offline, two copies, and remove it here"));
  if (days <= 15)
    NX_LOG(NX_LOG_WARNING, "issuer.ending", NX_I64("days", days),
           NX_STR("do", "neurox-coordinator ca renew-issuer, with the root at hand"));
}

int nx_coordinator_tend_identity(struct nx_coordinator *c, struct nx_error *err) {
  int64_t now = nx_clock_monotonic();
  struct nx_error why = {0};
  if (now < c->next_identity)
    return 0;
  c->next_identity = now + LOOK_EVERY;
  bool changed = has_changed(c);
  if (changed && nx_federation_reload_authority(c->federation, &why) < 0) {
    c->authority_mark = 1; /* half written: look again */
    return cannot(c, now, &why);
  }
  warn_of_issuer(c, now);
  int r = nx_federation_renew_own(c->federation, changed, &why);
  if (r < 0)
    return cannot(c, now, &why);
  if (r == 0 && !changed)
    return 0;
  if ((r = tell(c, changed ? "authority.changed" : "certificate.renewed", err)) < 0 ||
      (r = show(c, c->server, err)) < 0)
    return r;
  return show(c, c->enrolment, err);
}
