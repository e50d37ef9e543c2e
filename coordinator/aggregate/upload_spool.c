#include "coordinator/aggregate/upload_spool.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/size.h"
#include "coordinator/aggregate/ring_sum.h"

#define NAME_SIZE 32
#define PIECE ((size_t)64 << 10)
#define WINDOW ((uint64_t)8 << 20) /* bytes that are sent on to the disk at a time */

static int path_of(const struct nx_upload_spool *spool, uint32_t member, const char *ending,
                   char out[NX_PATH_SIZE], struct nx_error *err) {
  char name[NAME_SIZE];
  snprintf(name, sizeof name, "%u%s", member, ending);
  return nx_path_join(out, spool->folder, name, err);
}

static bool ends_with(const char *name, const char *ending) {
  size_t n = strlen(name), m = strlen(ending);
  return n >= m && !strcmp(name + n - m, ending);
}

/* Removes the files of a folder whose names end so ("" = all). */
static int remove_files(const char *folder, const char *ending, struct nx_error *err) {
  char path[NX_PATH_SIZE];
  DIR *dir = opendir(folder);
  if (!dir)
    return errno == ENOENT ? 0 : nx_fail_errno(err, errno, "open folder %s", folder);
  int r = 0;
  for (struct dirent *entry; r == 0 && (entry = readdir(dir));) {
    if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..") ||
        !ends_with(entry->d_name, ending))
      continue;
    if ((r = nx_path_join(path, folder, entry->d_name, err)) == 0 && unlink(path) &&
        errno != ENOENT)
      r = nx_fail_errno(err, errno, "remove %s", path);
  }
  closedir(dir);
  return r;
}

/* The file that counts the tiles of a part that was a spare; false: `part` is no part. */
static bool came_of(const char *part, char out[NX_PATH_SIZE]) {
  if (!ends_with(part, ".part"))
    return false;
  size_t n = strlen(part) - strlen("part");
  memcpy(out, part, n);
  memcpy(out + n, "came", sizeof "came");
  return true;
}

/* How much of a part or of what is kept has come: all that is there, unless it is counted. */
static uint64_t size_come(const struct nx_upload_spool *spool, const char *path) {
  char came[NX_PATH_SIZE];
  struct stat file, count;
  if (stat(path, &file))
    return 0;
  if (!came_of(path, came) || stat(came, &count))
    return (uint64_t)file.st_size;
  size_t tile = nx_upload_tile_size(spool->layout.ring_bits);
  return NX_MIN((uint64_t)file.st_size, (uint64_t)count.st_size * tile);
}

/* What came of an upload whose stream is over: kept unless more is kept already. */
static void keep_part(const char *part, const char *kept) {
  struct stat came, before;
  if (stat(part, &came))
    return;
  bool more = came.st_size > 0 && (stat(kept, &before) || before.st_size < came.st_size);
  if (!more || rename(part, kept))
    unlink(part);
}

/* The member of a "ID.N.part", or 0. */
static uint32_t member_of_part(const char *name) {
  char *rest;
  unsigned long member = strtoul(name, &rest, 10);
  return *rest == '.' && member < 256 && ends_with(name, ".part") ? (uint32_t)member : 0;
}

/* A part that was a spare ends where its bytes end, from here on. */
static int cut_part(const struct nx_upload_spool *spool, const char *part, struct nx_error *err) {
  char came[NX_PATH_SIZE];
  if (!came_of(part, came) || !nx_path_exists(came))
    return 0;
  _cleanup_fd_ int fd = open(part, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
  if (fd < 0 || ftruncate(fd, (off_t)size_come(spool, part)) || unlink(came))
    return nx_fail_errno(err, errno, "cut %s", part);
  return 0;
}

/* The process that wrote them is gone. */
static int keep_parts(const struct nx_upload_spool *spool, struct nx_error *err) {
  char part[NX_PATH_SIZE], kept[NX_PATH_SIZE];
  DIR *dir = opendir(spool->folder);
  if (!dir)
    return nx_fail_errno(err, errno, "open folder %s", spool->folder);
  int r = 0;
  for (struct dirent *entry; r == 0 && (entry = readdir(dir));) {
    uint32_t member = member_of_part(entry->d_name);
    if (member && (r = nx_path_join(part, spool->folder, entry->d_name, err)) == 0 &&
        (r = path_of(spool, member, ".kept", kept, err)) == 0 &&
        (r = cut_part(spool, part, err)) == 0)
      keep_part(part, kept);
  }
  closedir(dir);
  return r < 0 ? r : remove_files(spool->folder, ".came", err);
}

static int attempt_folder(char out[NX_PATH_SIZE], const char *folder, uint64_t round,
                          uint32_t attempt, struct nx_error *err) {
  char name[48];
  snprintf(name, sizeof name, "%llu-%u", (unsigned long long)round, attempt);
  return nx_path_join(out, folder, name, err);
}

/* --- one upload coming in ----------------------------------------------------------- */

struct nx_upload_writer {
  struct nx_upload_spool spool; /* a copy: the attempt may be over before the stream is */
  uint32_t member;
  int fd;
  int came; /* where tiles are counted when the file was a spare; -1: it was not */
  uint64_t size;
  char part[NX_PATH_SIZE];
  struct nx_ring_stream *stream; /* what adds the tiles to a sum; NULL: nothing does */
  uint8_t *tile;                 /* one that has come in part */
  size_t n_leaves;
  struct nx_hash *leaves; /* [n_tiles] */
  bool taken_up;          /* and nothing written since */
  bool wrong;             /* not worth keeping */
};

/* Streams of one member that overlap, since one is half dead, must not share a file. */
static atomic_uint serial;

/* Writes over a spare, if there is one. The count is there before the old bytes are. */
static void take_spare(struct nx_upload_writer *writer) {
  const struct nx_upload_spool *spool = &writer->spool;
  char came[NX_PATH_SIZE];
  if (!spool->spares || !came_of(writer->part, came))
    return;
  writer->came = open(came, O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0600);
  if (writer->came >= 0 && nx_upload_spares_take(spool->spares, spool->size, writer->part)) {
    writer->fd = open(writer->part, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (writer->fd >= 0)
      return;
    unlink(writer->part);
  }
  if (writer->came >= 0) {
    close(writer->came);
    unlink(came);
  }
  writer->came = -1;
}

static int open_part(struct nx_upload_writer *writer, struct nx_error *err) {
  char ending[NAME_SIZE];
  snprintf(ending, sizeof ending, ".%u.part", atomic_fetch_add(&serial, 1));
  int r = path_of(&writer->spool, writer->member, ending, writer->part, err);
  if (r < 0)
    return r;
  take_spare(writer);
  if (writer->fd < 0)
    writer->fd = open(writer->part, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  return writer->fd < 0 ? nx_fail_errno(err, errno, "create %s", writer->part) : 0;
}

int nx_upload_writer_create(const struct nx_upload_spool *spool, uint32_t member,
                            struct nx_ring_sum *sum, struct nx_upload_writer **writer_out,
                            struct nx_error *err) {
  char whole[NX_PATH_SIZE];
  int r = path_of(spool, member, "", whole, err);
  if (r < 0)
    return r;
  if (nx_path_exists(whole)) { /* perhaps only just: its name must be sure before it is said */
    r = nx_file_sync_folder_of(whole, err);
    return r < 0 ? r : nx_fail(err, NX_E_EXISTS, "the upload of member %u is here already", member);
  }
  _cleanup_(nx_upload_writer_destroyp) struct nx_upload_writer *writer = calloc(1, sizeof *writer);
  if (!writer)
    return nx_fail(err, NX_E_NOMEM, "spool upload");
  writer->spool = *spool, writer->member = member, writer->fd = writer->came = -1;
  writer->leaves = calloc(spool->n_tiles, sizeof *writer->leaves);
  writer->tile = malloc(nx_upload_tile_size(spool->layout.ring_bits));
  if (!writer->leaves || !writer->tile)
    return nx_fail(err, NX_E_NOMEM, "spool upload");
  if ((r = open_part(writer, err)) < 0)
    return r;
  if (sum && (r = nx_ring_stream_begin(sum, member, writer->fd, &writer->stream, err)) < 0)
    return r;
  *writer_out = nx_steal(&writer);
  return 0;
}

/* They are in the file. A count that cannot be written down is too low: more is sent again. */
static void count_tiles(const struct nx_upload_writer *writer, size_t n) {
  static const uint8_t bytes[64];
  while (writer->came >= 0 && n) {
    ssize_t written = write(writer->came, bytes, NX_MIN(n, sizeof bytes));
    if (written < 0 && errno != EINTR)
      return;
    n -= written > 0 ? (size_t)written : 0;
  }
}

/* n whole tiles: their leaf hashes, H(0x00 | tile) (RFC 9162), and into the sum. */
static void take_whole(struct nx_upload_writer *writer, const uint8_t *bytes, size_t size,
                       size_t n) {
  const struct nx_hash *leaf = writer->leaves + writer->n_leaves;
  nx_merkle_leaves(bytes, size, n, writer->leaves + writer->n_leaves);
  writer->n_leaves += n;
  count_tiles(writer, n);
  for (; n && writer->stream; n--, bytes += size, leaf++)
    if (!nx_ring_stream_add(writer->stream, bytes, leaf))
      nx_ring_stream_end(nx_steal(&writer->stream), false);
}

static void take_tiles(struct nx_upload_writer *writer, struct nx_bytes bytes) {
  size_t full = nx_upload_tile_size(writer->spool.layout.ring_bits);
  while (bytes.size) {
    size_t inside = writer->size % full, n = bytes.size - bytes.size % full;
    if (inside || !n) { /* a tile that comes in pieces, or the last, which is shorter */
      size_t want = NX_MIN(full - inside, writer->spool.size - (size_t)writer->size);
      n = NX_MIN(want, bytes.size);
      memcpy(writer->tile + inside, bytes.data, n);
      if (n == want)
        take_whole(writer, writer->tile, inside + n, 1);
    } else {
      take_whole(writer, bytes.data, full, n / full);
    }
    writer->size += n;
    bytes.data += n, bytes.size -= n;
  }
}

/* Full windows begin their way to the disk now. What is summed already is not read again soon:
 * two windows on, a new file's pages serve for what comes next. Those of a spare stay, to be
 * written over once more. Only hints; the commit syncs. */
static void send_on(const struct nx_upload_writer *writer, uint64_t before) {
  for (uint64_t end = (before / WINDOW + 1) * WINDOW; end <= writer->size; end += WINDOW) {
    sync_file_range(writer->fd, (off_t)(end - WINDOW), (off_t)WINDOW, SYNC_FILE_RANGE_WRITE);
    if (!writer->stream || writer->came >= 0 || end < 2 * WINDOW)
      continue;
    off_t done = (off_t)(end - 2 * WINDOW);
    sync_file_range(writer->fd, done, (off_t)WINDOW,
                    SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE |
                        SYNC_FILE_RANGE_WAIT_AFTER);
    posix_fadvise(writer->fd, done, (off_t)WINDOW, POSIX_FADV_DONTNEED);
  }
}

/* The most that another stream of this member brought, open for reading; -1: nothing. */
static int open_kept(const struct nx_upload_writer *writer, uint64_t *size_out) {
  char path[NX_PATH_SIZE];
  int best = -1;
  DIR *dir = opendir(writer->spool.folder);
  *size_out = 0;
  for (struct dirent *entry; dir && (entry = readdir(dir));) {
    bool kept =
        ends_with(entry->d_name, ".kept") && strtoul(entry->d_name, NULL, 10) == writer->member;
    if ((!kept && member_of_part(entry->d_name) != writer->member) ||
        nx_path_join(path, writer->spool.folder, entry->d_name, NULL) < 0 ||
        !strcmp(path, writer->part))
      continue;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    uint64_t size = fd >= 0 ? size_come(&writer->spool, path) : 0;
    if (size > *size_out) {
      *size_out = size;
      int worse = best;
      best = fd;
      fd = worse;
    }
    if (fd >= 0)
      close(fd);
  }
  if (dir)
    closedir(dir);
  return best;
}

/* Bytes 0 … size of another file become the beginning of this one. */
static int copy_beginning(struct nx_upload_writer *writer, int from, uint64_t size,
                          struct nx_sha256 *hash, struct nx_error *err) {
  _cleanup_free_ uint8_t *piece = malloc(PIECE);
  int r = piece ? 0 : nx_fail(err, NX_E_NOMEM, "take up an upload");
  while (r == 0 && writer->size < size) {
    ssize_t n = pread(from, piece, (size_t)NX_MIN((uint64_t)PIECE, size - writer->size),
                      (off_t)writer->size);
    if (n < 0 && errno == EINTR)
      continue;
    if (n <= 0)
      return nx_fail_errno(err, n ? errno : EIO, "read what was kept of an upload");
    struct nx_bytes bytes = nx_bytes(piece, (size_t)n);
    nx_sha256_update(hash, bytes.data, bytes.size);
    if ((r = nx_file_write_all(writer->fd, bytes, writer->part, err)) == 0)
      take_tiles(writer, bytes);
  }
  return r;
}

/* As if nothing had come. */
static int begin_again(struct nx_upload_writer *writer, struct nx_error *err) {
  if (writer->stream)
    nx_ring_stream_begin_again(writer->stream);
  bool counted = writer->came >= 0; /* the file itself stays as long as it is */
  if (ftruncate(counted ? writer->came : writer->fd, 0) || lseek(writer->fd, 0, SEEK_SET) < 0)
    return nx_fail_errno(err, errno, "write %s", writer->part);
  writer->size = 0;
  writer->n_leaves = 0;
  return 0;
}

int nx_upload_writer_take_up(struct nx_upload_writer *writer, uint64_t *held_out,
                             struct nx_hash *hash_out, struct nx_error *err) {
  size_t tile = nx_upload_tile_size(writer->spool.layout.ring_bits);
  struct nx_sha256 hash;
  uint64_t size;
  _cleanup_fd_ int from = open_kept(writer, &size);
  nx_sha256_init(&hash);
  size = NX_MIN(size, (uint64_t)writer->spool.size - 1);
  size -= size % tile;
  int r = from >= 0 ? copy_beginning(writer, from, size, &hash, err) : 0;
  if (r < 0) /* a disk that cannot read it back is no reason to refuse it anew */
    r = begin_again(writer, err);
  *held_out = writer->size;
  *hash_out = writer->size ? nx_sha256_final(&hash) : nx_sha256("", 0);
  writer->taken_up = writer->size > 0;
  return r;
}

int nx_upload_writer_write(struct nx_upload_writer *writer, uint64_t offset, struct nx_bytes bytes,
                           struct nx_error *err) {
  if (offset == 0 && writer->taken_up) { /* its sender has other bytes there */
    int r = begin_again(writer, err);
    if (r < 0)
      return r;
  }
  writer->taken_up = false;
  if (offset != writer->size)
    return nx_fail(err, NX_E_PROTOCOL, "upload of member %u: bytes at %llu instead of %llu",
                   writer->member, (unsigned long long)offset, (unsigned long long)writer->size);
  if (bytes.size > writer->spool.size - writer->size)
    return nx_fail(err, NX_E_LIMIT, "upload of member %u is longer than the plan's %zu bytes",
                   writer->member, writer->spool.size);
  uint64_t before = writer->size;
  int r = nx_file_write_all(writer->fd, bytes, writer->part, err);
  if (r == 0) {
    take_tiles(writer, bytes);
    send_on(writer, before);
  }
  return r;
}

uint64_t nx_upload_writer_size(const struct nx_upload_writer *writer) {
  return writer->size;
}

/* The leaves first: whoever finds the upload finds them too. */
static int settle(struct nx_upload_writer *writer, struct nx_error *err) {
  char path[NX_PATH_SIZE];
  int r = path_of(&writer->spool, writer->member, ".leaves", path, err);
  if (r < 0 ||
      (r = nx_file_replace(path,
                           nx_bytes(writer->leaves, writer->n_leaves * sizeof *writer->leaves),
                           0600, err)) < 0 ||
      (r = path_of(&writer->spool, writer->member, "", path, err)) < 0)
    return r;
  if (fdatasync(writer->fd))
    return nx_fail_errno(err, errno, "write %s", writer->part);
  if (rename(writer->part, path))
    return nx_fail_errno(err, errno, "create %s", path);
  return nx_file_sync_folder_of(path, err);
}

static void forget_count(const struct nx_upload_writer *writer) {
  char came[NX_PATH_SIZE];
  if (writer->came >= 0 && came_of(writer->part, came))
    unlink(came);
}

static void forget_kept(const struct nx_upload_writer *writer) {
  char kept[NX_PATH_SIZE];
  if (path_of(&writer->spool, writer->member, ".kept", kept, NULL) == 0)
    unlink(kept);
}

int nx_upload_writer_commit(struct nx_upload_writer *writer, const struct nx_hash *expected,
                            struct nx_error *err) {
  if (writer->size != writer->spool.size)
    return nx_fail(err, NX_E_PROTOCOL, "upload of member %u ended at %llu of %zu bytes",
                   writer->member, (unsigned long long)writer->size, writer->spool.size);
  struct nx_hash root = nx_merkle_root(writer->leaves, writer->n_leaves);
  if (!nx_hash_equal(&root, expected)) {
    writer->wrong = true;
    return nx_fail(err, NX_E_CRYPTO, "upload of member %u does not have the root it signed",
                   writer->member);
  }
  int r = settle(writer, err);
  if (r == 0) {
    nx_ring_stream_end(nx_steal(&writer->stream), true);
    forget_count(writer);
    writer->part[0] = 0;
    forget_kept(writer);
  }
  return r;
}

/* What came of an upload that was not committed. A spare's old bytes go first. */
static void leave_part(const struct nx_upload_writer *writer) {
  char kept[NX_PATH_SIZE];
  bool keep = !writer->wrong && writer->size > 0 &&
              (writer->came < 0 || !ftruncate(writer->fd, (off_t)writer->size)) &&
              path_of(&writer->spool, writer->member, ".kept", kept, NULL) == 0;
  forget_count(writer);
  if (keep)
    keep_part(writer->part, kept);
  else
    unlink(writer->part);
}

void nx_upload_writer_destroy(struct nx_upload_writer *writer) {
  if (!writer)
    return;
  nx_ring_stream_end(writer->stream, false);
  if (writer->fd >= 0 && writer->part[0])
    leave_part(writer);
  if (writer->fd >= 0)
    close(writer->fd);
  if (writer->came >= 0)
    close(writer->came);
  free(writer->leaves);
  free(writer->tile);
  free(writer);
}

/* --- uploads that are whole ---------------------------------------------------------- */

/* Appends the n_tiles leaves of a whole upload. */
static int read_leaves(const struct nx_upload_spool *spool, uint32_t member, struct nx_buffer *out,
                       struct nx_error *err) {
  char path[NX_PATH_SIZE];
  size_t expected = spool->n_tiles * sizeof(struct nx_hash);
  int r = path_of(spool, member, "", path, err);
  if (r < 0)
    return r;
  if (!nx_path_exists(path))
    return nx_fail(err, NX_E_NOT_FOUND, "there is no upload of member %u", member);
  if ((r = path_of(spool, member, ".leaves", path, err)) < 0 ||
      (r = nx_file_read(path, expected, out, err)) < 0)
    return r;
  return out->size == expected ? 0 : nx_fail(err, NX_E_FORMAT, "%s has another size", path);
}

int nx_upload_spool_root(const struct nx_upload_spool *spool, uint32_t member,
                         struct nx_hash *root_out, struct nx_error *err) {
  _cleanup_(nx_buffer_finish) struct nx_buffer leaves = {0};
  int r = read_leaves(spool, member, &leaves, err);
  if (r == 0)
    *root_out = nx_merkle_root((const struct nx_hash *)(void *)leaves.data, spool->n_tiles);
  return r;
}

static int read_at(const char *path, uint64_t offset, size_t size, struct nx_buffer *out,
                   struct nx_error *err) {
  int r = nx_buffer_reserve(out, size, err);
  if (r < 0)
    return r;
  _cleanup_fd_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  if (fd < 0)
    return nx_fail_errno(err, errno, "open %s", path);
  for (size_t at = 0; at < size;) {
    ssize_t n = pread(fd, out->data + out->size + at, size - at, (off_t)(offset + at));
    if (n < 0 && errno == EINTR)
      continue;
    if (n <= 0)
      return n ? nx_fail_errno(err, errno, "read %s", path)
               : nx_fail(err, NX_E_FORMAT, "%s is shorter than it was", path);
    at += (size_t)n;
  }
  out->size += size;
  return 0;
}

int nx_upload_spool_tile(const struct nx_upload_spool *spool, uint32_t member, size_t index,
                         struct nx_buffer *tile_out, struct nx_merkle_path *path_out,
                         struct nx_error *err) {
  _cleanup_(nx_buffer_finish) struct nx_buffer leaves = {0};
  char path[NX_PATH_SIZE];
  if (index >= spool->n_tiles)
    return nx_fail(err, NX_E_PROTOCOL, "tile %zu of %zu was asked for", index, spool->n_tiles);
  int r = read_leaves(spool, member, &leaves, err);
  if (r < 0 || (r = path_of(spool, member, "", path, err)) < 0)
    return r;
  struct nx_upload_tile tile = nx_upload_tile(&spool->layout, index);
  if ((r = read_at(path, tile.offset, tile.size, tile_out, err)) < 0)
    return r;
  nx_merkle_prove((const struct nx_hash *)(void *)leaves.data, spool->n_tiles, index, path_out);
  return 0;
}

int nx_upload_spool_map(const struct nx_upload_spool *spool, uint32_t member,
                        const uint8_t **bytes_out, struct nx_error *err) {
  char path[NX_PATH_SIZE];
  struct stat status;
  int r = path_of(spool, member, "", path, err);
  if (r < 0)
    return r;
  _cleanup_fd_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  if (fd < 0 || fstat(fd, &status))
    return nx_fail_errno(err, errno, "open %s", path);
  if ((uint64_t)status.st_size != spool->size)
    return nx_fail(err, NX_E_FORMAT, "%s has another size", path);
  void *bytes = mmap(NULL, spool->size, PROT_READ, MAP_PRIVATE, fd, 0);
  if (bytes == MAP_FAILED)
    return nx_fail_errno(err, errno, "map %s", path);
  madvise(bytes, spool->size, MADV_SEQUENTIAL);
  *bytes_out = bytes;
  return 0;
}

void nx_upload_unmap(const struct nx_upload_spool *spool, const uint8_t *bytes) {
  if (bytes)
    munmap((void *)(uintptr_t)bytes, spool->size);
}

/* NX_E_CRYPTO or NX_E_FORMAT: the bytes are not those whose leaves were written down. */
static int check_whole(const struct nx_upload_spool *spool, uint32_t member, struct nx_error *err) {
  _cleanup_(nx_buffer_finish) struct nx_buffer leaves = {0};
  _cleanup_free_ struct nx_hash *found = calloc(spool->n_tiles, sizeof *found);
  const uint8_t *bytes = NULL;
  if (!found)
    return nx_fail(err, NX_E_NOMEM, "look at the uploads in %s", spool->folder);
  int r = read_leaves(spool, member, &leaves, err);
  if (r < 0 || (r = nx_upload_spool_map(spool, member, &bytes, err)) < 0)
    return r;
  nx_upload_leaves(&spool->layout, bytes, found, NULL);
  nx_upload_unmap(spool, bytes);
  return memcmp(found, leaves.data, leaves.size)
             ? nx_fail(err, NX_E_CRYPTO, "the upload of member %u is damaged on disk", member)
             : 0;
}

/* A disk that swallowed a sync leaves files with holes: such an upload has not come. */
static int drop_damaged(struct nx_upload_spool *spool, struct nx_error *err) {
  char path[NX_PATH_SIZE];
  for (uint32_t id = 1; id < 256; id++) {
    int r = path_of(spool, id, "", path, err);
    if (r < 0)
      return r;
    if (!nx_path_exists(path) || (r = check_whole(spool, id, err)) == 0)
      continue;
    if (r == NX_E_IO || r == NX_E_NOMEM)
      return r;
    if (unlink(path))
      return nx_fail_errno(err, errno, "remove %s", path);
    spool->damaged[spool->n_damaged++] = (uint8_t)id;
  }
  return 0;
}

int nx_upload_spool_init(struct nx_upload_spool *spool, const char *folder, uint64_t round,
                         uint32_t attempt, const struct nx_upload_layout *layout,
                         struct nx_error *err) {
  *spool = (struct nx_upload_spool){
      .layout = *layout, .size = nx_upload_bytes(layout), .n_tiles = nx_upload_tiles(layout)};
  int r = attempt_folder(spool->folder, folder, round, attempt, err);
  if (r < 0 || (r = nx_folder_create(folder, 0700, err)) < 0 ||
      (r = nx_folder_create(spool->folder, 0700, err)) < 0)
    return r;
  if ((r = keep_parts(spool, err)) < 0)
    return r;
  /* What a process that was killed put here counts from now on. */
  char inside[NX_PATH_SIZE];
  if ((r = nx_path_join(inside, spool->folder, ".", err)) < 0 ||
      (r = nx_file_sync_folder_of(inside, err)) < 0)
    return r;
  return drop_damaged(spool, err);
}

/* What nobody wants any more. */
static int let_go(struct nx_upload_spares *spares, const char *path, struct nx_error *err) {
  if (spares && nx_path_exists(path))
    return nx_upload_spares_put(spares, path, err);
  return unlink(path) && errno != ENOENT ? nx_fail_errno(err, errno, "remove %s", path) : 0;
}

int nx_upload_spool_keep_only(const struct nx_upload_spool *spool, const uint8_t *members, size_t n,
                              struct nx_error *err) {
  char path[NX_PATH_SIZE], leaves[NX_PATH_SIZE];
  bool kept[256] = {false};
  int removed = remove_files(spool->folder, ".kept", err);
  if (removed < 0)
    return removed;
  for (size_t i = 0; i < n; i++)
    kept[members[i]] = true;
  for (uint32_t id = 1; id < 256; id++) {
    int r = path_of(spool, id, "", path, err);
    if (r < 0)
      return r;
    if (kept[id])
      continue;
    if ((r = path_of(spool, id, ".leaves", leaves, err)) < 0 ||
        (r = let_go(spool->spares, path, err)) < 0 || (r = let_go(NULL, leaves, err)) < 0)
      return r;
  }
  return 0;
}

static int remove_folder(const char *path, struct nx_error *err) {
  int r = remove_files(path, "", err);
  if (r == 0 && rmdir(path) && errno != ENOENT)
    return nx_fail_errno(err, errno, "remove %s", path);
  return r;
}

/* The whole uploads of a folder, whose names are numbers. */
static int put_by(const char *folder, struct nx_upload_spares *spares, struct nx_error *err) {
  char path[NX_PATH_SIZE], name[NAME_SIZE];
  for (uint32_t id = 1; id < 256; id++) {
    snprintf(name, sizeof name, "%u", id);
    int r = nx_path_join(path, folder, name, err);
    if (r < 0 || (nx_path_exists(path) && (r = nx_upload_spares_put(spares, path, err)) < 0))
      return r;
  }
  nx_upload_spares_cut(spares);
  return 0;
}

int nx_upload_spool_remove(const char *folder, uint64_t round, uint32_t attempt,
                           struct nx_upload_spares *spares, struct nx_error *err) {
  char path[NX_PATH_SIZE];
  int r = attempt_folder(path, folder, round, attempt, err);
  if (r == 0 && spares)
    r = put_by(path, spares, err);
  return r < 0 ? r : remove_folder(path, err);
}

int nx_upload_spool_clear(const char *folder, struct nx_error *err) {
  char path[NX_PATH_SIZE];
  DIR *dir = opendir(folder);
  if (!dir)
    return errno == ENOENT ? 0 : nx_fail_errno(err, errno, "open folder %s", folder);
  int r = 0;
  for (struct dirent *entry; r == 0 && (entry = readdir(dir));)
    if (entry->d_name[0] != '.' && (r = nx_path_join(path, folder, entry->d_name, err)) == 0)
      r = remove_folder(path, err);
  closedir(dir);
  return r;
}
