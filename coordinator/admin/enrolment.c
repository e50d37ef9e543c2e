#include "coordinator/admin/enrolment.h"

#include <stdio.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/invitation.h"
#include "crypto/certificate.h"
#include "crypto/secret.h"

#define HOUR (3600 * NX_SECOND)

/* --- inviting ---------------------------------------------------------------------- */

static int check_name(const char *name, struct nx_error *err) {
  size_t n = strlen(name);
  if (!n || n >= NX_STORE_NAME_SIZE)
    return nx_fail(err, NX_E_INVALID, "a member's name has 1 to 64 characters");
  for (const char *at = name; *at; at++)
    if ((unsigned char)*at < 0x20 || *at == 0x7f || *at == '\'' || *at == '\\')
      return nx_fail(err, NX_E_INVALID,
                     "a member's name has no quotes, backslashes or control "
                     "characters");
  return 0;
}

/* Appends the file; the only place where the token stands outside guarded memory. */
static int write_text(const struct nx_federation *f, const struct nx_store_invitation *row,
                      const struct nx_secret *token, struct nx_buffer *text, struct nx_error *err) {
  char federation[33], hex[2 * NX_INVITATION_TOKEN_SIZE + 1], name[NX_STORE_NAME_SIZE];
  _cleanup_(nx_buffer_finish) struct nx_buffer pem = {0};
  int r = nx_buffer_append(&pem, f->ca_certificate.data, f->ca_certificate.size, err);
  if (r < 0 || (r = nx_buffer_append(&pem, "", 1, err)) < 0)
    return r;
  nx_federation_id_hex(f, federation);
  nx_hex_encode(token->bytes, sizeof token->bytes, hex);
  memcpy(name, row->name, sizeof name);
  struct nx_invitation invitation = {.neurox_invitation = NX_INVITATION_VERSION,
                                     .federation_name = f->config->name,
                                     .federation = federation,
                                     .member = name,
                                     .address = f->config->address,
                                     .enrol_address = f->config->enrol_address,
                                     .token = hex,
                                     .expires = (uint64_t)(row->expires / NX_SECOND),
                                     .certificate = (char *)pem.data};
  r = nx_invitation_format(&invitation, text, err);
  explicit_bzero(hex, sizeof hex);
  return r;
}

int nx_enrolment_invite(struct nx_federation *federation, const char *name, uint32_t hours,
                        bool again, const char *path, struct nx_enrolment_invited *out,
                        struct nx_error *err) {
  _cleanup_(nx_buffer_wipe) struct nx_buffer text = {0};
  _cleanup_(nx_secret_wipe) struct nx_secret token = {0};
  struct nx_store_invitation row = {.created = nx_clock_unix()};
  int r = check_name(name, err);
  if (r < 0)
    return r;
  if (nx_path_exists(path))
    return nx_fail(err, NX_E_EXISTS, "%s is there already: name another file with --out", path);
  if ((r = nx_secret_random(&nx_entropy_system, &token, err)) < 0)
    return r;
  row.expires = row.created + (hours ? hours : federation->config->invitation_hours) * HOUR;
  row.token_hash = nx_sha256(token.bytes, sizeof token.bytes);
  snprintf(row.name, sizeof row.name, "%s", name);
  if ((r = write_text(federation, &row, &token, &text, err)) < 0 ||
      (r = again ? nx_run_store_invite_again(federation->store, &row, err)
                 : nx_run_store_invite(federation->store, &row, err)) < 0)
    return r;
  if ((r = nx_file_create(path, nx_buffer_view(&text), 0600, err)) < 0) {
    nx_run_store_withdraw_invitation(federation->store, &row.token_hash, NULL);
    return r;
  }
  *out = (struct nx_enrolment_invited){.member = row.member, .expires = row.expires};
  nx_fingerprint(nx_buffer_view(&text), out->fingerprint);
  return 0;
}

/* --- admitting --------------------------------------------------------------------- */

static int check_proof(const struct nx_enrolment_request *request, struct nx_public_key *identity,
                       struct nx_hash *spki, struct nx_error *err) {
  struct nx_signature signature;
  if (request->identity.size != sizeof identity->bytes ||
      request->signature.size != sizeof signature.bytes || request->csr.size > NX_CERTIFICATE_CAP)
    return nx_fail(err, NX_E_FORMAT, "enrolment request is not well-formed");
  memcpy(identity->bytes, request->identity.data, sizeof identity->bytes);
  memcpy(signature.bytes, request->signature.data, sizeof signature.bytes);
  int r = nx_verify(identity, "enrol", request->csr, &signature, err);
  if (r < 0)
    return nx_error_prefix(err, r, "enrolment: the identity key did not sign this request");
  return nx_certificate_check_request(request->csr, spki, err);
}

/* The invitation must be one of ours before any work is done;
 * the store decides again when it spends the token. */
static int find_invitation(struct nx_federation *f, const struct nx_enrolment_request *request,
                           struct nx_hash *token_hash, struct nx_store_invitation *row,
                           struct nx_error *err) {
  if (request->federation.size != sizeof f->row.id ||
      memcmp(request->federation.data, f->row.id, sizeof f->row.id))
    return nx_fail(err, NX_E_DENIED,
                   "this invitation is for another federation: check the address in it");
  if (request->token.size != NX_INVITATION_TOKEN_SIZE)
    return nx_fail(err, NX_E_FORMAT, "enrolment request is not well-formed");
  *token_hash = nx_sha256(request->token.data, request->token.size);
  int r = nx_run_store_invitation(f->store, token_hash, row, err);
  if (r == NX_E_NOT_FOUND)
    return nx_fail(err, NX_E_DENIED,
                   "this federation made no such invitation: ask its operator for a new one");
  return r;
}

int nx_enrolment_admit(struct nx_federation *f, const struct nx_enrolment_request *request,
                       struct nx_store_member *member_out, struct nx_buffer *certificate_pem,
                       struct nx_error *err) {
  _cleanup_(nx_buffer_finish) struct nx_buffer issued = {0};
  struct nx_store_invitation invitation;
  struct nx_public_key identity;
  struct nx_hash token_hash, spki;
  int64_t now = nx_clock_unix();
  int r = find_invitation(f, request, &token_hash, &invitation, err);
  if (r < 0 || (r = check_proof(request, &identity, &spki, err)) < 0)
    return r;
  struct nx_certificate_profile profile = nx_federation_profile(f, invitation.name);
  profile.client = true;
  int64_t since, ends;
  if ((r = nx_federation_issue(f, request->csr, &profile, &issued, err)) < 0 ||
      (r = nx_certificate_validity(nx_buffer_view(&issued), &since, &ends, err)) < 0)
    return r;
  return nx_run_store_enrol(f->store, &token_hash, now, &identity, &spki, nx_buffer_view(&issued),
                            ends * NX_SECOND, member_out, certificate_pem, err);
}
