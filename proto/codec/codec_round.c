/* M0..M5: from the invitation to the upload's header. */
#include "proto/codec/codec_round.h"

#include <math.h>

#include "proto/codec/codec_members.h"
#include "round.pb-c.h"

/* More than any of our machines could hold: keeps sizes far from overflow. */
#define LANES_MAX ((uint64_t)1 << 36)
#define SECONDS_MAX 31622400u /* a year */

int nx_invite_encode(const struct nx_invite *m, struct nx_buffer *out, struct nx_error *err) {
  const struct nx_transcript_parameters *p = &m->parameters;
  Neurox__V1__RoundParameters parameters = NEUROX__V1__ROUND_PARAMETERS__INIT;
  parameters.kind = p->kind;
  parameters.n_lanes = p->n_lanes;
  parameters.n_aux = p->n_aux;
  parameters.ring_bits = p->ring_bits;
  parameters.value_bits = p->value_bits;
  parameters.value_range = p->value_range;
  parameters.clip_norm = p->clip_norm;
  parameters.rotation = p->rotation;
  parameters.privacy = p->privacy;
  parameters.noise_multiplier = p->noise_multiplier;
  parameters.narrow_keystream = p->narrow_keystream;
  parameters.mask_cipher = p->mask_cipher;
  Neurox__V1__Invite wire = NEUROX__V1__INVITE__INIT;
  wire.federation = nx_codec_field(m->federation, sizeof m->federation);
  wire.manifest = nx_wire_hash(&m->manifest);
  wire.plan = nx_wire_hash(&m->plan);
  wire.model = nx_wire_hash(&m->model);
  wire.round = m->round;
  wire.attempt = m->attempt;
  wire.n_members = m->n_members;
  wire.members = (uint32_t *)(uintptr_t)m->members;
  wire.parameters = &parameters;
  wire.phase_seconds = m->phase_seconds;
  wire.training_seconds = m->training_seconds;
  return nx_codec_pack(&wire.base, out, err);
}

static int parameters_decode(const Neurox__V1__RoundParameters *wire,
                             struct nx_transcript_parameters *out, struct nx_error *err) {
  if (!wire)
    return nx_fail(err, NX_E_PROTOCOL, "M0: parameters missing");
  if (wire->kind < 1 || wire->kind > 3)
    return nx_fail(err, NX_E_PROTOCOL, "M0: round of unknown kind %u", wire->kind);
  if (wire->n_lanes > LANES_MAX || wire->n_aux > LANES_MAX)
    return nx_fail(err, NX_E_LIMIT, "M0: more than 2^36 lanes");
  if (!isfinite(wire->value_range) || !isfinite(wire->clip_norm) ||
      !isfinite(wire->noise_multiplier))
    return nx_fail(err, NX_E_PROTOCOL, "M0: a parameter is not a finite number");
  *out = (struct nx_transcript_parameters){.kind = wire->kind,
                                           .n_lanes = wire->n_lanes,
                                           .n_aux = wire->n_aux,
                                           .ring_bits = wire->ring_bits,
                                           .value_bits = wire->value_bits,
                                           .value_range = wire->value_range,
                                           .clip_norm = wire->clip_norm,
                                           .rotation = wire->rotation,
                                           .privacy = wire->privacy,
                                           .noise_multiplier = wire->noise_multiplier,
                                           .narrow_keystream = wire->narrow_keystream,
                                           .mask_cipher = wire->mask_cipher};
  return 0;
}

int nx_invite_decode(struct nx_bytes body, struct nx_arena *arena, struct nx_invite *out,
                     struct nx_error *err) {
  Neurox__V1__Invite *wire;
  int r =
      nx_wire_unpack(&neurox__v1__invite__descriptor, "M0", body, NX_SIGNED_CAP, arena, &wire, err);
  if (r < 0)
    return r;
  *out = (struct nx_invite){.round = wire->round,
                            .attempt = wire->attempt,
                            .members = wire->members,
                            .n_members = wire->n_members,
                            .phase_seconds = wire->phase_seconds,
                            .training_seconds = wire->training_seconds};
  if ((r = nx_codec_fixed(wire->federation, out->federation, sizeof out->federation,
                          "M0 federation", err)) < 0 ||
      (r = nx_codec_fixed(wire->manifest, &out->manifest, 32, "M0 manifest", err)) < 0 ||
      (r = nx_codec_fixed(wire->plan, &out->plan, 32, "M0 plan", err)) < 0 ||
      (r = nx_codec_fixed(wire->model, &out->model, 32, "M0 model", err)) < 0 ||
      (r = parameters_decode(wire->parameters, &out->parameters, err)) < 0)
    return r;
  if (!wire->round || !wire->attempt)
    return nx_fail(err, NX_E_PROTOCOL, "M0: rounds and attempts count from 1");
  if (wire->phase_seconds > SECONDS_MAX || wire->training_seconds > SECONDS_MAX)
    return nx_fail(err, NX_E_LIMIT, "M0: a phase of more than a year");
  uint32_t last = 0;
  for (size_t i = 0; i < wire->n_members; i++)
    if ((r = nx_wire_next_id("M0", wire->members[i], &last, err)) < 0)
      return r;
  return 0;
}

int nx_advert_encode(const struct nx_advert *m, struct nx_buffer *out, struct nx_error *err) {
  Neurox__V1__Advert wire = NEUROX__V1__ADVERT__INIT;
  wire.t0 = nx_wire_hash(&m->t0);
  wire.id = m->id;
  wire.c = nx_codec_field(m->c.bytes, sizeof m->c.bytes);
  wire.s = nx_codec_field(m->s.bytes, sizeof m->s.bytes);
  wire.self_commitment = nx_wire_hash(&m->self_commitment);
  return nx_codec_pack(&wire.base, out, err);
}

int nx_advert_decode(struct nx_bytes body, struct nx_arena *arena, struct nx_advert *out,
                     struct nx_error *err) {
  Neurox__V1__Advert *wire;
  uint32_t last = 0;
  int r =
      nx_wire_unpack(&neurox__v1__advert__descriptor, "M1", body, NX_SIGNED_CAP, arena, &wire, err);
  if (r < 0 || (r = nx_codec_fixed(wire->t0, &out->t0, 32, "M1 t0", err)) < 0 ||
      (r = nx_wire_next_id("M1", wire->id, &last, err)) < 0 ||
      (r = nx_codec_fixed(wire->c, &out->c, 32, "M1 c", err)) < 0 ||
      (r = nx_codec_fixed(wire->s, &out->s, 32, "M1 s", err)) < 0 ||
      (r = nx_codec_fixed(wire->self_commitment, &out->self_commitment, 32, "M1 self_commitment",
                          err)) < 0)
    return r;
  out->id = wire->id;
  return 0;
}

int nx_roster_encode(const struct nx_roster *m, struct nx_buffer *out, struct nx_error *err) {
  Neurox__V1__Roster wire = NEUROX__V1__ROSTER__INIT;
  wire.t0 = nx_wire_hash(&m->t0);
  struct nx_wire_bodies bodies;
  nx_wire_bodies_set(&bodies, m->adverts, m->n);
  wire.n_adverts = m->n;
  wire.adverts = bodies.pointers;
  return nx_codec_pack(&wire.base, out, err);
}

int nx_roster_decode(struct nx_bytes body, struct nx_arena *arena, struct nx_roster *out,
                     struct nx_error *err) {
  Neurox__V1__Roster *wire;
  int r =
      nx_wire_unpack(&neurox__v1__roster__descriptor, "M2", body, NX_SIGNED_CAP, arena, &wire, err);
  if (r < 0 || (r = nx_codec_fixed(wire->t0, &out->t0, 32, "M2 t0", err)) < 0)
    return r;
  out->n = wire->n_adverts;
  return nx_wire_bodies_get("M2", wire->adverts, wire->n_adverts, arena, &out->adverts, err);
}

int nx_shares_encode(const struct nx_shares *m, struct nx_buffer *out, struct nx_error *err) {
  Neurox__V1__ShareCommitment items[NX_MEMBERS_MAX], *pointers[NX_MEMBERS_MAX];
  Neurox__V1__Shares wire = NEUROX__V1__SHARES__INIT;
  wire.t1 = nx_wire_hash(&m->t1);
  wire.id = m->id;
  for (size_t i = 0; i < m->n; i++) {
    const struct nx_share_commitment *commitment = &m->commitments[i];
    neurox__v1__share_commitment__init(&items[i]);
    items[i].to = commitment->to;
    items[i].box = nx_wire_hash(&commitment->box);
    items[i].b_share = nx_wire_hash(&commitment->b_share);
    items[i].s_share = nx_wire_hash(&commitment->s_share);
    pointers[i] = &items[i];
  }
  wire.n_commitments = m->n;
  wire.commitments = pointers;
  return nx_codec_pack(&wire.base, out, err);
}

int nx_shares_decode(struct nx_bytes body, struct nx_arena *arena, struct nx_shares *out,
                     struct nx_error *err) {
  Neurox__V1__Shares *wire;
  struct nx_share_commitment *commitments;
  uint32_t last = 0;
  int r =
      nx_wire_unpack(&neurox__v1__shares__descriptor, "M3", body, NX_SIGNED_CAP, arena, &wire, err);
  if (r < 0 || (r = nx_codec_fixed(wire->t1, &out->t1, 32, "M3 t1", err)) < 0 ||
      (r = nx_wire_next_id("M3", wire->id, &last, err)) < 0 ||
      (r = nx_wire_array(arena, wire->n_commitments, sizeof *commitments, &commitments, err)) < 0)
    return r;
  last = 0;
  for (size_t i = 0; i < wire->n_commitments; i++) {
    const Neurox__V1__ShareCommitment *item = wire->commitments[i];
    struct nx_share_commitment *c = &commitments[i];
    if ((r = nx_wire_next_id("M3", item->to, &last, err)) < 0 ||
        (r = nx_codec_fixed(item->box, &c->box, 32, "M3 box", err)) < 0 ||
        (r = nx_codec_fixed(item->b_share, &c->b_share, 32, "M3 b_share", err)) < 0 ||
        (r = nx_codec_fixed(item->s_share, &c->s_share, 32, "M3 s_share", err)) < 0)
      return r;
    c->to = item->to;
  }
  out->id = wire->id;
  out->commitments = commitments;
  out->n = wire->n_commitments;
  return 0;
}

int nx_share_boxes_encode(const struct nx_share_box *boxes, size_t n, struct nx_buffer *out,
                          struct nx_error *err) {
  Neurox__V1__ShareBoxes wire = NEUROX__V1__SHARE_BOXES__INIT;
  struct nx_wire_boxes list;
  nx_wire_boxes_set(&list, boxes, n);
  wire.n_boxes = n;
  wire.boxes = list.pointers;
  return nx_codec_pack(&wire.base, out, err);
}

int nx_share_boxes_decode(struct nx_bytes bytes, struct nx_arena *arena,
                          const struct nx_share_box **boxes_out, size_t *n_out,
                          struct nx_error *err) {
  Neurox__V1__ShareBoxes *wire;
  int r = nx_wire_unpack(&neurox__v1__share_boxes__descriptor, "M3 boxes", bytes, NX_SIGNED_CAP,
                         arena, &wire, err);
  if (r < 0)
    return r;
  *n_out = wire->n_boxes;
  return nx_wire_boxes_get("M3 boxes", wire->boxes, wire->n_boxes, arena, boxes_out, err);
}

int nx_bundle_encode(const struct nx_bundle *m, struct nx_buffer *out, struct nx_error *err) {
  Neurox__V1__Bundle wire = NEUROX__V1__BUNDLE__INIT;
  struct nx_wire_bodies bodies;
  struct nx_wire_boxes boxes;
  nx_wire_bodies_set(&bodies, m->shares, m->n);
  nx_wire_boxes_set(&boxes, m->boxes, m->n_boxes);
  wire.t1 = nx_wire_hash(&m->t1);
  wire.n_shares = m->n;
  wire.shares = bodies.pointers;
  wire.n_boxes = m->n_boxes;
  wire.boxes = boxes.pointers;
  return nx_codec_pack(&wire.base, out, err);
}

int nx_bundle_decode(struct nx_bytes body, struct nx_arena *arena, struct nx_bundle *out,
                     struct nx_error *err) {
  Neurox__V1__Bundle *wire;
  int r =
      nx_wire_unpack(&neurox__v1__bundle__descriptor, "M4", body, NX_SIGNED_CAP, arena, &wire, err);
  if (r < 0 || (r = nx_codec_fixed(wire->t1, &out->t1, 32, "M4 t1", err)) < 0 ||
      (r = nx_wire_bodies_get("M4", wire->shares, wire->n_shares, arena, &out->shares, err)) < 0 ||
      (r = nx_wire_boxes_get("M4", wire->boxes, wire->n_boxes, arena, &out->boxes, err)) < 0)
    return r;
  out->n = wire->n_shares;
  out->n_boxes = wire->n_boxes;
  return 0;
}

int nx_upload_header_encode(const struct nx_upload_header *m, struct nx_buffer *out,
                            struct nx_error *err) {
  Neurox__V1__UploadHeader wire = NEUROX__V1__UPLOAD_HEADER__INIT;
  wire.t2 = nx_wire_hash(&m->t2);
  wire.round = m->round;
  wire.attempt = m->attempt;
  wire.id = m->id;
  wire.bytes = m->bytes;
  wire.root = nx_wire_hash(&m->root);
  return nx_codec_pack(&wire.base, out, err);
}

int nx_upload_header_decode(struct nx_bytes body, struct nx_arena *arena,
                            struct nx_upload_header *out, struct nx_error *err) {
  Neurox__V1__UploadHeader *wire;
  uint32_t last = 0;
  int r = nx_wire_unpack(&neurox__v1__upload_header__descriptor, "M5", body, NX_SIGNED_CAP, arena,
                         &wire, err);
  if (r < 0 || (r = nx_codec_fixed(wire->t2, &out->t2, 32, "M5 t2", err)) < 0 ||
      (r = nx_wire_next_id("M5", wire->id, &last, err)) < 0 ||
      (r = nx_codec_fixed(wire->root, &out->root, 32, "M5 root", err)) < 0)
    return r;
  out->round = wire->round;
  out->attempt = wire->attempt;
  out->id = wire->id;
  out->bytes = wire->bytes;
  return 0;
}
