#include "node/session/fetch_blob.h"

#include "common/clock.h"
#include "proto/codec/codec_model.h"

#define PATIENCE (60 * NX_SECOND)
#define TRIES 5

static int take_chunk(struct nx_bytes message, size_t begin, size_t cap, struct nx_buffer *out,
                      bool *whole, struct nx_error *err) {
  struct nx_blob_chunk chunk;
  int r = nx_blob_chunk_decode(message, &chunk, err);
  if (r < 0)
    return r;
  if (chunk.total > cap)
    return nx_fail(err, NX_E_LIMIT, "%llu bytes are announced, at most %zu are taken",
                   (unsigned long long)chunk.total, cap);
  if (chunk.offset != out->size - begin)
    return nx_fail(err, NX_E_PROTOCOL, "a chunk is out of order");
  *whole = chunk.offset + chunk.data.size == chunk.total;
  return nx_buffer_append(out, chunk.data.data, chunk.data.size, err);
}

/* One stream, from where out ends. */
static int fetch_rest(struct nx_rpc_client *client, const struct nx_hash *sha256, size_t cap,
                      const struct nx_stop *stop, size_t begin, struct nx_buffer *out,
                      struct nx_error *err) {
  const struct nx_blob_request request = {.hash = *sha256, .offset = out->size - begin};
  _cleanup_(nx_transfer_closep) struct nx_transfer *stream = NULL;
  _cleanup_(nx_buffer_finish) struct nx_buffer message = {0};
  bool whole = false;
  int r = nx_blob_request_encode(&request, &message, err);
  if (r == 0)
    r = nx_transfer_open(client, NX_METHOD_BLOB_FETCH, PATIENCE, stop, &stream, err);
  if (r == 0)
    r = nx_transfer_send(stream, &message, err);
  if (r == 0)
    nx_transfer_end(stream);
  while (r == 0 && !whole) {
    message.size = 0;
    r = nx_transfer_receive(stream, &message, err);
    if (r == 0)
      r = take_chunk(nx_buffer_view(&message), begin, cap, out, &whole, err);
  }
  return r == NX_TRANSFER_END ? nx_fail(err, NX_E_PEER, "the stream ended early") : r;
}

int nx_fetch_blob(struct nx_rpc_client *client, const struct nx_hash *sha256, size_t cap,
                  const struct nx_stop *stop, struct nx_buffer *out, struct nx_error *err) {
  size_t begin = out->size;
  char hex[NX_HASH_HEX_SIZE];
  int r = 0;
  nx_hash_hex(sha256, hex);
  for (int i = 0; i < TRIES; i++) {
    if (i)
      nx_clock_sleep((int64_t)i * 300 * NX_MILLISECOND);
    r = fetch_rest(client, sha256, cap, stop, begin, out, err);
    if (r != NX_E_PEER && r != NX_E_TIMEOUT)
      break;
  }
  if (r < 0)
    return nx_error_prefix(err, r, "fetch %.12s", hex);
  struct nx_hash found = nx_sha256(out->data + begin, out->size - begin);
  if (!nx_hash_equal(&found, sha256))
    return nx_fail(err, NX_E_CRYPTO, "fetch %.12s: other bytes came than were asked for", hex);
  return 0;
}
