/* M6..M11, and what ends a round early: from the commit request to the seal. */
#include "proto/codec/codec_members.h"
#include "proto/codec/codec_round.h"
#include "round.pb-c.h"

int nx_commit_request_encode(const struct nx_commit_request *m, struct nx_buffer *out,
                             struct nx_error *err) {
  Neurox__V1__CommitRequest wire = NEUROX__V1__COMMIT_REQUEST__INIT;
  struct nx_wire_bodies bodies;
  nx_wire_bodies_set(&bodies, m->uploads, m->n);
  wire.t2 = nx_wire_hash(&m->t2);
  wire.n_uploads = m->n;
  wire.uploads = bodies.pointers;
  return nx_codec_pack(&wire.base, out, err);
}

int nx_commit_request_decode(struct nx_bytes body, struct nx_arena *arena,
                             struct nx_commit_request *out, struct nx_error *err) {
  Neurox__V1__CommitRequest *wire;
  int r = nx_wire_unpack(&neurox__v1__commit_request__descriptor, "M6", body, NX_SIGNED_CAP, arena,
                         &wire, err);
  if (r < 0 || (r = nx_codec_fixed(wire->t2, &out->t2, 32, "M6 t2", err)) < 0)
    return r;
  out->n = wire->n_uploads;
  return nx_wire_bodies_get("M6", wire->uploads, wire->n_uploads, arena, &out->uploads, err);
}

int nx_vote_encode(const struct nx_vote *m, struct nx_buffer *out, struct nx_error *err) {
  Neurox__V1__Vote wire = NEUROX__V1__VOTE__INIT;
  wire.choice = m->choice;
  wire.round = m->round;
  wire.attempt = m->attempt;
  wire.subject = nx_wire_hash(&m->subject);
  return nx_codec_pack(&wire.base, out, err);
}

int nx_vote_decode(struct nx_bytes body, struct nx_arena *arena, struct nx_vote *out,
                   struct nx_error *err) {
  Neurox__V1__Vote *wire;
  int r =
      nx_wire_unpack(&neurox__v1__vote__descriptor, "M7", body, NX_SIGNED_CAP, arena, &wire, err);
  if (r < 0)
    return r;
  if (wire->choice != NX_VOTE_COMMIT && wire->choice != NX_VOTE_ABORT)
    return nx_fail(err, NX_E_PROTOCOL, "M7: %u is neither COMMIT nor ABORT", wire->choice);
  out->choice = wire->choice;
  out->round = wire->round;
  out->attempt = wire->attempt;
  return nx_codec_fixed(wire->subject, &out->subject, 32, "M7 subject", err);
}

int nx_vote_certificate_encode(const struct nx_vote_certificate *m, struct nx_buffer *out,
                               struct nx_error *err) {
  Neurox__V1__Voter items[NX_MEMBERS_MAX], *pointers[NX_MEMBERS_MAX];
  Neurox__V1__Certificate wire = NEUROX__V1__CERTIFICATE__INIT;
  for (size_t i = 0; i < m->n; i++) {
    neurox__v1__voter__init(&items[i]);
    items[i].id = m->voters[i].id;
    items[i].signature = nx_codec_field(m->voters[i].signature.bytes, NX_SIGNATURE_SIZE);
    pointers[i] = &items[i];
  }
  wire.vote = nx_codec_field(m->vote.data, m->vote.size);
  wire.n_voters = m->n;
  wire.voters = pointers;
  return nx_codec_pack(&wire.base, out, err);
}

int nx_vote_certificate_decode(struct nx_bytes body, struct nx_arena *arena,
                               struct nx_vote_certificate *out, struct nx_error *err) {
  Neurox__V1__Certificate *wire;
  struct nx_voter *voters;
  uint32_t last = 0;
  int r = nx_wire_unpack(&neurox__v1__certificate__descriptor, "M8", body, NX_SIGNED_CAP, arena,
                         &wire, err);
  if (r < 0 || (r = nx_wire_array(arena, wire->n_voters, sizeof *voters, &voters, err)) < 0)
    return r;
  for (size_t i = 0; i < wire->n_voters; i++) {
    if ((r = nx_wire_next_id("M8", wire->voters[i]->id, &last, err)) < 0 ||
        (r = nx_codec_fixed(wire->voters[i]->signature, voters[i].signature.bytes,
                            NX_SIGNATURE_SIZE, "M8 signature", err)) < 0)
      return r;
    voters[i].id = wire->voters[i]->id;
  }
  *out = (struct nx_vote_certificate){{wire->vote.data, wire->vote.len}, voters, wire->n_voters};
  return 0;
}

int nx_release_encode(const struct nx_release *m, struct nx_buffer *out, struct nx_error *err) {
  Neurox__V1__Release wire = NEUROX__V1__RELEASE__INIT;
  struct nx_wire_released b, s;
  nx_wire_released_set(&b, m->b_shares, m->n_b);
  nx_wire_released_set(&s, m->s_shares, m->n_s);
  wire.t3 = nx_wire_hash(&m->t3);
  wire.id = m->id;
  wire.n_b_shares = m->n_b;
  wire.b_shares = b.pointers;
  wire.n_s_shares = m->n_s;
  wire.s_shares = s.pointers;
  return nx_codec_pack(&wire.base, out, err);
}

int nx_release_decode(struct nx_bytes body, struct nx_arena *arena, struct nx_release *out,
                      struct nx_error *err) {
  Neurox__V1__Release *wire;
  uint32_t last = 0;
  int r = nx_wire_unpack(&neurox__v1__release__descriptor, "M9", body, NX_SIGNED_CAP, arena, &wire,
                         err);
  if (r < 0 || (r = nx_codec_fixed(wire->t3, &out->t3, 32, "M9 t3", err)) < 0 ||
      (r = nx_wire_next_id("M9", wire->id, &last, err)) < 0 ||
      (r = nx_wire_released_get("M9", wire->b_shares, wire->n_b_shares, arena, &out->b_shares,
                                err)) < 0 ||
      (r = nx_wire_released_get("M9", wire->s_shares, wire->n_s_shares, arena, &out->s_shares,
                                err)) < 0)
    return r;
  out->id = wire->id;
  out->n_b = wire->n_b_shares;
  out->n_s = wire->n_s_shares;
  return 0;
}

int nx_result_encode(const struct nx_result *m, struct nx_buffer *out, struct nx_error *err) {
  Neurox__V1__Result wire = NEUROX__V1__RESULT__INIT;
  struct nx_wire_released b, s;
  nx_wire_released_set(&b, m->b_seeds, m->n_b);
  nx_wire_released_set(&s, m->s_keys, m->n_s);
  wire.t3 = nx_wire_hash(&m->t3);
  wire.round = m->round;
  wire.attempt = m->attempt;
  wire.sum = nx_wire_hash(&m->sum);
  wire.sum_bytes = m->sum_bytes;
  wire.model = nx_wire_hash(&m->model);
  wire.n_b_seeds = m->n_b;
  wire.b_seeds = b.pointers;
  wire.n_s_keys = m->n_s;
  wire.s_keys = s.pointers;
  return nx_codec_pack(&wire.base, out, err);
}

int nx_result_decode(struct nx_bytes body, struct nx_arena *arena, struct nx_result *out,
                     struct nx_error *err) {
  Neurox__V1__Result *wire;
  int r = nx_wire_unpack(&neurox__v1__result__descriptor, "M10", body, NX_SIGNED_CAP, arena, &wire,
                         err);
  if (r < 0 || (r = nx_codec_fixed(wire->t3, &out->t3, 32, "M10 t3", err)) < 0 ||
      (r = nx_codec_fixed(wire->sum, &out->sum, 32, "M10 sum", err)) < 0 ||
      (r = nx_codec_fixed(wire->model, &out->model, 32, "M10 model", err)) < 0 ||
      (r = nx_wire_released_get("M10", wire->b_seeds, wire->n_b_seeds, arena, &out->b_seeds, err)) <
          0 ||
      (r = nx_wire_released_get("M10", wire->s_keys, wire->n_s_keys, arena, &out->s_keys, err)) < 0)
    return r;
  out->round = wire->round;
  out->attempt = wire->attempt;
  out->sum_bytes = wire->sum_bytes;
  out->n_b = wire->n_b_seeds;
  out->n_s = wire->n_s_keys;
  return 0;
}

int nx_sealed_encode(const struct nx_sealed *m, struct nx_buffer *out, struct nx_error *err) {
  Neurox__V1__Sealed wire = NEUROX__V1__SEALED__INIT;
  wire.round = m->round;
  wire.attempt = m->attempt;
  wire.t3 = nx_wire_hash(&m->t3);
  wire.model = nx_wire_hash(&m->model);
  return nx_codec_pack(&wire.base, out, err);
}

int nx_sealed_decode(struct nx_bytes body, struct nx_arena *arena, struct nx_sealed *out,
                     struct nx_error *err) {
  Neurox__V1__Sealed *wire;
  int r = nx_wire_unpack(&neurox__v1__sealed__descriptor, "M11", body, NX_SIGNED_CAP, arena, &wire,
                         err);
  if (r < 0 || (r = nx_codec_fixed(wire->t3, &out->t3, 32, "M11 t3", err)) < 0 ||
      (r = nx_codec_fixed(wire->model, &out->model, 32, "M11 model", err)) < 0)
    return r;
  out->round = wire->round;
  out->attempt = wire->attempt;
  return 0;
}

int nx_abort_request_encode(const struct nx_abort_request *m, struct nx_buffer *out,
                            struct nx_error *err) {
  Neurox__V1__AbortRequest wire = NEUROX__V1__ABORT_REQUEST__INIT;
  wire.t0 = nx_wire_hash(&m->t0);
  wire.round = m->round;
  wire.attempt = m->attempt;
  wire.reason = (char *)(uintptr_t)m->reason;
  return nx_codec_pack(&wire.base, out, err);
}

int nx_abort_request_decode(struct nx_bytes body, struct nx_arena *arena,
                            struct nx_abort_request *out, struct nx_error *err) {
  Neurox__V1__AbortRequest *wire;
  int r = nx_wire_unpack(&neurox__v1__abort_request__descriptor, "abort", body, NX_SIGNED_CAP,
                         arena, &wire, err);
  if (r < 0)
    return r;
  out->round = wire->round;
  out->attempt = wire->attempt;
  nx_wire_sentence(wire->reason, out->reason, sizeof out->reason);
  return nx_codec_fixed(wire->t0, &out->t0, 32, "abort t0", err);
}

int nx_complaint_encode(const struct nx_complaint *m, struct nx_buffer *out, struct nx_error *err) {
  Neurox__V1__Complaint wire = NEUROX__V1__COMPLAINT__INIT;
  wire.t1 = nx_wire_hash(&m->t1);
  wire.dealer = m->dealer;
  wire.share_key = nx_codec_field(m->share_key.bytes, sizeof m->share_key.bytes);
  return nx_codec_pack(&wire.base, out, err);
}

int nx_complaint_decode(struct nx_bytes body, struct nx_arena *arena, struct nx_complaint *out,
                        struct nx_error *err) {
  Neurox__V1__Complaint *wire;
  uint32_t last = 0;
  int r = nx_wire_unpack(&neurox__v1__complaint__descriptor, "complaint", body, NX_SIGNED_CAP,
                         arena, &wire, err);
  if (r < 0 || (r = nx_wire_next_id("complaint", wire->dealer, &last, err)) < 0 ||
      (r = nx_codec_fixed(wire->t1, &out->t1, 32, "complaint t1", err)) < 0)
    return r;
  out->dealer = wire->dealer;
  return nx_codec_fixed(wire->share_key, out->share_key.bytes, sizeof out->share_key.bytes,
                        "complaint share_key", err);
}

int nx_refusal_encode(const struct nx_refusal *m, struct nx_buffer *out, struct nx_error *err) {
  Neurox__V1__Refusal wire = NEUROX__V1__REFUSAL__INIT;
  wire.round = m->round;
  wire.attempt = m->attempt;
  wire.code = m->code;
  wire.reason = (char *)(uintptr_t)m->reason;
  return nx_codec_pack(&wire.base, out, err);
}

int nx_refusal_decode(struct nx_bytes body, struct nx_arena *arena, struct nx_refusal *out,
                      struct nx_error *err) {
  Neurox__V1__Refusal *wire;
  int r = nx_wire_unpack(&neurox__v1__refusal__descriptor, "refusal", body, NX_SIGNED_CAP, arena,
                         &wire, err);
  if (r < 0)
    return r;
  if (wire->code < NX_REFUSAL_INVITE || wire->code > NX_REFUSAL_RESULT)
    return nx_fail(err, NX_E_PROTOCOL, "refusal: unknown code %u", wire->code);
  out->round = wire->round;
  out->attempt = wire->attempt;
  out->code = wire->code;
  nx_wire_sentence(wire->reason, out->reason, sizeof out->reason);
  return 0;
}
