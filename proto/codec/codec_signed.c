/* SignedMessage: the envelope of every message of a round. */
#include "crypto/member_list.h"
#include "proto/codec/codec_members.h"
#include "proto/codec/codec_round.h"
#include "proto/codec/codec_wire.h"
#include "round.pb-c.h"

#define BODY_FIELD 3 /* of SignedMessage */

const char *nx_message_name(uint32_t type) {
  static const char *const names[] = {"M0", "M1", "M2", "M3", "M4",  "M5",
                                      "M6", "M7", "M8", "M9", "M10", "M11"};
  if (type >= NX_M0_INVITE && type <= NX_M11_SEALED)
    return names[type - NX_M0_INVITE];
  switch (type) {
  case NX_MESSAGE_ABORT_REQUEST:
    return "abort";
  case NX_MESSAGE_COMPLAINT:
    return "complaint";
  case NX_MESSAGE_REFUSAL:
    return "refusal";
  case NX_MESSAGE_MANIFEST_PROPOSAL:
    return "manifest-proposal";
  case NX_MESSAGE_MANIFEST_APPROVE:
    return NX_MEMBERS_APPROVE;
  case NX_MESSAGE_MANIFEST_REFUSE:
    return NX_MEMBERS_REFUSE;
  case NX_MESSAGE_NEW_KEY:
    return "new-key";
  case NX_MESSAGE_FIT:
    return "fit";
  case NX_MESSAGE_WITHDRAWN:
    return "withdrawn";
  default:
    return NULL;
  }
}

int nx_signed_message_encode(const struct nx_signed_message *message, struct nx_buffer *out,
                             struct nx_error *err) {
  Neurox__V1__SignedMessage wire = NEUROX__V1__SIGNED_MESSAGE__INIT;
  wire.type = message->type;
  wire.signer = message->signer;
  wire.body = nx_codec_field(message->body.data, message->body.size);
  wire.signature = nx_codec_field(message->signature.bytes, sizeof message->signature.bytes);
  wire.detached = nx_codec_field(message->detached.data, message->detached.size);
  return nx_codec_pack(&wire.base, out, err);
}

int nx_signed_message_decode(struct nx_bytes bytes, struct nx_arena *arena,
                             struct nx_signed_message *out, struct nx_error *err) {
  Neurox__V1__SignedMessage *wire;
  int r = nx_wire_unpack(&neurox__v1__signed_message__descriptor, "signed message", bytes,
                         NX_SIGNED_CAP, arena, &wire, err);
  if (r < 0)
    return r;
  if (!nx_message_name(wire->type))
    return nx_fail(err, NX_E_PROTOCOL,
                   "signed message of unknown type %u: is the peer's software newer?", wire->type);
  if (wire->signer > 255)
    return nx_fail(err, NX_E_PROTOCOL, "signed message of signer %u; ids end at 255", wire->signer);
  if (wire->detached.len && wire->type != NX_M3_SHARES)
    return nx_fail(err, NX_E_PROTOCOL, "%s carries a detached part", nx_message_name(wire->type));
  *out = (struct nx_signed_message){.type = wire->type,
                                    .signer = wire->signer,
                                    .body = {wire->body.data, wire->body.len},
                                    .detached = {wire->detached.data, wire->detached.len}};
  return nx_codec_fixed(wire->signature, out->signature.bytes, sizeof out->signature.bytes,
                        "signed message signature", err);
}

struct nx_bytes nx_signed_message_body(struct nx_bytes bytes) {
  struct nx_wire_value value;
  struct nx_bytes body = {NULL, 0};
  while (nx_wire_next(&bytes, &value, NULL) > 0)
    if (value.field == BODY_FIELD && value.is_bytes)
      body = value.bytes;
  return body;
}

int nx_signed_message_make(const struct nx_identity *identity, uint32_t signer, uint32_t type,
                           struct nx_bytes body, struct nx_bytes detached, struct nx_buffer *out,
                           struct nx_error *err) {
  struct nx_signed_message message = {
      .type = type, .signer = signer, .body = body, .detached = detached};
  int r = nx_sign(identity, nx_message_name(type), body, &message.signature, err);
  if (r < 0)
    return r;
  return nx_signed_message_encode(&message, out, err);
}

int nx_signed_message_verify(const struct nx_signed_message *message,
                             const struct nx_public_key *key, struct nx_error *err) {
  return nx_verify(key, nx_message_name(message->type), message->body, &message->signature, err);
}
