/* Codec of enrol.proto: how a site asks for its certificate. Rules as in codec_session.h;
 * the request holds the token, so whoever holds its bytes wipes them. */
#pragma once

#include "common/arena.h"
#include "common/bytes.h"
#include "crypto/sign.h"
#include "crypto/transcript.h"
#include "proto/codec/methods.h"

#define NX_ENROL_TOKEN_SIZE 32
#define NX_ENROL_PEM_CAP ((size_t)64 << 10)
#define NX_MEMBER_NAME_SIZE 65

struct nx_enrol_request {
  uint32_t protocol; /* one that is not spoken here: only `software` is filled besides */
  char software[NX_SOFTWARE_SIZE];
  uint8_t federation[NX_FEDERATION_ID_SIZE];
  uint8_t token[NX_ENROL_TOKEN_SIZE];
  struct nx_bytes csr; /* PEM, not looked into */
  struct nx_public_key identity;
  struct nx_signature signature; /* nx_sign(identity, "enrol", csr) */
};

struct nx_enrol_response {
  uint32_t member; /* 1..255 */
  char name[NX_MEMBER_NAME_SIZE];
  struct nx_bytes certificate; /* PEM, not looked into */
  struct nx_public_key coordinator;
};

int nx_enrol_request_encode(const struct nx_enrol_request *m, struct nx_buffer *out,
                            struct nx_error *err);
int nx_enrol_request_decode(struct nx_bytes bytes, struct nx_arena *arena,
                            struct nx_enrol_request *out, struct nx_error *err);
int nx_enrol_response_encode(const struct nx_enrol_response *m, struct nx_buffer *out,
                             struct nx_error *err);
int nx_enrol_response_decode(struct nx_bytes bytes, struct nx_arena *arena,
                             struct nx_enrol_response *out, struct nx_error *err);
