/* Round checks: what both ends of a secure sum verify alike, over several messages at once.
 * Members are given as nx_transcript_member, sorted by id. Sets of members are flags indexed
 * by id. Every function is pure; NX_E_CRYPTO when a signature, commitment or point does not
 * hold, NX_E_PROTOCOL when a message says something it may not. Any thread. */
#pragma once

#include "crypto/mask.h"
#include "crypto/upload.h"
#include "proto/codec/codec_round.h"

#define NX_ID_END 256 /* flags of a set: bool set[NX_ID_END] */

/* NULL when no member has the id. */
const struct nx_transcript_member *nx_check_member(const struct nx_transcript_member *members,
                                                   size_t n, uint32_t id);

/* What a node pins, and the coordinator knows, beside an invitation. */
struct nx_check_context {
  const struct nx_transcript_member *members; /* all of the manifest */
  size_t n_members;
  struct nx_hash coordinator_spki;
};
/* T0 of an invitation; NX_E_PROTOCOL when a member is not in the manifest, NX_E_LIMIT when
 * thresholds, widths or sizes cannot hold for so many members. */
int nx_check_invite(const struct nx_check_context *context, const struct nx_invite *invite,
                    struct nx_hash *t0_out, struct nx_error *err);
/* The layout of every upload of the round. */
struct nx_upload_layout nx_check_layout(const struct nx_transcript_parameters *parameters);

/* An M1 of that member under T0. */
int nx_check_advert(const struct nx_transcript_member *member, const struct nx_hash *t0,
                    const struct nx_signed_body *signed_body, struct nx_arena *arena,
                    struct nx_advert *out, struct nx_error *err);
/* That a point is not of low order. */
int nx_check_point(const struct nx_point *point, struct nx_error *err);
int nx_check_t1(const struct nx_hash *t0, const struct nx_signed_body *adverts, size_t n,
                struct nx_hash *t1_out, struct nx_error *err);
/* An M3 of that member under T1, to exactly the members of u1. */
int nx_check_shares(const struct nx_transcript_member *member, const struct nx_hash *t1,
                    const bool u1[NX_ID_END], const struct nx_signed_body *signed_body,
                    struct nx_arena *arena, struct nx_shares *out, struct nx_error *err);
int nx_check_t2(const struct nx_hash *t1, const struct nx_signed_body *shares, size_t n,
                struct nx_hash *t2_out, struct nx_error *err);
/* An M5 of that member under T2. */
int nx_check_upload(const struct nx_transcript_member *member, const struct nx_invite *invite,
                    const struct nx_hash *t2, const struct nx_signed_body *signed_body,
                    struct nx_arena *arena, struct nx_upload_header *out, struct nx_error *err);
/* roots: of the same n uploads. */
int nx_check_t3(const struct nx_hash *t2, const struct nx_transcript_entry *roots, size_t n,
                struct nx_hash *t3_out, struct nx_error *err);
/* That >= threshold members of `voters` signed this one vote. */
int nx_check_certificate(const struct nx_transcript_member *members, size_t n,
                         const bool voters[NX_ID_END], uint32_t threshold,
                         const struct nx_vote_certificate *certificate, struct nx_arena *arena,
                         struct nx_vote *vote_out, struct nx_error *err);

/* What a sealed box of dealer -> holder holds; NX_E_CRYPTO when it does not open under the
 * key, or when its shares are not those that were committed to. */
#define NX_CHECK_BOX_SHUT 1  /* the key does not open it */
#define NX_CHECK_BOX_FALSE 2 /* it opens, and proves that the dealer cheated */
int nx_check_box(const struct nx_secret *key, const struct nx_hash *t1, uint32_t dealer,
                 uint32_t holder, const struct nx_share_commitment *commitment,
                 const uint8_t box[NX_SEALED_SHARES_SIZE], struct nx_secret *b_share_out,
                 struct nx_secret *s_share_out, struct nx_error *err);

/* What opened a sum, against the adverts (indexed by id) and the sets of T3: every b of u3,
 * every key of u2 \ u3, and no more. On success the mask that takes them off the sum of u3. With
 * D dropouts that is |u3| * D key agreements, shared out over the pool (may be NULL). */
int nx_check_opening(const struct nx_transcript_parameters *parameters, const struct nx_hash *t0,
                     const struct nx_hash *t2,
                     const struct nx_advert *adverts, const bool u2[NX_ID_END],
                     const bool u3[NX_ID_END], const struct nx_released *b_seeds, size_t n_b,
                     const struct nx_released *s_keys, size_t n_s, struct nx_pool *pool,
                     struct nx_mask **mask_out, struct nx_error *err);
