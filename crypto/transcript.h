/* Transcript: T0..T3, the hashes that bind every message of a round to all that came
 * before it, and the commitments inside M1 and M3. Fields are encoded as crypto/hash.h
 * says; lists are preceded by their count (u32) and must be sorted by id, strictly
 * ascending (NX_E_INVALID otherwise). Any thread. */
#pragma once

#include "crypto/hash.h"
#include "crypto/mask.h"
#include "crypto/secret.h"
#include "crypto/sign.h"

#define NX_FEDERATION_ID_SIZE 16
#define NX_SUITE_SA1                                                                               \
  1u /* Ed25519, X25519, HKDF-SHA256, ChaCha20-Poly1305, AES-256-CTR or AEGIS-256 */

struct nx_transcript_member {
  uint32_t id; /* 1..255 */
  struct nx_hash spki;
  struct nx_public_key signing_key;
};

struct nx_transcript_context {
  uint32_t suite; /* NX_SUITE_SA1 */
  uint8_t federation[NX_FEDERATION_ID_SIZE];
  struct nx_hash manifest, plan, model;
  uint64_t round;
  uint32_t attempt;
  const struct nx_transcript_member *members; /* U0 */
  size_t n_members;
  uint32_t threshold;
  struct nx_hash coordinator_spki;
  struct nx_hash parameters; /* nx_transcript_parameters() */
};

/* What T0 binds about numbers: the round's kind and shape, quantisation and privacy. */
struct nx_transcript_parameters {
  uint32_t kind;                  /* of round */
  uint64_t n_lanes, n_aux;        /* of every upload */
  uint32_t ring_bits, value_bits; /* w and the signed width of a value */
  double value_range, clip_norm;  /* hashed as IEEE 754 bit patterns */
  uint32_t rotation;              /* 0 or 1 */
  uint32_t narrow_keystream;      /* 0 or 1 */
  uint32_t mask_cipher;           /* enum nx_mask_cipher; these two are hashed as below */
  uint32_t privacy;               /* mechanism */
  double noise_multiplier;
};
struct nx_mask_form nx_parameters_mask_form(const struct nx_transcript_parameters *parameters);
/* Hashed in the order of RoundParameters on the wire; at the end narrow_keystream unless it and
 * mask_cipher are 0, then mask_cipher unless it is 0. */
struct nx_hash nx_transcript_parameters(const struct nx_transcript_parameters *parameters);

/* T0 = H("SA1/ctx" | suite | federation | manifest | plan | model | round | attempt |
 *        U0[(id, spki, signing key)] | t | coordinator spki | parameters) */
int nx_transcript_t0(const struct nx_transcript_context *context, struct nx_hash *t0_out,
                     struct nx_error *err);

/* A member's part of a list: M1 body bytes, H(M3 body) or upload root. */
struct nx_transcript_advert {
  uint32_t id;
  struct nx_bytes body; /* the exact signed bytes of M1 */
};
struct nx_transcript_entry {
  uint32_t id;
  struct nx_hash hash;
};

/* T1 = H("SA1/roster" | T0 | adverts[(id, body)]) */
int nx_transcript_t1(const struct nx_hash *t0, const struct nx_transcript_advert *adverts, size_t n,
                     struct nx_hash *t1_out, struct nx_error *err);
/* T2 = H("SA1/shares" | T1 | U2[(id, H(M3 body))]) */
int nx_transcript_t2(const struct nx_hash *t1, const struct nx_transcript_entry *u2, size_t n,
                     struct nx_hash *t2_out, struct nx_error *err);
/* T3 = H("SA1/commit" | T2 | U3[(id, upload root)]) */
int nx_transcript_t3(const struct nx_hash *t2, const struct nx_transcript_entry *u3, size_t n,
                     struct nx_hash *t3_out, struct nx_error *err);

/* H("SA1/b" | T0 | id | b): M1's commitment to the self-mask seed. */
struct nx_hash nx_commit_self_seed(const struct nx_hash *t0, uint32_t id,
                                   const struct nx_secret *b);
/* H("SA1/sh-b" | T1 | dealer | holder | share) and "SA1/sh-s": hb_uv and hs_uv of M3. */
struct nx_hash nx_commit_b_share(const struct nx_hash *t1, uint32_t dealer, uint32_t holder,
                                 const struct nx_secret *share);
struct nx_hash nx_commit_s_share(const struct nx_hash *t1, uint32_t dealer, uint32_t holder,
                                 const struct nx_secret *share);
