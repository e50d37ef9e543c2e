/* Codec of model.proto: blobs fetched in chunks. Rules as in codec_session.h. */
#pragma once

#include "common/arena.h"
#include "common/bytes.h"
#include "crypto/hash.h"
#include "proto/codec/methods.h"

#define NX_CHUNK_CAP ((size_t)1 << 20) /* largest data in one chunk a peer may send */

struct nx_blob_request {
  struct nx_hash hash;
  uint64_t offset;
};

struct nx_blob_chunk {
  uint64_t total, offset; /* offset + data.size <= total */
  struct nx_bytes data;   /* empty only when offset == total */
};

int nx_blob_request_encode(const struct nx_blob_request *m, struct nx_buffer *out,
                           struct nx_error *err);
int nx_blob_request_decode(struct nx_bytes bytes, struct nx_blob_request *out,
                           struct nx_error *err);
int nx_blob_chunk_encode(const struct nx_blob_chunk *m, struct nx_buffer *out,
                         struct nx_error *err);
int nx_blob_chunk_decode(struct nx_bytes bytes, struct nx_blob_chunk *out, struct nx_error *err);
