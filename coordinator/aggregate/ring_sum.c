#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/size.h"
#include "coordinator/aggregate/ring_sum_internal.h"

/* How much is mapped in at a time: 16 MiB of accumulator. */
#define WINDOW_TILES ((size_t)512)
#define WINDOW_LANES ((size_t)4 << 20)
#define WINDOW_BYTES ((size_t)16 << 20)

/* Mapped pages count as resident until they are let go; their bytes stay in the file (or in
 * the kernel's cache of it). Whole pages inside the range only. */
static void let_go(const void *from, const void *to) {
  uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
  uintptr_t begin = ((uintptr_t)from + page - 1) & ~(page - 1), end = (uintptr_t)to & ~(page - 1);
  if (begin < end)
    madvise((void *)begin, end - begin, MADV_DONTNEED);
}

/* Has the kernel make the pages now: an attempt begins long before its first upload, which would
 * wait for each of them. */
static void make_pages(struct nx_ring_sum *sum) {
  uint8_t *map = sum->map;
  for (size_t at = 0; at < sum->map_size; at += WINDOW_BYTES) {
    size_t n = NX_MIN(WINDOW_BYTES, sum->map_size - at);
    madvise(map + at, n, MADV_POPULATE_READ); /* before Linux 5.14: no matter */
    let_go(map + at, map + at + n);
  }
}

/* A file without a name: gone with the process, whatever happens. */
static int make_room(struct nx_ring_sum *sum, struct nx_error *err) {
  const struct nx_upload_layout *layout = &sum->spool.layout;
  size_t lanes = layout->n_lanes * sizeof(uint32_t), aux = layout->n_aux * sizeof(uint64_t);
  size_t aux_at = (lanes + 63) & ~(size_t)63;
  sum->map_size = NX_MAX(aux_at + aux, (size_t)1);
  char path[NX_PATH_SIZE];
  int r = nx_path_join(path, sum->spool.folder, "sum.part.XXXXXX", err);
  if (r < 0)
    return r;
  _cleanup_fd_ int fd = mkostemp(path, O_CLOEXEC);
  if (fd < 0)
    return nx_fail_errno(err, errno, "make the accumulator in %s", sum->spool.folder);
  unlink(path);
  int e = posix_fallocate(fd, 0, (off_t)sum->map_size);
  if (e)
    return nx_fail_errno(err, e, "make the accumulator (%zu bytes) in %s", sum->map_size,
                         sum->spool.folder);
  sum->map = mmap(NULL, sum->map_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (sum->map == MAP_FAILED) {
    sum->map = NULL;
    return nx_fail_errno(err, errno, "map the accumulator");
  }
  sum->lanes = sum->map;
  sum->aux = (uint64_t *)(void *)((uint8_t *)sum->map + aux_at);
  make_pages(sum);
  return 0;
}

int nx_ring_sum_create(const struct nx_upload_spool *spool, struct nx_pool *pool,
                       struct nx_ring_sum **sum_out, struct nx_error *err) {
  _cleanup_(nx_ring_sum_destroyp) struct nx_ring_sum *sum = calloc(1, sizeof *sum);
  if (!sum)
    return nx_fail(err, NX_E_NOMEM, "make the accumulator");
  atomic_init(&sum->references, 1);
  pthread_mutex_init(&sum->lock, NULL);
  sum->spool = *spool, sum->pool = pool;
  int r = make_room(sum, err);
  if (r < 0)
    return r;
  *sum_out = nx_steal(&sum);
  return 0;
}

void nx_ring_sum_unref(struct nx_ring_sum *sum) {
  if (atomic_fetch_sub(&sum->references, 1) != 1)
    return;
  if (sum->map)
    munmap(sum->map, sum->map_size);
  pthread_mutex_destroy(&sum->lock);
  free(sum);
}

/* Streams may come to their ends later. */
void nx_ring_sum_destroy(struct nx_ring_sum *sum) {
  if (!sum)
    return;
  pthread_mutex_lock(&sum->lock);
  sum->settled = sum->spoilt = true;
  for (uint32_t id = 1; id < 256; id++)
    nx_ring_stream_stop(sum, id);
  pthread_mutex_unlock(&sum->lock);
  nx_ring_sum_unref(sum);
}

void nx_ring_sum_let_go(struct nx_ring_sum *sum, size_t first_tile, size_t n) {
  struct nx_upload_tile first = nx_upload_tile(&sum->spool.layout, first_tile);
  struct nx_upload_tile last = nx_upload_tile(&sum->spool.layout, first_tile + n - 1);
  let_go(sum->lanes + first.first_lane, sum->lanes + last.first_lane + last.n_lanes);
}

/* One call instead of a page fault a page. */
void nx_ring_sum_expect(struct nx_ring_sum *sum, size_t first_tile, size_t n) {
  struct nx_upload_tile first = nx_upload_tile(&sum->spool.layout, first_tile);
  struct nx_upload_tile last = nx_upload_tile(&sum->spool.layout, first_tile + n - 1);
  uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
  uintptr_t begin = (uintptr_t)(sum->lanes + first.first_lane) & ~(page - 1);
  uintptr_t end = (uintptr_t)(sum->lanes + last.first_lane + last.n_lanes);
  if (begin < end)
    madvise((void *)begin, end - begin, MADV_POPULATE_WRITE); /* before Linux 5.14: no matter */
}

struct addition {
  struct nx_ring_sum *sum;
  const uint8_t *upload;
  size_t first_tile;
};

static void add_tile(void *context, size_t index, size_t worker) {
  const struct addition *addition = context;
  const struct nx_upload_layout *layout = &addition->sum->spool.layout;
  struct nx_upload_tile tile = nx_upload_tile(layout, addition->first_tile + index);
  (void)worker;
  nx_upload_add_tile(layout, &tile, addition->upload + tile.offset,
                     addition->sum->lanes + tile.first_lane, addition->sum->aux + tile.first_aux);
}

static void add_upload(struct nx_ring_sum *sum, const uint8_t *upload) {
  const struct nx_upload_layout *layout = &sum->spool.layout;
  size_t n_tiles = sum->spool.n_tiles;
  for (size_t first = 0; first < n_tiles; first += WINDOW_TILES) {
    struct addition addition = {sum, upload, first};
    size_t n = NX_MIN(WINDOW_TILES, n_tiles - first);
    struct nx_upload_tile begin = nx_upload_tile(layout, first);
    struct nx_upload_tile end = nx_upload_tile(layout, first + n - 1);
    if (sum->pool)
      nx_pool_run(sum->pool, n, add_tile, &addition);
    else
      for (size_t i = 0; i < n; i++)
        add_tile(&addition, i, 0);
    let_go(upload + begin.offset, upload + end.offset + end.size);
    let_go(sum->lanes + begin.first_lane, sum->lanes + end.first_lane + end.n_lanes);
  }
}

/* Lock held. */
static int add(struct nx_ring_sum *sum, uint32_t member, struct nx_error *err) {
  const uint8_t *bytes = NULL;
  if (sum->added[member])
    return 0;
  if (!sum->whole[member]) {
    nx_ring_stream_stop(sum, member); /* another one brought it */
    int r = nx_upload_spool_map(&sum->spool, member, &bytes, err);
    if (r < 0)
      return nx_error_prefix(err, r, "add the upload of member %u", member);
    add_upload(sum, bytes);
    nx_upload_unmap(&sum->spool, bytes);
  }
  sum->whole[member] = false;
  sum->added[member] = true;
  return 0;
}

int nx_ring_sum_add(struct nx_ring_sum *sum, uint32_t member, struct nx_error *err) {
  assert(member > 0 && member < 256 && !sum->opened);
  pthread_mutex_lock(&sum->lock);
  int r = add(sum, member, err);
  pthread_mutex_unlock(&sum->lock);
  return r;
}

/* -(-a + b) = a - b: negation turns the adding kernels into taking out. */
static void negate(uint32_t *lanes, size_t n_lanes, uint64_t *aux, size_t n_aux) {
  for (size_t i = 0; i < n_lanes; i++)
    lanes[i] = -lanes[i];
  for (size_t i = 0; i < n_aux; i++)
    aux[i] = -aux[i];
}

void nx_ring_sum_tile(struct nx_ring_sum *sum, const struct nx_upload_tile *tile,
                      const uint8_t *bytes, bool out) {
  uint32_t *lanes = sum->lanes + tile->first_lane;
  uint64_t *aux = sum->aux + tile->first_aux;
  if (out)
    negate(lanes, tile->n_lanes, aux, tile->n_aux);
  nx_upload_add_tile(&sum->spool.layout, tile, bytes, lanes, aux);
  if (out)
    negate(lanes, tile->n_lanes, aux, tile->n_aux);
}

static int take_out(struct nx_ring_sum *sum, uint32_t member, struct nx_error *err) {
  const struct nx_upload_layout *layout = &sum->spool.layout;
  sum->added[member] = sum->whole[member] = false;
  negate(sum->lanes, layout->n_lanes, sum->aux, layout->n_aux);
  int r = add(sum, member, err);
  negate(sum->lanes, layout->n_lanes, sum->aux, layout->n_aux);
  sum->added[member] = r < 0;
  return r;
}

/* From nothing: the spool has all that is wanted. */
static void begin_anew(struct nx_ring_sum *sum) {
  memset(sum->map, 0, sum->map_size);
  memset(sum->added, 0, sizeof sum->added);
  memset(sum->whole, 0, sizeof sum->whole);
  sum->spoilt = false;
}

static int settle(struct nx_ring_sum *sum, const uint8_t *members, size_t n, struct nx_error *err) {
  bool wanted[256] = {false};
  sum->settled = true;
  for (uint32_t id = 1; id < 256; id++)
    nx_ring_stream_stop(sum, id);
  if (sum->spoilt)
    begin_anew(sum);
  for (size_t i = 0; i < n; i++)
    wanted[members[i]] = true;
  for (uint32_t id = 1; id < 256; id++) {
    bool is_in = sum->added[id] || sum->whole[id];
    int r = wanted[id] ? add(sum, id, err) : is_in ? take_out(sum, id, err) : 0;
    if (r < 0)
      return r;
  }
  return 0;
}

int nx_ring_sum_settle(struct nx_ring_sum *sum, const uint8_t *members, size_t n,
                       struct nx_error *err) {
  pthread_mutex_lock(&sum->lock);
  int r = settle(sum, members, n, err);
  pthread_mutex_unlock(&sum->lock);
  return r;
}

static int unmask_lanes(struct nx_ring_sum *sum, const struct nx_mask *mask, struct nx_error *err) {
  size_t n_lanes = sum->spool.layout.n_lanes;
  uint32_t low = UINT32_MAX >> (32 - sum->spool.layout.ring_bits);
  for (size_t first = 0; first < n_lanes; first += WINDOW_LANES) {
    uint32_t *lanes = sum->lanes + first;
    size_t n = NX_MIN(WINDOW_LANES, n_lanes - first);
    int r = nx_mask_apply_u32(mask, lanes, first, n, sum->pool, err);
    if (r < 0)
      return r;
    for (size_t i = 0; low != UINT32_MAX && i < n; i++)
      lanes[i] &= low;
    let_go(lanes, lanes + n);
  }
  return 0;
}

int nx_ring_sum_open(struct nx_ring_sum *sum, const struct nx_mask *mask, struct nx_error *err) {
  assert(!sum->opened && !sum->spoilt);
  sum->opened = true;
  int r = unmask_lanes(sum, mask, err);
  if (r < 0 ||
      (r = nx_mask_apply_u64(mask, sum->aux, 0, sum->spool.layout.n_aux, sum->pool, err)) < 0)
    return nx_error_prefix(err, r, "open the sum");
  return 0;
}

const uint32_t *nx_ring_sum_lanes(const struct nx_ring_sum *sum) {
  return sum->lanes;
}

const uint64_t *nx_ring_sum_aux(const struct nx_ring_sum *sum) {
  return sum->aux;
}

int nx_ring_sum_bytes(const struct nx_ring_sum *sum, struct nx_buffer *out, struct nx_error *err) {
  const struct nx_upload_layout *layout = &sum->spool.layout;
  size_t size = layout->n_lanes * 4 + layout->n_aux * 8;
  int r = nx_buffer_reserve(out, size, err);
  if (r < 0)
    return r;
  uint8_t *at = out->data + out->size;
  for (size_t i = 0; i < layout->n_lanes; i++, at += 4)
    nx_store_le32(at, sum->lanes[i]);
  for (size_t i = 0; i < layout->n_aux; i++, at += 8)
    nx_store_le64(at, sum->aux[i]);
  out->size += size;
  return 0;
}
