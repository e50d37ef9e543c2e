#include "crypto/audit_log.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/size.h"
#include "crypto/audit_walk.h"

#define PENDING_CAP ((size_t)96 << 20)
#define GATHER_MOST 4096 /* entries of one group that are waited for */

/* Group commit: writers queue framed bytes under the lock; whoever finds nobody writing leads: it
 * lets those who are about to append do so, takes the whole queue, writes and syncs it unlocked,
 * and wakes the others. They sleep on the number of groups written, and whose entry is on disk
 * leaves without the lock: 64 of them would only queue for it. */
struct nx_audit_log {
  pthread_mutex_t lock;
  _Atomic uint32_t groups; /* written so far; a futex */
  int lock_fd, entries_fd, checkpoints_fd;
  const struct nx_identity *identity;
  char origin[NX_AUDIT_NAME_MAX + 1];
  struct nx_merkle tree; /* of everything queued */
  struct nx_buffer pending, writing;
  _Atomic uint64_t durable; /* entries on disk */
  uint64_t checkpointed;
  bool busy;              /* somebody is writing */
  struct nx_error broken; /* code != 0: the first failure, told to everybody after it */
};

static int write_synced(int fd, struct nx_bytes bytes, const char *what, struct nx_error *err) {
  while (bytes.size) {
    ssize_t n = write(fd, bytes.data, bytes.size);
    if (n < 0 && errno == EINTR)
      continue;
    if (n < 0)
      return nx_fail_errno(err, errno, "write the audit log's %s", what);
    bytes.data += n;
    bytes.size -= (size_t)n;
  }
  if (fdatasync(fd))
    return nx_fail_errno(err, errno, "sync the audit log's %s", what);
  return 0;
}

static int refuse_broken(const struct nx_audit_log *log, struct nx_error *err) {
  if (err)
    *err = log->broken;
  return nx_error_prefix(err, NX_E_IO, "the audit log stopped after an error");
}

/* Lock held, and again on return: sleeps until another group is written. */
static void wait_for_group(struct nx_audit_log *log) {
  uint32_t seen = atomic_load(&log->groups);
  pthread_mutex_unlock(&log->lock);
  syscall(SYS_futex, &log->groups, FUTEX_WAIT_PRIVATE, seen, NULL, NULL, 0);
  pthread_mutex_lock(&log->lock);
}

/* The same for a writer whose entry may be on disk then: true, without the lock. */
static bool is_written_by_group(struct nx_audit_log *log, uint64_t sequence) {
  uint32_t seen = atomic_load(&log->groups);
  pthread_mutex_unlock(&log->lock);
  syscall(SYS_futex, &log->groups, FUTEX_WAIT_PRIVATE, seen, NULL, NULL, 0);
  if (atomic_load(&log->durable) > sequence)
    return true;
  pthread_mutex_lock(&log->lock);
  return false;
}

/* Those whom the last group woke are about to append: without them this group would be of one
 * entry, and they would wait for the next. As long as the queue grows, it is let grow. */
static void gather(struct nx_audit_log *log) {
  for (uint64_t before = 0; log->tree.n != before && log->tree.n - log->durable < GATHER_MOST;) {
    before = log->tree.n;
    pthread_mutex_unlock(&log->lock);
    sched_yield();
    pthread_mutex_lock(&log->lock);
  }
}

/* Called with the lock and without busy; takes the queue, leaves busy set and the lock free.
 * tree_out: the tree of what is taken, or NULL. */
static uint64_t begin_write(struct nx_audit_log *log, struct nx_merkle *tree_out) {
  log->busy = true;
  gather(log);
  struct nx_buffer swap = log->pending;
  log->pending = log->writing;
  log->writing = swap;
  uint64_t end = log->tree.n;
  if (tree_out)
    *tree_out = log->tree;
  pthread_mutex_unlock(&log->lock);
  return end;
}

static void end_write(struct nx_audit_log *log, uint64_t end, int r, const struct nx_error *why) {
  pthread_mutex_lock(&log->lock);
  log->busy = false;
  log->writing.size = 0;
  if (r < 0)
    log->broken = *why;
  else
    atomic_store(&log->durable, end);
  atomic_fetch_add(&log->groups, 1);
  syscall(SYS_futex, &log->groups, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

static void flush_queue(struct nx_audit_log *log) {
  struct nx_error why = {0};
  uint64_t end = begin_write(log, NULL);
  int r = write_synced(log->entries_fd, nx_buffer_view(&log->writing), "entries", &why);
  end_write(log, end, r, &why);
}

/* Under the lock: gives the entry its number and time, and puts it in tree and queue. */
static int enqueue(struct nx_audit_log *log, struct nx_buffer *framed, uint64_t *sequence,
                   struct nx_error *err) {
  size_t more = framed->size + NX_AUDIT_CHECK_SIZE;
  int r = nx_buffer_reserve(&log->pending, more, err);
  if (r < 0)
    return r;
  *sequence = log->tree.n;
  nx_audit_entry_stamp(framed->data, *sequence, nx_clock_unix());
  struct nx_hash leaf = nx_merkle_leaf(nx_bytes(framed->data + 4, framed->size - 4));
  nx_buffer_append(&log->pending, framed->data, framed->size, NULL);
  nx_buffer_append(&log->pending, leaf.bytes, NX_AUDIT_CHECK_SIZE, NULL);
  nx_merkle_add(&log->tree, &leaf);
  return 0;
}

int nx_audit_log_append(struct nx_audit_log *log, const char *kind,
                        const struct nx_audit_field *fields, size_t n_fields,
                        uint64_t *sequence_out, struct nx_error *err) {
  _cleanup_(nx_buffer_finish) struct nx_buffer framed = {.cap = 2 * (size_t)NX_AUDIT_ENTRY_CAP};
  uint64_t sequence = 0;
  int r = nx_audit_entry_write(kind, fields, n_fields, &framed, err);
  if (r < 0)
    return nx_error_prefix(err, r, "append %.40s to the audit log", kind);
  pthread_mutex_lock(&log->lock);
  if (log->broken.code)
    r = refuse_broken(log, err);
  else
    r = enqueue(log, &framed, &sequence, err);
  while (r == 0 && log->durable <= sequence) {
    if (log->broken.code)
      r = refuse_broken(log, err);
    else if (!log->busy)
      flush_queue(log);
    else if (is_written_by_group(log, sequence))
      goto written;
  }
  pthread_mutex_unlock(&log->lock);
written:
  if (r == 0 && sequence_out)
    *sequence_out = sequence;
  return r;
}

static int write_checkpoint(struct nx_audit_log *log, const struct nx_merkle *tree,
                            struct nx_error *err) {
  _cleanup_(nx_buffer_finish) struct nx_buffer record = {0};
  struct nx_audit_checkpoint checkpoint = {
      .size = tree->n, .root = nx_merkle_root_of(tree), .unix_ns = nx_clock_unix()};
  memcpy(checkpoint.origin, log->origin, sizeof checkpoint.origin);
  int r = nx_audit_checkpoint_write(&checkpoint, log->identity, &record, err);
  if (r == 0)
    r = write_synced(log->checkpoints_fd, nx_buffer_view(&record), "checkpoints", err);
  return r;
}

int nx_audit_log_checkpoint(struct nx_audit_log *log, struct nx_error *err) {
  struct nx_error why = {0};
  int r = 0;
  pthread_mutex_lock(&log->lock);
  while (log->busy)
    wait_for_group(log);
  if (log->broken.code) {
    r = refuse_broken(log, err);
  } else if (log->checkpointed != log->tree.n) {
    struct nx_merkle tree;
    uint64_t end = begin_write(log, &tree);
    r = write_synced(log->entries_fd, nx_buffer_view(&log->writing), "entries", &why);
    if (r == 0)
      r = write_checkpoint(log, &tree, &why);
    end_write(log, end, r, &why);
    if (r == 0)
      log->checkpointed = end;
    else if (err)
      *err = why;
  }
  pthread_mutex_unlock(&log->lock);
  return r;
}

uint64_t nx_audit_log_size(struct nx_audit_log *log) {
  pthread_mutex_lock(&log->lock);
  uint64_t n = log->durable;
  pthread_mutex_unlock(&log->lock);
  return n;
}

struct nx_hash nx_audit_log_root(struct nx_audit_log *log) {
  pthread_mutex_lock(&log->lock);
  struct nx_hash root = nx_merkle_root_of(&log->tree);
  pthread_mutex_unlock(&log->lock);
  return root;
}

void nx_audit_log_destroy(struct nx_audit_log *log) {
  if (!log)
    return;
  nx_cleanup_fd(&log->entries_fd);
  nx_cleanup_fd(&log->checkpoints_fd);
  nx_cleanup_fd(&log->lock_fd);
  nx_buffer_finish(&log->pending);
  nx_buffer_finish(&log->writing);
  pthread_mutex_destroy(&log->lock);
  free(log);
}

int nx_audit_log_close(struct nx_audit_log *log, struct nx_error *err) {
  int r = nx_audit_log_checkpoint(log, err);
  nx_audit_log_destroy(log);
  return r;
}

static struct nx_audit_log *allocate(const char *origin, const struct nx_identity *identity) {
  struct nx_audit_log *log = calloc(1, sizeof *log);
  if (!log)
    return NULL;
  pthread_mutex_init(&log->lock, NULL);
  log->lock_fd = log->entries_fd = log->checkpoints_fd = -1;
  log->identity = identity;
  strcpy(log->origin, origin);
  nx_buffer_init(&log->pending, PENDING_CAP);
  nx_buffer_init(&log->writing, PENDING_CAP);
  return log;
}

/* The key file is made last: a folder without one holds no log yet. */
static int make_files(const struct nx_audit_paths *paths, const char *origin,
                      const struct nx_identity *identity, struct nx_error *err) {
  unlink(paths->entries);
  unlink(paths->checkpoints);
  int r = nx_file_create(paths->entries, nx_bytes(NX_AUDIT_MAGIC, NX_AUDIT_MAGIC_SIZE), 0600, err);
  if (r == 0)
    r = nx_file_create(paths->checkpoints, nx_bytes(NULL, 0), 0600, err);
  if (r == 0)
    r = nx_audit_key_write(paths->key, origin, nx_identity_public(identity), err);
  return r;
}

static bool holds_entries(const char *path) {
  _cleanup_fd_ int fd = open(path, O_RDONLY | O_CLOEXEC);
  return fd >= 0 && lseek(fd, 0, SEEK_END) > NX_AUDIT_MAGIC_SIZE;
}

static int prepare_files(const struct nx_audit_paths *paths, const char *origin,
                         const struct nx_identity *identity, struct nx_error *err) {
  if (nx_path_exists(paths->key))
    return 0;
  if (holds_entries(paths->entries))
    return nx_fail(err, NX_E_FORMAT, "%s is missing beside entries: put it back, or move the log",
                   paths->key);
  return make_files(paths, origin, identity, err);
}

static int open_at(const char *path, uint64_t end, int *fd_out, struct nx_error *err) {
  _cleanup_fd_ int fd = open(path, O_WRONLY | O_CLOEXEC);
  if (fd < 0 || ftruncate(fd, (off_t)end) || fsync(fd) || lseek(fd, 0, SEEK_END) < 0)
    return nx_fail_errno(err, errno, "open %s", path);
  *fd_out = fd;
  fd = -1;
  return 0;
}

static uint64_t size_of(const char *path) {
  _cleanup_fd_ int fd = open(path, O_RDONLY | O_CLOEXEC);
  off_t size = fd < 0 ? -1 : lseek(fd, 0, SEEK_END);
  return size < 0 ? 0 : (uint64_t)size;
}

/* Positions behind the last good entry and says in the log what was cut off. */
static int resume(struct nx_audit_log *log, const struct nx_audit_paths *paths,
                  const struct nx_audit_walk *walk, struct nx_error *err) {
  uint64_t size = size_of(paths->entries);
  uint64_t cut = size > walk->entries_end ? size - walk->entries_end : 0;
  int r = open_at(paths->entries, walk->entries_end, &log->entries_fd, err);
  if (r == 0)
    r = open_at(paths->checkpoints, walk->checkpoints_end, &log->checkpoints_fd, err);
  if (r < 0)
    return r;
  log->tree = walk->tree;
  log->durable = walk->tree.n;
  log->checkpointed = walk->report.signed_entries;
  if (cut)
    r = NX_AUDIT_APPEND(log, err, "log.recovered", NX_AUDIT_UINT("bytes_cut", cut),
                        NX_AUDIT_UINT("good_entries", walk->tree.n));
  return r;
}

static int open_files(struct nx_audit_log *log, const char *folder, struct nx_error *err) {
  struct nx_audit_paths paths;
  struct nx_audit_walk walk;
  int r = nx_audit_paths(folder, &paths, err);
  if (r == 0)
    r = prepare_files(&paths, log->origin, log->identity, err);
  if (r == 0)
    r = nx_audit_walk(&paths, nx_identity_public(log->identity), NULL, &walk, err);
  if (r == 0 && strcmp(walk.report.origin, log->origin))
    r = nx_fail(err, NX_E_CRYPTO, "it is the log of \"%s\", not of \"%s\"", walk.report.origin,
                log->origin);
  return r < 0 ? r : resume(log, &paths, &walk, err);
}

int nx_audit_log_open(const char *folder, const char *origin, const struct nx_identity *identity,
                      struct nx_audit_log **log_out, struct nx_error *err) {
  if (!nx_audit_is_origin(nx_bytes(origin, strlen(origin))))
    return nx_fail(err, NX_E_INVALID,
                   "audit origin \"%.40s\": 1 to %d bytes, no control characters", origin,
                   NX_AUDIT_NAME_MAX);
  _cleanup_(nx_audit_log_destroyp) struct nx_audit_log *log = allocate(origin, identity);
  if (!log)
    return nx_fail(err, NX_E_NOMEM, "out of memory for an audit log");
  int r = nx_folder_create(folder, 0700, err);
  if (r == 0)
    r = nx_folder_lock(folder, &log->lock_fd, err);
  if (r == 0)
    r = open_files(log, folder, err);
  if (r < 0)
    return nx_error_prefix(err, r, "audit log %s", folder);
  *log_out = nx_steal(&log);
  return 0;
}
