#include "proto/codec/round_checks.h"

#include <stdlib.h>

#include "common/size.h"
#include "crypto/plan_numbers.h"

const struct nx_transcript_member *nx_check_member(const struct nx_transcript_member *members,
                                                   size_t n, uint32_t id) {
  size_t low = 0, high = n;
  while (low < high) {
    size_t middle = (low + high) / 2;
    if (members[middle].id == id)
      return &members[middle];
    if (members[middle].id < id)
      low = middle + 1;
    else
      high = middle;
  }
  return NULL;
}

struct nx_upload_layout nx_check_layout(const struct nx_transcript_parameters *parameters) {
  return (struct nx_upload_layout){parameters->n_lanes, parameters->ring_bits, parameters->n_aux};
}

static int check_numbers(const struct nx_invite *invite, struct nx_error *err) {
  const struct nx_transcript_parameters *p = &invite->parameters;
  struct nx_upload_layout layout = nx_check_layout(p);
  int r = nx_upload_layout_check(&layout, err);
  if (r < 0)
    return nx_error_prefix(err, r, "M0");
  if (!nx_upload_bytes(&layout))
    return nx_fail(err, NX_E_PROTOCOL, "M0: uploads of no bytes");
  if (p->narrow_keystream > (p->ring_bits <= 16))
    return nx_fail(err, NX_E_PROTOCOL, "M0: a narrow keystream (%u) in a ring of %u bits",
                   p->narrow_keystream, p->ring_bits);
  if (p->mask_cipher > NX_MASK_AEGIS_256)
    return nx_fail(err, NX_E_PROTOCOL, "M0: masks of an unknown cipher (%u)", p->mask_cipher);
  if (p->n_lanes && (r = nx_parameters_check_ring(p, (uint32_t)invite->n_members, err)) < 0)
    return nx_error_prefix(err, r, "M0: a sum over %zu members", invite->n_members);
  return 0;
}

int nx_check_invite(const struct nx_check_context *context, const struct nx_invite *invite,
                    struct nx_hash *t0_out, struct nx_error *err) {
  struct nx_transcript_member cohort[NX_MEMBERS_MAX];
  if (invite->n_members < NX_MEMBERS_MIN || invite->n_members > NX_MEMBERS_MAX)
    return nx_fail(err, NX_E_LIMIT, "M0: a cohort of %zu; a secure sum is over %u to %u members",
                   invite->n_members, NX_MEMBERS_MIN, NX_MEMBERS_MAX);
  for (size_t i = 0; i < invite->n_members; i++) {
    const struct nx_transcript_member *member =
        nx_check_member(context->members, context->n_members, invite->members[i]);
    if (!member)
      return nx_fail(err, NX_E_PROTOCOL, "M0: member %u is not in the manifest",
                     invite->members[i]);
    cohort[i] = *member;
  }
  int r = check_numbers(invite, err);
  if (r < 0)
    return r;
  struct nx_transcript_context t0 = {.suite = NX_SUITE_SA1,
                                     .manifest = invite->manifest,
                                     .plan = invite->plan,
                                     .model = invite->model,
                                     .round = invite->round,
                                     .attempt = invite->attempt,
                                     .members = cohort,
                                     .n_members = invite->n_members,
                                     .threshold = nx_threshold_quorum((uint32_t)invite->n_members),
                                     .coordinator_spki = context->coordinator_spki,
                                     .parameters = nx_transcript_parameters(&invite->parameters)};
  memcpy(t0.federation, invite->federation, sizeof t0.federation);
  return nx_transcript_t0(&t0, t0_out, err);
}

static int check_signature(const struct nx_transcript_member *member, uint32_t type,
                           const struct nx_signed_body *signed_body, struct nx_error *err) {
  int r = nx_verify(&member->signing_key, nx_message_name(type), signed_body->body,
                    &signed_body->signature, err);
  return r < 0 ? nx_error_prefix(err, r, "member %u", member->id) : 0;
}

int nx_check_advert(const struct nx_transcript_member *member, const struct nx_hash *t0,
                    const struct nx_signed_body *signed_body, struct nx_arena *arena,
                    struct nx_advert *out, struct nx_error *err) {
  int r = nx_advert_decode(signed_body->body, arena, out, err);
  if (r < 0 || (r = check_signature(member, NX_M1_ADVERT, signed_body, err)) < 0)
    return r;
  if (out->id != member->id)
    return nx_fail(err, NX_E_PROTOCOL, "M1 of member %u names member %u", member->id, out->id);
  if (!nx_hash_equal(&out->t0, t0))
    return nx_fail(err, NX_E_PROTOCOL,
                   "M1 of member %u is of another round, model or cohort (T0 differs)", member->id);
  return 0;
}

int nx_check_point(const struct nx_point *point, struct nx_error *err) {
  /* Any clamped scalar is a multiple of 8: the result is zero for low-order points only. */
  static const struct nx_secret scalar = {{0x41, 0x13}};
  _cleanup_(nx_secret_wipe) struct nx_secret shared;
  return nx_agreement_shared(&scalar, point, &shared, err);
}

int nx_check_t1(const struct nx_hash *t0, const struct nx_signed_body *adverts, size_t n,
                struct nx_hash *t1_out, struct nx_error *err) {
  struct nx_transcript_advert list[NX_MEMBERS_MAX];
  if (n > NX_MEMBERS_MAX)
    return nx_fail(err, NX_E_LIMIT, "M2: %zu adverts", n);
  for (size_t i = 0; i < n; i++)
    list[i] = (struct nx_transcript_advert){adverts[i].id, adverts[i].body};
  return nx_transcript_t1(t0, list, n, t1_out, err);
}

int nx_check_shares(const struct nx_transcript_member *member, const struct nx_hash *t1,
                    const bool u1[NX_ID_END], const struct nx_signed_body *signed_body,
                    struct nx_arena *arena, struct nx_shares *out, struct nx_error *err) {
  int r = nx_shares_decode(signed_body->body, arena, out, err);
  if (r < 0 || (r = check_signature(member, NX_M3_SHARES, signed_body, err)) < 0)
    return r;
  if (out->id != member->id)
    return nx_fail(err, NX_E_PROTOCOL, "M3 of member %u names member %u", member->id, out->id);
  if (!nx_hash_equal(&out->t1, t1))
    return nx_fail(err, NX_E_PROTOCOL, "M3 of member %u is under another roster (T1 differs)",
                   member->id);
  size_t wanted = 0, i = 0;
  for (uint32_t id = 0; id < NX_ID_END; id++)
    wanted += u1[id];
  while (i < out->n && u1[out->commitments[i].to])
    i++;
  if (out->n != wanted || i < out->n)
    return nx_fail(err, NX_E_PROTOCOL, "M3 of member %u deals to others than the roster",
                   member->id);
  return 0;
}

int nx_check_t2(const struct nx_hash *t1, const struct nx_signed_body *shares, size_t n,
                struct nx_hash *t2_out, struct nx_error *err) {
  struct nx_transcript_entry list[NX_MEMBERS_MAX];
  if (n > NX_MEMBERS_MAX)
    return nx_fail(err, NX_E_LIMIT, "M4: %zu bodies", n);
  for (size_t i = 0; i < n; i++)
    list[i] = (struct nx_transcript_entry){shares[i].id,
                                           nx_sha256(shares[i].body.data, shares[i].body.size)};
  return nx_transcript_t2(t1, list, n, t2_out, err);
}

int nx_check_upload(const struct nx_transcript_member *member, const struct nx_invite *invite,
                    const struct nx_hash *t2, const struct nx_signed_body *signed_body,
                    struct nx_arena *arena, struct nx_upload_header *out, struct nx_error *err) {
  struct nx_upload_layout layout = nx_check_layout(&invite->parameters);
  int r = nx_upload_header_decode(signed_body->body, arena, out, err);
  if (r < 0 || (r = check_signature(member, NX_M5_UPLOAD, signed_body, err)) < 0)
    return r;
  if (out->id != member->id || out->round != invite->round || out->attempt != invite->attempt ||
      !nx_hash_equal(&out->t2, t2))
    return nx_fail(err, NX_E_PROTOCOL,
                   "M5 of member %u belongs to another round, attempt or set of members",
                   member->id);
  if (out->bytes != nx_upload_bytes(&layout))
    return nx_fail(err, NX_E_PROTOCOL, "M5 of member %u announces %llu bytes instead of %zu",
                   member->id, (unsigned long long)out->bytes, nx_upload_bytes(&layout));
  return 0;
}

int nx_check_t3(const struct nx_hash *t2, const struct nx_transcript_entry *roots, size_t n,
                struct nx_hash *t3_out, struct nx_error *err) {
  return nx_transcript_t3(t2, roots, n, t3_out, err);
}

int nx_check_certificate(const struct nx_transcript_member *members, size_t n,
                         const bool voters[NX_ID_END], uint32_t threshold,
                         const struct nx_vote_certificate *certificate, struct nx_arena *arena,
                         struct nx_vote *vote_out, struct nx_error *err) {
  int r = nx_vote_decode(certificate->vote, arena, vote_out, err);
  if (r < 0)
    return r;
  if (certificate->n < threshold)
    return nx_fail(err, NX_E_PROTOCOL, "M8 with %zu votes of the %u that are needed",
                   certificate->n, threshold);
  for (size_t i = 0; i < certificate->n; i++) {
    const struct nx_voter *voter = &certificate->voters[i];
    const struct nx_transcript_member *member = nx_check_member(members, n, voter->id);
    if (!member || !voters[voter->id])
      return nx_fail(err, NX_E_PROTOCOL, "M8: member %u has no vote", voter->id);
    struct nx_signed_body vote = {voter->id, certificate->vote, voter->signature};
    if ((r = check_signature(member, NX_M7_VOTE, &vote, err)) < 0)
      return nx_error_prefix(err, r, "M8");
  }
  return 0;
}

int nx_check_box(const struct nx_secret *key, const struct nx_hash *t1, uint32_t dealer,
                 uint32_t holder, const struct nx_share_commitment *commitment,
                 const uint8_t box[NX_SEALED_SHARES_SIZE], struct nx_secret *b_share_out,
                 struct nx_secret *s_share_out, struct nx_error *err) {
  struct nx_secret shares[2];
  int r = nx_sealed_box_open(key, t1, dealer, holder, nx_bytes(box, NX_SEALED_SHARES_SIZE),
                             shares[0].bytes, err);
  if (r == NX_E_CRYPTO)
    return NX_CHECK_BOX_SHUT;
  if (r < 0)
    return r;
  struct nx_hash b = nx_commit_b_share(t1, dealer, holder, &shares[0]);
  struct nx_hash s = nx_commit_s_share(t1, dealer, holder, &shares[1]);
  r = nx_hash_equal(&b, &commitment->b_share) && nx_hash_equal(&s, &commitment->s_share)
          ? 0
          : NX_CHECK_BOX_FALSE;
  *b_share_out = shares[0];
  *s_share_out = shares[1];
  nx_secret_wipe(&shares[0]);
  nx_secret_wipe(&shares[1]);
  return r;
}

static size_t count(const bool set[NX_ID_END]) {
  size_t n = 0;
  for (uint32_t id = 0; id < NX_ID_END; id++)
    n += set[id];
  return n;
}

static int check_b_seeds(const struct nx_hash *t0, const struct nx_advert *adverts,
                         const bool u3[NX_ID_END], const struct nx_released *b_seeds, size_t n,
                         struct nx_error *err) {
  if (n != count(u3))
    return nx_fail(err, NX_E_PROTOCOL, "%zu self seeds for %zu members", n, count(u3));
  for (size_t i = 0; i < n; i++) {
    uint32_t id = b_seeds[i].id;
    struct nx_hash commitment = nx_commit_self_seed(t0, id, &b_seeds[i].secret);
    if (!u3[id])
      return nx_fail(err, NX_E_PROTOCOL, "a self seed of member %u, who is not in the sum", id);
    if (!nx_hash_equal(&commitment, &adverts[id].self_commitment))
      return nx_fail(err, NX_E_CRYPTO, "the self seed of member %u is not what it committed to",
                     id);
  }
  return 0;
}

static int check_s_keys(const struct nx_advert *adverts, const bool u2[NX_ID_END],
                        const bool u3[NX_ID_END], const struct nx_released *s_keys, size_t n,
                        struct nx_error *err) {
  if (n + count(u3) != count(u2))
    return nx_fail(err, NX_E_PROTOCOL, "%zu keys of dropped members instead of %zu", n,
                   count(u2) - count(u3));
  for (size_t i = 0; i < n; i++) {
    uint32_t id = s_keys[i].id;
    struct nx_point point;
    if (!u2[id] || u3[id])
      return nx_fail(err, NX_E_PROTOCOL, "a mask key of member %u, who did not drop", id);
    int r = nx_agreement_public(&s_keys[i].secret, &point, err);
    if (r < 0)
      return r;
    if (memcmp(&point, &adverts[id].s, sizeof point))
      return nx_fail(err, NX_E_CRYPTO, "the recovered key of member %u is not the advertised one",
                     id);
  }
  return 0;
}

/* The pair mask that each survivor put on for each dropped member. */
static int remove_pairs(struct nx_mask *mask, const struct nx_hash *t2,
                        const struct nx_advert *adverts, const struct nx_released *b_seeds,
                        size_t n_b, const struct nx_released *s_keys, size_t n_s,
                        struct nx_pool *pool, struct nx_error *err) {
  size_t n = 0;
  if (!n_s)
    return 0;
  _cleanup_free_ struct nx_mask_pair *pairs = calloc(n_b * n_s, sizeof *pairs);
  if (!pairs)
    return nx_fail(err, NX_E_NOMEM, "out of memory for %zu pair masks", n_b * n_s);
  for (size_t i = 0; i < n_b; i++)
    for (size_t k = 0; k < n_s; k++)
      pairs[n++] = (struct nx_mask_pair){b_seeds[i].id, &adverts[b_seeds[i].id].s, s_keys[k].id,
                                         &s_keys[k].secret};
  return nx_mask_remove_pairs(mask, t2, pairs, n, pool, err);
}

int nx_check_opening(const struct nx_transcript_parameters *parameters, const struct nx_hash *t0,
                     const struct nx_hash *t2, const struct nx_advert *adverts,
                     const bool u2[NX_ID_END], const bool u3[NX_ID_END],
                     const struct nx_released *b_seeds, size_t n_b,
                     const struct nx_released *s_keys, size_t n_s, struct nx_pool *pool,
                     struct nx_mask **mask_out, struct nx_error *err) {
  _cleanup_(nx_mask_destroyp) struct nx_mask *mask = NULL;
  int r = check_b_seeds(t0, adverts, u3, b_seeds, n_b, err);
  if (r < 0 || (r = check_s_keys(adverts, u2, u3, s_keys, n_s, err)) < 0 ||
      (r = nx_mask_create(n_b * (1 + n_s), nx_parameters_mask_form(parameters), &mask, err)) < 0)
    return r;
  for (size_t i = 0; i < n_b; i++)
    if ((r = nx_mask_remove_self(mask, t2, b_seeds[i].id, &b_seeds[i].secret, err)) < 0)
      return r;
  if ((r = remove_pairs(mask, t2, adverts, b_seeds, n_b, s_keys, n_s, pool, err)) < 0)
    return r;
  *mask_out = nx_steal(&mask);
  return 0;
}
