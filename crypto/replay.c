#include "crypto/replay.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/file.h"
#include "common/size.h"
#include "crypto/merkle.h"
#include "crypto/replay_record.h"

#define RECORD_CAP ((size_t)4 << 20)
#define TILE_LANES 16384 /* the most a tile holds: 16 and 12 bits */
#define TILE_AUX 4096

int nx_replay_write(const char *folder, const struct nx_replay *replay, const struct nx_mask *mask,
                    struct nx_error *err) {
  _cleanup_(nx_buffer_wipe) struct nx_buffer record = {.cap = RECORD_CAP};
  char path[NX_PATH_SIZE];
  int r = nx_path_join(path, folder, NX_REPLAY_FILE, err);
  if (r == 0)
    r = nx_replay_record_write(replay, mask, &record, err);
  if (r == 0)
    r = nx_file_replace(path, nx_buffer_view(&record), 0600, err);
  return r < 0 ? nx_error_prefix(err, r, "keep a round for replay") : 0;
}

struct view {
  const uint8_t *data;
  size_t size;
};

static void unmap(struct view *view) {
  if (view->data)
    munmap((void *)(uintptr_t)view->data, view->size);
}

/* Exactly size bytes, or an error. */
static int map(const char *path, size_t size, struct view *out, struct nx_error *err) {
  struct stat status;
  _cleanup_fd_ int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0 || fstat(fd, &status))
    return nx_fail_errno(err, errno, "open %s", path);
  if ((uint64_t)status.st_size != size)
    return nx_fail(err, NX_E_CRYPTO, "%s has %lld bytes, not %zu", path, (long long)status.st_size,
                   size);
  if (size == 0)
    return 0;
  void *data = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
  if (data == MAP_FAILED)
    return nx_fail_errno(err, errno, "map %s", path);
  posix_madvise(data, size, POSIX_MADV_SEQUENTIAL);
  *out = (struct view){data, size};
  return 0;
}

struct work {
  struct nx_replay *replay;
  struct nx_mask *mask;
  struct view uploads[NX_MEMBERS_MAX], claimed;
  struct nx_merkle trees[NX_MEMBERS_MAX];
  struct nx_sha256 sum;
  struct nx_replay_tiles tiles;
  uint32_t lanes[TILE_LANES];
  uint64_t aux[TILE_AUX];
  uint8_t bytes[4 * TILE_LANES + 8 * TILE_AUX];
};

static void finish(struct work **work) {
  if (!*work)
    return;
  for (size_t i = 0; i < NX_MEMBERS_MAX; i++)
    unmap(&(*work)->uploads[i]);
  unmap(&(*work)->claimed);
  nx_mask_destroy((*work)->mask);
  free(*work);
}

static int open_record(const char *folder, struct work *work, struct nx_error *err) {
  _cleanup_(nx_buffer_wipe) struct nx_buffer record = {0};
  char path[NX_PATH_SIZE];
  int r = nx_path_join(path, folder, NX_REPLAY_FILE, err);
  if (r == 0)
    r = nx_file_read(path, RECORD_CAP, &record, err);
  if (r == 0)
    r = nx_replay_record_parse(nx_buffer_view(&record), work->replay, &work->mask, err);
  return r;
}

static int open_uploads(const char *folder, struct work *work, struct nx_error *err) {
  const struct nx_replay *replay = work->replay;
  size_t size = nx_upload_bytes(&replay->layout);
  for (size_t i = 0; i < replay->n_members; i++) {
    char path[NX_PATH_SIZE], name[16];
    snprintf(name, sizeof name, "%u", replay->members[i].id);
    int r = nx_path_join(path, folder, name, err);
    if (r == 0)
      r = map(path, size, &work->uploads[i], err);
    if (r < 0)
      return nx_error_prefix(err, r, "upload of member %u", replay->members[i].id);
  }
  return 0;
}

/* Little-endian bytes of the tile's part of the sum; how many. */
static size_t sum_bytes(struct work *work, const struct nx_upload_tile *tile) {
  const uint32_t modulo = UINT32_MAX >> (32 - work->replay->layout.ring_bits);
  uint8_t *out = work->bytes;
  for (size_t i = 0; i < tile->n_lanes; i++, out += 4)
    nx_store_le32(out, work->lanes[i] & modulo);
  for (size_t i = 0; i < tile->n_aux; i++, out += 8)
    nx_store_le64(out, work->aux[i]);
  return (size_t)(out - work->bytes);
}

static void compare_claimed(struct work *work, size_t index, size_t *at, size_t n) {
  if (work->claimed.data && memcmp(work->claimed.data + *at, work->bytes, n))
    if (!work->tiles.n_bad++)
      work->tiles.first_bad = index;
  *at += n;
}

static int replay_tile(struct work *work, size_t index, size_t *at, struct nx_error *err) {
  const struct nx_upload_layout *layout = &work->replay->layout;
  const struct nx_upload_tile tile = nx_upload_tile(layout, index);
  memset(work->lanes, 0, tile.n_lanes * sizeof *work->lanes);
  memset(work->aux, 0, tile.n_aux * sizeof *work->aux);
  for (size_t i = 0; i < work->replay->n_members; i++) {
    const uint8_t *bytes = work->uploads[i].data + tile.offset;
    struct nx_hash leaf = nx_merkle_leaf(nx_bytes(bytes, tile.size));
    nx_merkle_add(&work->trees[i], &leaf);
    nx_upload_add_tile(layout, &tile, bytes, work->lanes, work->aux);
  }
  int r = nx_mask_apply_u32(work->mask, work->lanes, tile.first_lane, tile.n_lanes, NULL, err);
  if (r == 0)
    r = nx_mask_apply_u64(work->mask, work->aux, tile.first_aux, tile.n_aux, NULL, err);
  if (r < 0)
    return r;
  size_t n = sum_bytes(work, &tile);
  nx_sha256_update(&work->sum, work->bytes, n);
  compare_claimed(work, index, at, n);
  return 0;
}

static int judge(struct work *work, struct nx_error *err) {
  const struct nx_replay *replay = work->replay;
  for (size_t i = 0; i < replay->n_members; i++) {
    struct nx_hash root = nx_merkle_root_of(&work->trees[i]);
    if (!nx_hash_equal(&root, &replay->members[i].root))
      return nx_fail(err, NX_E_CRYPTO, "the upload of member %u is not the one that was certified",
                     replay->members[i].id);
  }
  struct nx_hash sum = nx_sha256_final(&work->sum);
  bool same = nx_hash_equal(&sum, &replay->sum);
  if (work->tiles.n_bad)
    return nx_fail(err, NX_E_CRYPTO,
                   "the sum is false in %zu of %zu tiles, first in tile %zu: the uploads do not "
                   "add up to it",
                   work->tiles.n_bad, work->tiles.n, work->tiles.first_bad);
  if (!same)
    return nx_fail(err, NX_E_CRYPTO, "the uploads do not add up to the sum that was given out");
  return 0;
}

static int replay_all(const char *folder, const char *sum_path, struct work *work,
                      struct nx_error *err) {
  const struct nx_upload_layout *layout = &work->replay->layout;
  int r = open_record(folder, work, err);
  if (r == 0)
    r = open_uploads(folder, work, err);
  if (r == 0 && sum_path)
    r = map(sum_path, 4 * layout->n_lanes + 8 * layout->n_aux, &work->claimed, err);
  if (r < 0)
    return r;
  size_t at = 0;
  work->tiles.n = nx_upload_tiles(layout);
  nx_sha256_init(&work->sum);
  for (size_t i = 0; i < work->tiles.n; i++)
    if ((r = replay_tile(work, i, &at, err)) < 0)
      return r;
  return judge(work, err);
}

int nx_replay_verify(const char *folder, const char *sum_path, struct nx_replay *replay_out,
                     struct nx_replay_tiles *tiles_out, struct nx_error *err) {
  _cleanup_(finish) struct work *work = calloc(1, sizeof *work);
  if (!work)
    return nx_fail(err, NX_E_NOMEM, "out of memory to replay a round");
  work->replay = replay_out;
  *replay_out = (struct nx_replay){0};
  int r = replay_all(folder, sum_path, work, err);
  if (tiles_out)
    *tiles_out = work->tiles;
  return r < 0 ? nx_error_prefix(err, r, "replay %s", folder) : 0;
}
