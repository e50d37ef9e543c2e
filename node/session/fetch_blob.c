#include "node/session/fetch_blob.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/file.h"
#include "proto/codec/codec_model.h"

#define PATIENCE (60 * NX_SECOND)
#define TRIES 5

struct fetching {
  struct nx_rpc_client *client;
  struct nx_hash hash;
  size_t cap, begin; /* out->size before anything came */
  struct nx_fetch how;
  int part; /* file descriptor, -1: none */
  struct nx_buffer *out;
  bool whole;
};

static int keep(const struct fetching *f, struct nx_bytes bytes, size_t offset,
                struct nx_error *err) {
  while (f->part >= 0 && bytes.size) {
    ssize_t n = pwrite(f->part, bytes.data, bytes.size, (off_t)offset);
    if (n < 0 && errno != EINTR)
      return nx_fail_errno(err, errno, "write %s", f->how.part);
    if (n > 0) {
      bytes.data += n, bytes.size -= (size_t)n;
      offset += (size_t)n;
    }
  }
  return 0;
}

static int take_chunk(struct fetching *f, struct nx_bytes message, struct nx_error *err) {
  struct nx_blob_chunk chunk;
  int r = nx_blob_chunk_decode(message, &chunk, err);
  if (r < 0)
    return r;
  if (chunk.total > f->cap)
    return nx_fail(err, NX_E_LIMIT, "%llu bytes are announced, at most %zu are taken",
                   (unsigned long long)chunk.total, f->cap);
  if (chunk.offset != f->out->size - f->begin)
    return nx_fail(err, NX_E_PROTOCOL, "a chunk is out of order");
  f->whole = chunk.offset + chunk.data.size == chunk.total;
  if ((r = keep(f, chunk.data, (size_t)chunk.offset, err)) < 0)
    return r;
  return nx_buffer_append(f->out, chunk.data.data, chunk.data.size, err);
}

/* Sleeps until `came` bytes may have come at the rate since `began`: who does not ask is not sent
 * to (flow control reaches to the sender's disk). */
static void pace(const struct fetching *f, int64_t began, size_t came) {
  if (!f->how.kb_per_s)
    return;
  int64_t due = began + (int64_t)((double)came / (1000.0 * f->how.kb_per_s) * (double)NX_SECOND);
  int64_t left = due - nx_clock_monotonic();
  if (left > 0)
    nx_clock_sleep(left);
}

/* One stream, from where out ends. */
static int fetch_rest(struct fetching *f, struct nx_error *err) {
  const struct nx_blob_request request = {.hash = f->hash, .offset = f->out->size - f->begin};
  _cleanup_(nx_transfer_closep) struct nx_transfer *stream = NULL;
  _cleanup_(nx_buffer_finish) struct nx_buffer message = {0};
  size_t from = f->out->size;
  int64_t began = nx_clock_monotonic();
  f->whole = false;
  int r = nx_blob_request_encode(&request, &message, err);
  if (r == 0)
    r = nx_transfer_open(f->client, NX_METHOD_BLOB_FETCH, PATIENCE, &f->how.stop, &stream, err);
  if (r == 0)
    r = nx_transfer_send(stream, &message, err);
  if (r == 0)
    nx_transfer_end(stream);
  while (r == 0 && !f->whole) {
    message.size = 0;
    r = nx_transfer_receive(stream, &message, err);
    if (r == 0)
      r = take_chunk(f, nx_buffer_view(&message), err);
    if (r == 0 && !f->whole)
      pace(f, began, f->out->size - from);
  }
  return r == NX_TRANSFER_END ? nx_fail(err, NX_E_PEER, "the stream ended early") : r;
}

static int fetch_all(struct fetching *f, struct nx_error *err) {
  int r = 0;
  for (int i = 0; i < TRIES; i++) {
    if (i)
      nx_clock_sleep((int64_t)i * 300 * NX_MILLISECOND);
    r = fetch_rest(f, err);
    if (r != NX_E_PEER && r != NX_E_TIMEOUT)
      break;
  }
  return r;
}

/* What came of it before this process began. A file that cannot be had is no reason not to fetch.
 */
static void open_part(struct fetching *f) {
  _cleanup_(nx_buffer_finish) struct nx_buffer before = {0};
  if (!f->how.part)
    return;
  f->part = open(f->how.part, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (f->part >= 0 && nx_file_read(f->how.part, f->cap, &before, NULL) == 0)
    nx_buffer_append(f->out, before.data, before.size, NULL);
}

static void begin_again(struct fetching *f) {
  f->out->size = f->begin;
  if (f->part >= 0 && ftruncate(f->part, 0))
    unlink(f->how.part);
}

static bool is_it(const struct fetching *f) {
  struct nx_hash found = nx_sha256(f->out->data + f->begin, f->out->size - f->begin);
  return nx_hash_equal(&found, &f->hash);
}

int nx_fetch_blob(struct nx_rpc_client *client, const struct nx_hash *sha256, size_t cap,
                  const struct nx_fetch *how, struct nx_buffer *out, struct nx_error *err) {
  struct fetching f = {
      .client = client, .hash = *sha256, .cap = cap, .begin = out->size, .part = -1, .out = out};
  char hex[NX_HASH_HEX_SIZE];
  if (how)
    f.how = *how;
  nx_hash_hex(sha256, hex);
  open_part(&f);
  bool went_on = out->size > f.begin;
  int r = fetch_all(&f, err);
  if (went_on && (r == NX_E_PROTOCOL || (r == 0 && !is_it(&f)))) {
    begin_again(&f); /* what lay on the disk was not it: nobody's fault but the disk's */
    r = fetch_all(&f, err);
  }
  bool lies = r == 0 && !is_it(&f);
  if (f.part >= 0)
    close(f.part);
  if (f.part >= 0 && r != NX_E_PEER && r != NX_E_TIMEOUT && r != NX_E_CANCELLED)
    unlink(f.how.part);
  if (r < 0)
    return nx_error_prefix(err, r, "fetch %.12s", hex);
  return lies ? nx_fail(err, NX_E_CRYPTO, "fetch %.12s: other bytes came than were asked for", hex)
              : 0;
}
