#include "crypto/transcript.h"

struct nx_mask_form nx_parameters_mask_form(const struct nx_transcript_parameters *parameters) {
  return (struct nx_mask_form){parameters->mask_cipher, parameters->narrow_keystream ? 16 : 32};
}

struct nx_hash nx_transcript_parameters(const struct nx_transcript_parameters *p) {
  struct nx_sha256 sha;
  const double reals[] = {p->value_range, p->clip_norm, p->noise_multiplier};
  nx_sha256_begin(&sha, "SA1/parameters");
  nx_sha256_u32(&sha, p->kind);
  nx_sha256_u64(&sha, p->n_lanes);
  nx_sha256_u64(&sha, p->n_aux);
  nx_sha256_u32(&sha, p->ring_bits);
  nx_sha256_u32(&sha, p->value_bits);
  nx_sha256_u32(&sha, p->rotation);
  nx_sha256_u32(&sha, p->privacy);
  for (size_t i = 0; i < sizeof reals / sizeof *reals; i++) {
    uint64_t pattern;
    memcpy(&pattern, &reals[i], sizeof pattern);
    nx_sha256_u64(&sha, pattern);
  }
  if (p->narrow_keystream || p->mask_cipher)
    nx_sha256_u32(&sha, p->narrow_keystream);
  if (p->mask_cipher)
    nx_sha256_u32(&sha, p->mask_cipher);
  return nx_sha256_final(&sha);
}

static int check_next(uint32_t previous, uint32_t id, const char *list, struct nx_error *err) {
  if (id < 1 || id > 255)
    return nx_fail(err, NX_E_INVALID, "%s: member id %u is not in 1..255", list, id);
  if (id <= previous)
    return nx_fail(err, NX_E_INVALID, "%s: member %u comes after member %u, ids must ascend", list,
                   id, previous);
  return 0;
}

int nx_transcript_t0(const struct nx_transcript_context *context, struct nx_hash *t0_out,
                     struct nx_error *err) {
  struct nx_sha256 sha;
  nx_sha256_begin(&sha, "SA1/ctx");
  nx_sha256_u32(&sha, context->suite);
  nx_sha256_update(&sha, context->federation, sizeof context->federation);
  nx_sha256_hash(&sha, &context->manifest);
  nx_sha256_hash(&sha, &context->plan);
  nx_sha256_hash(&sha, &context->model);
  nx_sha256_u64(&sha, context->round);
  nx_sha256_u32(&sha, context->attempt);
  nx_sha256_u32(&sha, (uint32_t)context->n_members);
  for (size_t i = 0; i < context->n_members; i++) {
    const struct nx_transcript_member *member = &context->members[i];
    int r = check_next(i ? member[-1].id : 0, member->id, "U0", err);
    if (r < 0)
      return r;
    nx_sha256_u32(&sha, member->id);
    nx_sha256_hash(&sha, &member->spki);
    nx_sha256_update(&sha, member->signing_key.bytes, NX_PUBLIC_KEY_SIZE);
  }
  nx_sha256_u32(&sha, context->threshold);
  nx_sha256_hash(&sha, &context->coordinator_spki);
  nx_sha256_hash(&sha, &context->parameters);
  *t0_out = nx_sha256_final(&sha);
  return 0;
}

int nx_transcript_t1(const struct nx_hash *t0, const struct nx_transcript_advert *adverts, size_t n,
                     struct nx_hash *t1_out, struct nx_error *err) {
  struct nx_sha256 sha;
  nx_sha256_begin(&sha, "SA1/roster");
  nx_sha256_hash(&sha, t0);
  nx_sha256_u32(&sha, (uint32_t)n);
  for (size_t i = 0; i < n; i++) {
    int r = check_next(i ? adverts[i - 1].id : 0, adverts[i].id, "U1", err);
    if (r < 0)
      return r;
    nx_sha256_u32(&sha, adverts[i].id);
    nx_sha256_bytes(&sha, adverts[i].body);
  }
  *t1_out = nx_sha256_final(&sha);
  return 0;
}

static int hash_entries(const char *tag, const struct nx_hash *before, const char *list,
                        const struct nx_transcript_entry *entries, size_t n, struct nx_hash *out,
                        struct nx_error *err) {
  struct nx_sha256 sha;
  nx_sha256_begin(&sha, tag);
  nx_sha256_hash(&sha, before);
  nx_sha256_u32(&sha, (uint32_t)n);
  for (size_t i = 0; i < n; i++) {
    int r = check_next(i ? entries[i - 1].id : 0, entries[i].id, list, err);
    if (r < 0)
      return r;
    nx_sha256_u32(&sha, entries[i].id);
    nx_sha256_hash(&sha, &entries[i].hash);
  }
  *out = nx_sha256_final(&sha);
  return 0;
}

int nx_transcript_t2(const struct nx_hash *t1, const struct nx_transcript_entry *u2, size_t n,
                     struct nx_hash *t2_out, struct nx_error *err) {
  return hash_entries("SA1/shares", t1, "U2", u2, n, t2_out, err);
}

int nx_transcript_t3(const struct nx_hash *t2, const struct nx_transcript_entry *u3, size_t n,
                     struct nx_hash *t3_out, struct nx_error *err) {
  return hash_entries("SA1/commit", t2, "U3", u3, n, t3_out, err);
}

struct nx_hash nx_commit_self_seed(const struct nx_hash *t0, uint32_t id,
                                   const struct nx_secret *b) {
  struct nx_sha256 sha;
  nx_sha256_begin(&sha, "SA1/b");
  nx_sha256_hash(&sha, t0);
  nx_sha256_u32(&sha, id);
  nx_sha256_update(&sha, b->bytes, NX_SECRET_SIZE);
  return nx_sha256_final(&sha);
}

static struct nx_hash commit_share(const char *tag, const struct nx_hash *t1, uint32_t dealer,
                                   uint32_t holder, const struct nx_secret *share) {
  struct nx_sha256 sha;
  nx_sha256_begin(&sha, tag);
  nx_sha256_hash(&sha, t1);
  nx_sha256_u32(&sha, dealer);
  nx_sha256_u32(&sha, holder);
  nx_sha256_update(&sha, share->bytes, NX_SECRET_SIZE);
  return nx_sha256_final(&sha);
}

struct nx_hash nx_commit_b_share(const struct nx_hash *t1, uint32_t dealer, uint32_t holder,
                                 const struct nx_secret *share) {
  return commit_share("SA1/sh-b", t1, dealer, holder, share);
}

struct nx_hash nx_commit_s_share(const struct nx_hash *t1, uint32_t dealer, uint32_t holder,
                                 const struct nx_secret *share) {
  return commit_share("SA1/sh-s", t1, dealer, holder, share);
}
