#include "node/session/enrol.h"

#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "common/file.h"
#include "crypto/certificate.h"
#include "proto/codec/codec_enrol.h"
#include "proto/codec/codec_round.h"
#include "proto/rpc/rpc_client.h"

#define SOFTWARE "neurox-node 0.1.0"
#define PATIENCE (20 * NX_SECOND)
/* A coordinator opens the port when it comes to see the invitation, a moment after it was
 * written. */
#define OPENS_SOON (2 * NX_SECOND)
#define PAUSE (100 * NX_MILLISECOND)

int nx_enrol_read_invitation(const char *path, const char *fingerprint, int64_t now,
                             struct nx_invitation **invitation_out, struct nx_error *err) {
  _cleanup_(nx_buffer_wipe) struct nx_buffer text = {0};
  _cleanup_(nx_invitation_destroyp) struct nx_invitation *invitation = NULL;
  int r = nx_file_read(path, NX_INVITATION_CAP, &text, err);
  if (r < 0)
    return nx_error_prefix(err, r, "invitation");
  if (!nx_fingerprint_matches(nx_buffer_view(&text), fingerprint))
    return nx_fail(err, NX_E_CRYPTO,
                   "%s does not have the fingerprint you gave: the fingerprint was misread, or the "
                   "file was changed on its way; ask the operator to read it again, and do not use "
                   "the file before it fits",
                   path);
  r = nx_invitation_parse(path, nx_buffer_view(&text), &invitation, err);
  if (r < 0)
    return r;
  if (now >= (int64_t)invitation->expires) {
    char when[21];
    nx_clock_format((int64_t)invitation->expires * NX_SECOND, when);
    return nx_fail(err, NX_E_TIMEOUT,
                   "the invitation expired at %s: ask the operator for a new one", when);
  }
  *invitation_out = nx_steal(&invitation);
  return 0;
}

static int make_request(const struct nx_invitation *invitation, struct nx_bytes key_pem,
                        const struct nx_identity *identity, struct nx_buffer *bytes,
                        struct nx_error *err) {
  _cleanup_(nx_buffer_finish) struct nx_buffer csr = {0};
  struct nx_enrol_request request = {.protocol = NX_PROTOCOL_OLDEST,
                                     .identity = *nx_identity_public(identity)};
  snprintf(request.software, sizeof request.software, "%s", SOFTWARE);
  int r = nx_hex_decode(invitation->federation, request.federation, sizeof request.federation, err);
  if (r == 0)
    r = nx_hex_decode(invitation->token, request.token, sizeof request.token, err);
  if (r == 0)
    r = nx_certificate_make_request(key_pem, invitation->member, &csr, err);
  if (r == 0)
    r = nx_sign(identity, "enrol", nx_buffer_view(&csr), &request.signature, err);
  request.csr = nx_buffer_view(&csr);
  if (r == 0)
    r = nx_enrol_request_encode(&request, bytes, err);
  explicit_bzero(request.token, sizeof request.token);
  return r;
}

static int ask(const struct nx_invitation *invitation, struct nx_bytes request,
               struct nx_buffer *response, struct nx_error *err) {
  _cleanup_(nx_rpc_client_destroyp) struct nx_rpc_client *client = NULL;
  const struct nx_rpc_client_config config = {
      .target = invitation->enrol_address,
      .ca = nx_bytes(invitation->certificate, strlen(invitation->certificate)),
      .message_cap = NX_MESSAGE_CAP_ENROL};
  int r = nx_rpc_client_create(&config, &client, err);
  if (r < 0)
    return r;
  /* The port may not be open yet. Had the request arrived and only its answer been lost, it is
   * refused the second time, and that refusal says what to do. */
  for (int64_t begun = nx_clock_monotonic();; nx_clock_sleep(PAUSE)) {
    int64_t now = nx_clock_monotonic();
    r = nx_rpc_client_call(client, NX_METHOD_ENROL, request, now + PATIENCE, response, NULL, err);
    if (r != NX_E_PEER || now - begun >= OPENS_SOON)
      return r;
    response->size = 0;
  }
}

/* What came must be for our key and from the CA that was pinned by the fingerprint. */
static int check_certificate(const struct nx_invitation *invitation, struct nx_bytes key_pem,
                             struct nx_bytes certificate, struct nx_error *err) {
  struct nx_bytes ca = nx_bytes(invitation->certificate, strlen(invitation->certificate));
  struct nx_hash ours, theirs;
  int r = nx_certificate_verify(ca, certificate, nx_clock_unix() / NX_SECOND, err);
  if (r == 0)
    r = nx_certificate_key_spki(key_pem, &ours, err);
  if (r == 0)
    r = nx_certificate_spki(certificate, &theirs, err);
  if (r == 0 && !nx_hash_equal(&ours, &theirs))
    r = nx_fail(err, NX_E_CRYPTO, "the certificate is for another key");
  return r < 0 ? nx_error_prefix(err, r, "what the coordinator sent") : 0;
}

static int read_response(const struct nx_invitation *invitation, struct nx_bytes key_pem,
                         struct nx_bytes bytes, struct nx_enrolled *out, struct nx_error *err) {
  _cleanup_(nx_arena_destroyp) struct nx_arena *arena = NULL;
  struct nx_enrol_response response;
  int r = nx_arena_create((size_t)1 << 20, &arena, err);
  if (r == 0)
    r = nx_enrol_response_decode(bytes, arena, &response, err);
  if (r == 0)
    r = check_certificate(invitation, key_pem, response.certificate, err);
  if (r < 0)
    return r;
  out->member = response.member;
  out->coordinator = response.coordinator;
  snprintf(out->name, sizeof out->name, "%s", response.name);
  return nx_buffer_append(&out->certificate, response.certificate.data, response.certificate.size,
                          err);
}

int nx_enrol(const struct nx_invitation *invitation, struct nx_bytes key_pem,
             const struct nx_identity *identity, struct nx_enrolled *enrolled_out,
             struct nx_error *err) {
  _cleanup_(nx_buffer_wipe) struct nx_buffer request = {0};
  _cleanup_(nx_buffer_finish) struct nx_buffer response = {0};
  struct nx_enrolled enrolled = {0};
  int r = make_request(invitation, key_pem, identity, &request, err);
  if (r == 0)
    r = ask(invitation, nx_buffer_view(&request), &response, err);
  if (r == 0)
    r = read_response(invitation, key_pem, nx_buffer_view(&response), &enrolled, err);
  if (r < 0) {
    nx_enrolled_finish(&enrolled);
    return nx_error_prefix(err, r, "enrol at %s%s", invitation->enrol_address,
                           r == NX_E_PEER || r == NX_E_CANCELLED
                               ? " (open only while an invitation is unused and has "
                                 "not expired: is this one?)"
                               : "");
  }
  *enrolled_out = enrolled;
  return 0;
}

void nx_enrolled_finish(struct nx_enrolled *enrolled) {
  nx_buffer_finish(&enrolled->certificate);
  *enrolled = (struct nx_enrolled){0};
}
