#include "node/session/send_upload.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/arena.h"
#include "common/clock.h"
#include "common/size.h"
#include "proto/codec/codec_round.h"
#include "proto/codec/methods.h"

#define PATIENCE (60 * NX_SECOND)

static int open_spool(const struct nx_upload_job *job, int *fd_out, struct nx_error *err) {
  struct stat status;
  *fd_out = open(job->spool, O_RDONLY | O_CLOEXEC);
  if (*fd_out < 0 || fstat(*fd_out, &status))
    return nx_fail_errno(err, errno, "open %s", job->spool);
  if ((uint64_t)status.st_size != job->bytes)
    return nx_fail(err, NX_E_STATE, "%s has %lld bytes, its header says %llu", job->spool,
                   (long long)status.st_size, (unsigned long long)job->bytes);
  return 0;
}

static int send_part(struct nx_transfer *stream, const struct nx_upload_part *part,
                     struct nx_error *err) {
  _cleanup_(nx_buffer_finish) struct nx_buffer message = {0};
  int r = nx_upload_part_encode(part, &message, err);
  return r < 0 ? r : nx_transfer_send(stream, &message, err);
}

static int read_chunk(int fd, uint64_t offset, uint8_t *chunk, size_t size, struct nx_error *err) {
  for (size_t done = 0; done < size;) {
    ssize_t n = pread(fd, chunk + done, size - done, (off_t)(offset + done));
    if (n < 0 && errno == EINTR)
      continue;
    if (n <= 0)
      return nx_fail_errno(err, n ? errno : EIO, "read the spooled update");
    done += (size_t)n;
  }
  return 0;
}

/* Sleeps until `done` bytes may have been sent at the job's rate since `began`. */
static void pace(const struct nx_upload_job *job, int64_t began, uint64_t done) {
  if (!job->kb_per_s)
    return;
  int64_t due = began + (int64_t)((double)done / (1000.0 * job->kb_per_s) * (double)NX_SECOND);
  int64_t left = due - nx_clock_monotonic();
  if (left > 0)
    nx_clock_sleep(left);
}

static int send_chunks(const struct nx_upload_job *job, struct nx_transfer *stream, int fd,
                       uint64_t begin, struct nx_error *err) {
  _cleanup_free_ uint8_t *chunk = malloc(NX_CHUNK_SIZE);
  int64_t began = nx_clock_monotonic();
  if (!chunk)
    return nx_fail(err, NX_E_NOMEM, "out of memory");
  for (uint64_t at = begin; at < job->bytes;) {
    size_t size = (size_t)NX_MIN((uint64_t)NX_CHUNK_SIZE, job->bytes - at);
    int r = read_chunk(fd, at, chunk, size, err);
    if (r == 0)
      r = send_part(stream, &(struct nx_upload_part){.offset = at, .data = nx_bytes(chunk, size)},
                    err);
    if (r != 0)
      return r;
    at += size;
    if (job->sent)
      job->sent(job->context, at, job->bytes);
    pace(job, began, at - begin);
  }
  return 0;
}

static int receive_receipt(struct nx_transfer *stream, struct nx_upload_receipt *out,
                           struct nx_error *err) {
  _cleanup_(nx_arena_destroyp) struct nx_arena *arena = NULL;
  _cleanup_(nx_buffer_finish) struct nx_buffer message = {0};
  int r = nx_arena_create((size_t)1 << 20, &arena, err);
  if (r == 0)
    r = nx_transfer_receive(stream, &message, err);
  if (r == NX_TRANSFER_END)
    return nx_fail(err, NX_E_PEER, "no receipt came");
  return r < 0 ? r : nx_upload_receipt_decode(nx_buffer_view(&message), arena, out, err);
}

static int check_receipt(const struct nx_upload_job *job, const struct nx_upload_receipt *receipt,
                         struct nx_error *err) {
  if (receipt->accepted != job->bytes)
    return nx_fail(err, NX_E_PEER, "only %llu of %llu bytes were taken",
                   (unsigned long long)receipt->accepted, (unsigned long long)job->bytes);
  if (!nx_hash_equal(&receipt->root, &job->root))
    return nx_fail(err, NX_E_PROTOCOL, "the coordinator acknowledged another upload");
  return 0;
}

/* Where to go on: behind what the coordinator holds, if those are the spool's bytes. */
static int find_beginning(int fd, const struct nx_upload_receipt *held, uint64_t *begin_out,
                          struct nx_error *err) {
  _cleanup_free_ uint8_t *chunk = malloc(NX_CHUNK_SIZE);
  struct nx_sha256 hash;
  if (!chunk)
    return nx_fail(err, NX_E_NOMEM, "out of memory");
  nx_sha256_init(&hash);
  for (uint64_t at = 0; at < held->accepted;) {
    size_t size = (size_t)NX_MIN((uint64_t)NX_CHUNK_SIZE, held->accepted - at);
    int r = read_chunk(fd, at, chunk, size, err);
    if (r < 0)
      return r;
    nx_sha256_update(&hash, chunk, size);
    at += size;
  }
  struct nx_hash ours = nx_sha256_final(&hash);
  *begin_out = nx_hash_equal(&ours, &held->root) ? held->accepted : 0;
  return 0;
}

/* 1: the coordinator has all of it already. */
static int ask_what_is_held(const struct nx_upload_job *job, struct nx_transfer *stream, int fd,
                            uint64_t *begin_out, struct nx_error *err) {
  struct nx_upload_receipt held;
  int r = receive_receipt(stream, &held, err);
  if (r < 0)
    return r;
  if (held.accepted < job->bytes)
    return find_beginning(fd, &held, begin_out, err);
  return (r = check_receipt(job, &held, err)) < 0 ? r : 1;
}

static int converse(struct nx_rpc_client *client, const struct nx_upload_job *job, int fd,
                    struct nx_error *err) {
  _cleanup_(nx_transfer_closep) struct nx_transfer *stream = NULL;
  struct nx_upload_receipt receipt;
  uint64_t begin = 0;
  int r = nx_transfer_open(client, NX_METHOD_ROUND_UPLOAD, PATIENCE, &job->stop, &stream, err);
  if (r == 0)
    r = send_part(
        stream,
        &(struct nx_upload_part){.is_header = true, .resume = job->resume, .header = job->header},
        err);
  if (r == 0 && job->resume && (r = ask_what_is_held(job, stream, fd, &begin, err)) > 0)
    return 0;
  if (r == 0)
    r = send_chunks(job, stream, fd, begin, err);
  if (r < 0)
    return r;
  nx_transfer_end(stream); /* or the coordinator has it all already: NX_TRANSFER_END */
  r = receive_receipt(stream, &receipt, err);
  return r < 0 ? r : check_receipt(job, &receipt, err);
}

int nx_send_upload(struct nx_rpc_client *client, const struct nx_upload_job *job,
                   struct nx_error *err) {
  _cleanup_fd_ int fd = -1;
  int r = open_spool(job, &fd, err);
  if (r == 0)
    r = converse(client, job, fd, err);
  return r < 0 ? nx_error_prefix(err, r, "upload update") : 0;
}
