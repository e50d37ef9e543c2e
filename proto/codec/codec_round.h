/* Codec of round.proto: the messages of one secure sum, M0..M11, as plain validated structs.
 *
 * What is signed is a body: the exact bytes of one encoded message. A body travels inside a
 * SignedMessage{type, signer, body, signature, detached}; `detached` is not signed but bound
 * by hashes inside the body (the sealed boxes of M3). Bodies are hashed as received, never
 * re-encoded, because protobuf is not canonical.
 *
 *   coordinator                     node
 *     M0 invite          ------>    is it a round I may join?
 *                        <------    M1 advert            signed keys, commitment to b
 *     M2 roster          ------>    all adverts
 *                        <------    M3 shares            of b and s, sealed to each member
 *     M4 bundle          ------>    all M3, my boxes     (bad box: complaint, abort)
 *                        <======    M5 upload header, then the masked vector (own stream)
 *     M6 commit request  ------>    who is in, with roots
 *                        <------    M7 vote              COMMIT(T3) or ABORT(T0)
 *     M8 certificate     ------>    >= t identical votes
 *                        <------    M9 release           shares that open this one sum
 *     M10 result         ------>    what opened it; spot checks
 *                        <------    M11 sealed           signed (round, T3, next model)
 *
 * Decoders copy into the caller's arena, refuse what is out of range, unsorted, doubled or
 * of the wrong length (NX_E_PROTOCOL), and return views valid until the arena is reset.
 * Lists of members are sorted by id, strictly ascending. Encoders append to a buffer and
 * take only what a decoder would accept. Any thread. */
#pragma once

#include "common/arena.h"
#include "common/bytes.h"
#include "crypto/agreement.h"
#include "crypto/merkle.h"
#include "crypto/sealed_box.h"
#include "crypto/sign.h"
#include "crypto/threshold.h"
#include "crypto/transcript.h"

#define NX_PROTOCOL_VERSION 2u           /* 2: uploads resume */
#define NX_PROTOCOL_OLDEST 1u            /* that is still spoken: the one before, at least */
#define NX_COORDINATOR 0u                /* `signer` of the coordinator's messages */
#define NX_SIGNED_CAP ((size_t)12 << 20) /* largest SignedMessage: the M4 of 255 members */
#define NX_REASON_SIZE 256               /* a sentence inside a message, final 0 included */
#define NX_UPLOAD_CHUNK_CAP ((size_t)1 << 20)
#define NX_TILES_MAX 4096 /* tiles asked for at once */

enum nx_message_type {
  NX_M0_INVITE = 100,
  NX_M1_ADVERT = 101,
  NX_M2_ROSTER = 102,
  NX_M3_SHARES = 103,
  NX_M4_BUNDLE = 104,
  NX_M5_UPLOAD = 105,
  NX_M6_COMMIT_REQUEST = 106,
  NX_M7_VOTE = 107,
  NX_M8_CERTIFICATE = 108,
  NX_M9_RELEASE = 109,
  NX_M10_RESULT = 110,
  NX_M11_SEALED = 111,
  NX_MESSAGE_ABORT_REQUEST = 120, /* coordinator: please vote ABORT */
  NX_MESSAGE_COMPLAINT = 121,     /* node: this dealer's box is bad */
  NX_MESSAGE_REFUSAL = 122,       /* node: I take no part, or the opened sum is wrong */
  /* Between rounds (codec_manifest.h, manifest_chain.h): */
  NX_MESSAGE_MANIFEST_PROPOSAL = 130, /* coordinator: a ManifestRevision without approvals */
  NX_MESSAGE_MANIFEST_APPROVE = 131,  /* node: the statement about it */
  NX_MESSAGE_MANIFEST_REFUSE = 132,   /* node: the same */
  NX_MESSAGE_NEW_KEY = 133,           /* node: a NewKey */
  /* About a site's data (codec_site.h): */
  NX_MESSAGE_FIT = 134,      /* node: a Fit */
  NX_MESSAGE_WITHDRAWN = 135 /* node: a Withdrawn */
};

/* "M0".."M11", "abort", "complaint", "refusal", "manifest-…", "new-key", "fit", "withdrawn": what
 * nx_sign() binds; NULL if unknown. */
const char *nx_message_name(uint32_t type);

struct nx_signed_message {
  uint32_t type;   /* enum nx_message_type */
  uint32_t signer; /* member id, or NX_COORDINATOR */
  struct nx_bytes body;
  struct nx_signature signature;
  struct nx_bytes detached; /* empty but in M3 */
};
int nx_signed_message_encode(const struct nx_signed_message *message, struct nx_buffer *out,
                             struct nx_error *err);
int nx_signed_message_decode(struct nx_bytes bytes, struct nx_arena *arena,
                             struct nx_signed_message *out, struct nx_error *err);
/* Where its body lies in an encoded one (a view); empty: nowhere. */
struct nx_bytes nx_signed_message_body(struct nx_bytes bytes);
/* Signs and encodes in one step. */
int nx_signed_message_make(const struct nx_identity *identity, uint32_t signer, uint32_t type,
                           struct nx_bytes body, struct nx_bytes detached, struct nx_buffer *out,
                           struct nx_error *err);
/* 0, or NX_E_CRYPTO. */
int nx_signed_message_verify(const struct nx_signed_message *message,
                             const struct nx_public_key *key, struct nx_error *err);

/* A member's signed body inside another message. */
struct nx_signed_body {
  uint32_t id;
  struct nx_bytes body;
  struct nx_signature signature;
};

/* M0: the inputs of T0 that a node does not know by itself. */
struct nx_invite {
  uint8_t federation[NX_FEDERATION_ID_SIZE];
  struct nx_hash manifest, plan, model;
  uint64_t round;          /* from 1 */
  uint32_t attempt;        /* from 1 */
  const uint32_t *members; /* U0 */
  size_t n_members;
  struct nx_transcript_parameters parameters;
  uint32_t phase_seconds, training_seconds; /* how long the coordinator will wait */
};
int nx_invite_encode(const struct nx_invite *m, struct nx_buffer *out, struct nx_error *err);
int nx_invite_decode(struct nx_bytes body, struct nx_arena *arena, struct nx_invite *out,
                     struct nx_error *err);

struct nx_advert { /* M1 */
  struct nx_hash t0;
  uint32_t id;
  struct nx_point c, s;
  struct nx_hash self_commitment; /* H("SA1/b" | T0 | id | b) */
};
int nx_advert_encode(const struct nx_advert *m, struct nx_buffer *out, struct nx_error *err);
int nx_advert_decode(struct nx_bytes body, struct nx_arena *arena, struct nx_advert *out,
                     struct nx_error *err);

struct nx_roster { /* M2 */
  struct nx_hash t0;
  const struct nx_signed_body *adverts; /* U1 */
  size_t n;
};
int nx_roster_encode(const struct nx_roster *m, struct nx_buffer *out, struct nx_error *err);
int nx_roster_decode(struct nx_bytes body, struct nx_arena *arena, struct nx_roster *out,
                     struct nx_error *err);

/* For each member of U1, the dealer included. For itself no box exists and `box` is zero. */
struct nx_share_commitment {
  uint32_t to;
  struct nx_hash box;              /* H(sealed box) */
  struct nx_hash b_share, s_share; /* hb, hs */
};
struct nx_share_box {
  uint32_t id; /* M3: the receiver; M4: the dealer */
  uint8_t bytes[NX_SEALED_SHARES_SIZE];
};
struct nx_shares { /* M3 body */
  struct nx_hash t1;
  uint32_t id;
  const struct nx_share_commitment *commitments;
  size_t n;
};
int nx_shares_encode(const struct nx_shares *m, struct nx_buffer *out, struct nx_error *err);
int nx_shares_decode(struct nx_bytes body, struct nx_arena *arena, struct nx_shares *out,
                     struct nx_error *err);
/* M3's detached part: its boxes, for every other member of U1. */
int nx_share_boxes_encode(const struct nx_share_box *boxes, size_t n, struct nx_buffer *out,
                          struct nx_error *err);
int nx_share_boxes_decode(struct nx_bytes bytes, struct nx_arena *arena,
                          const struct nx_share_box **boxes_out, size_t *n_out,
                          struct nx_error *err);

struct nx_bundle { /* M4, one for each member of U2; others get it without boxes */
  struct nx_hash t1;
  const struct nx_signed_body *shares; /* U2, M3 bodies */
  size_t n;
  const struct nx_share_box *boxes; /* sealed to the receiver */
  size_t n_boxes;
};
int nx_bundle_encode(const struct nx_bundle *m, struct nx_buffer *out, struct nx_error *err);
int nx_bundle_decode(struct nx_bytes body, struct nx_arena *arena, struct nx_bundle *out,
                     struct nx_error *err);

struct nx_upload_header { /* M5 */
  struct nx_hash t2;
  uint64_t round;
  uint32_t attempt, id;
  uint64_t bytes;
  struct nx_hash root; /* Merkle root over the tiles (crypto/upload.h) */
};
int nx_upload_header_encode(const struct nx_upload_header *m, struct nx_buffer *out,
                            struct nx_error *err);
int nx_upload_header_decode(struct nx_bytes body, struct nx_arena *arena,
                            struct nx_upload_header *out, struct nx_error *err);

struct nx_commit_request { /* M6 */
  struct nx_hash t2;
  const struct nx_signed_body *uploads; /* U3, M5 bodies */
  size_t n;
};
int nx_commit_request_encode(const struct nx_commit_request *m, struct nx_buffer *out,
                             struct nx_error *err);
int nx_commit_request_decode(struct nx_bytes body, struct nx_arena *arena,
                             struct nx_commit_request *out, struct nx_error *err);

enum nx_vote_choice { NX_VOTE_COMMIT = 1, NX_VOTE_ABORT = 2 };

struct nx_vote { /* M7; names no voter, so that equal votes are equal bytes */
  uint32_t choice;
  uint64_t round;
  uint32_t attempt;
  struct nx_hash subject; /* COMMIT: T3; ABORT: T0 */
};
int nx_vote_encode(const struct nx_vote *m, struct nx_buffer *out, struct nx_error *err);
int nx_vote_decode(struct nx_bytes body, struct nx_arena *arena, struct nx_vote *out,
                   struct nx_error *err);

struct nx_voter {
  uint32_t id;
  struct nx_signature signature; /* over the common M7 body */
};
struct nx_vote_certificate { /* M8 */
  struct nx_bytes vote;      /* M7 body */
  const struct nx_voter *voters;
  size_t n;
};
int nx_vote_certificate_encode(const struct nx_vote_certificate *m, struct nx_buffer *out,
                               struct nx_error *err);
int nx_vote_certificate_decode(struct nx_bytes body, struct nx_arena *arena,
                               struct nx_vote_certificate *out, struct nx_error *err);

/* A released secret or share of one, and whose it is. Wipe the arena's owner after use. */
struct nx_released {
  uint32_t id;
  struct nx_secret secret;
};
struct nx_release { /* M9 */
  struct nx_hash t3;
  uint32_t id;
  const struct nx_released *b_shares; /* of every member of U3 */
  size_t n_b;
  const struct nx_released *s_shares; /* of every member of U2 \ U3 */
  size_t n_s;
};
int nx_release_encode(const struct nx_release *m, struct nx_buffer *out, struct nx_error *err);
int nx_release_decode(struct nx_bytes body, struct nx_arena *arena, struct nx_release *out,
                      struct nx_error *err);

/* M10. The sum's bytes, stored under their hash: n_lanes u32 LE (mod 2^w), n_aux u64 LE. */
struct nx_result {
  struct nx_hash t3;
  uint64_t round;
  uint32_t attempt;
  struct nx_hash sum; /* SHA-256 of the sum's bytes */
  uint64_t sum_bytes;
  struct nx_hash model;              /* after this round, as the coordinator computed it */
  const struct nx_released *b_seeds; /* b of every member of U3 */
  size_t n_b;
  const struct nx_released *s_keys; /* s of every member of U2 \ U3 */
  size_t n_s;
};
int nx_result_encode(const struct nx_result *m, struct nx_buffer *out, struct nx_error *err);
int nx_result_decode(struct nx_bytes body, struct nx_arena *arena, struct nx_result *out,
                     struct nx_error *err);

struct nx_sealed { /* M11 */
  uint64_t round;
  uint32_t attempt;
  struct nx_hash t3, model;
};
int nx_sealed_encode(const struct nx_sealed *m, struct nx_buffer *out, struct nx_error *err);
int nx_sealed_decode(struct nx_bytes body, struct nx_arena *arena, struct nx_sealed *out,
                     struct nx_error *err);

struct nx_abort_request {
  struct nx_hash t0;
  uint64_t round;
  uint32_t attempt;
  char reason[NX_REASON_SIZE];
};
int nx_abort_request_encode(const struct nx_abort_request *m, struct nx_buffer *out,
                            struct nx_error *err);
int nx_abort_request_decode(struct nx_bytes body, struct nx_arena *arena,
                            struct nx_abort_request *out, struct nx_error *err);

struct nx_complaint {
  struct nx_hash t1;
  uint32_t dealer;
  struct nx_secret share_key; /* of dealer -> complainer, revealed */
};
int nx_complaint_encode(const struct nx_complaint *m, struct nx_buffer *out, struct nx_error *err);
int nx_complaint_decode(struct nx_bytes body, struct nx_arena *arena, struct nx_complaint *out,
                        struct nx_error *err);

enum nx_refusal_code {
  NX_REFUSAL_INVITE = 1, /* the round may not run here */
  NX_REFUSAL_UPDATE = 2, /* training failed: no upload will come */
  NX_REFUSAL_RESULT = 3  /* the opened sum or the next model is not what it should be */
};
struct nx_refusal {
  uint64_t round;
  uint32_t attempt, code;
  char reason[NX_REASON_SIZE];
};
int nx_refusal_encode(const struct nx_refusal *m, struct nx_buffer *out, struct nx_error *err);
int nx_refusal_decode(struct nx_bytes body, struct nx_arena *arena, struct nx_refusal *out,
                      struct nx_error *err);

/* --- streams of their own (Round/Upload, Round/FetchTiles): not signed messages -------- */

struct nx_upload_part { /* first the header, then chunks in order of offset */
  bool is_header;
  bool resume;            /* header: what is held is to be told before anything is sent */
  struct nx_bytes header; /* an encoded SignedMessage of type M5 */
  uint64_t offset;
  struct nx_bytes data; /* 1..NX_UPLOAD_CHUNK_CAP bytes */
};
int nx_upload_part_encode(const struct nx_upload_part *m, struct nx_buffer *out,
                          struct nx_error *err);
/* header and data are views of `bytes`: nothing is copied, nor taken of the arena (NULL is fine).
 */
int nx_upload_part_decode(struct nx_bytes bytes, struct nx_arena *arena, struct nx_upload_part *out,
                          struct nx_error *err);

/* Twice where the header asked to resume: first what was held, as far as it goes, and the SHA-256
 * of those bytes in `root`. */
struct nx_upload_receipt {
  uint64_t accepted; /* bytes the coordinator holds; all of them when it is complete */
  struct nx_hash root;
};
int nx_upload_receipt_encode(const struct nx_upload_receipt *m, struct nx_buffer *out,
                             struct nx_error *err);
int nx_upload_receipt_decode(struct nx_bytes bytes, struct nx_arena *arena,
                             struct nx_upload_receipt *out, struct nx_error *err);

struct nx_tile_request {
  uint64_t round;
  uint32_t attempt;
  struct nx_hash t3;
  const uint64_t *tiles; /* 1..NX_TILES_MAX */
  size_t n;
};
int nx_tile_request_encode(const struct nx_tile_request *m, struct nx_buffer *out,
                           struct nx_error *err);
int nx_tile_request_decode(struct nx_bytes bytes, struct nx_arena *arena,
                           struct nx_tile_request *out, struct nx_error *err);

struct nx_tile { /* one answer for each (tile, member of U3) */
  uint32_t id;
  uint64_t tile;
  struct nx_bytes data;
  struct nx_merkle_path path;
};
int nx_tile_encode(const struct nx_tile *m, struct nx_buffer *out, struct nx_error *err);
int nx_tile_decode(struct nx_bytes bytes, struct nx_arena *arena, struct nx_tile *out,
                   struct nx_error *err);
