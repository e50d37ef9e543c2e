/* An upload that is coming in: each tile is added right when it was hashed, so that summing
 * reads nothing back. Whatever does not become whole is taken out again: read from the file it
 * was spooled into, compared with the hashes taken when it came. */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/size.h"
#include "coordinator/aggregate/ring_sum_internal.h"

/* How much of the accumulator a stream keeps mapped in: 1 or 2 MiB. */
#define WINDOW_TILES ((size_t)32)

struct nx_ring_stream {
  struct nx_ring_sum *sum; /* a reference */
  uint32_t member;
  int fd; /* the spooled file: the writer's */
  bool stopped;
  size_t n; /* tiles that are in */
  struct nx_hash leaves[];
};

int nx_ring_stream_begin(struct nx_ring_sum *sum, uint32_t member, int fd,
                         struct nx_ring_stream **stream_out, struct nx_error *err) {
  struct nx_ring_stream *stream =
      calloc(1, sizeof *stream + sum->spool.n_tiles * sizeof(struct nx_hash));
  *stream_out = NULL;
  if (!stream)
    return nx_fail(err, NX_E_NOMEM, "sum an upload as it comes");
  pthread_mutex_lock(&sum->lock);
  bool free_seat =
      !sum->settled && !sum->added[member] && !sum->whole[member] && !sum->streams[member];
  if (free_seat) {
    *stream = (struct nx_ring_stream){.sum = sum, .member = member, .fd = fd};
    atomic_fetch_add(&sum->references, 1);
    sum->streams[member] = stream;
  }
  pthread_mutex_unlock(&sum->lock);
  if (free_seat)
    *stream_out = stream;
  else
    free(stream);
  return 0;
}

bool nx_ring_stream_add(struct nx_ring_stream *stream, const uint8_t *bytes,
                        const struct nx_hash *leaf) {
  struct nx_ring_sum *sum = stream->sum;
  pthread_mutex_lock(&sum->lock);
  bool adding = !stream->stopped;
  if (adding) {
    size_t begin = stream->n - stream->n % WINDOW_TILES;
    size_t n = NX_MIN(WINDOW_TILES, sum->spool.n_tiles - begin);
    struct nx_upload_tile tile = nx_upload_tile(&sum->spool.layout, stream->n);
    if (stream->n == begin)
      nx_ring_sum_expect(sum, begin, n);
    nx_ring_sum_tile(sum, &tile, bytes, false);
    stream->leaves[stream->n++] = *leaf;
    if (stream->n == begin + n)
      nx_ring_sum_let_go(sum, begin, n);
  }
  pthread_mutex_unlock(&sum->lock);
  return adding;
}

static bool read_tile(int fd, const struct nx_upload_tile *tile, uint8_t *out) {
  for (size_t at = 0; at < tile->size;) {
    ssize_t n = pread(fd, out + at, tile->size - at, (off_t)(tile->offset + at));
    if (n < 0 && errno == EINTR)
      continue;
    if (n <= 0)
      return false;
    at += (size_t)n;
  }
  return true;
}

/* Lock held. What cannot be read back as it came spoils the sum until it is settled. */
static void take_back(struct nx_ring_stream *stream) {
  struct nx_ring_sum *sum = stream->sum;
  _cleanup_free_ uint8_t *bytes = malloc(nx_upload_tile_size(sum->spool.layout.ring_bits));
  bool good = bytes != NULL && !sum->spoilt;
  for (size_t i = 0; good && i < stream->n; i++) {
    struct nx_upload_tile tile = nx_upload_tile(&sum->spool.layout, i);
    good = read_tile(stream->fd, &tile, bytes);
    struct nx_hash leaf = good ? nx_merkle_leaf(nx_bytes(bytes, tile.size)) : (struct nx_hash){0};
    if ((good = good && nx_hash_equal(&leaf, &stream->leaves[i])))
      nx_ring_sum_tile(sum, &tile, bytes, true);
  }
  if (stream->n)
    nx_ring_sum_let_go(sum, 0, stream->n);
  sum->spoilt |= !good;
  stream->n = 0;
}

void nx_ring_stream_begin_again(struct nx_ring_stream *stream) {
  pthread_mutex_lock(&stream->sum->lock);
  if (!stream->stopped)
    take_back(stream);
  pthread_mutex_unlock(&stream->sum->lock);
}

void nx_ring_stream_stop(struct nx_ring_sum *sum, uint32_t member) {
  struct nx_ring_stream *stream = sum->streams[member];
  if (!stream)
    return;
  take_back(stream);
  stream->stopped = true;
  sum->streams[member] = NULL;
}

void nx_ring_stream_end(struct nx_ring_stream *stream, bool whole) {
  if (!stream)
    return;
  struct nx_ring_sum *sum = stream->sum;
  pthread_mutex_lock(&sum->lock);
  if (!stream->stopped && whole && stream->n == sum->spool.n_tiles) {
    sum->whole[stream->member] = true;
    sum->streams[stream->member] = NULL;
  } else if (!stream->stopped) {
    nx_ring_stream_stop(sum, stream->member);
  }
  pthread_mutex_unlock(&sum->lock);
  nx_ring_sum_unref(sum);
  free(stream);
}
