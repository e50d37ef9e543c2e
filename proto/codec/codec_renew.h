/* Codec of renew.proto: a member's next certificate. Rules as in codec_session.h. */
#pragma once

#include "common/arena.h"
#include "common/bytes.h"
#include "crypto/sign.h"
#include "proto/codec/methods.h"

#define NX_RENEW_PEM_CAP ((size_t)64 << 10)
#define NX_RENEW_MESSAGE_CAP ((size_t)256 << 10)

struct nx_renew_request {
  struct nx_bytes csr;           /* PEM, not looked into */
  struct nx_signature signature; /* nx_sign(identity, "renew", csr) */
};

struct nx_renew_response {
  struct nx_bytes certificate, roots; /* PEM, not looked into */
  struct nx_bytes crosses;            /* may be empty */
};

int nx_renew_request_encode(const struct nx_renew_request *m, struct nx_buffer *out,
                            struct nx_error *err);
int nx_renew_request_decode(struct nx_bytes bytes, struct nx_arena *arena,
                            struct nx_renew_request *out, struct nx_error *err);
int nx_renew_response_encode(const struct nx_renew_response *m, struct nx_buffer *out,
                             struct nx_error *err);
int nx_renew_response_decode(struct nx_bytes bytes, struct nx_arena *arena,
                             struct nx_renew_response *out, struct nx_error *err);
