#include "coordinator/admin/federation.h"

#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/size.h"
#include "coordinator/address.h"
#include "coordinator/admin/authority.h"
#include "crypto/certificate.h"

#define OPERATOR_DAYS 90
#define KEY_CAP ((size_t)16 << 10)

/* --- making one -------------------------------------------------------------------- */

/* A key pair with its certificate, as it is made. */
struct credential {
  struct nx_buffer key, certificate;
  struct nx_hash spki;
};

static void credential_finish(struct credential *credential) {
  nx_buffer_wipe(&credential->key);
  nx_buffer_finish(&credential->certificate);
}

static int write_credential(const char *home, const char *key_name, const char *certificate_name,
                            const struct credential *credential, struct nx_error *err) {
  char path[NX_PATH_SIZE];
  int r = nx_path_join(path, home, key_name, err);
  if (r < 0 || (r = nx_certificate_save_key(path, nx_buffer_view(&credential->key), err)) < 0 ||
      (r = nx_path_join(path, home, certificate_name, err)) < 0)
    return r;
  return nx_file_create(path, nx_buffer_view(&credential->certificate), 0644, err);
}

/* What the authority has issued with. */
struct issuer {
  struct nx_buffer key, chain;
};

static void issuer_finish(struct issuer *issuer) {
  nx_buffer_wipe(&issuer->key);
  nx_buffer_finish(&issuer->chain);
}

/* Appends the certificate, and the issuer's behind it. */
static int certify(struct nx_bytes issuer_key, struct nx_bytes chain, struct nx_bytes request,
                   const struct nx_certificate_profile *profile, struct nx_buffer *out,
                   struct nx_error *err) {
  int r = nx_certificate_issue(issuer_key, chain, request, profile, out, err);
  return r < 0 ? r : nx_buffer_append(out, chain.data, chain.size, err);
}

static int issue(const struct issuer *issuer, const struct nx_certificate_profile *profile,
                 struct credential *out, struct nx_error *err) {
  _cleanup_(nx_buffer_finish) struct nx_buffer request = {0};
  int r = nx_certificate_make_key(&out->key, err);
  if (r < 0 ||
      (r = nx_certificate_make_request(nx_buffer_view(&out->key), profile->common_name, &request,
                                       err)) < 0 ||
      (r = certify(nx_buffer_view(&issuer->key), nx_buffer_view(&issuer->chain),
                   nx_buffer_view(&request), profile, &out->certificate, err)) < 0)
    return r;
  return nx_certificate_spki(nx_buffer_view(&out->certificate), &out->spki, err);
}

/* Host names and numbers under which this coordinator may be called. */
struct alternatives {
  struct nx_address addresses[4];
  const char *names[7];
  size_t n;
};

static int collect_alternatives(const struct nx_coordinator_config *config,
                                struct alternatives *out, struct nx_error *err) {
  const char *texts[] = {config->address, config->enrol_address, config->listen,
                         config->enrol_listen};
  *out = (struct alternatives){.names = {"localhost", "127.0.0.1", "::1"}, .n = 3};
  for (size_t i = 0; i < NX_ARRAY_LENGTH(texts); i++) {
    int r = nx_address_parse(texts[i], &out->addresses[i], err);
    if (r < 0)
      return r;
    bool known = nx_address_is_any(&out->addresses[i]);
    for (size_t k = 0; k < out->n; k++)
      known = known || !strcmp(out->names[k], out->addresses[i].host);
    if (!known)
      out->names[out->n++] = out->addresses[i].host;
  }
  return 0;
}

static int read_home(const char *home, const char *name, struct nx_buffer *out,
                     struct nx_error *err) {
  char path[NX_PATH_SIZE];
  int r = nx_path_join(path, home, name, err);
  return r < 0 ? r : nx_file_read(path, KEY_CAP, out, err);
}

/* The root, in its folder; the issuing key, of which the next certificates come. */
static int make_authority(const char *home, const char *root, const char *name,
                          struct issuer *issuer, struct nx_error *err) {
  char inside[NX_PATH_SIZE];
  int r = nx_path_join(inside, home, "root", err);
  if (r < 0 ||
      (r = nx_authority_create(home, root ? root : inside, name, NX_ISSUER_DAYS, err)) < 0 ||
      (r = read_home(home, "ca/issuer.key", &issuer->key, err)) < 0)
    return r;
  return read_home(home, "ca/issuer.pem", &issuer->chain, err);
}

static int make_certificates(const char *home, const char *root,
                             const struct nx_coordinator_config *config,
                             struct nx_store_federation *row, struct nx_error *err) {
  _cleanup_(credential_finish) struct credential server = {0}, person = {0};
  _cleanup_(issuer_finish) struct issuer issuer = {0};
  struct alternatives names;
  int64_t now = nx_clock_unix() / NX_SECOND;
  int r = collect_alternatives(config, &names, err);
  if (r < 0)
    return r;
  struct nx_certificate_profile for_server = {.common_name = "coordinator",
                                              .server = true,
                                              .alternatives = names.names,
                                              .n_alternatives = names.n,
                                              .not_before = now,
                                              .days = config->certificate_days};
  struct nx_certificate_profile for_person = {
      .common_name = "operator", .client = true, .not_before = now, .days = OPERATOR_DAYS};
  if ((r = make_authority(home, root, config->name, &issuer, err)) < 0 ||
      (r = issue(&issuer, &for_server, &server, err)) < 0 ||
      (r = issue(&issuer, &for_person, &person, err)) < 0 ||
      (r = write_credential(home, "tls/coordinator.key", "tls/coordinator.pem", &server, err)) <
          0 ||
      (r = write_credential(home, "operator/operator.key", "operator/operator.pem", &person, err)) <
          0)
    return r;
  row->spki = server.spki;
  row->operator_spki = person.spki;
  return 0;
}

static int make_identity(const char *home, struct nx_store_federation *row, struct nx_error *err) {
  _cleanup_(nx_identity_destroyp) struct nx_identity *identity = NULL;
  char path[NX_PATH_SIZE];
  int r = nx_identity_create(&nx_entropy_system, &identity, err);
  if (r < 0 || (r = nx_path_join(path, home, NX_FEDERATION_IDENTITY, err)) < 0 ||
      (r = nx_identity_save(identity, path, NULL, err)) < 0)
    return r;
  row->identity = *nx_identity_public(identity);
  return 0;
}

static int make_store(const char *home, const struct nx_store_federation *row,
                      struct nx_error *err) {
  _cleanup_(nx_run_store_destroyp) struct nx_run_store *store = NULL;
  char path[NX_PATH_SIZE];
  int r = nx_path_join(path, home, "store.sqlite", err);
  if (r < 0 || (r = nx_run_store_create(path, &store, err)) < 0)
    return r;
  return nx_run_store_put_federation(store, row, err);
}

static int fill_home(const char *home, const char *root, const struct nx_coordinator_config *config,
                     struct nx_error *err) {
  static const char *const folders[] = {"ca", "tls", "operator", "blobs", "uploads"};
  struct nx_store_federation row = {.created = nx_clock_unix()};
  char path[NX_PATH_SIZE];
  int r = 0;
  for (size_t i = 0; i < NX_ARRAY_LENGTH(folders); i++)
    if ((r = nx_path_join(path, home, folders[i], err)) < 0 ||
        (r = nx_folder_create(path, 0700, err)) < 0)
      return r;
  snprintf(row.name, sizeof row.name, "%s", config->name);
  if ((r = nx_entropy_system.fill(nx_entropy_system.context, row.id, sizeof row.id, err)) < 0 ||
      (r = nx_path_join(path, home, "coordinator.yaml", err)) < 0 ||
      (r = nx_coordinator_config_write(path, config, err)) < 0 ||
      (r = make_certificates(home, root, config, &row, err)) < 0 ||
      (r = make_identity(home, &row, err)) < 0)
    return r;
  return make_store(home, &row, err);
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *walk) {
  (void)status, (void)type, (void)walk;
  return remove(path);
}

/* Made beside its place and moved there when whole: a failed init leaves nothing. */
static int make_home(const char *home, const char *root, const struct nx_coordinator_config *config,
                     struct nx_error *err) {
  char making[NX_PATH_SIZE];
  if (snprintf(making, sizeof making, "%s.tmp-%ld", home, (long)getpid()) >= (int)sizeof making)
    return nx_fail(err, NX_E_LIMIT, "path is too long: %.64s…", home);
  bool made_root = root && !nx_path_exists(root);
  if (mkdir(making, 0700))
    return nx_fail_errno(err, errno, "create folder %s", making);
  int r = fill_home(making, root, config, err);
  if (r == 0 && rename(making, home))
    r = errno == ENOTEMPTY || errno == EEXIST || errno == ENOTDIR
            ? nx_fail(err, NX_E_EXISTS, "%s is there already: name another --home", home)
            : nx_fail_errno(err, errno, "create %s", home);
  if (r < 0 && root && made_root)
    nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
  if (r < 0)
    nftw(making, remove_one, 16, FTW_DEPTH | FTW_PHYS);
  return r < 0 ? r : nx_file_sync_folder_of(home, err);
}

/* The four addresses, checked and with their ports chosen. */
struct bindings {
  char address[NX_ADDRESS_SIZE], listen[NX_ADDRESS_SIZE];
};

static int settle(const char *address, const char *listen, struct bindings *out,
                  struct nx_error *err) {
  struct nx_address said, bound;
  int r = nx_address_parse(address, &said, err);
  if (r < 0 || (r = nx_address_parse(listen ? listen : address, &bound, err)) < 0)
    return r;
  if (nx_address_is_any(&said))
    return nx_fail(err, NX_E_INVALID,
                   "--address %s: members cannot call that; give the name or number of this "
                   "machine as they see it, and %s as --listen",
                   address, address);
  if (!listen && !nx_address_is_numeric(&said))
    snprintf(bound.host, sizeof bound.host, "0.0.0.0");
  if (!bound.port && (r = nx_address_probe(&bound, err)) < 0)
    return r;
  if (!said.port)
    said.port = bound.port;
  nx_address_format(&said, out->address);
  nx_address_format(&bound, out->listen);
  return 0;
}

int nx_federation_create(const struct nx_federation_request *request, struct nx_error *err) {
  struct bindings main_service, enrolment;
  struct nx_address beside;
  char beside_text[NX_ADDRESS_SIZE];
  int r = settle(request->address, request->listen, &main_service, err);
  if (r < 0 || (r = nx_address_parse(main_service.address, &beside, err)) < 0)
    return r;
  beside.port = beside.port < 65535 ? (uint16_t)(beside.port + 1) : 0;
  nx_address_format(&beside, beside_text);
  r = settle(request->enrol_address ? request->enrol_address : beside_text, request->enrol_listen,
             &enrolment, err);
  if (r < 0)
    return r;
  if (!strcmp(enrolment.listen, main_service.listen))
    return nx_fail(err, NX_E_INVALID,
                   "enrolment needs a port of its own, not that of %s: try again",
                   main_service.listen);
  char name[NX_STORE_NAME_SIZE];
  if (snprintf(name, sizeof name, "%s", request->name) >= (int)sizeof name)
    return nx_fail(err, NX_E_INVALID, "--name: at most 64 characters");
  struct nx_coordinator_config config = {
      .neurox_coordinator = NX_COORDINATOR_CONFIG_VERSION,
      .name = name,
      .address = main_service.address,
      .listen = main_service.listen,
      .enrol_address = enrolment.address,
      .enrol_listen = enrolment.listen,
      .invitation_hours = 72,
      .certificate_days = 7,
      .attempts = 20,
      .keep_uploads = NX_KEEP_RUN,
  };
  return make_home(request->home, request->root, &config, err);
}

/* --- opening one ------------------------------------------------------------------- */

/* The roots, and what issues. In a home of the first version the root itself does. */
static int read_authority(const char *home, struct nx_buffer *roots, struct nx_buffer *key,
                          struct nx_buffer *issuer, struct nx_error *err) {
  char path[NX_PATH_SIZE];
  struct nx_hash of_key, of_certificate;
  int r = nx_path_join(path, home, "ca/issuer.key", err);
  bool old = r == 0 && !nx_path_exists(path);
  if (r < 0 || (r = read_home(home, "ca/ca.pem", roots, err)) < 0 ||
      (r = read_home(home, old ? "ca/ca.key" : "ca/issuer.key", key, err)) < 0 ||
      (r = read_home(home, old ? "ca/ca.pem" : "ca/issuer.pem", issuer, err)) < 0 ||
      (r = nx_certificate_key_spki(nx_buffer_view(key), &of_key, err)) < 0 ||
      (r = nx_certificate_spki(nx_buffer_view(issuer), &of_certificate, err)) < 0)
    return r;
  return nx_hash_equal(&of_key, &of_certificate)
             ? 0
             : nx_fail(err, NX_E_CRYPTO,
                       "%s/ca: the issuing key and certificate do not belong "
                       "together: repeat the last neurox-coordinator ca command",
                       home);
}

static int open_parts(struct nx_federation *f, struct nx_error *err) {
  char path[NX_PATH_SIZE];
  int r = nx_path_join(path, f->home, "coordinator.yaml", err);
  if (r < 0)
    return r;
  if (!nx_path_exists(path))
    return nx_fail(err, NX_E_NOT_FOUND,
                   "%s holds no federation: run neurox-coordinator init first, or name its folder "
                   "with --home",
                   f->home);
  if ((r = nx_coordinator_config_load(path, &f->config, err)) < 0 ||
      (r = nx_path_join(path, f->home, "store.sqlite", err)) < 0 ||
      (r = nx_run_store_open(path, &f->store, err)) < 0 ||
      (r = nx_run_store_federation(f->store, &f->row, err)) < 0 ||
      (r = read_authority(f->home, &f->ca_certificate, &f->issuer_key, &f->issuer, err)) < 0 ||
      (r = read_home(f->home, "tls/coordinator.key", &f->tls_key, err)) < 0 ||
      (r = read_home(f->home, "tls/coordinator.pem", &f->tls_certificate, err)) < 0)
    return r;
  return 0;
}

int nx_federation_find_passphrase(const struct nx_federation *f, struct nx_unlock *unlock,
                                  struct nx_error *err) {
  const char *file = f->config->passphrase_file;
  if (!file)
    return 0;
  return file[0] == '/' ? nx_path_join(unlock->file, "", file + 1, err)
                        : nx_path_join(unlock->file, f->home, file, err);
}

int nx_federation_unlock(struct nx_federation *f, struct nx_error *err) {
  _cleanup_(nx_unlock_finish) struct nx_unlock unlock = {0};
  char path[NX_PATH_SIZE];
  int r = nx_path_join(path, f->home, NX_FEDERATION_IDENTITY, err);
  if (r < 0 || (r = nx_federation_find_passphrase(f, &unlock, err)) < 0 ||
      (r = nx_identity_load(path, &unlock, &f->identity, err)) < 0)
    return r;
  const struct nx_public_key *own = nx_identity_public(f->identity);
  if (memcmp(own, &f->row.identity, sizeof *own))
    return nx_fail(err, NX_E_CRYPTO, "%s is not the key of this federation", path);
  f->is_protected = unlock.passphrase != NULL;
  return 0;
}

int nx_federation_open(const char *home, struct nx_federation **federation_out,
                       struct nx_error *err) {
  _cleanup_(nx_federation_closep) struct nx_federation *federation = calloc(1, sizeof *federation);
  if (!federation)
    return nx_fail(err, NX_E_NOMEM, "open %s", home);
  pthread_mutex_init(&federation->authority_lock, NULL);
  if (snprintf(federation->home, sizeof federation->home, "%s", home) >=
      (int)sizeof federation->home)
    return nx_fail(err, NX_E_LIMIT, "path is too long: %.64s…", home);
  int r = open_parts(federation, err);
  if (r < 0)
    return r;
  *federation_out = nx_steal(&federation);
  return 0;
}

void nx_federation_close(struct nx_federation *federation) {
  if (!federation)
    return;
  nx_coordinator_config_destroy(federation->config);
  nx_run_store_destroy(federation->store);
  nx_identity_destroy(federation->identity);
  nx_buffer_wipe(&federation->issuer_key);
  nx_buffer_finish(&federation->issuer);
  nx_buffer_wipe(&federation->tls_key);
  nx_buffer_finish(&federation->ca_certificate);
  nx_buffer_finish(&federation->tls_certificate);
  pthread_mutex_destroy(&federation->authority_lock);
  free(federation);
}

/* --- issuing ------------------------------------------------------------------------- */

struct nx_certificate_profile nx_federation_profile(const struct nx_federation *f,
                                                    const char *name) {
  return (struct nx_certificate_profile){.common_name = name,
                                         .not_before = nx_clock_unix() / NX_SECOND,
                                         .days = f->config->certificate_days,
                                         .seconds = f->config->certificate_seconds};
}

int nx_federation_issue(struct nx_federation *f, struct nx_bytes request_pem,
                        const struct nx_certificate_profile *profile,
                        struct nx_buffer *certificate_pem, struct nx_error *err) {
  pthread_mutex_lock(&f->authority_lock);
  int r = certify(nx_buffer_view(&f->issuer_key), nx_buffer_view(&f->issuer), request_pem, profile,
                  certificate_pem, err);
  pthread_mutex_unlock(&f->authority_lock);
  return r;
}

static void swap(struct nx_buffer *a, struct nx_buffer *b) {
  struct nx_buffer kept = *a;
  *a = *b;
  *b = kept;
}

int nx_federation_reload_authority(struct nx_federation *f, struct nx_error *err) {
  _cleanup_(nx_buffer_finish) struct nx_buffer roots = {0}, issuer = {0};
  _cleanup_(nx_buffer_wipe) struct nx_buffer key = {0};
  int r = read_authority(f->home, &roots, &key, &issuer, err);
  if (r < 0)
    return r;
  pthread_mutex_lock(&f->authority_lock);
  swap(&f->ca_certificate, &roots);
  swap(&f->issuer_key, &key);
  swap(&f->issuer, &issuer);
  pthread_mutex_unlock(&f->authority_lock);
  return 0;
}

/* The certificate of a key that lies here, made anew. */
static int renew(struct nx_federation *f, const char *key_name, const char *certificate_name,
                 const struct nx_certificate_profile *profile, struct nx_buffer *certificate_out,
                 struct nx_error *err) {
  _cleanup_(nx_buffer_wipe) struct nx_buffer key = {0};
  _cleanup_(nx_buffer_finish) struct nx_buffer request = {0};
  char path[NX_PATH_SIZE];
  int r = read_home(f->home, key_name, &key, err);
  if (r < 0 ||
      (r = nx_certificate_make_request(nx_buffer_view(&key), profile->common_name, &request, err)) <
          0 ||
      (r = nx_federation_issue(f, nx_buffer_view(&request), profile, certificate_out, err)) < 0 ||
      (r = nx_path_join(path, f->home, certificate_name, err)) < 0)
    return r;
  return nx_file_replace(path, nx_buffer_view(certificate_out), 0644, err);
}

/* Also one that was made while the clock was ahead, and is not valid yet, and one that no root that
 * is believed vouches for any more: the root was rotated and retired while nobody served. */
static bool is_due(const struct nx_federation *f, struct nx_bytes certificate, bool always) {
  int64_t at, issued, ends, now = nx_clock_unix() / NX_SECOND;
  return always || nx_certificate_renew_at(certificate, &at, NULL) < 0 || now >= at ||
         nx_certificate_validity(certificate, &issued, &ends, NULL) < 0 ||
         now < issued - NX_CERTIFICATE_SLACK / 2 ||
         nx_certificate_verify(nx_buffer_view(&f->ca_certificate), certificate, now, NULL) < 0;
}

/* An operator who took the key away renews by grant. */
static int renew_operator(struct nx_federation *f, bool always, struct nx_error *err) {
  _cleanup_(nx_buffer_finish) struct nx_buffer present = {0}, next = {0};
  struct nx_certificate_profile profile = {.common_name = "operator",
                                           .client = true,
                                           .not_before = nx_clock_unix() / NX_SECOND,
                                           .days = OPERATOR_DAYS};
  if (read_home(f->home, "operator/operator.pem", &present, NULL) < 0 ||
      !is_due(f, nx_buffer_view(&present), always))
    return 0;
  return renew(f, "operator/operator.key", "operator/operator.pem", &profile, &next, err);
}

int nx_federation_renew_own(struct nx_federation *f, bool always, struct nx_error *err) {
  _cleanup_(nx_buffer_finish) struct nx_buffer next = {0};
  struct alternatives names;
  int r = renew_operator(f, always, err);
  if (r < 0 || !is_due(f, nx_buffer_view(&f->tls_certificate), always))
    return r;
  struct nx_certificate_profile profile = nx_federation_profile(f, "coordinator");
  if ((r = collect_alternatives(f->config, &names, err)) < 0)
    return r;
  profile.server = true;
  profile.alternatives = names.names;
  profile.n_alternatives = names.n;
  if ((r = renew(f, "tls/coordinator.key", "tls/coordinator.pem", &profile, &next, err)) < 0)
    return r;
  swap(&f->tls_certificate, &next);
  return 1;
}

void nx_federation_id_hex(const struct nx_federation *federation, char out[33]) {
  nx_hex_encode(federation->row.id, sizeof federation->row.id, out);
}
