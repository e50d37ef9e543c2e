#include "node/dataset/cache.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "common/file.h"
#include "common/log.h"
#include "node/dataset/manifest_hash.h"

#define PEOPLE "people"
#define TEMPORARY "new-" /* begins the name of an entry that is being written */
#define STALE_S 3600     /* … by a process that is long gone */
#define HEAD_SIZE ((size_t)(8 + NX_HASH_SIZE + 8))

static const char magic[8] = {'N', 'X', 'C', 'A', 'C', 'H', 'E', '1'};

struct nx_cache {
  char folder[NX_PATH_SIZE];
  uint64_t cap;
  struct nx_hash programs;
};

/* ---- the folder ------------------------------------------------------------------------------ */

static bool is_entry(const char *name) {
  return strlen(name) == NX_HASH_HEX_SIZE - 1 &&
         strspn(name, "0123456789abcdef") == NX_HASH_HEX_SIZE - 1;
}

static bool is_temporary(const char *name) {
  return !strncmp(name, TEMPORARY, strlen(TEMPORARY));
}

static void remove_from(const char *folder, const char *name) {
  char path[NX_PATH_SIZE];
  if (nx_path_join(path, folder, name, NULL) == 0)
    unlink(path);
}

size_t nx_cache_empty(const char *folder) {
  DIR *list = opendir(folder);
  size_t n = 0;
  for (struct dirent *entry; list && (entry = readdir(list));)
    if (is_entry(entry->d_name) || is_temporary(entry->d_name)) {
      remove_from(folder, entry->d_name);
      n += is_entry(entry->d_name);
    }
  if (list)
    closedir(list);
  return n;
}

struct old {
  char name[NX_HASH_HEX_SIZE];
  uint64_t size;
  struct timespec used;
};

static int by_use(const void *a, const void *b) {
  const struct old *x = a, *y = b;
  if (x->used.tv_sec != y->used.tv_sec)
    return x->used.tv_sec < y->used.tv_sec ? -1 : 1;
  if (x->used.tv_nsec != y->used.tv_nsec)
    return x->used.tv_nsec < y->used.tv_nsec ? -1 : 1;
  return strcmp(x->name, y->name);
}

/* All entries, oldest use first; the caller frees. */
static struct old *list_entries(const char *folder, size_t *n_out, uint64_t *total_out) {
  struct old *found = NULL;
  size_t n = 0;
  DIR *list = opendir(folder);
  *total_out = 0;
  for (struct dirent *entry; list && (entry = readdir(list));) {
    struct stat status;
    if (fstatat(dirfd(list), entry->d_name, &status, AT_SYMLINK_NOFOLLOW))
      continue;
    if (is_temporary(entry->d_name) && time(NULL) - status.st_mtime > STALE_S)
      remove_from(folder, entry->d_name);
    if (!is_entry(entry->d_name))
      continue;
    struct old *grown = n & (n - 1) ? found : reallocarray(found, n ? 2 * n : 1, sizeof *found);
    if (!grown)
      break;
    found = grown;
    found[n] = (struct old){.size = (uint64_t)status.st_size, .used = status.st_mtim};
    memcpy(found[n++].name, entry->d_name, NX_HASH_HEX_SIZE);
    *total_out += (uint64_t)status.st_size;
  }
  if (list)
    closedir(list);
  if (n)
    qsort(found, n, sizeof *found, by_use);
  *n_out = n;
  return found;
}

/* Until as many more bytes fit under the cap. */
static void make_room(const struct nx_cache *cache, uint64_t more) {
  uint64_t total;
  size_t n;
  struct old *entries = list_entries(cache->folder, &n, &total);
  for (size_t i = 0; i < n && total + more > cache->cap; i++) {
    remove_from(cache->folder, entries[i].name);
    total -= entries[i].size;
  }
  free(entries);
}

/* ---- opening --------------------------------------------------------------------------------- */

/* Entries made while other people had withdrawn may hold what somebody no longer agrees to. */
static int heed_withdrawn(const struct nx_cache *cache, const struct nx_hash *withdrawn,
                          struct nx_error *err) {
  _cleanup_(nx_buffer_finish) struct nx_buffer noted = {0};
  char path[NX_PATH_SIZE], hex[NX_HASH_HEX_SIZE];
  int r = nx_path_join(path, cache->folder, PEOPLE, err);
  if (r < 0)
    return r;
  nx_hash_hex(withdrawn, hex);
  if (nx_file_read(path, sizeof hex, &noted, NULL) == 0 && noted.size == sizeof hex - 1 &&
      !memcmp(noted.data, hex, noted.size))
    return 0;
  size_t n = nx_cache_empty(cache->folder);
  if (n)
    NX_LOG(NX_LOG_INFO, "cache.emptied", NX_U64("entries", n),
           NX_STR("why", "the list of people who withdrew is another one"));
  return nx_file_replace(path, nx_bytes(hex, sizeof hex - 1), 0600, err);
}

static int hash_programs(const char *reader, struct nx_hash *out, struct nx_error *err) {
  struct nx_hash own, other = {0};
  struct nx_sha256 sha;
  int r = nx_manifest_file_hash("/proc/self/exe", &own, err);
  if (!r && reader)
    r = nx_manifest_file_hash(reader, &other, err);
  nx_sha256_begin(&sha, "neurox cache programs");
  nx_sha256_hash(&sha, &own);
  nx_sha256_hash(&sha, &other);
  *out = nx_sha256_final(&sha);
  return r;
}

int nx_cache_open(const char *folder, uint64_t cap, const char *reader,
                  const struct nx_hash *withdrawn, struct nx_cache **cache_out,
                  struct nx_error *err) {
  _cleanup_(nx_cache_closep) struct nx_cache *cache = calloc(1, sizeof *cache);
  if (!cache)
    return nx_fail(err, NX_E_NOMEM, "cache: out of memory");
  cache->cap = cap;
  int r = nx_path_join(cache->folder, folder, "", err);
  if (!r)
    r = nx_folder_create(folder, 0700, err);
  if (!r)
    r = hash_programs(reader, &cache->programs, err);
  if (!r)
    r = heed_withdrawn(cache, withdrawn, err);
  if (r < 0)
    return r;
  make_room(cache, 0); /* the cap may be smaller than last time */
  *cache_out = nx_steal(&cache);
  return 0;
}

void nx_cache_close(struct nx_cache *cache) {
  free(cache);
}

const struct nx_hash *nx_cache_programs(const struct nx_cache *cache) {
  return &cache->programs;
}

/* ---- entries --------------------------------------------------------------------------------- */

static int path_of(const struct nx_cache *cache, const struct nx_hash *key,
                   char out[NX_PATH_SIZE]) {
  char hex[NX_HASH_HEX_SIZE];
  nx_hash_hex(key, hex);
  return nx_path_join(out, cache->folder, hex, NULL);
}

static void make_head(const struct nx_hash *key, uint64_t size, uint8_t out[HEAD_SIZE]) {
  memcpy(out, magic, sizeof magic);
  memcpy(out + sizeof magic, key->bytes, NX_HASH_SIZE);
  nx_store_le64(out + sizeof magic + NX_HASH_SIZE, size);
}

static struct nx_hash seal_of(const uint8_t head[HEAD_SIZE], struct nx_bytes payload) {
  struct nx_sha256 sha;
  nx_sha256_init(&sha);
  nx_sha256_update(&sha, head, HEAD_SIZE);
  nx_sha256_update(&sha, payload.data, payload.size);
  return nx_sha256_final(&sha);
}

static bool read_exactly(int fd, void *out, size_t size) {
  for (uint8_t *to = out; size;) {
    ssize_t n = read(fd, to, size);
    if (n < 0 && errno == EINTR)
      continue;
    if (n <= 0)
      return false;
    to += n;
    size -= (size_t)n;
  }
  return true;
}

/* False: damaged, or another's. */
static bool read_entry(int fd, const struct nx_hash *key, uint64_t file_size,
                       struct nx_buffer *out) {
  uint8_t want[HEAD_SIZE], head[HEAD_SIZE];
  struct nx_hash seal;
  if (file_size < HEAD_SIZE + NX_HASH_SIZE)
    return false;
  size_t size = (size_t)(file_size - HEAD_SIZE - NX_HASH_SIZE);
  make_head(key, size, want);
  nx_buffer_init(out, size + 1);
  if (!read_exactly(fd, head, sizeof head) || memcmp(head, want, sizeof head) ||
      nx_buffer_reserve(out, size, NULL) < 0 || !read_exactly(fd, out->data, size) ||
      !read_exactly(fd, &seal, sizeof seal))
    return false;
  out->size = size;
  struct nx_hash is = seal_of(head, nx_buffer_view(out));
  return nx_hash_equal(&is, &seal);
}

bool nx_cache_get(struct nx_cache *cache, const struct nx_hash *key,
                  struct nx_buffer *payload_out) {
  char path[NX_PATH_SIZE];
  struct stat status;
  memset(payload_out, 0, sizeof *payload_out);
  if (path_of(cache, key, path) < 0)
    return false;
  _cleanup_fd_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
  if (fd < 0 || fstat(fd, &status) || !S_ISREG(status.st_mode))
    return false;
  if (read_entry(fd, key, (uint64_t)status.st_size, payload_out)) {
    futimens(fd, NULL); /* used now */
    return true;
  }
  nx_buffer_finish(payload_out);
  unlink(path);
  NX_LOG(NX_LOG_WARNING, "cache.damaged",
         NX_STR("effect", "an entry is removed and computed again"));
  return false;
}

static bool write_exactly(int fd, const void *data, size_t size) {
  for (const uint8_t *from = data; size;) {
    ssize_t n = write(fd, from, size);
    if (n < 0 && errno == EINTR)
      continue;
    if (n < 0)
      return false;
    from += n;
    size -= (size_t)n;
  }
  return true;
}

static bool disk_has(const char *folder, uint64_t bytes) {
  struct statvfs disk;
  return !statvfs(folder, &disk) && (uint64_t)disk.f_bavail * disk.f_frsize >= bytes + NX_CACHE_SPARE;
}

/* Not synced: what a crash leaves half-written is found out by its seal. */
bool nx_cache_put(struct nx_cache *cache, const struct nx_hash *key, struct nx_bytes payload) {
  char path[NX_PATH_SIZE], temporary[NX_PATH_SIZE];
  uint8_t head[HEAD_SIZE];
  uint64_t size = HEAD_SIZE + payload.size + NX_HASH_SIZE;
  if (size > cache->cap || !disk_has(cache->folder, size) || path_of(cache, key, path) < 0 ||
      nx_path_join(temporary, cache->folder, TEMPORARY "XXXXXX", NULL) < 0)
    return false;
  make_room(cache, size);
  _cleanup_fd_ int fd = mkostemp(temporary, O_CLOEXEC); /* 0600 */
  if (fd < 0)
    return false;
  make_head(key, payload.size, head);
  struct nx_hash seal = seal_of(head, payload);
  bool good = write_exactly(fd, head, sizeof head) &&
              write_exactly(fd, payload.data, payload.size) &&
              write_exactly(fd, &seal, sizeof seal) && rename(temporary, path) == 0;
  if (!good)
    unlink(temporary);
  return good;
}
